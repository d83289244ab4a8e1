// Owns the fields that the configuration sets, on the way to upstreams and on the way back.

import TestSupport
import Testing

@Suite("fields that the configuration sets", .ownThread)
struct UpstreamFieldTests {
    /// Whoever sends a body says how long it is: two lengths, or a length and chunks, are two requests for somebody.
    @Test(
        .enabled(if: !Harness.isNginx, "nginx sends them"),
        arguments: [
            "proxy_set_header Content-Length 10;", "proxy_set_header Content-Length $content_length;", "proxy_set_header Content-Length \"\";",
            "proxy_set_header transfer-encoding chunked;", "proxy_set_header Transfer-Encoding $http_transfer_encoding;",
            "proxy_set_header Transfer-Encoding \"\"; proxy_set_header Content-Length 0;",
        ])
    func theLengthOfABodyIsTheProxysToSay(directive: String) throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); \(directive) proxy_set_header X-End 1; }")
        let requests = [
            RawClient.text("GET", "/"), RawClient.text("POST", "/", body: "data"),
            "POST / HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n4\r\ndata\r\n0\r\n\r\n",
        ]
        let client = try proxy.client()
        for text in requests {
            try client.send(text)
            #expect(try client.response().status == 200)
        }
        let seen = upstream.requests
        #expect(seen.map { $0.values("Content-Length") } == [[], ["4"], ["4"]])
        #expect(seen.allSatisfy { $0["Transfer-Encoding"] == nil && $0["X-End"] == "1" })
        #expect(seen.map(\.text) == ["", "data", "data"])
    }

    @Test func thatNoBodyComesMayBeSaid() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try Proxy(
            server: "location / { proxy_pass http://\(upstream.endpoint); proxy_pass_request_body off; proxy_set_header Content-Length 0; }")
        #expect(try proxy.get("/", method: "POST", body: "data").text == "x")
        let seen = try #require(upstream.requests.first)
        #expect(seen.values("Content-Length") == ["0"] && seen.text == "")
    }

    /// HTTP/1.1 wants a Host, whatever the client spoke; 1.0 does not.
    @Test(
        .enabled(if: !Harness.isNginx, "nginx 1.22 sends none"),
        arguments: [("$http_host", "1.1", true), ("\"\"", "1.1", true), ("$arg_none", "1.1", true), ("$http_host", "1.0", false), ("fixed", "1.1", false)])
    func anEmptyHostIsThatOfTheUpstream(value: String, version: String, isUpstreams: Bool) throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try Proxy(
            server: "location / { proxy_pass http://\(upstream.endpoint); proxy_http_version \(version); proxy_set_header Host \(value); }")
        let client = try proxy.client()
        try client.send("GET / HTTP/1.0\r\n\r\n")
        #expect(try client.response().status == 200)
        let seen = try #require(upstream.requests.first)
        #expect(seen.values("Host") == (isUpstreams ? ["\(upstream.endpoint)"] : value == "fixed" ? ["fixed"] : []))
    }

    /// The first rule that fits counts, and `default` is a rule like the others.
    @Test(
        "rules for redirects are asked in their order",
        arguments: [
            ("proxy_redirect http://u/x/f /first/; proxy_redirect default;", "/first/oo"),
            ("proxy_redirect default; proxy_redirect http://u/x/f /first/;", "/p/foo"),
            ("proxy_redirect http://v/ /no/; proxy_redirect default; proxy_redirect http://u/ /last/;", "/p/foo"),
            ("proxy_redirect http://u/ /last/;", "/last/x/foo"), ("proxy_redirect off;", "http://u/x/foo"), ("", "/p/foo"),
        ])
    func redirects(rules: String, told: String) throws {
        let upstream = try Upstream { _, c in try c.answer("302 Found", ["Location: http://u/x/foo"]) }
        let proxy = try Proxy(
            server: "absolute_redirect off; location /p/ { proxy_pass http://u/x/; \(rules) }", http: "upstream u { server \(upstream.endpoint); }")
        #expect(try proxy.get("/p/a")["Location"] == told)
    }

    /// An answer has one ETag and one Last-Modified at most; `add_header Last-Modified ""` is how one is taken away.
    @Test(
        "what validates an answer is there once",
        arguments: [
            ("add_header ETag mine;", ["mine"], ["Thu, 01 Jan 1970 00:00:20 GMT"]), ("add_header etag \"\";", [], ["Thu, 01 Jan 1970 00:00:20 GMT"]),
            ("add_header Last-Modified \"\";", ["\"own\""], []), ("add_header Last-Modified \"then\"; add_header ETag e;", ["e"], ["then"]),
            ("add_header ETag $arg_none; add_header X-A 1;", [], ["Thu, 01 Jan 1970 00:00:20 GMT"]),
        ])
    func validators(directives: String, etags: [String], dates: [String]) throws {
        let upstream = try Upstream { request, c in
            let fields = ["ETag: \"own\"", "Last-Modified: Thu, 01 Jan 1970 00:00:20 GMT"]
            try c.answer(request.target == "/no" ? "404 Not Found" : "200 OK", fields, body: "x")
        }
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); \(directives) }")
        let response = try proxy.get()
        #expect(response.values("ETag") == etags && response.values("Last-Modified") == dates)
        // Without `always` it holds for good answers alone.
        let refused = try proxy.get("/no")
        #expect(refused.values("ETag") == ["\"own\""] && refused.values("Last-Modified") == ["Thu, 01 Jan 1970 00:00:20 GMT"])
    }

    @Test func filesToo() throws {
        let proxy = try Proxy(server: "location / { root files; add_header Last-Modified \"\"; add_header ETag x always; }", files: ["files/a.txt": "A"])
        let response = try proxy.get("/a.txt")
        #expect(response.text == "A" && response.values("ETag") == ["x"] && response.values("Last-Modified") == [])
    }

    /// A server that puts a name of its user's into X-Accel-Redirect must not be led to another folder by it.
    @Test(
        "X-Accel-Redirect is a path as it stands",
        arguments: [
            ("/kept/a.txt", 200, "a"), ("/kept/a%20b.txt", 200, "a b"), ("/kept/a b.txt", 200, "a b"), ("/kept/a#b.txt", 200, "a#b"),
            ("/kept/a%23b.txt", 200, "a#b"), ("/kept/..a..", 200, "dots"), ("/kept/a.txt?x=..", 200, "a"),
            ("/kept/../secret/a.txt", 404, nil), ("/kept/%2e%2e/secret/a.txt", 404, nil), ("/kept/x%2F..%2F../secret/a.txt", 404, nil),
            ("/kept/..", 404, nil), ("../secret/a.txt", 404, nil), ("kept/a.txt", 404, nil), ("http://test/kept/a.txt", 404, nil), ("?x", 404, nil),
            ("/kept/a.txt%00", 404, nil),
        ] as [(String, Int, String?)])
    func internalPaths(target: String, status: Int, text: String?) throws {
        let upstream = try Upstream { _, c in try c.answer("200 OK", ["X-Accel-Redirect: \(target)"]) }
        let proxy = try Proxy(
            server: """
                location / { proxy_pass http://\(upstream.endpoint); }
                location /kept/ { internal; root %DIR%; } location /secret/ { internal; root %DIR%; }
                """,
            files: [
                "kept/a.txt": "a", "kept/a b.txt": "a b", "kept/a#b.txt": "a#b", "kept/..a..": "dots", "secret/a.txt": "secret",
            ])
        let response = try proxy.get("/anything")
        #expect(response.status == status)
        if let text { #expect(response.text == text) }
        #expect(upstream.requests.count == 1)
    }
}
