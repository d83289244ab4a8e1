// One `health_check` of an upstream, as words of the configuration and as JSON, with the rules of its fields.
// Read by the directives, by the codecs and by `StateRules`. What a check does is the prober's.

/// One gate that every server of an upstream must pass. Words and defaults are those of NGINX Plus, where it has them.
public struct HealthCheck: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case http, https, tcp, grpc
        /// gRPC over TLS.
        case grpcs

        public var isHTTP: Bool { self == .http || self == .https }
        public var isGRPC: Bool { self == .grpc || self == .grpcs }
        public var usesTLS: Bool { self == .https || self == .grpcs }
    }

    /// Unique in its upstream; empty: what `gate` says.
    public var name = ""
    public var kind = Kind.http
    public var uri = "/"
    /// The name a server is asked by, with TLS too; nil: its address.
    public var host: String?
    /// Nil: the server's own.
    public var port: Int?
    public var intervalMs: Int64 = 5000
    public var jitterMs: Int64 = 0
    /// Of the whole check. 0: as long as the interval, but at most five seconds.
    public var timeoutMs: Int64 = 0
    /// In a row.
    public var fails = 1
    public var passes = 1
    /// The name of a `match`, or the rules themselves, which JSON alone can say. Neither: what is usual.
    public var match: String?
    public var rules: HealthMatch?
    /// After a server has come its failures do not count for so long, or until it has passed.
    public var startPeriodMs: Int64 = 0
    /// A server gets nothing before it has passed. Nil: those that come while the proxy runs.
    public var mandatory: Bool?
    /// Accepted: what is known of a server outlives reloads in any case.
    public var persistent = false
    public var grpcService: String?
    /// The grpc-status that means well; nil: 0 and SERVING.
    public var grpcStatus: Int?

    public init() {}

    /// What the check is called.
    public var gate: String {
        if !name.isEmpty { return name }
        let port = port.map { ":\($0)" } ?? ""
        if kind.isHTTP { return port + uri }
        return kind.rawValue + port + (grpcService.map { "/" + $0 } ?? "")
    }

    public var effectiveTimeoutMs: Int64 { timeoutMs > 0 ? timeoutMs : min(intervalMs, Self.timeoutMsMax) }
    private static let timeoutMsMax: Int64 = 5000

    public static let intervalRangeMs: ClosedRange<Int64> = 10...86_400_000
    public static let timeoutRangeMs: ClosedRange<Int64> = 0...3_600_000
    public static let spanRangeMs: ClosedRange<Int64> = 0...86_400_000
    public static let countRange = 1...1000
    public static let portRange = 1...65535
    public static let statusRange = 0...16
    /// Of one upstream.
    public static let checksMax = 16
}

// MARK: Words

extension HealthCheck {
    public static let directive = "health_check"
    private static let known = [
        "fails", "grpc_service", "grpc_status", "host", "interval", "jitter", "mandatory", "match", "name", "passes", "port", "start_period",
        "timeout", "type", "uri",
    ]

    /// - Parameter words: behind the directive's name.
    /// - Throws: `bad-check`, `bad-time` or `out-of-range`; with an empty pointer.
    public init(words: [String]) throws(Problem) {
        self.init()
        var seen: Set<String> = []
        for word in words {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            let value = parts.count == 2 ? GuardValue(word: word, text: parts[1]) : nil
            if !seen.insert(parts[0]).inserted {
                throw Problem(.badCheck, "found \"\(shortened(parts[0]))\" a second time in \(Self.directive), expected it once", pointer: "")
            }
            do throws(Problem) {
                if try !set(parts[0], value) {
                    let near = nearestField(to: parts[0], among: Self.known + ["persistent"]).map { "did you mean \"\($0)\"?" } ?? ""
                    let expected = Self.known.map { $0 + "=" }.joined(separator: ", ") + " or persistent"
                    throw Problem(.badCheck, "found \"\(shortened(word))\" in \(Self.directive), expected \(expected)", hint: near, pointer: "")
                }
            } catch {
                var problem = error
                if problem.kind == .badBalance { problem.kind = .badCheck }
                throw problem
            }
        }
        try checkFields()
    }

