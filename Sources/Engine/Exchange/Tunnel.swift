// After 101 Switching Protocols: bytes in both directions until the server ends; a client's half-close is passed on.
// Begun by the response reader; pumped by events of either connection. Back-pressure is not reading.

import Bytes
import CLinux
import HTTPMessage

extension Worker {
    func beginTunnel(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, _ bytes: ByteView, rest: ByteView) {
        guard x.head.fields.hasUpgradeToken || x.head.fields.upgradeIndex >= 0, x.inner == nil else {
            logExchange(.error, "upstream sent 101 to a request without Upgrade", x)
            return upstreamFailed(x, .upstreamBadHead, isLogged: true)
        }
        var answer = AnswerHead(status: 101)
        if x.root.keepsUpstreamHead { x.keptUpstreamHead = x.value.region.copy(bytes, from: &buffers, limit: Limits.regionBytesMax) ?? .empty }
        describe(x, bytes, &answer)
        composeHead(x, answer, upstream: bytes)
        x.phase = .tunnel
        x.answerBegun = true
        x.keepsAlive = false
        counts.tunnels += 1
        x.pinned.account.add(.tunnels)
        if let pool = x.proxyTarget.pool { pool.balancer.pointee.countTunnel(x.proxyTarget.peer, 1) }
        if let row = x.proxyTarget.row { observeAnswer(x, row) }
        x.isWebSocket = requestField(.upgrade, x)?.equalsIgnoringCase(ByteView("websocket")) ?? false
        guard emit(x, out.view) else { return }
        if !rest.isEmpty {
            if x.isWebSocket { x.value.framesOfUpstream.feed(rest.buffer.span) }
            x.bodySentToClient += Int64(rest.count)
            guard emit(x, rest) else { return }
        }
        dropHeadBuffer(x)
        let c = x.client
        timers.cancel(c.timer)
        // What the client sent behind its head belongs to the other protocol.
        if !c.input.isEmpty {
            let early = c.input
            if x.isWebSocket { x.value.framesOfClient.feed(early.buffer.span) }
            if case .failed = write(&u.value.stream, early) { return finish(x, .completed) }
            dropInputBuffer(c)
        }
        pumpTunnel(x)
    }

    func pumpTunnel(_ x: Ref<Exchange>) {
        guard let u = x.upstream else { return finish(x, .completed) }
        let c = x.client
        if x.isClosing, !x.isWebSocket { return endRawTunnel(x, u) }
        var budget = Limits.bytesPerTurn
        var moved = true
        while moved {
            moved = false
            if budget <= 0 { return post(x) }
            guard carry(x, toClient: false, from: &c.value.stream, to: &u.value.stream, &budget, &moved),
                carry(x, toClient: true, from: &u.value.stream, to: &c.value.stream, &budget, &moved)
            else { return tunnelBroke(x, u) }
        }
        if c.stream.isBroken || u.stream.isBroken { return tunnelBroke(x, u) }
        if x.isClosing, hasClosed(x, u) { return finish(x, .completed) }
        // A server that ends is done with the client, as in nginx; a client may end its side and still wait for the rest.
        if u.stream.sawEnd, !c.stream.hasPending { return finish(x, .completed) }
        if c.stream.sawEnd, !u.stream.hasPending, !x.clientHalfClosed {
            x.clientHalfClosed = true
            endStream(&u.value.stream)
        }
        timers.set(u.timer, at: nowMs + x.location.proxy.readTimeoutMs)
    }

    /// What has been read goes to where it was sent; no more is read.
    private func endRawTunnel(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        if case .failed = flush(&x.client.value.stream) { return tunnelBroke(x, u) }
        if case .failed = flush(&u.value.stream) { return tunnelBroke(x, u) }
        if !x.client.stream.hasPending, !u.stream.hasPending { finish(x, .completed) }
    }

    /// A reset of one end is a reset for the other: it must not look like an orderly end.
    func tunnelBroke(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        if x.client.stream.isBroken {
            cutStream(&u.value.stream)
            return finish(x, .abortedByClient(.clientReset))
        }
        finish(x, .failed(.upstreamReset))
    }

