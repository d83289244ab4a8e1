// The lines of a deploy's journal: what was begun, what became of it. The machine's state is what they add up to, and nothing else.
// Made by DeployMachine, kept by proxyctl before anything is done because of them.
import AdminAPI

public struct DeployEntry: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        /// A step is begun; nothing of it has been done yet.
        case begun
        case done, skipped, failed
        /// A person was asked in front of a step, and has answered.
        case asked, approved
        /// Part of a step's undoing is begun, done, or in vain.
        case undo, undone
        case undoFailed = "undo_failed"
        /// Nothing more is done until somebody says `--resume`.
        case paused, resumed
        /// From here on everything is undone.
        case turned
        case ended
    }
    public var kind: Kind
    public var atMs: Int64
    /// The index of the step; nil: it is about none.
    public var step: Int?
    /// Of its undoing.
    public var part = 0
    public var text = ""
    public var who = ""
    /// What whoever did it wants to know later, such as a revision or a pid.
    public var note: JSON?
    public var outcome: DeployOutcome?

    public init(_ kind: Kind, atMs: Int64, step: Int? = nil, text: String = "") {
        self.kind = kind
        self.atMs = atMs
        self.step = step
        self.text = text
    }
}

public enum DeployOutcome: String, Sendable, CaseIterable {
    case done
    /// Done, but some replicas were left as they were, or something old could not be stopped.
    case incomplete
    /// It failed; everything is as before.
    case undone
    /// It failed, and something could not be undone: a person must look.
    case stuck
}

extension DeployEntry: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "an entry of a deploy's journal")
        self.init(try fields.word("kind"), atMs: try fields.integer("at_ms"))
        step = try fields.optional("step") { (name) throws(Problem) in try fields.int(name) }
        part = try fields.optional("part") { (name) throws(Problem) in try fields.int(name) } ?? 0
        text = try fields.optional("text", fields.string) ?? ""
        who = try fields.optional("who", fields.string) ?? ""
        note = fields.has("note")
        outcome = try fields.optional("outcome") { (name) throws(Problem) in try fields.word(name) }
    }

    public var json: JSON {
        .members([
            "at_ms": .integer(atMs), "kind": .string(kind.rawValue), "note": note,
            "outcome": outcome.map { .string($0.rawValue) },
            "part": part == 0 ? nil : .whole(part), "step": step.map { .whole($0) }, "text": text.isEmpty ? nil : .string(text),
            "who": who.isEmpty ? nil : .string(who),
        ])
    }
}

extension DeployRecord: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a deploy")
        self.init(number: try fields.int("number"))
        id = try fields.optional("id", fields.string) ?? ""
        kind = try fields.word("kind")
        name = try fields.string("name")
        to = try fields.string("to")
        from = try fields.string("from")
        commit = try fields.string("commit")
        commitBefore = try fields.string("commit_before")
        services = try fields.strings("services")
        who = try fields.string("who")
        reason = try fields.string("reason")
        steps = try fields.list("steps") { (json, at) throws(Problem) in try DeployStep(json: json, at: at) }
        approvalTimeoutMs = try fields.spanMs("approval_timeout")
        failureAction = try fields.word("failure_action")
        failureRatioMax = try fields.number("failure_ratio_max")
        batches = try fields.int("batches")
        keepsOld = try fields.bool("keeps_old")
    }

    public var json: JSON {
        .members([
            "approval_timeout": .spanMs(approvalTimeoutMs), "batches": .whole(batches), "commit": .string(commit),
            "commit_before": .string(commitBefore), "failure_action": .string(failureAction.rawValue),
            "failure_ratio_max": .figure(failureRatioMax), "from": .string(from), "id": id.isEmpty ? nil : .string(id),
            "keeps_old": .bool(keepsOld), "kind": .string(kind.rawValue), "name": .string(name), "number": .whole(number),
            "reason": .string(reason), "services": .strings(services), "steps": .array(steps.map(\.json)), "to": .string(to),
            "who": .string(who),
        ])
    }
}
