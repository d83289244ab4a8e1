// The audit log: one line of JSON for each write that was asked for, done or refused. DIR/audit.log, or the error log without a folder.
// Owned by the supervisor, which reopens it at USR1; written by the admin server. A line that cannot be written stops nothing.

import AdminAPI
import CLinux
import Engine
import Synchronization

final class AuditLog: Sendable {
    static let fileName = "audit.log"
    private let path: String?
    private let file: OpenLogFile
    /// Where lines go when there is no file.
    private let say: @Sendable (LogLevel, String) -> Void

    /// - Parameter folder: of `state`; nil: there is none.
    init(folder: String?, say: @escaping @Sendable (LogLevel, String) -> Void) {
        path = folder.map { $0 + "/" + Self.fileName }
        self.say = say
        file = OpenLogFile(path: path ?? "", descriptor: -1)
        reopen()
    }

    deinit { if file.current >= 0 { _ = clinux_close(file.current) } }

    /// A file that cannot be opened keeps its old descriptor.
    func reopen() {
        guard let path else { return }
        let fd = clinux_open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, 0o600)
        let r = fd < 0 ? fd : file.replace(with: fd)
        if r < 0 { say(.alert, "open() \"\(path)\" failed (\(errnoWords(-r)))") }
    }

    /// What was asked and what came of it.
    struct Entry {
        var atMs: Int64
        var who: String
        var method: String
        var path: String
        var reason = ""
        var revision: UInt64?
        var problem: Problem?

        var json: JSON {
            .members([
                "at": .string(Timestamp.text(ms: atMs)), "detail": problem.map { .string($0.detail) }, "method": .string(method),
                "path": .string(String(path.unicodeScalars.prefix(ControlLimits.auditPathMax).map(Character.init))),
                "problem": problem.map { .string($0.kind.rawValue) }, "reason": .string(reason),
                "revision": revision.map { .integer(Int64(clamping: $0)) }, "who": .string(who),
            ])
        }
    }

    func write(_ entry: Entry) {
        let line = entry.json.text(pretty: false)
        if file.current < 0 { return say(.notice, "admin: " + line) }
        file.append(Array((line + "\n").utf8))
    }
}
