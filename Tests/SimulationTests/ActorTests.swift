// Clients and upstreams face to face, without a proxy: each misbehaviour of the one is recorded as what it is by the other.

import CLinux
import Engine
import Simulation
import Testing

private let address = Address.host(2, 3001)

@Suite struct ActorTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var answer: Answer
        var expected: ClientRecord.Outcome
        init(_ name: String, _ answer: Answer, _ expected: ClientRecord.Outcome) {
            testDescription = name
            self.answer = answer
            self.expected = expected
        }
    }

    static let cases: [Case] = {
        let body = [UInt8](repeating: 65, count: 5_000)
        func cut(_ fault: Answer.Fault, _ framing: Answer.Framing = .length) -> Answer {
            var answer = Answer(body: body, framing: framing)
            answer.fault = fault
            return answer
        }
        var close = Answer(body: body)
        close.ending = .close
        var unannounced = Answer(body: body)
        unannounced.ending = .closeUnannounced(afterNs: 0)
        var slow = Answer(body: body)
        slow.delayNs = 3_000_000_000
        var early = Answer(413)
        early.moment = .afterHead
        early.ending = .close
        return [
            Case("length", Answer(body: body), .whole), Case("chunked", Answer(body: body, framing: .chunked(1...700)), .whole),
            Case("until close", Answer(body: body, framing: .untilClose), .whole), Case("no content", Answer(204), .whole),
            Case("close", close, .whole), Case("close without a word", unannounced, .whole), Case("slow", slow, .whole),
            Case("early", early, .whole),
            Case("silence", .fault(.silence), .timedOut), Case("reset before the head", .fault(.resetBeforeHead), .noAnswer),
            Case("close before the head", .fault(.closeBeforeHead), .noAnswer),
            Case("reset in the head", cut(.resetAfter(10)), .reset),
            Case("close in the head", cut(.closeAfter(10)), .cut), Case("reset in the body", cut(.resetAfter(1_000)), .reset),
            Case("close in the body", cut(.closeAfter(1_000)), .cut),
            Case("close in a chunk", cut(.closeAfter(1_000), .chunked(9...9)), .cut),
            Case("early end of the unframed", cut(.closeAfter(1_000), .untilClose), .whole),
            Case("stall in the body", cut(.stallAfter(1_000)), .timedOut),
            Case("nonsense", .fault(.nonsense(Array("SSH-2.0-x\r\n\r\n".utf8))), .bad("status line 'SSH-2.0-x'")),
        ]
    }()

    @Test(arguments: cases)
    func eachAnswerIsSeenAsWhatItIs(_ one: Case) {
        for network in [NetworkPlan(), .rough] {
            let world = World(seed: 7, network: network)
            let upstream = HTTPUpstream(world, name: "u", at: address) { $0.id == "1" ? one.answer : Answer() }
            let requests = [PlannedRequest(id: "1", method: "POST", body: [1, 2, 3]), PlannedRequest(id: "2")]
            let client = HTTPClient(world, name: "c", to: address, requests: requests)
            client.patienceNs = 20_000_000_000
            client.thinkNs = 1_000_000_000...1_000_000_000
            client.start()
            #expect(world.run(until: { client.isFinished }) == .done, "\(world.story)")
            #expect(client.records[0].outcome == one.expected, "\(world.story)")
            #expect(client.records[1].outcome == .whole, "\(world.story)")
            let problems = Ledger(clients: [client], upstreams: [upstream]).problems
            #expect(problems.isEmpty || one.testDescription == "nonsense", "\(problems)")
            world.end()
            #expect(world.bufferedBytes == 0)
        }
    }

    @Test func aBodyWaitsForContinue() {
        let world = World(seed: 1)
        let upstream = HTTPUpstream(world, name: "u", at: address) { _ in .text("thanks") }
        var request = PlannedRequest(id: "1", method: "PUT", fields: [("Expect", "100-continue")], body: Array("body".utf8))
        request.continueWaitNs = 5_000_000_000
        let client = HTTPClient(world, name: "c", to: address, requests: [request])
        client.start()
        let start = world.nowNs
        #expect(world.run(until: { client.isFinished }) == .done)
        #expect(client.records[0].informational == [100] && client.records[0].outcome == .whole)
        #expect(upstream.records[0].body == Array("body".utf8) && world.nowNs - start < 1_000_000_000)
    }

    @Test func clientsStallResetAndReadSlowly() {
        for stop in [Pace.Stop.stall, .reset, .close] {
            let world = World(seed: 1, network: .rough)
            let body = [UInt8](repeating: 1, count: 100_000)
            let upstream = HTTPUpstream(world, name: "u", at: address) { _ in Answer(body: body) }
            let requests = [PlannedRequest(id: "1"), PlannedRequest(id: "2")]
            let client = HTTPClient(world, name: "c", to: address, requests: requests)
            client.reconnects = false
            client.pace = { _ in
                var pace = Pace()
                pace.readBytes = 1...500
                pace.readGapNs = 1_000_000...2_000_000
                pace.stopAfterRead = 20_000
                pace.stop = stop
                return pace
            }
            client.start()
            #expect(world.run(until: { client.isFinished }) == .done)
            #expect(client.records[0].outcome == .abandoned && client.records[0].body.count < 20_000)
            _ = world.run(until: { false }, maxSeconds: 60)
            if case .stall = stop {
                #expect(upstream.openConnections == 1)
            } else {
                #expect(upstream.records[0].outcome == .proxyGone && upstream.openConnections == 0)
            }
            world.end()
            #expect(world.bufferedBytes == 0)
        }
    }

    @Test func upstreamsCloseIdleConnectionsAndCrash() {
        let world = World(seed: 1)
        let upstream = HTTPUpstream(world, name: "u", at: address) { _ in Answer() }
        upstream.idleCloseNs = 1_000_000_000
        upstream.requestsMax = 2
        let client = HTTPClient(world, name: "c", to: address, requests: (0..<5).map { PlannedRequest(id: "\($0)") })
        // Long enough to see the close before the next request.
        client.thinkNs = 1_000_000...1_000_000
        client.start()
        #expect(world.run(until: { client.isFinished }) == .done, "\(world.story)")
        #expect(client.records.allSatisfy { $0.outcome == .whole } && client.connectionsOpened == 3)
        upstream.crash()
        let late = HTTPClient(world, name: "late", to: address, requests: [PlannedRequest(id: "6"), PlannedRequest(id: "7")])
        late.start()
        #expect(world.run(until: { late.isFinished }) == .done)
        #expect(late.records.allSatisfy { $0.outcome == .notConnected })
        upstream.listener.listen()
        let again = HTTPClient(world, name: "again", to: address, requests: [PlannedRequest(id: "8")])
        again.start()
        #expect(world.run(until: { again.isFinished }) == .done && again.records[0].outcome == .whole)
    }

    /// Answers each request in order, as a proxy must.
    private final class InOrder: ConnectionScript {
        let reader = MessageReader(readsRequests: true)
        func received(_ connection: ActorConnection, _ bytes: [UInt8]) {
            reader.feed(bytes) { event in
                if case .head(let head) = event {
                    connection.send("HTTP/1.1 200 OK\r\nX-Id: \(head.field("x-id") ?? "")\r\nContent-Length: 0\r\n\r\n")
                }
            }
        }
    }

    @Test func pipelinedAnswersAreTakenInOrder() {
        for seed in simulationSeeds(10) {
            let world = World(seed: seed, network: .rough)
            let listener = ActorListener(world, at: address, accepted: { _, n in ("s\(n)", .dripping, InOrder()) })
            let client = HTTPClient(world, name: "c", to: address, requests: (0..<20).map { PlannedRequest(id: "\($0)") })
            client.pipelineDepth = 5
            client.pace = { _ in .dripping }
            client.start()
            #expect(world.run(until: { client.isFinished }) == .done, "\(world.story)")
            #expect(client.records.allSatisfy { $0.outcome == .whole && $0.head?.field("x-id") == $0.id }, "\(world.story)")
            #expect(listener.acceptedCount == 1 && client.unasked == 0)
            world.end()
        }
    }
}
