// The whole engine over the simulated kernel while an upstream is drained: tunnels and event streams end evenly and in order,
// downloads have until the end, and what is stuck to a drained server still reaches it.

import AdminAPI
import Control
import Engine
import Simulation
import Testing

@Suite struct EngineDrainTests {
    @Test func drainsInMidFlight() throws {
        var closed: UInt64 = 0
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.http = "upstream v { server 10.0.0.9:3001; } split s { u 1; v 0; }"
            scenario.target = "s"
            let isWebSocket = dice.chance(0.5)
            scenario.changeRequest = { request, dice in
                EngineScenario.upgradeSome(&request, &dice)
                guard let bytes = request.tunnel else { return }
                request = .upgrade(id: request.id, target: "/tunnel/" + request.id, to: isWebSocket ? "websocket" : "test", bytes: bytes)
                request.holdsTunnel = dice.chance(0.8)
            }
            scenario.tuneClient = { client, dice in
                client.patienceNs = 60_000_000_000
                if dice.chance(0.3) { client.pace = { _ in EngineScenario.slowPace } }
            }
            scenario.changeAnswer = { answer, record, _, dice in
                if record.target.hasPrefix("/tunnel/") || answer.status != 200 { return }
                if case .untilClose = answer.framing { answer.framing = .length }
                if dice.chance(0.3) { answer.fields.append(("Content-Type", "text/event-stream")) }
            }
            scenario.plan = { run in
                // What was begun at the drained upstream comes to its end; the rest goes to the other.
                run.addUpstream("v", at: .host(9, 3001))
                run.world.after(run.dice.pick(0...900_000_000)) {
                    run.attempt { c throws(Problem) in
                        _ = try c.change(.setWeights(split: "s", ["u": 0, "v": 1]), by: Author(who: "test"))
                        _ = try c.drain("u", durationMs: Int64(run.dice.pick(0...3000)), by: Author(who: "test"))
                    }
                }
                run.atEnd = { run in
                    closed += run.proxy.controller.revisions(limit: 100)
                        .compactMap { try? run.proxy.controller.receipt($0.number) }.reduce(0) { $0 + $1.closedByDrain }
                    return EngineHoldTests.unbalanced(run.proxy.controller) + Self.unexpected(run)
                }
            }
            return scenario
        }
        #expect(closed > 20, "the drains meet tunnels: \(closed)")
    }

    /// Nobody sees an error page, and only what is cut at the end of a drain is cut.
    private static func unexpected(_ run: EngineRun) -> [String] {
        run.clients.flatMap(\.records).filter { $0.status >= 500 || $0.outcome == .timedOut || $0.outcome == .noAnswer }
            .map { "\($0.id) ended \($0.outcome) with \($0.status)" }
    }
}

/// One upstream with two servers that answer as a test says, and clients that ask one thing each.
final class DrainStory {
    let world = World(seed: 1)
    let proxy: SimulatedProxy
    var upstreams: [HTTPUpstream] = []

    init(_ more: String = "", answer: @escaping (UpstreamRecord) -> Answer) throws {
        let addresses = [Address.host(2, 3001), Address.host(3, 3001)]
        let servers = addresses.map { "server \($0);" }.joined(separator: " ")
        proxy = try SimulatedProxy(
            world,
            """
            error_log /log/error.log info; events {}
            http {
                log_format line '$http_x_id $status $upstream_addr'; access_log \(SimulatedProxy.accessLog) line;
                upstream u { \(servers) \(more) }
                server {
                    listen \(SimulatedProxy.address);
                    location / {
                        proxy_pass http://u; proxy_read_timeout 1h;
                        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
                    }
                }
            }
            """, peers: addresses.map { ("u", $0.description) })
        upstreams = addresses.enumerated().map { i, address in
            HTTPUpstream(world, name: "p\(i)", at: address, answer: answer)
        }
    }

    func client(_ requests: [PlannedRequest], afterMs: UInt64 = 1) -> HTTPClient {
        let client = HTTPClient(world, name: requests[0].id, to: SimulatedProxy.address, requests: requests)
        client.start(afterNs: afterMs * 1_000_000)
        return client
    }

