// The JSON of pools and splits: what GET and PUT /upstreams carry, and what the journal keeps.
// Only types and ranges of single fields are checked here; what fields mean together is for StateRules.

/// Who wrote a state's JSON, and so how it is read.
public enum StateForm: Sendable {
    /// A client's write: unknown fields are refused. The id of a server is passed over, since only the proxy gives ids.
    case request
    /// An answer of proxyd: ids are kept and unknown fields passed over, since a newer proxyd may tell more.
    case answer
    /// The journal: ids and `next_server_id` are kept, so that a restart goes on where it was; unknown fields are refused.
    case journal

    var isStrict: Bool { self != .answer }
}

/// The ranges of single fields; `Int32.max` is nginx's.
public enum StateBounds {
    public static let weight = 0...1_000_000
    public static let count = 0...Int(Int32.max)
    public static let keepalive = 0...1_000_000
    public static let percent = 0...100
    public static let keepaliveRequests = 1...Int(Int32.max)
    /// A thousand years: sums with the clock stay far from overflowing.
    public static let timeMs: ClosedRange<Int64> = 0...(365_000 * 86_400_000)
    public static let maxAgeSeconds: ClosedRange<Int64> = 1...(365_000 * 86_400)
    public static let upstreamsMax = 1024
    public static let splitsMax = 1024
    public static let variantsMax = 64
    public static let serversMax = 20_000
    public static let keysMax = 16
    public static let shadowHeadersMax = 16
    public static let nameBytesMax = 64
    public static let textBytesMax = 1024
}

/// A state type: read and written in three forms.
public protocol StateCodable: JSONCodable {
    init(decoding json: JSON, _ form: StateForm) throws(Problem)
    /// In sorted order of members. `request` and `answer` are written alike; `journal` adds `next_server_id`.
    func json(as form: StateForm) -> JSON
}

extension StateCodable {
    public init(decoding json: JSON) throws(Problem) { try self.init(decoding: json, .request) }
    public var json: JSON { json(as: .answer) }

    public init(json: JSON, at pointer: JSONPointer = .root, as form: StateForm) throws(Problem) {
        do { try self.init(decoding: json, form) } catch { throw error.below(pointer) }
    }
}

extension ProxyState: StateCodable {
    private static let fields = ["splits", "upstreams"]

    /// `revision` and `etag`, which GET writes beside the state, are passed over.
    public init(decoding json: JSON, _ form: StateForm) throws(Problem) {
        self.init()
        try json.forEachMember(of: "a state", known: form.isStrict ? Self.fields : nil) { (name, value) throws(Problem) in
            switch name {
            case "upstreams":
                upstreams = try value.dictionary("upstreams by name, as an object") { (json) throws(Problem) in
                    try UpstreamState(decoding: json, form)
                }
            case "splits":
                splits = try value.dictionary("splits by name, as an object") { (json) throws(Problem) in
                    try SplitState(decoding: json, form)
                }
            case "revision", "etag": break
            default: return false
            }
            return true
        }
    }

    public func json(as form: StateForm) -> JSON {
        .object([
            JSON.Member("splits", .entries(splits) { $0.json(as: form) }),
            JSON.Member("upstreams", .entries(upstreams) { $0.json(as: form) }),
        ])
    }
}

extension UpstreamState: StateCodable {
    private static let fields = [
        "balance", "circuit_breaker", "health_checks", "keepalive", "keepalive_local", "keepalive_requests", "keepalive_time", "keepalive_timeout",
        "outlier_detection", "panic_threshold", "queue", "retry_budget", "servers", "sticky",
    ]

