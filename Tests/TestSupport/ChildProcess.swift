// Owns one started program: its arguments, its output files, and the news of its end.
// Called by Proxy. It must never leave a program running: the child gets TERM when the test program dies.

import CLinux
import Foundation

public enum ProcessEnd: Equatable, Sendable {
    case exited(Int32)
    case signalled(Int32)
}

final class ChildProcess: Sendable {
    private struct State: Sendable {
        var pid: pid_t = 0
        var failure: Int32 = 0
        var status: ProcessEnd?
    }

    private let state = Locked(State())
    private let started = Signal()
    private let ended = Signal()

    /// Starts `path` with standard output and error in files. The thread that starts it is the one that waits for it: the
    /// kernel signals the child when that thread dies, which is when the test program does.
    /// `stdin`: a descriptor to read from; without `stdout`, to write to as well.
    init(_ path: String, _ arguments: [String], stdin: Int32? = nil, stdout: String?, stderr: String) throws {
        let guardian = "/usr/bin/setpriv"
        let isGuarded = access(guardian, X_OK) == 0
        let words = (isGuarded ? [guardian, "--pdeathsig", "TERM", path] : [path]) + arguments
        let (state, started, ended) = (state, started, ended)
        onThread {
            var pid: pid_t = 0
            let failure = Self.spawn(&pid, words, stdin, stdout, stderr)
            state.with { [pid] in
                $0.pid = pid
                $0.failure = failure
            }
            started.fire()
            guard failure == 0 else { return }
            var status: Int32 = 0
            while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
            let signal = status & 0x7f
            state.with { [status] in $0.status = signal == 0 ? .exited((status >> 8) & 0xff) : .signalled(signal) }
            ended.fire()
        }
        started.wait()
        let failure = state.current.failure
        guard failure == 0 else { throw TestFailure("cannot start \(path): errno \(failure)") }
    }

    var pid: pid_t { state.current.pid }
    var status: ProcessEnd? { state.current.status }
    var isRunning: Bool { status == nil }

    func signal(_ number: Int32) { if isRunning { kill(pid, number) } }

    /// Its end, or nil when it still runs after `withinMs`.
    func waitForEnd(withinMs: Int) -> ProcessEnd? {
        ended.wait(ms: withinMs)
        return status
    }

    private static func spawn(_ pid: inout pid_t, _ words: [String], _ stdin: Int32?, _ stdout: String?, _ stderr: String) -> Int32 {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let stdin {
            posix_spawn_file_actions_adddup2(&actions, stdin, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        if let stdout {
            posix_spawn_file_actions_addopen(&actions, 1, stdout, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        } else if let stdin {
            posix_spawn_file_actions_adddup2(&actions, stdin, 1)
        }
        posix_spawn_file_actions_addopen(&actions, 2, stderr, O_WRONLY | O_CREAT | O_APPEND, 0o644)
        // What another thread of the tests has open just now (a script that it writes, say) is no business of the child's.
        clinux_spawn_close_from(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))
        var argv: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for word in argv { free(word) } }
        return posix_spawn(&pid, words[0], &actions, &attributes, &argv, environ)
    }
}
