// Owns variables, as a client and an access log see them.

import Foundation
import TestSupport
import Testing

@Suite("variables and access log", .ownThread)
struct VariableTests {
    @Test(
        "a variable has its value",
        arguments: [
            ("$uri", "/a/b c"), ("$request_uri", "/a//b%20c?x=1&y=%20"), ("$args", "x=1&y=%20"), ("$query_string", "x=1&y=%20"),
            ("$is_args", "?"), ("$arg_x", "1"), ("$arg_y", "%20"), ("$arg_none", ""), ("$host", "example.test"),
            ("$http_host", "Example.Test:99"), ("$http_x_thing", Harness.isNginx ? "a" : "a, b"), ("$http_none", ""),
            ("$cookie_two", "2"), ("$cookie_none", ""),
            ("$request_method", "GET"), ("$request", "GET /a//b%20c?x=1&y=%20 HTTP/1.1"), ("$scheme", "http"),
            ("$server_name", "example.test"), ("$server_protocol", "HTTP/1.1"), ("$remote_addr", "127.0.0.1"),
            ("$server_addr", "127.0.0.1"),
            ("$server_port", "%PORT%"), ("$document_uri", "/a/b c"), ("$https", ""), ("$content_length", ""),
            ("$content_type", "text/x"),
            ("$remote_user", "user"), ("$proxy_add_x_forwarded_for", "192.0.2.1, 127.0.0.1"), ("$connection_requests", "1"),
            ("${scheme}s", "https"), ("$mapped", "yes"), ("$set", "GET-1"), ("$request_completion", ""), ("$nginx_version", "*"),
            ("$request_id", "*"), ("$msec", "*"), ("$time_iso8601", "*"), ("$time_local", "*"), ("$remote_port", "*"),
            ("$pid", "*"),
            ("$hostname", "*"), ("$connection", "*"),
        ])
    func value(variable: String, expected: String) throws {
        let proxy = try Proxy(
            server: "server_name example.test; set $set $request_method-$arg_x; location / { return 200 \"\(variable)\"; }",
            http: "map $arg_x $mapped { default no; 1 yes; }")
        let response = try proxy.get(
            "/a//b%20c?x=1&y=%20",
            [
                "Host: Example.Test:99", "X-Thing: a", "X-Thing: b", "Cookie: one=1; two=2", "Content-Type: text/x",
                "Authorization: Basic dXNlcjpwYXNz", "X-Forwarded-For: 192.0.2.1",
            ])
        if expected == "*" {
            #expect(!response.text.isEmpty)
        } else {
            #expect(response.text == expected.replacing("%PORT%", with: "\(proxy.port)"))
        }
    }

    /// A proxy's form of a target (RFC 9112 3.2.2): what stands before the path is `$scheme` and `$host`.
    @Test(arguments: [
        ("http://other:81/a//b%20c?x=1", "/a//b%20c?x=1"), ("http://other/", "/"), ("http://other", "/"), ("HTTP://other?x=%31", "/?x=%31"),
        ("/plain?x", "/plain?x"), ("//two//", "//two//"),
    ])
    func theTargetIsToldWithoutItsAuthority(target: String, told: String) throws {
        let proxy = try Proxy(server: "return 302 https://new$request_uri;")
        #expect(try proxy.client().request("GET", target)["Location"] == "https://new" + told)
    }

    /// An error page is asked for with GET, and is told so; a question of `auth_request` is told how the request came.
    @Test func theMethodIsThatOfThePage() throws {
        let upstream = try Upstream { r, c in try c.answer(body: r["X-Method"] ?? "") }
        let proxy = try Proxy(
            server: """
                error_page 404 /page; error_page 403 @named;
                location /none { return 404; } location /no { return 403; }
                location /page { return 200 $request_method; } location @named { return 200 $request_method; }
                location /asked { auth_request /auth; try_files /nothing =404; }
                location = /auth { proxy_pass http://\(upstream.endpoint); proxy_set_header X-Method $request_method; }
                """)
        #expect(try proxy.get("/none", method: "POST", body: "x").text == "GET")
        #expect(try proxy.get("/no", method: "POST", body: "x").text == "POST")
        #expect(try proxy.get("/page", method: "PUT", body: "x").text == "PUT")
        #expect(try proxy.get("/asked", method: "POST", body: "x").text == "GET")
        #expect(upstream.requests.map { [$0.method, $0["X-Method"]] } == [["GET", "POST"]])
    }

