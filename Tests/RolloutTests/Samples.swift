// Owns what the rollout tests share: observations in one line, a machine driven by hand, short policies.

import AdminAPI

@testable import Rollout

/// One variant: requests that all ended, errors of status 5xx, all answers after `ms`.
func seen(_ requests: UInt64, errors: UInt64 = 0, ms: UInt64 = 50) -> Observation {
    var observation = Observation()
    observation.started = requests
    observation.finished = requests
    observation.errors[.status5xx] = errors
    observation.latency.add(us: ms * 1000, count: requests - errors)
    return observation
}

/// A policy of two short steps.
func shortPolicy(_ set: (inout RolloutPolicy) -> Void = { _ in }) -> RolloutPolicy {
    var policy = RolloutPolicy(name: "short")
    policy.steps = [10, 100]
    policy.intervalMs = 20_000
    policy.warmUpMs = 2_000
    policy.bakeMs = 30_000
    policy.samplesMin = 50
    set(&policy)
    return policy
}

/// A machine with its clock and its proxy, which acknowledges at once unless told otherwise.
struct Drive {
    var machine: RolloutMachine
    var nowMs: Int64 = 1_000_000
    var acknowledges = true
    var actions: [RolloutAction] = []
    var record: RolloutRecord
    private var revision: UInt64 = 0

    init(_ policy: RolloutPolicy, isWayBack: Bool = false) {
        var plan = RolloutPlan(number: 7, split: "app", old: "blue", new: "green", policy: policy)
        plan.isWayBack = isWayBack
        machine = RolloutMachine(plan: plan)
        record = RolloutRecord(plan: plan)
    }

    mutating func give(_ event: RolloutEvent) {
        var events = [event]
        while !events.isEmpty {
            let event = events.removeFirst()
            let answer = machine.handle(event, atMs: nowMs)
            record.append(event, atMs: nowMs, answer)
            actions += answer
            guard acknowledges else { continue }
            for action in answer {
                switch action {
                case .setShare(_, let id), .rollBack(_, let id, _):
                    revision += 1
                    events.append(.switched(id: id, revision: revision))
                default: break
                }
            }
        }
    }

    /// So many seconds with these figures a second.
    mutating func run(_ seconds: Int, old: Observation = seen(180), new: Observation = seen(20)) {
        for _ in 0..<seconds where !machine.phase.isEnd {
            nowMs += 1_000
            var figures = Observations(old: old, new: new)
            if machine.percent == 0 { figures.new = Observation() }
            if machine.percent == 100 { figures.old = Observation() }
            give(.tick(figures))
        }
    }

    /// Started, after ten seconds of usual traffic.
    mutating func start() {
        run(10)
        give(.start)
    }

    var phase: RolloutPhase { machine.phase }
    var shares: [Int] { actions.compactMap { if case .setShare(let percent, _) = $0 { percent } else { nil } } }
    var rollbacks: [Finding] { actions.compactMap { if case .rollBack(0, _, let finding) = $0 { finding } else { nil } } }
    var entries: [RolloutEntry] { actions.compactMap { if case .record(let entry) = $0 { entry } else { nil } } }
    var told: [RolloutEntry.Kind] { actions.compactMap { if case .notify(let entry) = $0 { entry.kind } else { nil } } }
}

/// The problem `body` throws, or nil.
func problem<Value>(_ body: () throws(Problem) -> Value) -> Problem? {
    do {
        _ = try body()
        return nil
    } catch { return error }
}
