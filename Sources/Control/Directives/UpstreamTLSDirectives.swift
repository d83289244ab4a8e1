// Directives of TLS towards upstreams, once for each kind of upstream: `proxy_ssl_...`.
// What they say is kept as words in `UpstreamTLSDraft`; UpstreamTLSBuilder.swift makes a context of it where a location needs one.

import ConfigurationFile
import Engine

/// What a location says of TLS to its upstreams, while it is read.
struct UpstreamTLSDraft {
    /// What a context is made of: locations with equal ones share it.
    struct Key: Hashable {
        var certificate: Word?
        var certificateKey: Word?
        var passwordFile: Word?
        var versions: UInt32 = TLSVersions([.tls12, .tls13]).rawValue
        var ciphers = Word("DEFAULT", position: Position(file: "the default of ciphers"))
        var verifies = false
        var verifyDepth = 1
        var trusted: Word?
        var revoked: Word?
        var commands: [Command] = []
        var reusesSessions = true

        /// One of them has variables: both are computed for each connection.
        var computesCertificate: Bool { certificate?.hasVariables == true || (certificate != nil && certificateKey?.hasVariables == true) }
    }

    struct Command: Hashable {
        var name: Word
        var value: Word
    }

    /// The directives' names begin so.
    var prefix = "proxy"
    var key = Key()
    var name: Word?
    var asksForName = false
    var verify: Word?
    /// The place of a cache; -1: none.
    var cache: Int32 = -1
}

enum UpstreamTLSDirectives {
    static let all = rules("proxy", \.proxyTLS)

    typealias Path = WritableKeyPath<LocationDraft, UpstreamTLSDraft> & Sendable

    static func rules(_ prefix: String, _ path: Path) -> [DirectiveRule] {
        func rule(
            _ name: String, _ arguments: ClosedRange<Int> = 1...1, isUnique: Bool = true,
            _ set: @escaping @Sendable (inout UpstreamTLSDraft, Scope, Directive) throws(Diagnostic) -> Void
        ) -> DirectiveRule {
            DirectiveRule("\(prefix)_ssl_\(name)", .httpLevels, arguments, isUnique: isUnique) { (scope, d) throws(Diagnostic) in
                var draft = scope.location[keyPath: path]
                draft.prefix = prefix
                try set(&draft, scope, d)
                scope.location[keyPath: path] = draft
            }
        }
        return [
            rule("name") { draft, _, d in draft.name = d.arguments[0] },
            rule("server_name") { (draft, _, d) throws(Diagnostic) in draft.asksForName = try d.arguments[0].flag(of: d.name.text) },
            rule("verify") { (draft, _, d) throws(Diagnostic) in
                draft.key.verifies = try d.arguments[0].flag(of: d.name.text)
                draft.verify = d.arguments[0]
            },
            rule("verify_depth") { (draft, _, d) throws(Diagnostic) in
                draft.key.verifyDepth = try d.arguments[0].integer(in: 0...1000, of: d.name.text)
            },
            rule("trusted_certificate") { draft, _, d in draft.key.trusted = d.arguments[0] },
            rule("crl") { draft, _, d in draft.key.revoked = d.arguments[0] },
            rule("certificate") { draft, _, d in draft.key.certificate = said(d) },
            rule("certificate_key") { draft, _, d in draft.key.certificateKey = said(d) },
            rule("certificate_cache", 1...3) { (draft, scope, d) throws(Diagnostic) in
                draft.cache = try cache(d).map { scope.builder.addCertificateCache($0) } ?? -1
            },
            rule("password_file") { draft, _, d in draft.key.passwordFile = d.arguments[0] },
            rule("protocols", 1...(.max)) { (draft, _, d) throws(Diagnostic) in draft.key.versions = try TLSDirectives.versions(d).rawValue },
            rule("ciphers") { draft, _, d in draft.key.ciphers = d.arguments[0] },
            rule("session_reuse") { (draft, _, d) throws(Diagnostic) in draft.key.reusesSessions = try d.arguments[0].flag(of: d.name.text) },
            rule("conf_command", 2...2, isUnique: false) { draft, scope, d in
                if scope.location.begun.insert(d.name.text).inserted { draft.key.commands = [] }
                draft.key.commands.append(UpstreamTLSDraft.Command(name: d.arguments[0], value: d.arguments[1]))
            },
        ]
    }

    /// An empty word cancels what is inherited.
    private static func said(_ d: Directive) -> Word? { d.arguments[0].bytes.isEmpty ? nil : d.arguments[0] }

    struct Cache {
        var entriesMax = 0
        var inactiveMs: Int64 = 10_000
        var validMs: Int64 = 60_000
    }

    /// `max=N [inactive=TIME] [valid=TIME]`; nil: `off`.
    static func cache(_ d: Directive) throws(Diagnostic) -> Cache? {
        let name = d.name.text
        var cache = Cache()
        for word in d.arguments {
            if word == "off", d.arguments.count == 1 { return nil }
            guard let (parameter, value) = word.parameter else {
                throw .invalidValue(word, of: name, expected: "\"off\", or \"max=\" with \"inactive=\" and \"valid=\"")
            }
            switch parameter {
            case "max": cache.entriesMax = try value.integer(in: 1...1_000_000, of: name)
            case "inactive": cache.inactiveMs = Int64(try value.seconds(of: name)) * 1000
            case "valid": cache.validMs = Int64(try value.seconds(of: name)) * 1000
            default: throw .invalidValue(word, of: name, expected: "\"max=\", \"inactive=\" or \"valid=\"")
            }
        }
        if cache.entriesMax > 0 { return cache }
        throw Diagnostic(
            at: d.position, directive: name, "\"\(name)\" must have the \"max\" parameter", found: d.arguments[0].shown, expected: "max=N")
    }
}
