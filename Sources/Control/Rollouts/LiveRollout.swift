// One rollout that lives: its machine, its record, what it has counted so far, and what is written of it.
// Owned by Rollouts, on the control thread. It moves no traffic: actions go to its owner.

import AdminAPI
import Engine
import Rollout

/// What is known of a rollout besides its machine.
struct RolloutFacts: Sendable, Equatable {
    var who = ""
    var reason = ""
    var atMs: Int64 = 0
    /// Of both variants, when it was started.
    var weights: [String: Int] = [:]

    init() {}

    init(_ json: JSON) {
        who = json["who"]?.string ?? ""
        reason = json["reason"]?.string ?? ""
        atMs = json["at_ms"]?.integer ?? 0
        for member in json["weights"]?.object ?? [] { weights[member.name] = Int(clamping: member.value.integer ?? 0) }
    }

    var json: JSON {
        .members([
            "at_ms": .integer(atMs), "reason": .string(reason),
            "weights": .object(weights.sorted { $0.key < $1.key }.map { .init($0.key, .integer(Int64($0.value))) }), "who": .string(who),
        ])
    }
}

final class LiveRollout {
    private(set) var machine: RolloutMachine
    private(set) var record: RolloutRecord
    let facts: RolloutFacts
    let watch: SplitWatch
    /// What the rows came to at the last tick; old and new.
    private var counted: [(tallies: [UInt64], latencies: [UInt64])]
    /// Of health requests that the machine asked for, for the next tick.
    private var probed = Observations()
    /// As last told to the machine.
    private var wayBackWasGood: Bool
    private var healthDueMs: Int64 = 0
    /// Rounds of health checks that failed in a row, as the machine knows it.
    private var failedRounds: [Side: Int]
    /// What shadows of the split had come to at the last look; nil: there was none yet.
    private var shadowed: ShadowTally?
    /// As last said.
    private var shadowTrouble = ""
    /// Lines of the record that are in its file.
    private var linesWritten = 0
    private var stateWrittenMs: Int64?

    init(_ machine: RolloutMachine, _ record: RolloutRecord, _ facts: RolloutFacts, workers: Int) {
        self.machine = machine
        self.record = record
        self.facts = facts
        watch = SplitWatch(variants: [machine.plan.old, machine.plan.new], workers: workers)
        counted = [watch.read(0), watch.read(1)]
        // After a restart the machine believes what it was told before: whatever is otherwise by now is news.
        wayBackWasGood = !machine.isWayBackBad
        failedRounds = [.old: machine.checksFailed(.old), .new: machine.checksFailed(.new)]
    }

    var number: UInt64 { machine.plan.number }
    var plan: RolloutPlan { machine.plan }

    // MARK: Events

    /// What the machine answers; it is in the record.
    func take(_ event: RolloutEvent, atMs: Int64) -> [RolloutAction] {
        let actions = machine.handle(event, atMs: atMs)
        let isQuiet = actions.allSatisfy { if case .wake = $0 { true } else { false } }
        // Ten seconds without anything are one line.
        if isQuiet, case .tick(let seen) = event, seen.isEmpty, case .event(.tick, let fromMs)? = record.lines.last,
            atMs - fromMs < ControlLimits.rolloutQuietMs
        {
            return actions
        }
        record.append(event, atMs: atMs, actions)
        return actions
    }

    func resume(atMs: Int64) -> [RolloutAction] { machine.resumeAfterRestart(atMs: atMs) }

    /// What both variants did since the last call.
    func observe() -> Observations {
        var seen = Observations()
        for (i, side) in [Side.old, .new].enumerated() {
            let now = watch.read(i)
            seen[side] = Self.observation(from: counted[i], to: now)
            counted[i] = now
        }
        seen.add(probed)
        probed = Observations()
        return seen
    }

