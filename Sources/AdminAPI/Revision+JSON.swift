// The JSON of the history: revisions, differences, conflicts, plans. Answered by /revisions and ?dry_run=1, kept by the journal.
// Decoding passes over unknown members, so that an older proxyctl can talk to a newer proxyd.

extension Revision: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(number: 0, kind: .change, atMs: 0, who: "", reason: "", summary: "")
        var missing: Set = ["revision", "kind", "at"]
        try json.forEachMember(of: "a revision") { (name, value) throws(Problem) in
            switch name {
            case "revision": number = try value.decodeCount()
            case "kind": kind = try value.decodeWord(Kind.self)
            case "at": atMs = try value.decodeMoment()
            case "who": who = try value.decodeString()
            case "reason": reason = try value.decodeString()
            case "summary": summary = try value.decodeString()
            case "restores": restores = try value.decodeOptional { (json) throws(Problem) in try json.decodeCount() }
            case "previous": previous = try value.decodeOptional { (json) throws(Problem) in try json.decodeCount() }
            default: return false
            }
            missing.remove(name)
            return true
        }
        if let name = missing.min() { throw JSON.missing(name, of: "a revision") }
    }

    public var json: JSON {
        .members([
            "at": .string(Timestamp.text(ms: atMs)), "kind": .string(kind.rawValue),
            "previous": previous.map { .count($0) } ?? .null,
            "reason": .string(reason), "restores": restores.map { .count($0) }, "revision": .count(number),
            "summary": .string(summary),
            "who": .string(who),
        ])
    }

    /// The revision and the state it made, side by side: what GET /revisions/{n} answers and, as `.journal`, what the journal
    /// keeps. Read back by `Revision(json:)` and `ProxyState(json:as:)` on `JSON.state`.
    /// Certificates that were replaced at run time stand beside it, where there are any.
    public func json(with state: ProxyState, as form: StateForm = .answer) -> JSON {
        let certificates = state.certificates.isEmpty ? nil : JSON.entries(state.certificates) { $0.json }
        return json.merging(state.json(as: form)).merging(.members(["certificates": certificates]))
    }
}

extension JSON {
    /// The members that are a state, of an object that holds more beside them: for the strict decoding of `ProxyState`.
    public var state: JSON {
        guard case .object(let members) = self else { return self }
        return .object(members.filter { $0.name == "upstreams" || $0.name == "splits" })
    }

    /// A value that is kept as JSON text: as the value; text that is no JSON as a string.
    fileprivate static func embedded(_ text: String) -> JSON { (try? JSON.parse(text)) ?? .string(text) }
}

extension StateDifference: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(.changed, "")
        var missing: Set = ["kind", "pointer"]
        try json.forEachMember(of: "a difference") { (name, value) throws(Problem) in
            switch name {
            case "kind":
                let word = try value.decodeString()
                guard let known = Kind(rawValue: word) else {
                    throw Problem(.outOfRange, "found \"\(shortened(word))\", expected added, removed or changed", pointer: "")
                }
                kind = known
            case "pointer": pointer = try value.decodeString()
            case "from": from = value.text(pretty: false)
            case "to": to = value.text(pretty: false)
            default: return false
            }
            missing.remove(name)
            return true
        }
        if let name = missing.min() { throw JSON.missing(name, of: "a difference") }
    }

    /// `from` and `to` are written as the values they are the text of; absent where there is none.
    public var json: JSON {
        .members([
            "from": from.map { .embedded($0) }, "kind": .string(kind.rawValue), "pointer": .string(pointer),
            "to": to.map { .embedded($0) },
        ])
    }
}

extension MergeConflict: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(pointer: "", was: nil, inFile: nil, running: nil)
        var hasPointer = false
        try json.forEachMember(of: "a conflict") { (name, value) throws(Problem) in
            switch name {
            case "pointer":
                pointer = try value.decodeString()
                hasPointer = true
            case "was": was = value.text(pretty: false)
            case "in_file": inFile = value.text(pretty: false)
            case "running": running = value.text(pretty: false)
            default: return false
            }
            return true
        }
        if !hasPointer { throw JSON.missing("pointer", of: "a conflict") }
    }

    /// Values as in the JSON of a difference.
    public var json: JSON {
        .members([
            "in_file": inFile.map { .embedded($0) }, "pointer": .string(pointer), "running": running.map { .embedded($0) },
            "was": was.map { .embedded($0) },
        ])
    }
}

extension Plan: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(revision: 0)
        var hasRevision = false
        try json.forEachMember(of: "a plan") { (name, value) throws(Problem) in
            switch name {
            case "revision":
                revision = try value.decodeCount()
                hasRevision = true
            case "differences":
                differences = try value.list("a list of differences") { (json) throws(Problem) in
                    try StateDifference(decoding: json)
                }
            case "servers":
                servers = try value.list("a list of servers") { (json) throws(Problem) in try PlannedServer(decoding: json) }
            case "in_flight_on_leaving": inFlightOnLeaving = try value.decodeInteger(in: 0...(.max))
            case "long_lived_on_leaving": longLivedOnLeaving = try value.decodeInteger(in: 0...(.max))
            case "users_that_move":
                usersThatMove = try value.dictionary("percentages by split, as an object") { (json) throws(Problem) in
                    try json.decodeNumber()
                }
            case "warnings": warnings = try value.list("a list of warnings") { (json) throws(Problem) in try json.decodeString() }
            default: return false
            }
            return true
        }
        if !hasRevision { throw JSON.missing("revision", of: "a plan") }
    }

    public var json: JSON {
        .members([
            "differences": .array(differences.map(\.json)), "in_flight_on_leaving": .integer(Int64(inFlightOnLeaving)),
            "long_lived_on_leaving": .integer(Int64(longLivedOnLeaving)), "revision": .count(revision),
            "servers": .array(servers.map(\.json)),
            "users_that_move": .entries(usersThatMove) { .number($0) }, "warnings": .array(warnings.map { .string($0) }),
        ])
    }
}

extension PlannedServer: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(upstream: "", server: "", state: "")
        var missing: Set = ["upstream", "server", "state"]
        try json.forEachMember(of: "a planned server") { (name, value) throws(Problem) in
            switch name {
            case "upstream": upstream = try value.decodeString()
            case "server": server = try value.decodeString()
            case "state": state = try value.decodeString()
            default: return false
            }
            missing.remove(name)
            return true
        }
        if let name = missing.min() { throw JSON.missing(name, of: "a planned server") }
    }

    public var json: JSON { .members(["server": .string(server), "state": .string(state), "upstream": .string(upstream)]) }
}
