// What connections of one kind have in common in TLS: certificates, ciphers, versions. A server of ours has one, or a location's upstreams.
// Built by Control while a configuration is read and not changed afterwards; workers make connections from it.

import Bytes
import COpenSSL

/// What a server's own block says of TLS, for the data path.
package struct TLSServerSettings: BitwiseCopyable {
    /// An SSL_CTX that the snapshot keeps alive; nil: no certificate, the default server's stands in.
    package var context: OpaquePointer?
    /// `ssl_reject_handshake on`.
    package var rejectsHandshake = false
    package var verification = ClientVerification.off
    /// The same for servers that trust the same certificates in the same way.
    package var trust: Int32 = 0
    /// Certificates that have variables in their names; empty: the context has its certificates.
    package var pairs = Frozen<TLSPairTemplates>.empty
    /// Where they are found.
    package var files = CertificateFiles()
    package var status = StatusSettings()
    /// `ssl_early_data`.
    package var takesEarlyData = false
    package init() {}
}

/// `ssl_certificate` and `ssl_certificate_key` where one of them has variables.
package struct TLSPairTemplates: BitwiseCopyable {
    package var certificate: Template
    package var key: Template
    package init(certificate: Template, key: Template) {
        self.certificate = certificate
        self.key = key
    }
}

/// `ssl_verify_client`.
package enum ClientVerification: UInt8, BitwiseCopyable {
    case off, on
    /// None is as good as a good one.
    case optional
    /// One that nobody known has signed, too: somebody else judges it.
    case optionalFromAnyone
}

/// Versions of the protocol, as bits.
package struct TLSVersions: OptionSet, BitwiseCopyable, Sendable, Hashable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }
    package static let tls10 = TLSVersions(rawValue: 1)
    package static let tls11 = TLSVersions(rawValue: 2)
    package static let tls12 = TLSVersions(rawValue: 4)
    package static let tls13 = TLSVersions(rawValue: 8)
}

/// What libssl says to a certificate, a key, a list of ciphers.
package struct TLSFailure: Error {
    /// `SSL: error:...`, as nginx prints it.
    package var reason: String

    init() {
        let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 2048) { buffer -> String in
            guard let start = buffer.baseAddress, tls_errors(start, buffer.count) > 0 else { return "" }
            return String(cString: start)
        }
        reason = text.isEmpty ? "SSL: no reason given" : "SSL: " + text
    }
}

/// Owns an SSL_CTX. Snapshots keep it; a connection counts for one owner more, so that it may outlive its snapshot.
package final class TLSContext: @unchecked Sendable {
    /// The SSL_CTX. Not changed any more when the first connection is made from it; libssl locks what it changes itself.
    package let pointer: OpaquePointer

    /// isServer: for connections that we accept; else for those that we open.
    package init(isServer: Bool) throws(TLSFailure) {
        guard let made = tls_context_make(isServer ? 1 : 0) else { throw TLSFailure() }
        pointer = made
    }

    deinit { SSL_CTX_free(pointer) }

    func check(_ result: Int32) throws(TLSFailure) { if result != 1 { throw TLSFailure() } }

    /// A certificate in PEM with the chain behind it. One of each type of key may be added.
    package func addCertificate(_ pem: [UInt8]) throws(TLSFailure) {
        try check(tls_use_certificate(pointer, pem, pem.count))
    }

    /// The key of the certificate that was added last, in PEM. Passwords are tried in their order.
    package func addKey(_ pem: [UInt8], passwords: [String] = []) throws(TLSFailure) {
        try check(withStrings(passwords) { tls_use_key(pointer, pem, pem.count, passwords.isEmpty ? nil : $0) })
    }

    /// Parameters for finite-field Diffie-Hellman, in PEM.
    package func useDHParameters(_ pem: [UInt8]) throws(TLSFailure) {
        try check(tls_use_dh_parameters(pointer, pem, pem.count))
    }

    /// Certificates and keys are given to each connection: see `TLSServerSettings.pairs`.
    package func askForPairs() { tls_ask_for_pairs(pointer) }

    /// A client that comes again may send so much with its first bytes (RFC 8446 section 2.3); whoever records them may send them again.
    package func takeEarlyData(bytes: UInt32) { tls_take_early_data(pointer, bytes) }

    /// Secrets of connections are added to this file, in the format of NSS: who has it reads everything.
    package func logKeys(to path: String) throws(TLSFailure) { try check(tls_log_keys(pointer, path)) }

    package func setVersions(_ versions: TLSVersions) { tls_set_versions(pointer, versions.rawValue) }

    /// Ciphers of TLS 1.2 and before, in OpenSSL's words.
    package func setCiphers(_ list: String, prefersOwn: Bool = false) throws(TLSFailure) {
        try check(SSL_CTX_set_cipher_list(pointer, list))
        if prefersOwn { tls_prefer_own_ciphers(pointer) }
    }

    /// Groups for the exchange of keys, such as `X25519:prime256v1`.
    package func setGroups(_ list: String) throws(TLSFailure) { try check(tls_set_groups(pointer, list)) }

    /// The most plaintext that goes into one record, 512 to 16384.
    package func setRecordBytes(_ bytes: Int) { tls_set_fragment(pointer, min(max(bytes, 512), 16384)) }

    // MARK: A client's

    /// Certificates in PEM of those whom a client trusts, and how many may stand between one of them and a server.
    package func trust(_ pem: [UInt8], depth: Int) throws(TLSFailure) {
        try trust(pem)
        setVerifyDepth(depth)
    }

    /// Sessions that servers offer are kept by the worker, to be taken up again.
    package func keepSessions() { tls_keep_sessions(pointer) }

    /// The SHA-256 of some bytes; empty when OpenSSL has none.
    package static func digest(of bytes: [UInt8]) -> [UInt8] {
        var digest = [UInt8](repeating: 0, count: 32)
        return tls_digest(bytes, bytes.count, &digest) == 1 ? digest : []
    }

    // MARK: Commands

    /// Whether the value of this configuration command is the name of a file.
    package func commandTakesFile(_ name: String) -> Bool { tls_command_kind(pointer, name) == 2 }

    /// One of OpenSSL's configuration commands (SSL_CONF_cmd).
    package func command(_ name: String, _ value: String) throws(TLSFailure) { try check(tls_command(pointer, name, value)) }
}

/// The strings as an array of C that ends with a null.
private func withStrings(_ texts: [String], _ body: (UnsafePointer<UnsafePointer<CChar>?>) -> Int32) -> Int32 {
    func add(_ i: Int, _ list: [UnsafePointer<CChar>?]) -> Int32 {
        if i == texts.count {
            let whole = list + [nil]
            return whole.withUnsafeBufferPointer { $0.baseAddress.map(body) ?? 0 }
        }
        return texts[i].withCString { add(i + 1, list + [$0]) }
    }
    return add(0, [])
}
