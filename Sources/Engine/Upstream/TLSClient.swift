// TLS towards upstreams: what a connection depends on, the handshake, whether the peer is who it should be, sessions, tickets.
// Called by Connect.swift and by events of connections whose handshake is under way. The records are Transport/TLSStream.swift's.

import Bytes
import CLinux
import COpenSSL

extension Worker {
    private static var handshaking: StaticString { " while SSL handshaking to upstream" }

    // MARK: What it depends on

    /// Computes, once for a target, the values that TLS to its peers is made of. False: the exchange has been answered.
    func prepareTLS(_ x: Ref<Exchange>) -> Bool {
        guard let settings = x.location.proxy.tls else {
            answerFault(x, .badTLSValue)
            return false
        }
        if settings.usesName { x.proxyTarget.tlsName = withoutPort(settings.name.isEmpty ? x.proxyTarget.hostText : copiedExpansion(settings.name, x)) }
        if !settings.certificate.isEmpty {
            x.proxyTarget.certificate = copiedExpansion(settings.certificate, x)
            if !x.proxyTarget.certificate.isEmpty { x.proxyTarget.certificateKey = copiedExpansion(settings.certificateKey, x) }
        }
        let values = [x.proxyTarget.tlsName, x.proxyTarget.certificate, x.proxyTarget.certificateKey]
        let count = settings.digest.count + values.reduce(0) { $0 + $1.count + 4 }
        guard let memory = x.value.region.allocate(count, from: &buffers, limit: Limits.regionBytesMax) else {
            logExchange(.error, Fault.noMemory.words, x)
            answerFault(x, .noMemory)
            return false
        }
        var w = ByteWriter(memory, capacity: count)
        w.append(settings.digest)
        for value in values {
            // With their lengths, so that no two lists of values look alike.
            for shift in [24, 16, 8, 0] { w.append(UInt8(truncatingIfNeeded: value.count >> shift)) }
            w.append(value)
        }
        x.proxyTarget.tlsIdentity = w.view
        return true
    }

    /// Names may come with a port, above all those that are computed from `$proxy_host` or `$http_host`.
    private func withoutPort(_ name: ByteView) -> ByteView {
        let from = name.hasPrefix(ByteView("[")) ? name.firstIndex(of: 0x5D) ?? 0 : 0
        return name.firstIndex(of: 0x3A, from: from).map { name.slice(0, $0) } ?? name
    }

    /// What the connection to the peer will depend on.
    func setIdentity(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        let identity = x.proxyTarget.tlsIdentity
        u.identityCount = identity.count
        u.peerKeyCount = identity.count + u.address.bytes.count
        u.peerKey = buffers.take(u.peerKeyCount)
        u.peerKey.start.update(from: identity.start, count: identity.count)
        (u.peerKey.start + identity.count).update(from: u.address.bytes.start, count: u.address.bytes.count)
    }

    /// Whether requests of `identity` may go on a connection; empty: without TLS.
    @inline(__always)
    func hasIdentity(_ u: Ref<UpstreamConnection>, _ identity: ByteView) -> Bool {
        u.identityCount == identity.count && (identity.isEmpty || u.value.identity == identity)
    }

    // MARK: The handshake

    /// The connection is open, and speaks TLS from here on.
    func beginHandshake(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        guard startTLS(x, u, protocols: "") else { return cannotBeginTLS(x) }
        u.phase = .handshaking
        timers.set(u.timer, at: x.tryStartedMs + x.location.proxy.connectTimeoutMs)
        shakeHands(x, u)
    }

    /// What TLS is to begin with is not there: no other peer would do better.
    func cannotBeginTLS(_ x: Ref<Exchange>) {
        if let u = x.upstream {
            u.exchange = nil
            x.upstream = nil
            closeUpstream(u)
        }
        endTry(x, .neither)
        answerFault(x, .badTLSValue)
    }

    /// Sets up what the handshake begins with. `protocols`: what ALPN offers, as on the wire. False: it cannot be, which has been logged.
    func startTLS(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, protocols: StaticString) -> Bool {
        guard let settings = x.location.proxy.tls, beginTLS(&u.value.stream, settings.context, isServer: false), let t = u.stream.tls else {
            logExchange(.crit, "SSL_new() failed", x, ssl: tlsErrors(), action: Self.handshaking)
            return false
        }
        let target = x.proxyTarget
        if settings.asksForName, isHostName(target.tlsName), !withCString(target.tlsName, { tls_ask_for_name(t.ssl, $0) == 1 }) {
            logExchange(.error, "SSL_set_tlsext_host_name() failed for", x, detail: target.tlsName, ssl: tlsErrors())
            return false
        }
        if !target.certificate.isEmpty, let failure = useCertificate(t.ssl, target.certificate, target.certificateKey, settings.files, x) {
            logFailure(failure, x)
            return false
        }
        if protocols.utf8CodeUnitCount > 0, tls_offer_protocols(t.ssl, protocols.utf8Start, UInt32(protocols.utf8CodeUnitCount)) != 1 {
            logExchange(.error, "SSL_set_alpn_protos() failed", x, ssl: tlsErrors())
            return false
        }
        if settings.reusesSessions {
            t.sessionKey = ByteView(u.peerKey.start, u.peerKeyCount)
            // Without it the handshake is a whole one.
            if let session = tlsSessions.find(t.sessionKey), SSL_set_session(t.ssl, session) != 1 { ERR_clear_error() }
        }
        return true
    }