    /// One read in one direction, if the other side has taken what it has. False when a side is broken.
    private func carry(
        _ x: Ref<Exchange>, toClient: Bool, from: inout ByteStream, to: inout ByteStream, _ budget: inout Int, _ moved: inout Bool
    ) -> Bool {
        if to.hasPending {
            if case .failed = flush(&to) { return false }
            if to.hasPending { return true }
        }
        if !from.isReadable || from.sawEnd { return true }
        switch read(&from, into: scratch.data, Limits.readBytesWhileSlow) {
        case .bytes(let n):
            moved = true
            budget -= n
            let bytes = ByteView(scratch.data, n)
            return x.isWebSocket ? passFrames(bytes, x, toClient: toClient, to: &to) : pass(bytes, x, toClient: toClient, to: &to)
        case .wouldBlock, .end: return true
        case .failed: return false
        }
    }

    private func pass(_ bytes: ByteView, _ x: Ref<Exchange>, toClient: Bool, to: inout ByteStream) -> Bool {
        if toClient {
            x.bodySentToClient += Int64(bytes.count)
            x.bytesSentToClient += Int64(bytes.count)
        }
        if bytes.isEmpty { return true }
        if case .failed = write(&to, bytes) { return false }
        return true
    }

    // MARK: WebSocket (RFC 6455)

    /// As `pass`, with an eye on where frames end; the first end that comes is where this side is told to close, if it is to be.
    private func passFrames(_ bytes: ByteView, _ x: Ref<Exchange>, toClient: Bool, to: inout ByteStream) -> Bool {
        let isTold = toClient ? x.toldClient : x.toldUpstream
        var passing = isTold ? 0 : bytes.count
        var tells = false
        if x.isClosing, !isTold, let end = frames(x, toClient).boundary(in: bytes.buffer.span) {
            passing = end
            tells = true
        }
        follow(x, bytes.slice(0, passing), toClient)
        guard pass(bytes.slice(0, passing), x, toClient: toClient, to: &to) else { return false }
        if tells, !tellToClose(x, toClient: toClient, &to) { return false }
        // Nothing may come behind a close frame (section 5.5.1): what does is looked at for the other side's own.
        follow(x, bytes.slice(passing), toClient)
        return true
    }

    private func frames(_ x: Ref<Exchange>, _ toClient: Bool) -> WebSocketFrames { toClient ? x.framesOfUpstream : x.framesOfClient }

    private func follow(_ x: Ref<Exchange>, _ bytes: ByteView, _ toClient: Bool) {
        if toClient { x.value.framesOfUpstream.feed(bytes.buffer.span) } else { x.value.framesOfClient.feed(bytes.buffer.span) }
    }

    /// Writes a close frame between two frames, unless the other side's own has just gone through.
    private func tellToClose(_ x: Ref<Exchange>, toClient: Bool, _ to: inout ByteStream) -> Bool {
        if toClient { x.toldClient = true } else { x.toldUpstream = true }
        if frames(x, toClient).hasClosed { return true }
        scratchText.value.reset()
        if toClient {
            let frame = WebSocketFrames.close()
            for i in frame.indices { scratchText.value.append(frame[i]) }
            x.bytesSentToClient += Int64(scratchText.count)
        } else {
            let frame = WebSocketFrames.close(mask: UInt32(truncatingIfNeeded: kernel.random()))
            for i in frame.indices { scratchText.value.append(frame[i]) }
        }
        if case .failed = write(&to, scratchText.view) { return false }
        return true
    }

    /// Both ends have said that they close, or have gone.
    private func hasClosed(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) -> Bool {
        if x.client.stream.hasPending || u.stream.hasPending { return false }
        return (x.framesOfClient.hasClosed || x.client.stream.sawEnd) && (x.framesOfUpstream.hasClosed || u.stream.sawEnd)
    }

    /// Brings a tunnel to its end, which may take time. Both ends of a WebSocket connection are told to close, each where its next
    /// frame ends; of another protocol what is under way is delivered.
    func closeTunnelInOrder(_ x: Ref<Exchange>) {
        guard let u = x.upstream else { return finish(x, .completed) }
        x.isClosing = true
        if !x.isWebSocket {
            pumpTunnel(x)
        } else if x.framesOfUpstream.isAtBoundary, !tellToClose(x, toClient: true, &x.client.value.stream) {
            tunnelBroke(x, u)
        } else if x.framesOfClient.isAtBoundary, !tellToClose(x, toClient: false, &u.value.stream) {
            tunnelBroke(x, u)
        } else {
            pumpTunnel(x)
        }
    }
}