    @Test(arguments: [("on", "4"), ("off", nil)])
    func theLengthOfABodyInChunksIsToldWhenItIsThere(buffering: String, told: String?) throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try Proxy(
            server: """
                location / {
                    proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1; proxy_request_buffering \(buffering);
                    proxy_set_header X-Length $content_length;
                }
                """)
        let client = try proxy.client()
        try client.send(RawClient.text("POST", "/", ["Transfer-Encoding: chunked"]) + "4\r\ndata\r\n")
        _ = client.stream.isReadable(withinMs: 50)
        try client.send("0\r\n\r\n")
        #expect(try client.response().status == 200)
        #expect(try proxy.get().status == 200)
        #expect(upstream.requests.map { $0["X-Length"] } == [told, nil])
    }

    @Test func aDotBehindAHostnameOfAMapSaysNothing() throws {
        let proxy = try Proxy(
            server: "return 200 $site;", http: "map $arg_name $site { hostnames; .a.test a; www.b.* b; plain c; ~[.]$ dot; default none; }")
        let names = ["a.test", "a.test.", "x.a.test.", "www.b.org.", "plain.", "other.", "other", "A.TEST."]
        #expect(try names.map { try proxy.get("/?name=\($0)").text } == ["a", "a", "a", "b", "c", "dot", "none", "a"])
    }

    @Test func theDefaultLineIsTheCombinedOne() throws {
        let upstream = try Upstream(saying: "hello")
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); }")
        try proxy.get("/a?b=\"c\"", ["Referer: http://r/", "User-Agent: me \"quoted\" \u{e9}"])
        let line = try proxy.waitForLines(1)[0]
        let pattern = #"^127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] "#
        #expect(line.range(of: pattern, options: .regularExpression) != nil, "\(line)")
        #expect(line.hasSuffix(#""GET /a?b=\x22c\x22 HTTP/1.1" 200 5 "http://r/" "me \x22quoted\x22 \xC3\xA9""#), "\(line)")
    }

    @Test func aLineTellsWhichUpstreamAnsweredAndHow() throws {
        let dead = try Ports.reserve()
        let upstream = try Upstream { _, c in try c.answer("201 Created", ["X-Version: green"], body: "hello") }
        let proxy = try Proxy(
            server: "location / { proxy_pass http://u; } location /own { return 200; }",
            http: """
                log_format full '$status|$body_bytes_sent|$upstream_addr|$upstream_status|$upstream_response_length|'
                                '$upstream_http_x_version|$sent_http_x_version|$upstream_response_time|'
                                '$request_time|$bytes_sent|$request_length';
                access_log access.log full;
                upstream u { server 127.0.0.1:\(dead); server \(upstream.endpoint) backup; }
                """)
        let client = try proxy.client()
        let request = RawClient.text("GET", "/x")
        try client.send(request)
        let response = try client.response()
        try client.request("GET", "/own")
        let lines = try proxy.waitForLines(2).map { $0.components(separatedBy: "|") }
        #expect(
            Array(lines[0][0..<7]) == [
                "201", "5", "127.0.0.1:\(dead), \(upstream.endpoint)", "502, 201", "0, 5", "green", "green",
            ])
        let times = lines[0][7].components(separatedBy: ", ")
        #expect(times.count == 2 && times.allSatisfy { Double($0) != nil }, "\(lines[0])")
        #expect(Double(lines[0][8]) != nil)
        #expect(lines[0][9] == "\(response.head.raw.count + 5)")
        #expect(lines[0][10] == "\(request.utf8.count)")
        #expect(Array(lines[1][0..<8]) == ["200", "0", "-", "-", "-", "-", "-", "-"])
    }

    @Test func linesAreEscapedAsTheFormatSays() throws {
        let proxy = try Proxy(
            server: "location / { return 200; }",
            http: """
                log_format j escape=json '{"u":"$http_user_agent","n":"$http_none"}';
                log_format n escape=none '$http_user_agent|$http_none|';
                access_log j.log j; access_log n.log n;
                """)
        try proxy.get("/", ["User-Agent: a\"b\\c\td"])
        #expect(try proxy.waitForLines(1, in: "j.log") == [#"{"u":"a\"b\\c\td","n":""}"#])
        #expect(try proxy.waitForLines(1, in: "n.log") == ["a\"b\\c\td||"])
    }

    @Test func aLogMayBeOffOrConditional() throws {
        let proxy = try Proxy(
            server: """
                location / { return 200; }
                location /quiet { access_log off; return 200; }
                location /some { access_log some.log combined if=$arg_log; return 200; }
                """, http: "access_log access.log;")
        for target in ["/quiet", "/some?log=0", "/some", "/some?log=1", "/loud"] { try proxy.get(target) }
        let main = try proxy.waitForLines(1)
        #expect(main.count == 1 && main[0].contains("/loud"))
        let some = try proxy.waitForLines(1, in: "some.log")
        #expect(some.count == 1 && some[0].contains("log=1"))
    }

    @Test(
        "every request is logged once, whatever became of it",
        arguments: [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "200"), ("GET /missing HTTP/1.1\r\nHost: a\r\n\r\n", "404"),
            ("nonsense\r\n\r\n", "400"), ("GET / HTTP/1.1\r\n\r\n", "400"), ("GET /dead HTTP/1.1\r\nHost: a\r\n\r\n", "502"),
        ])
    func loggedOnce(bytes: String, status: String) throws {
        let dead = try Ports.reserve()
        let proxy = try Proxy(
            server: "root none; location = / { return 200; } location /dead { proxy_pass http://127.0.0.1:\(dead); }",
            http: "log_format s '$status'; access_log access.log s;")
        let client = try proxy.client()
        try client.send(bytes)
        _ = try client.response()
        client.close()
        #expect(try proxy.stop(SIGQUIT) == .exited(0))
        #expect(proxy.accessLines == [status])
    }

    @Test func triesBeforeAndAfterARedirectAreToldApart() throws {
        let dead = try Ports.reserve()
        let failing = try Upstream { _, c in try c.answer("503 Service Unavailable", body: "no") }
        let page = try Upstream(saying: "page")
        let proxy = try Proxy(
            server: """
                location / { proxy_next_upstream error http_503; proxy_intercept_errors on; error_page 503 = @page; proxy_pass http://u; }
                location @page { proxy_pass http://\(page.endpoint); }
                """,
            http: """
                log_format tries '$upstream_status|$upstream_addr'; access_log access.log tries;
                upstream u { server 127.0.0.1:\(dead); server \(failing.endpoint) backup; }
                """)
        #expect(try proxy.get("/").text == "page")
        #expect(try proxy.waitForLines(1)[0] == "502, 503 : 200|127.0.0.1:\(dead), \(failing.endpoint) : \(page.endpoint)")
    }

    @Test func aTryWithoutAGoodHeadIsItsFault() throws {
        let upstream = try Upstream { _, c in try c.send("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab") }
        let proxy = try Proxy(
            server: "location / { proxy_pass http://\(upstream.endpoint); }",
            http: "log_format tries '$status $upstream_status'; access_log access.log tries;")
        #expect(try proxy.get("/").status == 502)
        #expect(try proxy.waitForLines(1)[0] == "502 502")
    }
}
