// Owns what becomes of a request whose address `rewrite` has changed: where it goes on, under which address, and who lets it in.

import TestSupport
import Testing

@Suite("rewriting", .ownThread)
struct RewriteTests {
    /// nginx: the URI of `proxy_pass` stands for the location's part of the address, and a rewritten address need not have that part.
    @Test(
        "an address made by rewrite ... break goes on whole",
        arguments: [
            ("/a/x?q=1", "/n/x?q=1"), ("/a/x%20y", "/n/x%20y"), ("/a/", "/n/"), ("/b/keep", "/kept"), ("/b/x", "/c/x"),
            ("/d/x", "/n/x"),
        ])
    func broken(target: String, expected: String) throws {
        let upstream = try Upstream { request, c in try c.answer(body: request.target) }
        let pass = "proxy_pass http://\(upstream.endpoint)/c/;"
        let proxy = try Proxy(
            server: """
                location /a/ { rewrite ^/a/(.*)$ /n/$1 break; \(pass) }
                location /b/ { rewrite ^/b/keep$ /kept break; \(pass) }
                location /d/ { rewrite ^/d/(.*)$ /n/$1; break; \(pass) }
                """)
        #expect(try proxy.get(target).text == expected)
    }

    @Test func anAliasHasNoFileForARewrittenAddress() throws {
        let proxy = try Proxy(
            server: "location /a/ { alias %DIR%/files/; rewrite ^/a/b/(.*)$ /longer/$1 break; }", files: ["files/x.txt": "x"])
        #expect(try proxy.get("/a/x.txt").text == "x")
        #expect(try proxy.get("/a/b/x.txt").status == 500)
    }

    @Test func aRewrittenRequestMayReachWhatIsInternal() throws {
        let proxy = try Proxy(
            server: """
                rewrite ^/server$ /in/;
                location /in/ { internal; client_max_body_size 3; return 200 in; }
                location /go/ { rewrite ^ /in/ last; }
                location /not/ { rewrite ^/other /in/ last; return 200 not; }
                """)
        for (path, status) in [("/in/", 404), ("/go/", 200), ("/server", 200), ("/not/", 200)] {
            #expect(try proxy.get(path).status == status, "\(path)")
        }
        #expect(try proxy.get("/go/", method: "POST", body: "four").status == 413)
    }

    /// What an expression took from the decoded address is encoded again in the value of `set`: it makes no second request line, no query.
    @Test(
        "groups in the value of set are encoded",
        arguments: [
            ("/p/a%20b", "/to/a%20b"), ("/p/a%3Fb%23c", "/to/a%3Fb%23c"), ("/p/a%25b", "/to/a%25b"), ("/p/a&b", "/to/a&b"),
            ("/p/a%09b", "/to/a%09b"), ("/i/a%20b", "/to/a%20b"), ("/q/a%26b", "/q?n=a%26b"),
        ])
    func groups(target: String, expected: String) throws {
        let upstream = try Upstream { request, c in try c.answer(body: request.target) }
        let proxy = try Proxy(
            server: """
                location ~ ^/p/(.*)$ { set $rest $1; proxy_pass http://\(upstream.endpoint)/to/$rest; }
                location /i/ { if ($uri ~ ^/i/(.*)$) { set $rest $1; } proxy_pass http://\(upstream.endpoint)/to/$rest; }
                location ~ ^/q/(.*)$ { set $args n=$1; proxy_pass http://\(upstream.endpoint)/q?$args; }
                """)
        #expect(try proxy.get(target).text == expected)
    }

    @Test func aRedirectLeavesWhatNeedsNoEncoding() throws {
        let proxy = try Proxy(
            server: """
                absolute_redirect off;
                location /old/ { rewrite ^/old/(.*)$ /new/$1 permanent; }
                location /ask/ { rewrite ^/ask/(.*)$ /new?q=$1 redirect; }
                """)
        for (target, location) in [("/old/c++", "/new/c++"), ("/old/a%2Bb%26c%20d", "/new/a+b&c%20d"), ("/ask/a+b%26c", "/new?q=a%2Bb%26c")] {
            #expect(try proxy.get(target)["Location"] == location)
        }
    }
}
