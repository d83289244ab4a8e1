// Owns requests that go on elsewhere after a first target has failed: what that one read, sent or was told is not the next one's.

import TestSupport
import Testing

@Suite("a second target", .ownThread)
struct FallbackTests {
    /// A page for an error of the page for an error.
    @Test func pagesThatMissEachOtherEnd() throws {
        let proxy = try Proxy(
            server: """
                recursive_error_pages on; error_page 404 /missing.html; error_page 500 502 503 504 /50x.html; root files;
                location @loop { error_page 500 @loop; return 500; } location /named { error_page 500 @loop; return 500; }
                location /ok { return 200 ok; }
                """)
        for target in ["/nothing", "/named"] { #expect(try proxy.get(target).status == 500, "\(target)") }
        #expect(try proxy.get("/ok").text == "ok")
        #expect(proxy.isRunning)
    }

    /// Half a head of one server, then the head of another, which is longer than the buffer for the first.
    @Test func aHeadThatEndedHalfwayLeavesNothing() throws {
        let dying = try Upstream(raw: nil) { c in
            _ = try? c.stream.readHead()
            try? c.send("HTTP/1.1 200 OK\r\nX-From: the first\r\nContent-Le")
            c.close()
        }
        let second = try Upstream { (_, c) throws in
            let fields = (0..<40).map { "X-\($0): \(String(repeating: "v", count: 500))" }
            let head = "HTTP/1.1 200 OK\r\n" + fields.joined(separator: "\r\n") + "\r\nContent-Length: 2\r\n\r\nok"
            let cut = head.index(head.startIndex, offsetBy: head.count - 1000)
            try c.send(String(head[..<cut]))
            // A segment of its own, most probably.
            _ = c.stream.isReadable(withinMs: 50)
            try c.send(String(head[cut...]))
        }
        let proxy = try Proxy(
            server: """
                error_page 502 504 = @second;
                location / { proxy_pass http://\(dying.endpoint); proxy_buffer_size 4k; }
                location @second { proxy_pass http://\(second.endpoint); proxy_buffer_size 64k; proxy_buffers 8 64k; proxy_busy_buffers_size 64k; }
                """)
        for method in ["GET", "POST"] {
            let response = try proxy.get("/", method: method, body: method == "POST" ? "body" : nil)
            #expect(response.status == 200 && response.text == "ok")
            #expect(response["X-From"] == nil && response["X-39"]?.count == 500)
        }
    }

    /// Nothing is announced that was sent already: the next request on the connection would begin in the body's place.
    @Test(arguments: [
        ("Content-Length: 10\r\n\r\n0123456789", "0123456789"),
        ("Transfer-Encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n", "0123456789"),
        ("Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", ""),
    ])
    func aBodyThatWasStreamedIsNotAnnouncedAgain(rest: String, body: String) throws {
        let first = try Upstream { _, c in try c.answer("500 Internal Server Error", body: "no") }
        let second = try Upstream { request, c in try c.answer(body: "\(request.method) \(request.target) \(request.body.count)") }
        let proxy = try Proxy(
            server: """
                location / {
                    proxy_pass http://\(first.endpoint); proxy_http_version 1.1; proxy_request_buffering off; proxy_intercept_errors on;
                    error_page 500 @second;
                }
                location @second { proxy_pass http://second; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_read_timeout 5s; }
                location /plain { proxy_pass http://second; proxy_http_version 1.1; proxy_set_header Connection ""; }
                """, http: "upstream second { server \(second.endpoint); keepalive 4; }")
        let client = try proxy.client()
        try client.send("POST /a HTTP/1.1\r\nHost: test\r\n\(rest)")
        #expect(try client.response(to: "POST").text == "POST /a 0")
        #expect(try proxy.get("/plain/1").text == "GET /plain/1 0")
        #expect(first.requests.first?.text == body)
        let told = second.requests.first
        #expect(told?["Transfer-Encoding"] == nil && (told?["Content-Length"] ?? "0") == "0")
    }

    /// What is refused before the upstream is asked has its page asked for once, though the body came with the head.
    @Test(arguments: ["Content-Length: 4\r\n\r\ndata", "Transfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\n\r\n"])
    func aPageForABodyThatCameAtOnceIsAskedForOnce(rest: String) throws {
        let pages = try Upstream(saying: "page")
        let proxy = try Proxy(
            server: """
                client_max_body_size 3; error_page 413 /page;
                location / { proxy_pass http://\(pages.endpoint); }
                location /page { proxy_pass http://\(pages.endpoint); }
                """)
        let client = try proxy.client()
        try client.send("POST / HTTP/1.1\r\nHost: test\r\n\(rest)")
        let response = try client.response(to: "POST")
        #expect(response.status == 413 && response.text == "page")
        _ = client.end()
        #expect(pages.requests.map(\.target) == ["/page"])
    }

    /// A page for bodies that are too large has the request without one.
    @Test(arguments: ["Content-Length: 100000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n186A0\r\n"])
    func aPageForLargeBodiesIsServed(rest: String) throws {
        let pages = try Upstream { request, c in try c.answer(body: "page for \(request.body.count)") }
        let proxy = try Proxy(
            server: """
                client_max_body_size 1k; error_page 413 = @page;
                location / { proxy_pass http://\(pages.endpoint); }
                location @page { proxy_pass http://\(pages.endpoint); }
                """)
        let client = try proxy.client()
        try client.send("POST / HTTP/1.1\r\nHost: test\r\n\(rest)\(String(repeating: "x", count: 50_000))")
        let response = try client.response(to: "POST")
        #expect(response.status == 200 && response.text == "page for 0")
        #expect(client.end() != .timedOut)
    }

    /// Bytes of a file are not the next request.
    @Test(arguments: ["gzip on; gzip_min_length 1; gzip_types text/plain;", "ssi on; ssi_types text/plain;", "add_trailer X-T t;"])
    func whatWasSentAheadIsKept(directives: String) throws {
        let text = String(repeating: "GET /stolen HTTP/1.1\r\nHost: test\r\n\r\n", count: 8000)
        let proxy = try Proxy(server: "default_type text/plain; location / { root files; \(directives) } location /next { return 200 next; } location /stolen { return 200 stolen; }")
        try proxy.write("files/a.txt", text)
        let client = try proxy.client()
        let fields = ["Accept-Encoding: gzip", "TE: trailers"]
        try client.send(RawClient.text("GET", "/a.txt", fields) + RawClient.text("GET", "/next"))
        #expect(try client.response().status == 200)
        #expect(try client.response().text == "next")
    }

    @Test(arguments: [false, true])
    func aBodyOfSmallChunksArrivesWhole(isStreamed: Bool) throws {
        let upstream = try Upstream { request, c in try c.answer(body: request.text) }
        let proxy = try Proxy(
            server: "location / { proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1; proxy_request_buffering \(isStreamed ? "off" : "on"); }")
        let text = (0..<40_000).map { String($0 % 10) }.joined()
        let client = try proxy.client()
        try client.send("POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n")
        try client.send(text.map { "1\r\n\($0)\r\n" }.joined() + "0\r\n\r\n")
        #expect(try client.response(to: "POST").text == text)
    }

    @Test(arguments: [
        ("42d", "max-age=3628800"), ("1h30m", "max-age=5400"), ("60", "max-age=60"), ("-1", "no-cache"), ("epoch", "no-cache"),
        ("9223372036854775807", nil), ("-9223372036854775808", nil), ("99999999999y", nil), ("d", nil), ("", nil),
    ])
    func expiresByAVariable(value: String, expected: String?) throws {
        let proxy = try Proxy(server: "location / { expires $arg_e; return 200 ok; }")
        let response = try proxy.get("/?e=\(value)")
        #expect(response.text == "ok" && response["Cache-Control"] == expected)
    }
}
