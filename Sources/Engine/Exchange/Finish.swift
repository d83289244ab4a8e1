// The one exit of every exchange: release the peer and its connection, log, count, give memory back, settle the client.
// Called once for each exchange, with how it ended. Nothing may use the exchange afterwards.

import Balancing
import Bytes
import HTTPMessage

extension Worker {
    func finish(_ x: Ref<Exchange>, _ outcome: Outcome) {
        if x.phase == .finished { return }
        let wasTunnel = x.phase == .tunnel
        if wasTunnel, let pool = x.proxyTarget.pool { pool.balancer.pointee.countTunnel(x.proxyTarget.peer, -1) }
        if x.phase == .held { unlinkHeld(x) }
        if x.phase == .queued { leaveLine(x) }
        x.phase = .finished
        let c = x.client
        if let u = x.upstream {
            x.upstream = nil
            endTry(x, .neither)
            closeUpstream(u)
        } else if x.tryIsOpen || x.holdsPeer {
            endTry(x, .neither)
        }
        endRetry(x)
        if x.firstInner != nil { dropInner(of: x) }
        if let pair = x.shadow { shadowEnded(x, pair, outcome) }
        if let r = x.inner { return finishInner(x, r, outcome) }
        var keepsAlive = x.keepsAlive && !wasTunnel
        switch outcome {
        case .completed: counts.completed += 1
        case .abortedByClient(let fault):
            counts.abortedByClient += 1
            keepsAlive = false
            if x.status == 0 || !x.answerBegun { x.status = x.status == 444 ? 444 : fault.status }
        case .failed(let fault):
            counts.failed += 1
            keepsAlive = false
            if x.status == 0 { x.status = fault.status }
        }
        let ending = ending(x, outcome)
        countStatus(x.status)
        writeAccessLogs(x)
        if x.connectionCount > 0 { leaveConnections(x) }
        releaseMemory(x)
        let location = x.location
        let pinned = x.pinned
        let body = x.body
        let dropsBody = x.dropsBody
        let wasCut: Bool = if case .completed = outcome { false } else { true }
        if x.hasRealAddress { c.address = x.ownAddress }
        exchanges.remove(x.handle)
        c.exchange = nil
        if c.stream.carrier == .http2 {
            endClientStream(c, outcome)
        } else if wasCut, x.framing == .untilClose || wasTunnel, x.answerBegun, x.head.headBytes > 0 {
            // An orderly end would tell this client that it has all of it.
            cutStream(&c.value.stream)
            closeClient(c)
        } else if case .abortedByClient = outcome {
            if location.resetTimedOut { cutStream(&c.value.stream) }
            closeClient(c)
        } else {
            settle(c, keepAlive: keepsAlive, body: body, location: location, mayHaveMore: wasTunnel || dropsBody)
        }
        settleAccount(pinned, ending)
        unpin(pinned)
    }

    /// As nginx: no line of the log unless `log_subrequest on`. It counts apart from what clients ask for.
    private func finishInner(_ x: Ref<Exchange>, _ r: Ref<InnerRequest>, _ outcome: Outcome) {
        switch outcome {
        case .completed: break
        case .abortedByClient(let fault), .failed(let fault): if x.status == 0 || !x.answerBegun { x.status = fault.status }
        }
        counts.innerEnded += 1
        innerEnded(x, r, outcome)
        if x.location.logSubrequest { writeAccessLogs(x) }
        if x.connectionCount > 0 { leaveConnections(x) }
        releaseMemory(x)
        let c = x.client
        let pinned = x.pinned
        exchanges.remove(x.handle)
        c.exchange = nil
        endInnerClient(c)
        unpin(pinned)
    }

    /// Whom the end is laid to. An error page that is no error to the client is an answer like any other.
    @inline(__always)
    private func ending(_ x: Ref<Exchange>, _ outcome: Outcome) -> Ending {
        switch outcome {
        case .completed:
            if x.blame == .nobody || x.status < 500 { return .completed }
            return x.blame == .upstream ? .failedByUpstream : .failedByProxy
        case .abortedByClient: return .abortedByClient
        case .failed(let fault):
            switch fault.blame {
            case .nobody: return .abortedByClient
            case .upstream: return .failedByUpstream
            case .proxy: return .failedByProxy
            }
        }
    }

    /// Ends the exchange after `fault`, whatever its state: with an error answer if none has begun, else by cutting it.
    func fail(_ x: Ref<Exchange>, _ fault: Fault) {
        if x.phase == .finished { return }
        x.blame = fault.blame
        if x.answerBegun || fault == .shutdown { return finish(x, .failed(fault)) }
        if let u = x.upstream {
            x.upstream = nil
            endTry(x, .neither)
            closeUpstream(u)
        }
        answerError(x, fault.status)
    }

    func clientGone(_ x: Ref<Exchange>, _ fault: Fault) {
        if x.phase == .tunnel, let u = x.upstream { return tunnelBroke(x, u) }
        logExchange(fault.level, fault.words, x)
        finish(x, .abortedByClient(fault))
    }

    /// A timer of the client's connection fired while an exchange is under way.
    func exchangeTimedOut(_ x: Ref<Exchange>) {
        if x.phase == .held { return heldTooLong(x) }
        if x.phase == .queued { return queuedTooLong(x) }
        if x.phase == .delayed { return delayIsOver(x) }
        if x.isDelayed { return paceDue(x) }
        if x.client.stream.hasPending || x.phase == .answering {
            logExchange(.info, Fault.sendTimeout.words, x)
            return finish(x, .abortedByClient(.sendTimeout))
        }
        if !x.body.isComplete {
            logExchange(.info, "client timed out while reading client request body", x)
            x.keepsAlive = false
            if x.answerBegun { return finish(x, .abortedByClient(.clientTimeout)) }
            x.status = 408
            return finish(x, .abortedByClient(.clientTimeout))
        }
    }

    @inline(__always)
    private func releaseMemory(_ x: Ref<Exchange>) {
        if x.page != nil { dropPage(x) }
        if let f = x.filter { dropFilter(x, f) }
        // Its name lies in the region.
        if !x.bodyFileName.isEmpty { dropBodyFile(x) }
        x.value.region.release(to: &buffers)
        buffers.give(x.bodyBuffer)
        buffers.give(x.headBuffer)
        x.bodyBuffer = .none
        x.headBuffer = .none
        if x.bodySpool.isOpen { closeSpool(&x.value.bodySpool) }
        if x.responseSpool.isOpen { closeSpool(&x.value.responseSpool) }
        if x.file >= 0 { kernel.close(x.file) }
        x.file = -1
    }
}