    /// Runs to the end; everything must balance.
    func finish(_ clients: [HTTPClient]) -> Receipt? {
        #expect(proxy.run(until: { clients.allSatisfy(\.isFinished) }) == .done, "\(world.story)")
        proxy.stop()
        #expect(proxy.runToTheEnd() == .done)
        #expect(EngineHoldTests.unbalanced(proxy.controller) == [])
        let receipt = try? proxy.controller.receipt(proxy.controller.running.revision)
        proxy.end()
        world.end()
        return receipt
    }

    func drain(afterMs: UInt64, timeoutMs: Int64) {
        world.after(afterMs * 1_000_000) {
            do { _ = try self.proxy.controller.drain("u", durationMs: timeoutMs, by: Author(who: "test")) } catch {
                Issue.record("\(error)")
            }
        }
    }
}

@Suite struct EngineDrainStoryTests {
    @Test func tunnelsEndEvenlyOverTheTime() throws {
        let story = try DrainStory { _ in .echo }
        let clients = (0..<10).map { i in
            var request = PlannedRequest.upgrade(id: "\(i)", bytes: [1, 2, 3])
            request.holdsTunnel = true
            return story.client([request])
        }
        story.drain(afterMs: 100, timeoutMs: 1000)
        let startedNs = story.world.nowNs + 100_000_000
        let receipt = story.finish(clients)
        let endedMs = clients.map { ($0.records[0].finishedNs - startedNs) / 1_000_000 }.sorted()
        #expect(zip(endedMs, stride(from: 100, through: 1000, by: 100)).allSatisfy { $0 >= $1 && $0 < $1 + 20 }, "\(endedMs)")
        #expect(clients.allSatisfy { $0.records[0].tunnelBytes == [1, 2, 3] && $0.records[0].outcome == .whole })
        #expect(receipt?.closedByDrain == 10 && receipt?.carried.failedByProxy == 0)
    }

    /// A text frame, whole or in part, is through; the close frame comes between two frames, and each end's own is not passed on.
    @Test(arguments: [0, 1, 3])
    func webSocketsAreToldBetweenTwoFrames(missing: Int) throws {
        let frame: [UInt8] = [0x81, 0x83, 0, 0, 0, 0, 65, 66, 67]
        let story = try DrainStory { _ in .echo }
        var request = PlannedRequest.upgrade(id: "0", to: "websocket", bytes: frame + frame.dropLast(missing))
        request.holdsTunnel = true
        let client = story.client([request])
        let close: [UInt8] = [0x88, 2, 0x03, 0xF4]
        client.tunnelReply = { seen in seen.suffix(4) == close[...] ? [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xF4] : nil }
        story.drain(afterMs: 100, timeoutMs: 100)
        // The end of the frame comes when the drain has begun.
        story.world.after(1_200_000_000) { if missing > 0 { client.say(Array(frame.suffix(missing))) } }
        let startedNs = story.world.nowNs
        let receipt = story.finish([client])
        let record = client.records[0]
        let sent = story.upstreams.flatMap(\.records)[0].tunnelBytes
        #expect(record.tunnelBytes == frame + frame + close)
        #expect(sent.prefix(18) == (frame + frame)[...] && sent.count == 26, "\(sent)")
        #expect(sent.suffix(8).prefix(2) == [0x88, 0x82] && sent[24] ^ sent[20] == 0x03 && sent[25] ^ sent[21] == 0xF4)
        let tookMs = (record.finishedNs - startedNs) / 1_000_000
        #expect(tookMs >= (missing == 0 ? 200 : 1200) && tookMs < (missing == 0 ? 220 : 1220), "both have closed, nobody waits: \(tookMs)")
        #expect(receipt?.closedByDrain == 1)
    }

    /// Whoever does not close is cut off in the end.
    @Test func aWebSocketWhoseEndsDoNotCloseHasFiveSeconds() throws {
        let story = try DrainStory { _ in .echo }
        var request = PlannedRequest.upgrade(id: "0", to: "websocket", bytes: [0x81, 0x83, 0, 0, 0, 0, 65])
        request.holdsTunnel = true
        let client = story.client([request])
        story.drain(afterMs: 100, timeoutMs: 100)
        let startedNs = story.world.nowNs
        _ = story.finish([client])
        let tookMs = (client.records[0].finishedNs - startedNs) / 1_000_000
        #expect((5200...5220).contains(tookMs), "\(tookMs)")
    }

