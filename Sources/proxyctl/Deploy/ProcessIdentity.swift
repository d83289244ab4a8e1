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
        guard pid > 0, let (state, start) = Self.stat(pid), state != "Z", state != "X" else { return nil }
        self.pid = pid
        self.start = start
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

    /// State and moment of start, proc(5). The name in brackets may hold anything.
    private static func stat(_ pid: pid_t) -> (state: String, start: UInt64)? {
        guard let bytes = try? TextFile.read("/proc/\(pid)/stat") else { return nil }
        let text = String(decoding: bytes, as: UTF8.self)
        guard let bracket = text.lastIndex(of: ")") else { return nil }
        let words = text[text.index(after: bracket)...].split(separator: " ")
        guard words.count > 19, let start = UInt64(words[19]) else { return nil }
        return (String(words[0]), start)
    }

    // MARK: Ending it

    /// To it and to all that it has started, where it leads a group.
    func signal(_ number: Int32) {
        if !isRunning { return }
        if kill(-pid, number) != 0 { kill(pid, number) }
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
