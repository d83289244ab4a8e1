// Owns how a process is told from a later one of the same number: its pid, the moment it was started, the boot it lives in.
// Used for pid files, for the lock's owner and for commands that outlived their proxyctl.

import CLinux
import Glibc

struct ProcessIdentity: Equatable, Sendable {
    var pid: pid_t
    /// In ticks since the boot; nil: the file had a pid alone.
    var start: UInt64?
    var boot: String?

    /// The process that has this number now; nil: none, or one that has ended and is only not buried yet.
    init?(running pid: pid_t) {
        guard pid > 0, let now = Self.stat(pid), now.state != "Z", now.state != "X" else { return nil }
        self.pid = pid
        start = now.start
        boot = Self.bootNow
    }

    /// As `text` writes it, or a pid alone.
    init?(_ text: String) {
        let words = text.split(whereSeparator: \.isWhitespace)
        guard let first = words.first, let pid = pid_t(first), pid > 0 else { return nil }
        self.pid = pid
        start = words.count > 1 ? UInt64(words[1]) : nil
        boot = words.count > 2 ? String(words[2]) : nil
    }

    init?(file path: String) {
        guard let bytes = try? TextFile.read(path), let identity = Self(String(decoding: bytes, as: UTF8.self)) else {
            return nil
        }
        self = identity
    }

    var text: String { ["\(pid)", start.map(String.init), boot].compactMap(\.self).joined(separator: " ") }

    /// Whether this very process runs.
    var isRunning: Bool {
        guard let now = Self(running: pid) else { return false }
        if let boot, boot != now.boot { return false }
        return start == nil || start == now.start
    }

    static var own: ProcessIdentity? { ProcessIdentity(running: getpid()) }

    static let bootNow =
        (try? TextFile.read("/proc/sys/kernel/random/boot_id"))
        .map { String(decoding: $0, as: UTF8.self).trimmed } ?? ""

    /// State, group and moment of start, proc(5). The name in brackets may hold anything.
    private static func stat(_ pid: pid_t) -> (state: String, group: pid_t, start: UInt64)? {
        guard let bytes = try? TextFile.read("/proc/\(pid)/stat") else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        guard let bracket = text.lastIndex(of: ")") else { return nil }
        let words = text[text.index(after: bracket)...].split(separator: " ")
        guard words.count > 19, let group = pid_t(words[2]), let start = UInt64(words[19]) else { return nil }
        return (String(words[0]), group, start)
    }

    // MARK: Ending it

    enum Ending: Equatable { case byItself, killed, never }

    /// Ends it with all that it has started, where it leads a group: first asked, then made to. A shell in front of a program goes at once;
    /// the program behind it has its time all the same, and is not forgotten.
    func end(_ number: Int32, graceMs: Int64, patienceMs: Int64) -> Ending {
        if !isRunning { return .byItself }
        let leads = getpgid(pid) == pid
        kill(leads ? -pid : pid, number)
        if waitForAll(leads, ms: graceMs) { return .byItself }
        kill(leads ? -pid : pid, SIGKILL)
        return waitForAll(leads, ms: patienceMs) || !isRunning ? .killed : .never
    }

    private func waitForAll(_ leads: Bool, ms: Int64) -> Bool {
        let end = Clock.monotonicMs + ms
        while true {
            var status: Int32 = 0
            _ = waitpid(pid, &status, WNOHANG)
            let isRunning = isRunning
            if !isRunning, !leads || !Self.hasMembers(pid) { return true }
            if Clock.monotonicMs >= end { return false }
            clinux_sleep_ms(isRunning ? 5 : 20)
        }
    }

    /// Whether anybody of the group is left who is not only waiting to be buried, as in a container without an init.
    private static func hasMembers(_ group: pid_t) -> Bool {
        if kill(-group, 0) != 0, errno == ESRCH { return false }
        guard let directory = opendir("/proc") else { return false }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if let pid = pid_t(name), let one = stat(pid), one.group == group, one.state != "Z", one.state != "X" { return true }
        }
        return false
    }

    /// True: it has ended by then. A child of ours is buried.
    func waitForEnd(ms: Int64) -> Bool {
        let end = Clock.monotonicMs + ms
        while true {
            var status: Int32 = 0
            _ = waitpid(pid, &status, WNOHANG)
            if !isRunning { return true }
            if Clock.monotonicMs >= end { return false }
            clinux_sleep_ms(5)
        }
    }
}

extension String {
    var trimmed: String {
        var rest = self[...]
        while rest.first?.isWhitespace == true { rest = rest.dropFirst() }
        while rest.last?.isWhitespace == true { rest = rest.dropLast() }
        return String(rest)
    }
}
