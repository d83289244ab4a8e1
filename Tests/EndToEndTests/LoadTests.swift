// Owns the balance of accounts under concurrency: every request answered once, and seen once by exactly one upstream.

import TestSupport
import Testing

@Suite("accounts under load", .ownThread)
struct LoadTests {
    private func ids(_ peers: [Upstream]) -> [String] { peers.flatMap(\.requests).compactMap { $0["X-Request-Id"] } }

    @Test("every request is answered once", arguments: [1, 2], [true, false])
    func everyRequest(workers: Int, keepsAlive: Bool) throws {
        let peers = try (0..<3).map { try Upstream(saying: "\($0)") }
        let proxy = try Proxy(
            server: "location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\"; }",
            http: "upstream u { \(peers.map { "server \($0.endpoint);" }.joined()) keepalive 16; }",
            main: "worker_processes \(workers);")
        let result = try Load(proxy.endpoint, connections: 16, requests: 1000, keepsAlive: keepsAlive).finish()
        #expect(result.failures == [])
        #expect(result.count(200) == 1000)
        #expect(result.answered.count == 1000)
        let seen = ids(peers)
        #expect(seen.count == 1000)
        #expect(Set(seen) == result.answered)
        for (i, peer) in peers.enumerated() { #expect(result.bodies["\(i)"] == peer.requestCount) }
        #expect(try proxy.waitForLines(1000).count == 1000)
    }

    @Test func aPeerThatComesAndGoesCostsNoRequest() throws {
        let peers = try (0..<2).map { try Upstream(saying: "\($0)") }
        let proxy = try Proxy(
            server: "location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection \"\"; }",
            http:
                """
                upstream u { server \(peers[0].endpoint) max_fails=1 fail_timeout=1s; server \(peers[1].endpoint); keepalive 8; }
                """
        )
        let load = Load(proxy.endpoint, connections: 8)
        for _ in 0..<3 {
            try load.waitForAnswers(100)
            peers[0].stop()
            try load.waitForAnswers(100)
            try peers[0].listen()
        }
        try Harness.wait(for: "the peer to be used again") {
            let before = peers[0].requestCount
            try load.waitForAnswers(10)
            return peers[0].requestCount > before
        }
        let result = try load.finish()
        #expect(result.failures == [])
        #expect(result.count(200) == result.sent)
        #expect(Set(ids(peers)) == result.answered)
    }

    @Test func errorsAreCountedOnBothSidesToo() throws {
        let upstream = try Upstream { r, c in
            // Every tenth request fails after it arrived.
            let number = Int(r["X-Request-Id"]?.dropFirst() ?? "") ?? 0
            if number % 10 == 0 { c.reset() } else { try c.answer(body: "x") }
        }
        // A GET lost to a kept connection would be tried once more; here each request is to arrive once.
        let proxy = try Proxy(server: "location / { proxy_next_upstream off; proxy_pass http://\(upstream.endpoint); }")
        let result = try Load(proxy.endpoint, connections: 8, requests: 500).finish()
        #expect(result.failures == [])
        #expect(result.count(502) == 50)
        #expect(result.count(200) == 450)
        #expect(upstream.requestCount == 500)
    }
}
