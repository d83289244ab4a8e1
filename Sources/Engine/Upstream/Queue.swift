// Requests that wait until a peer of their upstream can take them (`queue`): in line over all workers, called when a peer is let go.
// Entered from Connect.swift; driven by ends of tries, by the mailbox, by the client's timer and by a timer of the worker.
// A request waits under the configuration it began with.

import Balancing
import Bytes

/// What a worker has in lines.
struct QueuedRequests {
    /// Pools in which exchanges of this worker wait.
    fileprivate(set) var pools: [Ref<UpstreamPool>] = []
    fileprivate(set) var count = 0
}

extension Worker {
    // MARK: Waiting

    /// Whether others wait already, so that a request that comes now is behind them.
    @inline(__always)
    func standsBehindOthers(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) -> Bool {
        pool.settings.limits.queueMax > 0 && !x.isCalled && x.tried.count == 0 && lineCount(pool) > 0
    }

    private func lineCount(_ pool: Ref<UpstreamPool>) -> Int { pool.line._withUnsafeGuaranteedRef { $0.count } }

    /// No peer can take the exchange now. True: it waits, or has been answered because too many do.
    /// What has been tried already, and what no peer will ever take, does not wait.
    @inline(never)
    func waitsInLine(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>, _ reason: NoPeer) -> Bool {
        let limits = pool.settings.limits
        if limits.queueMax == 0 || x.tried.count > 0 || reason == .allDown || reason == .allTried { return false }
        // The places are for those that somebody waits for.
        if x.inner?.receiver == .nobody {
            if let pair = x.shadow { pair.ofShadow.isVoid = true }
            refuseQueued(x, pool, .peersBusy)
            return true
        }
        let line = pool.line.takeUnretainedValue()
        if x.isCalled {
            if nowMs >= x.queuedUntilMs {
                x.isCalled = false
                line.countTimeout()
                refuseQueued(x, pool, .queuedTooLong)
                return true
            }
            line.reenter(WaitingLine.Waiter(ticket: x.queueTicket, mailbox: mailbox, handle: x.handle))
        } else {
            guard let ticket = line.enter(mailbox, x.handle, most: limits.queueMax) else {
                refuseQueued(x, pool, .queueFull)
                return true
            }
            x.queueTicket = ticket
            x.queuedUntilMs = nowMs + limits.queueTimeoutMs
        }
        x.isCalled = false
        x.phase = .queued
        if pool.waiting == 0 { queued.pools.append(pool) }
        pool.waiting += 1
        queued.count += 1
        timers.set(x.client.timer, at: x.queuedUntilMs)
        timers.set(queueTimer, at: nowMs + Limits.queueEveryMs)
        return true
    }

    /// The exchange waits no more, for whatever reason.
    @inline(never)
    func leaveLine(_ x: Ref<Exchange>) {
        guard let pool = x.proxyTarget.pool else { return }
        let wasCalled = x.isCalled || !pool.line._withUnsafeGuaranteedRef { $0.leave(x.queueTicket) }
        stopWaiting(x, pool)
        // It was its turn: somebody else's now.
        if wasCalled { callNext(pool) }
    }

    private func stopWaiting(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) {
        x.phase = .routing
        x.isCalled = false
        pool.waiting -= 1
        queued.count -= 1
        if pool.waiting == 0 { queued.pools.removeAll { $0 == pool } }
        timers.cancel(x.client.timer)
    }

    private func refuseQueued(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>, _ fault: Fault) {
        logExchange(fault.level, fault.words, x, detail: pool.settings.name)
        recordNoPeer(x, pool, status: fault.status)
        answerFault(x, fault)
    }

    /// The client's timer fired for an exchange in line.
    func queuedTooLong(_ x: Ref<Exchange>) {
        if nowMs < x.queuedUntilMs { return timers.set(x.client.timer, at: x.queuedUntilMs) }
        guard let pool = x.proxyTarget.pool else { return }
        leaveLine(x)
        pool.line._withUnsafeGuaranteedRef { $0.countTimeout() }
        refuseQueued(x, pool, .queuedTooLong)
    }

    /// The client closed, or shut down its sending side, while its request waits: as with other waits that is taken for its leaving.
    func clientOfQueuedReadable(_ x: Ref<Exchange>) {
        if x.client.stream.peerClosed, x.location.proxy.ignoreClientAbort != .never { clientGone(x, .clientClosed) }
    }

    // MARK: Calling

    /// A peer of `pool` was let go, or may be available by now: the oldest in line tries to have it.
    func callNext(_ pool: Ref<UpstreamPool>) {
        guard lineCount(pool) > 0, let waiter = pool.line.takeUnretainedValue().call() else { return }
        if waiter.mailbox === mailbox { called(waiter.handle) } else { waiter.mailbox.post(.called(waiter.handle)) }
    }

    /// One of this worker's exchanges is at the head of its line: it goes on when what is under way has been done.
    func called(_ handle: Handle) {
        guard let x = exchanges.find(handle), x.phase == .queued else { return }
        x.isCalled = true
        post(x)
    }

    func goOnFromLine(_ x: Ref<Exchange>) {
        guard x.isCalled, let pool = x.proxyTarget.pool else { return timers.set(x.client.timer, at: x.queuedUntilMs) }
        stopWaiting(x, pool)
        x.isCalled = true
        let handle = x.handle
        connect(x)
        // It has its peer, or stands in line again.
        if let x = exchanges.find(handle), x.phase != .queued { x.isCalled = false }
    }

    /// Peers come back without a word: when their timeout is over, or by what another worker or a prober finds out.
    func queueDue() {
        for pool in queued.pools { callNext(pool) }
        if queued.count > 0 { timers.set(queueTimer, at: nowMs + Limits.queueEveryMs) }
    }
}
