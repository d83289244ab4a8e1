import ConfigurationFile
import TestChance
import Testing

@testable import AdminAPI

@Suite struct StateExportTests {
    static let state: ProxyState = {
        var state = sampleState
        state[upstream: "blue"].balance = "hash $uri consistent"
        state[upstream: "blue"].keepalive = 32
        state[upstream: "blue"].keepaliveIsLocal = true
        state[upstream: "blue"].keepaliveRequests = 100
        state[upstream: "blue"].keepaliveTimeMs = 1500
        state[upstream: "blue"].keepaliveTimeoutMs = 90_000
        state[upstream: "blue"].sticky = "cookie srv 'path=/a b'"
        var check = HealthCheck()
        (check.uri, check.intervalMs, check.fails, check.mandatory, check.match) = ("/health", 1500, 3, true, "fine")
        state[upstream: "blue"].healthChecks = [check, HealthCheck()]
        state[upstream: "blue"].servers[0].drain = true
        state[upstream: "blue"].servers[1] = server("127.0.0.1:3002", id: 1) {
            $0.weight = 0
            $0.maxConns = 10
            $0.maxFails = 3
            $0.failTimeoutMs = 29_001
            $0.backup = true
            $0.down = true
        }
        state[split: "app"].key = ["$cookie_sid", "${remote_addr}; x"]
        state[split: "app"].force = "$arg_variant"
        state[split: "app"].assign = AssignState(cookie: "sid", maxAgeSeconds: 2_592_000)
        var shadow = ShadowState(to: "green")
        (shadow.share, shadow.noise, shadow.headers) = (10, 30, ["X-A", "Content-Type"])
        state[split: "app"].shadow = shadow
        return state
    }()

