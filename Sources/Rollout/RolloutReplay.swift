// What another policy would have done on the figures of a record. Called for `rollout replay`; it changes nothing.
// Requests that this policy would have sent elsewhere are not invented: the figures of both variants are taken as they were seen.
import AdminAPI

/// The outcome of a replay.
public struct RolloutReplay: Sendable, Equatable {
    /// What the policy would have written.
    public var entries: [RolloutEntry] = []
    public var phase: RolloutPhase
    public var finding: Finding?
    public var percent: Int
    /// When it would have ended, or rolled back; nil: the record ends before.
    public var endedAtMs: Int64?
    /// Requests that the new variant had finished until then, of those recorded.
    public var newRequests: UInt64 = 0
    /// Errors among them.
    public var newErrors: UInt64 = 0
    /// One sentence.
    public var summary = ""
}

extension RolloutRecord {
    /// Plays the events again, every switch of the policy's acknowledged at once.
    ///
    /// Approvals, pauses and resumes of operators are played as they were. Promotions and aborts are not: they answered to
    /// what the recorded policy did.
    /// - Throws: what is wrong with the policy.
    public func replay(_ policy: RolloutPolicy) throws(Problem) -> RolloutReplay {
        try policy.check()
        var other = plan
        other.policy = policy
        var machine = RolloutMachine(plan: other)
        var result = RolloutReplay(phase: .pending, percent: 0)
        var lastMs: Int64?
        var revision: UInt64 = 0
        for case .event(let event, let atMs) in lines {
            switch event {
            case .switched, .refused, .operate(.promote, _), .operate(.abort, _), .overridden: continue
            default: break
            }
            lastMs = atMs
            if case .tick(let seen) = event, !machine.phase.isEnd {
                result.newRequests &+= seen.new.finished
                result.newErrors &+= seen.new.errors.sum(policy.errorClasses)
            }
            var events = [event]
            // An approval that this policy asks for, and that nobody had to give then, is given.
            if machine.phase == .waitingForApproval { events.append(.operate(.approve, who: "replay")) }
            while !events.isEmpty {
                for action in machine.handle(events.removeFirst(), atMs: atMs) {
                    switch action {
                    case .setShare(_, let id), .rollBack(_, let id, _):
                        revision += 1
                        events.append(.switched(id: id, revision: revision))
                    case .record(let entry): result.entries.append(entry)
                    case .notify, .probe, .wake: break
                    }
                }
            }
            if machine.phase.isEnd, result.endedAtMs == nil { result.endedAtMs = atMs }
        }
        result.phase = machine.phase
        result.finding = machine.finding
        result.percent = machine.percent
        result.summary = Self.summary(result, machine.startedAtMs, lastMs)
        return result
    }

    private static func summary(_ result: RolloutReplay, _ startedAtMs: Int64?, _ lastMs: Int64?) -> String {
        guard let startedAtMs, let lastMs else { return "the record has no start" }
        let after = { (ms: Int64) in "after \(Wording.decimal(Double(ms - startedAtMs) / 1000, digits: 1)) s" }
        let seen = "\(Wording.share(result.newErrors, of: result.newRequests)) of the new variant were errors until then"
        let reason = result.finding.map { ": " + $0.text } ?? ""
        if let endedAtMs = result.endedAtMs { return "\(result.phase.rawValue) \(after(endedAtMs))\(reason); \(seen)" }
        return
            "the record ends \(after(lastMs)) with the rollout \(result.phase.rawValue) at \(result.percent) %\(reason); \(seen)"
    }
}
