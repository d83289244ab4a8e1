// What an earlier process knew of servers, as a file beside the journal: read at a start, written by the prober's thread.
// It is a help and no truth: one that is old or cannot be read is as good as none.

import AdminAPI
import CLinux
import Health

struct SavedHealth {
    struct Entry {
        var isFailing: Bool
        var why: String?
    }
    static let fileName = "health"
    /// By upstream, address and gate.
    private var entries: [String: [String: [String: Entry]]] = [:]

    init() {}

    func find(_ upstream: String, _ address: String, _ gate: String) -> Entry? { entries[upstream]?[address]?[gate] }

    /// - Parameters:
    ///   - bytes: of the file.
    ///   - nowMs: of the wall clock. What was written too long ago is worth nothing.
    init?(_ bytes: [UInt8], nowMs: Int64) {
        let limits = JSONLimits(bytesMax: ControlLimits.healthFileBytesMax)
        guard let json = try? JSON.parse(bytes, limits: limits), let at = json["saved_at"]?.string.flatMap({ Timestamp.ms($0) }),
            abs(nowMs - at) <= ControlLimits.healthFileStaleMs
        else { return nil }
        for upstream in json["upstreams"]?.object ?? [] {
            for server in upstream.value.object ?? [] {
                for gate in server.value.object ?? [] {
                    guard let text = gate.value.string else { continue }
                    let entry = Entry(isFailing: !text.isEmpty, why: text.isEmpty ? nil : text)
                    entries[upstream.name, default: [:]][server.name, default: [:]][gate.name] = entry
                }
            }
        }
    }
}

extension HealthBoard {
    /// Before the first pools: what the file of an earlier process says.
    package func remember(_ bytes: [UInt8]) {
        if let saved = SavedHealth(bytes, nowMs: clock.realtimeMs()) { tables.withLock { $0.saved = saved } }
    }

    /// What is known now: an empty text for what passes, else why it does not. What has never passed is not known.
    private func saved() -> JSON {
        let (upstreams, roster) = tables.withLock { tables in
            tables.isUnsaved = false
            let list = tables.upstreams.map { name, upstream in (name, upstream.servers.map { ($0.text, $0.gates) }) }
            return (list, tables.roster)
        }
        var left = ControlLimits.healthEntriesKept
        let members = upstreams.sorted { $0.0 < $1.0 }.map { name, servers -> JSON.Member in
            var members: [JSON.Member] = []
            for (text, gates) in servers where left > 0 {
                let known = gates.compactMap { gate -> JSON.Member? in
                    guard let standing = gate.handle.flatMap({ roster.standing($0) }), standing.hasPassed, standing.state != .assumed else { return nil }
                    return JSON.Member(gate.gate.name, .string(standing.state == .failing ? gate.why ?? "it failed" : ""))
                }
                left -= known.count
                if !known.isEmpty { members.append(JSON.Member(text, .object(known))) }
            }
            return JSON.Member(name, .object(members))
        }
        return .members(["saved_at": .string(Timestamp.text(ms: clock.realtimeMs())), "upstreams": .object(members)])
    }

    var isUnsaved: Bool { tables.withLock { $0.isUnsaved } }

    /// Writes the file anew: whole, or not at all. A disk that does not take it is told of once.
    /// - Returns: why it could not be; nil: it was.
    func save(to folder: String) -> String? {
        let bytes = saved().bytes(pretty: false)
        let (path, new) = ("\(folder)/\(SavedHealth.fileName)", "\(folder)/\(SavedHealth.fileName).new")
        let fd = clinux_open(new, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        if fd < 0 { return "open() \"\(new)\" failed (\(errnoWords(-fd)))" }
        var done = 0
        while done < bytes.count {
            let n = bytes.withUnsafeBytes { $0.baseAddress.map { clinux_write(fd, $0 + done, bytes.count - done) } ?? 0 }
            if n <= 0 { break }
            done += n
        }
        _ = clinux_close(fd)
        if done < bytes.count {
            _ = clinux_unlink(new)
            return "write() to \"\(new)\" failed"
        }
        let r = clinux_rename(new, path)
        return r < 0 ? "rename() to \"\(path)\" failed (\(errnoWords(-r)))" : nil
    }
}
