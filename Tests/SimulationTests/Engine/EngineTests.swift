// The whole engine over the simulated kernel, where nothing is meant to fail: every request gets the whole answer of an upstream.
// A failure names the seed; SIMULATION_SEED replays it, SIMULATION_RUNS runs more of them.

import Simulation
import Testing

@Suite struct EngineTests {
    @Test func onAKindNetwork() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.network = NetworkPlan()
            scenario.faults = FaultPlan()
            scenario.isPerfect = true
            return scenario
        }
    }

    @Test func onARoughNetwork() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.peerCount = dice.pick(1...3)
            if dice.chance(0.3) { scenario.upstream = "least_conn;" }
            scenario.paths.append("/untold/")
            scenario.isPerfect = true
            return scenario
        }
    }
}
