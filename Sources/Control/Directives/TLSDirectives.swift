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
    ]

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
