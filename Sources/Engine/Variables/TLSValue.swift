// Variables about a client's TLS: what the handshake agreed on.
// Asked by Evaluate.swift. Without TLS none of them has a value.

import Bytes
import COpenSSL

extension Worker {
    func tlsValue(_ v: Variable, _ x: Ref<Exchange>) -> ByteView? {
        guard let ssl = x.client.stream.tls?.ssl else { return nil }
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
        default: break
        }
        let w = valueText
        w.value.reset()
        let room = w.room
        let n = w.start.withMemoryRebound(to: CChar.self, capacity: room) { buffer in
            switch v.kind {
            case .sslCiphers: tls_ciphers(ssl, buffer, room)
            case .sslCurve: tls_curve(ssl, buffer, room)
            case .sslCurves: tls_curves(ssl, buffer, room)
            case .sslSessionID: tls_session_id(ssl, buffer, room)
            default: 0
            }
        }
        w.value.advance(n)
        return n == 0 ? nil : w.view
    }
}
