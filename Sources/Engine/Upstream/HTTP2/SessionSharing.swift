// Which HTTP/2 connection a request goes on: one that is open and has room, an idle one, or a fresh one.
// Called by Connect.swift for locations that speak HTTP/2 to their upstreams. The pools' lists are UpstreamPool.swift's.

import Bytes
import CLinux
import CNghttp2

extension Worker {
    /// Puts the exchange on a stream to its peer, whose address is chosen.
    func connectOverHTTP2(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>?) {
        if let pool, !x.retriesSamePeer, let session = takeSession(x, pool) {
            guard let u = attachStream(x, to: session) else { return }
            if session.connection.phase == .connecting || session.connection.phase == .handshaking { return awaitConnection(x, u) }
            x.reusedConnection = true
            u.phase = .busy
            x.currentTry?.connectMs = 0
            return sendRequest(x, u)
        }
        x.retriesSamePeer = false
        guard let connection = makeConnection(x) else { return }
        let shared = pool.flatMap { isShareable($0) ? currentPlace(of: x, in: $0) : nil }
        connection.peer = x.proxyTarget.peer
        connection.address = x.proxyTarget.address
        connection.tag = x.location.tag
        guard let session = makeSession(connection, isShared: shared != nil) else {
            closeUpstream(connection)
            return cannotOpen(x, ENOMEM)
        }
        if let shared { join(connection, shared.pool, peer: shared.peer) }
        guard let u = attachStream(x, to: session) else { return }
        let r = kernel.connect(connection.stream.fd, connection.address.bytes.start, UInt32(connection.address.bytes.count))
        if r < 0, r != -EINPROGRESS {
            logExchange(.error, "connect() failed while connecting to upstream", x, errno: -r)
            return upstreamFailed(x, .connectRefused, isLogged: true)
        }
        if !register(connection) { return cannotOpen(x, ENOMEM) }
        awaitConnection(x, u)
        if r == 0 { sessionConnected(connection, session) }
    }

    private func awaitConnection(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        u.phase = .connecting
        x.phase = .connecting
        timers.set(u.timer, at: nowMs + x.location.proxy.connectTimeoutMs)
    }

    /// A connection without a socket, for this exchange alone. Nil: the exchange has been answered.
    private func attachStream(_ x: Ref<Exchange>, to session: Ref<UpstreamSession>) -> Ref<UpstreamConnection>? {
        let connection = session.connection
        guard let (u, handle) = upstreams.insert(UpstreamConnection()) else {
            if session.streamCount == 0 { sessionIsIdle(session) }
            cannotOpen(x, EMFILE)
            return nil
        }
        u.handle = handle
        u.openedMs = nowMs
        u.timer = timers.make(owner: EventOwner.word(.upstream, handle))
        u.phase = .connecting
        connection.requests += 1
        guard addStream(u, to: session) != nil else {
            if session.streamCount == 0 { sessionIsIdle(session) }
            closeUpstream(u)
            cannotOpen(x, EMFILE)
            return nil
        }
        attach(u, to: x)
        return u
    }

    /// Not for what `proxy_pass` names directly, nor without keepalive: there a connection serves one request, as with nginx.
    private func isShareable(_ pool: Ref<UpstreamPool>) -> Bool { pool.settings.keepalive > 0 && !pool.settings.isImplicit }

    /// The pool that the peer's connections belong to now, and its place there.
    private func currentPlace(of x: Ref<Exchange>, in origin: Ref<UpstreamPool>) -> (pool: Ref<UpstreamPool>, peer: Int32)? {
        if origin.isCurrent { return (origin, x.proxyTarget.peer) }
        guard let heir = currentPool(for: origin), let peer = findPeer(x.proxyTarget.address, in: heir) else { return nil }
        return (heir, peer)
    }

    /// An open connection with room for one more stream; one that is under way counts as open.
    private func takeSession(_ x: Ref<Exchange>, _ origin: Ref<UpstreamPool>) -> Ref<UpstreamSession>? {
        guard isShareable(origin), let place = currentPlace(of: x, in: origin) else { return nil }
        var next = place.pool.byPeer[Int(place.peer)].value
        while let u = upstreams.find(next) {
            next = u.nextOfPeer
            guard let session = u.session, !place.pool.settings.keepaliveIsLocal || u.tag == x.location.tag,
                hasIdentity(u, x.proxyTarget.tlsIdentity), hasRoom(session, place.pool)
            else { continue }
            if u.phase == .idle {
                if u.stream.peerClosed || u.stream.isBroken {
                    closeUpstream(u)
                    continue
                }
                // A request that must not be sent twice is not risked on a connection that has just closed.
                if !x.method.isIdempotent, u.stream.carrier == .tls || !isStillOpen(u) {
                    u.stream.isReadable = true
                    readSession(u, session)
                    if u.phase != .idle || session.isLeaving { continue }
                }
                unpark(u)
            }
            return session
        }
        return nil
    }

    private func hasRoom(_ session: Ref<UpstreamSession>, _ pool: Ref<UpstreamPool>) -> Bool {
        let u = session.connection
        if session.isLeaving || session.isDoubtful || u.requests >= pool.settings.keepaliveRequests || nowMs - u.openedMs > pool.settings.keepaliveTimeMs {
            return false
        }
        let theirs = nghttp2_session_get_remote_settings(session.native, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
        return session.streamCount < min(Limits.streamsPerConnection, Int(theirs))
    }

    /// A request that has waited since `waitingMs` is given up. If nothing has come on the connection meanwhile it may be dead, and nobody
    /// has been told, as when a firewall forgets it: until something comes, others go elsewhere.
    func doubtIfSilent(_ session: Ref<UpstreamSession>, since waitingMs: Int64) {
        if session.isDoubtful || nowMs - max(session.heardMs, waitingMs) < Limits.upstreamSilenceMs { return }
        session.isDoubtful = true
        // Servers of gRPC close a connection, with all its calls, for the third PING that comes while they have nothing to send.
        if session.pingsLeft == 0 { return }
        session.pingsLeft -= 1
        nghttp2_submit_ping(session.native, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil)
        markDirty(session)
    }

    /// The last stream is gone: the connection waits for the next request, or closes.
    func sessionIsIdle(_ session: Ref<UpstreamSession>) {
        let u = session.connection
        guard session.isShared, !session.isLeaving, !isStopping, u.phase == .busy, !u.stream.peerClosed, !u.stream.isBroken,
            let pool = u.pool, pool.isCurrent, hasRoom(session, pool)
        else { return closeUpstream(u) }
        park(u, in: pool)
    }
}
