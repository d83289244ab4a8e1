// The whole engine over the simulated kernel while it changes: a graceful stop and a new snapshot in mid-flight.

import Simulation
import Testing

@Suite struct EngineChangeTests {
    @Test func aGracefulStopFinishesWhatIsInFlight() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.isPerfectWhenStopped = true
            scenario.answerBytesMax = 40_000
            if dice.chance(0.3) { scenario.changeRequest = EngineScenario.upgradeSome }
            scenario.tuneClient = { client, dice in
                if dice.chance(0.3) { client.pace = { _ in EngineScenario.slowPace } }
                if dice.chance(0.3) { client.pipelineDepth = dice.pick(2...4) }
            }
            scenario.plan = { run in run.world.after(run.dice.pick(0...1_500_000_000)) { run.stop() } }
            return scenario
        }
    }

    @Test func aStopAtOnceLeavesNothing() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.changeRequest = EngineScenario.upgradeSome
            scenario.tuneClient = { client, dice in
                if dice.chance(0.3) { client.pace = { _ in EngineScenario.slowPace } }
                client.patienceNs = 30_000_000_000
            }
            let gracefulFirst = dice.chance(0.3)
            scenario.plan = { run in
                let atNs: UInt64 = run.dice.pick(0...1_500_000_000)
                if gracefulFirst { run.world.after(atNs / 2) { run.stop() } }
                run.world.after(atNs) { run.stop(gracefully: false) }
            }
            return scenario
        }
    }

    @Test func aGracefulStopThatTakesTooLongIsCut() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.main = "worker_shutdown_timeout \(dice.pick(1...4))s;"
            scenario.changeAnswer = { answer, _, _, dice in if dice.chance(0.3) { answer.delayNs = 4_500_000_000 } }
            scenario.plan = { run in
                run.world.after(run.dice.pick(0...1_500_000_000)) { run.stop() }
                run.world.after(run.dice.pick(1_500_000_000...3_000_000_000)) { run.stopAgain() }
            }
            return scenario
        }
    }

    @Test func aNewSnapshotTakesOverFromOneRequestToTheNext() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.peerCount = dice.pick(1...3)
            scenario.isPerfect = true
            scenario.requestsEach = 8
            scenario.changeRequest = EngineScenario.upgradeSome
            scenario.tuneClient = { client, dice in
                if dice.chance(0.3) { client.pace = { _ in EngineScenario.slowPace } }
            }
            scenario.plan = { run in
                var atNs: UInt64 = 0
                for _ in 0..<run.dice.pick(1...4) {
                    atNs += run.dice.pick(0...700_000_000)
                    run.publishNewPeers(atNs: atNs)
                }
            }
            return scenario
        }
    }

    @Test func newSnapshotsWhileUpstreamsFail() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.peerCount = dice.pick(1...3)
            scenario.answersAll = true
            EngineFaultTests.failingUpstreams(&scenario, &dice)
            scenario.attemptsMax = 6
            scenario.plan = { run in
                var atNs: UInt64 = 0
                for _ in 0..<run.dice.pick(2...8) {
                    atNs += run.dice.pick(0...1_500_000_000)
                    run.publishNewPeers(atNs: atNs)
                }
            }
            return scenario
        }
    }
}
