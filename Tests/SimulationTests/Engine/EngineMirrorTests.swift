// The whole engine over the simulated kernel with mirrors: every copy arrives once where the mirror is well, and however it fares, no
// client's request is the worse for it and nothing is left over.

import Simulation
import Testing

@Suite struct EngineMirrorTests {
    private static let mirror = Address.host(99, 3001)

    private static func mirrored(_ dice: inout SplitMix64) -> EngineScenario {
        var scenario = EngineScenario()
        scenario.workers = dice.pick(1...2)
        scenario.http = "mirror /copy; upstream copies { server \(mirror); keepalive \(dice.pick(0...4)); } mirror_request_body on;"
        scenario.locations = "location = /copy { internal; proxy_pass http://copies$request_uri; client_body_buffer_size 1k; }"
        return scenario
    }

    /// What the copies were, once the workers have stopped.
    private static func add(_ run: EngineRun, _ answer: @escaping (UpstreamRecord) -> Answer, check: @escaping (EngineRun, HTTPUpstream) -> [String]) {
        let upstream = HTTPUpstream(run.world, name: "mirror", at: mirror, answer: answer)
        run.atEnd = { run in check(run, upstream) }
    }

    @Test func everyCopyArrivesOnce() throws {
        try simulate { dice in
            var scenario = Self.mirrored(&dice)
            scenario.isPerfect = true
            scenario.plan = { run in
                var dice = SplitMix64(seed: run.seed)
                Self.add(run, { _ in
                    var answer = Answer(body: dice.bytes(dice.pick(0...9_000)))
                    answer.delayNs = dice.pick(0...2_000_000_000)
                    if dice.chance(0.3) { answer.framing = .chunked(1...2_000) }
                    return answer
                }) { run, upstream in
                    let copies = Dictionary(grouping: upstream.records, by: \.id)
                    return run.upstreams.flatMap(\.records).flatMap { record -> [String] in
                        guard let copy = copies[record.id]?.first else { return ["\(record.id) has no copy"] }
                        var problems: [String] = []
                        if copies[record.id]?.count != 1 { problems.append("\(record.id) was copied \(copies[record.id]?.count ?? 0) times") }
                        if copy.body != record.body || copy.method != record.method || copy.target != record.target {
                            problems.append("the copy of \(record.id) is another request")
                        }
                        return problems
                    }
                }
            }
            return scenario
        }
    }

    @Test func aSickMirrorIsNobodysTrouble() throws {
        try simulate { dice in
            var scenario = Self.mirrored(&dice)
            scenario.isPerfect = true
            scenario.plan = { run in
                var dice = SplitMix64(seed: run.seed)
                Self.add(run, { _ in
                    switch dice.pick(0...5) {
                    case 0: .fault(.silence)
                    case 1: .fault(.resetBeforeHead)
                    case 2: .fault(.closeBeforeHead)
                    case 3: .fault(.resetAfter(dice.pick(1...300)))
                    case 4: .fault(.stallAfter(dice.pick(1...300)))
                    default: Answer(500, body: dice.bytes(2_000))
                    }
                }) { _, _ in [] }
            }
            return scenario
        }
    }

    @Test func clientsAndWorkersThatLeave() throws {
        try simulate { dice in
            var scenario = Self.mirrored(&dice)
            scenario.attemptsMax = 4
            EngineFaultTests.failingClients(&scenario)
            let stops = dice.pick(0...3)
            scenario.plan = { run in
                var dice = SplitMix64(seed: run.seed)
                Self.add(run, { _ in
                    var answer = Answer(body: dice.bytes(dice.pick(0...9_000)))
                    answer.delayNs = dice.pick(0...3_000_000_000)
                    return answer
                }) { _, _ in [] }
                if run.dice.chance(0.4) { run.publishNewPeers(atNs: run.dice.pick(0...900_000_000)) }
                if stops < 2 { run.world.after(run.dice.pick(0...1_500_000_000)) { run.stop(gracefully: stops == 1) } }
            }
            return scenario
        }
    }
}
