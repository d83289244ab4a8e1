// TLS under an HTTP/2 connection to an upstream: the handshake comes first, for all the requests that wait for the connection.
// Called by SessionInput.swift. What TLS depends on and who is trusted is TLSClient.swift's.

import Bytes

extension Worker {
    /// The socket is open; the requests go on waiting.
    func beginHandshake(_ u: Ref<UpstreamConnection>, _ session: Ref<UpstreamSession>) {
        guard let x = firstWaiting(session) else { return closeUpstream(u) }
        // In front of everything, on a connection that is this exchange's own.
        if x.location.proxy.sendsProxyHeader != .none, !sendProxyHeader(x, u) { return }
        if !startTLS(x, u, protocols: "\u{2}h2") { return loseSession(session, .badTLSValue) }
        u.phase = .handshaking
        shakeHands(u, session)
    }

    /// Goes on with the handshake; the requests follow it.
    func shakeHands(_ u: Ref<UpstreamConnection>, _ session: Ref<UpstreamSession>) {
        guard let x = firstWaiting(session) else { return closeUpstream(u) }
        switch advance(x, u) {
        case .isUnderWay: return
        case .isDone: sessionConnected(u, session)
        case .hasFailed:
            if let stream = x.upstream?.stream.upstreamStream { setFault(stream, .handshakeFailed, code: 1) }
            loseSession(session, .handshakeFailed)
        }
    }

    /// All that wait share what TLS depends on: any of them may speak for the connection.
    private func firstWaiting(_ session: Ref<UpstreamSession>) -> Ref<Exchange>? {
        var next = session.firstStream
        while let stream = upstreamSessions.streams.find(next) {
            if let x = stream.owner.exchange { return x }
            next = stream.next
        }
        return nil
    }
}
