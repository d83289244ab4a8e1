// Owns the examples of `conf/`: each runs as written (with ports and names of this test) and keeps what it promises.
// Four of them are acceptance scenarios: the blue-green host, three replicas, the fallback, the health addresses.

import TestSupport
import Testing

@Suite("examples", .ownThread)
struct ExampleTests {
    /// Texts that turn a port of an example into one of the test.
    static let listen = ("listen 8080", "listen 127.0.0.1:%PORT%")

    @Test func demoServesBlueAndGreenAfterAReloadWithOtherWeights() throws {
        let ports = [
            ("127.0.0.1:8080", "127.0.0.1:%PORT%"), ("127.0.0.1:3001", "127.0.0.1:%PORT2%"),
            ("127.0.0.1:3002", "127.0.0.1:%PORT3%"),
        ]
        let proxy = try Proxy(example: "demo.conf", replacing: ports)
        #expect(try proxy.get().text == "blue\n")
        let text = proxy.configuration.replacing("blue 100;", with: "blue 0;").replacing("green 0;", with: "green 100;")
        try proxy.reload(text) { try proxy.get().text == "green\n" }
        #expect(try proxy.get().status == 200)
    }

    @Test func blueGreenHostSwitchesByReloadWithoutALostRequest() throws {
        let blue = try Upstream(saying: "blue")
        let green = try Upstream(saying: "green")
        let proxy = try Proxy(
            example: "blue-green-host.conf", replacing: [Self.listen, ("localhost:3001", "localhost:\(blue.port)")])
        let first = try proxy.get("/", ["Host: arq-ai.ru"])
        #expect(first.text == "blue")
        #expect(blue.requests.first?["Host"] == "arq-ai.ru")

        let load = Load(proxy.endpoint, connections: 4) {
            RawClient.text("GET", "/", ["Host: arq-ai.ru", "X-Request-Id: \($0)"])
        }
        try load.waitForAnswers(50)
        try proxy.reload(proxy.configuration.replacing("localhost:\(blue.port)", with: "localhost:\(green.port)")) {
            try proxy.get().text == "green"
        }
        try Harness.wait(for: "green to answer the load") { load.current.bodies["green", default: 0] > 50 }
        let result = try load.finish()
        #expect(result.failures == [])
        #expect(result.count(200) == result.sent)
        let seen = Set((blue.requests + green.requests).compactMap { $0["X-Request-Id"] })
        #expect(seen == result.answered)
    }

    @Test func blueGreenHostAnswers502WhenItsOnlyServerIsDown() throws {
        let port = try Ports.reserve()
        let proxy = try Proxy(
            example: "blue-green-host.conf", replacing: [Self.listen, ("localhost:3001", "localhost:\(port)")])
        #expect(try proxy.get("/", ["Host: arq-ai.ru"]).status == 502)
    }

    private func threeReplicas(_ peers: [Upstream]) throws -> Proxy {
        let ports = peers.enumerated().map { ("127.0.0.1:300\($0 + 1)", "\($1.endpoint)") }
        return try Proxy(example: "three-replicas.conf", replacing: [Self.listen] + ports)
    }

    @Test func threeReplicasGetTheForwardedHeaders() throws {
        let peers = try (1...3).map { try Upstream(saying: "\($0)") }
        let proxy = try threeReplicas(peers)
        let response = try proxy.get("/", ["Host: app.example.com", "X-Forwarded-For: 192.0.2.1"])
        #expect(response.status == 200)
        let seen = try #require(peers.flatMap(\.requests).first)
        #expect(seen.version == "HTTP/1.1")
        #expect(seen["Host"] == "app.example.com")
        #expect(seen["X-Real-IP"] == "127.0.0.1")
        #expect(seen["X-Forwarded-For"] == "192.0.2.1, 127.0.0.1")
        #expect(seen["X-Forwarded-Proto"] == "http")
    }

