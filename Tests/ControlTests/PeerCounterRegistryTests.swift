import Balancing
import Testing

@testable import Control

@Suite struct PeerCounterRegistryTests {
    private let registry = PeerCounterRegistry()
    private let none: [UInt8] = []

    @Test func aServerKeepsItsCountersWhileSomebodyHasThem() {
        let first = registry.counters(upstream: "a", servers: ["1", "2", "1"]).peers
        #expect(first[0] !== first[2], "an address given twice is two peers")
        let again = registry.counters(upstream: "a", servers: ["1", "1", "1"]).peers
        #expect(again[0] === first[0] && again[1] === first[2] && again[2] !== first[0] && again[2] !== first[2])
        #expect(first[0] !== first[1])
        #expect(registry.counters(upstream: "a", servers: ["2", "3"]).peers[0] === first[1])
        #expect(registry.counters(upstream: "b", servers: ["2"]).peers[0] !== first[1])
        #expect(registry.counters(upstream: "a", server: "1") === first[0])
    }

    @Test func countersThatNobodyHasBeginAnew() {
        var spec: PeerSpec? = PeerSpec(counters: registry.counters(upstream: "a", server: "1"))
        if let spec {
            var balancer = Balancer(.roundRobin, peers: [spec])
            var tried = TriedPeers()
            _ = balancer.pick(PickContext(nowMs: 1), key: none.span, tried: &tried)
        }
        #expect(registry.counters(upstream: "a", server: "1").requests == 1)
        spec = nil
        #expect(registry.counters(upstream: "a", server: "1").requests == 0)
    }

    @Test func rowsOfManyPeersAreTheirOwn() {
        var rows: [PeerCounters] = []
        for round in 0..<4 {
            let servers = (0..<5000).map { "\(round * 2500 + $0)" }
            let next = registry.counters(upstream: "a", servers: servers).peers
            if round > 0 { for i in 0..<2500 { #expect(next[i] === rows[2500 + i]) } }
            rows = next
        }
        #expect(Set(rows.map { ObjectIdentifier($0) }).count == 5000)
        let specs = rows.map { PeerSpec(counters: $0) }
        var balancer = Balancer(.roundRobin, peers: specs)
        for _ in 0..<5000 {
            var tried = TriedPeers()
            guard case .peer(let peer, _) = balancer.pick(PickContext(nowMs: 1), key: none.span, tried: &tried) else { continue }
            balancer.release(peer, outcome: .succeeded, nowMs: 1)
        }
        #expect(rows.allSatisfy { $0.requests == 1 && $0.active == 0 })
    }
}
