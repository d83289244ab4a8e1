// From the words of a location's directives about TLS to its upstreams to a context, with a digest of all it was made of.
// Part of `SnapshotBuilder`. Only what a location needs is made, and once for all locations that say the same.

import Bytes
import ConfigurationFile
import Engine
import Synchronization

extension SnapshotBuilder {
    func buildUpstreamTLS(_ draft: UpstreamTLSDraft) throws(Diagnostic) -> Ref<UpstreamTLSSettings> {
        let known = if let same = upstreamTLS[draft.key] { same } else { try makeUpstreamContext(draft) }
        upstreamTLS[draft.key] = known
        var settings = UpstreamTLSSettings(context: known.context.pointer, digest: known.digest)
        if let name = draft.name { settings.name = try template(name, of: "\(draft.prefix)_ssl_name") }
        settings.asksForName = draft.asksForName
        settings.verifies = draft.key.verifies
        settings.reusesSessions = draft.key.reusesSessions
        if draft.key.computesCertificate, let certificate = draft.key.certificate, let key = draft.key.certificateKey {
            settings.certificate = try template(certificate, of: "\(draft.prefix)_ssl_certificate")
            settings.certificateKey = try template(key, of: "\(draft.prefix)_ssl_certificate_key")
            settings.files.folder = arena.freeze(logs.besideConfiguration(""))
            settings.files.passwords = arena.freeze(try passwords(of: draft).map { arena.freeze(bytes: Array($0.utf8) + [0]) })
            settings.files.cache = draft.cache
        }
        return arena.freeze(settings)
    }

    /// Health checks of what the location passes to speak TLS as it does.
    func noteCheckTLS(_ draft: LocationDraft, _ tls: UpstreamTLSDraft) {
        let proxy = draft.settings.proxy
        guard proxy.tls != nil, proxy.usesTLS, case .named(let slot) = proxy.target, let known = upstreamTLS[tls.key] else { return }
        let target = slots[Int(slot)].name
        checkTLS[target, default: []].append(CheckTLS(
            known.context, digest: Array(known.digest.buffer), tls, target: target, isGRPC: draft.passesGRPC, hasChecks: !draft.healthChecks.isEmpty))
    }

    private func passwords(of draft: UpstreamTLSDraft) throws(Diagnostic) -> [String] {
        guard let word = draft.key.passwordFile else { return [] }
        return try passwords(word, of: "\(draft.prefix)_ssl_password_file")
    }

    private func makeUpstreamContext(_ draft: UpstreamTLSDraft) throws(Diagnostic) -> (context: TLSContext, digest: ByteView) {
        let prefix = draft.prefix + "_ssl_"
        let key = draft.key
        var made = Ingredients()
        let context: TLSContext
        do throws(TLSFailure) { context = try TLSContext(isServer: false) } catch {
            throw Diagnostic(at: Position(file: "TLS"), "SSL_CTX_new() failed (\(error.reason))", found: "a failure", expected: "a context")
        }
        context.setVersions(TLSVersions(rawValue: key.versions))
        made.add(String(key.versions).utf8)
        try attempt("SSL_CTX_set_cipher_list(\"\(key.ciphers.shown)\") failed", at: key.ciphers, of: prefix + "ciphers") { () throws(TLSFailure) in
            try context.setCiphers(key.ciphers.text)
        }
        made.add(key.ciphers.bytes)
        if let certificate = key.certificate {
            guard let own = key.certificateKey else {
                throw Diagnostic(
                    at: certificate.position, directive: prefix + "certificate",
                    "no \"\(prefix)certificate_key\" is defined for certificate \"\(certificate.shown)\"", found: certificate.shown,
                    expected: "\(prefix)certificate_key with the file of its key")
            }
            if !key.computesCertificate {
                let list = try passwords(of: draft)
                try addPair(certificate, own, list, of: (prefix + "certificate", prefix + "certificate_key"), to: context)
                made.add(contents(certificate))
                made.add(contents(own))
            }
        }
        made.add([key.verifies ? 1 : 0])
        if key.verifies { try trust(draft, context, &made) }
        if key.reusesSessions { context.keepSessions() }
        try run(key.commands.map { ($0.name, $0.value) }, of: prefix + "conf_command", on: context)
        for command in key.commands {
            made.add(command.name.bytes)
            made.add(context.commandTakesFile(command.name.text) ? contents(command.value) : command.value.bytes)
        }
        owned.append(context)
        return (context, arena.freeze(bytes: TLSContext.digest(of: made.bytes)))
    }

    private func trust(_ draft: UpstreamTLSDraft, _ context: TLSContext, _ made: inout Ingredients) throws(Diagnostic) {
        let prefix = draft.prefix + "_ssl_"
        guard let trusted = draft.key.trusted, !trusted.bytes.isEmpty else {
            throw Diagnostic(
                at: draft.verify?.position ?? Position(file: "TLS"), directive: prefix + "verify",
                "no \(prefix)trusted_certificate for \(prefix)verify", found: "on", expected: "\(prefix)trusted_certificate with the file of a certificate")
        }
        let words = "cannot load certificate \"\(logs.besideConfiguration(trusted.text))\""
        let pem = try file(trusted, of: prefix + "trusted_certificate", failing: words)
        try attempt(words, at: trusted, of: prefix + "trusted_certificate") { () throws(TLSFailure) in
            try context.trust(pem, depth: draft.key.verifyDepth)
        }
        made.add(pem)
        made.add(String(draft.key.verifyDepth).utf8)
        guard let revoked = draft.key.revoked, !revoked.bytes.isEmpty else { return }
        let revokedWords = "cannot load CRL \"\(logs.besideConfiguration(revoked.text))\""
        let list = try file(revoked, of: prefix + "crl", failing: revokedWords)
        try attempt(revokedWords, at: revoked, of: prefix + "crl") { () throws(TLSFailure) in try context.revoke(list) }
        made.add(list)
    }

    /// What stands in a file that has been read already, or in the word itself.
    private func contents(_ word: Word) -> [UInt8] {
        if word.text.hasPrefix("data:") { return word.bytes }
        do throws(ReadFailure) { return try system.read(logs.besideConfiguration(word.text)) } catch { return word.bytes }
    }

    func addCertificateCache(_ cache: UpstreamTLSDirectives.Cache) -> Int32 {
        let number = Self.cacheNumber.wrappingAdd(1, ordering: .relaxed).newValue
        certificateCaches.append(
            CertificateCacheSettings(
                number: number, entriesMax: cache.entriesMax, inactiveMs: cache.inactiveMs, validMs: cache.validMs))
        return Int32(certificateCaches.count - 1)
    }

    private static let cacheNumber = Atomic<UInt64>(0)
}

/// Everything a context is made of, with lengths between.
private struct Ingredients {
    var bytes: [UInt8] = []

    mutating func add(_ part: some Collection<UInt8>) {
        bytes += Array("\(part.count):".utf8)
        bytes += Array(part)
    }
}
