// From the words of a server's TLS directives to a context that connections are made of.
// Part of `SnapshotBuilder`. What OpenSSL refuses is told at the word that it refuses, with its reason.

import ConfigurationFile
import Engine

extension SnapshotBuilder {
    /// Nothing is made for a server without certificate, unless it is there to reject.
    func buildTLS(_ draft: TLSDraft) throws(Diagnostic) -> TLSServerSettings {
        var settings = TLSServerSettings()
        settings.rejectsHandshake = draft.rejectsHandshake
        settings.verification = draft.verification
        if let unpaired = draft.certificates.last, draft.keys.count < draft.certificates.count {
            throw Diagnostic(
                at: unpaired.position, directive: "ssl_certificate", "no \"ssl_certificate_key\" is defined for certificate \"\(unpaired.shown)\"",
                found: unpaired.shown, expected: "ssl_certificate_key with the file of its key")
        }
        if draft.certificates.isEmpty, !draft.rejectsHandshake {
            if draft.verification != .off { settings.trust = try addTrust(draft, to: nil).number }
            return settings
        }
        let context = try tlsContext()
        context.setVersions(draft.versions)
        try attempt("SSL_CTX_set_cipher_list(\"\(draft.ciphers.shown)\") failed", at: draft.ciphers, of: "ssl_ciphers") { () throws(TLSFailure) in
            try context.setCiphers(draft.ciphers.text, prefersOwn: draft.prefersOwnCiphers)
        }
        var binding = Array("HTTP".utf8)
        binding += try addCertificates(draft, to: context, &settings)
        let (trust, number) = try addTrust(draft, to: context)
        settings.trust = number
        if let word = draft.dhParameters {
            let pem = try file(word, of: "ssl_dhparam", failing: "BIO_new_file(\"\(logs.besideConfiguration(word.text))\") failed")
            try attempt("PEM_read_bio_Parameters(\"\(logs.besideConfiguration(word.text))\") failed", at: word, of: "ssl_dhparam") {
                () throws(TLSFailure) in try context.useDHParameters(pem)
            }
        }
        if let word = draft.curves, word.text != "auto" {
            try attempt("SSL_CTX_set1_curves_list(\"\(word.shown)\") failed", at: word, of: "ssl_ecdh_curve") { () throws(TLSFailure) in
                try context.setGroups(word.text)
            }
        }
        context.setRecordBytes(draft.recordBytes)
        binding += trust.announced + trust.trusted + trust.revocations + "\(draft.verification),\(trust.depth)".utf8
        try addSessions(draft, boundTo: binding, to: context)
        try addStapling(draft, to: context)
        settings.status = try statusSettings(draft)
        settings.takesEarlyData = draft.takesEarlyData
        if draft.takesEarlyData { context.takeEarlyData(bytes: 16384) }
        if let word = draft.compressesCertificates {
            warnings.append(
                Diagnostic(
                    at: word.position, directive: "ssl_certificate_compression",
                    "\"ssl_certificate_compression\" is not supported on this platform, ignored", found: "on", expected: "OpenSSL 3.2"))
        }
        if let word = draft.keyLog {
            let path = logs.absolute(word.text)
            try attempt("open() \"\(path)\" failed", at: word, of: "ssl_key_log") { () throws(TLSFailure) in try context.logKeys(to: path) }
        }
        try run(draft.commands, of: "ssl_conf_command", on: context)
        owned.append(context)
        settings.context = context.pointer
        return settings
    }

    private func tlsContext() throws(Diagnostic) -> TLSContext {
        do throws(TLSFailure) {
            return try TLSContext(isServer: true)
        } catch {
            throw Diagnostic(at: Position(file: "TLS"), "SSL_CTX_new() failed (\(error.reason))", found: "a failure", expected: "a context")
        }
    }

