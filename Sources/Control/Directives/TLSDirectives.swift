// Directives of TLS towards clients: certificates, keys, versions, ciphers.
// What they say is kept as words in `TLSDraft`; TLSBuilder.swift makes a context of it when the server is complete.

import ConfigurationFile
import Engine

/// What a server says of TLS, while it is read.
struct TLSDraft {
    var certificates: [Word] = []
    var keys: [Word] = []
    var passwordFile: Word?
    var versions: TLSVersions = [.tls12, .tls13]
    var ciphers = Word("HIGH:!aNULL:!MD5", position: Position(file: "the default ssl_ciphers"))
    var prefersOwnCiphers = false
    var curves: Word?
    var dhParameters: Word?
    var commands: [(name: Word, value: Word)] = []
    var recordBytes = 16384
    var rejectsHandshake = false

    // Certificates of clients.
    var verification = ClientVerification.off
    var clientCertificate: Word?
    var trustedCertificate: Word?
    var verifyDepth = 1
    var revocations: Word?

    // Sessions.
    var sessions = SessionsDraft()
    var sessionLifetimeSeconds: Int64 = 300
    var hasTickets = true
    var ticketKeys: [Word] = []
}

/// `ssl_session_cache`.
struct SessionsDraft {
    /// It says that it keeps none.
    var isOff = false
    /// 0: as many as OpenSSL likes.
    var builtinCount: Int?
    var shared: (name: String, bytes: Int, word: Word)?
}

enum TLSDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("ssl_certificate", .httpAndServer, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            if scope.location.begun.insert("ssl_certificate").inserted { scope.server.tls.certificates = [] }
            scope.server.tls.certificates.append(try path(d))
        },
        DirectiveRule("ssl_certificate_key", .httpAndServer, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            if scope.location.begun.insert("ssl_certificate_key").inserted { scope.server.tls.keys = [] }
            scope.server.tls.keys.append(try path(d))
        },
        word("ssl_password_file", \.passwordFile),
        DirectiveRule("ssl_protocols", .httpAndServer, 1...(.max)) { (scope, d) throws(Diagnostic) in
            scope.server.tls.versions = try versions(d)
        },
        DirectiveRule("ssl_ciphers", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in scope.server.tls.ciphers = d.arguments[0] },
        DirectiveRule("ssl_prefer_server_ciphers", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.tls.prefersOwnCiphers = try d.arguments[0].flag(of: "ssl_prefer_server_ciphers")
        },
        word("ssl_ecdh_curve", \.curves),
        word("ssl_dhparam", \.dhParameters),
        DirectiveRule("ssl_conf_command", .httpAndServer, 2...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            if scope.location.begun.insert("ssl_conf_command").inserted { scope.server.tls.commands = [] }
            scope.server.tls.commands.append((d.arguments[0], d.arguments[1]))
        },
        DirectiveRule("ssl_buffer_size", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.tls.recordBytes = try d.arguments[0].size(in: 1...(1 << 30), of: "ssl_buffer_size")
        },
        DirectiveRule("ssl_reject_handshake", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.tls.rejectsHandshake = try d.arguments[0].flag(of: "ssl_reject_handshake")
        },
        DirectiveRule("ssl_verify_client", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            switch d.arguments[0].text {
            case "on": scope.server.tls.verification = .on
            case "off": scope.server.tls.verification = .off
            case "optional": scope.server.tls.verification = .optional
            case "optional_no_ca": scope.server.tls.verification = .optionalFromAnyone
            default:
                throw .invalidValue(d.arguments[0], of: "ssl_verify_client", expected: "\"on\", \"off\", \"optional\" or \"optional_no_ca\"")
            }
        },
        DirectiveRule("ssl_verify_depth", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.tls.verifyDepth = try d.arguments[0].integer(in: 0...100, of: "ssl_verify_depth")
        },
        word("ssl_client_certificate", \.clientCertificate),
        word("ssl_trusted_certificate", \.trustedCertificate),
        word("ssl_crl", \.revocations),
        DirectiveRule("ssl_session_cache", .httpAndServer, 1...2) { (scope, d) throws(Diagnostic) in
            scope.server.tls.sessions = try sessions(d)
        },
        DirectiveRule("ssl_session_timeout", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.tls.sessionLifetimeSeconds = Int64(try d.arguments[0].seconds(of: "ssl_session_timeout"))
        },
        DirectiveRule("ssl_session_tickets", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.tls.hasTickets = try d.arguments[0].flag(of: "ssl_session_tickets")
        },
        DirectiveRule("ssl_session_ticket_key", .httpAndServer, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            if scope.location.begun.insert("ssl_session_ticket_key").inserted { scope.server.tls.ticketKeys = [] }
            scope.server.tls.ticketKeys.append(d.arguments[0])
        },
    ]

    /// `off`, `none`, `builtin[:COUNT]`, `shared:NAME:SIZE`, or the last two together.
    private static func sessions(_ d: Directive) throws(Diagnostic) -> SessionsDraft {
        var draft = SessionsDraft()
        for word in d.arguments {
            let parts = word.text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            switch (parts[0], parts.count) {
            case ("off", 1): draft.isOff = true
            case ("none", 1): break
            case ("builtin", 1): draft.builtinCount = 0
            case ("builtin", 2):
                guard let count = Int(parts[1]), count >= 0 else { throw invalidCache(word) }
                draft.builtinCount = count
            case ("shared", 3):
                guard !parts[1].isEmpty, let bytes = try? Units.sizeBytes(Array(parts[2].utf8)) else { throw invalidCache(word) }
                // As small as nginx's pages allow.
                if bytes < 8 * 4096 {
                    throw Diagnostic(
                        at: word.position, directive: "ssl_session_cache", "session cache \"\(word.shown)\" is too small", found: word.shown,
                        expected: "32k or more")
                }
                draft.shared = (parts[1], bytes, word)
            default: throw invalidCache(word)
            }
        }
        return draft
    }

    private static func invalidCache(_ word: Word) -> Diagnostic {
        Diagnostic(
            at: word.position, directive: "ssl_session_cache", "invalid session cache \"\(word.shown)\"", found: word.shown,
            expected: "off, none, builtin[:COUNT] or shared:NAME:SIZE")
    }

    private static func word(_ name: String, _ path: WritableKeyPath<TLSDraft, Word?> & Sendable) -> DirectiveRule {
        DirectiveRule(name, .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in scope.server.tls[keyPath: path] = d.arguments[0] }
    }

    private static func path(_ d: Directive) throws(Diagnostic) -> Word {
        let word = d.arguments[0]
        if word.hasVariables {
            throw .invalidValue(word, of: d.name.text, expected: "a file (variables are not supported yet)")
        }
        return word
    }

    /// SSLv2 and SSLv3 are known words for what no one speaks any more.
    static func versions(_ d: Directive) throws(Diagnostic) -> TLSVersions {
        var versions: TLSVersions = []
        for word in d.arguments {
            switch word.text {
            case "SSLv2", "SSLv3": break
            case "TLSv1": versions.insert(.tls10)
            case "TLSv1.1": versions.insert(.tls11)
            case "TLSv1.2": versions.insert(.tls12)
            case "TLSv1.3": versions.insert(.tls13)
            default: throw .invalidValue(word, of: d.name.text, expected: "\"TLSv1\", \"TLSv1.1\", \"TLSv1.2\" or \"TLSv1.3\"")
            }
        }
        return versions
    }
}
