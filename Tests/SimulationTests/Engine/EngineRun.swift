// One run of a scenario: world, proxy, upstreams and clients, from the first connection to the end of the workers.
// Made from a seed; `problems` says what did not add up. The rules it checks are in EngineAudit.swift.

import AdminAPI
import Control
import Simulation
import Testing

final class EngineRun {
    let seed: UInt64
    let scenario: EngineScenario
    let world: World
    let proxy: SimulatedProxy
    private(set) var upstreams: [HTTPUpstream] = []
    private(set) var clients: [HTTPClient] = []
    private(set) var problems: [String] = []
    var dice: SplitMix64
    /// When the graceful stop in mid-flight was asked for.
    private(set) var stoppedAtNs: UInt64?
    /// When which upstreams became the peers of u.
    private(set) var changes: [(atNs: UInt64, peers: Range<Int>)] = []
    /// When the controller had acknowledged which revision.
    private(set) var acknowledged: [(atNs: UInt64, revision: UInt64)] = []
    /// What tunnels are to carry, by request.
    private(set) var tunnels: [String: [UInt8]] = [:]
    /// What a test finds besides when the workers have stopped.
    var atEnd: (EngineRun) -> [String] = { _ in [] }
    private let baseDescriptors: Int

    static func peer(_ i: Int) -> Address { .host(UInt8(2 + i), 3001) }

    init(_ seed: UInt64, _ scenario: EngineScenario) throws {
        self.seed = seed
        self.scenario = scenario
        // The whole story is told when a failure is replayed.
        world = World(seed: seed, network: scenario.network, traceLinesMax: simulationSeeds(2).count == 1 ? 100_000 : 100)
        baseDescriptors = world.kernel.openDescriptors
        dice = SplitMix64(seed: seed ^ 0xE46)
        let peers = (0..<scenario.peerCount).map { Self.peer($0) }
        proxy = try SimulatedProxy(
            world, scenario.configuration(peers: peers), peers: peers.map { ("u", $0.description) }, workers: scenario.workers)
        world.faults = scenario.faults
        for (i, address) in peers.enumerated() { addUpstream("p\(i)", at: address) }
        for c in 0..<scenario.clientCount { addClient(c) }
        scenario.plan(self)
    }

    func addUpstream(_ name: String, at address: Address) {
        let upstream = HTTPUpstream(world, name: name, at: address) { [unowned self] record in
            let attempt = upstreams.reduce(0) { $0 + $1.seen(record.id).count }
            return scenario.answer(record, attempt, &dice)
        }
        scenario.tuneUpstream(upstream, &dice)
        upstreams.append(upstream)
    }

    private func addClient(_ c: Int) {
        var requests: [PlannedRequest] = []
        for r in 0..<scenario.requestsEach { requests.append(scenario.request("\(c).\(r)", &dice)) }
        for request in requests { tunnels[request.id] = request.tunnel }
        let client = HTTPClient(world, name: "c\(c)", to: SimulatedProxy.address, requests: requests)
        client.thinkNs = 0...dice.pick(0...200_000_000)
        scenario.tuneClient(client, &dice)
        client.start(afterNs: dice.pick(0...300_000_000))
        clients.append(client)
    }

    /// A call of the controller that has to succeed; none once the workers stop.
    func attempt(_ call: (Controller) throws(Problem) -> Void) {
        if stoppedAtNs != nil { return }
        do throws(Problem) { try call(proxy.controller) } catch { problems.append("\(error)") }
    }

    func stop(gracefully: Bool = true) {
        if gracefully && stoppedAtNs != nil { return }
        stoppedAtNs = stoppedAtNs ?? world.nowNs
        proxy.stop(gracefully: gracefully)
    }

    func stopAgain() {
        if stoppedAtNs != nil { proxy.stop() }
    }

    /// A reload `atNs` from now: upstream u gets other peers, of which some may be those it had.
    func publishNewPeers(atNs: UInt64) {
        let count = dice.pick(1...3)
        let keeps = dice.chance(0.3)
        world.after(atNs) { [self] in
            if stoppedAtNs != nil { return }
            let first = keeps ? upstreams.count - 1 : upstreams.count
            let peers = (first..<(first + count)).map { Self.peer($0) }
            for (i, address) in peers.enumerated() where first + i >= upstreams.count {
                addUpstream("p\(first + i)", at: address)
            }
            do {
                try proxy.publish(scenario.configuration(peers: peers), peers: peers.map { ("u", $0.description) })
                changes.append((world.nowNs, first..<(first + count)))
            } catch {
                problems.append("publishing: \(error)")
            }
        }
    }

    /// A change through the controller `atNs` from now. What it refuses has changed nothing.
    func change(atNs: UInt64, _ what: String, _ body: @escaping (Controller) throws(Problem) -> Accepted) {
        world.after(atNs) { [self] in
            if stoppedAtNs != nil { return }
            let controller = proxy.controller
            let before = controller.running
            do throws(Problem) {
                let accepted = try body(controller)
                acknowledged.append((world.nowNs, accepted.revision))
                world.note("test", "\(what): revision \(accepted.revision), \(accepted.summary)")
            } catch {
                world.note("test", "\(what) is refused: \(error.detail)")
                let after = controller.running
                if after.revision != before.revision || after.state != before.state { problems.append("\(what) was refused and changed something") }
            }
        }
    }

    /// Runs to the end and checks everything.
    func go() -> [String] {
        let clients = clients
        let result = proxy.run(until: { clients.allSatisfy(\.isFinished) })
        if result != .done {
            let waiting = clients.flatMap { c in c.records.filter { $0.outcome == .waiting }.map { "\(c.name) \($0.id)" } }
            problems.append("\(result) with \(proxy.workers.map(\.accounts)) while there wait \(waiting)")
        }
        if stoppedAtNs == nil { proxy.stop() }
        let end = proxy.runToTheEnd()
        if end != .done { problems.append("stopping: \(end) with \(proxy.workers.map(\.accounts))") }
        problems += audit() + atEnd(self)
        proxy.end()
        if world.kernel.openDescriptors != baseDescriptors {
            problems.append("descriptors are left open:\n\(world.kernel.openDescriptorsStory)")
        }
        if world.kernel.closedTwice > 0 { problems.append("\(world.kernel.closedTwice) descriptors were closed twice") }
        let story = problems.isEmpty ? "" : world.story + "\n--- error log\n" + (world.files.text("/log/error.log") ?? "")
        let log = proxy.accessLines.joined(separator: "\n")
        world.end()
        return problems.isEmpty ? [] : problems + [story, "--- access log", log]
    }
}

/// Runs `count` seeds of a scenario, and those `also` that once found something; stops at the first that does not add up, with
/// everything needed to replay it.
func simulate(
    _ count: Int = 64, also: [UInt64] = [], sourceLocation: SourceLocation = #_sourceLocation,
    _ draw: (inout SplitMix64) -> EngineScenario
) throws {
    let seeds = simulationSeeds(count)
    for seed in seeds.count == 1 ? seeds : also + seeds {
        var dice = SplitMix64(seed: seed ^ 0x5CE)
        let problems = try EngineRun(seed, draw(&dice)).go()
        if problems.isEmpty { continue }
        Issue.record("SIMULATION_SEED=\(seed) replays this:\n\(problems.joined(separator: "\n"))", sourceLocation: sourceLocation)
        return
    }
}
