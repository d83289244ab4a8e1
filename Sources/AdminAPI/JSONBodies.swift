// The bodies of writes, and the answer to a write: a state's object with a reason beside its fields.
// Decoded by the server, encoded by proxyctl. Strict: a misspelt field is refused before anything changes.

/// What may stand beside the fields of any write. `revision` and `etag` are what GET wrote there; they say nothing.
enum Beside {
    static let names = ["reason", "revision", "etag"]
    static let reasonBytesMax = 1000

    static func reason(of json: JSON) throws(Problem) -> String? {
        guard let value = json["reason"], !value.isNull else { return nil }
        do throws(Problem) {
            let reason = try value.decodeString()
            if reason.utf8.count > reasonBytesMax {
                throw Problem(.outOfRange, "found \(reason.utf8.count) bytes, expected at most \(reasonBytesMax)", pointer: "")
            }
            return reason
        } catch { throw error.below("reason") }
    }

    /// The rest of the body.
    static func decode<Value>(_ json: JSON, _ decode: (JSON) throws(Problem) -> Value) throws(Problem) -> Value {
        do { return try decode(json.without(names)) } catch {
            var problem = error
            // A misspelt field at the top may have been meant for one of these.
            if problem.kind == .unknownField, problem.hint.isEmpty,
                let pointer = problem.pointer.flatMap({ JSONPointer($0)?.tokens }), pointer.count == 1,
                let near = nearestField(to: pointer[0], among: names)
            {
                problem.hint = "did you mean \"\(near)\"?"
            }
            throw problem
        }
    }

    static func adding(_ reason: String?, to json: JSON) -> JSON {
        guard let reason else { return json }
        return json.merging(.members(["reason": .string(reason)]))
    }
}

/// PUT /upstreams.
public struct StateWrite: JSONCodable, Equatable {
    public var reason: String?
    public var upstreams: [String: UpstreamState]
    /// nil: the splits stay.
    public var splits: [String: SplitState]?

    public init(reason: String? = nil, upstreams: [String: UpstreamState], splits: [String: SplitState]? = nil) {
        self.reason = reason
        self.upstreams = upstreams
        self.splits = splits
    }

    public init(decoding json: JSON) throws(Problem) {
        let reason = try Beside.reason(of: json)
        let state = try Beside.decode(json) { (rest) throws(Problem) in try ProxyState(decoding: rest, .request) }
        if json["upstreams"] == nil { throw JSON.missing("upstreams", of: "a state") }
        self.init(reason: reason, upstreams: state.upstreams, splits: json["splits"] == nil ? nil : state.splits)
    }

    public var json: JSON {
        let upstreams = JSON.entries(upstreams) { $0.json }
        return .members([
            "reason": reason.map { .string($0) }, "splits": splits.map { JSON.entries($0) { $0.json } }, "upstreams": upstreams,
        ])
    }
}

/// PUT /upstreams/{name}.
public struct UpstreamWrite: JSONCodable, Equatable {
    public var reason: String?
    public var upstream: UpstreamState

    public init(reason: String? = nil, upstream: UpstreamState) {
        self.reason = reason
        self.upstream = upstream
    }

    public init(decoding json: JSON) throws(Problem) {
        let reason = try Beside.reason(of: json)
        self.init(
            reason: reason,
            upstream: try Beside.decode(json) { (rest) throws(Problem) in try UpstreamState(decoding: rest, .request) })
    }

    public var json: JSON { Beside.adding(reason, to: upstream.json) }
}

/// POST /upstreams/{name}/servers.
public struct ServerWrite: JSONCodable, Equatable {
    public var reason: String?
    public var server: ServerState

    public init(reason: String? = nil, server: ServerState) {
        self.reason = reason
        self.server = server
    }

    public init(decoding json: JSON) throws(Problem) {
        let reason = try Beside.reason(of: json)
        self.init(
            reason: reason,
            server: try Beside.decode(json) { (rest) throws(Problem) in try ServerState(decoding: rest, .request) })
    }

    public var json: JSON { Beside.adding(reason, to: server.json.without(["id"])) }
}

/// PUT /splits/{name}.
public struct SplitWrite: JSONCodable, Equatable {
    public var reason: String?
    public var split: SplitState

    public init(reason: String? = nil, split: SplitState) {
        self.reason = reason
        self.split = split
    }

    public init(decoding json: JSON) throws(Problem) {
        let reason = try Beside.reason(of: json)
        self.init(
            reason: reason, split: try Beside.decode(json) { (rest) throws(Problem) in try SplitState(decoding: rest, .request) })
    }

    public var json: JSON { Beside.adding(reason, to: split.json) }
}

/// PATCH /upstreams/{name}/servers/{id}: what is nil stays.
public struct ServerPatch: JSONCodable, Equatable {
    public var reason: String?
    public var server: String?
    public var weight: Int?
    public var maxConns: Int?
    public var maxFails: Int?
    public var failTimeoutMs: Int64?
    public var slowStartMs: Int64?
    public var backup: Bool?
    public var down: Bool?
    public var drain: Bool?

    public init() {}

