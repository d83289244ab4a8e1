// Owns HTTP/2 towards clients: requests and answers over streams, what is malformed, flow control, and what one stream's end means to
// the others.

import Foundation
import TestSupport
import Testing

@Suite("HTTP/2 to clients", .ownThread)
struct HTTP2ServerTests {
    typealias Frame = HTTP2Peer.Frame

    private func proxy(_ server: String, http: String = "", main: String = "") throws -> Proxy {
        try Proxy(server: "http2 on; \(server)", http: http, main: main)
    }

    private func client(_ proxy: Proxy, _ settings: [(HTTP2Peer.Setting, UInt32)] = []) throws -> HTTP2Client {
        try HTTP2Client(try proxy.client().stream, settings)
    }

    /// Says what it was asked for; `/chunks` without a length, `/cut` not to its end, `/wait` once `gate` fires, `/never` never.
    private func echo(_ gate: Signal = Signal()) throws -> Upstream {
        try Upstream { request, c in
            switch request.target {
            case "/chunks": try c.answerChunked(["one ", "two"], ["Connection: keep-alive", "X-Up: 1"], trailers: ["X-Sum: 7"])
            case "/cut":
                try c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
                c.close()
            case "/wait":
                gate.wait()
                try c.answer(body: "waited")
            case "/never": c.hold()
            case "/big": try c.answer(body: String(repeating: "x", count: 1_000_000))
            default:
                let fields = ["Host", "X-A", "Cookie", "Content-Length", "TE"].compactMap { name in request[name].map { "\(name): \($0)" } }
                try c.answer(body: ([request.method, request.target] + fields + [String(decoding: request.body, as: UTF8.self)]).joined(separator: "|"))
            }
        }
    }

    private static let proxied = "proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host $host;"

    @Test func requestsAndTheirAnswers() throws {
        let upstream = try echo()
        let proxy = try proxy(
            """
            root %DIR%; add_header X-Mine $server_protocol/$http2;
            location / { proxy_pass http://\(upstream.endpoint); \(Self.proxied) }
            location /own { return 200 "text"; }
            location /file { try_files /data =404; }
            """, http: "log_format x '$request $status $body_bytes_sent'; access_log %DIR%/x.log x;")
        try proxy.write("data", String(repeating: "d", count: 100_000))
        let client = try client(proxy)
        let own = try client.request("GET", "/own")
        #expect(own.status == "200" && own.text == "text" && own["x-mine"] == "HTTP/2.0/h2c" && own["content-length"] == "4")
        #expect(own["connection"] == nil && own["transfer-encoding"] == nil)
        let head = try client.request("HEAD", "/own")
        #expect(head.headEnds && head["content-length"] == "4" && head.text == "")
        #expect(try client.request("GET", "/file").text.count == 100_000)
        #expect(try client.request("GET", "/none").text == "GET|/none|Host: localhost|")
        let cookies = try client.request("GET", "/", [("cookie", "a=1"), ("x-a", "b"), ("cookie", "b=2"), ("te", "trailers")])
        #expect(cookies.text == "GET|/|Host: localhost|X-A: b|Cookie: a=1; b=2|")
        let chunks = try client.request("GET", "/chunks")
        #expect(chunks.text == "one two" && chunks["x-up"] == "1" && chunks["connection"] == nil && chunks["content-length"] == nil)
        let posted = try client.begin("POST", "/p", [("content-length", "5")], end: false)
        try client.data(posted, Array("he".utf8))
        try client.data(posted, Array("llo".utf8), end: true)
        #expect(try client.answer(posted).text == "POST|/p|Host: localhost|Content-Length: 5|hello")
        #expect(try client.request("PUT", "/q", body: "nobody said how much").text.hasSuffix("|Content-Length: 20|nobody said how much"))
        #expect(try client.request("POST", "/e", body: "").text == "POST|/e|Host: localhost|Content-Length: 0|")
        let lines = try proxy.waitForLines(9, in: "x.log")
        #expect(lines.first == "GET /own HTTP/2.0 200 4")
        #expect(lines[1] == "HEAD /own HTTP/2.0 200 0")
    }

