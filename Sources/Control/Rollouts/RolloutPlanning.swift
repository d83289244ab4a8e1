// Whether a rollout can start, and between which variants: asked before anything is changed.
// Called by the admin server. It changes nothing.

import AdminAPI
import Rollout

/// A rollout that can start.
struct WantedRollout {
    var plan: RolloutPlan
    /// Of both variants now.
    var weights: [String: Int]
    var warnings: [String] = []
}

extension RolloutFacts {
    init(who: String, reason: String, atMs: Int64, weights: [String: Int]) {
        self.init()
        self.who = who
        self.reason = reason
        self.atMs = atMs
        self.weights = weights
    }
}

extension Rollouts {
    /// - Parameter overrides: also to a variant that is sick.
    func plan(_ start: RolloutStart, _ policy: RolloutPolicy, overrides: Bool) throws(Problem) -> WantedRollout {
        let state = controller.running.state
        let split = try located("/split") { () throws(Problem) in try state.split(named: start.split) }
        if let other = live.first(where: { $0.plan.split == start.split }) {
            throw Problem(.rolloutLive, "the rollout \(other.number) moves the split \(start.split)", hint: "abort it, or let it come to its end")
        }
        if live.count >= ControlLimits.rolloutsLiveMax {
            throw Problem(.busy, "\(live.count) rollouts live already, expected fewer than \(ControlLimits.rolloutsLiveMax)")
        }
        guard let share = split.weights[start.to] else {
            throw Problem(
                .unknownVariant, "the split \(start.split) has no variant \(AdminText.shown(start.to))",
                hint: "it has \(split.weights.keys.sorted().joined(separator: ", "))", pointer: "/to")
        }
        let serving = split.weights.filter { $0.value > 0 && $0.key != start.to }
        guard let old = serving.keys.first, serving.count == 1 else {
            let words = serving.isEmpty ? "\(start.to) has everything already" : "several variants serve: \(serving.keys.sorted().joined(separator: ", "))"
            throw Problem(.conflict, words, hint: serving.isEmpty ? "" : "give all but one of them the weight 0 first", pointer: "/to")
        }
        let total = split.weights.values.reduce(0, +)
        if let first = policy.steps.first, share * 100 > first * total {
            throw Problem(
                .conflict, "\(start.to) has \(share) of \(total) already, more than the first step of \(first) %",
                hint: "users would be sent back: begin with a larger step", pointer: "/policy/steps/0")
        }
        try located("/policy") { () throws(Problem) in try expectPossible(policy) }
        if policy.shadow != nil, let shadow = split.shadow {
            throw Problem(
                .conflict, "requests of \(start.split) are mirrored to \(shadow.to) already, and the policy has a shadow gate of its own",
                hint: "take the shadow off the split, or the gate out of the policy", pointer: "/policy/shadow")
        }
        var plan = RolloutPlan(number: 0, split: start.split, old: old, new: start.to, policy: policy)
        plan.isWayBack = start.isWayBack
        var wanted = WantedRollout(plan: plan, weights: [old: split.weights[old] ?? 0, start.to: share])
        if let condition = controller.condition(of: old), !condition.canServe {
            wanted.warnings.append("\(old), the way back, is sick: \(condition.words)")
        }
        if let condition = controller.condition(of: start.to), !condition.canServe {
            if !overrides {
                throw Problem(
                    .conflict, "no server of \(start.to) can take requests: \(condition.words)", hint: "?force=1 starts all the same", pointer: "/to")
            }
            wanted.warnings.append("no server of \(start.to) can take requests: \(condition.words)")
        }
        return wanted
    }

    /// Whether this process can do what a policy asks for.
    func expectPossible(_ policy: RolloutPolicy) throws(Problem) {
        for (i, metric) in policy.guards.metrics.enumerated() {
            if case .command = metric.source, outside.commands == nil {
                throw Problem(
                    .outOfRange, "found a command, expected none: no program is run without rollout_commands",
                    hint: "\"rollout_commands FOLDER;\" in the configuration allows the programs of a folder", pointer: "/guards/metrics/\(i)/command")
            }
        }
    }

    private func located<T>(_ pointer: String, _ body: () throws(Problem) -> T) throws(Problem) -> T {
        do { return try body() } catch {
            var problem = error
            problem.pointer = pointer + (error.pointer ?? "")
            throw problem
        }
    }
}
