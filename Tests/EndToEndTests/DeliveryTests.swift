// Owns the plain delivery of requests and responses: bodies in each framing, both ways, whole and cut.

import TestSupport
import Testing

@Suite("delivery", .ownThread)
struct DeliveryTests {
    private func proxy(_ upstream: Upstream, _ more: String = "") throws -> Proxy {
        try Proxy(
            server:
                "client_max_body_size 64m; location / { proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1; \(more) }"
        )
    }

    @Test func aRequestReachesTheUpstreamAndItsAnswerTheClient() throws {
        let upstream = try Upstream { _, c in
            try c.answer("201 Created", ["X-Two: 2", "Set-Cookie: a=1", "Set-Cookie: b=2"], body: "hello")
        }
        let response = try proxy(upstream).get("/path?q=1", ["X-One: 1", "Host: example.com"])
        #expect(response.status == 201)
        #expect(response.reason == "Created")
        #expect(response.text == "hello")
        #expect(response["X-Two"] == "2")
        #expect(response.values("Set-Cookie") == ["a=1", "b=2"])
        let seen = try #require(upstream.requests.first)
        #expect(upstream.requestCount == 1)
        #expect(seen.method == "GET")
        #expect(seen.target == "/path?q=1")
        #expect(seen["X-One"] == "1")
        #expect(seen["Host"] == "\(upstream.endpoint)")
        #expect(seen["Content-Length"] == nil)
    }

    @Test("a response body of each size arrives", arguments: [0, 1, 100, 4096, 65_537, 3 << 20])
    func responseBodies(bytes: Int) throws {
        let body = Pattern.text(bytes)
        let upstream = try Upstream { r, c in
            if r.target == "/chunked" {
                try c.answerChunked(
                    bytes == 0 ? [] : [String(body.prefix(bytes / 3)), String(body.dropFirst(bytes / 3))].filter { !$0.isEmpty })
            } else {
                try c.answer(body: body)
            }
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        for target in ["/length", "/chunked", "/length"] {
            let response = try client.request("GET", target)
            #expect(response.status == 200)
            #expect(response.text == body, "\(target)")
        }
    }

    @Test("a request body of each size arrives", arguments: [0, 1, 100, 4096, 65_537, 3 << 20])
    func requestBodies(bytes: Int) throws {
        let body = Pattern.text(bytes)
        let upstream = try Upstream { r, c in try c.answer(body: "\(r.body.count)") }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        #expect(try client.request("POST", "/", body: body).text == "\(bytes)")
        #expect(upstream.requests.last?.text == body)

        try client.send(RawClient.text("PUT", "/chunked", ["Transfer-Encoding: chunked"]))
        if bytes > 0 { try client.send(String(bytes, radix: 16) + "\r\n" + body + "\r\n") }
        try client.send("0\r\n\r\n")
        #expect(try client.response().text == "\(bytes)")
        #expect(upstream.requests.last?.text == body)
        #expect(try client.request().status == 200, "the connection is at the next request")
    }

    @Test func aChunkedRequestInOneBytePiecesArrives() throws {
        let upstream = try Upstream { r, c in try c.answer(body: r.text) }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        let text = RawClient.text("POST", "/", ["Transfer-Encoding: chunked"]) + "5;name=value\r\nhello\r\n3\r\n of\r\n0\r\n\r\n"
        try client.send(text, pieceBytes: 1)
        #expect(try client.response().text == "hello of")
    }

    @Test func aRequestBodyStreamsWithoutRequestBuffering() throws {
        let arrived = Signal()
        let upstream = try Upstream(readsBodies: false) { request, c in
            _ = try c.stream.readRequestBody(request.head) { _ in arrived.fire() }
            try c.answer(body: "done")
        }
        let proxy = try proxy(upstream, "proxy_request_buffering off;")
        for framing in ["Content-Length: 10", "Transfer-Encoding: chunked"] {
            let isChunked = framing.hasPrefix("T")
            let client = try proxy.client()
            try client.send(RawClient.text("POST", "/", [framing]) + (isChunked ? "5\r\nhello\r\n" : "hello"))
            #expect(arrived.wait(), "the first half arrives before the second was sent")
            try client.send(isChunked ? "5\r\nworld\r\n0\r\n\r\n" : "world")
            #expect(try client.response().text == "done")
        }
    }

    @Test func aResponseWithoutLengthEndsWithItsConnection() throws {
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the end")
            c.close()
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        let response = try client.request()
        #expect(response.text == "to the end")
        #expect(response.isChunked)
        #expect(try client.request().text == "to the end", "the client's connection is kept")
        let old = try proxy.raw("GET / HTTP/1.0\r\n\r\n")
        #expect(old.text.hasSuffix("\r\n\r\nto the end"))
        #expect(old.end == .closed)
        #expect(!old.text.lowercased().contains("transfer-encoding"))
    }

    @Test func anOldClientGetsAChunkedResponseUnchunked() throws {
        let upstream = try Upstream { _, c in try c.answerChunked(["one ", "two"]) }
        let (text, end) = try proxy(upstream).raw("GET / HTTP/1.0\r\n\r\n")
        #expect(text.hasSuffix("\r\n\r\none two"))
        #expect(end == .closed)
        #expect(!text.lowercased().contains("transfer-encoding"))
    }

    @Test("a response cut by the upstream is not passed off as whole", arguments: ["length", "chunked"])
    func cutResponse(framing: String) throws {
        let upstream = try Upstream { _, c in
            let field = framing == "length" ? "Content-Length: 100" : "Transfer-Encoding: chunked"
            try c.send("HTTP/1.1 200 OK\r\n\(field)\r\n\r\n" + (framing == "length" ? "short" : "5\r\nshort\r\n"))
            c.close()
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        #expect(throws: StreamEnd.self) { try client.request() }
        #expect(upstream.requestCount == 1, "an answer that has begun is not tried again")
    }

    @Test func bytesBeyondTheLengthOfAResponseAreDropped() throws {
        let upstream = try Upstream { _, c in
            try c.send(
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
                    + "HTTP/1.1 200 OK\r\nX-Smuggled: 1\r\nContent-Length: 3\r\n\r\nbad"
            )
            c.close()
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        for _ in 0..<2 {
            let response = try client.request()
            #expect(response.text == "hello")
            #expect(response["X-Smuggled"] == nil)
        }
    }

    @Test func anAnswerBeforeTheBodyWasReadIsPassedOn() throws {
        let upstream = try Upstream(readsBodies: false) { _, c in
            try c.send("HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
            c.close()
        }
        let response = try proxy(upstream).get("/", method: "POST", body: Pattern.text(100))
        #expect(response.status == 403)
        #expect(response.text == "no")
    }
}

/// Text that says where it is, so that a lost or doubled piece shows.
enum Pattern {
    static func text(_ bytes: Int) -> String {
        var text = ""
        text.reserveCapacity(bytes + 16)
        while text.utf8.count < bytes { text += "\(text.utf8.count)," }
        return String(text.prefix(bytes))
    }
}
