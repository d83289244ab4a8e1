// A whole rollout over a simulated service: the machine driven as the controller drives it, with a clock that only counts.
// Called by tests (a few) and by the benchmark (hundreds). Same seed, same outcome.
import Rollout

/// What became of one simulated rollout.
public struct SimulatedOutcome: Sendable {
    public var phase: RolloutPhase
    public var finding: Finding?
    public var percent: Int
    /// From the first faulty request to the switch back; nil: there was none of either.
    public var rollbackAfterMs: Double?
    public var rollbacks = 0
    public var freezes = 0
    /// Users who were given a faulty answer, or waited for one, by the new version.
    public var usersHit = 0
    public var faultyRequests = 0
    public var record: RolloutRecord
}

public enum SimulatedRollout {
    /// - Parameters:
    ///   - tickMs: how often the machine is told.
    ///   - checkEveryMs: between health checks of a variant.
    ///   - restartEveryMs: the machine's state is written and read back so often, as by restarts; nil: never.
    public static func run(
        _ fault: SimulatedFault, seed: UInt64, policy: RolloutPolicy, tickMs: Int64 = 200, checkEveryMs: Int64 = 5_000,
        restartEveryMs: Int64? = nil
    ) -> SimulatedOutcome {
        let plan = RolloutPlan(number: seed, split: "app", old: "blue", new: "green", policy: policy)
        var machine = RolloutMachine(plan: plan)
        var record = RolloutRecord(plan: plan)
        var service = SimulatedService(fault: fault, seed: seed)
        var outcome = SimulatedOutcome(phase: .pending, percent: 0, record: record)
        var revision: UInt64 = 0
        var percent = 0

        func give(_ event: RolloutEvent, _ nowMs: Int64) {
            var events = [event]
            while !events.isEmpty {
                let event = events.removeFirst()
                let actions = machine.handle(event, atMs: nowMs)
                record.append(event, atMs: nowMs, actions)
                for action in actions {
                    switch action {
                    case .setShare(let wanted, let id):
                        revision += 1
                        percent = wanted
                        events.append(.switched(id: id, revision: revision))
                    case .rollBack(let wanted, let id, _):
                        revision += 1
                        percent = wanted
                        outcome.rollbacks += 1
                        if let causeMs = service.causeMs { outcome.rollbackAfterMs = Double(nowMs) - causeMs }
                        events.append(.switched(id: id, revision: revision))
                    case .record(let entry): if entry.kind == .frozen { outcome.freezes += 1 }
                    case .notify, .probe, .wake: break
                    }
                }
            }
        }

        var nowMs: Int64 = 0
        var index = 0
        let startMs: Int64 = 20_000
        // Longer than any policy of the tests takes; a frozen rollout is left after ten minutes.
        while nowMs < 1_200_000, !machine.phase.isEnd, machine.phase != .frozen || nowMs < 600_000 {
            nowMs += tickMs
            index += 1
            let seen = service.tick(index, toMs: Double(nowMs), tickMs: Double(tickMs), newPercent: percent)
            if nowMs == startMs { give(.start, nowMs) }
            give(.tick(seen), nowMs)
            if nowMs % checkEveryMs == 0 { give(.check(.new, isGood: service.check(.new, atMs: Double(nowMs))), nowMs) }
            if nowMs % checkEveryMs == checkEveryMs / 2 / tickMs * tickMs {
                give(.check(.old, isGood: service.check(.old, atMs: Double(nowMs))), nowMs)
            }
            if let restartEveryMs, nowMs % restartEveryMs == 0,
                let restored = try? RolloutMachine(body: machine.json.bytes(pretty: false))
            {
                machine = restored
            }
        }
        outcome.phase = machine.phase
        outcome.finding = machine.finding
        outcome.percent = machine.percent
        outcome.usersHit = service.usersHit.count
        outcome.faultyRequests = service.faultyRequests
        outcome.record = record
        return outcome
    }
}
