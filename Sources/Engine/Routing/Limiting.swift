// limit_req and limit_conn: requests that come too fast wait or are refused, and so are those above a number at a time.
// Called by the gates for locations with limits alone, and by `finish`. What a key may do is decided in Balancing.

import Balancing
import Bytes

extension Worker {
    // MARK: limit_req

    /// False when the request has been answered, or waits and goes on by `delayIsOver`. Once a request, whatever its redirects.
    func passRequestLimits(_ x: Ref<Exchange>) -> Bool {
        let limits = x.location.limits.requests
        if limits.isEmpty || x.requestLimitStatus != .none { return true }
        // Those whose limit is not the last are counted when all limits have had their say.
        var keys = InlineArray<16, UInt64>(repeating: 0)
        var longestMs: Int64 = -1
        var excess: Int64 = 0
        var slowest = 0
        for i in 0..<limits.count {
            let settings = zone(limits[i].zone, x)
            guard let key = limitKey(settings, x, bytesMax: 65_535) else { continue }
            let rate = rate(of: limits[i].value, settings)
            let isLast = i == limits.count - 1
            switch settings.zone.judgeRequest(key, nowMs: nowMs, rate, counts: isLast) {
            case .within(let above):
                keys[i] = isLast ? 0 : key
                longestMs = max(longestMs, 0)
                if isLast { note(above, i, rate, &longestMs, &excess, &slowest) }
            case .over(let above): return refuseRequest(x, above, settings)
            case .full: return refuseRequest(x, nil, settings)
            }
        }
        if longestMs < 0 { return true }
        for i in 0..<limits.count where keys[i] != 0 {
            let settings = zone(limits[i].zone, x)
            let rate = rate(of: limits[i].value, settings)
            note(settings.zone.countRequest(keys[i], nowMs: nowMs, rate), i, rate, &longestMs, &excess, &slowest)
        }
        if longestMs == 0 {
            x.requestLimitStatus = .passed
            return true
        }
        return delay(x, longestMs, excess, zone(limits[slowest].zone, x))
    }

    private func note(_ above: Int64, _ i: Int, _ rate: RequestRate, _ longestMs: inout Int64, _ excess: inout Int64, _ slowest: inout Int) {
        let ms = rate.delayMs(excess: above)
        if ms > longestMs { (longestMs, excess, slowest) = (ms, above, i) }
    }

    private func rate(of limit: RequestLimit, _ settings: Ref<LimitZoneSettings>) -> RequestRate {
        RequestRate(perSecond: settings.ratePerSecond, burst: limit.burst, undelayed: limit.undelayed)
    }

    private func refuseRequest(_ x: Ref<Exchange>, _ excess: Int64?, _ settings: Ref<LimitZoneSettings>) -> Bool {
        let refusal = x.location.limits.requestRefusal
        if let excess {
            logExcess(refusal.level, refusal.isDryRun ? "limiting requests, dry run, excess: " : "limiting requests, excess: ", excess, " by zone", settings, x)
        } else {
            logExchange(.error, "every state is in use in limit_req zone", x, detail: settings.name)
        }
        x.requestLimitStatus = refusal.isDryRun ? .rejectedDryRun : .rejected
        if refusal.isDryRun { return true }
        answerError(x, refusal.status)
        return false
    }

    private func delay(_ x: Ref<Exchange>, _ ms: Int64, _ excess: Int64, _ settings: Ref<LimitZoneSettings>) -> Bool {
        let refusal = x.location.limits.requestRefusal
        let level: LogLevel = refusal.level == .info ? .info : LogLevel(rawValue: refusal.level.rawValue + 1) ?? .info
        logExcess(level, refusal.isDryRun ? "delaying request, dry run, excess: " : "delaying request, excess: ", excess, ", by zone", settings, x)
        x.requestLimitStatus = refusal.isDryRun ? .delayedDryRun : .delayed
        if refusal.isDryRun { return true }
        x.phase = .delayed
        x.heldUntilMs = nowMs + ms
        timers.set(x.client.timer, at: x.heldUntilMs)
        return false
    }

