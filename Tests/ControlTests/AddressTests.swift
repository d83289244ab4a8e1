// Owns how addresses and names are read: listen, server_name, proxy_pass and the servers of upstreams.

import Balancing
import Bytes
import ConfigurationFile
import Engine
import Testing

@testable import Control

@Suite("addresses and names")
struct AddressTests {
    // MARK: listen

    @Test(
        "forms of listen",
        arguments: [
            ("8080", ["0.0.0.0:8080"]), ("*:8080", ["0.0.0.0:8080"]), ("127.0.0.1:8080", ["127.0.0.1:8080"]),
            ("127.0.0.1", ["127.0.0.1:80"]), ("localhost:81", ["127.0.0.1:81"]), ("[::1]:82", ["[::1]:82"]),
            ("[::]:83", ["[::]:83"]),
            ("[::1]", ["[::1]:80"]), ("unix:/run/x.sock", ["unix:/run/x.sock"]),
            ("8000-8002", ["0.0.0.0:8000", "0.0.0.0:8001", "0.0.0.0:8002"]),
            ("127.0.0.1:90-91", ["127.0.0.1:90", "127.0.0.1:91"]),
        ])
    func listens(written: String, addresses: [String]) throws {
        #expect(try build("server { listen \(written); }").listens == addresses)
    }