    @Test func threeReplicasAreChosenByFewestRequestsInFlight() throws {
        let release = Signal()
        let peers = try (1...3).map { n in
            try Upstream { _, connection in
                release.wait()
                try connection.answer(body: "\(n)")
            }
        }
        let proxy = try threeReplicas(peers)
        let clients = try (0..<6).map { _ in try proxy.client() }
        for (i, client) in clients.enumerated() {
            try client.send(RawClient.text())
            try Harness.wait(for: "request \(i + 1) to arrive") { peers.map(\.requestCount).reduce(0, +) == i + 1 }
        }
        #expect(peers.map(\.requestCount) == [2, 2, 2])
        release.fire()
        for client in clients { #expect(try client.response().status == 200) }
    }

    @Test func threeReplicasServeOnWhenOneGoesAway() throws {
        let peers = try (1...3).map { try Upstream(saying: "\($0)") }
        let proxy = try threeReplicas(peers)
        let load = Load(proxy.endpoint, connections: 4)
        try load.waitForAnswers(30)
        peers[1].refuse()
        try load.waitForAnswers(100)
        let result = try load.finish()
        #expect(result.failures == [])
        #expect(result.count(200) == result.sent, "\(result.statuses) \(peers.map(\.failures)) \(proxy.errorLog)")
        // A request that died with its peer has been asked again elsewhere: each of the four connections had at most one there.
        #expect((result.sent...result.sent + 4).contains(peers.map(\.requestCount).reduce(0, +)))
    }

    private func fallback(_ green: Upstream, _ blue: Upstream) throws -> Proxy {
        try Proxy(
            example: "fallback.conf",
            replacing: [
                Self.listen, ("backend-green:4000", "\(green.endpoint)"), ("backend-blue:4000", "\(blue.endpoint)"),
                ("fail_timeout=30s", "fail_timeout=1s"),
            ])
    }

    @Test func fallbackServesWhileTheActiveEnvironmentIsAwayAndGivesBack() throws {
        let green = try Upstream(saying: "green")
        let blue = try Upstream(saying: "blue")
        let proxy = try fallback(green, blue)
        for _ in 0..<5 { #expect(try proxy.get().text == "green") }
        #expect(blue.requestCount == 0)

        green.refuse()
        for _ in 0..<10 {
            let response = try proxy.get()
            #expect(response.status == 200)
            #expect(response.text == "blue")
        }
        try green.listen()
        try Harness.wait(for: "green to serve again") { try proxy.get().text == "green" }
    }

    @Test func fallbackIsUsedForTheRequestThatFoundTheEnvironmentDying() throws {
        let green = try Upstream { _, connection in connection.reset() }
        let blue = try Upstream(saying: "blue")
        let proxy = try fallback(green, blue)
        for _ in 0..<5 { #expect(try proxy.get().text == "blue") }
        // Three failures, and green is asked no more until its time is over.
        #expect(green.requestCount == 3)
        #expect(blue.requestCount == 5)
    }

    @Test func healthAddressesReachEachEnvironmentWhateverIsActive() throws {
        let blue = try Upstream { r, c in try c.answer(body: "blue \(r.target)") }
        let green = try Upstream { r, c in try c.answer("503 Service Unavailable", body: "green \(r.target)") }
        let proxy = try Proxy(
            example: "health-addresses.conf",
            replacing: [Self.listen, ("127.0.0.1:4001", "\(blue.endpoint)"), ("127.0.0.1:4002", "\(green.endpoint)")])
        let own = try proxy.get("/health")
        #expect(own.status == 200)
        #expect(own.text == "healthy\n")
        #expect(own["Content-Type"] == "text/plain")
        #expect(blue.requestCount + green.requestCount == 0)
        #expect(try proxy.get("/health/blue/backend").text == "blue /health")
        let sick = try proxy.get("/health/green/backend")
        #expect(sick.status == 503)
        #expect(sick.text == "green /health")
        #expect(try proxy.get("/users").text == "blue /users")
        blue.refuse()
        #expect(try proxy.get("/health/blue/backend").status == 502)
        #expect(try proxy.get("/health").status == 200)
    }

    @Test func limitsGiveEachClientItsShare() throws {
        let upstream = try Upstream { r, c in try c.answer(body: r["X-Real-IP"] ?? "") }
        let proxy = try Proxy(example: "limits.conf", replacing: [Self.listen, ("127.0.0.1:3001", "\(upstream.endpoint)")])
        let client = try proxy.client()
        func ask(_ address: String, _ target: String = "/") throws -> Response {
            try client.request("GET", target, ["X-Forwarded-For: \(address)"])
        }
        // One, and three of the burst, at once; the next one waits.
        for _ in 0..<4 { #expect(try ask("192.0.2.1").text == "192.0.2.1") }
        #expect(try ask("192.0.2.2").text == "192.0.2.2")
        #expect(try ask("192.0.2.1").status == 200)
        for _ in 0..<20 { #expect(try ask("10.1.2.3").status == 200) }
        #expect(try ask("192.0.2.1", "/internal/x").status == 200)
        #expect(try ask("198.51.100.1", "/internal/x").status == 403)
        let lines = try proxy.waitForLines(28)
        #expect(lines[0].hasPrefix("192.0.2.1 \"GET / HTTP/1.1\" 200 ") && lines[0].hasSuffix(" PASSED PASSED"), "\(lines[0])")
        #expect(lines[5].hasSuffix(" DELAYED PASSED") || lines[5].hasSuffix(" PASSED PASSED"), "\(lines[5])")
        #expect(lines[10].hasSuffix(" - -"), "\(lines[10])")
    }

    @Test func compressionMakesAnswersSmall() throws {
        let text = Pattern.text(20_000)
        let upstream = try Upstream { r, c in
            if r.target == "/packed" {
                let packed = Gzip.packed(text)
                try c.send("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: \(packed.count)\r\n\r\n")
                return try c.send(packed)
            }
            try c.answer("200 OK", ["Content-Type: application/json"], body: text)
        }
        let proxy = try Proxy(example: "compression.conf", replacing: [Self.listen, ("127.0.0.1:3001", "\(upstream.endpoint)")])
        let client = try proxy.client()
        let packed = try client.request("GET", "/", ["Accept-Encoding: gzip", "Via: 1.1 other"])
        #expect(Gzip.unpacked(packed.body) == text)
        #expect(packed["Vary"] == "Accept-Encoding")
        #expect(try client.request("GET", "/").text == text)
        let unpacked = try client.request("GET", "/packed")
        #expect(unpacked.text == text)
        #expect(unpacked["Content-Type"] == "text/plain; charset=utf-8")
        let lines = try proxy.waitForLines(3)
        #expect(lines[0].hasPrefix("127.0.0.1 \"GET / HTTP/1.1\" 200 \(packed.body.count) ") && !lines[0].hasSuffix(" -"), "\(lines[0])")
        #expect(lines[1].hasSuffix(" 200 20000 -"), "\(lines[1])")
    }
}