    public init(decoding json: JSON) throws(Problem) {
        reason = try Beside.reason(of: json)
        try json.without(Beside.names).forEachMember(of: "a server", known: ServerState.fields) { (name, value) throws(Problem) in
            switch name {
            case "server": server = try value.decodeString()
            case "weight": weight = try value.decodeInteger(in: StateBounds.weight)
            case "max_conns": maxConns = try value.decodeInteger(in: StateBounds.count)
            case "max_fails": maxFails = try value.decodeInteger(in: StateBounds.count)
            case "fail_timeout": failTimeoutMs = try value.decodeSpanMs(isInSeconds: true, in: StateBounds.timeMs)
            case "slow_start": slowStartMs = try value.decodeSpanMs(isInSeconds: true, in: StateBounds.timeMs)
            case "backup": backup = try value.decodeBool()
            case "down": down = try value.decodeBool()
            case "drain": drain = try value.decodeBool()
            // GET gives it; a server keeps its own.
            case "id", "health": break
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "backup": backup.map { .bool($0) }, "down": down.map { .bool($0) }, "drain": drain.map { .bool($0) },
            "fail_timeout": failTimeoutMs.map { .string(NginxTime.text(ms: $0)) },
            "max_conns": maxConns.map { .integer(Int64($0)) },
            "max_fails": maxFails.map { .integer(Int64($0)) }, "reason": reason.map { .string($0) },
            "server": server.map { .string($0) }, "slow_start": slowStartMs.map { .string(NginxTime.text(ms: $0)) },
            "weight": weight.map { .integer(Int64($0)) },
        ])
    }

    /// Sets what is named. The id is the controller's to give when the address changes.
    public func apply(to state: inout ServerState) {
        if let server { state.server = server }
        if let weight { state.weight = weight }
        if let maxConns { state.maxConns = maxConns }
        if let maxFails { state.maxFails = maxFails }
        if let failTimeoutMs { state.failTimeoutMs = failTimeoutMs }
        if let slowStartMs { state.slowStartMs = slowStartMs }
        if let backup { state.backup = backup }
        if let down { state.down = down }
        if let drain { state.drain = drain }
    }
}

/// PATCH /splits/{name}: weights that are not named stay.
public struct WeightsPatch: JSONCodable, Equatable {
    public var reason: String?
    public var weights: [String: Int]

    public init(reason: String? = nil, weights: [String: Int]) {
        self.reason = reason
        self.weights = weights
    }

    public init(decoding json: JSON) throws(Problem) {
        let reason = try Beside.reason(of: json)
        var weights: [String: Int]?
        try json.without(Beside.names).forEachMember(of: "a change of weights", known: ["weights"]) {
            (name, value) throws(Problem) in
            if name != "weights" { return false }
            weights = try value.decodeWeights()
            return true
        }
        guard let weights else { throw JSON.missing("weights", of: "a change of weights") }
        self.init(reason: reason, weights: weights)
    }

    public var json: JSON {
        .members(["reason": reason.map { .string($0) }, "weights": .entries(weights) { .integer(Int64($0)) }])
    }
}

/// A body with nothing in it but perhaps a reason: POST /undo, a restore, a drain. An empty body counts as one.
public struct ReasonOnly: JSONCodable, Equatable {
    public var reason: String?

    public init(reason: String? = nil) { self.reason = reason }

    public init(decoding json: JSON) throws(Problem) {
        reason = try Beside.reason(of: json)
        try json.without(Beside.names).forEachMember(of: "the body", known: ["reason"]) { (_, _) throws(Problem) in false }
    }

    public init(body: [UInt8], limits: JSONLimits = JSONLimits()) throws(Problem) {
        try self.init(decoding: body.isEmpty ? .object([]) : try JSON.parse(body, limits: limits))
    }

    public var json: JSON { .members(["reason": reason.map { .string($0) }]) }
}

/// The answer to a write.
public struct Accepted: JSONCodable, Equatable {
    /// The revision that is current now.
    public var revision: UInt64
    /// The one that was before the write: `revision` itself when nothing changed.
    public var previous: UInt64?
    public var changed: Bool
    public var summary: String
    public var reason: String
    /// What is to be told beside it. Only answers whose schema has them tell it.
    public var warnings: [String] = []

    public init(revision: UInt64, previous: UInt64?, changed: Bool, summary: String = "", reason: String = "") {
        self.revision = revision
        self.previous = previous
        self.changed = changed
        self.summary = summary
        self.reason = reason
    }

    public init(decoding json: JSON) throws(Problem) {
        self.init(revision: 0, previous: nil, changed: false)
        var hasRevision = false
        try json.forEachMember(of: "an answer") { (name, value) throws(Problem) in
            switch name {
            case "revision":
                revision = try value.decodeCount()
                hasRevision = true
            case "previous": previous = try value.decodeOptional { (json) throws(Problem) in try json.decodeCount() }
            case "changed": changed = try value.decodeBool()
            case "summary": summary = try value.decodeString()
            case "reason": reason = try value.decodeString()
            case "warnings": warnings = try value.list("a list of warnings") { (json) throws(Problem) in try json.decodeString() }
            default: return false
            }
            return true
        }
        if !hasRevision { throw JSON.missing("revision", of: "an answer") }
    }

    public var json: JSON {
        .members([
            "changed": .bool(changed), "previous": previous.map { JSON.count($0) } ?? .null, "reason": .string(reason),
            "revision": .count(revision), "summary": .string(summary),
        ])
    }
}
