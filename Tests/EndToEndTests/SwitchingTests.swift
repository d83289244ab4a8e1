// Owns the promise of a switch: it holds from its acknowledgement on, and costs no request and no connection.

import Foundation
import TestSupport
import Testing

@Suite("switching", .ownThread, .enabled(if: !Harness.isNginx))
struct SwitchingTests {
    enum Way: String, CaseIterable {
        /// The weights of the split.
        case weights
        /// The servers of a pool.
        case servers
    }

    /// Sends everything to one side; the revision.
    private func turn(_ way: Way, to isGreen: Bool, _ pools: BlueGreen, _ admin: Admin) throws -> Int {
        switch way {
        case .weights: return try admin.weigh(isGreen ? ["blue": 0, "green": 1] : ["blue": 1, "green": 0])
        case .servers:
            let server = isGreen ? pools.green.endpoint : pools.blue.endpoint
            return try admin.write(
                "PUT", "/upstreams/blue", "{\"keepalive\": 64, \"servers\": [{\"server\": \"\(server)\"}]}")
        }
    }

    /// One request on each of the clients at the same time.
    private func answers(_ clients: [RawClient], _ round: Int) throws -> Set<String> {
        for (i, client) in clients.enumerated() { try client.send(RawClient.text("GET", "/", ["X-Request-Id: p\(round)-\(i)"])) }
        return Set(try clients.map { try $0.response().text })
    }

    @Test("holds from its acknowledgement on, and costs nothing", arguments: [(Way.weights, 200), (.servers, 50)])
    func holdsAtOnce(way: Way, switches: Int) throws {
        let pools = try BlueGreen(main: "worker_processes 2;")
        let admin = try pools.admin()
        let probes = try (0..<8).map { _ in try pools.proxy.client() }
        #expect(try answers(probes, 0) == ["blue"])
        let load = Load(pools.proxy.endpoint, connections: 32)
        try load.waitForAnswers(100)
        for round in 1...switches {
            let isGreen = round % 2 == 1
            #expect(try turn(way, to: isGreen, pools, admin) == round + 1)
            #expect(try answers(probes, round) == [isGreen ? "green" : "blue"], "after switch \(round)")
        }
        try load.waitForAnswers(100)
        let result = try load.finish()
        #expect(result.failures == [])
        #expect(result.resent == 0, "no kept connection was closed")
        #expect(result.count(200) == result.sent)
        let seen = pools.seenIds
        let probed = probes.count * (switches + 1)
        #expect(seen.count == result.sent + probed, "each arrived once")
        #expect(Set(seen).count == seen.count)
        #expect(result.answered.isSubset(of: seen))
        let receipts = try Receipts(1...switches + 1, admin)
        #expect(receipts.started == result.sent + probed)
        #expect(receipts.completed == result.sent + probed)
        #expect(try admin.get("/status")["requests"]["started"].int == result.sent + probed)
    }
}
