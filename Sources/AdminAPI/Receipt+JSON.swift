// The JSON of a receipt. `balances` is written for the reader and worked out anew from what is read back.
// Decoding passes over unknown members, so that an older proxyctl can talk to a newer proxyd.

extension RequestAccount: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init()
        try json.forEachMember(of: "an account of requests") { (name, value) throws(Problem) in
            switch name {
            case "started": started = try value.decodeCount()
            case "completed": completed = try value.decodeCount()
            case "aborted_by_client": abortedByClient = try value.decodeCount()
            case "failed_by_upstream": failedByUpstream = try value.decodeCount()
            case "failed_by_proxy": failedByProxy = try value.decodeCount()
            case "moved": moved = try value.decodeCount()
            case "in_flight": inFlight = try value.decodeCount()
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "aborted_by_client": .count(abortedByClient), "completed": .count(completed),
            "failed_by_proxy": .count(failedByProxy),
            "failed_by_upstream": .count(failedByUpstream), "in_flight": .count(inFlight), "moved": .count(moved),
            "started": .count(started),
        ])
    }
}

extension Receipt: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init(revision: 0)
        var hasRevision = false
        try json.forEachMember(of: "a receipt") { (name, value) throws(Problem) in
            switch name {
            case "revision":
                revision = try value.decodeCount()
                hasRevision = true
            case "reason": reason = try value.decodeString()
            case "who": who = try value.decodeString()
            case "at": atMs = try value.decodeMoment()
            case "before": before = try RequestAccount(decoding: value)
            case "after": after = try RequestAccount(decoding: value)
            case "carried": carried = try RequestAccount(decoding: value)
            case "workers": workers = try value.decodeInteger(in: 0...(.max))
            case "final": isFinal = try value.decodeBool()
            default: return try takeFigure(name, value)
            }
            return true
        }
        if !hasRevision { throw JSON.missing("revision", of: "a receipt") }
    }

    private mutating func takeFigure(_ name: String, _ value: JSON) throws(Problem) -> Bool {
        switch name {
        case "tunnels_carried": tunnelsCarried = try value.decodeCount()
        case "held": held = try value.decodeCount()
        case "retried": retried = try value.decodeCount()
        case "inner": inner = try value.decodeCount()
        case "mirrors_dropped": mirrorsDropped = try value.decodeCount()
        case "closed_by_client": closedByClient = try value.decodeCount()
        case "closed_by_proxy": closedByProxy = try value.decodeCount()
        case "closed_by_drain": closedByDrain = try value.decodeCount()
        case "visible_after_us":
            visibleAfterUs = try value.decodeOptional { (json) throws(Problem) in Int64(try json.decodeInteger(in: 0...(.max))) }
        case "slowest_drain_ms":
            slowestDrainMs = try value.decodeOptional { (json) throws(Problem) in Int64(try json.decodeInteger(in: 0...(.max))) }
        default: return false
        }
        return true
    }

    public var json: JSON {
        .members([
            "after": after.json, "at": .string(Timestamp.text(ms: atMs)), "balances": .bool(balances), "before": before.json,
            "carried": carried.json, "closed_by_client": .count(closedByClient), "closed_by_drain": .count(closedByDrain),
            "closed_by_proxy": .count(closedByProxy), "final": .bool(isFinal), "held": .count(held), "inner": .count(inner),
            "mirrors_dropped": .count(mirrorsDropped), "reason": .string(reason),
            "retried": .count(retried), "revision": .count(revision),
            "slowest_drain_ms": slowestDrainMs.map { .integer($0) } ?? .null,
            "tunnels_carried": .count(tunnelsCarried), "visible_after_us": visibleAfterUs.map { .integer($0) } ?? .null,
            "who": .string(who),
            "workers": .integer(Int64(workers)),
        ])
    }
}
