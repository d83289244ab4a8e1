// A whole small world: clients, a relay on the simulated kernel and upstreams, with a kind and with a rough network.
// Every byte is accounted for, nothing leaks, and the same seed gives the same run.

import CLinux
import Engine
import Simulation
import Testing

private let proxyAddress = Address.host(1, 80)
private let upstreamAddress = Address.host(2, 3001)

private struct Run {
    var world: World
    var proxy: TinyProxy
    var upstream: HTTPUpstream
    var clients: [HTTPClient]

    init(seed: UInt64, network: NetworkPlan, faults: FaultPlan = FaultPlan(), clientCount: Int = 4, requestsEach: Int = 6) {
        world = World(seed: seed, network: network, faults: faults)
        var dice = SplitMix64(seed: seed ^ 77)
        var bodies: [String: Answer] = [:]
        var plans: [[PlannedRequest]] = []
        for c in 0..<clientCount {
            var requests: [PlannedRequest] = []
            for r in 0..<requestsEach {
                let id = "\(c).\(r)"
                let body = dice.chance(0.4) ? dice.bytes(dice.pick(0...20_000)) : []
                let framing: PlannedRequest.Framing = dice.chance(0.5) ? .length : .chunked(dice.pick(1...5_000))
                let method = body.isEmpty ? (dice.chance(0.2) ? "HEAD" : "GET") : "POST"
                requests.append(PlannedRequest(id: id, method: method, body: body, framing: body.isEmpty ? .length : framing))
                var answer = Answer(body: dice.bytes(dice.pick(0...40_000)))
                if dice.chance(0.4) { answer.framing = .chunked(1...4_000) }
                if dice.chance(0.2) { answer.delayNs = dice.pick(0...5_000_000_000) }
                if dice.chance(0.1) { answer.informational = [103] }
                if dice.chance(0.2) { answer.ending = .close }
                if dice.chance(0.2) { answer.framing = .untilClose }
                bodies[id] = answer
            }
            plans.append(requests)
        }
        upstream = HTTPUpstream(world, name: "u", at: upstreamAddress) { bodies[$0.id] ?? Answer(500) }
        proxy = TinyProxy(world.kernel, listenAt: proxyAddress.bytes, upstream: upstreamAddress.bytes)
        clients = []
        for (c, requests) in plans.enumerated() {
            let client = HTTPClient(world, name: "c\(c)", to: proxyAddress, requests: requests)
            if dice.chance(0.3) { client.pace = { _ in .dripping } }
            client.start(afterNs: dice.pick(0...1_000_000_000))
            clients.append(client)
        }
    }

    func go() -> RunResult {
        let (clients, proxy) = (clients, proxy)
        let result = world.run(until: { clients.allSatisfy(\.isFinished) }, step: { proxy.turn() })
        if result != .done { return result }
        return world.run(until: { proxy.openEnds == 0 }, maxTurns: 10_000, step: { proxy.turn() })
    }

    /// Everything ended, was counted and given back.
    func checkAll() {
        let ledger = Ledger(clients: clients, upstreams: [upstream])
        #expect(ledger.problems.isEmpty, "\(ledger.problems)\n\(world.story)")
        #expect(ledger.wholeAnswers == ledger.sent && ledger.sent == ledger.received, "\(world.story)")
        proxy.shutdown()
        #expect(world.kernel.openDescriptors == 0, "\(world.kernel.openDescriptorsStory)")
        #expect(world.kernel.closedTwice == 0)
        world.end()
        #expect(world.bufferedBytes == 0)
    }
}

@Suite struct RelayTests {
    @Test func onAKindNetwork() {
        let run = Run(seed: 1, network: NetworkPlan())
        #expect(run.go() == .done, "\(run.world.story)")
        run.checkAll()
    }

    @Test func onARoughNetwork() {
        for seed in simulationSeeds(20) {
            let run = Run(seed: seed, network: .rough)
            #expect(run.go() == .done, "\(run.world.story)")
            run.checkAll()
        }
    }

    @Test func withFaultsThatHarmNobody() {
        for seed in simulationSeeds(20) {
            let run = Run(seed: seed, network: .rough, faults: .harmless)
            #expect(run.go() == .done, "\(run.world.story)")
            run.checkAll()
        }
    }

    @Test func withLostConnectionsEveryRequestStillEndsOnce() {
        for seed in simulationSeeds(20) {
            var faults = FaultPlan.harmless
            faults.lostConnection = 0.01
            faults.refusedConnect = 0.1
            let run = Run(seed: seed, network: .rough, faults: faults)
            #expect(run.go() == .done, "\(run.world.story)")
            let ledger = Ledger(clients: run.clients, upstreams: [run.upstream])
            #expect(ledger.problems.isEmpty, "\(ledger.problems)\n\(run.world.story)")
            run.proxy.shutdown()
            #expect(run.world.kernel.openDescriptors == 0)
            run.world.end()
            #expect(run.world.bufferedBytes == 0)
        }
    }

