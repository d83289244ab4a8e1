// Owns pages with server-side includes over real connections: parts in order however slow they are, bounds, errors, every kind of client.

import Foundation
import TestSupport
import Testing

@Suite("pages with includes", .ownThread)
struct SSITests {
    private static func page(_ upstream: Upstream, _ more: String = "") -> String {
        """
        ssi on; ssi_types text/plain; \(more)
        location / { proxy_pass http://\(upstream.endpoint); }
        """
    }

    private static func serving(_ pages: [String: String]) throws -> Upstream {
        try Upstream { r, c in
            let path = String(r.target.prefix { $0 != "?" })
            guard let text = pages[path] else { return try c.answer("404 Not Found", ["Content-Type: text/html"], body: "no \(path)") }
            try c.answer("200 OK", ["Content-Type: text/html", "ETag: \"a\"", "Accept-Ranges: bytes"], body: text)
        }
    }

    @Test("parts come in order, all on their way at once")
    func order() throws {
        let upstream = try Upstream { r, c in
            if r.target == "/" {
                let parts = (1...5).map { "<\($0):<!--# include virtual=\"/part?\($0)\" -->>" }.joined()
                return try c.answer("200 OK", ["Content-Type: text/html"], body: parts)
            }
            // The first is the slowest.
            usleep(UInt32((6 - (Int(r.target.suffix(1)) ?? 0)) * 100_000))
            try c.answer("200 OK", ["Content-Type: text/html"], body: "part \(r.target.suffix(1))")
        }
        let proxy = try Proxy(server: Self.page(upstream))
        let begun = ContinuousClock.now
        #expect(try proxy.get("/").text == "<1:part 1><2:part 2><3:part 3><4:part 4><5:part 5>")
        #expect(ContinuousClock.now - begun < .milliseconds(1200), "one after the other they take 1.5 s")
    }

    @Test("a page loses what is not true of it, and an include asks for the whole, plain part")
    func heads() throws {
        let upstream = try Self.serving(["/": "a<!--#include virtual='/b'-->c", "/b": "B"])
        let proxy = try Proxy(server: Self.page(upstream))
        let answer = try proxy.get("/", ["Range: bytes=0-1", "If-None-Match: \"a\"", "Accept-Encoding: gzip", "X-A: 1"])
        #expect(answer.text == "aBc")
        #expect(answer["ETag"] == nil && answer["Accept-Ranges"] == nil && answer["Content-Length"] == nil)
        let part = try #require(upstream.requests.first { $0.target == "/b" })
        #expect(part["X-A"] == "1" && part["Range"] == nil && part["If-None-Match"] == nil && part["Accept-Encoding"] == nil)
        #expect(try proxy.waitForLines(1).count == 1, "parts have no lines of their own")
    }

    /// A page may put what its user said into an include: that leads nowhere but down.
    @Test func anIncludeDoesNotClimb() throws {
        let upstream = try Self.serving([
            "/pages/": "(<!--#include virtual='/parts/$arg_part'-->)", "/parts/a": "A", "/secret": "secret", "/parts/../secret": "raw",
        ])
        let proxy = try Proxy(server: Self.page(upstream))
        #expect(try proxy.get("/pages/?part=a").text == "(A)")
        for part in ["../secret", "%2e%2e/secret", "..%2fsecret"] {
            #expect(try proxy.get("/pages/?part=\(part)").text == "([an error occurred while processing the directive])", "\(part)")
        }
    }

    @Test("commands that are cut anywhere, in chunks, for every kind of client", arguments: ["1.1", "1.0", "2"])
    func cut(version: String) throws {
        let text = "<html><!--#set var=\"a\" value=\"<$arg_q>\"--><!--#echo var=\"a\" --><!-- x --><!--#include virtual=\"/b\"--></html><!--"
        let upstream = try Upstream { r, c in
            if r.target == "/b" { return try c.answerChunked(["B", "b"], ["Content-Type: text/html"]) }
            try c.answerChunked(text.map { String($0) }, ["Content-Type: text/html"])
        }
        let proxy = try Proxy(server: "http2 on;" + Self.page(upstream))
        let wanted = "<html>&lt;v&gt;<!-- x -->Bb</html><!--"
        switch version {
        case "2":
            let answer = try HTTP2Client(proxy).request("GET", "/?q=v")
            #expect(String(decoding: answer.body, as: UTF8.self) == wanted)
        default:
            let client = try proxy.client()
            try client.send("GET /?q=v HTTP/\(version)\r\nHost: a\r\n\r\n")
            #expect(try client.response().text == wanted)
        }
    }

    @Test("what cannot be obeyed leaves a text, or none", arguments: [false, true])
    func errors(isSilent: Bool) throws {
        let upstream = try Self.serving([
            "/": "1<!--#exec cmd='ls'-->2<!--#echo-->3<!--#include virtual='/x' file='/y'-->4<!--#if expr='$a ~ b'-->5<!--#else-->6<!--#endif-->7<!--#endif-->8",
            "/named": "<!--#config errmsg='[oops]'-->1<!--#nonsense-->2",
            "/loop": "(<!--#include virtual='/loop'-->)",
        ])
        let proxy = try Proxy(server: Self.page(upstream, "ssi_silent_errors \(isSilent ? "on" : "off");"))
        let error = isSilent ? "" : "[an error occurred while processing the directive]"
        #expect(try proxy.get("/").text == "1\(error)2\(error)3\(error)4\(error)67\(error)8")
        #expect(try proxy.get("/named").text == (isSilent ? "12" : "1[oops]2"))
        // 50 pages within each other, and then no further.
        let depth = 51
        #expect(try proxy.get("/loop").text == String(repeating: "(", count: depth) + error + String(repeating: ")", count: depth))
    }