    private func logExcess(
        _ level: LogLevel, _ words: StaticString, _ excess: Int64, _ by: StaticString, _ settings: Ref<LimitZoneSettings>, _ x: Ref<Exchange>
    ) {
        scratchText.value.reset()
        scratchText.value.append(milliseconds: excess)
        scratchText.value.append(by)
        logExchange(level, words, x, more: scratchText.view, detail: settings.name)
    }

    /// The client's timer fired for a request that was delayed.
    func delayIsOver(_ x: Ref<Exchange>) {
        if nowMs < x.heldUntilMs { return timers.set(x.client.timer, at: x.heldUntilMs) }
        x.phase = .routing
        passedRequestLimits(x)
    }

    /// As in a hold, a client that closes while its request waits is taken to have left.
    func clientOfDelayedReadable(_ x: Ref<Exchange>) {
        if x.client.stream.peerClosed, x.location.proxy.ignoreClientAbort != .never { clientGone(x, .clientClosed) }
    }

    // MARK: limit_conn

    /// False when the request has been answered.
    func passConnectionLimits(_ x: Ref<Exchange>) -> Bool {
        let limits = x.location.limits.connections
        if limits.isEmpty || x.connectionLimitStatus != .none { return true }
        for i in 0..<limits.count {
            let settings = zone(limits[i].zone, x)
            guard let key = limitKey(settings, x, bytesMax: 255) else { continue }
            x.connectionLimitStatus = .passed
            switch settings.zone.enterConnection(key, most: limits[i].most) {
            case .entered:
                if !note(CountedConnection(zone: settings.zone, key: key), x, atMost: limits.count) {
                    settings.zone.leaveConnection(key)
                    answerFault(x, .noMemory)
                    return false
                }
            case .tooMany, .full:
                leaveConnections(x)
                return refuseConnection(x, settings)
            }
        }
        return true
    }

    /// Remembers what the exchange counts as, to its end. False when there is no memory for it.
    private func note(_ connection: CountedConnection, _ x: Ref<Exchange>, atMost most: Int) -> Bool {
        if x.countedConnections.isEmpty {
            let size = most * MemoryLayout<CountedConnection>.stride
            guard let memory = x.value.region.allocate(size, from: &buffers, limit: Limits.regionBytesMax) else { return false }
            x.countedConnections = Frozen(repeating: connection, count: most, into: memory)
        }
        x.countedConnections[Int(x.connectionCount)].value = connection
        x.connectionCount += 1
        return true
    }

    private func refuseConnection(_ x: Ref<Exchange>, _ settings: Ref<LimitZoneSettings>) -> Bool {
        let refusal = x.location.limits.connectionRefusal
        logExchange(
            refusal.level, refusal.isDryRun ? "limiting connections, dry run, by zone" : "limiting connections by zone", x, detail: settings.name)
        x.connectionLimitStatus = refusal.isDryRun ? .rejectedDryRun : .rejected
        if refusal.isDryRun { return true }
        answerError(x, refusal.status)
        return false
    }

    /// The exchange is over: it counts no longer.
    func leaveConnections(_ x: Ref<Exchange>) {
        for i in 0..<Int(x.connectionCount) { x.countedConnections[i].zone.leaveConnection(x.countedConnections[i].key) }
        x.connectionCount = 0
    }

    // MARK: Keys

    private func zone(_ index: Int32, _ x: Ref<Exchange>) -> Ref<LimitZoneSettings> { x.root.limitZones[Int(index)] }

    /// A hash of the key, seeded anew in each process; nil when the request does not count.
    private func limitKey(_ settings: Ref<LimitZoneSettings>, _ x: Ref<Exchange>, bytesMax: Int) -> UInt64? {
        let text = expand(settings.key, for: x, keep: false)
        if text.isEmpty { return nil }
        if text.count > bytesMax {
            logExchange(.error, "the value of the key is too long, in zone", x, detail: settings.name)
            return nil
        }
        var hasher = Hasher()
        hasher.combine(bytes: UnsafeRawBufferPointer(text.buffer))
        // 0 stands for none.
        return max(1, UInt64(bitPattern: Int64(hasher.finalize())))
    }

    func limitStatusValue(_ status: LimitStatus) -> ByteView? { status == .none ? nil : ByteView(status.word) }
}