    @Test func theSameSeedGivesTheSameRun() {
        func fingerprint(_ seed: UInt64) -> (UInt64, [String]) {
            let run = Run(seed: seed, network: .rough, faults: .harmless)
            _ = run.go()
            defer { run.world.end() }
            return (run.world.trace.fingerprint, run.world.trace.lines)
        }
        let first = fingerprint(99)
        let second = fingerprint(99)
        #expect(first.0 == second.0)
        #expect(first.1 == second.1)
        #expect(fingerprint(100).0 != first.0)
    }

    @Test func anEndedWorldIsFreed() {
        weak var world: World?
        do {
            let run = Run(seed: 3, network: .rough, faults: .harmless)
            _ = run.go()
            run.proxy.shutdown()
            run.world.end()
            world = run.world
        }
        #expect(world == nil)
    }

    @Test func aTunnelCarriesEveryByteBothWays() {
        for seed in simulationSeeds(20) {
            let world = World(seed: seed, network: .rough, faults: .harmless)
            let upstream = HTTPUpstream(world, name: "u", at: upstreamAddress) { _ in .echo }
            let proxy = TinyProxy(world.kernel, listenAt: proxyAddress.bytes, upstream: upstreamAddress.bytes)
            let bytes = world.dice.bytes(50_000)
            let client = HTTPClient(world, name: "c", to: proxyAddress, requests: [.upgrade(id: "1", bytes: bytes)])
            client.start()
            #expect(world.run(until: { client.isFinished }, step: { proxy.turn() }) == .done, "\(world.story)")
            #expect(client.records[0].outcome == .whole, "\(world.story)")
            #expect(client.records[0].tunnelBytes == bytes)
            #expect(Ledger(clients: [client], upstreams: [upstream]).problems.isEmpty)
            proxy.shutdown()
            world.end()
        }
    }

    /// The simulation is only worth its name if it finds what is wrong.
    @Test(arguments: TinyProxy.Bug.allCases)
    func plantedBugsAreFound(_ bug: TinyProxy.Bug) {
        var found = 0
        for seed in simulationSeeds(8) {
            var faults = FaultPlan.harmless
            if bug == .mistakesResets { faults.lostConnection = 0.02 }
            let run = Run(seed: seed, network: .rough, faults: faults)
            run.proxy.bug = bug
            let result = run.go()
            let problems = Ledger(clients: run.clients, upstreams: [run.upstream]).problems
            let ends = run.clients.flatMap(\.records).filter { $0.outcome == .cut }
            run.proxy.shutdown()
            if result != .done || !problems.isEmpty || !ends.isEmpty || run.world.kernel.openDescriptors > 0 { found += 1 }
            run.world.end()
        }
        #expect(found > 0)
    }

    @Test func severalLoopsShareOneWorld() {
        let world = World(seed: 5, network: .rough)
        let upstream = HTTPUpstream(world, name: "u", at: upstreamAddress) { _ in .text("hello") }
        let proxies = (0..<3).map { i in
            TinyProxy(world.kernel, listenAt: Address.host(1, UInt16(80 + i)).bytes, upstream: upstreamAddress.bytes)
        }
        let clients = (0..<9).map { i in
            let requests = (0..<4).map { PlannedRequest(id: "\(i).\($0)") }
            let client = HTTPClient(world, name: "c\(i)", to: .host(1, UInt16(80 + i % 3)), requests: requests)
            client.start()
            return client
        }
        let steps = proxies.map { proxy in { proxy.turn() } }
        #expect(world.run(until: { clients.allSatisfy(\.isFinished) }, steps: steps) == .done, "\(world.story)")
        let ledger = Ledger(clients: clients, upstreams: [upstream])
        #expect(ledger.problems.isEmpty && ledger.wholeAnswers == 36, "\(ledger.problems)")
    }

    @Test func aLoopThatWaitsForNothingIsSaidToBeStuck() {
        let world = World(seed: 1)
        let proxy = TinyProxy(world.kernel, listenAt: proxyAddress.bytes, upstream: upstreamAddress.bytes)
        let upstream = HTTPUpstream(world, name: "u", at: upstreamAddress) { _ in .fault(.silence) }
        let client = HTTPClient(world, name: "c", to: proxyAddress, requests: [PlannedRequest(id: "1")])
        client.start()
        #expect(world.run(until: { client.isFinished }, step: { proxy.turn() }) == .deadlock)
        #expect(upstream.seen("1").count == 1)
        #expect(world.run(until: { client.isFinished }, steps: [{ proxy.turn() }]) == .deadlock)
        #expect(world.run(until: { client.isFinished }, maxTurns: 10, step: { proxy.turn(timeoutMs: 5) }) == .exhausted)
    }
}
