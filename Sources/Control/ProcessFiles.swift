// What a daemon leaves in the file system and asks of the process: pid file, detaching, descriptors 0 to 2, signals to another.
// Called by proxyd around the server. It knows no configuration but the paths it is given.

import CLinux

package enum ProcessFiles {
    /// Descriptors 0 to 2 must exist before anything else is opened, or a socket would take the place of standard error.
    package static func openMissingDescriptors() {
        clinux_open_missing_descriptors()
    }

    /// A descriptor of the file, which is kept to the end; or why it could not be written.
    package static func writePid(_ path: String) -> Result<Int32, ListenFailure> {
        let fd = clinux_open(path, O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        if fd < 0 { return .failure(ListenFailure(description: "open() \"\(path)\" failed (\(errnoWords(-fd)))")) }
        let text = Array("\(getpid())\n".utf8)
        if clinux_write(fd, text, text.count) == text.count { return .success(fd) }
        _ = clinux_close(fd)
        return .failure(ListenFailure(description: "write() \"\(path)\" failed"))
    }

    /// Whom `user` names may not take it out of root's folder. It is emptied then: its number may soon be that of another process.
    package static func removePid(_ path: String, _ file: Int32) {
        if clinux_unlink(path) < 0 { _ = clinux_truncate(file, 0) }
    }

    /// The pid in `path`, or why there is none.
    package static func readPid(_ path: String, system: any SystemFiles = LinuxSystemFiles()) -> Result<Int32, ListenFailure> {
        do {
            let text = String(decoding: try system.read(path), as: UTF8.self)
            if let pid = Int32(text.filter(\.isNumber)), pid > 0 { return .success(pid) }
            return .failure(ListenFailure(description: "invalid PID number \"\" in \"\(path)\""))
        } catch {
            return .failure(ListenFailure(description: "open() \"\(path)\" failed (\(error.reason))"))
        }
    }

    /// Goes on in the background, in a session of its own, with standard streams on /dev/null. False in the parent, which must exit.
    package static func detach() -> Bool {
        if clinux_fork() != 0 { return false }
        clinux_detach()
        return true
    }
}

/// Signals as nginx takes them, waited for by the main thread while all others have them blocked.
package enum Signals {
    private static var waited: [Int32] { [SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGWINCH] }

    /// To be called before any thread is started.
    package static func block() {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in waited { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        clinux_ignore_write_signals()
    }

    /// The next signal.
    package static func wait() -> Int32 {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in waited { sigaddset(&set, signal) }
        var got: Int32 = 0
        while sigwait(&set, &got) != 0 {}
        return got
    }
}
