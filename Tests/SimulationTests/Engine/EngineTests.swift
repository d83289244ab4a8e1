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

    @Test func pacedAnswers() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.clientCount = 2
            scenario.requestsEach = 3
            scenario.isPerfect = true
            // A paced answer takes its time: only patience for a client that takes nothing at all may run out.
            let rates = ["limit_rate 8k;", "limit_rate 8k; limit_rate_after 2k;", "proxy_limit_rate 16k;", "limit_rate 8k; proxy_limit_rate 4k;"]
            scenario.http = rates[dice.pick(0...3)] + (dice.chance(0.5) ? " proxy_buffering off;" : "")
            return scenario
        }
    }

    @Test func largeBodiesThroughBuffersAndFiles() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.clientCount = 3
            scenario.requestsEach = 3
            scenario.methods = ["POST", "PUT"]
            scenario.requestBytesMax = 60_000
            scenario.isPerfect = true
            // An upstream that rests is no reason to lose patience with the client.
            scenario.http = "client_body_timeout 2s; proxy_send_timeout 9s; proxy_read_timeout 9s;"
            scenario.omits = ["client_body_timeout", "proxy_send_timeout", "proxy_read_timeout"]
            scenario.tuneClient = { client, dice in
                if dice.chance(0.3) {
                    client.pace = { _ in
                        var pace = Pace.dripping
                        pace.writeBytes = 1...900
                        return pace
                    }
                }
            }
            scenario.tuneUpstream = { upstream, dice in
                let rests = dice.chance(0.4) ? dice.pick(1...20_000) : nil
                let size = dice.pick(1...4_000)
                upstream.pace = { n in
                    var pace = Pace()
                    pace.readBytes = 1...size
                    pace.readGapNs = 0...1_000_000
                    pace.stopAfterRead = rests
                    pace.stop = .pause(ns: 4_000_000_000)
                    return pace
                }
            }
            return scenario
        }
    }

    @Test func packedAnswers() throws {
        try simulate(32) { dice in
            var scenario = EngineScenario()
            scenario.isPerfect = true
            scenario.answerBytesMax = 60_000
            scenario.http = "gzip on; gzip_types *; gzip_min_length \(dice.pick(0...300)); gzip_comp_level \(dice.pick(1...9));"
            if dice.chance(0.3) { scenario.http += " limit_rate 100k;" }
            scenario.paths.append("/untold/")
            scenario.changeRequest = { request, dice in
                if !dice.chance(0.7) { return }
                request.head = Array(String(decoding: request.head, as: UTF8.self).replacing("X-Id:", with: "Accept-Encoding: gzip\r\nX-Id:").utf8)
            }
            scenario.changeAnswer = { answer, _, _, dice in
                // Half of them can be made smaller.
                if dice.chance(0.5), answer.status == 200 { answer.body = answer.body.map { $0 & 3 | 0x40 } }
            }
            scenario.tuneClient = { client, dice in
                if dice.chance(0.5) { client.pace = { _ in EngineScenario.slowPace } }
            }
            return scenario
        }
    }

    @Test func packedAnswersBreakOff() throws {
        try simulate(32) { dice in
            var scenario = EngineScenario()
            scenario.answerBytesMax = 60_000
            scenario.attemptsMax = 2
            scenario.http = "gzip on; gzip_types *; gzip_min_length 0; proxy_next_upstream_tries 2;"
            scenario.changeRequest = { request, dice in
                request.head = Array(String(decoding: request.head, as: UTF8.self).replacing("X-Id:", with: "Accept-Encoding: gzip\r\nX-Id:").utf8)
            }
            scenario.changeAnswer = { answer, record, _, dice in
                if answer.status != 200 || record.method == "HEAD" || !dice.chance(0.4) { return }
                if case .untilClose = answer.framing { answer.framing = .length }
                let after = dice.pick(0...answer.body.count)
                answer.fault = dice.chance(0.5) ? .closeAfter(after) : .resetAfter(after)
            }
            scenario.tuneClient = { client, dice in
                if dice.chance(0.3) { client.patienceNs = dice.pick(100_000_000...2_000_000_000) }
            }
            return scenario
        }
    }

    @Test func slowReaders() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.clientCount = 3
            scenario.requestsEach = 3
            scenario.methods = ["GET"]
            scenario.answerBytesMax = 80_000
            scenario.paths.append("/untold/")
            scenario.isPerfect = true
            scenario.tuneClient = { client, dice in
                let size = dice.pick(20...3_000)
                let rests = dice.chance(0.5) ? dice.pick(1...20_000) : nil
                client.pace = { _ in
                    var pace = Pace()
                    pace.readBytes = 1...size
                    pace.readGapNs = 0...5_000_000
                    pace.stopAfterRead = rests
                    pace.stop = .pause(ns: 4_000_000_000)
                    return pace
                }
            }
            return scenario
        }
    }

    @Test func pipelinedRequests() throws {
        try simulate(also: [86391625301216]) { dice in
            var scenario = EngineScenario()
            scenario.peerCount = dice.pick(1...2)
            scenario.requestsEach = 10
            scenario.isPerfect = true
            if dice.chance(0.3) {
                // A request that crosses the last answer would reset it.
                scenario.http = "keepalive_requests \(dice.pick(1...4)); lingering_close always;"
            }
            scenario.tuneClient = { client, dice in
                client.pipelineDepth = dice.pick(2...7)
                if dice.chance(0.3) { client.pace = { _ in .dripping } }
            }
            return scenario
        }
    }

    /// A whole read full of requests with bodies, each answered at once: they must not nest.
    @Test func thousandsOfPipelinedRequestsThatTheProxyAnswers() throws {
        var scenario = EngineScenario()
        scenario.network = NetworkPlan()
        scenario.network.receiveBufferBytes = 300_000...300_000
        scenario.network.sendBufferBytes = 300_000...300_000
        scenario.faults = FaultPlan()
        scenario.clientCount = 1
        scenario.requestsEach = 4_000
        scenario.http = "keepalive_requests 10000;"
        scenario.methods = ["POST"]
        scenario.changeRequest = { request, _ in
            request = PlannedRequest(id: request.id, method: "POST", target: "/said/", body: [65])
        }
        scenario.tuneClient = { client, _ in client.pipelineDepth = 4_000 }
        #expect(try EngineRun(1, scenario).go() == [])
    }

    @Test func upstreamsThatCloseIdleConnections() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.methods = ["GET", "HEAD", "PUT", "DELETE"]
            // What streams through has gone with the connection that turned out to be closed.
            scenario.paths = ["/whole/", "/spooled/"]
            scenario.requestsEach = 8
            scenario.peerCount = dice.pick(1...2)
            scenario.isPerfect = true
            scenario.attemptsMax = 2
            Self.closeIdle(&scenario, &dice)
            return scenario
        }
    }

    @Test func bodiesThatNobodyWantsStayOffTheNextRequest() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.methods = ["HEAD", "GET"]
            scenario.paths = ["/gotten/", "/whole/"]
            scenario.isPerfect = true
            // Heads arrive alone, and the next request is on its way before their bodies come.
            scenario.changeAnswer = { answer, _, _, dice in answer.bodyDelayNs = dice.pick(0...20_000_000) }
            scenario.tuneClient = { client, _ in client.thinkNs = 0...0 }
            return scenario
        }
    }

    @Test func requestsThatMustNotBeRepeatedMeetClosedConnections() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.methods = ["POST", "POST", "GET"]
            scenario.requestsEach = 8
            scenario.peerCount = dice.pick(1...2)
            scenario.attemptsMax = 2
            scenario.answersAll = true
            Self.closeIdle(&scenario, &dice)
            return scenario
        }
    }

    private static func closeIdle(_ scenario: inout EngineScenario, _ dice: inout SplitMix64) {
        if dice.chance(0.3) { scenario.upstream = "keepalive \(dice.pick(0...2));" }
        if dice.chance(0.2) { scenario.upstream += "keepalive_timeout 50ms;" }
        if dice.chance(0.2) { scenario.upstream += "keepalive_requests \(dice.pick(1...3));" }
        scenario.changeAnswer = { answer, _, _, dice in
            if dice.chance(0.3) { answer.ending = .closeUnannounced(afterNs: dice.pick(0...3_000_000)) }
        }
        scenario.tuneUpstream = { upstream, dice in
            if dice.chance(0.5) { upstream.idleCloseNs = dice.pick(20_000_000...200_000_000) }
            if dice.chance(0.3) { upstream.requestsMax = dice.pick(1...4) }
        }
        scenario.tuneClient = { client, dice in client.thinkNs = 0...dice.pick(0...100_000_000) }
    }

    @Test func tunnels() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.requestsEach = 3
            scenario.isPerfect = true
            scenario.changeRequest = EngineScenario.upgradeSome
            return scenario
        }
    }
}
