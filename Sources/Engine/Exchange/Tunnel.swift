// After 101 Switching Protocols: bytes in both directions until the server ends; a client's half-close is passed on.
// Begun by the response reader; pumped by events of either connection. Back-pressure is not reading.

import Bytes
import CLinux
import HTTPMessage

extension Worker {
    func beginTunnel(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, _ bytes: ByteView, rest: ByteView) {
        guard x.head.fields.hasUpgradeToken || x.head.fields.upgradeIndex >= 0 else {
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
        guard emit(x, out.view) else { return }
        if !rest.isEmpty {
            x.bodySentToClient += Int64(rest.count)
            guard emit(x, rest) else { return }
        }
        buffers.give(x.headBuffer)
        x.headBuffer = .none
        x.headBuffered = 0
        let c = x.client
        timers.cancel(c.timer)
        // What the client sent behind its head belongs to the other protocol.
        if !c.input.isEmpty {
            let early = c.input
            if case .failed = write(&u.value.stream, early) { return finish(x, .completed) }
            dropInputBuffer(c)
        }
        pumpTunnel(x)
    }

    func pumpTunnel(_ x: Ref<Exchange>) {
        guard let u = x.upstream else { return finish(x, .completed) }
        let c = x.client
        var budget = Limits.bytesPerTurn
        var moved = true
        while moved {
            moved = false
            if budget <= 0 { return post(x) }
            guard carry(from: &c.value.stream, to: &u.value.stream, &budget, &moved), carry(from: &u.value.stream, to: &c.value.stream, &budget, &moved, x)
            else { return tunnelBroke(x, u) }
        }
        if c.stream.isBroken || u.stream.isBroken { return tunnelBroke(x, u) }
        // A server that ends is done with the client, as in nginx; a client may end its side and still wait for the rest.
        if u.stream.sawEnd, !c.stream.hasPending { return finish(x, .completed) }
        if c.stream.sawEnd, !u.stream.hasPending, !x.clientHalfClosed {
            x.clientHalfClosed = true
            _ = kernel.shutdownWrite(u.stream.fd)
        }
        timers.set(u.timer, at: nowMs + x.location.proxy.readTimeoutMs)
    }

    /// A reset of one end is a reset for the other: it must not look like an orderly end.
    func tunnelBroke(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        if x.client.stream.isBroken {
            kernel.resetOnClose(u.stream.fd)
            return finish(x, .abortedByClient(.clientReset))
        }
        finish(x, .failed(.upstreamReset))
    }

    /// One read in one direction, if the other side has taken what it has. False when a side is broken.
    private func carry(
        from: inout ByteStream, to: inout ByteStream, _ budget: inout Int, _ moved: inout Bool, _ x: Ref<Exchange>? = nil
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
            if let x {
                x.bodySentToClient += Int64(n)
                x.bytesSentToClient += Int64(n)
            }
            if case .failed = write(&to, ByteView(scratch.data, n)) { return false }
            return true
        case .wouldBlock, .end: return true
        case .failed: return false
        }
    }
}
