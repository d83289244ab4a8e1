// The simulated kernel beside Linux: each scenario runs on both, over IPv4, IPv6 and local sockets, and every answer is equal.
// A scenario that differs is a bug of the simulation, whatever the manual pages say.

import CLinux
import Engine
import Simulation
import Testing

struct Scenario: Sendable, CustomTestStringConvertible {
    var name: String
    var run: @Sendable (Probe) -> Void
    init(_ name: String, _ run: @escaping @Sendable (Probe) -> Void) {
        self.name = name
        self.run = run
    }
    var testDescription: String { name }
}

enum Family: String, CaseIterable, Sendable {
    case v4, v6, local

    func place(_ unique: String) -> Address {
        switch self {
        case .v4: .loopback(0)
        case .v6: .v6(0, 1, 0)
        case .local: .local([0] + Array("switchback-\(unique)-\(getpid())".utf8))
        }
    }
}

@Suite struct EqualityTests {
    @Test(arguments: Family.allCases, 0..<socketScenarios.count)
    func socketsAnswerAsLinuxDoes(_ family: Family, _ index: Int) {
        let scenario = socketScenarios[index]
        let place = family.place("scenario-\(index)")
        let real = Probe(RealKernel(), listenAt: place)
        scenario.run(real)
        let expected = real.finish()

        let world = World(seed: 1)
        let simulated = Probe(world.kernel, listenAt: place)
        scenario.run(simulated)
        let actual = simulated.finish()
        #expect(actual == expected, "\(family) \(scenario.name):\n\(differences(actual, expected))")
        #expect(world.kernel.openDescriptors == 0)
        #expect(world.bufferedBytes == 0, "\(scenario.name)")
    }
}

@Suite struct LoopEqualityTests {
    /// A loop that obeys the engine's rules does the same on both kernels.
    @Test(arguments: Family.allCases)
    func aRelayDoesOnTheSimulationWhatItDoesOnLinux(_ family: Family) {
        let expected = relay(RealKernel(), family)
        let world = World(seed: 4)
        let actual = relay(world.kernel, family)
        #expect(actual == expected, "\(differences(actual, expected))")
        #expect(world.kernel.openDescriptors == 0 && world.bufferedBytes == 0)
    }

    private func relay(_ kernel: any Kernel, _ family: Family) -> [String] {
        let p = Probe(kernel, listenAt: family.place("relay-upstream"))
        p.listener("u")
        let proxy = TinyProxy(kernel, listenAt: family.place("relay").bytes, upstream: p.address(of: "u"))
        func settle() { for _ in 0..<6 { proxy.turn(timeoutMs: 2) } }
        func meet(_ client: String, _ server: String) {
            p.socket(client)
            p.connect(client, address: proxy.listenerAddress)
            settle()
            _ = p.accept("u", as: server)
            p.watch(client)
            p.watch(server)
            p.events()
        }
        meet("c", "s")
        p.send("c", "request")
        settle()
        p.events()
        p.receive("s")
        p.send("s", "answer")
        settle()
        p.receive("c")
        p.shutdown("c")
        settle()
        p.receive("s")
        p.send("s", "the rest")
        p.close("s")
        settle()
        p.events()
        p.receive("c")
        p.receive("c")
        p.say("open \(proxy.openEnds)")

        meet("c2", "s2")
        p.send("s2", "unread")
        settle()
        p.reset("c2")
        settle()
        p.events()
        p.receive("s2")
        p.say("open \(proxy.openEnds)")

        meet("c3", "s3")
        var (sent, received) = (0, 0)
        let block = [UInt8](repeating: 9, count: 100_000)
        for _ in 0..<2_000 where received < 2_000_000 {
            if sent < 2_000_000 { sent += max(0, kernel.send(p.fd("c3"), block, min(block.count, 2_000_000 - sent), flags: 0)) }
            proxy.turn(timeoutMs: 0)
            received += p.drainQuietly("s3", 30_000)
        }
        p.say("received \(received)")

        p.close("u")
        p.socket("c4")
        p.connect("c4", address: proxy.listenerAddress)
        settle()
        p.receive("c4")
        p.say("open \(proxy.openEnds)")
        proxy.shutdown()
        return p.finish()
    }
}

func differences(_ actual: [String], _ expected: [String]) -> String {
    (0..<max(actual.count, expected.count)).map { i in
        let a = i < actual.count ? actual[i] : "-"
        let e = i < expected.count ? expected[i] : "-"
        return a == e ? "  \(a)" : "! simulated: \(a)   Linux: \(e)"
    }.joined(separator: "\n")
}