    /// Returns the bytes of the certificates, or their names where variables are in them.
    private func addCertificates(_ draft: TLSDraft, to context: TLSContext, _ settings: inout TLSServerSettings) throws(Diagnostic) -> [UInt8] {
        var list: [String] = []
        var all: [UInt8] = []
        if let word = draft.passwordFile { list = try passwords(word, of: "ssl_password_file") }
        let hasVariables = draft.certificates.contains(where: \.hasVariables) || draft.keys.contains(where: \.hasVariables)
        var templates: [TLSPairTemplates] = []
        for (certificate, key) in zip(draft.certificates, draft.keys) {
            if hasVariables {
                templates.append(
                    TLSPairTemplates(certificate: try template(certificate, of: "ssl_certificate"), key: try template(key, of: "ssl_certificate_key")))
                all += certificate.bytes
            } else {
                all += try addPair(certificate, key, list, of: ("ssl_certificate", "ssl_certificate_key"), to: context)
            }
        }
        if hasVariables {
            settings.pairs = arena.freeze(templates)
            settings.files.folder = arena.freeze(logs.besideConfiguration(""))
            settings.files.passwords = arena.freeze(list.map { arena.freeze(bytes: Array($0.utf8) + [0]) })
            settings.files.cache = draft.pairCache
            context.askForPairs()
        }
        return all
    }

    /// A certificate with its chain, and its key: files, or texts behind `data:`. Returns the bytes of the certificate.
    @discardableResult
    func addPair(
        _ certificate: Word, _ key: Word, _ passwords: [String], of names: (certificate: String, key: String), to context: TLSContext
    ) throws(Diagnostic) -> [UInt8] {
        let certificateWords = "cannot load certificate \"\(shownPath(certificate))\""
        let chain = try file(certificate, of: names.certificate, failing: certificateWords)
        try attempt(certificateWords, at: certificate, of: names.certificate) { () throws(TLSFailure) in try context.addCertificate(chain) }
        let keyWords = "cannot load certificate key \"\(shownPath(key))\""
        let pem = try file(key, of: names.key, failing: keyWords)
        try attempt(keyWords, at: key, of: names.key) { () throws(TLSFailure) in try context.addKey(pem, passwords: passwords) }
        return chain
    }

    /// Commands of OpenSSL's own configuration; names of files are as everywhere.
    func run(_ commands: [(name: Word, value: Word)], of directive: String, on context: TLSContext) throws(Diagnostic) {
        for (name, value) in commands {
            let text = context.commandTakesFile(name.text) ? logs.besideConfiguration(value.text) : value.text
            try attempt("SSL_CONF_cmd(\"\(name.shown)\", \"\(printable(text.utf8))\") failed", at: name, of: directive) { () throws(TLSFailure) in
                try context.command(name.text, text)
            }
        }
    }

    /// The passwords of a file, one a line.
    func passwords(_ word: Word, of directive: String) throws(Diagnostic) -> [String] {
        let path = logs.besideConfiguration(word.text)
        let bytes = try file(word, of: directive, failing: "open() \"\(path)\" failed")
        return bytes.split(separator: UInt8(ascii: "\n")).compactMap { line in
            let line = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
            return line.isEmpty ? nil : String(decoding: line, as: UTF8.self)
        }
    }

    func shownPath(_ word: Word) -> String { word.text.hasPrefix("data:") ? "data:..." : logs.besideConfiguration(word.text) }

    func file(_ word: Word, of directive: String, failing words: String) throws(Diagnostic) -> [UInt8] {
        if word.text.hasPrefix("data:") { return Array(word.bytes.dropFirst(5)) }
        do throws(ReadFailure) {
            let path = logs.besideConfiguration(word.text)
            let bytes = try system.read(path)
            // More is not read, and what is missing may be what matters.
            let most = ConfigurationLimits().fileBytesMax
            if bytes.count > most { throw ReadFailure("it has more than \(most >> 20) MiB") }
            tlsFiles[path] = bytes
            return bytes
        } catch {
            throw Diagnostic(at: word.position, directive: directive, "\(words) (\(error.reason))", found: word.shown, expected: "a file in PEM")
        }
    }

    /// Does what may be refused by OpenSSL.
    func attempt(_ words: String, at word: Word, of directive: String, _ body: () throws(TLSFailure) -> Void) throws(Diagnostic) {
        do throws(TLSFailure) { try body() } catch {
            throw Diagnostic(
                at: word.position, directive: directive, "\(words) (\(error.reason))", found: word.shown, expected: "a value that OpenSSL takes")
        }
    }
}