    private mutating func set(_ name: String, _ value: GuardValue?) throws(Problem) -> Bool {
        guard let value else {
            switch name {
            case "mandatory": mandatory = true
            case "persistent": persistent = true
            default: return false
            }
            return true
        }
        switch name {
        case "uri": uri = value.text
        case "host": host = value.text
        case "name": self.name = value.text
        case "match": match = value.text
        case "type":
            guard let kind = Kind(rawValue: value.text) else { throw Self.badKind(value.text) }
            self.kind = kind
        case "port": port = try value.number(Self.portRange)
        case "interval": intervalMs = try value.timeMs(Self.intervalRangeMs)
        case "jitter": jitterMs = try value.timeMs(Self.spanRangeMs)
        case "timeout": timeoutMs = try value.timeMs(Self.timeoutRangeMs)
        case "start_period": startPeriodMs = try value.timeMs(Self.spanRangeMs)
        case "fails": fails = try value.number(Self.countRange)
        case "passes": passes = try value.number(Self.countRange)
        case "grpc_service": grpcService = value.text
        case "grpc_status": grpcStatus = try value.number(Self.statusRange)
        case "mandatory" where value.text == "on" || value.text == "off": mandatory = value.text == "on"
        default: return false
        }
        return true
    }

    private static func badKind(_ text: String) -> Problem {
        let words = Kind.allCases.map(\.rawValue)
        let near = nearestField(to: text, among: words).map { "did you mean \"\($0)\"?" } ?? ""
        return Problem(.badCheck, "found the type \"\(shortened(text))\", expected one of \(words.joined(separator: ", "))", hint: near, pointer: "/type")
    }

    /// The words, without those that have their defaults.
    public var words: [String] { words(match: match) }

    /// - Parameter match: what its rules are called.
    func words(match name: String?) -> [String] {
        let usual = HealthCheck()
        var all: [String] = []
        func add<Value: Equatable>(_ name: String, _ path: KeyPath<HealthCheck, Value>, _ text: (Value) -> String) {
            if self[keyPath: path] != usual[keyPath: path] { all.append("\(name)=\(text(self[keyPath: path]))") }
        }
        add("name", \.name) { $0 }
        add("type", \.kind) { $0.rawValue }
        add("uri", \.uri) { $0 }
        add("host", \.host) { $0 ?? "" }
        add("port", \.port) { "\($0 ?? 0)" }
        add("interval", \.intervalMs) { NginxTime.text(ms: $0) }
        add("jitter", \.jitterMs) { NginxTime.text(ms: $0) }
        add("timeout", \.timeoutMs) { NginxTime.text(ms: $0) }
        add("fails", \.fails) { "\($0)" }
        add("passes", \.passes) { "\($0)" }
        if let name { all.append("match=\(name)") }
        add("start_period", \.startPeriodMs) { NginxTime.text(ms: $0) }
        add("grpc_service", \.grpcService) { $0 ?? "" }
        add("grpc_status", \.grpcStatus) { "\($0 ?? 0)" }
        if let mandatory { all.append(mandatory ? "mandatory" : "mandatory=off") }
        if persistent { all.append("persistent") }
        return all
    }
}

// MARK: JSON

extension HealthCheck: JSONCodable {
    private static let fields = (known + ["persistent"]).sorted()

    public init(decoding json: JSON) throws(Problem) {
        self.init()
        try json.forEachMember(of: "a health check", known: Self.fields) { (name, value) throws(Problem) in
            switch name {
            case "uri": uri = try value.decodeString()
            case "host": host = try value.decodeOptionalString()
            case "name": self.name = try value.decodeString()
            case "match":
                if case .object = value { rules = try HealthMatch(decoding: value) } else { match = try value.decodeOptionalString() }
            case "type":
                let text = try value.decodeString()
                guard let kind = Kind(rawValue: text) else {
                    var problem = Self.badKind(text)
                    problem.pointer = ""
                    throw problem
                }
                self.kind = kind
            case "port": port = try value.decodeOptional { (json) throws(Problem) in try json.decodeInteger(in: Self.portRange) }
            case "interval": intervalMs = try value.decodeSpanMs(isInSeconds: false, in: Self.intervalRangeMs)
            case "jitter": jitterMs = try value.decodeSpanMs(isInSeconds: false, in: Self.spanRangeMs)
            case "timeout": timeoutMs = try value.decodeSpanMs(isInSeconds: false, in: Self.timeoutRangeMs)
            case "start_period": startPeriodMs = try value.decodeSpanMs(isInSeconds: false, in: Self.spanRangeMs)
            case "fails": fails = try value.decodeInteger(in: Self.countRange)
            case "passes": passes = try value.decodeInteger(in: Self.countRange)
            case "grpc_service": grpcService = try value.decodeOptionalString()
            case "grpc_status": grpcStatus = try value.decodeOptional { (json) throws(Problem) in try json.decodeInteger(in: Self.statusRange) }
            case "mandatory": mandatory = try value.decodeOptional { (json) throws(Problem) in try json.decodeBool() }
            case "persistent": persistent = try value.decodeBool()
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "fails": .integer(Int64(fails)), "grpc_service": grpcService.map { .string($0) }, "grpc_status": grpcStatus.map { .integer(Int64($0)) },
            "host": host.map { .string($0) }, "interval": .string(NginxTime.text(ms: intervalMs)), "jitter": .string(NginxTime.text(ms: jitterMs)),
            "mandatory": mandatory.map { .bool($0) }, "match": rules?.json ?? match.map { .string($0) }, "name": name.isEmpty ? nil : .string(name),
            "passes": .integer(Int64(passes)), "persistent": .bool(persistent), "port": port.map { .integer(Int64($0)) },
            "start_period": .string(NginxTime.text(ms: startPeriodMs)), "timeout": .string(NginxTime.text(ms: timeoutMs)),
            "type": .string(kind.rawValue), "uri": kind.isHTTP ? .string(uri) : nil,
        ])
    }
}

