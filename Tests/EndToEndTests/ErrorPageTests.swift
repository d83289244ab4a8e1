// Owns the answers that the proxy gives itself: return, errors and their pages, added fields.

import TestSupport
import Testing

@Suite("own answers", .ownThread)
struct ErrorPageTests {
    @Test(
        "return gives the status and the text",
        arguments: [
            ("return 200 text;", 200, "text"), ("return 200 \"a $uri b\";", 200, "a / b"), ("return 404 mine;", 404, "mine"),
            ("return 418 tea;", 418, "tea"), ("return 204;", 204, ""), ("return 200;", 200, ""),
        ])
    func returned(directive: String, status: Int, text: String) throws {
        let response = try Proxy(server: "location / { \(directive) }").get()
        #expect(response.status == status)
        #expect(response.text == text)
    }

    @Test(
        "return redirects",
        arguments: [
            ("return 301 /new;", 301, "http://test:%PORT%/new"),
            ("return 302 http://other/$request_uri;", 302, "http://other//x?y=1"),
            ("return 303 https://other/;", 303, "https://other/"), ("return 307 /a;", 307, "http://test:%PORT%/a"),
            ("return 308 /a;", 308, "http://test:%PORT%/a"), ("return http://short/;", 302, "http://short/"),
            ("absolute_redirect off; return 301 /new;", 301, "/new"),
        ])
    func redirected(directive: String, status: Int, location: String) throws {
        let proxy = try Proxy(server: "location / { \(directive) }")
        let response = try proxy.get("/x?y=1")
        #expect(response.status == status)
        #expect(response["Location"] == location.replacing("%PORT%", with: "\(proxy.port)"))
    }

    @Test(
        "each error has nginx's short page",
        arguments: [
            (400, "400 Bad Request"), (401, "401 Authorization Required"), (403, "403 Forbidden"), (404, "404 Not Found"),
            (405, "405 Not Allowed"), (429, "429 Too Many Requests"), (500, "500 Internal Server Error"),
            (502, "502 Bad Gateway"),
            (503, "503 Service Temporarily Unavailable"), (504, "504 Gateway Time-out"),
        ])
    func pages(status: Int, title: String) throws {
        let response = try Proxy(server: "server_tokens off; location / { return \(status); }").get()
        #expect(response.status == status)
        #expect(response["Content-Type"] == "text/html")
        #expect(response.text.contains("<title>\(title)</title>"))
        #expect(response.text.contains("<h1>\(title)</h1>"))
        #expect(response["Content-Length"] == "\(response.body.count)")
    }

    @Test func headOfAnErrorHasNoBody() throws {
        let proxy = try Proxy(server: "location / { return 503; } location /ok { return 200 x; }")
        let client = try proxy.client()
        let response = try client.request("HEAD")
        #expect(response.status == 503)
        #expect(Int(response["Content-Length"] ?? "") ?? 0 > 0)
        #expect(try client.request("GET", "/ok").text == "x")
    }

    @Test func noUpstreamServerIs502() throws {
        let port = try Ports.reserve()
        let response = try Proxy(server: "location / { proxy_pass http://127.0.0.1:\(port); }").get()
        #expect(response.status == 502)
        #expect(response.text.contains("502 Bad Gateway"))
    }

    @Test func errorPageServesAnotherAddress() throws {
        let proxy = try Proxy(
            server: """
                error_page 502 503 504 /sorry;
                error_page 404 =200 /empty;
                error_page 403 =302 http://login/;
                error_page 405 @named;
                location /gone { return 503; }
                location /missing { return 404; }
                location /closed { return 403; }
                location /method { return 405; }
                location = /sorry { internal; return 200 "sorry $uri"; }
                location = /empty { return 200 empty; }
                location @named { return 200 "named $uri"; }
                """)
        let sorry = try proxy.get("/gone")
        #expect(sorry.status == 503)
        #expect(sorry.text == "sorry /sorry")
        let empty = try proxy.get("/missing")
        #expect(empty.status == 200)
        #expect(empty.text == "empty")
        #expect(try proxy.get("/closed")["Location"] == "http://login/")
        #expect(try proxy.get("/method").text == "named /method")
        #expect(try proxy.get("/sorry").text == "empty", "an internal address is 404 for clients")
    }

    @Test func errorPageMayAskAnotherUpstream() throws {
        let fallback = try Upstream { r, c in try c.answer(body: "fallback \(r.target)") }
        let port = try Ports.reserve()
        let proxy = try Proxy(
            server: """
                location / { proxy_pass http://127.0.0.1:\(port); error_page 502 = @fallback; }
                location @fallback { proxy_pass http://\(fallback.endpoint); }
                """)
        let response = try proxy.get("/a?b")
        #expect(response.status == 200)
        #expect(response.text == "fallback /a?b")
    }

    @Test func upstreamErrorsAreReplacedOnlyWhenIntercepted() throws {
        let upstream = try Upstream { _, c in try c.answer("500 Internal Server Error", body: "theirs") }
        let proxy = try Proxy(
            server: """
                error_page 500 /mine;
                location / { proxy_pass http://\(upstream.endpoint); }
                location /i { proxy_pass http://\(upstream.endpoint); proxy_intercept_errors on; }
                location = /mine { return 200 mine; }
                """)
        #expect(try proxy.get().text == "theirs")
        let intercepted = try proxy.get("/i")
        #expect(intercepted.status == 500)
        #expect(intercepted.text == "mine")
    }

