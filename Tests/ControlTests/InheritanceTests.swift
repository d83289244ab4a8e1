// Owns what a block has from the blocks around it: single values, lists that are replaced whole, and what is never inherited.

import Bytes
import Engine
import Testing

@testable import Control

@Suite("inheritance")
struct InheritanceTests {
    @Test func singleValuesComeFromTheNearestBlock() throws {
        let built = try build(
            """
            client_max_body_size 2m;
            send_timeout 7s;
            server {
                client_max_body_size 3m;
                location /a { client_max_body_size 4m; location /a/b { client_max_body_size 0; location /a/b/c { } } }
                location /d { }
            }
            server { location /e { } }
            """)
        let sizes = ["/a", "/a/b", "/a/b/c", "/d", "/e"].map { built.location($0).clientMaxBodyBytes }
        #expect(sizes == [4 << 20, 0, 0, 3 << 20, 2 << 20])
        #expect(["/a/b/c", "/d", "/e"].allSatisfy { built.location($0).sendTimeoutMs == 7000 })
        #expect(built.root.servers[1].settings.clientMaxBodyBytes == 2 << 20)
    }

    @Test func whatStandsBehindABlockCountsForItToo() throws {
        let built = try build(
            """
            server { location /a { location /a/b { } send_timeout 3s; } keepalive_timeout 2s; }
            proxy_read_timeout 1s;
            """)
        let inner = built.location("/a/b")
        #expect(inner.sendTimeoutMs == 3000)
        #expect(inner.keepaliveTimeoutMs == 2000)
        #expect(inner.proxy.readTimeoutMs == 1000)
    }

    @Test func siblingsHaveNothingOfEachOther() throws {
        let built = try build(server: "location /a { send_timeout 1s; add_header A a; } location /b { }")
        #expect(built.location("/b").sendTimeoutMs == 60_000)
        #expect(lines(built.location("/b").addHeaders) == [])
    }

    /// `include mime.types;` and a block of one's own below it are one table; what is said last of an extension holds.
    @Test func blocksOfTypesAreOneTable() throws {
        let built = try build(
            """
            types { text/a a; text/b b; } types { text/c c; text/d a; }
            server { location /usual { } location /own { types { text/e e; } types { text/f f; } } }
            """)
        let names = [ByteView("a"), ByteView("b"), ByteView("c"), ByteView("e"), ByteView("f")]
        func types(_ location: String) -> [String?] { names.map { built.location(location).mediaTypes.find($0)?.string } }
        #expect(types("/usual") == ["text/d", "text/b", "text/c", nil, nil])
        #expect(types("/own") == [nil, nil, nil, "text/e", "text/f"])
    }

    /// A directive that makes a list, in `http`, again in the location `/own`, and not in the location `/none`.
    @Test(
        "the first directive of a block replaces the inherited list",
        arguments: [
            ("add_header A 1; add_header B 2;", "add_header C 3;"), ("add_trailer A 1; add_trailer B 2;", "add_trailer C 3;"),
            ("error_page 404 /1; error_page 500 502 /2;", "error_page 503 /3;"),
            ("proxy_set_header A 1; proxy_set_header B 2;", "proxy_set_header C 3;"),
            ("index a b; index c;", "index d;"), ("proxy_redirect /a /b; proxy_redirect /c /d;", "proxy_redirect /e /f;"),
            ("proxy_cookie_domain a b; proxy_cookie_domain c d;", "proxy_cookie_domain e f;"),
            ("proxy_cookie_path a b; proxy_cookie_path c d;", "proxy_cookie_path e f;"),
            ("proxy_cookie_flags a secure; proxy_cookie_flags b secure;", "proxy_cookie_flags c secure;"),
            ("access_log one; access_log two;", "access_log three;"),
        ])
    func lists(outer: String, inner: String) throws {
        func count(_ l: LocationSettings) -> Int {
            switch inner.prefix(while: { $0 != " " }) {
            case "add_header": l.addHeaders.count
            case "add_trailer": l.addTrailers.count
            case "error_page": l.errorPages.count
            // Host, which is sent unless it is said otherwise, stands among them.
            case "proxy_set_header": l.proxy.requestHeaders.count - 1
            case "index": l.index.count
            case "proxy_redirect": l.proxy.redirects.count
            case "proxy_cookie_domain": l.proxy.cookieDomains.count
            case "proxy_cookie_path": l.proxy.cookiePaths.count
            case "proxy_cookie_flags": l.proxy.cookieFlags.count
            default: l.accessLogs.count
            }
        }
        let built = try build(
            """
            \(outer)
            server { location /none { location /none/deep { } } location /own { \(inner) location /own/deep { } } }
            """)
        let all = outer.hasPrefix("error_page") || outer.hasPrefix("index") ? 3 : 2
        #expect(["", "/none", "/none/deep"].map { count(built.location($0)) } == [all, all, all])
        #expect(["/own", "/own/deep"].map { count(built.location($0)) } == [1, 1])
    }

