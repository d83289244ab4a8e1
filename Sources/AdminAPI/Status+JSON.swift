// The JSON of the running proxy's state and of its events: upstreams and splits by name, as in the JSON of a state.
// Decoding passes over unknown members, so that an older proxyctl can talk to a newer proxyd.

extension Status: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init()
        try json.forEachMember(of: "a status") { (name, value) throws(Problem) in
            switch name {
            case "version": version = try value.decodeString()
            case "revision": revision = try value.decodeCount()
            case "process_id": processID = Int32(try value.decodeInteger(in: 0...Int(Int32.max)))
            case "started_at": startedAtMs = try value.decodeMoment()
            case "now": nowMs = try value.decodeMoment()
            case "workers": workers = try value.decodeInteger(in: 0...(.max))
            case "connections": connections = try value.decodeCount()
            case "requests": requests = try RequestAccount(decoding: value)
            case "upstreams":
                upstreams = try value.named("upstreams by name, as an object") { (name, json) throws(Problem) in
                    try UpstreamStatus(name, json)
                }
            case "splits":
                splits = try value.named("splits by name, as an object") { (name, json) throws(Problem) in
                    try SplitStatus(name, json)
                }
            case "certificates":
                certificates = try value.named("certificates by name, as an object") { (name, json) throws(Problem) in
                    try CertificateStatus(name, json)
                }
            case "journal": journal = try value.decodeString()
            default: return false
            }
            return true
        }
    }

    /// Lists become objects, so their order is that of the names.
    public var json: JSON {
        .members([
            "certificates": .object(certificates.sorted { $0.name < $1.name }.map { JSON.Member($0.name, $0.json) }),
            "connections": .count(connections), "journal": .string(journal), "now": .string(Timestamp.text(ms: nowMs)),
            "process_id": .integer(Int64(processID)), "requests": requests.json, "revision": .count(revision),
            "splits": .object(splits.sorted { $0.name < $1.name }.map { JSON.Member($0.name, $0.json) }),
            "started_at": .string(Timestamp.text(ms: startedAtMs)),
            "upstreams": .object(upstreams.sorted { $0.name < $1.name }.map { JSON.Member($0.name, $0.json) }),
            "version": .string(version), "workers": .integer(Int64(workers)),
        ])
    }
}

extension JSON {
    fileprivate func named<Value>(_ what: String, _ decode: (String, JSON) throws(Problem) -> Value) throws(Problem) -> [Value] {
        guard case .object(let members) = self else { throw wrongType(what) }
        var values: [Value] = []
        for member in members {
            do { values.append(try decode(member.name, member.value)) } catch { throw error.below(member.name) }
        }
        return values
    }
}

extension UpstreamStatus {
    /// - Parameter json: what stands beneath its name.
    public init(_ name: String, _ json: JSON) throws(Problem) {
        self.init(name: name)
        try json.forEachMember(of: "an upstream") { (name, value) throws(Problem) in
            switch name {
            case "servers": servers = try value.list("a list of servers") { (json) throws(Problem) in try ServerStatus(decoding: json) }
            case "panic": isPanicking = try value.decodeBool()
            case "panics": panics = try value.decodeInteger(in: 0...(.max))
            case "ejections": ejections = try value.decodeInteger(in: 0...(.max))
            case "retries_refused": retriesRefused = try value.decodeInteger(in: 0...(.max))
            case "retries": retries = try value.decodeInteger(in: 0...(.max))
            case "requests_refused": requestsRefused = try value.decodeInteger(in: 0...(.max))
            case "queue": queue = try value.decodeOptional { (json) throws(Problem) in try QueueStatus(decoding: json) }
            case "health": health = try UpstreamHealth(self.name, value)
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "ejections": .integer(Int64(ejections)), "health": health?.summary, "panic": .bool(isPanicking), "panics": .integer(Int64(panics)), "queue": queue?.json,
            "requests_refused": .integer(Int64(requestsRefused)), "retries": .integer(Int64(retries)),
            "retries_refused": .integer(Int64(retriesRefused)), "servers": .array(servers.map(\.json)),
        ])
    }
}

extension QueueStatus: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init()
        try json.forEachMember(of: "a queue") { (name, value) throws(Problem) in
            switch name {
            case "size": size = try value.decodeInteger(in: 0...(.max))
            case "max_size": sizeMax = try value.decodeInteger(in: 0...(.max))
            case "overflows": overflows = try value.decodeInteger(in: 0...(.max))
            case "timeouts": timeouts = try value.decodeInteger(in: 0...(.max))
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "max_size": .integer(Int64(sizeMax)), "overflows": .integer(Int64(overflows)), "size": .integer(Int64(size)),
            "timeouts": .integer(Int64(timeouts)),
        ])
    }
}

