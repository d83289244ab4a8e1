// The shadow gate of a rollout: while its machine waits there, safe requests of the split are mirrored to the new variant, and what was
// compared is told to the machine. Called by Rollouts around its events. What is enough and what is too much is decided in Rollout.

import AdminAPI
import Engine
import Rollout

extension ShadowCounts {
    /// What came between two looks.
    init(from before: ShadowTally, to now: ShadowTally) {
        self.init()
        compared = now.compared &- before.compared
        differing = now.differing &- before.differing
        comparedOld = now.comparedOld &- before.comparedOld
        differingOld = now.differingOld &- before.differingOld
    }
}

extension Rollouts {
    /// Sets the shadow of the split where the machine waits for it, and takes it off where it no longer does.
    func settleShadow(_ rollout: LiveRollout) {
        guard let gate = rollout.plan.policy.shadow else { return }
        let (state, _) = controller.running
        guard let split = state.splits[rollout.plan.split] else { return }
        let ours = gate.state(to: rollout.plan.new)
        let isWanted = rollout.machine.phase == .shadowing
        // A shadow of somebody who wrote over this rollout stays.
        if isWanted ? split.shadow == ours : split.shadow != ours { return }
        if isWanted { rollout.beginShadow(at: controller.shadowTally(of: rollout.plan.split)) }
        let author = Author(
            who: "rollout \(rollout.number)", reason: "rollout \(rollout.number): shadow \(isWanted ? "begins" : "ends")", rollout: rollout.number)
        do throws(Problem) {
            _ = try controller.change(.setShadow(split: rollout.plan.split, isWanted ? ours : nil), by: author)
        } catch {
            // Tried again at the next look; until then nothing is compared, and the gate says so when its time is over.
            if rollout.isFirstShadowTrouble(error.detail) {
                warn("rollout \(rollout.number): its shadow cannot \(isWanted ? "begin" : "end"): \(error.detail)")
            }
        }
    }

    /// What was compared since the last look.
    func lookAtShadow(_ rollout: LiveRollout) {
        guard rollout.machine.phase == .shadowing else { return }
        settleShadow(rollout)
        if let counts = rollout.grown(shadow: controller.shadowTally(of: rollout.plan.split)) { feed(.shadow(counts), rollout) }
    }
}