    @Test func isTextOfTheConfiguration() {
        #expect(
            exported(Self.state) == #"""
                upstream blue {
                    hash $uri consistent;
                    server 127.0.0.1:3001 drain;
                    server 127.0.0.1:3002 weight=0 max_conns=10 max_fails=3 fail_timeout=30s backup down;
                    sticky cookie srv "path=/a b";
                    keepalive 32 local;
                    keepalive_requests 100;
                    keepalive_time 1s500ms;
                    keepalive_timeout 1m30s;
                    health_check uri=/health interval=1s500ms fails=3 match=fine mandatory;
                    health_check;
                }

                upstream green {
                    server 127.0.0.1:4001;
                }

                split app {
                    blue 90;
                    green 10;
                    key $cookie_sid "${remote_addr}; x";
                    force $arg_variant;
                    assign cookie=sid max_age=30d;
                    shadow green share=10% noise=30% header=X-A header=Content-Type;
                }

                """#)
        #expect(exported(ProxyState()) == "")
    }

    /// Rules that stand in a check have no words there: they become a block with a name that nobody has.
    @Test func rulesOfAHealthCheckAreABlock() throws {
        var state = ProxyState(upstreams: ["blue": UpstreamState(servers: [ServerState(server: "127.0.0.1:1")])])
        var (first, second, named) = (HealthCheck(), HealthCheck(), HealthCheck())
        first.rules = try HealthMatch(json: parsed(#"{"status": "200-299 !204", "header": ["Content-Type ~ json; x", "! X-Bad", "Via", "A = b  c"], "body": ["~ \"status\": ?\"ok\"", "!~* error {2}"]}"#))
        (second.kind, second.rules) = (.tcp, try HealthMatch(json: parsed(#"{"send": "PING\\x0d\\x0a", "expect": "~ ^.PONG"}"#)))
        (named.uri, named.match) = ("/n", "blue_match")
        state.upstreams["blue"]?.healthChecks = [first, second, named]
        #expect(
            exported(state) == #"""
                match blue_match2 {
                    status 200-299 !204;
                    header Content-Type ~ "json; x";
                    header ! X-Bad;
                    header Via;
                    header A = "b  c";
                    body ~ "\"status\": ?\"ok\"";
                    body !~* "error {2}";
                }

                match blue_match3 {
                    send "PING\\x0d\\x0a";
                    expect ~ ^.PONG;
                }

                upstream blue {
                    server 127.0.0.1:1;
                    health_check match=blue_match2;
                    health_check type=tcp match=blue_match3;
                    health_check uri=/n match=blue_match;
                }

                """#)
    }

    @Test func rulesOfAHealthCheckComeBack() throws {
        let json = try parsed(#"{"body": ["~ a b"], "expect": "x", "header": ["A", "! B"], "send": "~ y", "status": "! 500"}"#)
        let match = try HealthMatch(json: json)
        #expect(match.json == json)
        #expect(match.lines.map(\.words) == [
            ["status", "!", "500"], ["header", "A"], ["header", "!", "B"], ["body", "~", "a b"], ["send", "~ y"], ["expect", "x"],
        ])
        #expect(match.lines.map(\.pointer) == ["/status", "/header/0", "/header/1", "/body/0", "/send", "/expect"])
        let check = try HealthCheck(json: parsed(#"{"match": {"status": "200"}}"#))
        #expect(check.match == nil && check.rules?.status == "200")
        #expect(try HealthCheck(json: check.json) == check)
        let cases = [
            (#"{"match": {"statuss": "200"}}"#, "/match/statuss"), (#"{"match": {"header": "A"}}"#, "/match/header"),
            (#"{"match": {"header": [1]}}"#, "/match/header/0"), (#"{"match": 7}"#, "/match"),
        ]
        for (text, pointer) in cases {
            let json = try parsed(text)
            #expect(problem { () throws(Problem) in try HealthCheck(json: json) }?.pointer == pointer, "\(text)")
        }
    }

    /// Whatever a value holds, it stays one word of its directive.
    @Test(arguments: [
        "a", "", "a b", "a;b", "a{b}", "}", "#a", "a#b", "\"", "'", "a\"b'", "\\", "a\\", "\\n", "\n\r\t", "${a}", "$a{", "é",
        "a\u{0}b", "\\\\\"",
        "x; } server { listen 80; } upstream y { server z",
    ])
    func aWordStaysOne(_ text: String) throws {
        let line = "name \(ConfigurationWords.quoted(text)) end;"
        let tree = try parse(Array(line.utf8), file: "x")
        #expect(tree.count == 1)
        #expect(tree[0].arguments.map(\.text) == [text, "end"])
        // As an address, a template and a way of balancing.
        var state = sampleState
        state[upstream: "blue"].servers[0].server = text
        if text.unicodeScalars.allSatisfy({ $0.value >= 0x20 }) {
            state[upstream: "blue"].balance = "hash " + ConfigurationWords.quoted(text)
        }
        state[split: "app"].key = [text]
        #expect(try read(exported(state)) == withoutIDs(state))
    }

    @Test func whatTheRulesRefuseStaysOneWord() throws {
        var state = sampleState
        state[upstream: "blue"].balance = "least_conn; server x"
        state[upstream: "blue"].sticky = "a\n\""
        let tree = try parse(Array(exported(state).utf8), file: "x")
        #expect(tree.count == 3)
        #expect(tree[0].block?.map(\.name.text) == ["least_conn; server x", "server", "server", "sticky"])
    }

    @Test func whatIsExportedIsReadBack() throws {
        var dice = SeededNumbers(state: 3)
        for _ in 0..<150 {
            let state = dice.changed(dice.proxyState())
            #expect(try read(exported(state)) == withoutIDs(state))
        }
    }

    /// The state that configuration text says, by the grammar alone.
    private func read(_ text: String) throws -> ProxyState {
        var state = ProxyState()
        for directive in try parse(Array(text.utf8), file: "x") {
            let name = try #require(directive.arguments.first).text
            let block = try #require(directive.block)
            if directive.name == "upstream" {
                state.upstreams[name] = try readUpstream(block)
            } else {
                #expect(directive.name == "split")
                state.splits[name] = try readSplit(block)
            }
        }
        return state
    }

    private func readUpstream(_ block: [Directive]) throws -> UpstreamState {
        var upstream = UpstreamState()
        for directive in block {
            let words: [String] = directive.arguments.map(\.text)
            switch directive.name.text {
            case "server": upstream.servers.append(try readServer(words))
            case "sticky": upstream.sticky = joined(words)
            case "outlier_detection": upstream.outlierDetection = joined(words)
            case "circuit_breaker": upstream.circuitBreaker = joined(words)
            case "retry_budget": upstream.retryBudget = joined(words)
            case "queue": upstream.queue = joined(words)
            case "health_check": upstream.healthChecks.append(try HealthCheck(words: words))
            case "panic_threshold": upstream.panicThreshold = Int(words[0].dropLast())
            case "keepalive":
                upstream.keepalive = Int(words[0])
                upstream.keepaliveIsLocal = words.count > 1
            case "keepalive_requests": upstream.keepaliveRequests = try #require(Int(words[0]))
            case "keepalive_time": upstream.keepaliveTimeMs = Int64(try directive.arguments[0].milliseconds(of: "x"))
            case "keepalive_timeout": upstream.keepaliveTimeoutMs = Int64(try directive.arguments[0].milliseconds(of: "x"))
            default: upstream.balance = joined([directive.name.text] + words)
            }
        }
        return upstream
    }

    private func joined(_ words: [String]) -> String { words.map(ConfigurationWords.quoted).joined(separator: " ") }

    private func readServer(_ words: [String]) throws -> ServerState {
        var server = ServerState(server: words[0])
        for word in words.dropFirst() {
            let sides = word.split(separator: "=").map(String.init)
            switch sides[0] {
            case "backup": server.backup = true
            case "down": server.down = true
            case "drain": server.drain = true
            case "weight": server.weight = try #require(Int(sides[1]))
            case "max_conns": server.maxConns = try #require(Int(sides[1]))
            case "max_fails": server.maxFails = try #require(Int(sides[1]))
            case "slow_start": server.slowStartMs = try #require(NginxTime.ms(sides[1], isInSeconds: true))
            case "fail_timeout": server.failTimeoutMs = Int64(try Units.seconds(Array(sides[1].utf8))) * 1000
            default: Issue.record("\(word)")
            }
        }
        return server
    }

    private func readSplit(_ block: [Directive]) throws -> SplitState {
        var split = SplitState(weights: [:])
        for directive in block {
            let words: [String] = directive.arguments.map(\.text)
            switch directive.name.text {
            case "key": split.key = words
            case "force": split.force = words[0]
            case "assign":
                split.assign = AssignState(
                    cookie: String(words[0].dropFirst("cookie=".count)),
                    maxAgeSeconds: Int64(try Units.seconds(Array(words[1].dropFirst("max_age=".count).utf8))))
            case "shadow":
                var shadow = ShadowState(to: words[0])
                for word in words.dropFirst() {
                    let value = String(word.drop { $0 != "=" }.dropFirst())
                    if word.hasPrefix("share=") { shadow.share = Int(value.dropLast()) ?? -1 }
                    if word.hasPrefix("noise=") { shadow.noise = Int(value.dropLast()) ?? -1 }
                    if word.hasPrefix("header=") { shadow.headers.append(value) }
                }
                split.shadow = shadow
            default: split.weights[directive.name.text] = Int(words[0])
            }
        }
        return split
    }
}
