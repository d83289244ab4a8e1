// When lines of the access log are written, over the simulated kernel and its clock: at the end of their turn while there is little to
// do, together soon afterwards under load. How lines are composed is tested end to end.

import Simulation
import Testing

@Suite struct EngineLogTests {
    /// When the file grew, and by how many lines.
    private struct Growth {
        var atNs: UInt64
        var lines: Int
    }

    /// Four clients that ask `count` times each, the next time `thinkNs` after an answer, of a proxy that answers by itself.
    private static func growths(count: Int, thinkNs: UInt64) throws -> (growths: [Growth], finishedNs: [UInt64]) {
        var network = NetworkPlan()
        network.latencyNs = 5_000...20_000
        let world = World(seed: 7, network: network)
        let proxy = try SimulatedProxy(
            world,
            """
            events {}
            http {
                access_log \(SimulatedProxy.accessLog);
                server { listen \(SimulatedProxy.address); location / { return 200 said; } }
            }
            """, peers: [])
        let clients = (0..<4).map { c in
            let client = HTTPClient(
                world, name: "c\(c)", to: SimulatedProxy.address, requests: (0..<count).map { PlannedRequest(id: "\(c).\($0)") })
            client.thinkNs = thinkNs...thinkNs
            client.start(afterNs: thinkNs / 4 * UInt64(c))
            return client
        }
        var growths: [Growth] = []
        var seen = 0
        let result = proxy.run(until: {
            let lines = proxy.accessLines.count
            if lines > seen { growths.append(Growth(atNs: world.nowNs, lines: lines - seen)) }
            seen = lines
            return seen == 4 * count && clients.allSatisfy(\.isFinished)
        })
        #expect(result == .done)
        proxy.stop()
        #expect(proxy.runToTheEnd() == .done)
        #expect(proxy.accessLines.count == 4 * count)
        proxy.end()
        let finished = clients.flatMap(\.records).map(\.finishedNs).sorted()
        world.end()
        return (growths, finished)
    }

    @Test func aLineIsWrittenWithItsTurnWhileThereIsLittleToDo() throws {
        let (growths, finishedNs) = try Self.growths(count: 10, thinkNs: 20_000_000)
        #expect(growths.count == 40)
        // Before its client has read the answer, but for what the network takes.
        for (growth, finished) in zip(growths, finishedNs) { #expect(growth.atNs <= finished + 1_000_000) }
    }

    @Test func underLoadManyLinesShareAWriteAndNoneWaitsLong() throws {
        let (growths, finishedNs) = try Self.growths(count: 150, thinkNs: 0)
        #expect(growths.count < 600 / 20)
        for (earlier, later) in zip(growths, growths.dropFirst()) { #expect(later.atNs - earlier.atNs >= 900_000) }
        var written = 0
        for growth in growths {
            // The oldest line that this write brought.
            #expect(growth.atNs <= finishedNs[written] + 3_100_000)
            written += growth.lines
        }
    }
}
