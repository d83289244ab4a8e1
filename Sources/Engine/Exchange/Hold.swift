// Requests that wait because their split is held, and how they go on: oldest first, at a pace, under the newest snapshot.
// Entered from Routing/Split.swift; driven by the client's timer, by adopted snapshots and by a timer of the worker.
// While a request is here nothing of its body is read and no peer is asked.

import Bytes
import HTTPMessage

/// The requests of one split that wait, oldest first, linked through the exchanges.
struct HeldQueue: BitwiseCopyable {
    fileprivate(set) var first = Handle.none
    fileprivate(set) var last = Handle.none
    fileprivate(set) var count = 0
    /// The hold is over: they go on, as fast as the pace allows.
    fileprivate(set) var isReleasing = false
    /// As it was when the newest of them came.
    fileprivate(set) var hold: HoldSettings
}

/// What a worker holds back.
struct HeldRequests {
    /// A queue that has run empty is the next split's.
    fileprivate(set) var queues: [HeldQueue] = []
    /// Of all queues.
    fileprivate(set) var count = 0
    /// How many go on in a second once their split is released.
    private(set) var rate: Int64 = 1000
    /// Thousandths of a request that may go on now, and since when.
    fileprivate var credit: Int64 = 0
    fileprivate var creditedMs: Int64 = 0
    fileprivate var isReleasing = false

    mutating func setRate(_ perSecond: Int) { rate = Int64(min(max(1, perSecond), Limits.releaseRateMax)) }
}

extension Worker {
    // MARK: Waiting

    /// Whether a request for a split that is held, or whose held requests are still being released, has to wait.
    /// True: it waits, or has been answered.
    func waits(_ x: Ref<Exchange>, for settings: Ref<SplitSettings>) -> Bool {
        let place = heldQueue(of: settings.name)
        guard let hold = hold(of: settings.name) else {
            // Behind those that came before it. Beyond the bound it overtakes them: a hold that is over costs nobody an answer.
            guard let place, !x.wasReleased, !isStopping, x.inner?.receiver != .nobody, held.queues[place].count < held.queues[place].hold.heldMax else { return false }
            enqueue(x, place, held.queues[place].hold)
            return true
        }
        x.wasReleased = false
        if x.client.stream.peerClosed, endsWithClient(x) {
            clientGone(x, .clientClosed)
        } else if x.inner?.receiver == .nobody {
            // The places are for those that somebody waits for.
            refuseHeld(x, .heldTooMany)
        } else if isStopping {
            refuseHeld(x, .shutdown)
        } else if x.hasWaitedInVain {
            // What its error page leads to is held as well.
            refuseHeld(x, .heldTooLong)
        } else if place.map({ held.queues[$0].count >= hold.heldMax }) ?? (hold.heldMax <= 0) {
            refuseHeld(x, .heldTooMany)
        } else {
            enqueue(x, place ?? freeQueue(hold), hold)
        }
        return true
    }

    private func enqueue(_ x: Ref<Exchange>, _ place: Int, _ hold: HoldSettings) {
        x.phase = .held
        x.heldPlace = Int32(place)
        x.heldPrevious = held.queues[place].last
        x.heldNext = .none
        if let last = exchanges.find(held.queues[place].last) { last.heldNext = x.handle } else { held.queues[place].first = x.handle }
        held.queues[place].last = x.handle
        held.queues[place].count += 1
        held.queues[place].hold = hold
        held.count += 1
        _ = heldSplit(x).holding?.pointee.wrappingAdd(1, ordering: .relaxed)
        if x.inner == nil { x.pinned.account.add(.held) }
        x.heldUntilMs = nowMs + hold.timeoutMs
        timers.set(x.client.timer, at: x.heldUntilMs)
    }

    /// Takes an exchange out of its queue, wherever it stands.
    func unlinkHeld(_ x: Ref<Exchange>) {
        let place = Int(x.heldPlace)
        if let before = exchanges.find(x.heldPrevious) { before.heldNext = x.heldNext } else { held.queues[place].first = x.heldNext }
        if let behind = exchanges.find(x.heldNext) { behind.heldPrevious = x.heldPrevious } else { held.queues[place].last = x.heldPrevious }
        held.queues[place].count -= 1
        held.count -= 1
        _ = heldSplit(x).holding?.pointee.wrappingSubtract(1, ordering: .relaxed)
        x.phase = .routing
        timers.cancel(x.client.timer)
    }

    /// By the name of the split that its first exchange waits for.
    private func heldQueue(of name: ByteView) -> Int? {
        if held.count == 0 { return nil }
        return held.queues.indices.first { place in exchanges.find(held.queues[place].first).map { heldFor($0) == name } ?? false }
    }

    private func heldFor(_ x: Ref<Exchange>) -> ByteView { heldSplit(x).name }

    /// Of the split that it waits for.
    private func heldSplit(_ x: Ref<Exchange>) -> Ref<SplitSettings> { x.root.splits[Int(x.proxyTarget.split)].settings }

    private func freeQueue(_ hold: HoldSettings) -> Int {
        if let place = held.queues.indices.first(where: { held.queues[$0].count == 0 }) {
            held.queues[place] = HeldQueue(hold: hold)
            return place
        }
        held.queues.append(HeldQueue(hold: hold))
        return held.queues.count - 1
    }

    /// The hold on the split of this name in the newest snapshot that the worker has.
    private func hold(of name: ByteView) -> HoldSettings? {
        guard let code = current.root.targetNames.find(name), code >= 0, Target(code: code).isSplit else { return nil }
        return current.root.splits[Target(code: code).index].hold
    }

