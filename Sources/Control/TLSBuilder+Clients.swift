// What a server says of its clients' certificates and sessions, put into its context.
// Part of `SnapshotBuilder`; called by TLSBuilder.swift.

import ConfigurationFile
import Engine

extension SnapshotBuilder {
    /// What certificates of clients are judged by, in the bytes of the files.
    struct Trust: Hashable {
        var announced: [UInt8] = []
        var trusted: [UInt8] = []
        var revocations: [UInt8] = []
        var depth = 0
    }

    /// Whom the server trusts. The same number for the same trust, whatever files it comes from. Nil: it has no context of its own.
    func addTrust(_ draft: TLSDraft, to context: TLSContext?) throws(Diagnostic) -> (trust: Trust, number: Int32) {
        var trust = Trust()
        trust.depth = draft.verifyDepth
        context?.setVerifyDepth(draft.verifyDepth)
        if draft.verification != .off {
            if context != nil, draft.verification != .optionalFromAnyone, draft.clientCertificate == nil, draft.trustedCertificate == nil {
                throw Diagnostic(
                    at: draft.certificates.first?.position ?? Position(file: "TLS"), directive: "ssl_verify_client",
                    "no ssl_client_certificate or ssl_trusted_certificate for ssl_verify_client", found: "none",
                    expected: "ssl_client_certificate with those who sign certificates of clients")
            }
            context?.askForCertificate()
            if let word = draft.clientCertificate {
                trust.announced = try add(word, of: "ssl_client_certificate") { pem throws(TLSFailure) in try context?.trust(pem, announces: true) }
            }
        }
        if let word = draft.trustedCertificate {
            trust.trusted = try add(word, of: "ssl_trusted_certificate") { pem throws(TLSFailure) in try context?.trust(pem) }
        }
        if let word = draft.revocations {
            trust.revocations = try add(word, of: "ssl_crl") { pem throws(TLSFailure) in try context?.revoke(pem) }
        }
        if let known = trusts[trust] { return (trust, known) }
        let number = Int32(trusts.count)
        trusts[trust] = number
        return (trust, number)
    }

    /// A file of PEM that OpenSSL takes; its bytes.
    private func add(_ word: Word, of directive: String, _ take: ([UInt8]) throws(TLSFailure) -> Void) throws(Diagnostic) -> [UInt8] {
        let what = directive == "ssl_crl" ? "lists of revoked certificates" : "certificate"
        let words = "cannot load \(what) \"\(shownPath(word))\""
        let pem = try file(word, of: directive, failing: words)
        try attempt(words, at: word, of: directive) { () throws(TLSFailure) in try take(pem) }
        return pem
    }

    // MARK: Sessions

    /// boundTo: sessions are taken up only where these bytes are the same.
    func addSessions(_ draft: TLSDraft, boundTo binding: [UInt8], to context: TLSContext) throws(Diagnostic) {
        try must { () throws(TLSFailure) in try context.bindSessions(to: binding) }
        context.keepSessions(keeping(draft.sessions), lifetimeSeconds: draft.sessionLifetimeSeconds, hasTickets: draft.hasTickets)
        if let shared = draft.sessions.shared, !draft.sessions.isOff {
            let cache = try sessionCache(shared)
            // The registry keeps those that a snapshot owns.
            owned.append(cache)
            try must { () throws(TLSFailure) in try context.shareSessions(cache) }
        }
        let keys = try ticketKeys(draft)
        try must { () throws(TLSFailure) in try context.useTickets(keys) }
    }

    private func keeping(_ draft: SessionsDraft) -> TLSSessionKeeping {
        if draft.isOff { return .off }
        if draft.builtinCount == nil, draft.shared == nil { return .none }
        return .kept(builtinCount: draft.builtinCount, isShared: draft.shared != nil)
    }

    private func sessionCache(_ shared: (name: String, bytes: Int, word: Word)) throws(Diagnostic) -> TLSSessionCache {
        if let known = sessionCacheBytes[shared.name], known != shared.bytes {
            throw Diagnostic(
                at: shared.word.position, directive: "ssl_session_cache",
                "the size \(shared.bytes) of shared memory zone \"\(shared.name)\" conflicts with already declared size \(known)",
                found: shared.word.shown, expected: "one size for each name")
        }
        sessionCacheBytes[shared.name] = shared.bytes
        if let cache = tls.cache(shared.name, bytes: shared.bytes) { return cache }
        throw Diagnostic(
            at: shared.word.position, directive: "ssl_session_cache", "there is no memory for session cache \"\(shared.word.shown)\"",
            found: shared.word.shown, expected: "a size that this machine has")
    }

    private func ticketKeys(_ draft: TLSDraft) throws(Diagnostic) -> TLSTicketKeys {
        guard let keys = draft.ticketKeys.isEmpty ? tls.tickets : TLSTicketKeys() else { throw noMemory }
        if draft.ticketKeys.isEmpty { keys.setLifetime(seconds: draft.sessionLifetimeSeconds) }
        for word in draft.ticketKeys {
            let path = logs.besideConfiguration(word.text)
            let bytes = try file(word, of: "ssl_session_ticket_key", failing: "open() \"\(path)\" failed")
            if keys.add(bytes) { continue }
            throw Diagnostic(
                at: word.position, directive: "ssl_session_ticket_key", "\"\(path)\" must be 48 or 80 bytes", found: "\(bytes.count) bytes",
                expected: "at most 16 files with 48 or 80 random bytes each")
        }
        return keys
    }

    private var noMemory: Diagnostic {
        Diagnostic(at: Position(file: "TLS"), "there is no memory for keys of tickets", found: "none", expected: "some")
    }

    /// What fails only for want of memory.
    private func must(_ body: () throws(TLSFailure) -> Void) throws(Diagnostic) {
        do throws(TLSFailure) { try body() } catch {
            throw Diagnostic(at: Position(file: "TLS"), error.reason, found: "a failure", expected: "a context")
        }
    }
}
