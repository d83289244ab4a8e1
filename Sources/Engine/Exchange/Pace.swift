// Rates: how fast an answer goes to the client (`limit_rate`) and a response is taken from the upstream (`proxy_limit_rate`).
// A paced client is served like a slow one: what may not go yet waits with its stream, in the spool, or unread at the upstream.
// Called by Answer.swift, StaticFile.swift and ResponseReader.swift. Nothing here runs for an answer without a rate.

import Bytes
import CLinux
import HTTPMessage

/// A size of a directive that takes variables.
package enum ByteCount: BitwiseCopyable {
    case fixed(Int64)
    case computed(Template)

    var isZero: Bool { if case .fixed(0) = self { true } else { false } }
}

extension Worker {
    /// Fixes the rate of an answer whose head is composed: from here on its location stays.
    @inline(__always)
    func beginPacing(_ x: Ref<Exchange>) {
        // The blank exchange has no rate.
        if x.hasOwnRate || x.paceRate != 0 || !x.location.limitRate.isZero { beginRatedPacing(x) }
    }

    @inline(never)
    private func beginRatedPacing(_ x: Ref<Exchange>) {
        if x.status == 101 || x.inner != nil {
            x.paceRate = 0
        } else if !x.hasOwnRate {
            x.paceRate = byteCount(x.location.limitRate, x)
        }
        if x.paceRate == 0 { return }
        x.paceAfter = byteCount(x.location.limitRateAfter, x)
        x.paceStartMs = nowMs
    }

    /// `set $limit_rate`, or what an upstream says in X-Accel-Limit-Rate: stronger than any `limit_rate`.
    func setRate(_ x: Ref<Exchange>, _ bytes: Int64) {
        x.paceRate = min(bytes, Limits.rateMax)
        x.hasOwnRate = true
    }

    func setRate(_ x: Ref<Exchange>, from text: ByteView) {
        guard let bytes = text.sizeBytes else { return logExchange(.error, "invalid $limit_rate", x, detail: text) }
        setRate(x, bytes)
    }

    /// The value of a size with variables; 0 when it is none.
    func byteCount(_ count: ByteCount, _ x: Ref<Exchange>) -> Int64 {
        switch count {
        case .fixed(let bytes): return min(bytes, Limits.rateMax)
        case .computed(let template):
            let text = copiedExpansion(template, x)
            guard let bytes = text.sizeBytes else {
                logExchange(.error, "invalid size", x, detail: text)
                return 0
            }
            return min(bytes, Limits.rateMax)
        }
    }

    /// What a rate has allowed since its start: a second's worth at once, as nginx, then evenly.
    private func allowed(_ rate: Int64, sinceMs: Int64) -> Int64 { rate * (min(nowMs - sinceMs, Limits.paceMsMax) + 1000) / 1000 }

    /// How long until some tenth of a second's worth may go, when `allowance` is what may go now.
    private func paceDelayMs(_ rate: Int64, _ allowance: Int64) -> Int64 { (max(1, rate / 10) - allowance) * 1000 / rate + 1 }

    // MARK: Towards the client

    /// How many bytes may go to the client's socket now; 0 or less: none.
    func paceAllowance(_ x: Ref<Exchange>) -> Int64 {
        let gone = x.bytesSentToClient - Int64(x.client.stream.pendingCount) - (x.responseSpool.written - x.responseSpool.taken)
        return allowed(x.paceRate, sinceMs: x.paceStartMs) + x.paceAfter - gone
    }

    /// Bytes of an answer to the client's stream: all of them, or as many as the rate allows while the rest waits behind them.
    func writeToClient(_ x: Ref<Exchange>, _ bytes: ByteView) -> WriteResult {
        let c = x.client
        if x.paceRate == 0 { return write(&c.value.stream, bytes) }
        // They count as gone already.
        let allowance = c.stream.hasPending ? 0 : max(0, min(paceAllowance(x) + Int64(bytes.count), Int64(bytes.count)))
        if allowance > 0, case .failed(let errno) = write(&c.value.stream, bytes.slice(0, Int(allowance))) { return .failed(errno) }
        let rest = bytes.slice(Int(allowance))
        if !rest.isEmpty, !queue(&c.value.stream, rest) { return .failed(ENOBUFS) }
        if c.stream.carrier == .http2 { paceStream(x, max(0, paceAllowance(x))) }
        return c.stream.hasPending ? .queued : .sent
    }

    /// Sends what waits for the client, as far as the rate allows.
    func flushToClient(_ x: Ref<Exchange>) -> WriteResult {
        let c = x.client
        if c.stream.carrier.isVirtual {
            // The session, or the exchange around it, takes it from here.
            if x.paceRate > 0 { paceStream(x, max(0, paceAllowance(x))) }
            return c.stream.hasPending ? .queued : .sent
        }
        if x.paceRate == 0 { return flush(&c.value.stream) }
        return flush(&c.value.stream, atMost: Int(max(0, paceAllowance(x))))
    }

    /// Sets the client's timer for what waits: until the rate allows more, or as long as a client may take nothing.
    func waitForClient(_ x: Ref<Exchange>) {
        let c = x.client
        // The exchange around it waits for the client.
        if x.inner != nil { return timers.cancel(c.timer) }
        // A stream that may send still waits for its session or its window, not for its rate.
        let mayStillSend = c.stream.clientStream.map { $0.credit > 0 } ?? !c.stream.isWritable
        x.isDelayed = x.paceRate > 0 && !mayStillSend
        let delay = x.isDelayed ? max(1, paceDelayMs(x.paceRate, paceAllowance(x))) : x.location.sendTimeoutMs
        timers.set(c.timer, at: nowMs + delay)
    }

    /// The client's timer fired for a delayed answer.
    func paceDue(_ x: Ref<Exchange>) {
        x.isDelayed = false
        if x.client.stream.hasPending { clientWritable(x.client, x) } else { resume(x) }
    }

    // MARK: From the upstream

    /// How many bytes may be read of the response now; 0 or less: none, and the upstream's timer goes off when some may.
    func upstreamAllowance(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) -> Int {
        let allowance = allowed(x.upstreamRate, sinceMs: x.upstreamPaceStartMs) - x.response.received
        if allowance <= 0 {
            x.isUpstreamDelayed = true
            timers.set(u.timer, at: nowMs + paceDelayMs(x.upstreamRate, allowance))
        }
        return Int(allowance)
    }
}

extension ByteView {
    /// Digits with `k` or `m` behind them, as sizes are written in a configuration.
    fileprivate var sizeBytes: Int64? {
        if isEmpty { return nil }
        let shift = switch asciiLower(self[count - 1]) {
        case 0x6B: 10
        case 0x6D: 20
        default: 0
        }
        guard let n = slice(0, shift == 0 ? count : count - 1).decimal, n <= Int64.max >> Int64(shift) else { return nil }
        return n << Int64(shift)
    }
}
