// The whole engine over the simulated kernel, with limits: requests that wait for their turn get their whole answers all the same, and
// whatever becomes of clients, nobody is counted for ever.

import Simulation
import Testing

@Suite struct EngineLimitTests {
    private static func limited(_ dice: inout SplitMix64) -> EngineScenario {
        var scenario = EngineScenario()
        scenario.workers = dice.pick(1...2)
        // Patience with clients is for what they send, not for what they have to wait.
        scenario.http = """
            limit_req_zone $remote_addr zone=each:1m rate=\(dice.pick(10...60))r/s; limit_req_zone all zone=all:1m rate=\(dice.pick(10...60))r/s;
            limit_conn_zone $remote_addr zone=clients:1m; limit_conn_zone all zone=together:1m;
            limit_req zone=each burst=1000 delay=\(dice.pick(1...5)); limit_req zone=all burst=1000; limit_conn clients 1000; limit_conn together 1000;
            """
        return scenario
    }

    @Test func requestsThatWait() throws {
        try simulate { dice in
            var scenario = Self.limited(&dice)
            scenario.isPerfect = true
            return scenario
        }
    }

    @Test func clientsThatLeaveWhileTheyWait() throws {
        try simulate { dice in
            var scenario = Self.limited(&dice)
            EngineFaultTests.failingClients(&scenario)
            return scenario
        }
    }

    @Test func upstreamsThatFail() throws {
        try simulate { dice in
            var scenario = Self.limited(&dice)
            scenario.peerCount = dice.pick(1...3)
            scenario.answersAll = true
            let http = scenario.http
            EngineFaultTests.failingUpstreams(&scenario, &dice)
            if !scenario.http.contains(http) { scenario.http += http }
            return scenario
        }
    }
}
