// Owns response filters: which answers gzip, gunzip and charset change, what their heads say of it, and that texts stay whole.

import Foundation
import TestSupport
import Testing

@Suite("filters", .ownThread)
struct FilterTests {
    static let text = Pattern.text(50_000)
    static let accepts = ["Accept-Encoding: gzip"]

    private func proxy(_ upstream: Upstream? = nil, _ directives: String = "gzip on; gzip_types text/plain;", http: String = "")
        throws -> Proxy
    {
        let pass = upstream.map { "location / { proxy_pass http://\($0.endpoint); }" } ?? "root site;"
        return try Proxy(
            server: "http2 on; \(directives) \(pass)", http: "types { text/html html; text/plain txt; }\n\(http)",
            files: ["site/a.html": Self.text, "site/small.html": "small", "site/empty.html": ""])
    }

    // MARK: gzip

    enum Framing: CaseIterable { case length, chunked, close }

    @Test("an upstream's answer is compressed", arguments: Framing.allCases, [true, false])
    func proxied(framing: Framing, isBuffered: Bool) throws {
        let upstream = try Upstream { _, c in
            let fields = [
                "Content-Type: text/html", "ETag: \"tag\"", "Accept-Ranges: bytes",
                "Last-Modified: Thu, 01 Jan 1970 00:00:00 GMT",
            ]
            switch framing {
            case .length: try c.answer("200 OK", fields, body: Self.text)
            case .chunked: try c.answerChunked([Self.text, "", "tail"].filter { !$0.isEmpty }, fields)
            case .close:
                try c.send(
                    (["HTTP/1.1 200 OK", "Connection: close"] + fields).joined(separator: "\r\n") + "\r\n\r\n" + Self.text)
                c.close()
            }
        }
        let proxy = try proxy(upstream, "gzip on; gzip_vary on; proxy_buffering \(isBuffered ? "on" : "off");")
        let client = try proxy.client()
        for _ in 0..<3 {
            let response = try client.request("GET", "/", Self.accepts)
            #expect(response.isChunked)
            #expect(response["Content-Encoding"] == "gzip")
            #expect(response["Content-Length"] == nil)
            #expect(response["ETag"] == "W/\"tag\"")
            #expect(response["Accept-Ranges"] == nil)
            #expect(response["Last-Modified"] != nil)
            #expect(response["Vary"] == "Accept-Encoding")
            #expect(response.body.count < Self.text.count)
            #expect(Gzip.unpacked(response.body) == Self.text + (framing == .chunked ? "tail" : ""))
        }
        let plain = try client.request("GET", "/")
        #expect(plain["Content-Encoding"] == nil)
        #expect(plain["ETag"] == "\"tag\"")
        #expect(plain["Vary"] == "Accept-Encoding")
        #expect(plain.text.hasPrefix(Self.text))
    }

    @Test("a file is compressed", arguments: ["/a.html", "/small.html", "/empty.html"])
    func file(path: String) throws {
        let proxy = try proxy(nil, "gzip on; gzip_min_length 0;")
        let client = try proxy.client()
        let plain = try client.request("GET", path)
        let response = try client.request("GET", path, Self.accepts)
        #expect(response["Content-Encoding"] == "gzip")
        #expect(response.isChunked)
        #expect(response["ETag"].map { $0 == "W/" + (plain["ETag"] ?? "") } == true)
        #expect(Gzip.unpacked(response.body) == plain.text)
        #expect(try client.request("GET", path, Self.accepts + ["If-None-Match: \(response["ETag"] ?? "")"]).status == 304)
        let head = try client.request("HEAD", path, Self.accepts)
        #expect(head["Content-Encoding"] == "gzip")
        #expect(head["Content-Length"] == nil)
        #expect(try client.request("GET", path).text == plain.text)
    }

    @Test func anOldClientReadsToTheEndOfTheConnection() throws {
        let proxy = try proxy(nil, "gzip on; gzip_http_version 1.0;")
        let (answer, end) = try proxy.raw("GET /a.html HTTP/1.0\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n")
        #expect(answer.contains("Content-Encoding: gzip") && answer.contains("Connection: close") && !answer.contains("chunked"))
        #expect(end == .closed)
        let newer = try self.proxy(nil, "gzip on;")
        #expect(try newer.raw("GET /a.html HTTP/1.0\r\nAccept-Encoding: gzip\r\n\r\n").text.contains("Content-Encoding") == false)
    }

    @Test func textsAndPagesOfOursAreCompressed() throws {
        let proxy = try proxy(
            nil,
            "gzip on; location /text { default_type text/html; return 200 'a text that is long enough'; } location /no { return 403; }"
        )
        let client = try proxy.client()
        #expect(Gzip.unpacked(try client.request("GET", "/text", Self.accepts).body) == "a text that is long enough")
        let page = try client.request("GET", "/no", Self.accepts)
        #expect(page.status == 403)
        #expect(Gzip.unpacked(page.body)?.contains("403 Forbidden") == true)
        #expect(Gzip.unpacked(try client.request("GET", "/missing", Self.accepts).body)?.contains("404 Not Found") == true)
    }

