// Owns the reuse of connections to upstream servers: when one is kept, when it must not be, and what a dead one costs.

import TestSupport
import Testing

@Suite("upstream connections", .ownThread)
struct UpstreamReuseTests {
    private func proxy(_ upstream: Upstream, keepalive: String = "keepalive 8;", _ location: String = "") throws -> Proxy {
        try Proxy(
            server: """
                location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header Connection ""; \(location) }
                """, http: "upstream u { server \(upstream.endpoint); \(keepalive) }")
    }

    @Test func aKeptConnectionServesRequestsOfManyClients() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try proxy(upstream)
        for _ in 0..<10 { #expect(try proxy.get().text == "x") }
        #expect(upstream.connectionCount == 1)
        #expect(upstream.requests.map(\.sequence) == Array(0..<10))
        #expect(upstream.requests.allSatisfy { $0["Connection"] == nil && $0.version == "HTTP/1.1" })
    }

    @Test func eachFramingLeavesTheConnectionReusable() throws {
        let upstream = try Upstream { r, c in
            switch r.target {
            case "/chunked": try c.answerChunked(["a", "b"])
            case "/trailers": try c.answerChunked(["ab"], trailers: ["X-T: 1"])
            case "/204": try c.send("HTTP/1.1 204 No Content\r\n\r\n")
            case "/304": try c.send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n")
            case "/head": try c.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
            default: try c.answer(body: "ab")
            }
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        for target in ["/length", "/chunked", "/trailers", "/204", "/304", "/head", "/length"] {
            let method = target == "/head" ? "HEAD" : "GET"
            let response = try client.request(method, target)
            #expect(response.text == (["/204", "/304", "/head"].contains(target) ? "" : "ab"), "\(target)")
        }
        #expect(upstream.connectionCount == 1)
    }

    @Test(
        "an answer that ends its connection is the last on it",
        arguments: [
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nxEXCESS",
        ])
    func notReused(answer: String) throws {
        let upstream = try Upstream { _, c in try c.send(answer) }
        let proxy = try proxy(upstream)
        for _ in 0..<3 { #expect(try proxy.get().text == "x") }
        #expect(upstream.connectionCount == 3)
        #expect(upstream.requests.allSatisfy { $0.sequence == 0 })
    }

    @Test func idleConnectionsAreBounded() throws {
        let gate = Signal()
        let upstream = try Upstream { _, c in
            gate.wait()
            try c.answer(body: "x")
        }
        let proxy = try proxy(upstream, keepalive: "keepalive 2;")
        let clients = try (0..<5).map { _ in try proxy.client() }
        for client in clients { try client.send(RawClient.text()) }
        _ = try upstream.waitForRequests(5)
        gate.fire()
        for client in clients { #expect(try client.response().status == 200) }
        try upstream.waitForOpenConnections(2)
    }

    @Test func keepaliveRequestsBoundsAnUpstreamConnection() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try proxy(upstream, keepalive: "keepalive 8; keepalive_requests 2;")
        for _ in 0..<6 { #expect(try proxy.get().text == "x") }
        #expect(upstream.connectionCount == 3)
    }

    @Test func keepaliveTimeoutEndsAnIdleUpstreamConnection() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try proxy(upstream, keepalive: "keepalive 8; keepalive_timeout 200ms;")
        #expect(try proxy.get().text == "x")
        try upstream.waitForOpenConnections(0)
        #expect(try proxy.get().text == "x")
        #expect(upstream.connectionCount == 2)
    }

    @Test func aConnectionThatTheUpstreamClosedIsNotUsed() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try proxy(upstream)
        for i in 1...5 {
            #expect(try proxy.get("/", method: "POST", body: "b").text == "x", "even a POST is safe: nothing was sent")
            #expect(upstream.requestCount == i)
            upstream.closeConnections()
            try upstream.waitForOpenConnections(0)
        }
        #expect(upstream.connectionCount == 5)
    }

    @Test("a GET lost to a connection that closed meanwhile is sent again on a fresh one", arguments: [false, true])
    func lostToAClosedConnection(byReset: Bool) throws {
        // The second request on a connection arrives and dies with it, as when the server's own idle timeout strikes.
        let upstream = try Upstream { r, c in
            if r.sequence == 0 { return try c.answer(body: "x") }
            if byReset { c.reset() } else { c.close() }
        }
        let proxy = try proxy(upstream)
        for _ in 0..<4 { #expect(try proxy.get().text == "x") }
        #expect(upstream.connectionCount == 4)
        #expect(upstream.requestCount == 7, "each later request arrived twice")
    }

    @Test func aPostLostToAClosedConnectionIsNotRepeated() throws {
        let upstream = try Upstream { r, c in
            if r.sequence == 0 { return try c.answer(body: "x") }
            c.close()
        }
        let proxy = try proxy(upstream)
        #expect(try proxy.get().text == "x")
        #expect(try proxy.get("/", method: "POST", body: "b").status == 502)
        #expect(upstream.requests.filter { $0.method == "POST" }.count == 1)
    }

    @Test func withoutKeepaliveEachRequestHasItsConnection() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); proxy_set_header Connection close; }")
        for _ in 0..<3 { #expect(try proxy.get().text == "x") }
        #expect(upstream.connectionCount == 3)
        #expect(upstream.requests.allSatisfy { $0["Connection"] == "close" })
    }

    @Test func anAbandonedAnswerEndsItsConnection() throws {
        let upstream = try Upstream { r, c in
            if r.target == "/next" { return try c.answer(body: "next") }
            try c.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + Pattern.text(1000))
            c.hold()
        }
        let proxy = try proxy(upstream, "proxy_buffering off;")
        let client = try proxy.client()
        try client.send(RawClient.text())
        _ = try client.stream.readHead()
        client.reset()
        #expect(try proxy.get("/next").text == "next")
        #expect(upstream.connectionCount == 2)
    }
}
