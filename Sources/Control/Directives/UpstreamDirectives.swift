// Directives of `upstream {}`: servers, the way to choose among them, idle connections.

import AdminAPI
import ConfigurationFile
import Engine

/// One `upstream {}` while the configuration is read.
struct UpstreamDraft {
    var name: String
    var state = UpstreamState()
    /// Of each server line.
    var positions: [Position] = []
    /// Of each health_check line.
    var checkPositions: [Position] = []
    var position: Position
    /// Where the way of balancing was named.
    var method: Directive?

    init(name: String, position: Position) {
        self.name = name
        self.position = position
    }
}

enum UpstreamDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("server", [.upstream], 1...(.max), isUnique: false) { (scope, d) throws(Diagnostic) in try server(scope, d) },
        method("least_conn", 0...0), method("ip_hash", 0...0), method("hash", 1...2), method("random", 0...2),
        DirectiveRule("sticky", [.upstream], 2...(.max)) { (scope, d) throws(Diagnostic) in
            let sticky = try Sticky(d.arguments, of: d)
            for word in [sticky.domain, sticky.sameSite].compactMap(\.self) { _ = try scope.builder.template(word, of: "sticky") }
            scope.upstream?.state.sticky = d.arguments.map { ConfigurationWords.quoted($0.text) }.joined(separator: " ")
        },
        DirectiveRule("keepalive", [.upstream], 1...2) { (scope, d) throws(Diagnostic) in
            let count = try d.arguments[0].integer(in: 0...1_000_000, of: "keepalive")
            scope.upstream?.state.keepalive = count
            scope.upstream?.state.keepaliveIsLocal = d.arguments.count == 2 && d.arguments[1] == "local"
            if d.arguments.count == 2, !(d.arguments[1] == "local") { throw .invalidValue(d.arguments[1], of: "keepalive", expected: "\"local\"") }
        },
        DirectiveRule("keepalive_requests", [.upstream], 1...1) { (scope, d) throws(Diagnostic) in
            scope.upstream?.state.keepaliveRequests = try d.arguments[0].integer(in: 1...Int(Int32.max), of: "keepalive_requests")
        },
        DirectiveRule("keepalive_time", [.upstream], 1...1) { (scope, d) throws(Diagnostic) in
            scope.upstream?.state.keepaliveTimeMs = Int64(try d.arguments[0].milliseconds(of: "keepalive_time"))
        },
        DirectiveRule("keepalive_timeout", [.upstream], 1...1) { (scope, d) throws(Diagnostic) in
            scope.upstream?.state.keepaliveTimeoutMs = Int64(try d.arguments[0].milliseconds(of: "keepalive_timeout"))
        },
        words(QueueWords.self, 1...2) { $0.queue = $1 },
        words(OutlierDetection.self, 0...8) { $0.outlierDetection = $1 },
        words(RetryBudgetWords.self, 0...2) { $0.retryBudget = $1 },
        words(CircuitBreakerWords.self, 1...2) { $0.circuitBreaker = $1 },
        DirectiveRule("panic_threshold", [.upstream], 1...1, isOwn: true) { (scope, d) throws(Diagnostic) in
            let text = d.arguments[0].text
            let word = Word(text.hasSuffix("%") ? String(text.dropLast()) : text, position: d.arguments[0].position)
            scope.upstream?.state.panicThreshold = try word.integer(in: 0...100, of: "panic_threshold")
        },
        .accepted("zone", [.upstream], 1...2, why: "the counters of peers are always shared by all workers"),
    ]

    /// A directive whose words the state keeps as they are.
    private static func words<Words: UpstreamGuard>(
        _ type: Words.Type, _ arguments: ClosedRange<Int>, _ keep: @escaping @Sendable (inout UpstreamState, String) -> Void
    ) -> DirectiveRule {
        DirectiveRule(Words.name, [.upstream], arguments, isOwn: true) { (scope, d) throws(Diagnostic) in
            do throws(Problem) {
                let text = try Words(words: d.arguments.map(\.text)).text
                if var state = scope.upstream?.state {
                    keep(&state, text)
                    scope.upstream?.state = state
                }
            } catch {
                throw Diagnostic(
                    at: d.arguments.first?.position ?? d.position, directive: Words.name, error.detail, found: "",
                    expected: "", hint: error.hint.isEmpty ? nil : error.hint)
            }
        }
    }

    private static func method(_ name: String, _ arguments: ClosedRange<Int>) -> DirectiveRule {
        DirectiveRule(name, [.upstream], arguments) { (scope, d) throws(Diagnostic) in
            guard var upstream = scope.upstream else { return }
            if let other = upstream.method {
                scope.builder.warnings.append(
                    Diagnostic(
                        at: d.position, directive: name, "load balancing method redefined", found: name, expected: "one method in an upstream",
                        hint: "the first is \"\(other.name.text)\" at \(other.position)"))
            }
            upstream.method = d
            if let key = try Balance(d).key { _ = try scope.builder.template(key, of: name) }
            upstream.state.balance = Balance.text(of: d)
            scope.upstream = upstream
        }
    }

    private static func server(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let word = d.arguments[0]
        _ = try scope.builder.addresses(word.text, at: word, of: "server")
        var server = ServerState(server: word.text)
        for parameter in d.arguments.dropFirst() {
            switch parameter.text {
            case "backup": server.backup = true
            case "down": server.down = true
            case "drain": server.drain = true
            case "resolve":
                throw .invalidValue(parameter, of: "server", expected: "a parameter that is supported (\"resolve\" is not yet)")
            default: try set(parameter, &server)
            }
        }
        server.id = scope.upstream?.state.nextServerID ?? 0
        scope.upstream?.state.nextServerID += 1
        scope.upstream?.state.servers.append(server)
        scope.upstream?.positions.append(d.position)
    }

    private static let parameters = "weight=N, max_conns=N, max_fails=N, fail_timeout=TIME, slow_start=TIME, backup, down or drain"

    private static func set(_ parameter: Word, _ server: inout ServerState) throws(Diagnostic) {
        guard let (name, value) = parameter.parameter else {
            throw .invalidValue(
                parameter, of: "server", expected: parameters)
        }
        switch name {
        case "weight": server.weight = try value.integer(in: 0...1_000_000, of: "server")
        case "max_conns": server.maxConns = try value.integer(in: 0...Int(Int32.max), of: "server")
        case "max_fails": server.maxFails = try value.integer(in: 0...Int(Int32.max), of: "server")
        case "fail_timeout": server.failTimeoutMs = Int64(try value.seconds(of: "server")) * 1000
        case "slow_start": server.slowStartMs = Int64(try value.seconds(of: "server")) * 1000
        default:
            throw .invalidValue(
                parameter, of: "server", expected: parameters,
                hint: nearestName(to: name, among: ["weight", "max_conns", "max_fails", "fail_timeout", "slow_start"]).map { "did you mean \"\($0)\"?" })
        }
    }
}
