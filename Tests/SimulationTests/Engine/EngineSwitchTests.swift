// The whole engine over the simulated kernel while an operator changes weights, pools and servers, undoes, restores and reloads.
// What must hold is in EngineAudit: every receipt balances, nothing begins under what was replaced, nothing is lost.

import AdminAPI
import Control
import Simulation
import Testing

@Suite struct EngineSwitchTests {
    /// Two environments of their own behind a split, beside the upstream that every scenario has.
    static func environments(_ scenario: inout EngineScenario, key: String) {
        scenario.http += " upstream blue { server \(EngineRun.peer(0)); } upstream green { server \(EngineRun.peer(1)); }"
        scenario.http += " split app { blue 100; green 0; \(key) }"
        scenario.locations = """
            location /split/ { proxy_pass http://app; }
            location /live/ { proxy_pass http://app; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade; }
            """
        scenario.peerCount = max(2, scenario.peerCount)
        scenario.paths += ["/split/", "/split/", "/split/"]
    }

    /// One change an operator might make.
    static func plan(_ run: EngineRun, atNs: UInt64) {
        let number = run.dice.pick(0...100)
        let other = EngineRun.peer(run.dice.pick(0...2)).description
        let author = Author(who: "simulated", reason: "seed")
        switch run.dice.pick(0...8) {
        case 0, 1, 2:
            run.change(atNs: atNs, "weights") { (c) throws(Problem) in
                try c.change(.setWeights(split: "app", ["blue": 100 - number, "green": number]), by: author)
            }
        case 3:
            run.change(atNs: atNs, "switch") { (c) throws(Problem) in
                let isBlue = (c.running.state.splits["app"]?.weights["blue"] ?? 0) > 0
                return try c.change(.setWeights(split: "app", ["blue": isBlue ? 0 : 100, "green": isBlue ? 100 : 0]), by: author)
            }
        case 4: run.change(atNs: atNs, "undo") { (c) throws(Problem) in try c.undo(by: author) }
        case 5:
            run.change(atNs: atNs, "restore") { (c) throws(Problem) in
                try c.restore(UInt64(number) % c.running.revision + 1, by: author)
            }
        case 6:
            run.change(atNs: atNs, "add a server") { (c) throws(Problem) in
                try c.change(.addServer(upstream: "green", ServerState(server: other)), by: author)
            }
        case 7:
            run.change(atNs: atNs, "remove a server") { (c) throws(Problem) in
                try c.change(.removeServer(upstream: "green", ServerKey(segment: "0")), by: author)
            }
        default:
            run.change(atNs: atNs, "drain, or a lost race") { (c) throws(Problem) in
                var patch = ServerPatch()
                patch.drain = number % 2 == 0
                patch.weight = number % 3
                return try c.change(.patchServer(upstream: "blue", ServerKey(segment: "0"), patch), by: author, ifMatch: number % 5 == 0 ? 1 : nil)
            }
        }
    }

    @Test func changesInMidFlightLoseNothing() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.requestsEach = 10
            scenario.isPerfect = true
            Self.environments(&scenario, key: dice.chance(0.5) ? "key $http_x_id;" : "")
            scenario.changeRequest = EngineScenario.upgradeSome
            scenario.plan = { run in
                var atNs: UInt64 = 0
                for _ in 0..<run.dice.pick(3...12) {
                    atNs += run.dice.pick(0...400_000_000)
                    let number = run.dice.pick(0...100)
                    let author = Author(who: "simulated")
                    if number < 15 {
                        run.change(atNs: atNs, "undo") { (c) throws(Problem) in try c.undo(by: author) }
                    } else {
                        run.change(atNs: atNs, "weights") { (c) throws(Problem) in
                            try c.change(.setWeights(split: "app", ["blue": 100 - number, "green": number]), by: author)
                        }
                    }
                }
            }
            return scenario
        }
    }

    @Test func everyKindOfChangeUnderFaults() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.requestsEach = 8
            Self.environments(&scenario, key: dice.chance(0.5) ? "key $http_x_id;" : "")
            scenario.changeRequest = EngineScenario.upgradeSome
            EngineFaultTests.failingUpstreams(&scenario, &dice)
            scenario.attemptsMax = 6
            scenario.tuneClient = { client, dice in
                if dice.chance(0.3) { client.pace = { _ in EngineScenario.slowPace } }
                if dice.chance(0.3) { client.patienceNs = dice.pick(1_000_000_000...8_000_000_000) }
            }
            scenario.plan = { run in
                var atNs: UInt64 = 0
                for _ in 0..<run.dice.pick(4...20) {
                    atNs += run.dice.pick(0...300_000_000)
                    Self.plan(run, atNs: atNs)
                }
                if run.dice.chance(0.3) { run.world.after(atNs / 2) { run.stop() } }
            }
            return scenario
        }
    }
}