    private func logFailure(_ failure: CertificateFailure, _ x: Ref<Exchange>) {
        switch failure {
        case .unread(let part, let errno):
            let reason = errno == 0 ? tlsErrors() : .empty
            if part == .chain {
                logExchange(.error, "cannot load certificate", x, detail: shown(x.proxyTarget.certificate), ssl: reason, errno: errno)
            } else {
                logExchange(.error, "cannot load certificate key", x, detail: shown(x.proxyTarget.certificateKey), ssl: reason, errno: errno)
            }
        case .unfit:
            let detail = shown(x.proxyTarget.certificateKey)
            logExchange(.error, "SSL_use_PrivateKey() failed for", x, detail: detail, ssl: tlsErrors())
        }
    }

    /// A key itself has no place in a log.
    private func shown(_ name: ByteView) -> ByteView { name.hasPrefix(ByteView("data:")) ? ByteView("data:...") : name }

    /// Literal addresses are not asked for (RFC 6066 section 3).
    private func isHostName(_ name: ByteView) -> Bool {
        if name.isEmpty || name[0] == 0x5B { return false }
        var four: UInt32 = 0
        return !withCString(name) { inet_pton(AF_INET, $0, &four) == 1 }
    }

    private func withCString(_ text: ByteView, _ body: (UnsafePointer<CChar>) -> Bool) -> Bool {
        if text.firstIndex(of: 0) != nil { return false }
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: text.count + 1) { c in
            for i in 0..<text.count { c[i] = CChar(bitPattern: text[i]) }
            c[text.count] = 0
            return c.baseAddress.map { body($0) } ?? false
        }
    }

    enum PeerHandshake { case isUnderWay, isDone, hasFailed }

    /// Goes on with the handshake; the request follows it.
    func shakeHands(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        switch advance(x, u) {
        case .isUnderWay: return
        case .hasFailed: upstreamFailed(x, .upstreamTLS, isLogged: true)
        case .isDone:
            u.phase = .busy
            x.currentTry?.connectMs = nowMs - x.tryStartedMs
            sendRequest(x, u)
        }
    }

    /// The handshake as far as it goes now, and whether the peer is who it should be. What fails has been logged for `x`.
    func advance(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) -> PeerHandshake {
        if u.stream.hasPending, case .failed(let errno) = flush(&u.value.stream) {
            logHandshake(x, .failedSocket(errno))
            return .hasFailed
        }
        let result = shakeHands(&u.value.stream)
        switch result {
        case .wouldBlock: return .isUnderWay
        case .done:
            if !isPeerTrusted(x, u) { return .hasFailed }
            if let t = u.stream.tls { keepSession(t) }
            return .isDone
        case .wantsServer, .wantsPairs, .ended, .failed, .failedSocket:
            logHandshake(x, result)
            return .hasFailed
        }
    }

    private func logHandshake(_ x: Ref<Exchange>, _ result: HandshakeResult) {
        switch result {
        case .failed:
            let isPeers = tls_failure_is_peers() != 0
            logExchange(isPeers ? .error : .crit, "SSL_do_handshake() failed", x, ssl: tlsErrors(), action: Self.handshaking)
        case .failedSocket(let errno):
            logExchange(.error, "peer closed connection in SSL handshake", x, action: Self.handshaking, errno: errno)
        default: logExchange(.error, "peer closed connection in SSL handshake", x, action: Self.handshaking)
        }
    }

    func handshakeTimedOut(_ x: Ref<Exchange>) {
        logExchange(.error, "upstream timed out", x, action: Self.handshaking, errno: ETIMEDOUT)
        upstreamFailed(x, .connectTimeout, isLogged: true)
    }

    /// Whether the peer has shown what `proxy_ssl_verify` asks for. Otherwise the log says what was wrong.
    private func isPeerTrusted(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) -> Bool {
        guard let settings = x.location.proxy.tls, let t = u.stream.tls else { return false }
        if !settings.verifies { return true }
        let verdict = SSL_get_verify_result(t.ssl)
        if verdict != X509_V_OK {
            let w = valueText
            w.value.reset()
            w.value.append(decimal: Int(verdict))
            w.value.append(":")
            if let words = X509_verify_cert_error_string(verdict) { w.value.append(ByteView(cString: words)) }
            w.value.append(")")
            logExchange(.error, "upstream SSL certificate verify error: (", x, more: w.view, action: Self.handshaking)
            return false
        }
        if withCString(x.proxyTarget.tlsName, { tls_server_is(t.ssl, $0) == 1 }) { return true }
        logExchange(.error, "upstream SSL certificate does not match", x, detail: x.proxyTarget.tlsName, action: Self.handshaking)
        return false
    }

    // MARK: Afterwards

    /// The session that the last call into libssl brought is kept for the next connection to the peer.
    func keepSession(_ t: Ref<TLSConnection>) {
        guard !t.sessionKey.isEmpty, let session = tls.pipe.pointee.session else { return }
        tls.pipe.pointee.session = nil
        tlsSessions.keep(session, t.sessionKey)
    }

    /// Takes what a peer says on an idle connection. True: tickets and the like, and the connection is still good for a request.
    func isQuiet(_ u: Ref<UpstreamConnection>) -> Bool {
        // Not into the scratch: the client's input may still lie there.
        var byte: UInt8 = 0
        if case .wouldBlock = read(&u.value.stream, into: &byte, 1) { return true }
        return false
    }
}
