// Owns what has no body by rule (HEAD, 204, 304), interim responses, Expect and trailers.

import TestSupport
import Testing

@Suite("methods and statuses", .ownThread)
struct MethodAndStatusTests {
    private func proxy(_ upstream: Upstream, _ location: String = "", server: String = "") throws -> Proxy {
        try Proxy(
            server: "\(server) location / { proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1; \(location) }")
    }

    @Test func headKeepsTheLengthAndHasNoBody() throws {
        let upstream = try Upstream { r, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"a\"\r\n\r\n")
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        for _ in 0..<3 {
            let response = try client.request("HEAD")
            #expect(response.status == 200)
            #expect(response["Content-Length"] == "1234")
            #expect(response["ETag"] == "\"a\"")
        }
        #expect(upstream.requests.allSatisfy { $0.method == "HEAD" })
    }

    @Test func headOfAChunkedAnswerHasNoBody() throws {
        let upstream = try Upstream { _, c in try c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") }
        let proxy = try proxy(upstream)
        let (text, _) = try proxy.raw(
            RawClient.text("HEAD") + RawClient.text("HEAD", "/", ["Connection: close"]))
        #expect(text.components(separatedBy: "HTTP/1.1 200 OK").count == 3)
        #expect(text.hasSuffix("\r\n\r\n"))
        #expect(!text.contains("\r\n\r\n0\r\n"))
    }

    @Test("a status without a body keeps the connection in step", arguments: ["204 No Content", "304 Not Modified"])
    func noBody(status: String) throws {
        let upstream = try Upstream { r, c in
            if r.target == "/" { try c.send("HTTP/1.1 \(status)\r\nX-A: b\r\n\r\n") } else { try c.answer(body: "next") }
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send(RawClient.text() + RawClient.text("GET", "/next"))
        let first = try client.response()
        #expect("\(first.status) \(first.reason)" == status)
        #expect(first["X-A"] == "b")
        #expect(first["Transfer-Encoding"] == nil)
        #expect(try client.response().text == "next")
    }

    @Test func aNotModifiedAnswerMayNameALength() throws {
        let upstream = try Upstream { r, c in
            if r.target == "/" {
                try c.send("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n")
            } else {
                try c.answer(body: "next")
            }
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        #expect(try client.request().status == 304)
        #expect(try client.request("GET", "/next").text == "next")
    }

    @Test("every method is forwarded", arguments: ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "LINK"])
    func methods(method: String) throws {
        let upstream = try Upstream { r, c in try c.answer(body: r.method) }
        #expect(try proxy(upstream).get("/", method: method).text == method)
    }

    @Test func aWaitingClientIsToldToContinue() throws {
        let upstream = try Upstream { r, c in try c.answer(body: r.text) }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        for _ in 0..<2 {
            try client.send(RawClient.text("POST", "/", ["Expect: 100-continue", "Content-Length: 5"]))
            #expect(try client.stream.readHead().word(1) == "100")
            try client.send("hello")
            let response = try client.response()
            #expect(response.text == "hello")
            #expect(response.interim.isEmpty)
        }
        #expect(upstream.requests.allSatisfy { $0["Expect"] == nil })
    }

    @Test func aClientThatDoesNotWaitIsServedToo() throws {
        let upstream = try Upstream { r, c in try c.answer(body: r.text) }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send(RawClient.text("POST", "/", ["Expect: 100-continue"], body: "hello"))
        #expect(try client.response().text == "hello")
        #expect(try client.request("POST", "/", body: "next").text == "next")
    }

    @Test func aRefusedBodyIsRefusedWithoutContinue() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try proxy(upstream, server: "client_max_body_size 10;")
        let client = try proxy.client()
        try client.send(RawClient.text("POST", "/", ["Expect: 100-continue", "Content-Length: 1000"]))
        let response = try client.response()
        #expect(response.status == 413)
        #expect(response.interim.isEmpty)
        #expect(upstream.connectionCount == 0)
    }

    @Test(.enabled(if: !Harness.isNginx, "1.22 takes a 1xx for the response"))
    func anInterimAnswerOfTheUpstreamIsNotTheResponse() throws {
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 100 Continue\r\n\r\n")
            try c.answer(body: "real")
        }
        let response = try proxy(upstream).get()
        #expect(response.status == 200)
        #expect(response.text == "real")
    }

    @Test(.enabled(if: !Harness.isNginx, "1.22 has no early_hints"))
    func earlyHintsPassWhenAllowed() throws {
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
            try c.answer(body: "real")
        }
        let shown = try proxy(upstream, server: "early_hints 1;").get()
        #expect(shown.status == 200)
        #expect(shown.text == "real")
        #expect(shown.interim.map { $0.word(1) } == ["103"])
        #expect(shown.interim.first?["Link"] == "</a.css>; rel=preload")
        let hidden = try proxy(upstream).get()
        #expect(hidden.text == "real")
        #expect(hidden.interim.isEmpty)
    }

    @Test func trailersOfARequestDoNotDisturb() throws {
        let upstream = try Upstream { r, c in try c.answer(body: r.text) }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        let request = RawClient.text("POST", "/", ["Transfer-Encoding: chunked", "Trailer: X-T"])
        try client.send(request + "5\r\nhello\r\n0\r\nX-T: 1\r\nContent-Length: 99\r\n\r\n" + RawClient.text("GET", "/next"))
        #expect(try client.response().text == "hello")
        #expect(try client.response().status == 200)
        #expect(upstream.requests.map(\.method) == ["POST", "GET"])
        #expect(upstream.requests.first?["X-T"] == nil, "a trailer never becomes a field")
    }

    @Test(.enabled(if: !Harness.isNginx, "1.22 has no proxy_pass_trailers"))
    func trailersOfAResponsePassWhenAllowed() throws {
        let upstream = try Upstream { _, c in try c.answerChunked(["body"], ["Trailer: X-T"], trailers: ["X-T: 1"]) }
        let more = "proxy_pass_trailers on; proxy_set_header Connection te; proxy_set_header TE trailers;"
        let response = try proxy(upstream, more).get()
        #expect(response.text == "body")
        #expect(response.trailers["X-T"] == "1")
        let plain = try proxy(upstream).get()
        #expect(plain.text == "body")
        #expect(plain.trailers["X-T"] == nil)
    }

    @Test func aTypeOfNoContentIsPassedOn() throws {
        let upstream = try Upstream { _, c in try c.send("HTTP/1.1 204 No Content\r\nContent-Type: text/x\r\n\r\n") }
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); } location /own { return 204; }")
        #expect(try proxy.get("/")["Content-Type"] == "text/x")
        #expect(try proxy.get("/own")["Content-Type"] == nil)
    }
}
