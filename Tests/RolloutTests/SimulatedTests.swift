// A few of the simulated rollouts of which the benchmark runs hundreds.
import RolloutSimulation
import Testing

@testable import Rollout

@Suite("rollout: simulated releases")
struct SimulatedTests {
    static let seeds: Range<UInt64> = 1_001..<1_004

    /// The default policy with shorter steps, to be quick.
    static var policy: RolloutPolicy {
        var policy = RolloutPolicy(name: "quick")
        policy.intervalMs = 40_000
        policy.bakeMs = 30_000
        return policy
    }

    static let bad: [SimulatedFault] = [
        .make("+2 % errors") { $0.errors = 0.02 }, .make("+5 % errors") { $0.errors = 0.05 },
        .make("300 ms slower") { $0.slowerMs = 300 }, .make("dies after a minute") { $0.diesAfterMs = 60_000 },
    ]

    @Test func healthyReleasesGoThrough() {
        for seed in Self.seeds {
            let outcome = SimulatedRollout.run(SimulatedFault("healthy"), seed: seed, policy: Self.policy, tickMs: 1_000)
            #expect(
                outcome.phase == .succeeded && outcome.rollbacks == 0,
                "seed \(seed): \(outcome.phase) \(String(describing: outcome.finding))")
        }
    }

    @Test(arguments: bad.indices) func badReleasesAreRolledBack(index: Int) {
        let fault = Self.bad[index]
        for seed in Self.seeds {
            let outcome = SimulatedRollout.run(fault, seed: seed, policy: Self.policy, tickMs: 1_000)
            #expect(outcome.phase == .rolledBack && outcome.rollbacks == 1, "\(fault.name), seed \(seed)")
            #expect(outcome.rollbackAfterMs ?? .infinity < 90_000, "\(fault.name), seed \(seed)")
        }
    }

    @Test func aCommonCauseMovesNothing() {
        let fault = SimulatedFault.make("both") {
            $0.commonErrors = 0.5
            $0.commonAfterMs = 20_000
            $0.commonMs = 30_000
        }
        for seed in Self.seeds {
            let outcome = SimulatedRollout.run(fault, seed: seed, policy: Self.policy, tickMs: 1_000)
            #expect(outcome.rollbacks == 0 && outcome.freezes > 0, "seed \(seed)")
        }
    }

    @Test func restartsChangeNothing() {
        let fault = Self.bad[1]
        let straight = SimulatedRollout.run(fault, seed: 7, policy: Self.policy, tickMs: 1_000)
        let restarted = SimulatedRollout.run(fault, seed: 7, policy: Self.policy, tickMs: 1_000, restartEveryMs: 5_000)
        #expect(straight.record == restarted.record && straight.phase == restarted.phase)
    }
}
