// What stands in a certificate and its chain: names, times, fingerprints; and whether a key belongs to it.
// Made by Control from PEM, for the admin API and the log. Plain values once read; no connection is made from them.

import COpenSSL

/// One certificate.
package struct TLSCertificate: Sendable, Equatable {
    /// RFC 2253: `CN=example.com`.
    package var subject = ""
    package var issuer = ""
    /// Hexadecimal.
    package var serial = ""
    /// Subject alternative names: hosts, and addresses in digits.
    package var names: [String] = []
    /// Milliseconds since 1970.
    package var notBeforeMs: Int64 = 0
    package var notAfterMs: Int64 = 0
    /// SHA-256, hexadecimal.
    package var fingerprint = ""
    /// `RSA 2048`, `EC prime256v1`, `ED25519`.
    package var keyType = ""

    /// Whether a client that asks for `host` takes this certificate for it (RFC 6125: a star stands for one label, the first).
    package func covers(_ host: String) -> Bool {
        let host = host.lowercased()
        return names.contains { name in
            let name = name.lowercased()
            if name == host { return true }
            guard name.hasPrefix("*."), let dot = host.firstIndex(of: "."), dot != host.startIndex else { return false }
            return host[dot...] == name.dropFirst()
        }
    }
}

/// A server's certificate with those behind it.
package struct TLSCertificateChain: Sendable, Equatable {
    /// The server's own first; never empty.
    package private(set) var certificates: [TLSCertificate] = []
    /// SHA-256 over all of them, hexadecimal: tells chains apart that begin with the same certificate.
    package private(set) var digest = ""
    /// In PEM, nothing else beside them.
    package private(set) var pem: [UInt8] = []
    /// The place of the first that the one behind it has not signed; nil: the chain holds together.
    package private(set) var breakAt: Int?

    package var first: TLSCertificate { certificates[0] }

    package enum KeyVerdict: Sendable {
        case fits, differs, isEncrypted, cannotBeRead
    }

    /// - Throws: what OpenSSL has to say where there is no certificate in the text, or one that cannot be read.
    package init(_ pem: [UInt8]) throws(TLSFailure) {
        guard let chain = tls_chain_read(pem, pem.count) else { throw TLSFailure() }
        defer { tls_chain_free(chain) }
        for i in 0..<tls_chain_count(chain) {
            guard let one = tls_chain_at(chain, i), let read = TLSCertificate(one) else { throw TLSFailure() }
            certificates.append(read)
            if breakAt == nil, i + 1 < tls_chain_count(chain), tls_certificate_is_issued(one, tls_chain_at(chain, i + 1)) == 0 { breakAt = Int(i) }
        }
        digest = hexadecimal { tls_chain_digest(chain, $0) }
        self.pem = bytes { tls_chain_pem(chain, $0, $1) }
    }

    /// Whether the key in PEM is that of the first certificate.
    package func verdict(onKey key: [UInt8]) -> KeyVerdict {
        guard let chain = tls_chain_read(pem, pem.count) else { return .differs }
        defer {
            tls_chain_free(chain)
            ERR_clear_error()
        }
        switch Int(tls_certificate_check_key(tls_chain_at(chain, 0), key, key.count)) {
        case TLS_KEY_FITS: return .fits
        case TLS_KEY_DIFFERS: return .differs
        case TLS_KEY_ENCRYPTED: return .isEncrypted
        default: return .cannotBeRead
        }
    }

    /// The key of a text in PEM, with nothing else beside it; nil: there is none that can be read.
    package static func keyAlone(_ pem: [UInt8]) -> [UInt8]? {
        let key = bytes { tls_key_pem(pem, pem.count, $0, $1) }
        ERR_clear_error()
        return key.isEmpty ? nil : key
    }
}

extension TLSCertificate {
    fileprivate init?(_ certificate: OpaquePointer) {
        func text(_ what: Int) -> String { String(decoding: bytes { tls_certificate_text(certificate, Int32(what), $0, $1) }, as: UTF8.self) }
        var (from, to): (Int64, Int64) = (0, 0)
        guard tls_certificate_times(certificate, &from, &to) == 1 else { return nil }
        subject = text(TLS_SUBJECT)
        issuer = text(TLS_ISSUER)
        serial = text(TLS_SERIAL).lowercased()
        keyType = text(TLS_KEY_TYPE)
        names = bytes(16 << 10) { tls_certificate_names(certificate, $0, $1) }.split(separator: 0).map { String(decoding: $0, as: UTF8.self) }
        notBeforeMs = from * 1000
        notAfterMs = to * 1000
        fingerprint = hexadecimal { tls_certificate_fingerprint(certificate, $0) }
    }
}

/// What `fill` writes, which is asked again where it wants more room.
private func bytes(_ room: Int = 4096, _ fill: (UnsafeMutablePointer<CChar>, Int) -> Int) -> [UInt8] {
    var wanted = 0
    func ask(_ room: Int) -> [UInt8] {
        [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
            guard let start = buffer.baseAddress else { return }
            wanted = start.withMemoryRebound(to: CChar.self, capacity: room) { fill($0, room) }
            count = min(wanted, room)
        }
    }
    let first = ask(room)
    return wanted > room ? ask(wanted) : first
}

private func hexadecimal(_ fill: (UnsafeMutablePointer<UInt8>) -> Int32) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var digest = [UInt8](repeating: 0, count: 32)
    if digest.withUnsafeMutableBufferPointer({ $0.baseAddress.map(fill) ?? 0 }) != 1 { return "" }
    return String(decoding: digest.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
}
