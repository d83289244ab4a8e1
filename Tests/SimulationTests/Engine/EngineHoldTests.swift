// The whole engine over the simulated kernel while a split is held and released: requests wait, go on in their order under the
// newest revision, and none is lost.

import AdminAPI
import Control
import Engine
import Simulation
import Testing

@Suite struct EngineHoldTests {
    static let split = "split s { u 1; key $http_x_id; }"

    @Test func holdsInMidFlightLoseNothing() throws {
        var held: UInt64 = 0
        var moved: UInt64 = 0
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.isPerfect = true
            scenario.http = Self.split
            scenario.target = "s"
            scenario.changeRequest = EngineScenario.upgradeSome
            scenario.tuneClient = { client, dice in
                if dice.chance(0.3) { client.pace = { _ in EngineScenario.slowPace } }
                if dice.chance(0.3) { client.pipelineDepth = dice.pick(2...4) }
            }
            scenario.plan = { run in
                Self.planHolds(run)
                run.atEnd = { run in
                    let problems = Self.unbalanced(run.proxy.controller)
                    let totals = Self.totals(run.proxy.controller)
                    held += totals.held
                    moved += totals.moved
                    return problems
                }
            }
            return scenario
        }
        #expect(held > 100 && moved > 20, "the holds meet requests: \(held) held, \(moved) moved")
    }

    /// Holds, changes and reloads in between, releases at any rate.
    private static func planHolds(_ run: EngineRun) {
        var atNs: UInt64 = 0
        for _ in 0..<run.dice.pick(1...3) {
            atNs += run.dice.pick(0...500_000_000)
            run.world.after(atNs) { run.attempt { c throws(Problem) in try c.hold("s", HoldSettings(timeoutMs: 600_000, heldMax: 1000)) } }
            let lastsNs: UInt64 = run.dice.pick(1...900_000_000)
            if run.dice.chance(0.5) {
                let weights = ["u": run.dice.pick(1...3)]
                run.world.after(atNs + lastsNs / 2) {
                    run.attempt { c throws(Problem) in _ = try c.change(.setWeights(split: "s", weights), by: Author(who: "test")) }
                }
            }
            if run.dice.chance(0.3) { run.publishNewPeers(atNs: atNs + lastsNs / 3) }
            atNs += lastsNs
            let rate = [1, 7, 100, 1000, 100_000][run.dice.pick(0...4)]
            run.world.after(atNs) { run.attempt { c throws(Problem) in try c.release("s", rate: rate) } }
        }
    }

    static func unbalanced(_ controller: Controller) -> [String] {
        controller.revisions(limit: 100).compactMap { revision in
            guard let receipt = try? controller.receipt(revision.number) else { return "no receipt of \(revision.number)" }
            return receipt.balances && receipt.after.inFlight == 0 ? nil : "the receipt does not balance: \(receipt)"
        }
    }

    private static func totals(_ controller: Controller) -> (held: UInt64, moved: UInt64) {
        let receipts = controller.revisions(limit: 100).compactMap { try? controller.receipt($0.number) }
        return (receipts.reduce(0) { $0 + $1.held }, receipts.reduce(0) { $0 + $1.after.moved })
    }

    @Test func whateverFailsWhileRequestsAreHeldTheBooksBalance() throws {
        try simulate { dice in
            var scenario = EngineScenario()
            scenario.workers = dice.pick(1...2)
            scenario.peerCount = dice.pick(1...2)
            scenario.http = Self.split + "error_page 502 503 = /said/;"
            if dice.chance(0.5) { scenario.http = Self.split + "error_page 502 503 @again; recursive_error_pages on;" }
            scenario.target = "s"
            EngineFaultTests.failingUpstreams(&scenario, &dice)
            scenario.attemptsMax = 40
            scenario.attemptsWithBodyMax = 40
            EngineFaultTests.failingClients(&scenario)
            let stops = dice.pick(0...2)
            scenario.plan = { run in
                let heldMax = run.dice.pick(0...4)
                let timeoutMs = Int64(run.dice.pick(1...800))
                var atNs: UInt64 = 0
                for _ in 0..<run.dice.pick(1...4) {
                    atNs += run.dice.pick(0...400_000_000)
                    run.world.after(atNs) { run.attempt { c throws(Problem) in try c.hold("s", HoldSettings(timeoutMs: timeoutMs, heldMax: heldMax)) } }
                    if run.dice.chance(0.3) { run.publishNewPeers(atNs: atNs + 50_000_000) }
                    atNs += run.dice.pick(0...900_000_000)
                    let rate = run.dice.pick(1...2000)
                    run.world.after(atNs) { run.attempt { c throws(Problem) in try c.release("s", rate: rate) } }
                }
                if stops > 0 { run.world.after(run.dice.pick(0...1_500_000_000)) { run.stop(gracefully: stops == 1) } }
                run.atEnd = { Self.unbalanced($0.proxy.controller) }
            }
            return scenario
        }
    }
}