    @Test func eventStreamsEndWholeAndDownloadsAtTheEndOfTheTime() throws {
        let story = try DrainStory { record in
            var answer = Answer(body: Array(repeating: 65, count: 3000), framing: .chunked(1000...1000))
            if record.id != "download" { answer.fields.append(("Content-Type", "text/event-stream; charset=utf-8")) }
            answer.fault = .stallAfter(2500)
            return answer
        }
        let events = (0..<2).map { story.client([PlannedRequest(id: "events\($0)")]) }
        let download = story.client([PlannedRequest(id: "download")])
        story.drain(afterMs: 100, timeoutMs: 1000)
        let startedNs = story.world.nowNs + 100_000_000
        let receipt = story.finish(events + [download])
        let endedMs = (events + [download]).map { ($0.records[0].finishedNs - startedNs) / 1_000_000 }
        #expect((500...520).contains(endedMs.min() ?? 0) && (1000...1020).contains(endedMs[2]), "\(endedMs)")
        #expect(events.allSatisfy { $0.records[0].outcome == .whole && $0.records[0].body.count > 1000 })
        #expect(download.records[0].outcome == .cut)
        #expect(receipt?.closedByDrain == 3 && receipt?.carried.failedByProxy == 1 && receipt?.carried.completed == 2)
    }

    @Test func aDrainThatIsTakenBackClosesNothingMore() throws {
        let story = try DrainStory { _ in .echo }
        let clients = (0..<4).map { i in
            var request = PlannedRequest.upgrade(id: "\(i)", bytes: [1])
            request.holdsTunnel = true
            return story.client([request])
        }
        story.drain(afterMs: 100, timeoutMs: 1000)
        story.world.after(450_000_000) { _ = try? story.proxy.controller.undo(by: Author(who: "test")) }
        story.world.after(3_000_000_000) {
            #expect(clients.count { !$0.isFinished } == 3)
            for client in clients { client.leave() }
        }
        _ = story.finish(clients)
    }

    @Test func aStuckSessionStaysWithItsDrainedServerAndItsClientComesAnew() throws {
        let story = try DrainStory("sticky cookie srv path=/ httponly samesite=lax;") { _ in .text("ok") }
        let first = story.client([PlannedRequest(id: "0"), PlannedRequest(id: "1")])
        #expect(story.proxy.run(until: { first.isFinished }) == .done)
        let cookies = first.records.map { $0.head?.field("set-cookie") ?? "" }
        #expect(cookies[0] != cookies[1] && first.connectionsOpened == 1)
        #expect(cookies[0].hasSuffix("; httponly; samesite=lax; path=/"), "\(cookies[0])")
        let pair = String(cookies[0].prefix { $0 != ";" })
        #expect(pair.utf8.count == 4 + 16)
        let server = story.upstreams.firstIndex { !$0.seen("0").isEmpty } ?? -1
        var patch = ServerPatch()
        patch.drain = true
        _ = try story.proxy.controller.change(
            .patchServer(upstream: "u", .address("10.0.0.\(server + 2):3001"), patch), by: Author(who: "test"))
        let stuck = story.client((0..<6).map { PlannedRequest(id: "s\($0)", fields: [("Cookie", pair)]) })
        let free = story.client((0..<6).map { PlannedRequest(id: "f\($0)", fields: [("Cookie", "srv=0000000000000000")]) })
        #expect(story.proxy.run(until: { stuck.isFinished && free.isFinished }) == .done)
        #expect((0..<6).allSatisfy { story.upstreams[server].seen("s\($0)").count == 1 && story.upstreams[1 - server].seen("f\($0)").count == 1 })
        #expect(stuck.connectionsOpened == 6 && free.connectionsOpened == 1)
        #expect(stuck.records.allSatisfy { $0.head?.field("connection") == "close" })
        _ = story.finish([stuck, free])
    }
}
