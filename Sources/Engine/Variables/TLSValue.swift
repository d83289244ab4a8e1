// Variables about a client's TLS: what the handshake agreed on, and what the client's certificate says.
// Asked by Evaluate.swift. Without TLS none of them has a value.

import Bytes
import COpenSSL

extension Worker {
    func tlsValue(_ v: Variable, _ x: Ref<Exchange>) -> ByteView? {
        guard let t = x.client.stream.tls else { return nil }
        let ssl = t.ssl
        switch v.kind {
        case .sslProtocol: return SSL_get_version(ssl).map { ByteView(cString: $0) }
        case .sslCipher: return SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)).map { ByteView(cString: $0) }
        case .sslServerName: return tls_server_name(ssl).map { ByteView(cString: $0) }
        case .sslSessionReused: return SSL_session_reused(ssl) != 0 ? ByteView("r") : ByteView(".")
        case .sslALPNProtocol:
            var name: UnsafePointer<UInt8>?
            var count: UInt32 = 0
            SSL_get0_alpn_selected(ssl, &name, &count)
            return name.map { ByteView($0, Int(count)) }
        case .sslCiphers: return tlsText { tls_ciphers(ssl, $0, $1) }
        case .sslCurve: return tlsText { tls_curve(ssl, $0, $1) }
        case .sslCurves: return tlsText { tls_curves(ssl, $0, $1) }
        case .sslSessionID: return tlsText { tls_session_id(ssl, $0, $1) }
        case .sslEarlyData: return isUnderWay(t) ? ByteView("1") : nil
        case .sslClientVerify: return clientVerdict(t)
        default: return clientCertificateValue(v.kind, ssl)
        }
    }

    /// What OpenSSL writes is the value; nothing is none.
    private func tlsText(_ write: (UnsafeMutablePointer<CChar>, Int) -> Int) -> ByteView? {
        let w = valueText
        w.value.reset()
        let room = w.room
        let n = w.start.withMemoryRebound(to: CChar.self, capacity: room) { write($0, room) }
        w.value.advance(n)
        return n == 0 ? nil : w.view
    }

    // MARK: The client's certificate

    private func clientCertificateValue(_ kind: VariableKind, _ ssl: OpaquePointer) -> ByteView? {
        func text(_ what: Int) -> ByteView? { tlsText { tls_peer_text(ssl, Int32(what), $0, $1) } }
        switch kind {
        case .sslClientRawCert: return text(TLS_PEER_PEM)
        case .sslClientCert: return rewritten(text(TLS_PEER_PEM)) { pem, w in pem.appendIndented(to: w) }
        case .sslClientEscapedCert: return rewritten(text(TLS_PEER_PEM)) { pem, w in pem.appendEscaped(to: w) }
        case .sslClientSubject: return text(TLS_PEER_SUBJECT)
        case .sslClientIssuer: return text(TLS_PEER_ISSUER)
        case .sslClientSubjectLegacy: return text(TLS_PEER_SUBJECT_LEGACY)
        case .sslClientIssuerLegacy: return text(TLS_PEER_ISSUER_LEGACY)
        case .sslClientSerial: return text(TLS_PEER_SERIAL)
        case .sslClientFingerprint: return text(TLS_PEER_FINGERPRINT)
        case .sslClientStart: return text(TLS_PEER_NOT_BEFORE)
        case .sslClientEnd: return text(TLS_PEER_NOT_AFTER)
        case .sslClientRemain:
            let days = tls_peer_days_left(ssl, realtimeNs / 1_000_000_000)
            if days < 0 { return nil }
            valueText.value.reset()
            valueText.value.append(decimal: days)
            return valueText.view
        default: return nil
        }
    }

    private func clientVerdict(_ t: Ref<TLSConnection>) -> ByteView {
        if tls_has_peer_certificate(t.ssl) == 0 { return ByteView("NONE") }
        let verdict = tls_verdict(t.ssl)
        var words = t.status.words
        if verdict != X509_V_OK { words = X509_verify_cert_error_string(verdict).map { ByteView(cString: $0) } ?? .empty }
        guard let words else { return ByteView("SUCCESS") }
        let w = valueText
        w.value.reset()
        w.value.append("FAILED:")
        w.value.append(words)
        return w.view
    }

    /// A value made of another one: the writer has room for both, one behind the other.
    private func rewritten(_ text: ByteView?, _ write: (ByteView, Ref<ByteWriter>) -> Void) -> ByteView? {
        guard let text else { return nil }
        let w = valueText
        let before = w.view.count
        write(text, w)
        return w.view.slice(before)
    }
}

extension ByteView {
    /// A tab behind every line's end and no end of the last line: a value for a field that is folded, as old servers took it.
    fileprivate func appendIndented(to w: Ref<ByteWriter>) {
        for i in 0..<max(count - 1, 0) {
            w.value.append(self[i])
            if self[i] == 0x0A { w.value.append(0x09) }
        }
    }

    /// All but letters, digits and `-._~` as `%XX` (RFC 3986 section 2.1).
    fileprivate func appendEscaped(to w: Ref<ByteWriter>) {
        for i in 0..<count {
            switch self[i] {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: w.value.append(self[i])
            default:
                w.value.append(0x25)
                w.value.append(Self.digit(self[i] >> 4))
                w.value.append(Self.digit(self[i] & 15))
            }
        }
    }

    private static func digit(_ n: UInt8) -> UInt8 { n < 10 ? 0x30 + n : 0x41 + n - 10 }
}
