// The whole engine over the simulated kernel where an upstream takes only so much at once, and where sick peers are ejected: requests
// wait in line and lose nothing, and whatever fails, the counts balance.

import Simulation
import Testing

@Suite struct EngineOverloadTests {
    /// More clients than connections, with changes in between: each request has its turn.
    @Test func everyRequestInLineHasItsTurn() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.peerCount = dice.pick(1...2)
            scenario.clientCount = 8
            scenario.isPerfect = true
            scenario.peerParameters = "max_conns=\(dice.pick(1...2))"
            scenario.upstream = "\(dice.chance(0.5) ? "least_conn;" : "") queue 1000 timeout=1000s;"
            if dice.chance(0.5) { scenario.tuneClient = { client, dice in if dice.chance(0.3) { client.pace = { _ in EngineScenario.slowPace } } } }
            let changes = dice.chance(0.4)
            scenario.plan = { run in if changes { run.publishNewPeers(atNs: run.dice.pick(0...900_000_000)) } }
            return scenario
        }
    }

    @Test func whateverFailsInLineTheCountsBalance() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.peerCount = dice.pick(1...3)
            scenario.clientCount = dice.pick(4...10)
            scenario.attemptsMax = 2 * scenario.peerCount
            scenario.attemptsWithBodyMax = 2 * scenario.peerCount
            scenario.peerParameters = "max_fails=\(dice.pick(0...2)) fail_timeout=1s slow_start=\(dice.pick(0...3))s"
            if dice.chance(0.7) { scenario.peerParameters += " max_conns=\(dice.pick(1...3))" }
            if dice.chance(0.7) { scenario.upstream += "queue \(dice.pick(1...8)) timeout=\(dice.pick(1...3000))ms;" }
            if dice.chance(0.5) { scenario.upstream += "circuit_breaker max_requests=\(dice.pick(1...6)) max_pending=\(dice.pick(1...4));" }
            if dice.chance(0.5) { scenario.upstream += "retry_budget \(dice.pick(0...50))% min=\(dice.pick(0...2));" }
            if dice.chance(0.5) {
                scenario.upstream += "outlier_detection consecutive_5xx=\(dice.pick(1...3)) interval=100ms min_requests=2 latency=200% "
                scenario.upstream += "base_ejection_time=\(dice.pick(10...900))ms max_ejection_percent=100%;"
            }
            if dice.chance(0.3) { scenario.http = "error_page 502 503 = /said/;" }
            if dice.chance(0.3) { scenario.http += "proxy_ignore_client_abort \(dice.chance(0.5) ? "on" : "off");" }
            EngineFaultTests.failingUpstreams(&scenario, &dice)
            scenario.attemptsMax = 40
            scenario.attemptsWithBodyMax = 40
            EngineFaultTests.failingClients(&scenario)
            let stops = dice.pick(0...4)
            scenario.plan = { run in
                if run.dice.chance(0.3) { run.publishNewPeers(atNs: run.dice.pick(0...900_000_000)) }
                if stops < 2 { run.world.after(run.dice.pick(0...1_500_000_000)) { run.stop(gracefully: stops == 1) } }
            }
            return scenario
        }
    }
}
