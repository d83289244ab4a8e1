// Owns the client's connection over several requests: kept, pipelined, cut in pieces, ended.

import Foundation
import TestSupport
import Testing

@Suite("client connections", .ownThread)
struct KeepaliveTests {
    private static func echo() throws -> Upstream {
        try Upstream { r, c in try c.answer(body: r.target + r.text) }
    }

    private func proxy(_ upstream: Upstream, _ server: String = "") throws -> Proxy {
        try Proxy(server: "\(server) location / { proxy_pass http://\(upstream.endpoint); }")
    }

    @Test func aConnectionServesManyRequests() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        for i in 0..<20 {
            let response = try client.request("GET", "/\(i)")
            #expect(response.text == "/\(i)")
            #expect(response["Connection"] == "keep-alive")
        }
        #expect(upstream.requestCount == 20)
    }

    @Test(
        "the end of a connection follows the request",
        arguments: [
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", true),
            ("GET / HTTP/1.0\r\n\r\n", true),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", false),
        ])
    func connectionField(request: String, closes: Bool) throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send(request)
        let response = try client.response()
        #expect(response.text == "/")
        #expect(response["Connection"]?.lowercased() == (closes ? "close" : "keep-alive"))
        if closes {
            #expect(client.end() == .closed)
        } else {
            #expect(try client.request().status == 200)
        }
    }

    @Test func pipelinedRequestsAreAnsweredInOrder() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send((0..<50).map { RawClient.text("GET", "/\($0)") }.joined())
        for i in 0..<50 { #expect(try client.response().text == "/\(i)") }
        #expect(upstream.requests.map(\.target) == (0..<50).map { "/\($0)" })
    }

    @Test func pipelinedBodiesAreKeptApart() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        let chunked = RawClient.text("POST", "/b", ["Transfer-Encoding: chunked"]) + "4\r\nGET \r\n0\r\n\r\n"
        try client.send(
            RawClient.text("POST", "/a", body: "GET /x HTTP/1.1\r\n\r\n") + chunked + RawClient.text("GET", "/c")
                + RawClient.text("POST", "/d", body: "last"))
        for expected in ["/aGET /x HTTP/1.1\r\n\r\n", "/bGET ", "/c", "/dlast"] {
            #expect(try client.response().text == expected)
        }
    }

    @Test("requests in pieces are put together", arguments: [1, 2, 3, 7, 50])
    func pieces(bytes: Int) throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send(RawClient.text("POST", "/a", ["X-A: b"], body: "hello") + RawClient.text("GET", "/b"), pieceBytes: bytes)
        #expect(try client.response().text == "/ahello")
        #expect(try client.response().text == "/b")
    }

    @Test func pipelinedRequestsAreAllAnsweredAfterAHalfClose() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send(RawClient.text("GET", "/1") + RawClient.text("GET", "/2", ["Connection: close"]))
        #expect(try client.response().text == "/1")
        #expect(try client.response().text == "/2")
        #expect(client.end() == .closed)
    }

    @Test func keepaliveRequestsBoundsAConnection() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream, "keepalive_requests 3;")
        let client = try proxy.client()
        for _ in 0..<2 { #expect(try client.request()["Connection"] == "keep-alive") }
        #expect(try client.request()["Connection"] == "close")
        #expect(client.end() == .closed)
    }

    @Test func keepaliveTimeoutEndsAnIdleConnection() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream, "keepalive_timeout 300ms;")
        let client = try proxy.client()
        #expect(try client.request().status == 200)
        let waited = elapsedMs { #expect(client.end() == .closed) }
        #expect(waited >= 200 && waited < 3000)
    }

    @Test func keepaliveTimeoutZeroClosesAfterEachRequest() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream, "keepalive_timeout 0;")
        let client = try proxy.client()
        #expect(try client.request()["Connection"] == "close")
        #expect(client.end() == .closed)
    }

    @Test func emptyLinesBeforeARequestAreSkipped() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        for _ in 0..<2 {
            try client.send("\r\n" + RawClient.text("GET", "/a"))
            #expect(try client.response().text == "/a")
        }
    }

    @Test func bareLineFeedsEndLines() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send("POST /a HTTP/1.1\nHost: a\nContent-Length: 2\n\nok")
        #expect(try client.response().text == "/aok")
    }

    @Test func aClientThatLeavesDoesNotDisturbOthers() throws {
        let upstream = try Self.echo()
        let proxy = try proxy(upstream)
        for i in 0..<20 {
            let client = try proxy.client()
            try client.send(String(RawClient.text("POST", "/", body: "hello").prefix(10 + i * 2)))
            if i % 2 == 0 { client.reset() } else { client.close() }
        }
        #expect(try proxy.get("/after").text == "/after")
    }

    @Test func aRequestIsGivenUpWhenItsClientLeaves() throws {
        let ended = Signal()
        let upstream = try Upstream { _, c in
            c.hold()
            ended.fire()
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send(RawClient.text())
        _ = try upstream.waitForRequests(1)
        client.reset()
        #expect(ended.wait(), "the upstream connection ends with the client's")
        let line = try proxy.waitForLines(1)[0]
        #expect(line.contains(" 499 "))
    }
}
