// Owns the choice of a server by name and of a location by address, and what proxy_pass makes of the address.

import TestSupport
import Testing

@Suite("routing", .ownThread)
struct RoutingTests {
    static let servers = """
        server { listen 127.0.0.1:%PORT%; server_name first.test; return 200 first; }
        server { listen 127.0.0.1:%PORT%; server_name exact.test www.exact.test; return 200 exact; }
        server { listen 127.0.0.1:%PORT%; server_name *.wild.test; return 200 wild; }
        server { listen 127.0.0.1:%PORT%; server_name sub.wild.test; return 200 sub; }
        server { listen 127.0.0.1:%PORT%; server_name tail.*; return 200 tail; }
        server { listen 127.0.0.1:%PORT%; server_name .both.test; return 200 both; }
        server { listen 127.0.0.1:%PORT%; server_name "~^re(?<n>\\d+)\\.test$"; return 200 "regex $n"; }
        server { listen 127.0.0.1:%PORT%; server_name ""; return 200 empty; }
        server { listen 127.0.0.1:%PORT2%; server_name other; return 200 other; }
        server { listen 127.0.0.1:%PORT2% default_server; server_name default; return 200 default; }
        """

    @Test(
        "the Host names the server",
        arguments: [
            ("first.test", "first"), ("exact.test", "exact"), ("www.exact.test", "exact"), ("EXACT.Test", "exact"),
            ("exact.test:8080", "exact"), ("exact.test.", "exact"), ("a.wild.test", "wild"), ("a.b.wild.test", "wild"),
            ("sub.wild.test", "sub"), ("wild.test", "first"), ("tail.anything.org", "tail"), ("both.test", "both"),
            ("x.both.test", "both"), ("re42.test", "regex 42"), ("rex.test", "first"), ("unknown", "first"),
        ])
    func serverNames(host: String, text: String) throws {
        #expect(try Proxy(http: Self.servers).get("/", ["Host: \(host)"]).text == text)
    }

