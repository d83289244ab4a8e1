// Owns what happens when a side is silent for too long.

import Foundation
import TestSupport
import Testing

@Suite("timeouts", .ownThread)
struct TimeoutTests {
    private func proxy(_ endpoint: Endpoint, _ location: String = "", server: String = "") throws -> Proxy {
        try Proxy(server: "\(server) location / { proxy_pass http://\(endpoint); \(location) }")
    }

    @Test func connecting() throws {
        let hole = try BlackHole()
        let proxy = try proxy(hole.endpoint, "proxy_connect_timeout 200ms;")
        var status = 0
        let ms = try elapsedMs { status = try proxy.get().status }
        #expect(status == 504)
        #expect(ms >= 150 && ms < 3000)
    }

    @Test func connectingGoesOnToTheNextPeer() throws {
        let hole = try BlackHole()
        let good = try Upstream(saying: "good")
        let proxy = try Proxy(
            server: "location / { proxy_pass http://u; proxy_connect_timeout 200ms; }",
            http: "upstream u { server \(hole.endpoint); server \(good.endpoint); }")
        for _ in 0..<3 { #expect(try proxy.get("/", method: "POST", body: "b").text == "good") }
    }

    @Test func waitingForTheHeadOfAnAnswer() throws {
        let upstream = try Upstream { _, c in c.hold() }
        let proxy = try proxy(upstream.endpoint, "proxy_read_timeout 200ms;")
        let response = try proxy.get()
        #expect(response.status == 504)
        #expect(response.text.contains("504 Gateway Time-out"))
        try upstream.waitForOpenConnections(0)
    }

    @Test func waitingForMoreOfABody() throws {
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
            c.hold()
        }
        let proxy = try proxy(upstream.endpoint, "proxy_read_timeout 200ms; proxy_buffering off;")
        let client = try proxy.client()
        try client.send(RawClient.text())
        #expect(try client.stream.readHead().word(1) == "200")
        let (bytes, end) = client.stream.readToEnd()
        #expect(bytes == Array("part".utf8))
        #expect(end != .timedOut)
    }

    @Test func slowButSteadyIsNotTooSlow() throws {
        let ticks = DispatchSemaphore(value: 0)
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
            for _ in 0..<8 {
                // Nothing ever signals it: each wait is 100 ms, the whole longer than the timeout.
                _ = ticks.wait(timeout: .now() + .milliseconds(100))
                try c.send("x")
            }
        }
        let proxy = try proxy(upstream.endpoint, "proxy_read_timeout 400ms;")
        #expect(try proxy.get().text == "xxxxxxxx")
    }

    @Test func sendingToAnUpstreamThatDoesNotRead() throws {
        let gate = Signal()
        let upstream = try Upstream(readsBodies: false) { _, c in gate.wait() }
        let proxy = try proxy(upstream.endpoint, "proxy_send_timeout 300ms;", server: "client_max_body_size 0;")
        let client = try proxy.client(timeoutMs: 5000)
        let body = Pattern.text(1 << 20)
        try client.send(RawClient.text("PUT", "/", ["Content-Length: \(24 << 20)"]))
        do { for _ in 0..<24 { try client.send(body) } } catch is StreamEnd {}
        #expect(try client.response().status == 504)
        gate.fire()
    }

    @Test func aClientThatDoesNotFinishItsHead() throws {
        let proxy = try Proxy(server: "client_header_timeout 200ms; return 200 x;")
        let client = try proxy.client()
        try client.send("GET / HTTP/1.1\r\nHost: a")
        let ms = elapsedMs {
            let (bytes, end) = client.stream.readToEnd()
            let text = String(decoding: bytes, as: UTF8.self)
            #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 408"))
            #expect(end != .timedOut)
        }
        #expect(ms < 3000)
    }

    /// The beginning of its head came with the request before, so no read announces it.
    @Test func aClientThatDoesNotFinishItsSecondHead() throws {
        let proxy = try Proxy(server: "client_header_timeout 200ms; return 200 x;")
        let client = try proxy.client(timeoutMs: 5000)
        try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a")
        let (bytes, end) = client.stream.readToEnd()
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.hasPrefix("HTTP/1.1 200"))
        #expect(end != .timedOut)
    }

    @Test func aClientThatDoesNotFinishItsBody() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try proxy(upstream.endpoint, server: "client_body_timeout 200ms;")
        let client = try proxy.client()
        try client.send(RawClient.text("POST", "/", ["Content-Length: 10"]) + "half")
        let (bytes, end) = client.stream.readToEnd()
        let text = String(decoding: bytes, as: UTF8.self)
        #expect(text.isEmpty || text.hasPrefix("HTTP/1.1 408"))
        #expect(end != .timedOut)
        #expect(upstream.connectionCount == 0)
        #expect(try proxy.waitForLines(1)[0].contains(" 408 "))
    }

    @Test func aClientThatDoesNotReadIsCutOff() throws {
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Length: \(64 << 20)\r\n\r\n")
            let body = Pattern.text(1 << 20)
            for _ in 0..<64 { try c.send(body) }
        }
        let proxy = try proxy(upstream.endpoint, "proxy_buffering off;", server: "send_timeout 300ms;")
        let client = try proxy.client(receiveBufferBytes: 4 << 10)
        try client.send(RawClient.text())
        _ = try upstream.waitForRequests(1)
        try upstream.waitForOpenConnections(0)
        let (bytes, _) = client.stream.readToEnd()
        #expect(bytes.count < 64 << 20)
    }
}