    /// What is served first is read where the rest of the first read still lies.
    @Test(.enabled(if: !Harness.isNginx)) func muchMayComeAtOnceWithThePreface() throws {
        let file = String(repeating: "f", count: 200_000)
        let proxy = try Proxy(
            server: "listen unix:%DIR%/proxy.sock; http2 on; root site; large_client_header_buffers 4 16k;", files: ["site/x": file])
        // By TCP the first read has no more than the first window.
        let connection = try RawClient(.unix(proxy.path("proxy.sock"))).stream
        let ids = (0..<12).map { 2 * $0 + 1 }
        let long = String(repeating: "v", count: 8000)
        let requests = ids.map { id in
            HTTP2Peer.headers(id, [(":method", "GET"), (":scheme", "http"), (":path", "/x"), (":authority", "localhost"), ("x-long", long)], end: true)
        }
        // So that all of it is there when the first is read.
        proxy.signal(SIGSTOP)
        let client = try HTTP2Client(connection, [(.window, 300_000)], requests)
        proxy.signal(SIGCONT)
        for id in ids { #expect(try client.answer(id).text == file, "\(id)") }
        #expect(client.goawayCode == nil)
    }

    /// Nothing more comes of a client whose trailers are wrong: its request is over at once, not when its time is.
    @Test(.enabled(if: !Harness.isNginx), arguments: ["", "proxy_request_buffering off;"])
    func aStreamThatWeResetIsOver(words: String) throws {
        let upstream = try Upstream(readsBodies: false) { _, c in c.hold() }
        let proxy = try proxy("location / { proxy_pass http://\(upstream.endpoint); \(words) }")
        let client = try client(proxy)
        let id = try client.begin("POST", "/", end: false)
        try client.data(id, Array("some".utf8))
        if !words.isEmpty { try Harness.wait(for: "the upstream") { upstream.connectionCount == 1 } }
        try client.send(HTTP2Peer.headers(id, [("x-sum", "1")]))
        #expect(try client.answer(id).resetCode == 1)
        _ = try proxy.waitForLines(1)
    }

    @Test func whatIsMalformedIsToldSo() throws {
        let upstream = try echo()
        let proxy = try proxy("location / { proxy_pass http://\(upstream.endpoint); }")
        let client = try client(proxy)
        let whole = [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a")]
        let malformed: [[(String, String)]] = [
            whole + [("Upper", "x")], whole + [("connection", "close")], whole + [("transfer-encoding", "chunked")], whole + [("te", "gzip")],
            whole + [("a", "b\r\nc: d")], whole + [("a", "b\0")], whole + [(":path", "/")], whole + [("a", "b"), (":path", "/x")],
            whole + [("host", "b")], whole + [(":status", "200")], whole + [("a:b", "c")], whole + [("content-length", "1")],
            Array(whole.dropFirst()), Array(whole.dropLast()), [(":method", "get")] + whole.dropFirst(), whole.dropLast() + [(":authority", "a/b")],
            [whole[0], whole[1], (":path", "x"), whole[3]], [whole[0], whole[1], (":path", "/ HTTP/1.1\r\nHost: b"), whole[3]],
        ]
        for fields in malformed { #expect(try client.answer(try client.begin(fields)).status == "400", "\(fields)") }
        for method in ["CONNECT", "TRACE"] { #expect(try client.request(method).status == "405") }
        // More, and less, than was said.
        for body in ["1234", "12"] {
            let id = try client.begin("POST", "/", [("content-length", "3")], end: false)
            try client.data(id, Array(body.utf8), end: true)
            #expect(try client.answer(id).status == "400", "\(body)")
        }
        #expect(try client.request().status == "200", "the connection goes on")
        #expect(upstream.requestCount == 1)
    }

    @Test func bothProtocolsOnOnePort() throws {
        let proxy = try proxy("return 200 $server_protocol;")
        #expect(try proxy.get().text == "HTTP/1.1")
        #expect(try client(proxy).request().text == "HTTP/2.0")
        let slow = try proxy.client()
        try slow.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", pieceBytes: 5)
        try slow.send(HTTP2Peer.bytes(HTTP2Peer.settingsFrame([])))
        #expect(try slow.stream.read(exactly: 9)[3] == Frame.settings)
        #expect(try proxy.raw("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n").text.contains("400 Bad Request"))
        let plain = try Proxy(server: "return 200 $server_protocol;")
        #expect(try plain.raw("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").text.contains("400 Bad Request"))
    }

    @Test func aHundredStreamsAtOnce() throws {
        let gate = Signal()
        let upstream = try echo(gate)
        let proxy = try proxy("location / { proxy_pass http://\(upstream.endpoint); \(Self.proxied) }")
        let client = try client(proxy)
        let ids = try (0..<100).map { _ in try client.begin("GET", "/wait") }
        _ = try upstream.waitForRequests(100)
        #expect(try client.request("GET", "/quick").text.hasPrefix("GET|/quick"), "others do not wait for them")
        gate.fire()
        for id in ids { #expect(try client.answer(id).text == "waited") }
        #expect(upstream.connectionCount == 101)
        #expect(try proxy.waitForLines(101).allSatisfy { $0.contains("HTTP/2.0\" 200") })
    }

    @Test func trailersAndInterimHeads() throws {
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
            try c.answerChunked(["x"], trailers: ["X-Sum: 7"])
        }
        let proxy = try proxy(
            """
            early_hints 1;
            location / { proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1; proxy_pass_trailers on; }
            location /own { add_trailer X-End $request_method; return 200 "body"; }
            location /empty { add_trailer X-End $request_method; return 200 ""; }
            """)
        let client = try client(proxy)
        let answer = try client.request()
        #expect(answer.interim == ["103"] && answer.text == "x" && answer.trailer("x-sum") == "7")
        #expect(try client.request("GET", "/own").trailer("x-end") == "GET")
        #expect(try client.request("GET", "/empty").trailer("x-end") == "GET")
        #expect(try client.request("HEAD", "/own").trailers.isEmpty)
        let id = try client.begin("POST", "/", [("expect", "100-continue"), ("content-length", "1")], end: false)
        #expect(try client.answer(id) { $0.interim == ["100"] }.interim == ["100"])
        try client.data(id, [0x31], end: true)
        #expect(try client.answer(id).text == "x")
    }

    // MARK: Windows

    @Test func aBodyWaitsForItsWindow() throws {
        let upstream = try echo()
        let proxy = try proxy("root %DIR%; location / { proxy_pass http://\(upstream.endpoint); } location /file { try_files /data =404; }")
        try proxy.write("data", String(repeating: "d", count: 1_000_000))
        let client = try client(proxy, [(.window, 0)])
        client.opensWindows = false
        let ids = [try client.begin("GET", "/big"), try client.begin("GET", "/file")]
        for id in ids { #expect(try client.answer(id) { $0.hasHead }.status == "200") }
        #expect(try client.request("HEAD").status == "200", "what needs no window has none to wait for")
        for id in ids {
            #expect(client.soFar(id).body.isEmpty)
            try client.openWindow(id, 10)
            try client.read { client.soFar(id).body.count == 10 }
            try client.openWindow(0, 1_000_000)
            try client.openWindow(id, 2_000_000)
            #expect(try client.answer(id).body.count == 1_000_000)
        }
        // The window of the connection is one for all.
        let other = try self.client(proxy, [(.window, 1_000_000)])
        other.opensWindows = false
        let both = [try other.begin("GET", "/big"), try other.begin("GET", "/file")]
        try other.read { both.reduce(0) { $0 + other.soFar($1).body.count } == 65_535 }
        try other.openWindow(0, 1_934_465)
        for id in both { #expect(try other.answer(id).body.count == 1_000_000) }
    }

    @Test func anUploadHasItsWindow() throws {
        let upstream = try Upstream(readsBodies: false) { request, c in
            if request.target == "/never" { return _ = c.hold() }
            var count = 0
            _ = try c.stream.readRequestBody(request.head) { count += $0.count }
            try c.answer(body: "\(count)")
        }
        let proxy = try proxy(
            "client_max_body_size 0; location / { proxy_pass http://\(upstream.endpoint); } "
                + "location /never { proxy_pass http://\(upstream.endpoint); proxy_request_buffering off; proxy_http_version 1.1; }")
        let client = try client(proxy)
        let id = try client.begin("PUT", "/", end: false)
        try client.data(id, [UInt8](repeating: 1, count: 16_384))
        func opened(_ id: Int) -> Int {
            client.others.filter { $0.type == Frame.windowUpdate && $0.stream == id }.reduce(0) { $0 + $1.payload.reduce(0) { $0 << 8 | Int($1) } }
        }
        try client.read { opened(id) > 500_000 }
        for _ in 0..<30 { try client.data(id, [UInt8](repeating: 1, count: 16_384)) }
        try client.data(id, [], end: true)
        #expect(try client.answer(id).text == "\(31 * 16_384)")
        // What nobody reads is not taken without bound: beyond its window a stream breaks, and nothing else.
        let stuck = try client.begin("PUT", "/never", end: false)
        _ = try upstream.waitForRequests(2)
        #expect(throws: (any Error).self) {
            for _ in 0..<2000 { try client.data(stuck, [UInt8](repeating: 1, count: 16_384)) }
            try client.read { false }
        }
        #expect(client.goawayCode == 3 || client.soFar(stuck).resetCode == 3)
    }

    // MARK: Ends

    @Test func whatBreaksIsOneStream() throws {
        let upstream = try echo()
        let proxy = try proxy(
            "location / { proxy_pass http://\(upstream.endpoint); \(Self.proxied) } location /gone { return 444; } "
                + "location /slow { proxy_pass http://\(upstream.endpoint)/never; proxy_read_timeout 100ms; }")
        let client = try client(proxy)
        let cut = try client.request("GET", "/cut")
        #expect(cut.status == "200" && cut.text == "part" && cut.resetCode == 2)
        #expect(try client.request("GET", "/gone").resetCode == 2)
        #expect(try client.request("GET", "/slow").status == "504")
        // An answer that does not wait for the body, which is not wanted any more.
        let early = try client.begin("POST", "/gone", end: false)
        #expect(try client.answer(early).resetCode == 2)
        let never = try client.begin("GET", "/never")
        _ = try upstream.waitForRequests(3)
        // That of the request which took too long is closed, and the upstream has noticed.
        try upstream.waitForOpenConnections(1)
        try client.send(HTTP2Peer.resetFrame(never))
        try upstream.waitForOpenConnections(0)
        #expect(try client.request().status == "200")
        #expect(try proxy.waitForLines(6).contains { $0.contains("/never HTTP/2.0\" 499") })
    }

    @Test func aClientLeavesWithAllItsStreams() throws {
        let upstream = try echo()
        let proxy = try proxy("location / { proxy_pass http://\(upstream.endpoint); }")
        let client = try client(proxy)
        for _ in 0..<50 { _ = try client.begin("GET", "/never") }
        _ = try upstream.waitForRequests(50)
        client.stream.close()
        try upstream.waitForOpenConnections(0)
        #expect(try proxy.waitForLines(50).allSatisfy { $0.contains("HTTP/2.0\" 499") })
    }

    @Test func silenceHasItsLimits() throws {
        let upstream = try echo()
        let proxy = try proxy(
            "client_header_timeout 300ms; client_body_timeout 300ms; send_timeout 300ms; keepalive_timeout 400ms; "
                + "location / { proxy_pass http://\(upstream.endpoint); }")
        let client = try client(proxy, [(.window, 0)])
        // Settings are agreed on before: nothing may come within a head.
        #expect(try client.request("HEAD").status == "200")
        let halfHead = client.skipStream()
        try client.send(Frame(type: Frame.headers, flags: 1, stream: halfHead, payload: HTTP2Peer.block([(":method", "GET")])))
        #expect(try client.answer(halfHead).resetCode == 1, "fields that do not come")
        try client.send(Frame(type: Frame.continuation, flags: 4, stream: halfHead, payload: HTTP2Peer.block([(":path", "/")])))
        let halfBody = try client.begin("POST", "/", end: false)
        #expect(try client.answer(halfBody).resetCode == 1, "a body that does not come")
        let unread = try client.begin("GET", "/big")
        #expect(try client.answer(unread).resetCode == 1, "an answer that is not taken")
        #expect(client.goawayStreams.isEmpty)
        #expect(client.readToEnd() == .closed)
        #expect(client.goawayCode == 0, "and a connection on which nothing happens")
    }

    @Test func moreStreamsThanAllowedAreRefused() throws {
        let upstream = try echo()
        let proxy = try proxy("http2_max_concurrent_streams 2; location / { proxy_pass http://\(upstream.endpoint); }")
        let client = try client(proxy)
        let ids = try (0..<4).map { _ in try client.begin("GET", "/never") }
        for id in ids.suffix(2) { #expect(try client.answer(id).resetCode == 7) }
        #expect(try upstream.waitForRequests(2).count == 2)
        try client.send(HTTP2Peer.resetFrame(ids[0]))
        #expect(try client.request().status == "200")
    }

    @Test func aRateHoldsForAStream() throws {
        let proxy = try proxy("root %DIR%; location / { limit_rate 20k; } location /quick { return 200 quick; }")
        try proxy.write("data", String(repeating: "d", count: 30_000))
        let client = try client(proxy)
        let id = try client.begin("GET", "/data")
        var texts: [String] = []
        let ms = try elapsedMs {
            texts.append(try client.request("GET", "/quick").text)
            texts.append(try client.answer(id).text)
        }
        #expect(texts.map(\.count) == [5, 30_000])
        #expect(ms >= 300 && ms < 5000, "\(ms)")
    }
}