    @Test(
        "listen refused",
        arguments: [
            ("0", #"invalid port in "0" of the "listen" directive in 2:8"#),
            ("127.0.0.1:65536", #"invalid port in "127.0.0.1:65536" of the "listen" directive in 2:8"#),
            ("127.0.0.1:", #"invalid port in "127.0.0.1:" of the "listen" directive in 2:8"#),
            ("9-8", #"invalid port in "9-8" of the "listen" directive in 2:8"#),
            ("[::1:80", #"missing "]" in "[::1:80" of the "listen" directive in 2:8"#),
            ("nowhere.example:80", #"host not found in "nowhere.example:80" of the "listen" directive in 2:8"#),
            ("unix:", #"invalid path of a unix socket in "unix:" of the "listen" directive in 2:8"#),
            ("80 quic", #"the "quic" parameter of "listen" is not supported yet in 2:11"#),
            ("80 ssl", #"no "ssl_certificate" is defined for the "listen ... ssl" directive in 2:1"#),
            ("80 backlog=0", #"invalid value "0" in "listen" directive, it must be a whole number from 1 to 2147483647 in 2:19"#),
            ("80 fast", #"invalid parameter "fast" of the "listen" directive in 2:11"#),
            ("80; listen *:80", "a duplicate listen 0.0.0.0:80 in 2:12"),
        ])
    func refused(written: String, wanted: String) {
        #expect(refusal(server: "listen \(written);") == wanted)
    }

    @Test func optionsOfAnAddressCountWhereverTheyAreSaid() throws {
        let built = try build(
            "server { listen 80; } server { listen 80 backlog=7 rcvbuf=8k so_keepalive=on reuseport deferred; }")
        let options = try #require(built.result.listens.first?.value)
        #expect(options.backlog == 7)
        #expect(options.receiveBufferBytes == 8192)
        #expect(options.keepalive == true)
        #expect(options.isReusePort)
        #expect(options.deferSeconds == 1)
    }

    @Test func theDefaultServerIsTheFirstUnlessSaidOtherwise() throws {
        let built = try build("server { listen 80; listen 81; } server { listen 80 default_server; listen 81; }")
        #expect((0..<2).map { built.root.listens[$0].defaultServer } == [1, 0])
        #expect(
            refusal("server { listen 80 default_server; }\nserver { listen 80 default_server; }")
                == "a duplicate default server for 0.0.0.0:80 in 3:10; the first is at 2:10")
    }

    @Test func aServerWithoutListenHasOneByWhoeverStartsIt() throws {
        let system = PlayedSystem()
        #expect(try build("server { }", on: system).listens == ["0.0.0.0:8000"])
        system.isRoot = true
        #expect(try build("server { }", on: system).listens == ["0.0.0.0:80"])
    }

    // MARK: server_name

    @Test func namesAreLoweredAndTheFirstIsTheServersOwn() throws {
        let built = try build("server { server_name WWW.Example.com example.com; } server { } server { server_name $hostname; }")
        #expect((0..<3).map { built.root.servers[$0].name.string } == ["www.example.com", "", "machine.example"])
    }

    @Test func aNameThatIsTakenIsWarnedOf() throws {
        let built = try build("server { server_name a b; }\nserver { server_name b c; }")
        #expect(built.warnings == [#"conflicting server name "b" on 0.0.0.0:8000, ignored in configuration:2:22"#])
        #expect(try build("server { listen 1; server_name a; } server { listen 2; server_name a; }").warnings == [])
    }

    @Test(
        "names refused",
        arguments: [
            (
                "a.*.b",
                #"invalid value "a.*.b" in "server_name" directive, it must be a name with "*" only as its first or last label in 2:13"#
            ),
            (
                "*a.b",
                #"invalid value "*a.b" in "server_name" directive, it must be a name with "*" only as its first or last label in 2:13"#
            ),
            ("~(", "pcre2_compile() failed: missing closing parenthesis at offset 1 in 2:13"),
            ("*.a b.* .c ~^(?<x>.)$", "accepted"),
        ])
    func names(written: String, wanted: String) {
        #expect(refusal(server: "server_name \(written);") == wanted)
    }

    // MARK: proxy_pass

    @Test(
        "targets of proxy_pass",
        arguments: [
            ("http://127.0.0.1:81", "127.0.0.1:81", nil, "127.0.0.1:81", "81"),
            ("http://127.0.0.1:81/", "127.0.0.1:81", "/", "127.0.0.1:81", "81"),
            ("http://127.0.0.1/a/b", "127.0.0.1", "/a/b", "127.0.0.1", "80"),
            ("HTTP://localhost?x=1", "localhost", "/?x=1", "localhost", "80"),
            ("http://u", "u", nil, "u", "80"), ("http://u/x", "u", "/x", "u", "80"),
            ("http://unix:/run/x.sock", "unix:/run/x.sock", nil, "localhost", ""),
            ("http://unix:/run/x.sock:/uri", "unix:/run/x.sock", "/uri", "localhost", ""),
            ("http://[::1]:82/x", "[::1]:82", "/x", "[::1]:82", "82"),
        ] as [(String, String, String?, String, String)])
    func targets(written: String, upstream: String, uri: String?, host: String, port: String) throws {
        let built = try build(server: "location /l/ { proxy_pass \(written); }", http: "upstream u { server 127.0.0.1:9; }")
        let proxy = built.location("/l/").proxy
        guard case .named(let slot) = proxy.target, case let target = built.root.targets[Int(slot)].value, target.code & 1 == 0 else {
            Issue.record("no upstream")
            return
        }
        #expect(built.snapshot.upstreams[Int(target.code >> 1)].settings.name.string == upstream)
        #expect(proxy.hasURI == (uri != nil))
        #expect(proxy.uri.string == uri ?? "")
        #expect(proxy.hostText.string == host)
        #expect(proxy.portText.string == port)
        #expect(built.location("/l/").redirectsToSlash)
    }

    @Test func anUpstreamMayStandBehindItsUse() throws {
        let built = try build("server { location / { proxy_pass http://late; } } upstream late { server 127.0.0.1:9 weight=3; }")
        #expect(built.snapshot.upstreams.count == 1)
        #expect(built.upstream("late").peers.peers.map(\.weight) == [3])
    }

    @Test func aTargetWithVariablesIsComputed() throws {
        let built = try build(server: "location / { proxy_pass http://$host$request_uri; }")
        guard case .computed(let template) = built.location("/").proxy.target else {
            Issue.record("not computed")
            return
        }
        #expect(text(template) == "http://$host$requestURI")
    }

    static let noURI =
        #""proxy_pass" cannot have URI part in location given by regular expression, or inside named location, or inside "if" statement, "#
        + #"or inside "limit_except" block"#

    @Test(
        "proxy_pass refused",
        arguments: [
            ("location / { proxy_pass 127.0.0.1; }", "invalid URL prefix in 2:25"),
            ("location / { proxy_pass ftp://127.0.0.1; }", "invalid URL prefix in 2:25"),
            ("location / { proxy_pass https:/127.0.0.1; }", "invalid URL prefix in 2:25"),
            ("location / { proxy_pass http://; }", #"no host in upstream "http://" in 2:25"#),
            ("location / { proxy_pass http:///x; }", #"no host in upstream "http:///x" in 2:25"#),
            ("location / { proxy_pass http://127.0.0.1:0; }", #"invalid port in upstream "127.0.0.1:0" in 2:25"#),
            ("location / { proxy_pass http://127.0.0.1:x; }", #"invalid port in upstream "127.0.0.1:x" in 2:25"#),
            ("location / { proxy_pass http://gone.example; }", #"host not found in upstream "gone.example" in 2:25"#),
            ("location ~ x { proxy_pass http://127.0.0.1/; }", noURI + " in 2:27"),
            ("location @x { proxy_pass http://127.0.0.1/; }", noURI + " in 2:26"),
            ("location / { if ($arg_a) { proxy_pass http://127.0.0.1/; } }", noURI + " in 2:39"),
            ("location ~ x { proxy_pass http://127.0.0.1; }", "accepted"),
            ("location ~ x { proxy_pass http://127.0.0.1$uri; }", "accepted"),
        ])
    func targetsRefused(written: String, wanted: String) {
        #expect(refusal(server: written) == wanted)
    }

    // MARK: upstream

    @Test func parametersOfServers() throws {
        let system = PlayedSystem()
        system.hosts["twins"] = ["10.0.0.1", "10.0.0.2"]
        let built = try build(
            """
            upstream u {
                server 127.0.0.1:1 weight=5 max_conns=6 max_fails=0 fail_timeout=1m;
                server twins:2 down;
                server unix:/x backup;
                server 127.0.0.1;
                keepalive 9; keepalive_requests 8; keepalive_time 7s; keepalive_timeout 6s; zone u 64k;
            }
            """, on: system)
        let (settings, upstream) = built.upstream("u")
        #expect(
            (0..<settings.peers.count).map { settings.peers[$0].address.text.string }
                == ["127.0.0.1:1", "10.0.0.1:2", "10.0.0.2:2", "unix:/x", "127.0.0.1:80"])
        #expect(
            (0..<settings.peers.count).map { settings.peers[$0].name.string }
                == ["127.0.0.1:1", "twins:2", "twins:2", "unix:/x", "127.0.0.1"])
        let first = upstream.peers[0]
        #expect([first.weight, first.maxConns, first.maxFails, Int(first.failTimeoutMs)] == [5, 6, 0, 60_000])
        let last = upstream.peers[4]
        #expect([last.weight, last.maxConns, last.maxFails, Int(last.failTimeoutMs)] == [1, 0, 1, 10_000])
        #expect(upstream.peers.map(\.isDown) == [false, true, true, false, false])
        #expect(upstream.peers.map(\.isBackup) == [false, false, false, true, false])
        #expect(settings.keepalive == 9 && settings.keepaliveRequests == 8 && !settings.keepaliveIsLocal)
        #expect(settings.keepaliveTimeMs == 7000 && settings.keepaliveTimeoutMs == 6000)
    }

    @Test func guardsOfAnUpstream() throws {
        let built = try build(
            """
            upstream u { server 127.0.0.1:1 slow_start=1m; server 127.0.0.1:2; }
            upstream v {
                least_conn; server 127.0.0.1:1; outlier_detection; retry_budget; circuit_breaker max_pending=7; panic_threshold 0; queue 5;
            }
            upstream w {
                server 127.0.0.1:1; retry_budget 50% min=1; circuit_breaker max_requests=9 max_pending=8; queue 6 timeout=1500ms;
                outlier_detection consecutive_5xx=3 error_ratio=10% latency=150 interval=500ms min_requests=7 base_ejection_time=10s
                    max_ejection_time=5s max_ejection_percent=20%;
            }
            """)
        let (u, peers) = built.upstream("u")
        #expect(peers.peers.map(\.slowStartMs) == [60_000, 0])
        #expect(u.health == HealthPolicy() && u.health.panicPercent == 50 && !u.limits.hasRetryBudget && u.limits.queueMax == 0)
        #expect(u.limits.activeMax == .max && u.limits.pendingMax == .max && !u.limits.countsActive)
        let (v, _) = built.upstream("v")
        #expect(v.health.outliers == OutlierPolicy() && v.health.panicPercent == 0)
        #expect(v.limits.hasRetryBudget && v.limits.retryBudget == RetryBudget() && v.limits.countsActive)
        #expect(v.limits.activeMax == .max && v.limits.pendingMax == 7 && v.limits.queueMax == 5 && v.limits.queueTimeoutMs == 60_000)
        let (w, _) = built.upstream("w")
        #expect(w.limits.retryBudget.percent == 50 && w.limits.retryBudget.least == 1)
        #expect(w.limits.activeMax == 9 && w.limits.pendingMax == 8 && w.limits.queueTimeoutMs == 1500)
        var policy = OutlierPolicy()
        (policy.consecutiveErrors, policy.errorPercent, policy.latencyPercent, policy.intervalMs) = (3, 10, 150, 500)
        (policy.requestsMin, policy.ejectionMs, policy.ejectionMsMax, policy.ejectedPercentMax) = (7, 10_000, 10_000, 20)
        #expect(w.health.outliers == policy)
    }

    @Test(
        "ways to choose",
        arguments: [
            ("", Algorithm.roundRobin), ("least_conn;", .leastConn), ("ip_hash;", .ipHash), ("hash $uri;", .hash),
            ("hash $uri consistent;", .hashConsistent), ("random;", .random), ("random two;", .randomTwo),
            ("random two least_conn;", .randomTwo),
        ])
    func methods(written: String, algorithm: Algorithm) throws {
        let built = try build("upstream u { \(written) server 127.0.0.1:1; }")
        #expect(built.upstream("u").settings.algorithm == algorithm)
        #expect((built.upstream("u").peers.ring != nil) == (algorithm == .hashConsistent))
        #expect(built.warnings == [])
    }

    @Test func aSecondWayToChooseReplacesTheFirstWithAWarning() throws {
        let built = try build("upstream u { least_conn; ip_hash; server 127.0.0.1:1; }")
        #expect(built.upstream("u").settings.algorithm == .ipHash)
        #expect(built.warnings.count == 1)
        #expect(built.warnings.first?.hasPrefix("load balancing method redefined") == true)
    }

    static let parameters = "it must be weight=N, max_conns=N, max_fails=N, fail_timeout=TIME, slow_start=TIME, backup, down or drain"

    @Test(
        "upstreams refused",
        arguments: [
            ("", "no servers are inside upstream in 2:1"),
            ("server 127.0.0.1:0;", #"invalid port in upstream "127.0.0.1:0" in 2:21"#),
            ("server gone.example;", #"host not found in upstream "gone.example" in 2:21"#),
            (
                "server 127.0.0.1 weight=-1;",
                #"invalid value "-1" in "server" directive, it must be a whole number from 0 to 1000000 in 2:38"#
            ),
            (
                "server 127.0.0.1 wieght=2;",
                #"invalid value "wieght=2" in "server" directive, \#(parameters) in 2:31; did you mean "weight"?"#
            ),
            ("server 127.0.0.1 spare;", #"invalid value "spare" in "server" directive, \#(parameters) in 2:31"#),
            (
                "server 127.0.0.1 resolve;",
                #"invalid value "resolve" in "server" directive, it must be a parameter that is supported ("resolve" is not yet) in 2:31"#
            ),
            ("ip_hash; server 127.0.0.1 backup;", #"balancing method does not support parameter "backup" in 2:23"#),
            (
                "hash $uri often; server 127.0.0.1;",
                #"invalid value "often" in "hash" directive, it must be "consistent" in 2:24"#
            ),
            ("random three; server 127.0.0.1;", #"invalid value "three" in "random" directive, it must be "two" in 2:21"#),
            (
                "server 127.0.0.1; keepalive 2 global;",
                #"invalid value "global" in "keepalive" directive, it must be "local" in 2:44"#
            ),
            (
                "server 127.0.0.1; root x;",
                #""root" directive is not allowed here in 2:32; allowed in: http, server, location, if in location"#
            ),
            ("least_conn; server 127.0.0.1; server 127.0.0.2 backup;", "accepted"),
            (
                "ip_hash; server 127.0.0.1; server 127.0.0.2 slow_start=30s;",
                #"balancing method does not support parameter "slow_start" in 2:41"#
            ),
            ("least_conn; server 127.0.0.1; server 127.0.0.2 slow_start=30s;", "accepted"),
            ("queue 10 timeout=5s; server 127.0.0.1;", "accepted"),
            ("queue 0; server 127.0.0.1;", #"found "0", expected a whole number from 1 to 100000 in 2:20"#),
            (
                "queue 1 timout=5s; server 127.0.0.1;",
                #"found "timout=5s" in queue, expected timeout= in 2:20; did you mean "timeout"?"#
            ),
            ("circuit_breaker max_requests=many; server 127.0.0.1;", #"found "max_requests=many", expected a whole number in 2:30"#),
            ("retry_budget 5s; server 127.0.0.1;", #"found "5s", expected a whole number in 2:27"#),
            (
                "outlier_detection interval=1x; server 127.0.0.1;",
                #"found "interval=1x", expected a time such as 500ms, 30s or 1h30m in 2:32"#
            ),
            (
                "outlier_detection interval=1s interval=2s; server 127.0.0.1;",
                #"found "interval" a second time in outlier_detection, expected it once in 2:32"#
            ),
            (
                "outlier_detection latency=90%; server 127.0.0.1;",
                #"found "latency=90%", expected more than 100 percent of that of the siblings, or 0 in 2:32"#
            ),
            ("panic_threshold 101%; server 127.0.0.1;", #"invalid value "101" in "panic_threshold" directive, it must be a whole number from 0 to 100 in 2:30"#),
        ])
    func upstreamsRefused(written: String, wanted: String) {
        #expect(refusal("upstream u { \(written) }") == wanted)
    }
}