    @Test(
        "what is not compressed",
        arguments: [
            ("200 OK", ["Content-Type: image/png"], accepts), ("200 OK", [], accepts),
            ("200 OK", ["Content-Type: text/html"], ["Accept-Encoding: gzip;q=0"]),
            ("200 OK", ["Content-Type: text/html", "Content-Encoding: br"], accepts),
            ("500 No", ["Content-Type: text/html"], accepts),
            ("206 Partial Content", ["Content-Type: text/html", "Content-Range: bytes 0-1/5"], accepts),
            ("200 OK", ["Content-Type: text/html"], accepts + ["Via: 1.1 other"]),
            ("200 OK", ["Content-Type: text/html"], accepts + ["User-Agent: Old 1"]),
        ] as [(String, [String], [String])])
    func untouched(status: String, fields: [String], request: [String]) throws {
        let upstream = try Upstream { _, c in try c.answer(status, fields + ["ETag: \"tag\""], body: Self.text) }
        let response = try proxy(upstream, "gzip on; gzip_disable '^old';").get("/", request)
        #expect(response.text == Self.text)
        #expect(response["ETag"] == "\"tag\"")
        #expect(response["Content-Length"] == "\(Self.text.utf8.count)")
    }

    @Test(
        "answers to proxies",
        arguments: [
            ("any", [], true), ("expired", ["Expires: Thu, 01 Jan 1970 00:00:01 GMT"], true),
            ("expired", ["Expires: Fri, 01 Jan 2100 00:00:01 GMT"], false), ("no-cache", ["Cache-Control: no-cache"], true),
            ("no-store", ["Cache-Control: no-cache"], false), ("private no-store", ["Cache-Control: max-age=1, private"], true),
            ("no_etag", ["ETag: \"a\""], false), ("no_etag", [], true),
            ("no_last_modified", ["Last-Modified: Thu, 01 Jan 1970 00:00:01 GMT"], false),
            ("auth", [], true), ("off", [], false),
        ] as [(String, [String], Bool)])
    func proxies(conditions: String, fields: [String], isCompressed: Bool) throws {
        let upstream = try Upstream { _, c in try c.answer("200 OK", fields + ["Content-Type: text/html"], body: Self.text) }
        let proxy = try proxy(upstream, "gzip on; gzip_proxied \(conditions);")
        let response = try proxy.get(
            "/", Self.accepts + ["Via: 1.1 other"] + (conditions == "auth" ? ["Authorization: Basic x"] : []))
        #expect((response["Content-Encoding"] == "gzip") == isCompressed)
    }

    @Test func trailersFollowACompressedBody() throws {
        let upstream = try Upstream { _, c in
            try c.answerChunked([Self.text], ["Content-Type: text/html", "Trailer: X-Sum"], trailers: ["X-Sum: 5"])
        }
        let proxy = try proxy(upstream, "gzip on; proxy_pass_trailers on; add_trailer X-Size $upstream_response_length;")
        let response = try proxy.client().request("GET", "/", Self.accepts)
        #expect(Gzip.unpacked(response.body) == Self.text)
        #expect(response.trailers["X-Sum"] == "5")
        #expect(response.trailers["X-Size"] == "\(Self.text.utf8.count)")
    }

    @Test func theLogTellsTheRatio() throws {
        let proxy = try Proxy(
            server: "root site; access_log r.log r;", http: "gzip on; log_format r '$gzip_ratio $body_bytes_sent';",
            files: ["site/a.html": String(repeating: "x", count: 10_000)])
        let packed = try proxy.get("/a.html", Self.accepts)
        _ = try proxy.get("/a.html")
        let lines = try proxy.waitForLines(2, in: "r.log")
        let words = lines[0].split(separator: " ")
        let hundredths = (10_000 * 1000 / packed.body.count + 5) / 10
        let fraction = hundredths % 100
        #expect(words[0] == "\(hundredths / 100).\(fraction < 10 ? "0" : "")\(fraction)")
        #expect(Int(words[1]) == packed.body.count)
        #expect(lines[1] == "- 10000")
    }

