// Sessions of TLS that clients take up again: caches that servers share, keys of tickets, and what of both a context uses.
// Made by Control, which keeps them over reloads. What is in them belongs to libssl and to COpenSSL.

import COpenSSL

/// A bounded cache of sessions that all workers share. Old sessions make room for new ones.
package final class TLSSessionCache: @unchecked Sendable {
    fileprivate let pointer: OpaquePointer

    /// bytes: of memory for sessions. Nil: there is not so much.
    package init?(bytes: Int) {
        guard let made = tls_sessions_make(bytes) else { return nil }
        pointer = made
    }

    deinit { tls_sessions_release(pointer) }

    package var count: Int { tls_sessions_count(pointer) }
}

/// Keys that tickets are encrypted with: made here and replaced by time, or given.
package final class TLSTicketKeys: @unchecked Sendable {
    fileprivate let pointer: OpaquePointer

    /// Nil: there is no memory for them.
    package init?() {
        guard let made = tls_tickets_make() else { return nil }
        pointer = made
    }

    deinit { tls_tickets_release(pointer) }

    /// Keys are not dropped before tickets that are good for so long are past.
    package func setLifetime(seconds: Int64) { tls_tickets_set_lifetime(pointer, seconds) }

    /// A key of 48 or 80 bytes. The first one encrypts, all decrypt. False: it has another length, or they are too many.
    package func add(_ key: [UInt8]) -> Bool { tls_tickets_add(pointer, key, key.count) == 1 }
}

/// Where a server keeps sessions that are not in tickets.
package enum TLSSessionKeeping: Hashable, Sendable {
    /// Nowhere, and it says so.
    case off
    /// Nowhere, and it does not say so.
    case none
    /// In a cache of the context's own, in one that is shared, or in both. builtinCount: 0: as many as OpenSSL likes.
    case kept(builtinCount: Int?, isShared: Bool)
}

extension TLSContext {
    /// lifetimeSeconds: after so long a session is not taken up any more.
    package func keepSessions(_ keeping: TLSSessionKeeping, lifetimeSeconds: Int64, hasTickets: Bool) {
        var kinds = TLS_SESSIONS_NONE
        var builtin = 0
        switch keeping {
        case .off: kinds = TLS_SESSIONS_OFF
        case .none: break
        case .kept(let count, let isShared):
            kinds = (count == nil ? 0 : TLS_SESSIONS_BUILTIN) | (isShared ? TLS_SESSIONS_SHARED : 0)
            builtin = count ?? 0
        }
        tls_keep_server_sessions(pointer, Int32(kinds), builtin, lifetimeSeconds, hasTickets ? 1 : 0)
    }

    package func shareSessions(_ cache: TLSSessionCache) throws(TLSFailure) { try check(tls_share_sessions(pointer, cache.pointer)) }

    package func useTickets(_ keys: TLSTicketKeys) throws(TLSFailure) { try check(tls_use_tickets(pointer, keys.pointer)) }

    /// Sessions are taken up only by a context that was given the same bytes: certificates, whom it trusts, and the like.
    package func bindSessions(to bytes: [UInt8]) throws(TLSFailure) { try check(tls_bind_sessions(pointer, bytes, bytes.count)) }

    // MARK: Certificates of the other side

    /// Asks clients for a certificate. A bad one does not end the handshake.
    package func askForCertificate() { tls_ask_for_certificate(pointer) }

    /// How many certificates may stand between the peer's and a trusted one.
    package func setVerifyDepth(_ depth: Int) { tls_set_verify_depth(pointer, Int32(clamping: depth)) }

    /// Trusts these certificates, in PEM. announces: clients are told their names.
    package func trust(_ pem: [UInt8], announces: Bool = false) throws(TLSFailure) {
        try check(tls_trust(pointer, pem, pem.count, announces ? 1 : 0))
    }

    /// Lists of revoked certificates in PEM. Every certificate of a chain needs one of its issuer then.
    package func revoke(_ pem: [UInt8]) throws(TLSFailure) { try check(tls_revoke(pointer, pem, pem.count)) }
}