    public init(decoding json: JSON, _ form: StateForm) throws(Problem) {
        self.init()
        var hasServers = false
        var next: Int?
        try json.forEachMember(of: "an upstream", known: form.isStrict ? Self.fields : nil) { (name, value) throws(Problem) in
            switch name {
            case "balance": balance = try value.decodeString()
            case "keepalive":
                keepalive = try value.decodeOptional { (json) throws(Problem) in try json.decodeInteger(in: StateBounds.keepalive)
                }
            case "keepalive_local": keepaliveIsLocal = try value.decodeBool()
            case "keepalive_requests": keepaliveRequests = try value.decodeInteger(in: StateBounds.keepaliveRequests)
            case "keepalive_time": keepaliveTimeMs = try value.decodeSpanMs(isInSeconds: false, in: StateBounds.timeMs)
            case "keepalive_timeout": keepaliveTimeoutMs = try value.decodeSpanMs(isInSeconds: false, in: StateBounds.timeMs)
            case "sticky": sticky = try value.decodeOptionalString()
            case "circuit_breaker": circuitBreaker = try value.decodeOptionalString()
            case "outlier_detection": outlierDetection = try value.decodeOptionalString()
            case "queue": queue = try value.decodeOptionalString()
            case "retry_budget": retryBudget = try value.decodeOptionalString()
            case "health_checks":
                healthChecks = try value.list("a list of health checks") { (json) throws(Problem) in try HealthCheck(decoding: json) }
            case "panic_threshold":
                panicThreshold = try value.decodeOptional { (json) throws(Problem) in try json.decodeInteger(in: StateBounds.percent) }
            case "servers":
                servers = try value.list("a list of servers") { (json) throws(Problem) in try ServerState(decoding: json, form) }
                hasServers = true
            case "next_server_id" where form == .journal: next = try value.decodeInteger(in: 0...(.max))
            default: return false
            }
            return true
        }
        if !hasServers { throw JSON.missing("servers", of: "an upstream") }
        if form != .request { nextServerID = next ?? (servers.map(\.id).max() ?? -1) + 1 }
    }

    public func json(as form: StateForm) -> JSON {
        var members = [JSON.Member("balance", .string(balance))]
        members.reserveCapacity(15)
        if let circuitBreaker { members.append(JSON.Member("circuit_breaker", .string(circuitBreaker))) }
        if !healthChecks.isEmpty { members.append(JSON.Member("health_checks", .array(healthChecks.map(\.json)))) }
        if let keepalive { members.append(JSON.Member("keepalive", .integer(Int64(keepalive)))) }
        members.append(JSON.Member("keepalive_local", .bool(keepaliveIsLocal)))
        members.append(JSON.Member("keepalive_requests", .integer(Int64(keepaliveRequests))))
        members.append(JSON.Member("keepalive_time", .string(NginxTime.text(ms: keepaliveTimeMs))))
        members.append(JSON.Member("keepalive_timeout", .string(NginxTime.text(ms: keepaliveTimeoutMs))))
        if form == .journal { members.append(JSON.Member("next_server_id", .integer(Int64(nextServerID)))) }
        if let outlierDetection { members.append(JSON.Member("outlier_detection", .string(outlierDetection))) }
        if let panicThreshold { members.append(JSON.Member("panic_threshold", .integer(Int64(panicThreshold)))) }
        if let queue { members.append(JSON.Member("queue", .string(queue))) }
        if let retryBudget { members.append(JSON.Member("retry_budget", .string(retryBudget))) }
        members.append(JSON.Member("servers", .array(servers.map { $0.json(as: form) })))
        if let sticky { members.append(JSON.Member("sticky", .string(sticky))) }
        return .object(members)
    }
}

extension ServerState: StateCodable {
    static let fields = ["backup", "down", "drain", "fail_timeout", "max_conns", "max_fails", "server", "slow_start", "weight"]

    public init(decoding json: JSON, _ form: StateForm) throws(Problem) {
        self.init(server: "")
        var hasServer = false
        try json.forEachMember(of: "a server", known: form.isStrict ? Self.fields : nil) { (name, value) throws(Problem) in
            switch name {
            case "server":
                server = try value.decodeString()
                hasServer = true
            case "weight": weight = try value.decodeInteger(in: StateBounds.weight)
            case "max_conns": maxConns = try value.decodeInteger(in: StateBounds.count)
            case "max_fails": maxFails = try value.decodeInteger(in: StateBounds.count)
            case "slow_start": slowStartMs = try value.decodeSpanMs(isInSeconds: true, in: StateBounds.timeMs)
            case "fail_timeout": failTimeoutMs = try value.decodeSpanMs(isInSeconds: true, in: StateBounds.timeMs)
            case "backup": backup = try value.decodeBool()
            case "down": down = try value.decodeBool()
            case "drain": drain = try value.decodeBool()
            case "id": if form != .request { id = try value.decodeInteger(in: -1...(.max)) }
            // GET shows it; nobody writes it.
            case "health" where form != .journal: break
            default: return false
            }
            return true
        }
        if !hasServer { throw JSON.missing("server", of: "a server") }
    }