extension ServerStatus: JSONCodable {
    /// Of answers, in their order.
    static let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"]

    public init(decoding json: JSON) throws(Problem) {
        self.init(id: -1, server: "", weight: 1)
        var hasServer = false
        try json.forEachMember(of: "a server") { (name, value) throws(Problem) in
            switch name {
            case "id": id = try value.decodeInteger(in: -1...(.max))
            case "server":
                server = try value.decodeString()
                hasServer = true
            case "weight": weight = try value.decodeInteger(in: 0...(.max))
            case "backup": backup = try value.decodeBool()
            case "state": state = try value.decodeString()
            case "in_flight": inFlight = try value.decodeInteger(in: 0...(.max))
            case "requests": requests = try value.decodeInteger(in: 0...(.max))
            case "failures": failures = try value.decodeInteger(in: 0...(.max))
            case "errors": errors = try value.decodeInteger(in: 0...(.max))
            case "answers":
                try value.forEachMember(of: "answers by class") { (name, value) throws(Problem) in
                    guard let place = Self.classes.firstIndex(of: name) else { return false }
                    answers[place] = try value.decodeInteger(in: 0...(.max))
                    return true
                }
            case "health": health = try ServerHealth("", value)
            default: return false
            }
            return true
        }
        if !hasServer { throw JSON.missing("server", of: "a server") }
        health?.server = server
    }

    public var json: JSON {
        .members([
            "answers": .object(zip(Self.classes, answers).map { JSON.Member($0, .integer(Int64($1))) }), "backup": .bool(backup),
            "errors": .integer(Int64(errors)), "failures": .integer(Int64(failures)),
            "health": health?.json, "id": .integer(Int64(id)),
            "in_flight": .integer(Int64(inFlight)), "requests": .integer(Int64(requests)), "server": .string(server),
            "state": .string(state),
            "weight": .integer(Int64(weight)),
        ])
    }
}

extension SplitStatus {
    /// - Parameter json: what stands beneath its name.
    public init(_ name: String, _ json: JSON) throws(Problem) {
        self.init(name: name, weights: [:])
        try json.forEachMember(of: "a split") { (name, value) throws(Problem) in
            switch name {
            case "weights": weights = try value.decodeWeights()
            case "held": isHeld = try value.decodeBool()
            case "holding": holding = try value.decodeInteger(in: 0...(.max))
            case "shadow": shadow = try value.decodeOptional { (json) throws(Problem) in try ShadowStatus(decoding: json) }
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "held": .bool(isHeld), "holding": .integer(Int64(holding)), "shadow": shadow?.json,
            "weights": .entries(weights) { .integer(Int64($0)) },
        ])
    }
}

extension Event: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(id: 0, kind: .revision, atMs: 0, revision: 0, subject: "", text: "")
        var missing: Set = ["id", "kind", "at"]
        var (upstream, server, state, why) = ("", "", "", "")
        try json.forEachMember(of: "an event") { (name, value) throws(Problem) in
            switch name {
            case "id": id = try value.decodeCount()
            case "kind": kind = try value.decodeWord(Kind.self)
            case "at": atMs = try value.decodeMoment()
            case "revision": revision = try value.decodeCount()
            case "subject": subject = try value.decodeString()
            case "text": text = try value.decodeString()
            case "upstream": upstream = try value.decodeString()
            case "server": server = try value.decodeString()
            case "state": state = try value.decodeString()
            case "why": why = try value.decodeString()
            default: return false
            }
            missing.remove(name)
            return true
        }
        if let name = missing.min() { throw JSON.missing(name, of: "an event") }
        if kind == .health, !upstream.isEmpty { health = HealthEvent(upstream: upstream, server: server, state: state, why: why) }
    }

    public var json: JSON {
        .members([
            "at": .string(Timestamp.text(ms: atMs)), "id": .count(id), "kind": .string(kind.rawValue),
            "revision": .count(revision),
            "server": health.map { .string($0.server) }, "state": health.map { .string($0.state) },
            "subject": .string(subject), "text": .string(text), "upstream": health.map { .string($0.upstream) }, "why": health.map { .string($0.why) },
        ])
    }
}