/// A proxy with a split of two variants, and clients that ask it one thing each at moments of their own.
@Suite struct EngineHoldStoryTests {
    let world = World(seed: 1)
    let upstreams: [HTTPUpstream]
    let proxy: SimulatedProxy

    static let locations = """
        location / { proxy_pass http://s; }
        location /fallback/ { error_page 502 = @behind; proxy_pass http://10.0.0.9:3001; }
        location @behind { proxy_pass http://s; }
        """

    init() throws {
        let addresses = [Address.host(2, 3001), Address.host(3, 3001)]
        let names = ["blue", "green"]
        let (world, locations) = (self.world, Self.locations)
        upstreams = zip(names, addresses).map { name, address in
            HTTPUpstream(world, name: name, at: address) { _ in .text(name) }
        }
        let pools = zip(names, addresses).map { "upstream \($0) { server \($1); }" }.joined(separator: " ")
        proxy = try SimulatedProxy(
            world,
            """
            error_log /log/error.log info; events {}
            http {
                log_format line '$http_x_id $status $upstream_addr $variant'; access_log \(SimulatedProxy.accessLog) line;
                \(pools) split s { blue 1; green 0; }
                server { listen \(SimulatedProxy.address); \(locations) }
            }
            """, peers: zip(names, addresses).map { ($0, $1.description) })
    }

    func client(_ id: String, afterMs: UInt64, _ request: PlannedRequest? = nil) -> HTTPClient {
        let client = HTTPClient(world, name: id, to: SimulatedProxy.address, requests: [request ?? PlannedRequest(id: id)])
        client.start(afterNs: afterMs * 1_000_000)
        return client
    }

    func run(_ clients: [HTTPClient]) {
        #expect(proxy.run(until: { clients.allSatisfy(\.isFinished) }) == .done, "\(world.story)")
        let receipts = EngineHoldTests.unbalanced(proxy.controller)
        #expect(receipts == [])
    }

    func end() {
        proxy.stop()
        #expect(proxy.runToTheEnd() == .done)
        proxy.end()
        world.end()
    }