    public func json(as form: StateForm) -> JSON {
        var members = [
            JSON.Member("backup", .bool(backup)),
            JSON.Member("down", .bool(down)),
            JSON.Member("drain", .bool(drain)),
            JSON.Member("fail_timeout", .string(NginxTime.text(ms: failTimeoutMs))),
            JSON.Member("id", .integer(Int64(id))),
            JSON.Member("max_conns", .integer(Int64(maxConns))),
            JSON.Member("max_fails", .integer(Int64(maxFails))),
            JSON.Member("server", .string(server)),
        ]
        // A journal says it thousands of times.
        if form != .journal || slowStartMs != 0 { members.append(JSON.Member("slow_start", .string(NginxTime.text(ms: slowStartMs)))) }
        members.append(JSON.Member("weight", .integer(Int64(weight))))
        return .object(members)
    }
}

extension SplitState: StateCodable {
    private static let fields = ["assign", "force", "key", "shadow", "weights"]

    public init(decoding json: JSON, _ form: StateForm) throws(Problem) {
        self.init(weights: [:])
        var hasWeights = false
        try json.forEachMember(of: "a split", known: form.isStrict ? Self.fields : nil) { (name, value) throws(Problem) in
            switch name {
            case "weights":
                weights = try value.decodeWeights()
                hasWeights = true
            case "key": key = try value.list("a list of templates") { (json) throws(Problem) in try json.decodeString() }
            case "force": force = try value.decodeOptional { (json) throws(Problem) in try json.decodeString() }
            case "assign": assign = try value.decodeOptional { (json) throws(Problem) in try AssignState(decoding: json, form) }
            case "shadow": shadow = try value.decodeOptional { (json) throws(Problem) in try ShadowState(decoding: json, form) }
            default: return false
            }
            return true
        }
        if !hasWeights { throw JSON.missing("weights", of: "a split") }
    }

    public func json(as form: StateForm) -> JSON {
        var members: [JSON.Member] = []
        if let assign { members.append(JSON.Member("assign", assign.json(as: form))) }
        if let force { members.append(JSON.Member("force", .string(force))) }
        members.append(JSON.Member("key", .array(key.map { .string($0) })))
        if let shadow { members.append(JSON.Member("shadow", shadow.json(as: form))) }
        members.append(JSON.Member("weights", .entries(weights) { .integer(Int64($0)) }))
        return .object(members)
    }
}

extension AssignState: StateCodable {
    private static let fields = ["cookie", "max_age"]

    public init(decoding json: JSON, _ form: StateForm) throws(Problem) {
        var cookie: String?
        var maxAgeMs: Int64?
        try json.forEachMember(of: "an assignment", known: form.isStrict ? Self.fields : nil) { (name, value) throws(Problem) in
            switch name {
            case "cookie": cookie = try value.decodeString()
            case "max_age":
                let range = StateBounds.maxAgeSeconds.lowerBound * 1000...StateBounds.maxAgeSeconds.upperBound * 1000
                maxAgeMs = try value.decodeSpanMs(isInSeconds: true, in: range)
            default: return false
            }
            return true
        }
        guard let cookie else { throw JSON.missing("cookie", of: "an assignment") }
        guard let maxAgeMs else { throw JSON.missing("max_age", of: "an assignment") }
        self.init(cookie: cookie, maxAgeSeconds: maxAgeMs / 1000)
    }

    public func json(as form: StateForm) -> JSON {
        .object([
            JSON.Member("cookie", .string(cookie)),
            JSON.Member("max_age", .string(NginxTime.text(ms: maxAgeSeconds.multipliedReportingOverflow(by: 1000).partialValue))),
        ])
    }
}

extension JSON {
    func decodeOptionalString() throws(Problem) -> String? {
        try decodeOptional { (json) throws(Problem) in try json.decodeString() }
    }

    /// Weights by the name of their variant.
    func decodeWeights() throws(Problem) -> [String: Int] {
        try dictionary("weights by variant, as an object") { (json) throws(Problem) in
            try json.decodeInteger(in: StateBounds.weight)
        }
    }
}
