// Whether what a client showed in its handshake allows the request it sends now: its certificate, and the server it asked for.
// Called once for each request on an address for TLS, when its server is known. What it does not allow, it answers.

import Bytes
import COpenSSL
import HTTPMessage

extension Worker {
    /// Whether the handshake allows this request. False: it has been answered.
    func isAllowedByTLS(_ x: Ref<Exchange>) -> Bool {
        guard let t = x.client.stream.tls else {
            return refuse(x, 497, "client sent plain HTTP request to HTTPS port")
        }
        return x.server.tls.verification == .off || isVerified(x, t)
    }

    private func isVerified(_ x: Ref<Exchange>, _ t: Ref<TLSConnection>) -> Bool {
        let isNamed = isNamedByHandshake(x, t)
        if isNamed == false {
            return refuse(x, 421, "client attempted to request the server name different from the one that was negotiated")
        }
        let verification = x.server.tls.verification
        let hasCertificate = tls_has_peer_certificate(t.ssl) != 0
        let verdict = tls_verdict(t.ssl)
        if verdict != X509_V_OK, verification != .optionalFromAnyone || tls_verdict_is_unknown_issuer(verdict) == 0 {
            return refuse(x, 495, "client SSL certificate verify error: ", more: words(of: verdict), forgetting: t)
        }
        if let words = t.status.words {
            return refuse(x, 495, "client SSL certificate verify error: ", more: words, forgetting: t)
        }
        if !hasCertificate {
            return verification != .on || refuse(x, 496, "client sent no required SSL certificate", forgetting: t)
        }
        // Where the default server has judged the certificate, by those that it trusts, that is no word for another server's.
        if isNamed == nil || x.server.tls.context == nil, let first = x.client.defaultServer(in: self),
            first.tls.trust != x.server.tls.trust || first.tls.status.depth < x.server.tls.status.depth
        {
            return refuse(x, 421, "client certificate was verified for another server")
        }
        return true
    }

    /// The number and OpenSSL's words for it.
    private func words(of verdict: Int) -> ByteView {
        let w = valueText
        w.value.reset()
        w.value.append("(")
        w.value.append(decimal: verdict)
        w.value.append(":")
        if let words = X509_verify_cert_error_string(verdict) { w.value.append(ByteView(cString: words)) }
        w.value.append(")")
        return w.view
    }

    /// Whether the request is for the server that the name of the handshake has led to; nil: it has led to none.
    private func isNamedByHandshake(_ x: Ref<Exchange>, _ t: Ref<TLSConnection>) -> Bool? {
        guard let name = tls_server_name(t.ssl), let listen = listeners[Int(x.client.listener)].settings,
            case .valid(let range, _, _) = validateHost(ByteView(cString: name).buffer.span),
            serverNamed(ByteView(cString: name), listen) != nil
        else { return nil }
        return !x.hasHost || x.host.equalsIgnoringCase(ByteView(cString: name).slice(Int(range.start), Int(range.count)))
    }

    /// forgetting: its session must not be taken up again.
    private func refuse(
        _ x: Ref<Exchange>, _ status: UInt16, _ words: StaticString, more: ByteView = .empty, forgetting t: Ref<TLSConnection>? = nil
    ) -> Bool {
        logExchange(.info, words, x, more: more)
        if let t { tls_forget_session(t.ssl, t.first) }
        answerError(x, status)
        return false
    }
}
