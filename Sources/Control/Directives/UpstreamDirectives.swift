// Directives of `upstream {}`: servers, the way to choose among them, idle connections.

import Balancing
import Bytes
import ConfigurationFile
import Engine

/// One `upstream {}`, or what `proxy_pass` names directly, while the configuration is read.
struct UpstreamDraft {
    var name: String
    var isImplicit: Bool
    var algorithm = Algorithm.roundRobin
    var hashKey = Template.empty
    var servers: [ServerLine] = []
    var settings: UpstreamSettings
    var specs: [PeerSpec] = []
    var ring: HashRing?
    var position: Position
    /// Where the way of balancing was named.
    var method: Directive?

    /// One `server` line: possibly several addresses.
    struct ServerLine {
        var text: String
        var addresses: [(bytes: [UInt8], text: String)]
        var weight = 1
        var maxConns = 0
        var maxFails = 1
        var failTimeoutMs: Int64 = 10_000
        var isBackup = false
        var isDown = false
        var position: Position
    }
}

enum UpstreamDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("server", [.upstream], 1...(.max), isUnique: false) { (scope, d) throws(Diagnostic) in try server(scope, d) },
        method("least_conn", 0...0) { (_, upstream, _) throws(Diagnostic) in upstream.algorithm = .leastConn },
        method("ip_hash", 0...0) { (_, upstream, _) throws(Diagnostic) in upstream.algorithm = .ipHash },
        method("hash", 1...2) { (scope, upstream, d) throws(Diagnostic) in
            upstream.hashKey = try scope.builder.template(d.arguments[0], of: "hash")
            upstream.algorithm = .hash
            if d.arguments.count == 2 {
                guard d.arguments[1] == "consistent" else { throw .invalidValue(d.arguments[1], of: "hash", expected: "\"consistent\"") }
                upstream.algorithm = .hashConsistent
            }
        },
        method("random", 0...2) { (_, upstream, d) throws(Diagnostic) in
            upstream.algorithm = .random
            if let two = d.arguments.first {
                guard two == "two" else { throw .invalidValue(two, of: "random", expected: "\"two\"") }
                upstream.algorithm = .randomTwo
            }
            if d.arguments.count == 2, !(d.arguments[1] == "least_conn") {
                throw .invalidValue(d.arguments[1], of: "random", expected: "\"least_conn\"")
            }
        },
        DirectiveRule("keepalive", [.upstream], 1...2) { (scope, d) throws(Diagnostic) in
            let count = try d.arguments[0].integer(in: 0...1_000_000, of: "keepalive")
            scope.upstream?.settings.keepalive = count
            scope.upstream?.settings.keepaliveIsLocal = d.arguments.count == 2 && d.arguments[1] == "local"
            if d.arguments.count == 2, !(d.arguments[1] == "local") { throw .invalidValue(d.arguments[1], of: "keepalive", expected: "\"local\"") }
        },
        DirectiveRule("keepalive_requests", [.upstream], 1...1) { (scope, d) throws(Diagnostic) in
            scope.upstream?.settings.keepaliveRequests = UInt32(try d.arguments[0].integer(in: 1...Int(Int32.max), of: "keepalive_requests"))
        },
        DirectiveRule("keepalive_time", [.upstream], 1...1) { (scope, d) throws(Diagnostic) in
            scope.upstream?.settings.keepaliveTimeMs = Int64(try d.arguments[0].milliseconds(of: "keepalive_time"))
        },
        DirectiveRule("keepalive_timeout", [.upstream], 1...1) { (scope, d) throws(Diagnostic) in
            scope.upstream?.settings.keepaliveTimeoutMs = Int64(try d.arguments[0].milliseconds(of: "keepalive_timeout"))
        },
        .accepted("zone", [.upstream], 1...2, why: "the counters of peers are always shared by all workers"),
    ]

    private static func method(
        _ name: String, _ arguments: ClosedRange<Int>, _ set: @escaping @Sendable (Scope, inout UpstreamDraft, Directive) throws(Diagnostic) -> Void
    ) -> DirectiveRule {
        DirectiveRule(name, [.upstream], arguments) { (scope, d) throws(Diagnostic) in
            guard var upstream = scope.upstream else { return }
            if let other = upstream.method {
                scope.builder.warnings.append(
                    Diagnostic(
                        at: d.position, directive: name, "load balancing method redefined", found: name, expected: "one method in an upstream",
                        hint: "the first is \"\(other.name.text)\" at \(other.position)"))
            }
            upstream.method = d
            try set(scope, &upstream, d)
            scope.upstream = upstream
        }
    }

    private static func server(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let word = d.arguments[0]
        var line = UpstreamDraft.ServerLine(
            text: word.text, addresses: try scope.builder.addresses(word.text, at: word, of: "server"), position: d.position)
        for parameter in d.arguments.dropFirst() {
            switch parameter.text {
            case "backup": line.isBackup = true
            case "down": line.isDown = true
            case "resolve":
                throw .invalidValue(parameter, of: "server", expected: "a parameter that is supported (\"resolve\" is not yet)")
            default: try set(parameter, &line)
            }
        }
        scope.upstream?.servers.append(line)
    }

    private static func set(_ parameter: Word, _ line: inout UpstreamDraft.ServerLine) throws(Diagnostic) {
        guard let (name, value) = parameter.parameter else {
            throw .invalidValue(
                parameter, of: "server", expected: "weight=N, max_conns=N, max_fails=N, fail_timeout=TIME, backup or down")
        }
        switch name {
        case "weight": line.weight = try value.integer(in: 1...1_000_000, of: "server")
        case "max_conns": line.maxConns = try value.integer(in: 0...Int(Int32.max), of: "server")
        case "max_fails": line.maxFails = try value.integer(in: 0...Int(Int32.max), of: "server")
        case "fail_timeout": line.failTimeoutMs = Int64(try value.seconds(of: "server")) * 1000
        default:
            throw .invalidValue(
                parameter, of: "server", expected: "weight=N, max_conns=N, max_fails=N, fail_timeout=TIME, backup or down",
                hint: nearestName(to: name, among: ["weight", "max_conns", "max_fails", "fail_timeout"]).map { "did you mean \"\($0)\"?" })
        }
    }
}
