// The whole engine over the simulated kernel with requests within requests: pages whose parts come late and in pieces, requests that
// wait for permission, shadows. Whatever leaves or fails, every answer is whole or cut for a reason, and nothing is left over.

import Simulation
import Testing

@Suite struct EngineInnerTests {
    private static let others = Address.host(98, 3001)

    private static func scenario(_ dice: inout SplitMix64) -> EngineScenario {
        var scenario = EngineScenario()
        scenario.workers = dice.pick(1...2)
        scenario.http = "upstream others { server \(others); keepalive \(dice.pick(0...4)); }"
        return scenario
    }

    /// Pages of an upstream; a part is the very text of the command that asks for it, so that a page leaves as it came.
    private static func pages(_ scenario: inout EngineScenario, _ dice: inout SplitMix64) {
        scenario.http += "ssi on; ssi_value_length \(dice.pick(30...300));"
        scenario.locations = """
            location /part {
                internal; ssi off; proxy_pass http://others; proxy_buffers 2 512; \(dice.chance(0.3) ? "proxy_buffering off;" : "")
                error_page 502 504 = @said;
            }
            location @said { ssi off; return 200 '<!--#include virtual="/part?$args" -->'; }
            """
        scenario.changeAnswer = { answer, record, _, dice in
            if answer.body.isEmpty { return }
            var page: [UInt8] = []
            for i in 0..<dice.pick(0...12) {
                page += dice.bytes(dice.chance(0.1) ? dice.pick(0...9_000) : dice.pick(0...200)).filter { $0 != UInt8(ascii: "<") }
                page += Array("<!--#include virtual=\"/part?\(i)\" -->".utf8)
                if dice.chance(0.1) { page += Array("<!-- comment --><<!-".utf8) }
            }
            answer.body = page + dice.bytes(20).filter { $0 != UInt8(ascii: "<") }
            answer.fields.append(("Content-Type", "text/html"))
        }
    }

    private static func part(_ record: UpstreamRecord, _ dice: inout SplitMix64) -> Answer {
        var answer = Answer(body: Array("<!--#include virtual=\"\(record.target)\" -->".utf8))
        answer.fields.append(("Content-Type", "text/plain"))
        if dice.chance(0.5) { answer.framing = .chunked(1...10) }
        if dice.chance(0.4) { answer.delayNs = dice.pick(0...1_000_000_000) }
        return answer
    }

    private static func add(_ run: EngineRun, _ answer: @escaping (UpstreamRecord, inout SplitMix64) -> Answer) {
        var dice = SplitMix64(seed: run.seed)
        let upstream = HTTPUpstream(run.world, name: "others", at: others) { answer($0, &dice) }
        run.atEnd = { _ in upstream.bad.isEmpty ? [] : ["the others saw \(upstream.bad)"] }
    }

    @Test func pagesLeaveWhole() throws {
        try simulate { dice in
            var scenario = Self.scenario(&dice)
            Self.pages(&scenario, &dice)
            scenario.isPerfect = true
            if dice.chance(0.5) { scenario.tuneClient = { client, dice in if dice.chance(0.4) { client.pace = { _ in EngineScenario.slowPace } } } }
            scenario.plan = { run in Self.add(run) { Self.part($0, &$1) } }
            return scenario
        }
    }

    @Test func pagesOfWhichPartsFail() throws {
        try simulate { dice in
            var scenario = Self.scenario(&dice)
            Self.pages(&scenario, &dice)
            scenario.attemptsMax = 4
            EngineFaultTests.failingClients(&scenario)
            let stops = dice.pick(0...3)
            scenario.plan = { run in
                Self.add(run) { record, dice in
                    switch dice.pick(0...5) {
                    case 0: .fault(.silence)
                    case 1: .fault(.closeBeforeHead)
                    case 2: .fault(.resetBeforeHead)
                    default: Self.part(record, &dice)
                    }
                }
                if stops < 2 { run.world.after(run.dice.pick(0...1_500_000_000)) { run.stop(gracefully: stops == 1) } }
            }
            return scenario
        }
    }

    @Test func permission() throws {
        try simulate { dice in
            var scenario = Self.scenario(&dice)
            scenario.http += "auth_request /auth; auth_request_set $who $upstream_http_x_who;"
            scenario.locations = "location /auth { internal; proxy_pass http://others; }"
            scenario.isPerfect = true
            scenario.plan = { run in
                Self.add(run) { _, dice in
                    var answer = Answer(dice.chance(0.5) ? 204 : 200)
                    answer.body = answer.status == 200 ? dice.bytes(dice.pick(0...5_000)) : []
                    answer.fields.append(("X-Who", "\(dice.pick(0...9))"))
                    if dice.chance(0.5) { answer.delayNs = dice.pick(0...1_000_000_000) }
                    return answer
                }
            }
            return scenario
        }
    }

    @Test func permissionThatFailsAndClientsThatLeave() throws {
        try simulate { dice in
            var scenario = Self.scenario(&dice)
            scenario.http += "auth_request /auth;"
            scenario.locations = "location /auth { internal; proxy_pass http://others; }"
            scenario.attemptsMax = 4
            EngineFaultTests.failingClients(&scenario)
            let stops = dice.pick(0...3)
            scenario.plan = { run in
                Self.add(run) { _, dice in
                    switch dice.pick(0...6) {
                    case 0: .fault(.silence)
                    case 1: .fault(.closeBeforeHead)
                    case 2: Answer(401)
                    case 3: Answer(403, body: dice.bytes(100))
                    case 4: Answer(500)
                    default: Answer(204)
                    }
                }
                if stops < 2 { run.world.after(run.dice.pick(0...1_500_000_000)) { run.stop(gracefully: stops == 1) } }
            }
            return scenario
        }
    }
}