    private static func observation(
        from before: (tallies: [UInt64], latencies: [UInt64]), to now: (tallies: [UInt64], latencies: [UInt64])
    ) -> Observation {
        func grown(_ tally: VariantTally) -> UInt64 { now.tallies[tally.rawValue] &- before.tallies[tally.rawValue] }
        var seen = Observation()
        seen.started = grown(.started)
        seen.finished = grown(.finished)
        seen.errors[.connect] = grown(.connect)
        seen.errors[.timeout] = grown(.timeout)
        seen.errors[.reset] = grown(.reset)
        seen.errors[.invalidAnswer] = grown(.invalidAnswer)
        seen.errors[.status5xx] = grown(.status5xx)
        seen.errors[.status4xx] = grown(.status4xx)
        seen.errors[.grpcStatus] = grown(.grpcStatus)
        if seen.finished > 0 {
            let latencies = now.latencies.indices.map { now.latencies[$0] &- before.latencies[$0] }
            seen.latency = LatencyHistogram(row: latencies.span)
        }
        return seen
    }

    func add(probe: Observation, of side: Side) { probed[side].add(probe) }

    /// Health is looked at less often than requests: an upstream may have very many servers.
    func isHealthDue(_ nowMs: Int64) -> Bool {
        if nowMs < healthDueMs { return false }
        healthDueMs = nowMs + ControlLimits.rolloutHealthMs
        return true
    }

    /// Nil: the machine knows already.
    func news(ofWayBack isGood: Bool) -> RolloutEvent? {
        if wayBackWasGood == isGood { return nil }
        wayBackWasGood = isGood
        return .wayBack(isGood: isGood)
    }

    /// - Parameter count: in a row, up to now.
    func news(ofFailedRounds count: Int, _ side: Side) -> [RolloutEvent] {
        let known = failedRounds[side] ?? 0
        failedRounds[side] = count
        if count == known { return [] }
        let isGone = count < known
        let more = min(isGone ? count : count - known, ControlLimits.rolloutRoundsToldMax)
        return (isGone ? [.check(side, isGood: true)] : []) + (0..<more).map { _ in .check(side, isGood: false) }
    }

    // MARK: Shadow

    /// Only what comes from here on is this rollout's.
    func beginShadow(at tally: ShadowTally) { if shadowed == nil { shadowed = tally } }

    /// Nil: nothing was compared since the last look.
    func grown(shadow now: ShadowTally) -> ShadowCounts? {
        let before = shadowed ?? now
        shadowed = now
        return now == before ? nil : ShadowCounts(from: before, to: now)
    }

    func isFirstShadowTrouble(_ text: String) -> Bool {
        defer { shadowTrouble = text }
        return text != shadowTrouble
    }

    // MARK: Weights

    static func weights(percent: Int, _ plan: RolloutPlan) -> [String: Int] { [plan.old: 100 - percent, plan.new: percent] }

    /// What the split's weights may be, as far as the rollout knows.
    func isOwn(_ weights: [String: Int]) -> Bool {
        let ours = weights.filter { $0.key == plan.old || $0.key == plan.new }
        if weights.contains(where: { $0.value > 0 && ours[$0.key] == nil }) { return false }
        if machine.revision == nil, ours == facts.weights { return true }
        if machine.revision != nil, ours == Self.weights(percent: machine.percent, plan) { return true }
        return machine.wantedPercent.map { ours == Self.weights(percent: $0, plan) } ?? false
    }

    // MARK: Files

    var stateJSON: JSON { .members(["facts": facts.json, "machine": machine.json]) }

    /// Writes what is new.
    /// - Parameter isDecision: the state is durable at the return; else it is written now and then.
    func write(to store: RolloutStore, nowMs: Int64, isDecision: Bool) throws(JournalFailure) {
        if !store.keeps { return }
        // A tick at the end may grow yet.
        var whole = record.lines.count
        if !isDecision, case .event(.tick, _)? = record.lines.last { whole -= 1 }
        if linesWritten == 0 || whole < linesWritten {
            try store.keep(record: record, lines: whole)
        } else if whole > linesWritten {
            try store.append(record.lines[linesWritten..<whole], to: number)
        }
        linesWritten = whole
        let isDue = stateWrittenMs.map { nowMs < $0 || nowMs - $0 >= ControlLimits.rolloutStateMs } ?? true
        if isDecision || isDue {
            try store.keep(state: stateJSON, of: number)
            stateWrittenMs = nowMs
        }
    }
}
