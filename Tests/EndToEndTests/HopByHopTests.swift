// Owns the fields that belong to one connection and must not cross the proxy, and those that must.

import TestSupport
import Testing

@Suite("hop-by-hop fields", .ownThread)
struct HopByHopTests {
    private func proxy(_ upstream: Upstream, _ more: String = "") throws -> Proxy {
        try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1; \(more) }")
    }

    static let ofConnection = [
        "Connection: keep-alive", "Keep-Alive: timeout=5", "TE: gzip", "Upgrade: h2c", "Expect: 100-continue",
    ]

    @Test func ofARequestDoNotReachTheUpstream() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        #expect(try client.request("GET", "/", Self.ofConnection + ["X-End: 1"]).status == 200)
        let seen = try #require(upstream.requests.first)
        for name in ["Keep-Alive", "TE", "Upgrade", "Expect", "Proxy-Connection"] { #expect(seen[name] == nil, "\(name)") }
        #expect(seen["Connection"] == nil || seen["Connection"] == "close")
        #expect(seen["X-End"] == "1")
    }

    @Test(.enabled(if: !Harness.isNginx, "nginx forwards what Connection names; 1.22 forwards Proxy-Connection"))
    func namedByConnectionDoNotReachTheUpstream() throws {
        let upstream = try Upstream(saying: "x")
        let fields = ["Connection: close, X-Hop", "X-Hop: 1", "Proxy-Connection: keep-alive", "X-End: 1"]
        let proxy = try proxy(upstream)
        try proxy.client().request("GET", "/", fields)
        let seen = try #require(upstream.requests.first)
        #expect(seen["X-Hop"] == nil)
        #expect(seen["Proxy-Connection"] == nil)
        #expect(seen["X-End"] == "1")
    }

    @Test func ofAResponseDoNotReachTheClient() throws {
        let upstream = try Upstream { _, c in
            try c.answer(
                "200 OK", ["Connection: X-Other", "Keep-Alive: timeout=99", "X-End: 1", "X-Accel-Charset: a", "X-Pad: b"])
        }
        let proxy = try proxy(upstream)
        let response = try proxy.client().request()
        #expect(response["Keep-Alive"] == nil)
        #expect(response.values("Connection") == ["keep-alive"])
        #expect(response["X-Accel-Charset"] == nil)
        #expect(response["X-Pad"] == nil)
        #expect(response["X-End"] == "1")
    }

    @Test func endToEndFieldsCrossUnchanged() throws {
        let fields = [
            "Accept: */*", "Authorization: Basic YTpi", "Cookie: a=1; b=2", "Cache-Control: no-cache", "If-None-Match: \"x\"",
            "Range: bytes=0-1", "User-Agent: test", "Referer: http://a/", "Accept-Encoding: gzip", "Via: 1.1 other",
            "X-Empty-Not: 1", "x-lower: Case Kept",
        ]
        let upstream = try Upstream { _, c in
            try c.answer("200 OK", ["Via: 1.1 peer", "Location: /x", "Vary: A", "Vary: B", "x-lower: Y"])
        }
        let proxy = try proxy(upstream)
        let response = try proxy.get("/", fields)
        let head = try #require(upstream.requests.first).head.text
        for field in fields { #expect(head.contains("\r\n\(field)\r\n"), "\(field)") }
        #expect(response["Via"] == "1.1 peer")
        #expect(response.values("Vary") == ["A", "B"])
        #expect(response.head.text.contains("\r\nx-lower: Y\r\n"))
    }

    @Test func serverAndDateAreThoseOfTheProxyUnlessPassed() throws {
        let upstream = try Upstream { _, c in
            try c.answer("200 OK", ["Server: peer/1", "Date: Thu, 01 Jan 1970 00:00:00 GMT", "X-Hide: 1"])
        }
        let plain = try proxy(upstream, "proxy_hide_header X-Hide;").get()
        #expect(plain["Server"]?.contains("peer") == false)
        #expect(plain.values("Date").count == 1)
        #expect(plain["Date"]?.contains("1970") == false)
        #expect(plain["X-Hide"] == nil)
        let passed = try proxy(upstream, "proxy_pass_header Server; proxy_pass_header Date;").get()
        #expect(passed.values("Server") == ["peer/1"])
        #expect(passed["Date"]?.contains("1970") == true)
        #expect(passed["X-Hide"] == "1")
    }

    @Test func setHeaderReplacesAndRemoves() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try proxy(
            upstream, "proxy_set_header X-New \"a $request_method\"; proxy_set_header X-Old \"\"; proxy_set_header Host changed;")
        try proxy.get("/", ["X-Old: 1", "X-New: mine", "Host: first"])
        let seen = try #require(upstream.requests.first)
        #expect(seen.values("X-New") == ["a GET"])
        #expect(seen["X-Old"] == nil)
        #expect(seen.values("Host") == ["changed"])
    }

    @Test func proxyRedirectRewritesLocations() throws {
        let upstream = try Upstream { r, c in
            try c.answer("302 Found", ["Location: http://u\(r.target)/there", "Refresh: 5; url=http://u/r"])
        }
        let proxy = try Proxy(
            server: "location /a/ { proxy_pass http://u/b/; } location /off { proxy_redirect off; proxy_pass http://u; }",
            http: "upstream u { server \(upstream.endpoint); }")
        #expect(
            try proxy.get("/a/x")["Location"]
                == "http://u/b/x/there".replacing("http://u/b/", with: "http://test:\(proxy.port)/a/"))
        #expect(try proxy.get("/off")["Location"] == "http://u/off/there")
    }
}
