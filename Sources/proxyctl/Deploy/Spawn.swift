// Starts programs: in a group of their own, with their output in a file, and behind a gate that is opened once their pid is written down.
// Used by CommandRunner, Processes and Notifier. Whoever is killed before the gate is open has started nothing.

import CLinux
import Glibc

struct Spawned {
    let pid: pid_t
    /// One byte lets it go; its end without one keeps it from ever beginning.
    let gate: Int32

    func open() {
        var byte = UInt8(ascii: "\n")
        _ = clinux_write(gate, &byte, 1)
        _ = clinux_close(gate)
    }

    func close() { _ = clinux_close(gate) }
}

enum Spawn {
    /// `sh -c script` with `words` as $1 and on, and the gate as descriptor 3.
    /// - Parameter isSession: it leads a session of its own, and so outlives a terminal; else a group of its own.
    static func shell(
        _ script: String, _ words: [String], env: [String: String], log: String, isSession: Bool
    ) throws(Failure) -> Spawned {
        var ends: [Int32] = [0, 0]
        if pipe(&ends) != 0 { throw Failure(.refused, "cannot make a pipe: \(AdminClient.words(-Int(errno)))") }
        defer { _ = clinux_close(ends[0]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_APPEND, 0o640)
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        posix_spawn_file_actions_adddup2(&actions, ends[0], 3)
        // Nobody else is to hold the gate; and what runs on is not to hold what our caller waits for.
        clinux_spawn_close_from(&actions, 4)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        for signal in [SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT] { sigaddset(&signals, signal) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        let flags =
            (isSession ? setSession : Int32(POSIX_SPAWN_SETPGROUP)) | Int32(POSIX_SPAWN_SETSIGMASK) | Int32(POSIX_SPAWN_SETSIGDEF)
        posix_spawnattr_setflags(&attributes, Int16(flags))
        let all = variables.merging(env) { _, mine in mine }
        var argv: [UnsafeMutablePointer<CChar>?] = (["sh", "-c", script, "sh"] + words).map { strdup($0) } + [nil]
        var envp: [UnsafeMutablePointer<CChar>?] = all.map { strdup($0.key + "=" + $0.value) } + [nil]
        defer { for word in argv + envp { free(word) } }
        var pid: pid_t = 0
        let failure = posix_spawn(&pid, "/bin/sh", &actions, &attributes, &argv, &envp)
        if failure != 0 {
            _ = clinux_close(ends[1])
            throw Failure(
                .refused, "cannot start a shell: \(AdminClient.words(-Int(failure)))", hint: "Its output is to go to \(log).")
        }
        return Spawned(pid: pid, gate: ends[1])
    }

    /// POSIX_SPAWN_SETSID; the module of glibc has it only with GNU's extensions.
    private static let setSession: Int32 = 0x80

    /// The environment that this program was given.
    static let variables: [String: String] = {
        var result: [String: String] = [:]
        var next = environ
        while let entry = next.pointee {
            let text = String(cString: entry)
            if let equals = text.firstIndex(of: "=") {
                result[String(text[..<equals])] = String(text[text.index(after: equals)...])
            }
            next += 1
        }
        return result
    }()
}