    @Test func listsKeepTheirOrderAndTheirFlags() throws {
        let built = try build(
            server:
                "add_header B $uri; add_header A x always; error_page 404 = @named; error_page 502 503 =200 /x; error_page 401 http://y/;"
        )
        #expect(lines(built.location("").addHeaders) == ["B: $uri", "A: x!"])
        #expect(pages(built.location("").errorPages) == ["404 0 @named", "502 200 /x", "503 200 /x", "401 -1 http://y/"])
    }

    @Test func anAccessLogThatIsOffIsOffBelowToo() throws {
        let built = try build("access_log a; server { access_log off; location /in { } location /on { access_log b; } }")
        #expect(built.location("").accessLogs.count == 0)
        #expect(built.location("/in").accessLogs.count == 0)
        #expect(built.location("/on").accessLogs.count == 1)
        #expect(built.system.openedLogs.contains("/prefix/b"))
    }

    @Test func errorLogsOfABlockReplaceTheOuterOnes() throws {
        let built = try build(
            whole: """
                error_log main.log warn;
                events { }
                http { server { error_log one.log info; error_log two.log; location /in { } location /own { error_log x.log debug; } } }
                """)
        #expect(built.root.processLog.level == .warn)
        let inner = built.location("/in").errorLog
        #expect(inner.level == .info)
        #expect(inner.secondFile != nil)
        #expect(inner.secondLevel == .error)
        #expect(built.location("/own").errorLog.level == .debug)
        #expect(built.location("/own").errorLog.secondFile == nil)
    }

    @Test func whatABlockDoesIsNotInherited() throws {
        let built = try build(
            server: """
                set $a 1;
                try_files /x /y;
                location /a {
                    internal;
                    proxy_pass http://127.0.0.1:1/u;
                    try_files /p /q;
                    set $b 2;
                    location /a/b { }
                }
                """)
        let outer = built.location("/a")
        let inner = built.location("/a/b")
        #expect(outer.isInternal && !inner.isInternal)
        #expect(outer.handler == .proxy && inner.handler == .files)
        #expect(outer.tryFiles.count == 2 && inner.tryFiles.count == 0)
        #expect(steps(outer.rewrite) == ["set 2"])
        #expect(steps(inner.rewrite) == [])
        #expect(steps(built.root.servers[0].rewrite) == ["set 1"])
    }

    @Test func anIfHasWhatItsLocationSays() throws {
        let built = try build(
            server: """
                location /a {
                    add_header A a;
                    send_timeout 2s;
                    proxy_pass http://127.0.0.1:1;
                    if ($arg_x) { add_header B b; }
                    if ($arg_y) { root /elsewhere; }
                    proxy_read_timeout 3s;
                }
                """)
        let location = built.location("/a")
        let first = built.inside(location, 0)
        let second = built.inside(location, 1)
        #expect(lines(first.addHeaders) == ["B: b"])
        #expect(lines(second.addHeaders) == ["A: a"])
        #expect(
            [first, second].allSatisfy { $0.sendTimeoutMs == 2000 && $0.proxy.readTimeoutMs == 3000 && $0.handler == .proxy })
        #expect(text(second.root) == "/elsewhere")
    }

    @Test func stepsRunInTheOrderOfTheFile() throws {
        let built = try build(
            server: "set $a 1; if ($a = 1) { set $b 2; break; } rewrite ^/x /y last; location / { return 204; }")
        let rewrite = built.root.servers[0].rewrite
        #expect(steps(rewrite) == ["set 1", "unless>4", "set 2", "break", "rewrite /y last"])
        #expect(steps(built.location("/").rewrite) == ["return 204 "])
    }

    @Test func serverDirectivesOfHttpCountForEveryServer() throws {
        let built = try build(
            "client_header_timeout 5s; merge_slashes off; server { merge_slashes on; listen 1; } server { listen 2; }")
        #expect(built.root.servers[0].clientHeaderTimeoutMs == 5000)
        #expect(built.root.servers[1].clientHeaderTimeoutMs == 5000)
        #expect(built.root.servers[0].mergeSlashes)
        #expect(!built.root.servers[1].mergeSlashes)
    }

    @Test func aHostThatIsSetTakesThePlaceOfTheUsualOne() throws {
        let built = try build(
            server: """
                location /usual { proxy_set_header A a; proxy_pass http://127.0.0.1:1; }
                location /own { proxy_set_header host $host; proxy_pass http://127.0.0.1:1; }
                location /old { proxy_http_version 1.0; proxy_pass http://127.0.0.1:1; }
                """)
        #expect(lines(built.location("/usual").proxy.requestHeaders) == ["Host: $proxyHost", "A: a"])
        #expect(lines(built.location("/own").proxy.requestHeaders) == ["host: $host"])
        #expect(lines(built.location("/old").proxy.requestHeaders) == ["Host: $proxyHost", "Connection: close"])
    }
}
