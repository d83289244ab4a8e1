// What is known of the health of an upstream, its servers and its gates at one moment, and its JSON.
// Made by the health board; shown by /status, by GET of upstreams, by `upstream_health` and by proxyctl.

/// An upstream with health checks.
public struct UpstreamHealth: Sendable, Equatable {
    public var name: String
    public var gates: [GateHealth] = []
    public var servers: [ServerHealth] = []
    /// Servers that pass all gates, and all that are asked.
    public var healthy = 0
    public var total = 0
    public init(name: String) { self.name = name }

    /// Failures in a row of the server that does worst at any gate.
    public var failedInRow: Int { gates.map(\.failedInRow).max() ?? 0 }
    /// Rounds in a row in which no server passed, of the gate that does worst.
    public var failedRounds: Int { gates.map(\.failedRounds).max() ?? 0 }
    public var isHealthy: Bool { healthy > 0 }

    /// By the server's name. Of several addresses of a name, what serves speaks for it, and figures are added up.
    public var byServer: [String: ServerHealth] {
        Dictionary(servers.map { ($0.server, $0) }) { a, b in
            var one = a.state == .up || b.state != .up ? a : b
            (one.checks, one.fails, one.unhealthy) = (a.checks + b.checks, a.fails + b.fails, a.unhealthy + b.unhealthy)
            return one
        }
    }
    /// Neither well nor sick is known of any server.
    public var isUndecided: Bool { !servers.isEmpty && servers.allSatisfy { $0.state == .checking || $0.state == .down } }
}

/// One `health_check` of an upstream.
public struct GateHealth: Sendable, Equatable {
    public var name: String
    public var passing = 0
    public var failing = 0
    /// Not asked yet, or not well yet.
    public var checking = 0
    /// Failures in a row: of the server that does worst, and of the one that does best.
    public var failedInRow = 0
    public var failedRounds = 0
    /// Why the last failure was one; nil: none is under way.
    public var why: String?
    public init(name: String) { self.name = name }
}

/// One server of an upstream with health checks.
public struct ServerHealth: Sendable, Equatable {
    public enum State: String, Sendable, CaseIterable { case up, unhealthy, checking, draining, down }
    public var server: String
    public var state = State.up
    /// Why it is what it is; nil: it is well.
    public var why: String?
    /// Nil: it has been so from the beginning.
    public var changedAtMs: Int64?
    /// Of all gates: checks made, those that failed, how often the server became unhealthy.
    public var checks = 0
    public var fails = 0
    public var unhealthy = 0
    public var lastPassed: Bool?
    public var gates: [ServerGate] = []
    public init(server: String) { self.server = server }
}

/// One gate at one server.
public struct ServerGate: Sendable, Equatable {
    public enum State: String, Sendable, CaseIterable { case checking, passing, failing }
    public var name: String
    public var state = State.checking
    public var failedInRow = 0
    public var lastPassed: Bool?
    public var lastAtMs: Int64?
    public var why: String?
    public init(name: String) { self.name = name }
}

/// What an event of the kind `health` tells besides.
public struct HealthEvent: Sendable, Equatable {
    public var upstream: String
    public var server: String
    public var state: String
    public var why: String
    public init(upstream: String, server: String, state: String, why: String) {
        self.upstream = upstream
        self.server = server
        self.state = state
        self.why = why
    }
}

// MARK: JSON

extension UpstreamHealth {
    /// What stands beneath its name: without the servers, which have their own.
    public var summary: JSON {
        .members([
            "failed_in_row": .integer(Int64(failedInRow)), "failed_rounds": .integer(Int64(failedRounds)), "gates": .array(gates.map(\.json)),
            "healthy": .integer(Int64(healthy)), "total": .integer(Int64(total)),
        ])
    }

    /// - Parameter json: what `summary` made; the servers are read elsewhere.
    public init(_ name: String, _ json: JSON) throws(Problem) {
        self.init(name: name)
        try json.forEachMember(of: "the health of an upstream") { (name, value) throws(Problem) in
            switch name {
            case "gates": gates = try value.list("a list of gates") { (json) throws(Problem) in try GateHealth(decoding: json) }
            case "healthy": healthy = try value.decodeInteger(in: 0...(.max))
            case "total": total = try value.decodeInteger(in: 0...(.max))
            default: return false
            }
            return true
        }
    }
}

extension GateHealth: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(name: "")
        try json.forEachMember(of: "a gate") { (name, value) throws(Problem) in
            switch name {
            case "name": self.name = try value.decodeString()
            case "passing": passing = try value.decodeInteger(in: 0...(.max))
            case "failing": failing = try value.decodeInteger(in: 0...(.max))
            case "checking": checking = try value.decodeInteger(in: 0...(.max))
            case "failed_in_row": failedInRow = try value.decodeInteger(in: 0...(.max))
            case "failed_rounds": failedRounds = try value.decodeInteger(in: 0...(.max))
            case "why": why = try value.decodeOptionalString()
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "checking": .integer(Int64(checking)), "failed_in_row": .integer(Int64(failedInRow)), "failed_rounds": .integer(Int64(failedRounds)),
            "failing": .integer(Int64(failing)), "name": .string(name), "passing": .integer(Int64(passing)), "why": why.map { .string($0) },
        ])
    }
}

extension ServerHealth {
    /// What stands beneath the server.
    public init(_ server: String, _ json: JSON) throws(Problem) {
        self.init(server: server)
        try json.forEachMember(of: "the health of a server") { (name, value) throws(Problem) in
            switch name {
            case "state": state = try value.decodeWord(State.self)
            case "why": why = try value.decodeOptionalString()
            case "since": changedAtMs = try value.decodeOptional { (json) throws(Problem) in try json.decodeMoment() }
            case "checks": checks = try value.decodeInteger(in: 0...(.max))
            case "fails": fails = try value.decodeInteger(in: 0...(.max))
            case "unhealthy": unhealthy = try value.decodeInteger(in: 0...(.max))
            case "last_passed": lastPassed = try value.decodeOptional { (json) throws(Problem) in try json.decodeBool() }
            case "gates": gates = try value.list("a list of gates") { (json) throws(Problem) in try ServerGate(decoding: json) }
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "checks": .integer(Int64(checks)), "fails": .integer(Int64(fails)), "gates": .array(gates.map(\.json)),
            "last_passed": lastPassed.map { .bool($0) }, "since": changedAtMs.map { .string(Timestamp.text(ms: $0)) }, "state": .string(state.rawValue),
            "unhealthy": .integer(Int64(unhealthy)), "why": why.map { .string($0) },
        ])
    }
}

extension ServerGate: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(name: "")
        try json.forEachMember(of: "a gate") { (name, value) throws(Problem) in
            switch name {
            case "name": self.name = try value.decodeString()
            case "state": state = try value.decodeWord(State.self)
            case "failed_in_row": failedInRow = try value.decodeInteger(in: 0...(.max))
            case "last_passed": lastPassed = try value.decodeOptional { (json) throws(Problem) in try json.decodeBool() }
            case "at": lastAtMs = try value.decodeOptional { (json) throws(Problem) in try json.decodeMoment() }
            case "why": why = try value.decodeOptionalString()
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "at": lastAtMs.map { .string(Timestamp.text(ms: $0)) }, "failed_in_row": .integer(Int64(failedInRow)),
            "last_passed": lastPassed.map { .bool($0) }, "name": .string(name), "state": .string(state.rawValue), "why": why.map { .string($0) },
        ])
    }
}
