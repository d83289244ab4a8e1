// TLS under an HTTP/2 connection to an upstream: it is agreed on once, on behalf of all the requests that wait for the connection.
// Called by SessionSharing.swift and SessionInput.swift. What TLS depends on and how it is logged is TLSClient.swift's.

import Bytes
import CLinux

extension Worker {
    /// Sets TLS up on `connection`, which the stream `u` of the exchange goes on. False: it cannot be, and the exchange has been answered.
    func startTLS(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, on connection: Ref<UpstreamConnection>) -> Bool {
        if startTLS(x, connection, protocols: "\u{2}h2") { return true }
        u.exchange = nil
        x.upstream = nil
        // Its stream is the only one, so this is the end of the connection.
        closeUpstream(u)
        endTry(x, .neither)
        answerFault(x, .badTLSValue)
        return false
    }

    /// The connection is open.
    func beginHandshake(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, _ session: Ref<UpstreamSession>) {
        if u.stream.tls == nil {
            // The header of the PROXY protocol goes first, as it is.
            guard let stream = x.upstream, sendProxyHeader(x, u), startTLS(x, stream, on: u) else { return }
        }
        u.phase = .handshaking
        shakeHands(u, session)
    }

    /// Goes on with the handshake; the requests follow it.
    func shakeHands(_ u: Ref<UpstreamConnection>, _ session: Ref<UpstreamSession>) {
        if u.stream.hasPending, case .failed(let errno) = flush(&u.value.stream) { return endHandshake(session, .failedSocket(errno)) }
        let result = shakeHands(&u.value.stream)
        switch result {
        case .wouldBlock: return
        case .done:
            guard let x = firstExchange(of: session) else { return closeUpstream(u) }
            if !isPeerTrusted(x, u) { return loseSession(session, .handshakeFailed) }
            if let t = u.stream.tls { keepSession(t) }
            sessionReady(u, session)
        case .wantsServer, .ended, .failed, .failedSocket: endHandshake(session, result)
        }
    }

    private func endHandshake(_ session: Ref<UpstreamSession>, _ result: HandshakeResult) {
        var next = session.firstStream
        while let stream = upstreamSessions.streams.find(next) {
            next = stream.next
            if let x = stream.owner.exchange { logHandshake(x, result) }
        }
        loseSession(session, .handshakeFailed)
    }

    /// One of the exchanges that wait for the connection: what TLS depends on is the same for all of them.
    func firstExchange(of session: Ref<UpstreamSession>) -> Ref<Exchange>? {
        var next = session.firstStream
        while let stream = upstreamSessions.streams.find(next) {
            next = stream.next
            if let x = stream.owner.exchange { return x }
        }
        return nil
    }
}
