// Owns the values of directives: units and their bounds, maps, split_clients, conditions of if, log formats, expressions.

import Bytes
import ConfigurationFile
import Engine
import Testing

@testable import Control

@Suite("values")
struct ValueTests {
    @Test(
        "who says how long a body is",
        arguments: [
            (#"proxy_set_header Content-Length "";"#, 0), ("proxy_set_header Content-Length 0;", 0),
            ("proxy_set_header content-length $content_length;", 1), ("proxy_set_header Transfer-Encoding chunked;", 1),
            ("grpc_set_header Content-Length 5;", 1), ("proxy_set_header X-Content-Length 5;", 0),
        ])
    func framing(written: String, warnings: Int) throws {
        let built = try build("\(written) server { location / { proxy_pass http://127.0.0.1:1; } }")
        #expect(built.warnings.count == warnings)
    }

    // MARK: Units

    @Test(
        "times",
        arguments: [
            ("0", 0), ("1", 1000), ("1s", 1000), ("15ms", 15), ("1m30s", 90_000), ("1h", 3_600_000), ("1d", 86_400_000),
            ("1w", 604_800_000),
            ("1m 30", 90_000),
        ])
    func times(written: String, ms: Int64) throws {
        #expect(try build("send_timeout \"\(written)\"; server { }").location("").sendTimeoutMs == ms)
    }

    /// What is as good as for ever is a time that clocks can be added to, and seconds of it are milliseconds.
    @Test(
        "times beyond all clocks",
        arguments: [
            "send_timeout 9223372036854775s;", "keepalive_timeout 75s 9223372036854775807;", "ssl_session_timeout 9223372036854775807;",
            "proxy_ssl_certificate_cache max=2 inactive=9223372036854775807 valid=99999999999999999;",
            "upstream u { server 127.0.0.1:1 fail_timeout=9223372036854775807; }",
            "upstream u { server 127.0.0.1:1 fail_timeout=99999999999999999s; server 127.0.0.1:2 slow_start=99999999999999999; }",
            "upstream u { server 127.0.0.1:1; keepalive_time 9223372036854775s; keepalive_timeout 9223372036854775s; }",
        ])
    func longTimes(written: String) throws {
        let built = try build("\(written) server { location / { proxy_pass http://127.0.0.1:1; } }")
        #expect(built.location("").sendTimeoutMs <= 365_000 * 86_400_000)
    }

    @Test("sizes", arguments: [("0", 0), ("1", 1), ("8k", 8192), ("8K", 8192), ("2m", 2 << 20), ("1g", 1 << 30)])
    func sizes(written: String, bytes: Int64) throws {
        #expect(try build("client_max_body_size \(written); server { }").location("").clientMaxBodyBytes == bytes)
    }

    @Test(
        "values refused",
        arguments: [
            "send_timeout soon;", "send_timeout -1;", "send_timeout 1s1m;", "send_timeout 1x;", "send_timeout \"\";",
            "client_max_body_size 1x;", "client_max_body_size -1;", "client_max_body_size 99999999999999999999;",
            "keepalive_requests many;",
            "keepalive_requests -1;", "merge_slashes yes;", "server_tokens maybe;", "lingering_close never;",
            "if_modified_since after;",
            "keepalive_disable opera;", "proxy_buffers 1 4k;", "proxy_buffers 1024 4m;", "proxy_buffer_size 1;",
            "large_client_header_buffers 4 1m;", "max_headers 0;", "proxy_cookie_flags a loud;",
            "proxy_cookie_path on;", "proxy_redirect on;", "proxy_ignore_headers Host;",
        ])
    func refused(written: String) {
        let name = written.prefix { $0 != " " }
        let told = refusal(written)
        #expect(told.contains("in \"\(name)\" directive, it must be "), "\(told)")
        #expect(told.contains(" in 2:\(name.count + 2)") || told.contains(" in 2:"), "\(told)")
    }

    // MARK: map and split_clients

    @Test func aMapHasKeysExpressionsAndADefault() throws {
        let built = try build(
            """
            map $host $pool {
                hostnames;
                default other;
                Example.COM one;
                *.example.com $host;
                .example.org three;
                www.example.* four;
                ~^a(?<rest>.*)$ $rest;
                ~*^B "two words";
                "default" quoted;
                \\hostnames escaped;
            }
            server { }
            """)
        let map = built.root.maps[0]
        #expect(text(map.source) == "$host")
        #expect(text(map.defaultValue) == "other")
        func value(_ key: String) -> String? { map.exact.find(built.arenaText(key)).map { text(map.values[Int($0)].value) } }
        #expect(value("example.com") == "one")
        #expect(value("example.org") == "three")
        #expect(value("default") == "quoted")
        #expect(value("hostnames") == "escaped")
        #expect(map.suffixes.find(built.arenaText("example.com")) != nil)
        #expect(map.prefixes.find(built.arenaText("www.example")) != nil)
        #expect(map.regexes.count == 2)
        #expect(text(map.regexes[0].value.value) == "$namedCapture")
        #expect(map.slot >= 0)
    }

    @Test func aVolatileMapKeepsNoValue() throws {
        #expect(try build("map $uri $a { volatile; x y; } server { }").root.maps[0].slot == -1)
    }

    @Test func aVariableMayBeUsedAboveItsMap() throws {
        let built = try build("server { add_header A $late; } map $uri $late { default x; }")
        #expect(lines(built.location("").addHeaders) == ["A: $map"])
    }

    @Test func sharesOfSplitClientsAreNginxs() throws {
        let built = try build("split_clients $remote_addr $v { 0.5% a; 2.00% b; 50% c; * d; } server { }")
        let parts = built.root.splitClients[0].parts
        #expect((0..<parts.count).map { text(parts[$0].value.value) } == ["a", "b", "c", "d"])
        let whole = UInt64(UInt32.max)
        #expect(
            (0..<parts.count).map { UInt64(parts[$0].below) } == [
                whole * 50 / 10_000, whole * 250 / 10_000, whole * 5250 / 10_000, 0,
            ])
    }

