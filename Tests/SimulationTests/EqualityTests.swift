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

func differences(_ actual: [String], _ expected: [String]) -> String {
    (0..<max(actual.count, expected.count)).map { i in
        let a = i < actual.count ? actual[i] : "-"
        let e = i < expected.count ? expected[i] : "-"
        return a == e ? "  \(a)" : "! simulated: \(a)   Linux: \(e)"
    }.joined(separator: "\n")
}
