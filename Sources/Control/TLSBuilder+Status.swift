// What a server says of OCSP: answers that it shows to clients, and questions about their certificates.
// Part of `SnapshotBuilder`; called by TLSBuilder.swift.

import ConfigurationFile
import Engine

extension SnapshotBuilder {
    /// `ssl_stapling`: after the certificates and those that are trusted.
    func addStapling(_ draft: TLSDraft, to context: TLSContext) throws(Diagnostic) {
        if !draft.staples { return }
        if let word = draft.compressesCertificates {
            throw Diagnostic(
                at: word.position, directive: "ssl_certificate_compression",
                "\"ssl_stapling\" is incompatible with \"ssl_certificate_compression\"", found: "on", expected: "one of them")
        }
        context.staple()
        if let word = draft.stapleFile {
            let words = "cannot load \"\(logs.besideConfiguration(word.text))\""
            let der = try file(word, of: "ssl_stapling_file", failing: words)
            try attempt(words, at: word, of: "ssl_stapling_file") { () throws(TLSFailure) in try context.addStaple(der) }
            return
        }
        var place = 0
        while true {
            let making = context.staple(about: place, verifies: draft.verifiesStaples)
            let name = printable(context.currentSubject.utf8)
            switch making {
            case .noCertificate: return
            case .noIssuer:
                warn(draft, "\"ssl_stapling\" ignored, issuer certificate not found for certificate \"\(name)\"")
            case .made(let staple):
                if let responder = stapleResponder(draft, staple, name) { staple.enable(responder) }
            }
            place += 1
        }
    }

    private func warn(_ draft: TLSDraft, _ words: String) {
        let place = draft.certificates.first?.position ?? Position(file: "TLS")
        warnings.append(Diagnostic(at: place, directive: "ssl_stapling", words, found: "on", expected: "a certificate that can be asked about"))
    }

    /// Nil: there is none that could be asked, and that was told.
    private func stapleResponder(_ draft: TLSDraft, _ staple: TLSStaple, _ name: String) -> StatusResponder? {
        guard let url = draft.stapleResponder?.text ?? staple.url else {
            warn(draft, "\"ssl_stapling\" ignored, no OCSP responder URL in the certificate \"\(name)\"")
            return nil
        }
        guard let parts = ResponderURL(url) else {
            warn(
                draft,
                "\"ssl_stapling\" ignored, invalid URL prefix in OCSP responder \"\(printable(url.utf8))\" in the certificate \"\(name)\"")
            return nil
        }
        let addresses = system.resolve(parts.bareHost, port: parts.port).map(\.text)
        if addresses.isEmpty {
            warn(
                draft,
                "\"ssl_stapling\" ignored, host not found in OCSP responder \"\(printable(url.utf8))\" in the certificate \"\(name)\"")
            return nil
        }
        return StatusResponder(host: parts.host, path: parts.path, addresses: addresses)
    }

    /// `ssl_ocsp`.
    func statusSettings(_ draft: TLSDraft) throws(Diagnostic) -> StatusSettings {
        var settings = StatusSettings()
        if draft.statusDepth == 0 { return settings }
        if draft.verification == .optionalFromAnyone {
            throw Diagnostic(
                at: draft.certificates.first?.position ?? Position(file: "TLS"), directive: "ssl_ocsp",
                "\"ssl_ocsp\" is incompatible with \"ssl_verify_client optional_no_ca\"", found: "ssl_ocsp", expected: "another ssl_verify_client")
        }
        settings.depth = draft.statusDepth
        if let word = draft.statusResponder {
            guard let parts = ResponderURL(word.text) else {
                throw Diagnostic(
                    at: word.position, directive: "ssl_ocsp_responder",
                    "invalid URL prefix in OCSP responder \"\(word.shown)\" in \"ssl_ocsp_responder\"", found: word.shown,
                    expected: "http://HOST[:PORT][/PATH]")
            }
            let addresses = system.resolve(parts.bareHost, port: parts.port).map(\.text)
            if addresses.isEmpty {
                throw Diagnostic(
                    at: word.position, directive: "ssl_ocsp_responder",
                    "host not found in OCSP responder \"\(word.shown)\" in \"ssl_ocsp_responder\"", found: word.shown, expected: "a host that is known")
            }
            settings.responder = arena.freeze(StatusResponder(host: parts.host, path: parts.path, addresses: addresses).text)
        }
        if let shared = draft.statusCache {
            let cache = tls.statusCache(shared.name, bytes: shared.bytes)
            owned.append(cache)
            settings.cache = .passUnretained(cache)
        }
        return settings
    }
}
