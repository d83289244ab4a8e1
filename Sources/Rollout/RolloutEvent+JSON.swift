// The JSON of events, entries and plans: what a record is written in, one line each.
// Unknown members are passed over; an unknown event is refused.
import AdminAPI

extension RolloutPlan: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a rollout plan")
        self.init(
            number: try fields.count("number"), split: try fields.string("split"), old: try fields.string("old"),
            new: try fields.string("new"), policy: try fields.value("policy"))
        try fields.set(&isWayBack, "way_back", fields.bool)
    }

    public var json: JSON {
        .members([
            "new": .string(new), "number": .tally(number), "old": .string(old), "policy": policy.json, "split": .string(split),
            "way_back": isWayBack ? true : nil,
        ])
    }
}

extension RolloutEvent: JSONCodable {
    private enum Word: String, CaseIterable {
        case start, tick, check, dependency, metric, shadow, switched, refused, operate, overridden
        case wayBack = "way_back"
    }

    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "an event")
        switch try fields.word("event", Word.self) {
        case .start: self = .start
        case .tick: self = .tick(try fields.value("seen"))
        case .check: self = .check(try fields.word("side"), isGood: try fields.bool("good"))
        case .dependency:
            var side: Side?
            try fields.setOptional(&side, "side") { (name) throws(Problem) in try fields.word(name) }
            self = .dependency(try fields.string("name"), side, isGood: try fields.bool("good"))
        case .metric: self = .metric(try fields.string("name"), try fields.word("side"), value: try fields.number("value"))
        case .wayBack: self = .wayBack(isGood: try fields.bool("good"))
        case .shadow: self = .shadow(try fields.value("counts"))
        case .switched: self = .switched(id: try fields.int("id"), revision: try fields.count("revision"))
        case .refused: self = .refused(id: try fields.int("id"), why: try fields.string("why"))
        case .operate: self = .operate(try fields.word("verb"), who: try fields.string("who"))
        case .overridden: self = .overridden(why: try fields.string("why"), who: try fields.string("who"))
        }
    }

    public var json: JSON {
        func members(_ word: Word, _ rest: KeyValuePairs<String, JSON?> = [:]) -> JSON {
            JSON.members(rest).merging(.members(["event": .string(word.rawValue)]))
        }
        switch self {
        case .start: return members(.start)
        case .tick(let seen): return members(.tick, ["seen": seen.json])
        case .check(let side, let isGood): return members(.check, ["good": .bool(isGood), "side": .string(side.rawValue)])
        case .dependency(let name, let side, let isGood):
            return members(
                .dependency, ["good": .bool(isGood), "name": .string(name), "side": side.map { .string($0.rawValue) }])
        case .metric(let name, let side, let value):
            return members(.metric, ["name": .string(name), "side": .string(side.rawValue), "value": .figure(value)])
        case .wayBack(let isGood): return members(.wayBack, ["good": .bool(isGood)])
        case .shadow(let counts): return members(.shadow, ["counts": counts.json])
        case .switched(let id, let revision): return members(.switched, ["id": .whole(id), "revision": .tally(revision)])
        case .refused(let id, let why): return members(.refused, ["id": .whole(id), "why": .string(why)])
        case .operate(let verb, let who): return members(.operate, ["verb": .string(verb.rawValue), "who": .string(who)])
        case .overridden(let why, let who): return members(.overridden, ["who": .string(who), "why": .string(why)])
        }
    }
}

extension RolloutEntry: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "an entry of a rollout's record")
        self.init(
            atMs: try fields.integer("at_ms", in: RolloutMachine.timeRange), kind: try fields.word("kind"),
            phase: try fields.word("phase"), percent: try fields.int("percent", in: 0...100), text: try fields.string("text"),
            figures: [])
        try fields.set(&figures, "figures") { (name) throws(Problem) in
            try fields.list(name) { (json, pointer) throws(Problem) in try Figure(json: json, at: pointer) }
        }
        try fields.setOptional(&finding, "finding") { (name) throws(Problem) in try fields.word(name) }
        try fields.set(&who, "who", fields.string)
        try fields.setOptional(&revision, "revision", fields.count)
    }

    public var json: JSON {
        .members([
            "at_ms": .integer(atMs), "figures": figures.isEmpty ? nil : .array(figures.map(\.json)),
            "finding": finding.map { .string($0.rawValue) }, "kind": .string(kind.rawValue), "percent": .whole(percent),
            "phase": .string(phase.rawValue), "revision": revision.map { .tally($0) }, "text": .string(text),
            "who": who.isEmpty ? nil : .string(who),
        ])
    }
}
