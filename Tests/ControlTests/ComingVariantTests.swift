// Owns what variants and servers begin with that come into service: nothing that failed before nobody was sent to them.

import AdminAPI
import Balancing
import Engine
import Testing

@testable import Control

@Suite("Variants that come into service")
struct ComingVariantTests {
    private let desk: AdminDesk
    private let author = Author(who: "ada")
    private let key: [UInt8] = []

    init() throws {
        desk = try AdminDesk(
            """
            upstream blue { server 127.0.0.1:3001 max_fails=3 fail_timeout=30s; server 127.0.0.1:3002 backup; }
            upstream green { server 127.0.0.1:3002 max_fails=3 fail_timeout=30s; server 127.0.0.1:3001 backup; }
            split app { blue 100; green 0; }
            split api { green 1; }
            """)
    }

    private func fail(_ upstream: String, times: Int = 3) throws -> PeerCounters {
        let definition = try #require(desk.controller.definitions.first { $0.settings.value.name.string == upstream })
        var balancer = Balancer(.roundRobin, peers: definition.peers)
        for _ in 0..<times {
            var tried = TriedPeers()
            guard case .peer(let peer, false) = balancer.pick(PickContext(nowMs: desk.nowMs), key: key.span, tried: &tried) else { continue }
            balancer.release(peer, outcome: .failed, nowMs: desk.nowMs)
        }
        #expect(definition.peers[0].counters.fails == times)
        return definition.peers[0].counters
    }

    /// A release that died, and the next one at its address within `fail_timeout`.
    @Test func theFirstShareForgetsWhatFailedBefore() throws {
        let counters = try fail("green")
        _ = try desk.controller.change(.setWeights(split: "app", ["green": 5]), by: author)
        #expect(counters.fails == 0 && counters.failures == 3)
        _ = try fail("green")
        _ = try desk.controller.change(.setWeights(split: "app", ["green": 50]), by: author)
        #expect(counters.fails == 3, "it serves: what fails now is its own")
        _ = try desk.controller.change(.setWeights(split: "app", ["green": 0]), by: author)
        #expect(counters.fails == 3)
    }

    /// A replica that died, and the next one at its address.
    @Test(arguments: [("{\"drain\": true}", "{\"drain\": false}"), ("{\"down\": true}", "{\"down\": false}"), ("{\"weight\": 0}", "{\"weight\": 1}")])
    func aServerThatIsTakenIntoServiceForgetsIt(out: String, back: String) throws {
        let counters = try fail("blue")
        desk.ask("PATCH", "/upstreams/blue/servers/0", out)
        desk.ask("PATCH", "/upstreams/blue/servers/1", "{\"weight\": 2}")
        #expect(counters.fails == 3)
        #expect(desk.ask("PATCH", "/upstreams/blue/servers/0", back).status == 200)
        #expect(counters.fails == 0)
    }

    @Test func whoseShareStaysKeepsIt() throws {
        let counters = try fail("blue")
        _ = try desk.controller.change(.setWeights(split: "app", ["green": 5]), by: author)
        _ = try desk.controller.reload(try AdminDesk.built(AdminDesk.pools, desk.system), by: author)
        #expect(counters.fails == 3)
    }
}
