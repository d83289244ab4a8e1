// Decides, after a try at a peer failed, whether another peer (or a fresh connection) is tried or the client hears of it.
// Called by everything that sees an upstream fail. The rules are nginx's `proxy_next_upstream`, with its care for unsafe methods.

import Balancing
import Bytes
import HTTPMessage

extension Worker {
    /// The try at the current peer failed with `fault`.
    func upstreamFailed(_ x: Ref<Exchange>, _ fault: Fault, isLogged: Bool = false) {
        if x.phase == .finished { return }
        if !isLogged { logExchange(fault.level, fault.words, x) }
        let wasReused = x.reusedConnection && x.headBuffered == 0 && (fault == .upstreamClosed || fault == .upstreamReset || fault == .upstreamRefused)
        if let u = x.upstream {
            x.upstream = nil
            u.exchange = nil
            closeUpstream(u)
        }
        counts.upstreamFailures += 1
        if x.answerBegun {
            if let row = x.proxyTarget.row { observeFault(x, row, fault) }
            // Streams end so every day: whether the peer does badly is for `outlier_detection` to say.
            endTry(x, .cut)
            return finish(x, .failed(fault))
        }
        if x.currentTry?.status == 0 { x.currentTry?.status = fault.status }
        // An idle connection that the server closed just then says nothing of the server's health.
        if wasReused, mayRepeat(x, fault, isFree: true) {
            closeRecord(x)
            x.retriesSamePeer = x.proxyTarget.pool != nil
            countRetry(x)
            return connect(x)
        }
        endTry(x, wasReused ? .neither : .failed)
        if mayRepeat(x, fault, isFree: false) {
            countRetry(x)
            return connect(x)
        }
        answerFault(x, fault)
    }

    /// A status that `proxy_next_upstream` names, while there are tries left. True when the exchange goes on elsewhere.
    func tryNextForStatus(_ x: Ref<Exchange>) -> Bool {
        let condition: NextUpstream
        switch x.upstreamHead.status {
        case 500: condition = .http500
        case 502: condition = .http502
        case 503: condition = .http503
        case 504: condition = .http504
        case 403: condition = .http403
        case 404: condition = .http404
        case 429: condition = .http429
        default: return false
        }
        guard x.location.proxy.nextUpstream.contains(condition) else { return false }
        // What goes to the client is an answer: else one request that all peers fail at, or that must not be repeated, takes all of them out.
        guard x.triesLeft > 1, allows(x, condition) else { return false }
        let outcome: PeerOutcome = condition == .http403 || condition == .http404 ? .neither : .failed
        guard affordsRetry(x) else {
            if x.holdsPeer, outcome == .failed { x.failsPeerAtEnd = true }
            return false
        }
        x.triesLeft -= 1
        if let u = x.upstream {
            x.upstream = nil
            closeUpstream(u)
        }
        endTry(x, outcome)
        countRetry(x)
        x.headBuffered = 0
        connect(x)
        return true
    }

    private func mayRepeat(_ x: Ref<Exchange>, _ fault: Fault, isFree: Bool) -> Bool {
        guard let condition = fault.nextUpstream, allows(x, condition) else { return false }
        x.headBuffered = 0
        if isFree { return true }
        if x.triesLeft <= 1 || !affordsRetry(x) { return false }
        x.triesLeft -= 1
        return true
    }

    private func allows(_ x: Ref<Exchange>, _ condition: NextUpstream) -> Bool {
        let proxy = x.location.proxy
        var needed = condition
        if x.requestSent, x.method == .post || x.method == .patch || x.method == .lock { needed.insert(.nonIdempotent) }
        if !proxy.nextUpstream.isSuperset(of: needed) { return false }
        // What was streamed is gone: it cannot be sent again.
        if x.streamsBody, x.bodySent > 0 || x.requestSent { return false }
        return proxy.nextUpstreamTimeoutMs == 0 || nowMs - x.firstTryMs < proxy.nextUpstreamTimeoutMs
    }

    /// What came of a head is used up, or nobody's.
    @inline(__always)
    func dropHeadBuffer(_ x: Ref<Exchange>) {
        if !x.headBuffer.isNone {
            buffers.give(x.headBuffer)
            x.headBuffer = .none
        }
        x.headBuffered = 0
    }

    private func countRetry(_ x: Ref<Exchange>) {
        counts.retries += 1
        if x.inner == nil { x.pinned.account.add(.retried) }
    }

    private func closeRecord(_ x: Ref<Exchange>) {
        guard x.tryIsOpen, let record = x.currentTry else { return }
        x.tryIsOpen = false
        record.responseMs = nowMs - x.tryStartedMs
    }
}