    @Test func fieldsAreAddedToTheStatusesTheyAreFor() throws {
        let upstream = try Upstream { r, c in try c.answer(r.target == "/bad" ? "500 Bad" : "200 OK", ["X-A: theirs"]) }
        let proxy = try Proxy(
            server: """
                add_header X-Up "$request_method $upstream_status";
                add_header X-Always yes always;
                location / { proxy_pass http://\(upstream.endpoint); }
                location /own { add_header X-Own 1; return 200; }
                """)
        let good = try proxy.get("/good")
        #expect(good["X-Up"] == "GET 200")
        #expect(good["X-Always"] == "yes")
        #expect(good["X-A"] == "theirs")
        let bad = try proxy.get("/bad")
        #expect(bad["X-Up"] == nil)
        #expect(bad["X-Always"] == "yes")
        let own = try proxy.get("/own")
        #expect(own["X-Own"] == "1")
        #expect(own["X-Always"] == nil, "a level with fields of its own inherits none")
    }

    @Test func aBodyBeyondTheLimitIs413() throws {
        let upstream = try Upstream { r, c in try c.answer(body: "\(r.body.count)") }
        let proxy = try Proxy(
            server: """
                client_max_body_size 100;
                location / { proxy_pass http://\(upstream.endpoint); }
                location /big { client_max_body_size 0; proxy_pass http://\(upstream.endpoint); }
                """)
        #expect(try proxy.get("/", method: "POST", body: Pattern.text(100)).text == "100")
        #expect(try proxy.get("/", method: "POST", body: Pattern.text(101)).status == 413)
        #expect(try proxy.get("/big", method: "POST", body: Pattern.text(5000)).text == "5000")
        let client = try proxy.client()
        try client.send(
            RawClient.text("POST", "/", ["Transfer-Encoding: chunked"]) + "65\r\n" + Pattern.text(101) + "\r\n0\r\n\r\n")
        #expect(try client.response().status == 413)
        #expect(upstream.requestCount == 2)
    }

    @Test func aPageThatRedirectsIsARedirect() throws {
        let proxy = try Proxy(
            server: """
                absolute_redirect off;
                error_page 404 @home; error_page 403 /moved; error_page 410 /rewritten;
                location @home { return 302 /home; }
                location = /moved { return 301 /new; }
                location = /rewritten { rewrite ^ /other redirect; }
                location / { return 404; }
                location /closed { return 403; }
                location /gone { return 410; }
                """)
        for (path, status, location) in [("/x", 302, "/home"), ("/closed", 301, "/new"), ("/gone", 302, "/other")] {
            let response = try proxy.get(path)
            #expect(response.status == status)
            #expect(response["Location"] == location)
        }
    }

    @Test func aPageKnowsTheStatusItIsFor() throws {
        let upstream = try Upstream { request, c in try c.answer(body: request["X-Status"] ?? "") }
        let proxy = try Proxy(
            server: """
                error_page 404 403 @pages;
                location @pages { proxy_set_header X-Status $status; proxy_pass http://\(upstream.endpoint); }
                location / { return 404; }
                location /closed { return 403; }
                """)
        for (path, status) in [("/x", 404), ("/closed", 403)] {
            let response = try proxy.get(path)
            #expect(response.status == status)
            #expect(response.text == "\(status)")
        }
    }

    /// An application that has a file sent by the proxy says what it is, what it is called, and may set a cookie.
    @Test func anAnswerFromElsewhereKeepsWhatTheUpstreamSaidOfIt() throws {
        let upstream = try Upstream { request, c in
            if request.target.hasPrefix("/other") { return try c.answer("200 OK", ["Content-Type: text/other"], body: request.method) }
            let own = ["Content-Type: application/pdf", "Content-Disposition: attachment", "Set-Cookie: a=1; Path=/in/", "Set-Cookie: b=2",
                       "Cache-Control: private", "Expires: Thu, 01 Jan 1970 00:00:01 GMT", "X-Own: dropped", "ETag: \"dropped\""]
            try c.answer("200 OK", own + ["X-Accel-Redirect: /hidden\(request.target)"], body: "not this")
        }
        let proxy = try Proxy(
            server: """
                location / { proxy_pass http://\(upstream.endpoint); proxy_cookie_path /in/ /out/; }
                location /hidden/ { internal; alias %DIR%/files/; }
                location /hidden/aged/ { internal; alias %DIR%/files/; expires 1h; }
                location /hidden/text { internal; return 200 text; }
                location /hidden/elsewhere { internal; proxy_pass http://\(upstream.endpoint)/other; }
                """,
            files: ["files/a.txt": "file"])
        let file = try proxy.get("/a.txt")
        #expect(file.text == "file")
        #expect(file["Content-Type"] == "application/pdf")
        #expect(file["Content-Disposition"] == "attachment")
        #expect(file["Cache-Control"] == "private")
        #expect(file["Expires"] == "Thu, 01 Jan 1970 00:00:01 GMT")
        #expect(file.values("Set-Cookie") == ["a=1; Path=/out/", "b=2"])
        #expect(file["X-Own"] == nil && file["ETag"] != "\"dropped\"")
        let aged = try proxy.get("/aged/a.txt")
        #expect(aged.values("Cache-Control") == ["max-age=3600"] && aged.values("Expires").count == 1)
        #expect(aged["Content-Disposition"] == "attachment")
        #expect(try proxy.get("/text")["Content-Type"] == "application/pdf")
        let part = try proxy.get("/a.txt", ["Range: bytes=0-1"])
        #expect(part.status == 206 && part.text == "fi" && part["Content-Disposition"] == "attachment")
        let other = try proxy.get("/elsewhere", method: "POST", body: "x")
        #expect(other.text == "GET")
        #expect(other.values("Content-Type") == ["text/other"])
        #expect(other["Content-Disposition"] == "attachment")
    }
}