    @Test func theyGoOnInTheirOrderAtTheRateUnderTheNewestRevision() throws {
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 60_000, heldMax: 100))
        let clients = (0..<40).map { client("\($0)", afterMs: UInt64(1 + $0)) }
        let controller = proxy.controller
        let upstreams = upstreams
        world.after(100_000_000) {
            #expect(upstreams.allSatisfy { $0.records.isEmpty })
            _ = try? controller.change(.setWeights(split: "s", ["blue": 0, "green": 1]), by: Author(who: "test"))
            _ = try? controller.release("s", rate: 100)
        }
        // They come while others wait still, and go behind them.
        let late = (40..<50).map { client("\($0)", afterMs: UInt64(110 + $0)) }
        run(clients + late)
        #expect(upstreams[0].records.isEmpty)
        #expect(upstreams[1].records.map(\.id) == (0..<50).map { "\($0)" })
        let times = upstreams[1].records.map(\.atNs)
        let tookMs = ((times.last ?? 0) - (times.first ?? 0)) / 1_000_000
        #expect((450...560).contains(tookMs), "49 requests at 100 a second take half a second, not \(tookMs) ms")
        let receipt = try proxy.controller.receipt(2)
        #expect(receipt.before.moved == 40 && receipt.before.started == 40 && receipt.after.started == 50 && receipt.after.completed == 50)
        end()
    }

    @Test func whatWaitsTooLongOrFindsNoRoomIsTurnedAway() throws {
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 500, heldMax: 2))
        let clients = (0..<5).map { client("\($0)", afterMs: UInt64(1 + $0)) }
        run(clients)
        let records = clients.map { $0.records[0] }
        #expect(records.allSatisfy { $0.status == 503 && $0.head?.field("retry-after") == "1" })
        let waitedMs = records.map { ($0.finishedNs - $0.startedNs) / 1_000_000 }
        #expect(waitedMs[0] >= 500 && waitedMs[1] >= 500 && waitedMs[2] < 5 && waitedMs[4] < 5, "\(waitedMs)")
        let receipt = try proxy.controller.receipt(1)
        #expect(receipt.after.failedByProxy == 5 && receipt.held == 2)
        let log = world.files.text("/log/error.log") ?? ""
        #expect(log.contains("the request has waited too long: its split is held \"s\""))
        #expect(log.contains("too many requests wait: their split is held \"s\""))
        end()
    }

    @Test func aClientThatLeavesMakesRoom() throws {
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 60_000, heldMax: 3))
        let clients = (0..<3).map { client("\($0)", afterMs: UInt64(1 + $0)) }
        // The one in the middle of the queue.
        world.after(50_000_000) { clients[1].leave() }
        let next = client("3", afterMs: 60)
        let controller = proxy.controller
        world.after(80_000_000) { _ = try? controller.release("s", rate: 1000) }
        run(clients + [next])
        #expect(upstreams[0].records.map(\.id) == ["0", "2", "3"])
        #expect(try proxy.controller.receipt(1).after.abortedByClient == 1)
        end()
    }

    @Test func aBodyIsLeftWhereItIsUntilTheRelease() throws {
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 60_000, heldMax: 3))
        var patient = PlannedRequest(id: "0", method: "POST", fields: [("Expect", "100-continue")], body: Array(repeating: 65, count: 9000))
        patient.continueWaitNs = 30_000_000_000
        let hasty = PlannedRequest(id: "1", method: "POST", body: Array(repeating: 66, count: 900_000))
        var clients = [client("0", afterMs: 1, patient)]
        clients.append(client("1", afterMs: 2, PlannedRequest(id: "1", method: "POST", body: Array(hasty.body.prefix(700_000)))))
        let (controller, world) = (proxy.controller, self.world)
        world.after(900_000_000) {
            #expect(clients[0].records[0].informational.isEmpty, "nobody has asked for the body yet")
            #expect(world.bufferedBytes > 60_000, "the body waits with the client")
            _ = try? controller.release("s", rate: 1000)
        }
        run(clients)
        #expect(clients[0].records[0].informational == [100])
        #expect(clients.map(\.records[0].status) == [200, 200])
        #expect(upstreams[0].records.map(\.body.count) == [9000, 700_000])
        end()
    }

    @Test func aGracefulStopTurnsAwayWhatIsHeld() throws {
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 60_000, heldMax: 100))
        let clients = (0..<4).map { client("\($0)", afterMs: UInt64(1 + $0)) }
        let proxy = proxy
        world.after(50_000_000) { proxy.stop() }
        #expect(proxy.run(until: { clients.allSatisfy(\.isFinished) }) == .done)
        #expect(clients.map(\.records[0].status) == [503, 503, 503, 503])
        #expect(proxy.runToTheEnd() == .done)
        #expect(try proxy.controller.receipt(1).after.failedByProxy == 4)
        proxy.end()
        world.end()
    }

    /// What was asked of one upstream already is not asked of it again when the release finds the request behind a redirect.
    @Test func aRequestBehindARedirectGoesOnFromThere() throws {
        let failing = HTTPUpstream(world, name: "failing", at: .host(9, 3001)) { _ in .fault(.closeBeforeHead) }
        try proxy.controller.hold("s", HoldSettings(timeoutMs: 60_000, heldMax: 100))
        let request = PlannedRequest(id: "0", method: "POST", target: "/fallback/x?y", body: Array("body".utf8))
        let controller = proxy.controller
        world.after(50_000_000) {
            _ = try? controller.change(.setWeights(split: "s", ["blue": 0, "green": 1]), by: Author(who: "test"))
            _ = try? controller.release("s", rate: 1000)
        }
        let one = client("0", afterMs: 1, request)
        run([one])
        #expect(one.records[0].status == 200)
        #expect(failing.records.count == 1)
        #expect(upstreams[1].records.map(\.target) == ["/fallback/x?y"])
        #expect(upstreams[1].records.map { String(decoding: $0.body, as: UTF8.self) } == ["body"])
        #expect(proxy.accessLines.last == "0 200 10.0.0.9:3001 : 10.0.0.3:3001 green")
        end()
    }
}
