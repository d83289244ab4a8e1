// grpc_pass and the directives about how gRPC servers are asked. What they say is kept apart from what is said of proxy_pass.
// A location that passes to gRPC servers takes it over when its block ends: see Freezing.swift.

import Bytes
import ConfigurationFile
import Engine

/// What a location says of gRPC, whether it passes requests there or only those within do.
struct GRPCDraft {
    var proxy: ProxySettings
    var requestHeaders: [HeaderTemplate] = []
    var hideHeaders: [String] = []
    var passHeaders: [String] = []
    var tls = UpstreamTLSDraft()

    init() {
        proxy = ProxySettings()
        proxy.isGRPC = true
        proxy.speaksHTTP2 = true
        // A call is a conversation: neither side's messages wait for the other side's end.
        proxy.buffering = false
        proxy.requestBuffering = false
        proxy.passTrailers = true
        proxy.ignoreAccelBuffering = true
    }
}

enum GRPCDirectives {
    static let all: [DirectiveRule] = values + fields + UpstreamTLSDirectives.rules("grpc", \.grpc.tls)

    private typealias Path<V> = WritableKeyPath<ProxySettings, V> & Sendable

    private static let values: [DirectiveRule] = [
        DirectiveRule("grpc_pass", [.location, .ifInLocation], 1...1) { (scope, d) throws(Diagnostic) in try pass(scope, d) },
        DirectiveRule("grpc_bind", .httpLevels, 1...2) { (scope, d) throws(Diagnostic) in
            if d.arguments.count == 2 {
                throw .invalidValue(d.arguments[1], of: "grpc_bind", expected: "one argument (\"transparent\" is not supported yet)")
            }
            scope.location.grpc.proxy.bind = try ProxyDirectives.localAddress(d.arguments[0], scope, of: "grpc_bind")
        },
        flag("grpc_socket_keepalive", \.socketKeepalive),
        size("grpc_socket_rcvbuf", \.receiveBufferBytes, in: ProxyDirectives.socketBuffers),
        size("grpc_socket_sndbuf", \.sendBufferBytes, in: ProxyDirectives.socketBuffers),
        flag("grpc_intercept_errors", \.interceptErrors),
        milliseconds("grpc_connect_timeout", \.connectTimeoutMs),
        milliseconds("grpc_send_timeout", \.sendTimeoutMs),
        milliseconds("grpc_read_timeout", \.readTimeoutMs),
        milliseconds("grpc_next_upstream_timeout", \.nextUpstreamTimeoutMs),
        DirectiveRule("grpc_next_upstream", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in
            scope.location.grpc.proxy.nextUpstream = try ProxyDirectives.conditions(d)
        },
        DirectiveRule("grpc_next_upstream_tries", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.grpc.proxy.nextUpstreamTries = try d.arguments[0].integer(in: 0...1000, of: "grpc_next_upstream_tries")
        },
        size("grpc_buffer_size", \.bufferBytes, in: 256...(1 << 20)),
    ]

    private static let fields: [DirectiveRule] = [
        DirectiveRule("grpc_set_header", .httpLevels, 2...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("grpc_set_header", \.grpc.requestHeaders)
            let name = try AnswerDirectives.headerName(d.arguments[0], of: "grpc_set_header")
            let value = try scope.builder.template(d.arguments[1], of: "grpc_set_header")
            let arena = scope.builder.arena
            let line = HeaderTemplate(name: arena.freeze(bytes: name), value: value, arena: arena)
            if line.framesBody { ProxyHeaderDirectives.warnOfFraming(scope, d) }
            scope.location.grpc.requestHeaders.append(line)
        },
        DirectiveRule("grpc_hide_header", .httpLevels, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("grpc_hide_header", \.grpc.hideHeaders)
            scope.location.grpc.hideHeaders.append(d.arguments[0].text)
        },
        DirectiveRule("grpc_pass_header", .httpLevels, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("grpc_pass_header", \.grpc.passHeaders)
            scope.location.grpc.passHeaders.append(d.arguments[0].text)
        },
        DirectiveRule("grpc_ignore_headers", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in
            try ProxyHeaderDirectives.ignore(d, &scope.location.grpc.proxy)
        },
    ]

    private static func flag(_ name: String, _ path: Path<Bool>) -> DirectiveRule {
        DirectiveRule(name, .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.grpc.proxy[keyPath: path] = try d.arguments[0].flag(of: name)
        }
    }

    private static func size(_ name: String, _ path: Path<Int>, in range: ClosedRange<Int>) -> DirectiveRule {
        DirectiveRule(name, .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.grpc.proxy[keyPath: path] = try d.arguments[0].size(in: range, of: name)
        }
    }

    private static func milliseconds(_ name: String, _ path: Path<Int64>) -> DirectiveRule {
        DirectiveRule(name, .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.grpc.proxy[keyPath: path] = Int64(try d.arguments[0].milliseconds(of: name))
        }
    }

    /// `[grpc://|grpcs://]HOST:PORT`, or the name of an upstream or a split. There is no URI part: the request's own goes on.
    private static func pass(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let word = d.arguments[0]
        let expected = "[grpc://]HOST:PORT, grpcs://HOST:PORT, or the name of an upstream or a split"
        scope.location.passesGRPC = true
        scope.location.settings.handler = .proxy
        let name = scope.location.settings.name
        scope.location.settings.redirectsToSlash = name.count > 1 && name[name.count - 1] == UInt8(ascii: "/")
        scope.location.grpc.proxy.usesTLS = false
        if word.hasVariables {
            scope.location.grpc.proxy.target = .computed(try scope.builder.template(word, of: "grpc_pass"))
            scope.location.mayUseTLS = !word.text.lowercased().hasPrefix("grpc://")
            return
        }
        let lower = word.text.lowercased()
        let isTLS = lower.hasPrefix("grpcs://")
        let authority = String(word.text.dropFirst(isTLS ? 8 : lower.hasPrefix("grpc://") ? 7 : 0))
        let isUnix = authority.hasPrefix("unix:")
        if authority.isEmpty {
            throw Diagnostic(at: word.position, directive: "grpc_pass", "no host in upstream \"\(word.shown)\"", found: word.shown, expected: expected)
        }
        if !isUnix, authority.contains(where: { $0 == "/" || $0 == "?" }) {
            throw Diagnostic(at: word.position, directive: "grpc_pass", "invalid host in upstream \"\(word.shown)\"", found: word.shown, expected: expected)
        }
        scope.location.grpc.proxy.usesTLS = isTLS
        scope.location.mayUseTLS = isTLS
        scope.location.grpc.proxy.target = .named(Int32(scope.builder.slot(authority, at: word, defaultPort: nil)))
        scope.location.grpc.proxy.hostText = scope.builder.arena.freeze(isUnix ? "localhost" : authority)
        scope.location.grpc.proxy.portText = scope.builder.arena.freeze(isUnix ? "" : ProxyDirectives.shownHost(authority, standardPort: "").port)
    }
}