    @Test func streamsOfHTTP2AreFilteredToo() throws {
        let upstream = try Upstream { _, c in try c.answer("200 OK", ["Content-Type: text/html"], body: Self.text) }
        let proxy = try proxy(upstream)
        let client = try HTTP2Client(proxy)
        let ids = try (0..<5).map { i in try client.begin("GET", "/\(i)", i % 2 == 0 ? [("accept-encoding", "gzip")] : []) }
        for (i, id) in ids.enumerated() {
            let answer = try client.answer(id)
            #expect(answer.status == "200")
            #expect((i % 2 == 0 ? Gzip.unpacked(answer.body) : answer.text) == Self.text)
        }
        let files = try HTTP2Client(try self.proxy())
        #expect(
            Gzip.unpacked(try files.answer(try files.begin("GET", "/a.html", [("accept-encoding", "gzip")])).body) == Self.text)
    }

    // MARK: gunzip

    @Test func whoDoesNotTakeGzipGetsTheText() throws {
        let packed = Gzip.packed(Self.text)
        let upstream = try Upstream { request, c in
            let body = request.target == "/two" ? packed + packed : packed
            try c.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nETag: \"tag\"\r\nContent-Length: \(body.count)\r\n\r\n")
            try c.send(body)
        }
        let proxy = try proxy(upstream, "gunzip on; gzip_vary on;")
        let client = try proxy.client()
        let response = try client.request("GET", "/")
        #expect(response.text == Self.text)
        #expect(response["Content-Encoding"] == nil)
        #expect(response["ETag"] == "W/\"tag\"")
        #expect(response["Vary"] == "Accept-Encoding")
        #expect(try client.request("GET", "/two").text == Self.text + Self.text)
        let kept = try client.request("GET", "/", Self.accepts)
        #expect(kept.body == packed)
        #expect(kept["Content-Encoding"] == "gzip")
        #expect(kept["ETag"] == "\"tag\"")
    }

    @Test("what is no gzip, or not all of it, is cut", arguments: ["short", "broken", "empty"])
    func cut(path: String) throws {
        let packed = Gzip.packed(Self.text)
        let upstream = try Upstream { request, c in
            var body = packed
            switch request.target {
            case "/short": body.removeLast(20)
            case "/broken": body[body.count / 2] ^= 0xFF
            default: body = []
            }
            try c.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(body.count)\r\n\r\n")
            try c.send(body)
        }
        let proxy = try proxy(upstream, "gunzip on;")
        let (answer, _) = try proxy.raw("GET /\(path) HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(!answer.hasSuffix("0\r\n\r\n"))
        #expect(proxy.errorLog.contains(path == "broken" ? "inflate() failed" : "the gzip data ends too early"))
        let stream = try HTTP2Client(proxy)
        let ended = try stream.answer(try stream.begin("GET", "/\(path)"))
        #expect(ended.resetCode != nil)
    }

    @Test func packedFilesStandInForOthers() throws {
        let proxy = try Proxy(
            server:
                "root site; gzip_vary on; location /on/ { alias %DIR%/site/; gzip_static on; } location /always/ { alias %DIR%/site/; gzip_static always; gunzip on; }",
            http: "types { text/html html; }", files: ["site/a.html": "plain", "site/b.html": "alone"])
        try Data(Gzip.packed("packed")).write(to: URL(fileURLWithPath: proxy.path("site/a.html.gz")))
        let client = try proxy.client()
        let packed = try client.request("GET", "/on/a.html", Self.accepts)
        #expect(Gzip.unpacked(packed.body) == "packed")
        #expect(packed["Content-Type"] == "text/html")
        #expect(packed["Content-Length"] == "\(packed.body.count)")
        #expect(packed["Vary"] == "Accept-Encoding")
        #expect(try client.request("GET", "/on/a.html").text == "plain")
        #expect(try client.request("GET", "/on/b.html", Self.accepts).text == "alone")
        let unpacked = try client.request("GET", "/always/a.html")
        #expect(unpacked.text == "packed")
        #expect(unpacked["Content-Encoding"] == nil)
    }

    // MARK: charset

    @Test func aCharsetIsSaidAndRecoded() throws {
        let upstream = try Upstream { request, c in
            try c.answer("200 OK", ["Content-Type: text/html\(request.target == "/own" ? "; charset=utf-8" : "")"], body: "а-б")
        }
        let proxy = try proxy(
            upstream, "charset koi8-r; source_charset utf-8; override_charset on; gzip on; gzip_min_length 0;",
            http: "charset_map koi8-r utf-8 { C1 D0B0; C2 D0B1; }")
        for path in ["/", "/own"] {
            let response = try proxy.get(path)
            #expect(response["Content-Type"] == "text/html; charset=koi8-r")
            #expect(response.body == [0xC1, 0x2D, 0xC2])
        }
        let packed = try proxy.get("/", Self.accepts)
        #expect(packed["Content-Encoding"] == "gzip")
        #expect(
            Gzip.unpacked(packed.body)?.utf8.count == String(decoding: [0xC1, 0x2D, 0xC2] as [UInt8], as: UTF8.self).utf8.count)
    }

    @Test func anUpstreamMayNameTheCharset() throws {
        let upstream = try Upstream { _, c in
            try c.answer("200 OK", ["Content-Type: text/html", "X-Accel-Charset: koi8-r"], body: "x")
        }
        let proxy = try proxy(upstream, "charset utf-8;", http: "charset_map koi8-r utf-8 { C1 D0B0; }")
        #expect(try proxy.get("/")["Content-Type"] == "text/html; charset=koi8-r")
    }
}
