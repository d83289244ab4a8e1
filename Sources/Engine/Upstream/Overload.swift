// What an upstream takes at once: the breaker of its circuit, the budget of its retries; and what is said of ejections and panic.
// Asked by Connect.swift and Retry.swift. The counts are those of all workers; who is ejected is Balancing's to say.

import Balancing
import Bytes

extension Worker {
    // MARK: The circuit breaker

    /// Counts the exchange among the active ones of its upstream. False: there are too many, and it has been answered.
    @inline(never)
    func becomesActive(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) -> Bool {
        if pool.counters.beginActive(most: pool.settings.limits.activeMax) {
            x.isActive = true
            return true
        }
        breakCircuit(x, pool, .tooManyActive)
        return false
    }

    /// Counts the exchange among those that wait for a connection. False: there are too many, and it has been answered.
    @inline(never)
    func becomesPending(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) -> Bool {
        if pool.counters.beginPending(most: pool.settings.limits.pendingMax) {
            x.isPending = true
            return true
        }
        endTry(x, .neither)
        x.currentTry?.status = Fault.tooManyPending.status
        logExchange(Fault.tooManyPending.level, Fault.tooManyPending.words, x, detail: pool.settings.name)
        answerFault(x, .tooManyPending)
        return false
    }

    private func breakCircuit(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>, _ fault: Fault) {
        x.proxyTarget.peer = -1
        x.isCalled = false
        logExchange(fault.level, fault.words, x, detail: pool.settings.name)
        recordNoPeer(x, pool, status: fault.status)
        answerFault(x, fault)
    }

    /// The exchange has a connection, or will have none.
    @inline(__always)
    func endPending(_ x: Ref<Exchange>) {
        if x.isPending { stopPending(x) }
    }

    @inline(never)
    private func stopPending(_ x: Ref<Exchange>) {
        x.isPending = false
        x.proxyTarget.pool?.counters.endPending()
    }

    /// The exchange holds no peer any more, or has been given none.
    @inline(never)
    func endActive(_ x: Ref<Exchange>) {
        guard x.isActive, let pool = x.proxyTarget.pool else { return }
        x.isActive = false
        pool.counters.endActive()
    }

    // MARK: The budget of retries

    /// Whether the upstream can afford one more try. Counts the exchange, once, from here to the end of its last try.
    @inline(never)
    func affordsRetry(_ x: Ref<Exchange>) -> Bool {
        if x.isRetry { return true }
        guard let pool = x.proxyTarget.pool, pool.settings.limits.hasRetryBudget else { return true }
        if pool.counters.beginRetry(pool.settings.limits.retryBudget) {
            x.isRetry = true
            return true
        }
        logExchange(.warn, "the retry budget is spent: no further server is tried, upstream", x, detail: pool.settings.name)
        return false
    }

    @inline(__always)
    func endRetry(_ x: Ref<Exchange>) {
        if x.isRetry { stopRetry(x) }
    }

    @inline(never)
    private func stopRetry(_ x: Ref<Exchange>) {
        x.isRetry = false
        x.proxyTarget.pool?.counters.endRetry()
    }

    // MARK: Ejections and panic

    /// Lets the peer go, with what the try says of it, and its place among the active exchanges.
    @inline(never)
    func releaseGuarded(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>, _ outcome: PeerOutcome, _ status: UInt16) {
        var report = PeerReport()
        if pool.settings.health.outliers != nil, let record = x.currentTry {
            report.isError = record.status >= 500
            report.latencyMs = record.headerMs
        }
        let ejection = pool.balancer.pointee.release(x.proxyTarget.peer, outcome: outcome, nowMs: nowMs, status: status, report: report)
        if let ejection { sayEjected(ejection, x, pool) }
        if pool.balancer.pointee.isRoundDue(nowMs) { judge(x, pool) }
        endActive(x)
        if pool.settings.limits.queueMax > 0 { callNext(pool) }
    }

    private func judge(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) {
        pool.balancer.pointee.judge(nowMs) { sayEjected($0, x, pool) }
    }

    private func sayEjected(_ ejection: Ejection, _ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) {
        let words: StaticString =
            switch ejection.reason {
            case .consecutiveErrors: "too many errors one behind the other: ejected for a while is the upstream server"
            case .errorRatio: "more errors than its siblings: ejected for a while is the upstream server"
            case .latency: "slower than its siblings: ejected for a while is the upstream server"
            }
        logExchange(.warn, words, x, detail: pool.settings.peers[Int(ejection.peer)].name)
    }

    /// Says once, for all workers, that all peers are used because most are sick, and that this is over.
    @inline(never)
    func sayPanic(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) {
        let isPanicking = pool.balancer.pointee.isPanicking
        pool.saidPanic = isPanicking
        if !pool.counters.tellPanic(isPanicking) { return }
        let words: StaticString =
            isPanicking
            ? "panic: too few servers are healthy, all are used again, in upstream" : "the panic is over: enough servers are healthy, in upstream"
        logExchange(isPanicking ? .error : .warn, words, x, detail: pool.settings.name)
    }
}