// MARK: Rules

extension HealthCheck {
    /// What fields mean together, and what they may hold. Pointers are relative to the check.
    func checkFields() throws(Problem) {
        try Self.check(intervalMs, Self.intervalRangeMs, "interval")
        try Self.check(jitterMs, Self.spanRangeMs, "jitter")
        try Self.check(timeoutMs, Self.timeoutRangeMs, "timeout")
        try Self.check(startPeriodMs, Self.spanRangeMs, "start_period")
        func bad(_ field: String, _ found: String, _ expected: String, hint: String = "") -> Problem {
            Problem(.badCheck, "found \(found), expected \(expected)", hint: hint, pointer: "/" + field)
        }
        func isPlain(_ text: String, _ most: Int) -> Bool {
            !text.isEmpty && text.utf8.count <= most && text.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        }
        if kind.isHTTP {
            if !uri.hasPrefix("/") || !isPlain(uri, StateBounds.textBytesMax) {
                throw bad("uri", "\"\(shortened(uri))\"", "a path that begins with \"/\", without spaces")
            }
        } else if uri != "/" {
            throw bad("uri", "a uri with the type \(kind.rawValue)", "none", hint: "only http and https have one")
        }
        if let host, !isPlain(host, 255) || host.contains("/") { throw bad("host", "\"\(shortened(host))\"", "a host's name, with a port or without") }
        if host != nil, kind == .tcp { throw bad("host", "a host with the type tcp", "none", hint: "tcp asks for no name") }
        if !name.isEmpty, !isPlain(name, StateBounds.nameBytesMax) {
            throw bad("name", "\"\(shortened(name))\"", "1 to \(StateBounds.nameBytesMax) printable characters without spaces")
        }
        if let match, !isPlain(match, StateBounds.nameBytesMax) { throw bad("match", "\"\(shortened(match))\"", "the name of a match block") }
        if let rules { do { try rules.checkFields() } catch { throw error.below("match") } }
        if kind.isGRPC {
            if match != nil || rules != nil { throw bad("match", "a match with the type \(kind.rawValue)", "grpc_status or nothing") }
            if let grpcService, !isPlain(grpcService, StateBounds.textBytesMax) {
                throw bad("grpc_service", "\"\(shortened(grpcService))\"", "the name of a service")
            }
        } else {
            if grpcService != nil { throw bad("grpc_service", "a grpc_service with the type \(kind.rawValue)", "type=grpc") }
            if grpcStatus != nil { throw bad("grpc_status", "a grpc_status with the type \(kind.rawValue)", "type=grpc") }
        }
    }

    private static func check(_ ms: Int64, _ range: ClosedRange<Int64>, _ field: String) throws(Problem) {
        if range.contains(ms) { return }
        let bounds = "\(NginxTime.text(ms: range.lowerBound)) to \(NginxTime.text(ms: range.upperBound))"
        throw Problem(.outOfRange, "found \(ms) milliseconds, expected \(bounds)", pointer: "/" + field)
    }
}

extension StateRules {
    /// Those of an upstream, each by itself and beside the others.
    static func checkHealthChecks(_ checks: [HealthCheck]) throws(Problem) {
        if checks.count > HealthCheck.checksMax {
            throw Problem(.outOfRange, "found \(checks.count) health checks, expected at most \(HealthCheck.checksMax)", pointer: "/health_checks")
        }
        var seen: [String: Int] = [:]
        for (i, check) in checks.enumerated() {
            do throws(Problem) {
                try check.checkFields()
                if let other = seen.updateValue(i, forKey: check.gate) {
                    throw Problem(
                        .badCheck, "found the check \"\(shortened(check.gate))\", which is /health_checks/\(other) already, expected each once",
                        hint: "give one of them another name with \"name=\"", pointer: "/name")
                }
            } catch { throw error.below(String(i)).below("health_checks") }
        }
    }
}
