// Owns the examples of `conf/`: each runs as written (with ports and names of this test) and keeps what it promises.
// Four of them are acceptance scenarios: the blue-green host, three replicas, the fallback, the health addresses.

import Foundation
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

    @Test func healthChecksSayWhoIsServedAndWhoIsAsked() throws {
        func environment(_ name: String, _ database: Locked<String>) throws -> Upstream {
            try Upstream { r, c in try c.answer(body: r.target == "/api/health/db" ? database.current : "\(name) \(r.target)") }
        }
        let works = Locked("{\"database\": \"up\"}")
        let database = Locked("{\"database\": \"up\"}")
        let (blue, second, green) = (try environment("blue", works), try environment("second", database), try environment("green", works))
        let proxy = try Proxy(
            example: "health-checks.conf",
            replacing: [
                Self.listen, ("127.0.0.1:4001", "\(blue.endpoint)"), ("127.0.0.1:4003", "\(second.endpoint)"),
                ("127.0.0.1:4002", "\(green.endpoint)"), ("interval=5s timeout=2s fails=3", "interval=20ms timeout=10s fails=3"),
            ])
        func health(_ environment: String) throws -> (status: Int, json: JSONValue) {
            let response = try proxy.get("/health/\(environment)/")
            return (response.status, JSONValue(parsing: response.text))
        }
        try Harness.wait(for: "all to pass") {
            try ["blue", "green"].allSatisfy { try health($0).json["gates"].list.allSatisfy { $0["checking"].int == 0 && $0["failing"].int == 0 } }
        }
        database.with { $0 = "{\"database\": \"down\"}" }
        try Harness.wait(for: "the second of blue to fail") { try health("blue").json["healthy"].int == 1 }
        #expect(try health("blue").status == 200)
        for _ in 0..<4 { #expect(try proxy.get("/users").text == "blue /users") }
        blue.refuse()
        try Harness.wait(for: "blue to fail") { try health("blue").status == 503 }
        #expect(try health("green").status == 200)
        #expect(try proxy.get("/health").text == "healthy\n")
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

    /// What curl says, who trusts the certificate of the test.
    private func curl(_ proxy: Proxy, _ words: [String]) throws -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = ["curl", "-sS", "--max-time", "10", "--cacert", proxy.path("localhost.crt")] + words
        let output = Pipe()
        process.standardOutput = output
        process.standardError = output
        try process.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        return text
    }

    @Test func tlsEdgeSpeaksHTTP2AndSendsEverybodyToHTTPS() throws {
        let peers = try (1...3).map { n in try Upstream { r, c in try c.answer(body: "\(n) \(r["X-Forwarded-Proto"] ?? "") \(r["Host"] ?? "")") } }
        let ports = peers.enumerated().map { ("127.0.0.1:300\($0 + 1)", "\($1.endpoint)") }
        let proxy = try Proxy(
            example: "tls-edge.conf", files: OpenSSL.files([("localhost", Self.forLocalhost.get())]),
            replacing: [("listen 8443", "listen 127.0.0.1:%PORT%"), ("listen 8080", "listen 127.0.0.1:%PORT2%"), (":8443", ":%PORT%")] + ports)
        let base = "https://localhost:\(proxy.port)"
        let told = try curl(proxy, ["--http2", "-D", "-", base + "/x"])
        #expect(told.hasPrefix("HTTP/2 200"), "\(told)")
        #expect(told.contains("strict-transport-security: max-age=63072000; includeSubDomains"))
        #expect(told.contains(" https localhost"))
        #expect(try curl(proxy, ["--http1.1", "-D", "-", base + "/x"]).hasPrefix("HTTP/1.1 200"))
        let moved = try RawClient(proxy.endpoint2).request("GET", "/a?b", ["Host: localhost"])
        #expect(moved.status == 301)
        #expect(moved["Location"] == base + "/a?b")
        // The second connection takes up the session of the first.
        let session = proxy.path("session")
        for words in [["-sess_out", session], ["-sess_in", session]] {
            let client = try TLSClient(proxy, ["-servername", "localhost"] + words)
            try client.raw.send(RawClient.text("GET", "/", ["Connection: close"]))
            #expect(try client.raw.response().status == 200)
            if words[0] == "-sess_out" { #expect(client.hasSession(session)) }
        }
        let resumed = try proxy.waitForLines(5).map { $0.hasSuffix("resumed=r") }
        #expect(resumed.last == true && resumed.filter { $0 }.count == 1)
    }

    @Test func grpcGoesToTheEnvironmentThatTheSplitNames() throws {
        let peers = try ["blue", "green"].map { name in
            try Upstream(http2: nil) { peer in
                while true {
                    let request = try peer.request()
                    try peer.answer(
                        request.stream, 200, [("content-type", "application/grpc")], body: name, trailers: [("grpc-status", "0")])
                }
            }
        }
        let proxy = try Proxy(
            example: "grpc.conf", files: OpenSSL.files([("localhost", Self.forLocalhost.get())]),
            replacing: [
                ("listen 8443", "listen 127.0.0.1:%PORT%"), ("127.0.0.1:4001", "\(peers[0].endpoint)"),
                ("127.0.0.1:4002", "\(peers[1].endpoint)"),
            ])
        let connection = try TLSClient(proxy, ["-alpn", "h2"])
        let client = try HTTP2Client(connection.raw.stream)
        func call() throws -> HTTP2Client.Answer {
            let id = try client.begin("POST", "/pkg.Echo/Call", [("content-type", "application/grpc"), ("te", "trailers")], end: false)
            try client.data(id, [0, 0, 0, 0, 1, 65], end: true)
            return try client.answer(id)
        }
        let first = try call()
        #expect(first.text == "blue" && first.trailer("grpc-status") == "0")
        try Admin(proxy).weigh(["blue": 0, "green": 1], in: "service")
        #expect(try call().text == "green")
        peers[1].refuse()
        let failed = try call()
        #expect(failed["grpc-status"] == "14" && failed["content-type"] == "application/grpc", "\(failed)")
        let lines = try proxy.waitForLines(3)
        #expect(lines[0].contains("/pkg.Echo/Call 200 grpc=0 \(peers[0].endpoint) "), "\(lines)")
    }

    @Test func theProxyProtocolTellsTheClientAndIsPassedOn() throws {
        let upstream = try Upstream(raw: nil) { c in
            guard let header = try? c.stream.read(exactly: 28), let request = try? c.stream.readHead() else { return }
            let address = header[16..<20].map { String($0) }.joined(separator: ".")
            try? c.answer(body: "\(address) \(request["X-Forwarded-For"] ?? "")")
        }
        let proxy = try Proxy(
            example: "proxy-protocol.conf",
            replacing: [
                ("listen 8080", "listen 127.0.0.1:%PORT%"), ("listen 8081", "listen 127.0.0.1:%PORT2%"),
                ("127.0.0.1:3001", "\(upstream.endpoint)"),
            ])
        let told = try curl(proxy, ["--haproxy-protocol", "http://127.0.0.1:\(proxy.port)/"])
        #expect(told == "127.0.0.1 127.0.0.1")
        let client = try proxy.client()
        try client.send("PROXY TCP4 192.0.2.9 198.51.100.1 40000 443\r\n" + RawClient.text())
        #expect(try client.response().text == "192.0.2.9 192.0.2.9")
        #expect(try RawClient(proxy.endpoint2).request().text == "127.0.0.1 127.0.0.1")
        #expect(try proxy.waitForLines(3)[1].hasPrefix("192.0.2.9 via 127.0.0.1 "))
    }

    static let forLocalhost = Result {
        try OpenSSL.pair("localhost", key: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:localhost"])
    }
}