    // MARK: Ends without a release

    /// 503, and when to come again.
    private func refuseHeld(_ x: Ref<Exchange>, _ fault: Fault) {
        x.hasWaitedInVain = true
        x.keptLines = ByteView("Retry-After: 1\r\n")
        logExchange(fault.level, fault.words, x, detail: heldFor(x))
        answerFault(x, fault)
    }

    /// The client's timer fired for an exchange that waits.
    func heldTooLong(_ x: Ref<Exchange>) {
        if nowMs < x.heldUntilMs { return timers.set(x.client.timer, at: x.heldUntilMs) }
        unlinkHeld(x)
        // Waiting for its turn after a release is no reason to send it away.
        if hold(of: heldFor(x)) == nil { return letGo(x) }
        refuseHeld(x, .heldTooLong)
    }

    /// The client closed, or shut down its sending side, while its request waits: as in nginx that is taken for its leaving.
    func clientOfHeldReadable(_ x: Ref<Exchange>) {
        if x.client.stream.peerClosed, endsWithClient(x) { clientGone(x, .clientClosed) }
    }

    private func endsWithClient(_ x: Ref<Exchange>) -> Bool { x.location.proxy.ignoreClientAbort != .never }

    /// A graceful stop waits for no release.
    func endHolds() {
        if held.count == 0 { return }
        adoptIfPublished()
        for place in held.queues.indices {
            while let x = exchanges.find(held.queues[place].first) {
                unlinkHeld(x)
                if hold(of: heldFor(x)) == nil { letGo(x) } else { refuseHeld(x, .shutdown) }
            }
        }
    }

    // MARK: Release

    /// Another snapshot is current: some splits may be held no longer, or again.
    func reviewHolds() {
        var isReleasing = false
        for place in held.queues.indices {
            guard let first = exchanges.find(held.queues[place].first) else { continue }
            held.queues[place].isReleasing = hold(of: heldFor(first)) == nil
            isReleasing = isReleasing || held.queues[place].isReleasing
        }
        if !isReleasing || held.isReleasing { return }
        held.isReleasing = true
        held.credit = 1000
        held.creditedMs = nowMs
        timers.set(releaseTimer, at: nowMs)
    }

    /// As many as the pace allows go on; the timer is set for the next of them.
    func releaseDue() {
        adoptIfPublished()
        held.credit += min(nowMs - held.creditedMs, 1000) * held.rate
        held.creditedMs = nowMs
        while held.credit >= 1000, let x = oldestReleased() {
            held.credit -= 1000
            unlinkHeld(x)
            letGo(x)
        }
        held.isReleasing = oldestReleased() != nil
        if !held.isReleasing { return }
        let missing = max(0, 1000 - held.credit)
        timers.set(releaseTimer, at: nowMs + max(Limits.releaseEveryMs, (missing + held.rate - 1) / held.rate))
    }

    private func oldestReleased() -> Ref<Exchange>? {
        var oldest: Ref<Exchange>?
        for queue in held.queues where queue.isReleasing {
            guard let x = exchanges.find(queue.first) else { continue }
            if oldest.map({ x.firstTryMs < $0.firstTryMs }) ?? true { oldest = x }
        }
        return oldest
    }

    /// Goes on under the newest snapshot as if the request had come now.
    private func letGo(_ x: Ref<Exchange>) {
        // The listener it came by is not in the configuration any more.
        if x.client.defaultServer(in: self) == nil { return refuseHeld(x, .shutdown) }
        x.wasReleased = true
        beginAnew(x)
    }

    /// Its listener is in the newest snapshot.
    func beginAnew(_ x: Ref<Exchange>) {
        let name = x.isInternal && x.tries != nil && x.location.isNamed ? x.location.name : .empty
        moveToCurrent(x)
        if x.tries == nil { return routeAnew(x) }
        // Part of its way lies behind it, at an upstream perhaps that must not be asked twice: it goes on from its last redirect.
        chooseServer(x)
        forgetRoute(x)
        if !name.isEmpty { redirectToNamed(x, name) } else { runServerRewrite(x) }
    }

    /// Pins the newest snapshot in place of its own. Under a later revision it counts as begun again.
    private func moveToCurrent(_ x: Ref<Exchange>) {
        let old = x.pinned
        if old == current { return }
        if !old.account.isSame(as: current.account), x.inner == nil {
            settleAccount(old, .moved)
            current.account.add(.started)
            current.account.add(.inFlight)
        }
        // It is no more the client's answer to what its shadow was asked, and its limits are others.
        if let pair = x.shadow { dropShadow(x, pair) }
        if !old.root.hasRoutes(of: current.root), x.connectionCount > 0 {
            leaveConnections(x)
            x.countedConnections = .empty
            x.connectionLimitStatus = .none
        }
        // What the log is to say of them lies in the snapshot that is let go.
        var record = x.tries
        while let one = record {
            one.address = x.value.region.copy(one.address, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
            record = one.next
        }
        current.pins += 1
        x.pinned = current
        unpin(old)
    }

    /// Drops what was found out under another snapshot.
    func forgetRoute(_ x: Ref<Exchange>) {
        x.values = .empty
        x.captures = .empty
        x.proxyTarget = ProxyTargetState()
        x.assignedKey = .empty
        x.assignedBy = nil
        x.phase = .routing
    }
}
