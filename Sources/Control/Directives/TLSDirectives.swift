// Directives of TLS towards clients: certificates, keys, versions, ciphers.
// What they say is kept as words in `TLSDraft`; TLSBuilder.swift makes a context of it when the server is complete.

import ConfigurationFile
import Engine

/// What a server says of TLS, while it is read.
struct TLSDraft {
    var certificates: [Word] = []
    var keys: [Word] = []
    var passwordFile: Word?
    /// `ssl_certificate_cache`: its place among the snapshot's; -1: none.
    var pairCache: Int32 = -1
    var versions: TLSVersions = [.tls12, .tls13]
    var ciphers = Word("HIGH:!aNULL:!MD5", position: Position(file: "the default ssl_ciphers"))
    var prefersOwnCiphers = true
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

    // Status of certificates.
    var staples = false
    var stapleFile: Word?
    var stapleResponder: Word?
    var verifiesStaples = false
    /// How many certificates of a client's chain are asked about; 0: none.
    var statusDepth = 0
    var statusResponder: Word?
    /// `ssl_ocsp_cache`.
    var statusCache: (name: String, bytes: Int, word: Word)?

    var takesEarlyData = false
    var compressesCertificates: Word?
    var keyLog: Word?
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
            scope.server.tls.certificates.append(d.arguments[0])
        },
        DirectiveRule("ssl_certificate_key", .httpAndServer, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            if scope.location.begun.insert("ssl_certificate_key").inserted { scope.server.tls.keys = [] }
            scope.server.tls.keys.append(d.arguments[0])
        },
        word("ssl_password_file", \.passwordFile),
        DirectiveRule("ssl_certificate_cache", .httpAndServer, 1...3) { (scope, d) throws(Diagnostic) in
            scope.server.tls.pairCache = try UpstreamTLSDirectives.cache(d).map { scope.builder.addCertificateCache($0) } ?? -1
        },
        DirectiveRule("ssl_protocols", .httpAndServer, 1...(.max)) { (scope, d) throws(Diagnostic) in
            scope.server.tls.versions = try versions(d)
        },
        DirectiveRule("ssl_ciphers", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in scope.server.tls.ciphers = d.arguments[0] },
        flag("ssl_prefer_server_ciphers", \.prefersOwnCiphers),
        word("ssl_ecdh_curve", \.curves),
        word("ssl_dhparam", \.dhParameters),
        DirectiveRule("ssl_conf_command", .httpAndServer, 2...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            if scope.location.begun.insert("ssl_conf_command").inserted { scope.server.tls.commands = [] }
            scope.server.tls.commands.append((d.arguments[0], d.arguments[1]))
        },
        DirectiveRule("ssl_buffer_size", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.tls.recordBytes = try d.arguments[0].size(in: 1...(1 << 30), of: "ssl_buffer_size")
        },
        flag("ssl_reject_handshake", \.rejectsHandshake),
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
        flag("ssl_session_tickets", \.hasTickets),
        DirectiveRule("ssl_session_ticket_key", .httpAndServer, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            if scope.location.begun.insert("ssl_session_ticket_key").inserted { scope.server.tls.ticketKeys = [] }
            scope.server.tls.ticketKeys.append(d.arguments[0])
        },
    ] + statusDirectives + [
        flag("ssl_early_data", \.takesEarlyData),
        DirectiveRule("ssl_certificate_compression", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            let isOn = try d.arguments[0].flag(of: "ssl_certificate_compression")
            scope.server.tls.compressesCertificates = isOn ? d.arguments[0] : nil
        },
        DirectiveRule("ssl_key_log", .httpAndServer, 1...1, isOwn: true) { (scope, d) throws(Diagnostic) in
            scope.server.tls.keyLog = d.arguments[0].text == "off" ? nil : d.arguments[0]
        },
    ]

    private static let statusDirectives: [DirectiveRule] = [
        flag("ssl_stapling", \.staples),
        flag("ssl_stapling_verify", \.verifiesStaples),
        word("ssl_stapling_file", \.stapleFile),
        word("ssl_stapling_responder", \.stapleResponder),
        DirectiveRule("ssl_ocsp", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            switch d.arguments[0].text {
            case "off": scope.server.tls.statusDepth = 0
            case "on": scope.server.tls.statusDepth = .max
            case "leaf": scope.server.tls.statusDepth = 1
            default: throw .invalidValue(d.arguments[0], of: "ssl_ocsp", expected: "\"on\", \"off\" or \"leaf\"")
            }
        },
        word("ssl_ocsp_responder", \.statusResponder),
        DirectiveRule("ssl_ocsp_cache", .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            let word = d.arguments[0]
            scope.server.tls.statusCache = word.text == "off" ? nil : try shared(word, "OCSP cache", of: "ssl_ocsp_cache")
        },
    ]

    private static func flag(_ name: String, _ path: WritableKeyPath<TLSDraft, Bool> & Sendable) -> DirectiveRule {
        DirectiveRule(name, .httpAndServer, 1...1) { (scope, d) throws(Diagnostic) in
            scope.server.tls[keyPath: path] = try d.arguments[0].flag(of: name)
        }
    }

    /// `shared:NAME:SIZE`.
    private static func shared(_ word: Word, _ what: String, of directive: String) throws(Diagnostic) -> (name: String, bytes: Int, word: Word) {
        let parts = word.text.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, parts[0] == "shared", !parts[1].isEmpty, let bytes = try? Units.sizeBytes(Array(parts[2].utf8)) else {
            throw Diagnostic(
                at: word.position, directive: directive, "invalid \(what) \"\(word.shown)\"", found: word.shown, expected: "shared:NAME:SIZE")
        }
        // As small as nginx's pages allow.
        if bytes >= 8 * 4096 { return (parts[1], bytes, word) }
        throw Diagnostic(
            at: word.position, directive: directive, "\(what) \"\(word.shown)\" is too small", found: word.shown, expected: "32k or more")
    }

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
            case ("shared", _): draft.shared = try shared(word, "session cache", of: "ssl_session_cache")
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
