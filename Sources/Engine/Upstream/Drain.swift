// Ends what lives long on an upstream that is being drained: tunnels and event streams evenly over the drain's time, downloads when it is over.
// Ordered through the mailbox; driven by a timer of the worker. It chooses no peers: a drained one gets nothing new from Balancing.

import Bytes
import HTTPMessage

/// One drain in one worker.
private struct UpstreamDrain {
    let name: [UInt8]
    let startedMs: Int64
    let durationMs: Int64
    /// Tunnels and event streams at its beginning, and how many of them have had their turn.
    var handles: [Handle] = []
    var next = 0

    var endMs: Int64 { startedMs + durationMs }
    /// The i-th of n has its turn at start + duration * (i + 1) / n.
    var nextMs: Int64 { next < handles.count ? startedMs + durationMs * Int64(next + 1) / Int64(handles.count) : endMs }
}

/// What a worker is draining.
struct Drains {
    fileprivate var list: [UpstreamDrain] = []
    /// Tunnels whose ends have been told to close, and until when they may take for it; the earliest first.
    fileprivate var closing: [(handle: Handle, untilMs: Int64)] = []

    fileprivate var nextMs: Int64? {
        let due = list.reduce(Int64.max) { min($0, $1.nextMs) }
        let earliest = min(due, closing.first?.untilMs ?? .max)
        return earliest == .max ? nil : earliest
    }
}

extension Worker {
    /// Begins to end what lives long on the upstream called `name`. A drain of it that is under way is replaced.
    func drain(_ name: String, durationMs: Int64) {
        adoptIfPublished()
        var drain = UpstreamDrain(name: Array(name.utf8), startedMs: nowMs, durationMs: min(max(0, durationMs), Limits.drainMsMax))
        drain.handles = exchanges.handles.filter { handle in exchanges.find(handle).map { livesLong($0) && isOn($0, drain) } ?? false }
        drains.list.removeAll { $0.name == drain.name }
        drains.list.append(drain)
        drainDue()
    }

    /// The timer of the drains fired.
    func drainDue() {
        for i in drains.list.indices {
            let drain = drains.list[i]
            while drains.list[i].next < drain.handles.count, drains.list[i].nextMs <= nowMs {
                let handle = drain.handles[drains.list[i].next]
                drains.list[i].next += 1
                // It may have ended meanwhile, or the drain been taken back.
                if let x = exchanges.find(handle), livesLong(x), isOn(x, drain) { closeForDrain(x) }
            }
            if nowMs >= drain.endMs { endDrain(drain) }
        }
        drains.list.removeAll { nowMs >= $0.endMs }
        while let first = drains.closing.first, first.untilMs <= nowMs {
            drains.closing.removeFirst()
            if let x = exchanges.find(first.handle), x.phase == .tunnel { finish(x, .completed) }
        }
        if let at = drains.nextMs { timers.set(drainTimer, at: at) }
    }

    /// Whatever still flows that began before the drain.
    private func endDrain(_ drain: UpstreamDrain) {
        for handle in exchanges.handles {
            guard let x = exchanges.find(handle), x.startedMs <= drain.startedMs, isOn(x, drain) else { continue }
            if livesLong(x) {
                closeForDrain(x)
            } else if x.phase == .receiving {
                current.account.add(.closedByDrain)
                fail(x, .drainEnded)
            }
        }
    }

    private func livesLong(_ x: Ref<Exchange>) -> Bool {
        (x.phase == .tunnel && !x.isClosing) || (x.phase == .receiving && x.isEventStream)
    }

    /// It has a peer of the upstream, one that is drained or gone in the newest snapshot.
    private func isOn(_ x: Ref<Exchange>, _ drain: UpstreamDrain) -> Bool {
        guard x.holdsPeer, let pool = x.proxyTarget.pool else { return false }
        return pool.settings.name.buffer.elementsEqual(drain.name) && isLeaving(x, pool) != .stays
    }

    private func closeForDrain(_ x: Ref<Exchange>) {
        current.account.add(.closedByDrain)
        if x.phase == .tunnel { return closeTunnel(x) }
        // The end of the body, where its framing has one to tell; else the end of the connection says it.
        if let u = x.upstream {
            x.upstream = nil
            endTry(x, .succeeded)
            closeUpstream(u)
        }
        if x.page != nil {
            _ = givePage(x, .empty, head: .empty, isLast: true)
            return
        }
        if let f = x.filter {
            f.isWhole = true
            x.phase = .answering
            _ = resumeFilters(x, f)
            return
        }
        if x.framing == .chunked {
            out.value.reset()
            appendLastChunk(out, x)
            guard emit(x, out.view) else { return }
        }
        answerDone(x)
    }

    /// An orderly end for both sides, which has its time.
    private func closeTunnel(_ x: Ref<Exchange>) {
        let handle = x.handle
        closeTunnelInOrder(x)
        if exchanges.find(handle) != nil { drains.closing.append((handle, nowMs + Limits.closeHandshakeMs)) }
    }

    // MARK: What the newest snapshot says of a peer

    enum Leaving { case stays, isDrained, isGone }

    /// Whether the peer of this exchange, of `pool`, is to be had no more under the newest snapshot.
    func isLeaving(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) -> Leaving {
        guard let now = currentPool(for: pool) else { return .isGone }
        if !now.settings.hasDrained, now == pool { return .stays }
        guard let peer = now == pool ? x.proxyTarget.peer : findPeer(x.proxyTarget.address, in: now) else { return .isGone }
        return now.settings.peers[Int(peer)].isDrained ? .isDrained : .stays
    }

    /// A client of a peer that is being drained is told to come anew, so that its next request goes elsewhere.
    @inline(never)
    func endKeepAliveIfDrained(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) {
        if isLeaving(x, pool) == .isDrained { x.keepsAlive = false }
    }
}

/// `text/event-stream`, with parameters or without (WHATWG HTML 9.2).
func isEventStream(_ contentType: ByteView) -> Bool {
    let name: StaticString = "text/event-stream"
    let count = name.utf8CodeUnitCount
    guard contentType.count >= count, contentType[5] | 0x20 == 0x65 else { return false }
    guard contentType.slice(0, count).equalsIgnoringCase(ByteView(name)) else { return false }
    return contentType.count == count || [0x3B, 0x20, 0x09].contains(contentType[count])
}
