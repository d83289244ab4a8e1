// The JSON of rollouts as the admin API answers it: lists, one with its figures and entries, records, replays.
// Made of a machine or of what is kept of one. It decides nothing.

import AdminAPI
import Rollout

enum RolloutAnswers {
    /// As in lists.
    static func summary(_ machine: RolloutMachine, _ facts: RolloutFacts) -> JSON {
        let plan = machine.plan
        return .members([
            "finding": machine.finding?.json, "new": .string(plan.new), "number": .integer(Int64(clamping: plan.number)), "old": .string(plan.old),
            "percent": .integer(Int64(machine.percent)), "phase": .string(machine.phase.rawValue), "policy": .string(plan.policy.name),
            "reason": .string(facts.reason), "revision": machine.revision.map { .integer(Int64(clamping: $0)) }, "split": .string(plan.split),
            "started": .string(Timestamp.text(ms: facts.atMs)), "step": .integer(Int64(machine.step)),
            "steps": .array(plan.policy.steps.map { .integer(Int64($0)) }), "strategy": .string(plan.policy.strategy.rawValue),
            "who": .string(facts.who),
        ])
    }

    /// With what it sees now and what it has said.
    static func whole(_ rollout: LiveRollout) -> JSON {
        let machine = rollout.machine
        return summary(machine, rollout.facts).merging(.members([
            "due": machine.dueMs.map { .string(Timestamp.text(ms: $0)) }, "entries": entries(rollout.record),
            "figures": .members(["new": figures(machine.seen.new, machine.plan), "old": figures(machine.seen.old, machine.plan)]),
            "plan": machine.plan.policy.json, "way_back": .string(machine.isWayBackSick ? "sick" : "well"),
        ]))
    }

    static func whole(_ ended: EndedRollout, _ record: RolloutRecord?) -> JSON {
        ended.summary.merging(.members(["entries": record.map(entries) ?? [], "plan": record?.plan.policy.json]))
    }

    private static func entries(_ record: RolloutRecord) -> JSON {
        .array(record.entries.map { entry in
            entry.json.merging(.members(["at": .string(Timestamp.text(ms: entry.atMs))]))
        })
    }

    /// One variant over the window of the guards.
    static func figures(_ seen: Observation, _ plan: RolloutPlan) -> JSON {
        let errors = plan.policy.errorClasses.reduce(UInt64(0)) { $0 &+ seen.errors[$1] }
        func ms(_ share: Double) -> JSON? { seen.latency.quantileUs(share).map { .number(Double($0) / 1000) } }
        let counts = ErrorClass.allCases.filter { seen.errors[$0] > 0 }.map { JSON.Member($0.rawValue, .integer(Int64(clamping: seen.errors[$0]))) }
        return .members([
            "error_ratio": .number(seen.finished == 0 ? 0 : Double(errors) / Double(seen.finished)), "errors": .integer(Int64(clamping: errors)),
            "errors_by_class": .object(counts.sorted { $0.name < $1.name }), "finished": .integer(Int64(clamping: seen.finished)),
            "p50_ms": ms(0.5), "p95_ms": ms(0.95), "p99_ms": ms(0.99), "started": .integer(Int64(clamping: seen.started)),
            "window": .string(NginxTime.text(ms: plan.policy.guards.windowMs)),
        ])
    }

    static func replay(_ replay: RolloutReplay, _ policy: RolloutPolicy) -> JSON {
        .members([
            "ended": replay.endedAtMs.map { .string(Timestamp.text(ms: $0)) },
            "entries": .array(replay.entries.map { $0.json.merging(.members(["at": .string(Timestamp.text(ms: $0.atMs))])) }),
            "errors": .integer(Int64(clamping: replay.newErrors)), "finding": replay.finding?.json, "percent": .integer(Int64(replay.percent)),
            "phase": .string(replay.phase.rawValue), "policy": .string(policy.name), "requests": .integer(Int64(clamping: replay.newRequests)),
            "summary": .string(replay.summary),
        ])
    }
}
