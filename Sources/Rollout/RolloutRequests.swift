// What is asked of rollouts by the admin API: a start, a replay, a policy. Bodies of requests, checked and with pointers.
// Decoded by the server; proxyctl writes the same shape.
import AdminAPI

/// A policy by its name, or as it stands.
public enum PolicyReference: Sendable, Equatable {
    case named(String)
    case inline(RolloutPolicy)

    static func decoded(_ fields: Fields, _ name: String) throws(Problem) -> PolicyReference {
        let json = try fields.json(name)
        if let text = json.string { return .named(text) }
        // One that is written for this rollout alone needs no name.
        let named = json.object != nil && json["name"] == nil ? json.merging(.members(["name": .string("unnamed")])) : json
        let policy = try RolloutPolicy(json: named, at: JSONPointer([name]))
        do { try policy.check() } catch {
            throw Problem(error.kind, error.detail, hint: error.hint, pointer: error.pointer.map { "/" + name + $0 })
        }
        return .inline(policy)
    }

    var json: JSON {
        switch self {
        case .named(let name): .string(name)
        case .inline(let policy): policy.json
        }
    }
}

/// POST /rollouts.
public struct RolloutStart: JSONCodable, Equatable {
    public var reason: String?
    public var split: String
    public var to: String
    public var policy: PolicyReference
    /// It leads back from a release that failed: it is frozen rather than rolled back.
    public var isWayBack = false

    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a rollout", known: ["policy", "reason", "split", "to", "way_back"])
        split = try fields.string("split")
        to = try fields.string("to")
        policy = fields.has("policy") == nil ? .inline(RolloutPolicy(name: "canary")) : try PolicyReference.decoded(fields, "policy")
        try fields.setOptional(&reason, "reason") { (name) throws(Problem) in try fields.reason(name) }
        try fields.set(&isWayBack, "way_back", fields.bool)
    }

    public var json: JSON {
        .members([
            "policy": policy.json, "reason": reason.map { .string($0) }, "split": .string(split), "to": .string(to), "way_back": .bool(isWayBack),
        ])
    }
}

/// POST /rollouts/{n}/replay.
public struct ReplayRequest: JSONCodable, Equatable {
    public var reason: String?
    public var policy: PolicyReference

    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a replay", known: ["policy", "reason"])
        policy = try PolicyReference.decoded(fields, "policy")
        try fields.setOptional(&reason, "reason") { (name) throws(Problem) in try fields.reason(name) }
    }

    public var json: JSON { .members(["policy": policy.json, "reason": reason.map { .string($0) }]) }
}

/// PUT /policies/{name}: the policy and why. Its name is that of the path.
public struct PolicyWrite: JSONCodable, Equatable {
    public var reason: String?
    /// Without its name.
    private var body: JSON

    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a rollout policy")
        try fields.setOptional(&reason, "reason") { (name) throws(Problem) in try fields.reason(name) }
        body = .object((json.object ?? []).filter { $0.name != "reason" })
    }

    /// - Throws: what is wrong with it, with the pointer of the field.
    public func policy(named name: String) throws(Problem) -> RolloutPolicy {
        if let own = body["name"], own != .string(name) {
            throw Problem(.badName, "found \(own.string.map { "\"\($0.prefix(64))\"" } ?? "no text"), expected \"\(name)\" or no name", pointer: "/name")
        }
        let policy = try RolloutPolicy(decoding: body.merging(.members(["name": .string(name)])))
        try policy.check()
        return policy
    }

    public var json: JSON { body.merging(.members(["reason": reason.map { .string($0) }])) }
}

extension Fields {
    fileprivate func reason(_ name: String) throws(Problem) -> String {
        let text = try string(name)
        if text.utf8.count <= 1000 { return text }
        throw Problem(.outOfRange, "found \(text.utf8.count) bytes, expected at most 1000", pointer: "/reason")
    }
}