    @Test func eachAddressHasItsDefaultServer() throws {
        let proxy = try Proxy(http: Self.servers)
        for (host, text) in [("other", "other"), ("exact.test", "default"), ("unknown", "default")] {
            let client = try RawClient(proxy.endpoint2)
            #expect(try client.request("GET", "/", ["Host: \(host)"]).text == text)
        }
        #expect(try proxy.raw("GET / HTTP/1.0\r\n\r\n").text.hasSuffix("empty"))
        #expect(
            try proxy.raw("GET http://exact.test/ HTTP/1.1\r\nHost: first.test\r\nConnection: close\r\n\r\n").text.hasSuffix(
                "exact"))
    }

    static let locations = """
        location = / { return 200 root; }
        location / { return 200 slash; }
        location = /exact { return 200 exact; }
        location /pre { return 200 pre; }
        location /prefix/long { return 200 long; }
        location ^~ /images/ { return 200 images; }
        location ~ \\.php$ { return 200 php; }
        location ~* \\.(gif|jpg)$ { return 200 "pic $1"; }
        location ~ ^/user/(?<id>\\d+)/(.*)$ { return 200 "user $id $2"; }
        location /nested/ { location /nested/in { return 200 in; } location ~ \\.x$ { return 200 x; } return 200 nested; }
        location "/with space" { return 200 space; }
        """

    @Test(
        "the address names the location",
        arguments: [
            ("/", "root"), ("/other", "slash"), ("/exact", "exact"), ("/exact/", "slash"), ("/pre", "pre"), ("/prefix", "pre"),
            ("/prefix/longer", "long"), ("/images/a.php", "images"), ("/pre/a.php", "php"), ("/a.PHP", "slash"),
            ("/a.JPG", "pic JPG"),
            ("/pre/b.gif", "pic gif"), ("/user/42/x/y", "user 42 x/y"), ("/nested/", "nested"), ("/nested/inner", "in"),
            ("/nested/a.x", "x"), ("/with%20space", "space"), ("/%65xact", "exact"), ("/a/../exact", "exact"),
            ("//exact", "exact"),
            ("/./pre", "pre"), ("/exact?a.php", "exact"), ("/pre#a.php", "pre"),
        ])
    func locations(target: String, text: String) throws {
        #expect(try Proxy(server: Self.locations).get(target).text == text)
    }

    /// What is decoded for the path is encoded again where a replacement has it as an argument or sends it back; a question mark that a
    /// client encoded begins no arguments.
    @Test(
        "captures of rewrite are encoded where they need be",
        arguments: [
            ("/s/hello%20world", "/search?q=hello%20world"), ("/s/a%26admin=1", "/search?q=a%26admin=1"), ("/s/a&b", "/search?q=a&b"),
            ("/s/a%2Bb?x=1", "/search?q=a%2Bb&x=1"), ("/u/a%3Fadmin=1", "/x/a%3Fadmin=1"), ("/u/a%20b?c", "/x/a%20b?c"),
        ])
    func rewritten(target: String, expected: String) throws {
        let upstream = try Upstream { request, c in try c.answer(body: request.target) }
        let proxy = try Proxy(
            server: """
                location / {
                    rewrite ^/s/(.*)$ /search?q=$1 break; rewrite ^/u/(.*)$ /x/$1 break; proxy_pass http://\(upstream.endpoint);
                }
                """)
        #expect(try proxy.get(target).text == expected)
    }

    @Test func aRedirectOfRewriteIsEncoded() throws {
        let proxy = try Proxy(server: "absolute_redirect off; location / { rewrite ^/old/(.*)$ /new/$1 permanent; }")
        #expect(try proxy.get("/old/a%20b%3Fc")["Location"] == "/new/a%20b%3Fc")
        #expect(try proxy.get("/old/a/b")["Location"] == "/new/a/b")
    }

    @Test func aServerWithoutMatchingLocationIs404() throws {
        let proxy = try Proxy(server: "root none; location /a { return 200 a; }")
        #expect(try proxy.get("/b").status == 404)
    }

    @Test(
        "proxy_pass with an address replaces the location's part",
        arguments: [
            ("/a/", "/", "/a/x?q=1", "/x?q=1"), ("/a/", "", "/a/x", "/a/x"), ("/a/", "/b/", "/a/x/y", "/b/x/y"),
            ("/a", "/b", "/axy", "/bxy"), ("/a/", "/b", "/a/x", "/bx"), ("= /a", "/b/c", "/a?q", "/b/c?q"),
            ("/a/", "/b/", "/a/x%20y", "/b/x%20y"), ("/a/", "", "/a/x%20%2Fy", "/a/x%20%2Fy"),
            ("/a/", "", "/a/./x//y", "/a/./x//y"),
            ("/a/", "/b/", "/a/../a/x//y", "/b/x/y"),
        ])
    func proxyPass(location: String, path: String, target: String, expected: String) throws {
        let upstream = try Upstream { r, c in try c.answer(body: r.target) }
        let proxy = try Proxy(server: "location \(location) { proxy_pass http://\(upstream.endpoint)\(path); }")
        #expect(try proxy.get(target).text == expected)
    }

    @Test func proxyPassWithVariables() throws {
        let blue = try Upstream { r, c in try c.answer(body: "blue \(r.target)") }
        let green = try Upstream { r, c in try c.answer(body: "green \(r.target)") }
        let proxy = try Proxy(
            server: "location / { proxy_pass http://$pool; } location /p/ { proxy_pass http://$pool/q$request_uri; }",
            http: """
                map $http_x_color $pool { default blue_pool; green green_pool; }
                upstream blue_pool { server \(blue.endpoint); }
                upstream green_pool { server \(green.endpoint); }
                """)
        #expect(try proxy.get("/x").text == "blue /x")
        #expect(try proxy.get("/x", ["X-Color: green"]).text == "green /x")
        #expect(try proxy.get("/p/y?z").text == "blue /q/p/y?z")
    }

    @Test func twoVersionsOfAnAddressGoToTwoPools() throws {
        let old = try Upstream(saying: "old")
        let new = try Upstream(saying: "new")
        let proxy = try Proxy(
            server: """
                location /api/v1/ {
                    proxy_pass http://\(old.endpoint);
                    add_header Deprecation true always;
                    add_header Sunset "Sat, 31 Dec 2050 23:59:59 GMT" always;
                }
                location /api/v2/ { proxy_pass http://\(new.endpoint); }
                """)
        let first = try proxy.get("/api/v1/users")
        #expect(first.text == "old")
        #expect(first["Deprecation"] == "true")
        #expect(first["Sunset"] == "Sat, 31 Dec 2050 23:59:59 GMT")
        let second = try proxy.get("/api/v2/users")
        #expect(second.text == "new")
        #expect(second["Deprecation"] == nil)
    }

    @Test func otherMethodsHaveSettingsOfTheirOwn() throws {
        let upstream = try Upstream { request, connection in try connection.answer(body: "\(request.method) \(request["X-Set"] ?? "")") }
        let proxy = try Proxy(
            server: """
                proxy_pass_request_headers off;
                location /read {
                    proxy_pass http://\(upstream.endpoint);
                    limit_except GET { deny all; }
                }
                location /elsewhere {
                    if ($arg_a) { return 200 rewritten; }
                    return 200 here;
                    limit_except GET OPTIONS { proxy_pass http://\(upstream.endpoint); }
                }
                """)
        for (method, path, status, text) in [
            ("GET", "/read", 200, "GET "), ("HEAD", "/read", 200, ""), ("DELETE", "/read", 403, nil), ("UNHEARD", "/read", 403, nil),
            ("GET", "/elsewhere", 200, "here"), ("OPTIONS", "/elsewhere?a=1", 200, "rewritten"), ("PUT", "/elsewhere?a=1", 200, "PUT "),
        ] as [(String, String, Int, String?)] {
            let response = try proxy.get(path, method: method)
            #expect(response.status == status, "\(method) \(path)")
            if let text { #expect(response.text == text, "\(method) \(path)") }
        }
    }
}
