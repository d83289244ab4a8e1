// Owns what health_check, match and upstream_health come to, and the words in which they are refused.

import AdminAPI
import Engine
import Health
import Testing

@testable import Control

@Suite("health directives")
struct HealthDirectiveTests {
    private func checks(_ lines: String, _ http: String = "") throws -> [HealthCheck] {
        try build("\(http) upstream u { server 127.0.0.1:1; \(lines) }").result.state.upstreams["u"]?.healthChecks ?? []
    }

    @Test func aCheckHasTheDefaultsOfNGINXPlus() throws {
        let check = try #require(try checks("health_check;").first)
        #expect(check == HealthCheck())
        #expect(check.kind == .http && check.uri == "/" && check.intervalMs == 5000 && check.fails == 1 && check.passes == 1)
        #expect(check.effectiveTimeoutMs == 5000 && check.mandatory == nil && check.gate == "/")
    }

    @Test func everyParameterIsRead() throws {
        let check = try #require(
            try checks(
                "health_check name=n uri=/h?a=b host=app port=81 interval=300ms jitter=1s timeout=2s fails=3 passes=4 match=m start_period=90s mandatory persistent;",
                "match m { status 200; }"
            ).first)
        #expect((check.name, check.uri, check.host, check.port) == ("n", "/h?a=b", "app", 81))
        #expect((check.intervalMs, check.jitterMs, check.timeoutMs, check.startPeriodMs) == (300, 1000, 2000, 90_000))
        #expect((check.fails, check.passes, check.match, check.mandatory, check.persistent) == (3, 4, "m", true, true))
        let others = try checks("health_check type=tcp; health_check type=grpc grpc_service=s grpc_status=12; health_check mandatory=off type=https port=82;")
        #expect(others.map(\.gate) == ["tcp", "grpc/s", ":82/"])
        #expect(others[1].grpcStatus == 12 && others[2].mandatory == false)
    }

    /// The words and the JSON of a check say the same.
    @Test(arguments: [
        "", "uri=/a", "type=tcp port=1", "type=grpcs host=h grpc_service=a.B grpc_status=0 name=x", "interval=1h jitter=1s500ms fails=2 mandatory=off persistent",
    ])
    func wordsAndJSONAgree(_ text: String) throws {
        let check = try HealthCheck(words: text.split(separator: " ").map(String.init))
        #expect(try HealthCheck(words: check.words) == check)
        #expect(try HealthCheck(json: check.json) == check)
    }

    @Test func aMatchIsRead() throws {
        let built = try build(
            #"match m { status 200-299 301 !204; header A; header ! B; header C = d; header E !~ f; body ~ "g h"; body !~* i; } match t { send "a\x00b"; expect ~ c; } match n { status ! 500-599; }"#)
        let rules = try #require(built.result.routes.matches["m"]?.rules)
        #expect(rules.status == StatusRule(accepted: [200...299, 301...301], refused: [204...204]))
        #expect(rules.fields == [FieldRule("a"), FieldRule("b", isAbsent: true), FieldRule("c", .equals("d")), FieldRule("e", .misses(0, pattern: "f"))])
        #expect(rules.bodies == [.matches(1, pattern: "g h"), .misses(2, pattern: "(?i)i")])
        let plain = try #require(built.result.routes.matches["t"]?.rules)
        #expect(plain.send == [97, 0, 98] && plain.expect == .matches(0, pattern: "c"))
        #expect(built.result.routes.matches["n"]?.rules.status == StatusRule(refused: [500...599]))
    }

    // MARK: Rules in JSON

    private func put(_ check: String, _ desk: AdminDesk) -> Asked {
        desk.ask("PUT", "/upstreams/spare", #"{"servers": [{"server": "127.0.0.1:9"}], "health_checks": [\#(check)]}"#)
    }

    @Test func rulesInACheckAreTheLinesOfABlock() throws {
        let desk = try AdminDesk()
        let match = #"{"status": "200-299 !204", "header": ["A", "! B", "C = d e", "E !~ f"], "body": ["~ g h", "!~* i"]}"#
        #expect(put(#"{"uri": "/h", "match": \#(match)}"#, desk).status == 200)
        let rules = try MatchReader.read(try #require(desk.controller.running.state.upstreams["spare"]?.healthChecks.first?.rules)).rules
        #expect(rules.status == StatusRule(accepted: [200...299], refused: [204...204]))
        #expect(rules.fields == [FieldRule("a"), FieldRule("b", isAbsent: true), FieldRule("c", .equals("d e")), FieldRule("e", .misses(0, pattern: "f"))])
        #expect(rules.bodies == [.matches(1, pattern: "g h"), .misses(2, pattern: "(?i)i")])
        // It comes back as it went, and is the configuration's in the export.
        let shown = desk.ask("GET", "/upstreams/spare").json["health_checks"]?.array?.first?["match"]
        #expect(shown == (try JSON.parse(Array(match.utf8)).merging(.members([:]))))
        #expect(desk.ask("GET", "/export").text.contains("match spare_match {\n    status 200-299 !204;\n    header A;\n"))
        // Changed rules are another gate's, the same are not.
        #expect(put(#"{"uri": "/h", "match": \#(match)}"#, desk).json["changed"] == false)
        #expect(put(#"{"uri": "/h", "match": {"status": "200"}}"#, desk).json["changed"] == true)
        #expect(put(#"{"type": "tcp", "match": {"send": "a\\u0000b\\\\x00", "expect": "~ c"}}"#, desk).status == 200)
        // Bytes that are no text.
        var greeting = HealthMatch()
        greeting.expect = #"\xFFok"#
        #expect(try MatchReader.read(greeting).rules.expect == .isBytes([0xFF, 0x6F, 0x6B]))
    }

    @Test(arguments: [
        (#"{"status": "2000"}"#, "/status", "invalid value"), (#"{"header": ["A", "B ~ ("]}"#, "/header/1", "pcre2_compile() failed"),
        (#"{"header": ["A ? b"]}"#, "/header/0", "expected NAME, ! NAME, or NAME with"), (#"{"header": [""]}"#, "/header/0", "expected NAME"), (#"{"header": ["! "]}"#, "/header/0", "expected NAME"), (#"{"body": ["ok"]}"#, "/body/0", "~ or !~"),
        (#"{"send": "x"}"#, "", "which are for the type tcp"), (#"{"body": ["~ \#(String(repeating: "x", count: 1100))"]}"#, "/body/0", "at most 1024"),
        (#"{"body": [\#(Array(repeating: #""~ a""#, count: 33).joined(separator: ","))]}"#, "", "33 lines"),
        (#"{"stauts": "200"}"#, "/stauts", "did you mean \"status\"?"),
    ])
    func rulesThatAreNone(_ match: String, _ pointer: String, _ words: String) throws {
        let desk = try AdminDesk()
        let before = desk.everything
        let asked = put(#"{"uri": "/h"}, {"uri": "/i", "match": \#(match)}"#, desk)
        #expect(asked.status == 422, "\(asked.text)")
        #expect(asked.pointer == "/health_checks/1/match" + pointer)
        #expect(asked.text.contains(words.replacing("\"", with: "\\\"")), "\(asked.text)")
        #expect(desk.everything == before)
    }

    @Test func aLocationsCheckIsItsUpstreams() throws {
        let built = try build(
            "upstream u { server 127.0.0.1:1; } server { location /a { proxy_pass https://u; health_check uri=/h; } location /b { proxy_pass https://u; health_check uri=/h; location /b/c { return 204; } } }")
        let found = built.result.state.upstreams["u"]?.healthChecks ?? []
        #expect(found.map(\.gate) == ["/h"] && found.first?.kind == .https)
    }

    @Test(
        "refusals",
        arguments: [
            ("upstream u { server 127.0.0.1:1; health_check uri=health; }", #"found "health", expected a path that begins with "/", without spaces in 2:47"#),
            ("upstream u { server 127.0.0.1:1; health_check intervall=1s; }", #"did you mean "interval"?"#),
            ("upstream u { server 127.0.0.1:1; health_check interval=1ms; }", "expected a time of 10ms to 1d in 2:47"),
            ("upstream u { server 127.0.0.1:1; health_check type=http2; }", #"found the type "http2", expected one of http, https, tcp, grpc, grpcs in 2:47; did you mean "http"?"#),
            ("upstream u { server 127.0.0.1:1; health_check fails=0; }", "expected a whole number from 1 to 1000"),
            ("upstream u { server 127.0.0.1:1; health_check uri=/a uri=/b; }", #"found "uri" a second time in health_check"#),
            ("upstream u { server 127.0.0.1:1; health_check type=tcp uri=/a; }", "found a uri with the type tcp, expected none"),
            ("upstream u { server 127.0.0.1:1; health_check grpc_service=a; }", "expected type=grpc"),
            (
                "upstream u { server 127.0.0.1:1; health_check; health_check port=80; health_check fails=2; }",
                #"duplicate health check "/" in upstream "u" in 2:70; the first is at 2:34; another name is given with name="#
            ),
            ("match fine { } upstream u { server 127.0.0.1:1; health_check match=fin; }", #"no match block "fin" is defined in 2:49; did you mean "fine"?"#),
            ("match t { send a; } upstream u { server 127.0.0.1:1; health_check match=t; }", "has send or expect, which are for the type tcp"),
            ("match h { status 200; } upstream u { server 127.0.0.1:1; health_check type=tcp match=h; }", "has status, header or body, which are for the types http"),
            ("match m { status 20; }", #"invalid value "20""#), ("match m { status 300-200; }", "300-200"),
            ("match m { body = a; }", #"invalid value "=""#), ("match m { body ~ (; }", "pcre2_compile() failed: missing closing parenthesis"),
            ("match m { header; }", "invalid number of arguments"), ("match m { header A like b; }", "like"),
            ("match m { require $a; }", #""require" is not supported in a match block"#),
            ("match m { stats 200; }", #"unknown line "stats" in a match block in 2:11; did you mean "status"?"#),
            ("match m { status 200; status 300; }", #""status" directive is duplicate"#), ("match m { } match m { }", #""match" directive is duplicate"#),
            ("server { location / { proxy_pass http://127.0.0.1:1; health_check; } }", #"no upstream block "127.0.0.1:1" is defined for this check"#),
            ("server { location / { return 200; health_check; } }", "no upstream is named by the proxy_pass of this location"),
            ("server { location / { upstream_health u; } }", #"no upstream "u" is defined in 2:39"#),
            ("upstream u { server 127.0.0.1:1; } split s { u 1; } server { location / { upstream_health s; } }", #"no upstream "s" is defined"#),
            ("upstream u { server 127.0.0.1:1; } server { location / { upstream_health u least=1; } }", #"invalid value "least=1""#),
        ])
    func refusals(text: String, words: String) {
        #expect(refusal(text).contains(words), "\(refusal(text))")
    }

    @Test func problemsPointAtTheField() throws {
        func problem(_ body: String) -> (kind: Problem.Kind?, pointer: String?) {
            do {
                let state = try UpstreamState(body: Array(body.utf8))
                try StateRules.check(upstream: state)
                return (nil, nil)
            } catch { return (error.kind, error.pointer) }
        }
        let server = #""servers": [{"server": "127.0.0.1:1"}]"#
        #expect(problem(#"{\#(server), "health_checks": [{}, {"interval": "1ms"}]}"#) == (.outOfRange, "/health_checks/1/interval"))
        #expect(problem(#"{\#(server), "health_checks": [{"uri": "x"}]}"#) == (.badCheck, "/health_checks/0/uri"))
        #expect(problem(#"{\#(server), "health_checks": [{"type": "htp"}]}"#) == (.badCheck, "/health_checks/0/type"))
        #expect(problem(#"{\#(server), "health_checks": [{"ur": "x"}]}"#) == (.unknownField, "/health_checks/0/ur"))
        #expect(problem(#"{\#(server), "health_checks": [{}, {}]}"#) == (.badCheck, "/health_checks/1/name"))
        #expect(problem(#"{\#(server), "health_checks": {}}"#) == (.wrongType, "/health_checks"))
        #expect(problem(#"{\#(server), "health_checks": [{"uri": "/a"}, {"type": "tcp"}]}"#) == (nil, nil))
    }
}