    @Test(
        "maps and splits refused",
        arguments: [
            ("map $uri $status { }", #"the duplicate "status" variable in 2:10"#),
            ("map $uri x { }", #"invalid variable name "x" in 2:10"#),
            ("map $uri $a { a 1; A 2; }", #"conflicting parameter "A" in 2:20; the first is at configuration:2:15"#),
            ("map $uri $a { default 1; default 2; }", #""default" directive is duplicate in 2:26"#),
            ("map $uri $a { a; }", #"invalid number of arguments in "a" directive in 2:15; expected a key and a value"#),
            ("map $uri $a { a b c; }", #"invalid number of arguments in "a" directive in 2:15; expected a key and a value"#),
            ("map $uri $a { ~( b; }", "pcre2_compile() failed: missing closing parenthesis at offset 1 in 2:15"),
            ("map $uri $a { a $nosuch; }", #"unknown "nosuch" variable in 2:17"#),
            ("map $nosuch $a { }", #"unknown "nosuch" variable in 2:5"#),
            ("map $uri { }", #"invalid number of arguments in "map" directive in 2:1; expected 2 arguments"#),
            (
                "split_clients $uri $a { 60% x; 50% y; }",
                #"invalid value "50%" in "split_clients" directive, it must be shares that sum to at most 100 % in 2:32"#
            ),
            (
                "split_clients $uri $a { 1.234% x; }",
                #"invalid value "1.234%" in "split_clients" directive, it must be a percentage with at most two digits behind the point, or "*" in 2:25"#
            ),
            (
                "split_clients $uri $a { half x; }",
                #"invalid value "half" in "split_clients" directive, it must be a percentage with at most two digits behind the point, or "*" in 2:25"#
            ),
            (
                "split_clients $uri $a { 0% x; * y; }",
                #"invalid value "0%" in "split_clients" directive, it must be more than 0 % in 2:25"#
            ),
            (
                "split_clients $uri $a { * y; 10% x; }",
                #"invalid value "10%" in "split_clients" directive, it must be in front of "*", which takes the rest in 2:30"#
            ),
            (
                "map $uri $a { hostnames; .b.c 1; b.c 2; }",
                #"conflicting parameter "b.c" in 2:34; the first is at 2:26"#
            ),
            (
                "map $uri $a { hostnames; *.b.c 1; .B.c 2; }",
                #"conflicting parameter ".B.c" in 2:35; the first is at 2:26"#
            ),
            ("map $uri $a { .b.c 1; b.c 2; *.b.c 3; }", "accepted"),
            ("split_clients $uri $a { 100% x; }", "accepted"),
            ("split_clients $uri $a { }", "accepted"),
        ])
    func mapsRefused(written: String, wanted: String) {
        let told = refusal(written)
        #expect(told == wanted || told == wanted.replacing("configuration:", with: ""), "\(told)")
    }

    // MARK: if

    /// What a condition was read as.
    private func word(_ condition: Condition) -> String {
        switch condition {
        case .isSet(let variable): "set $\(variable.kind)"
        case .equal(let a, let b, let negated): "\(text(a)) \(negated ? "!=" : "=") \(text(b))"
        case .matches(let a, _, let negated): "\(text(a)) \(negated ? "!~" : "~")"
        case .file(let path, let test, let negated): "\(negated ? "!" : "")\(test) \(text(path))"
        case .otherMethod(let methods): "method not in \(methods)"
        }
    }

    @Test(
        "conditions",
        arguments: [
            ("($uri)", "set $uri"), ("( $uri )", "set $uri"), ("($uri = /a)", "$uri = /a"), ("($uri != /a)", "$uri != /a"),
            ("( $uri = \"a b\" )", "$uri = a b"), ("($uri = \"\")", "$uri = "), ("($uri ~ ^/a)", "$uri ~"),
            ("($uri ~* ^/a)", "$uri ~"),
            ("($uri !~ ^/a)", "$uri !~"), ("($uri !~* ^/a)", "$uri !~"), ("(-f /x$uri)", "isFile /x$uri"),
            ("(!-f /x)", "!isFile /x"),
            ("(-d /x)", "isDirectory /x"), ("(!-d /x)", "!isDirectory /x"), ("(-e /x)", "exists /x"), ("(!-e /x)", "!exists /x"),
            ("(-x /x)", "isExecutable /x"), ("(!-x /x)", "!isExecutable /x"),
            ("($arg_a$arg_b = xy)", "$argument:a$argument:b = xy"),
        ])
    func conditions(written: String, wanted: String) throws {
        let built = try build(server: "if \(written) { return 204; }")
        guard case .unless(let condition, _) = built.root.servers[0].rewrite[0].value else {
            Issue.record("no condition")
            return
        }
        #expect(word(condition) == wanted)
    }

    @Test(
        "conditions refused",
        arguments: [
            "$uri", "(uri)", "()", "($uri is /a)", "($uri =)", "(-q /x)", "($uri = a b)", "( )",
        ])
    func conditionsRefused(written: String) {
        let told = refusal(server: "if \(written) { }")
        #expect(told.hasPrefix("invalid condition \""), "\(told)")
    }

    @Test(
        "inside an if",
        arguments: [
            ("if ($uri) { if ($uri) { } }", #""if" directive is not allowed here in 2:13; allowed in: server, location"#),
            ("if ($uri) { location / { } }", #""location" directive is not allowed here in 2:13; allowed in: server, location"#),
            (
                "if ($uri) { root x; }",
                #""root" directive is not allowed here in 2:13; allowed in: http, server, location, if in location"#
            ),
            ("location / { if ($uri) { root x; add_header a b; expires 1d; error_page 404 /x; } }", "accepted"),
            (
                "location / { if ($uri) { send_timeout 1s; } }",
                #""send_timeout" directive is not allowed here in 2:26; allowed in: http, server, location"#
            ),
            ("if ($uri ~ () { }", "pcre2_compile() failed: missing closing parenthesis at offset 1 in 2:12"),
            ("if ($uri) ;", #"directive "if" has no opening "{" in 2:1"#),
        ])
    func insideIf(written: String, wanted: String) {
        #expect(refusal(server: written) == wanted)
    }

    // MARK: Logs and answers

    @Test func logFormatsEscapeAndJoin() throws {
        let built = try build(
            """
            log_format a '$uri ' "$status";
            log_format b escape=json '{"u":"$uri"}';
            log_format c escape=none $uri;
            server { access_log x a; access_log y b buffer=4k flush=2s if=$arg_log; access_log /z/$host.log c; }
            """)
        let logs = built.location("").accessLogs
        #expect((0..<3).map { text(logs[$0].format) } == ["$uri $status", "{\"u\":\"$uri\"}", "$uri"])
        #expect((0..<3).map { "\(logs[$0].escaping)" } == ["log", "json", "none"])
        #expect(logs[1].bufferBytes == 4096 && logs[1].flushMs == 2000 && logs[1].hasCondition)
        #expect(text(logs[1].condition) == "$argument:log")
        #expect(logs[2].file == -1)
        #expect(text(logs[2].path) == "/z/$host.log")
    }

    @Test func withoutALogOfItsOwnAServerWritesTheUsualOne() throws {
        let built = try build("server { }")
        #expect(built.system.openedLogs == ["/dev/stderr", "/prefix/logs/access.log"])
        #expect(built.system.madeFolders == ["/prefix/logs"])
        #expect(text(built.location("").accessLogs[0].format).hasPrefix("$remoteAddr - $remoteUser [$timeLocal] \"$request\""))
    }

    @Test func onePathIsOneFile() throws {
        let built = try build("access_log a; server { access_log a; access_log b; error_log a; }")
        #expect(built.system.openedLogs.sorted() == ["/dev/stderr", "/prefix/a", "/prefix/b"])
    }

    @Test(
        "answers of return",
        arguments: [
            ("204", "return 204 "), ("200 \"a $uri\"", "return 200 a $uri"), ("301 https://$host/", "return 301 https://$host/"),
            ("http://x/", "return 302 http://x/"), ("$scheme://x/", "return 302 $scheme://x/"), ("444", "return 444 "),
        ])
    func answers(written: String, wanted: String) throws {
        #expect(steps(try build(server: "return \(written);").root.servers[0].rewrite) == [wanted])
    }

    @Test(
        "expires",
        arguments: [
            ("off", "off"), ("epoch", "epoch"), ("max", "max"), ("1h", "after(3600)"), ("-1", "after(-1)"),
            ("+1d", "after(86400)"),
        ])
    func expires(written: String, wanted: String) throws {
        #expect("\(try build("expires \(written); server { }").location("").expires)" == wanted)
    }

    @Test func pathsStartAtThePrefix() throws {
        let built = try build(
            server: "root a/; location /b { root /c; } location /d { alias e/; } location /f { root $document_root; }")
        #expect(["", "/b", "/d"].map { text(built.location($0).root) } == ["/prefix/a", "/c", "/prefix/e/"])
        #expect(text(built.location("/f").root) == "$documentRoot")
        #expect(built.location("/d").isAlias && !built.location("/b").isAlias)
    }

    @Test func namedGroupsAreVariables() throws {
        let built = try build(
            server: "server_name ~^(?<sub>.+)[.]x$; add_header A $sub; location ~ (?P<part>b) { add_header B $part; }")
        #expect(lines(built.location("").addHeaders) == ["A: $namedCapture"])
        #expect(lines(built.location("(?P<part>b)").addHeaders) == ["B: $namedCapture"])
    }

    @Test func processSettings() throws {
        let built = try build(
            whole: """
                worker_processes 3; worker_rlimit_nofile 99; worker_shutdown_timeout 5s; pid x.pid; daemon on;
                events { worker_connections 77; }
                """)
        let process = built.result.process
        #expect([process.workerProcesses, process.connectionsMax, process.descriptorsMax ?? 0] == [3, 77, 99])
        #expect(process.shutdownTimeoutMs == 5000)
        #expect(process.pidPath == "x.pid")
        #expect(process.daemon)
    }
}

extension Built {
    /// `text` in memory that outlives a look-up.
    func arenaText(_ text: String) -> ByteView { Self.words.freeze(text) }
    private static let words = Arena()
}
