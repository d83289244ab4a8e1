// Owns when a peer counts as failed, for how long it gets nothing, and the shares the others get.

import TestSupport
import Testing

@Suite("failure accounting", .ownThread)
struct FailureAccountingTests {
    private func proxy(_ upstream: String, _ more: String = "") throws -> Proxy {
        try Proxy(server: "location / { proxy_pass http://u; \(more) }", http: "upstream u { \(upstream) }")
    }

    @Test func aPeerIsTakenOutAfterMaxFails() throws {
        let bad = try Upstream { _, c in c.close() }
        let good = try Upstream(saying: "good")
        let proxy = try proxy("server \(bad.endpoint) max_fails=2 fail_timeout=30s; server \(good.endpoint);")
        for _ in 0..<20 { #expect(try proxy.get().text == "good") }
        #expect(bad.requestCount == 2)
        #expect(good.requestCount == 20)
    }

    @Test func aPeerIsTriedAgainAfterFailTimeout() throws {
        let isSick = Locked(true)
        let bad = try Upstream { _, c in if isSick.current { c.close() } else { try c.answer(body: "well") } }
        let good = try Upstream(saying: "good")
        let proxy = try proxy("server \(bad.endpoint) max_fails=1 fail_timeout=1s; server \(good.endpoint);")
        for _ in 0..<6 { #expect(try proxy.get().text == "good") }
        #expect(bad.requestCount == 1)
        isSick.with { $0 = false }
        try Harness.wait(for: "the peer to be used again") { try proxy.get().text == "well" }
        let answers = try (0..<6).map { _ in try proxy.get().text }
        #expect(answers.filter { $0 == "well" }.count == 3)
    }

    @Test func maxFailsZeroNeverTakesAPeerOut() throws {
        let bad = try Upstream { _, c in c.close() }
        let good = try Upstream(saying: "good")
        let proxy = try proxy("server \(bad.endpoint) max_fails=0; server \(good.endpoint);")
        for _ in 0..<10 { #expect(try proxy.get().text == "good") }
        #expect(bad.requestCount == 5)
    }

    @Test func anAnswerThatIsNotAFailureDoesNotCount() throws {
        let erring = try Upstream { _, c in try c.answer("500 Internal Server Error", body: "bad") }
        let good = try Upstream(saying: "good")
        let proxy = try proxy("server \(erring.endpoint) max_fails=1 fail_timeout=30s; server \(good.endpoint);")
        for _ in 0..<10 { _ = try proxy.get() }
        #expect(erring.requestCount == 5)
        #expect(good.requestCount == 5)
    }

    @Test func anAnswerNamedAsFailureCounts() throws {
        let erring = try Upstream { _, c in try c.answer("500 Internal Server Error", body: "bad") }
        let good = try Upstream(saying: "good")
        let proxy = try proxy(
            "server \(erring.endpoint) max_fails=1 fail_timeout=30s; server \(good.endpoint);",
            "proxy_next_upstream error http_500;")
        for _ in 0..<10 { #expect(try proxy.get().text == "good") }
        #expect(erring.requestCount == 1)
    }

    /// A request that every peer fails at, or that must not be repeated, takes nobody out who answers it.
    @Test(arguments: [
        ("POST", ""), ("GET", "proxy_next_upstream_tries 1;"), ("POST", "proxy_next_upstream_tries 1; proxy_request_buffering off;"),
    ])
    func anAnswerThatTheClientGetsDoesNotCount(method: String, more: String) throws {
        let peers = try (0..<2).map { _ in
            try Upstream { r, c in try c.answer(r.target == "/bad" ? "500 Internal Server Error" : "200 OK", body: "x") }
        }
        let proxy = try proxy(peers.map { "server \($0.endpoint) max_fails=1 fail_timeout=30s;" }.joined(), "proxy_next_upstream error http_500; \(more)")
        for _ in 0..<4 { #expect(try proxy.get("/bad", method: method, body: method == "POST" ? "x" : nil).status == 500) }
        for _ in 0..<4 { #expect(try proxy.get().text == "x") }
        #expect(peers.map(\.requestCount) == [4, 4])
    }

    @Test func aRequestThatAllFailAtLeavesOne() throws {
        let peers = try (0..<2).map { _ in
            try Upstream { r, c in try c.answer(r.target == "/bad" ? "500 Internal Server Error" : "200 OK", body: "x") }
        }
        let proxy = try proxy(peers.map { "server \($0.endpoint) max_fails=1 fail_timeout=30s;" }.joined(), "proxy_next_upstream error http_500;")
        #expect(try proxy.get("/bad").status == 500)
        for _ in 0..<4 { #expect(try proxy.get().text == "x") }
        #expect(peers.map(\.requestCount) == [1, 5])
    }

    @Test(arguments: ["Content-Length: 10", "Transfer-Encoding: chunked", "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked"])
    func anAnswerThatBreaksOffDoesNotCount(field: String) throws {
        let peers = try (0..<2).map { _ in
            try Upstream { r, c in
                if r.target != "/cut" { return try c.answer(body: "x") }
                try c.send("HTTP/1.1 200 OK\r\n\(field)\r\n\r\n2\r\nok\r\n")
                c.close()
            }
        }
        let proxy = try proxy(peers.map { "server \($0.endpoint) max_fails=1 fail_timeout=30s;" }.joined())
        for _ in 0..<4 {
            let client = try proxy.client()
            try client.send(RawClient.text("GET", "/cut"))
            #expect(try client.stream.readHead().word(1) == "200")
            _ = client.end()
        }
        for _ in 0..<4 { #expect(try proxy.get().text == "x") }
        #expect(peers.map(\.requestCount) == [4, 4])
    }

    @Test func whenAllAreOutEachIsTriedAgainAtOnce() throws {
        let peers = try (0..<2).map { _ in try Upstream { _, c in c.close() } }
        let proxy = try proxy(peers.map { "server \($0.endpoint) max_fails=1 fail_timeout=30s;" }.joined())
        for _ in 0..<6 { #expect(try proxy.get().status == 502) }
        #expect(peers.allSatisfy { $0.requestCount >= 1 })
    }

    @Test func theBackupServesOnlyWhileTheOthersAreOut() throws {
        let first = try Upstream(saying: "1")
        let second = try Upstream(saying: "2")
        let backup = try Upstream(saying: "backup")
        let proxy = try proxy(
            """
            server \(first.endpoint) max_fails=1 fail_timeout=1s; server \(second.endpoint) max_fails=1 fail_timeout=1s;
            server \(backup.endpoint) backup;
            """)
        for _ in 0..<6 { _ = try proxy.get() }
        #expect(backup.requestCount == 0)
        first.refuse()
        for _ in 0..<6 { #expect(try proxy.get().text == "2") }
        #expect(backup.requestCount == 0)
        second.refuse()
        for _ in 0..<6 { #expect(try proxy.get().text == "backup") }
        try first.listen()
        try Harness.wait(for: "the first peer to serve again") { try proxy.get().text == "1" }
    }

    @Test func aSinglePeerIsNeverTakenOut() throws {
        let upstream = try Upstream(saying: "x", listening: false)
        let proxy = try proxy("server \(upstream.endpoint) max_fails=1 fail_timeout=30s;")
        for _ in 0..<3 { #expect(try proxy.get().status == 502) }
        try upstream.listen()
        #expect(try proxy.get().text == "x")
    }

    @Test func downPeersGetNothing() throws {
        let off = try Upstream(saying: "off")
        let on = try Upstream(saying: "on")
        let proxy = try proxy("server \(off.endpoint) down; server \(on.endpoint);")
        for _ in 0..<6 { #expect(try proxy.get().text == "on") }
    }

    @Test func roundRobinIsEvenAndWeightsAreExact() throws {
        let peers = try (0..<3).map { try Upstream(saying: "\($0)") }
        let even = try proxy(peers.map { "server \($0.endpoint);" }.joined())
        for _ in 0..<30 { _ = try even.get() }
        #expect(peers.map(\.requestCount) == [10, 10, 10])
        let weighted = try proxy(
            "server \(peers[0].endpoint) weight=5; server \(peers[1].endpoint) weight=3; server \(peers[2].endpoint) weight=2;")
        for _ in 0..<30 { _ = try weighted.get() }
        #expect(peers.map(\.requestCount) == [25, 19, 16])
    }

    @Test func ipHashAndHashStayWithOnePeer() throws {
        let peers = try (0..<3).map { try Upstream(saying: "\($0)") }
        let servers = peers.map { "server \($0.endpoint);" }.joined()
        let byAddress = try proxy("ip_hash; \(servers)")
        #expect(Set(try (0..<12).map { _ in try byAddress.get().text }).count == 1)
        for method in ["hash $arg_k;", "hash $arg_k consistent;"] {
            let byKey = try proxy("\(method) \(servers)")
            var used: Set<String> = []
            for key in 0..<20 {
                let answers = Set(try (0..<3).map { _ in try byKey.get("/?k=\(key)").text })
                #expect(answers.count == 1)
                used.formUnion(answers)
            }
            #expect(used.count == 3)
        }
    }

    @Test func maxConnsBoundsAPeer() throws {
        let gate = Signal()
        let small = try Upstream { _, c in
            gate.wait()
            try c.answer(body: "small")
        }
        let large = try Upstream(saying: "large")
        let proxy = try proxy("server \(small.endpoint) max_conns=1; server \(large.endpoint);")
        let held = try proxy.client()
        try held.send(RawClient.text())
        _ = try small.waitForRequests(1)
        for _ in 0..<5 { #expect(try proxy.get().text == "large") }
        gate.fire()
        #expect(try held.response().text == "small")
        #expect(small.requestCount == 1)
    }
}