    @Test("a part that fails is a text in the page, or a block of it")
    func failing() throws {
        let gone = try Ports.reserve()
        let upstream = try Self.serving([
            "/": "<!--#block name='b'-->[<!--#echo var='arg_q'-->]<!--#endblock-->1<!--#include virtual='/gone/' stub='b'-->2"
                + "<!--#include virtual='/empty' stub='b'-->3<!--#include virtual='/missing' stub='b'-->4<!--#include virtual='/gone/'-->5",
            "/empty": "",
        ])
        let proxy = try Proxy(server: Self.page(upstream) + "location /gone/ { proxy_pass http://127.0.0.1:\(gone); }")
        let text = try proxy.get("/?q=stub").text
        #expect(text.hasPrefix("1[stub]2[stub]3no /missing4<html>"), "\(text)")
        #expect(text.contains("502 Bad Gateway") && text.hasSuffix("5"))
    }

    @Test("large parts and a client that reads slowly cost little memory")
    func large() throws {
        let part = String(repeating: "0123456789abcdef", count: 1 << 18)
        let upstream = try Self.serving(["/": "<" + String(repeating: "<!--#include virtual='/part'-->", count: 8) + ">", "/part": part])
        let proxy = try Proxy(server: Self.page(upstream, "proxy_buffering off;"))
        let client = try proxy.client(receiveBufferBytes: 4096)
        try client.send(RawClient.text())
        _ = try upstream.waitForRequests(2)
        usleep(300_000)
        #expect(proxy.residentBytes < 64 << 20, "\(proxy.residentBytes >> 20) MiB")
        #expect(try client.response().text.utf8.count == 2 + 8 * part.utf8.count)
    }

    @Test("a client that leaves takes the parts of its page with it")
    func leaving() throws {
        let upstream = try Upstream { r, c in
            if r.target == "/slow" { c.hold(); return }
            let part = r.target == "/" ? "<!--#include virtual='/slow'-->" : ""
            try c.answer("200 OK", ["Content-Type: text/html"], body: "a\(part)b")
        }
        let proxy = try Proxy(server: Self.page(upstream))
        let client = try proxy.client()
        try client.send(RawClient.text())
        _ = try upstream.waitForRequests(2)
        client.reset()
        try Harness.wait(for: "the part to be given up") { upstream.openConnectionCount <= 1 }
        #expect(try proxy.get("/other").text == "ab")
    }
}

@Suite("permission", .ownThread)
struct AuthRequestTests {
    @Test("who asks decides: 2xx, 401 with its challenge, 403, else 500; body and connection stay in order")
    func verdicts() throws {
        let upstream = try Upstream { r, c in try c.answer(body: "\(r["X-User"] ?? "-") \(r.body.count)") }
        let auth = try Upstream { r, c in
            let status = r["X-Want"] ?? "204 No Content"
            try c.answer(status, ["X-User: joe", "WWW-Authenticate: Basic realm=\"a\"", "WWW-Authenticate: Bearer"])
        }
        let proxy = try Proxy(
            server: """
                location / {
                    auth_request /auth; auth_request_set $user $upstream_http_x_user;
                    proxy_set_header X-User $user; proxy_pass http://\(upstream.endpoint);
                }
                location = /auth { internal; proxy_pass http://\(auth.endpoint); proxy_pass_request_body off; }
                """)
        let client = try proxy.client()
        #expect(try client.request("GET", "/").text == "joe 0")
        #expect(try client.request("POST", "/", body: "12345").text == "joe 5")
        let refused = try client.request("GET", "/", ["X-Want: 401 Unauthorized"])
        #expect(refused.status == 401 && refused.head.fields.values("WWW-Authenticate").count == 2)
        #expect(try client.request("GET", "/", ["X-Want: 403 Forbidden"]).status == 403)
        #expect(try client.request("GET", "/").text == "joe 0")
        #expect(try client.request("GET", "/", ["X-Want: 404 Not Found"]).status == 500)
        #expect(auth.requests.allSatisfy { $0.method == "GET" && $0.body.isEmpty && $0["Content-Length"] == nil })
        #expect(upstream.requestCount == 3)
        auth.refuse()
        #expect(try proxy.get("/").status == 500)
    }

    @Test("a client that leaves while it waits, and one that sends its next request meanwhile")
    func waiting() throws {
        let upstream = try Upstream(saying: "yes")
        let auth = try Upstream { _, c in
            usleep(100_000)
            try c.answer("204 No Content")
        }
        let proxy = try Proxy(
            server: """
                location / { auth_request /auth; proxy_pass http://\(upstream.endpoint); }
                location = /auth { internal; proxy_pass http://\(auth.endpoint); }
                """)
        let leaver = try proxy.client()
        try leaver.send(RawClient.text())
        leaver.reset()
        let client = try proxy.client()
        try client.send(RawClient.text() + RawClient.text())
        #expect(try client.response().text == "yes")
        #expect(try client.response().text == "yes")
        #expect(try proxy.stop(SIGQUIT, withinMs: 30_000) == .exited(0))
    }
}
