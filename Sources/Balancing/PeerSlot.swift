// One peer inside a worker's balancer: its settings, its weights, and the way to its shared row.
// Used by `PeerTier`. Its methods are the only ones that touch a row; they know nothing of the other peers.
import Synchronization

/// Where a tier keeps a peer.
enum Place: UInt8, BitwiseCopyable {
    /// Eligible at full weight: in the tree.
    case standing
    /// Eligible with its effective weight still below its weight.
    case recovering
    case down
    case failed
    case busy
    /// Out of the tree for the time of one pick, because the exchange has tried it.
    case lifted
    /// Ejected, or unhealthy by what somebody says who asks it.
    case sick
    /// It has not passed its first health check.
    case unchecked
    /// Eligible, but it starts slowly and has had its share for now.
    case warming

    static var count: Int { 9 }
}

/// The state of one peer. `currentWeight` of a peer in the tree is where its line begins: see `WeightTree.swift`.
@safe struct PeerSlot: BitwiseCopyable {
    private let row: UnsafeMutablePointer<PeerRow>
    /// The index of the peer in the list the balancer was made from.
    let index: Int32
    var group: Int32 = 0
    var currentWeight = 0
    let weight: Int
    /// The active exchanges as they were when the peer was put in its place.
    var load = 0
    var effectiveWeight: Int
    let maxConns: Int
    let maxFails: Int
    let failTimeoutMs: Int64
    let slowStartMs: Int64
    /// Its slow start, if it is in one.
    var ramp = Ramp()
    /// Its position in the tier's list of recovering peers.
    var position: Int32 = 0
    /// Takes nothing at all: it is down or has no weight.
    let isShut: Bool
    /// Takes nothing new: it is shut or drained.
    let isOut: Bool
    var place = Place.down

    init(_ spec: PeerSpec, index: Int) {
        unsafe row = spec.counters.row
        self.index = Int32(index)
        weight = spec.cutWeight
        effectiveWeight = weight
        maxConns = max(spec.maxConns, 0)
        maxFails = max(spec.maxFails, 0)
        failTimeoutMs = min(max(spec.failTimeoutMs, 0), 1 << 53)
        slowStartMs = min(max(spec.slowStartMs, 0), 1 << 53)
        isShut = spec.isShut
        isOut = spec.isShut || spec.isDrained
    }

    @inline(__always)
    var active: Int { unsafe row.pointee.active.load(ordering: .relaxed) }

    /// Which row it has: the same in any balancer of the peer.
    var rowAddress: UInt { unsafe UInt(bitPattern: row) }

    /// Until when the failures counted keep the peer out.
    var failedUntilMs: Int64 { unsafe row.pointee.checkedMs.load(ordering: .relaxed) &+ failTimeoutMs }

    @inline(__always)
    private var hasFailed: Bool { unsafe maxFails != 0 && row.pointee.fails.load(ordering: .relaxed) >= maxFails }

    /// Whether the peer may be picked now, or else why not. `.standing` stands for yes.
    /// `ignoresSickness`: so many are sick that all are used.
    @inline(__always)
    func availability(_ nowMs: Int64, ignoresSickness: Bool) -> Place { isOut ? .down : service(nowMs, ignoresSickness) }

    /// Whether a session stuck to the peer may have it now, or else why not.
    func stuckAvailability(_ nowMs: Int64, ignoresSickness: Bool) -> Place { isShut ? .down : service(nowMs, ignoresSickness) }

    @inline(__always)
    private func service(_ nowMs: Int64, _ ignoresSickness: Bool) -> Place {
        let sickness = sickness(nowMs)
        if sickness != .standing, sickness == .unchecked || !ignoresSickness { return sickness }
        if hasFailed && nowMs <= failedUntilMs { return .failed }
        if maxConns != 0 && active >= maxConns { return .busy }
        return .standing
    }

    /// `.sick`, `.unchecked`, or `.standing` for neither.
    @inline(__always)
    func sickness(_ nowMs: Int64) -> Place {
        let health = unsafe row.pointee.health.load(ordering: .relaxed)
        if health == PeerHealth.unhealthy.rawValue || nowMs <= ejectedUntilMs { return .sick }
        return health == PeerHealth.unchecked.rawValue ? .unchecked : .standing
    }

    /// Whether somebody asks the peer, and has not been told that it is healthy.
    @inline(__always)
    var isWatchedInVain: Bool {
        let health = unsafe row.pointee.health.load(ordering: .relaxed)
        return health == PeerHealth.unhealthy.rawValue || health == PeerHealth.unchecked.rawValue
    }

    /// Whether somebody who asks the peer says that it is unhealthy.
    var isUnhealthy: Bool { unsafe row.pointee.health.load(ordering: .relaxed) == PeerHealth.unhealthy.rawValue }

    @inline(__always)
    var ejectedUntilMs: Int64 { unsafe row.pointee.ejectedUntilMs.load(ordering: .relaxed) }

    /// What the outliers are judged by.
    var outlierRow: OutlierRow { unsafe OutlierRow(row: row) }

    /// One turn of a peer that is not in the tree: it gains its effective weight, which recovers by one. Returns the gain.
    @inline(__always)
    mutating func step() -> Int {
        let gain = effectiveWeight
        currentWeight += gain
        if gain < weight { effectiveWeight = gain + 1 }
        return gain
    }

    /// Takes one of the peer's connections, or answers false when another worker took the last one, or the trial, first.
    @inline(__always)
    func reserve(_ nowMs: Int64) -> Bool {
        if !reserveConnection() { return false }
        let checkedMs = unsafe row.pointee.checkedMs.load(ordering: .relaxed)
        if nowMs > checkedMs &+ failTimeoutMs {
            let (isFirst, _) = unsafe row.pointee.checkedMs.compareExchange(
                expected: checkedMs, desired: nowMs, ordering: .relaxed)
            if !isFirst && hasFailed {
                unsafe row.pointee.active.wrappingSubtract(1, ordering: .relaxed)
                return false
            }
        }
        unsafe row.pointee.requests.wrappingAdd(1, ordering: .relaxed)
        return true
    }

    /// Whether the peer starts slowly and has had its share of the picks for now.
    ///
    /// While it starts, it gains a part of a pick with every pick of the tier, up to two: as much as its weight in `totalWeight`
    /// would give it, times how far the start is. A pick of it costs one. So it gets no more than its growing share however the
    /// tier chooses; with `least_conn` an idle newcomer would else be given every request.
    /// - Parameter picks: of the tier so far.
    mutating func isWarming(_ nowMs: Int64, picks: Int, totalWeight: Int) -> Bool {
        let outUntilMs = ejectedUntilMs
        // Before its ejection is over only a panic has it picked, and then in full.
        if nowMs < outUntilMs { return false }
        // Whoever said that it has risen may have looked at the clock later than this worker, which does so once a turn.
        let start = max(unsafe row.pointee.risenMs.load(ordering: .relaxed), outUntilMs)
        let elapsedMs = max(0, nowMs - start)
        if elapsedMs >= slowStartMs || start == PeerRow.never {
            ramp.isOn = false
            return false
        }
        let gain = Int(elapsedMs * 1024 / slowStartMs) * weight
        let unit = 1024 * totalWeight
        if !ramp.isOn || ramp.startMs != start {
            // Many that start together have their first pick at different times: a part of it is theirs from the beginning.
            let part = Int((UInt32(truncatingIfNeeded: index) &* 0x9E37_79B9) >> 22)
            ramp = Ramp(isOn: true, startMs: start, picks: picks, credit: unit / 1024 * part)
        }
        let passed = min(picks - ramp.picks, 2 * unit / max(gain, 1) + 1)
        ramp.credit = min(ramp.credit + passed * gain, 2 * unit)
        ramp.picks = picks
        return ramp.credit < unit
    }

    /// After how many more picks it will have gained a pick, at its present gain or one that is not too far off.
    func picksUntilWarm(_ nowMs: Int64, totalWeight: Int) -> Int {
        let gain = max(64, Int(max(0, nowMs - ramp.startMs) * 1024 / max(slowStartMs, 1))) * weight
        return max(1, (1024 * totalWeight - ramp.credit + gain - 1) / max(gain, 1))
    }

    /// When its slow start is over.
    var warmFromMs: Int64 { ramp.startMs &+ slowStartMs }

    /// It was picked. With nobody else to pick it may have been before its time, but not so often that it never has another.
    @inline(__always)
    mutating func payForStart(totalWeight: Int) {
        if ramp.isOn { ramp.credit = max(ramp.credit - 1024 * totalWeight, -1024 * totalWeight) }
    }

    /// As `reserve`, for a peer that is alone in its upstream: it is never out because of failures.
    func reserveAlone() -> Bool {
        if isShut || !reserveConnection() { return false }
        unsafe row.pointee.requests.wrappingAdd(1, ordering: .relaxed)
        return true
    }

    @inline(__always)
    private func reserveConnection() -> Bool {
        if maxConns == 0 {
            unsafe row.pointee.active.wrappingAdd(1, ordering: .relaxed)
            return true
        }
        var seen = active
        while seen < maxConns {
            let (done, now) = unsafe row.pointee.active.weakCompareExchange(
                expected: seen, desired: seen + 1, ordering: .relaxed)
            if done { return true }
            seen = now
        }
        return false
    }

    /// Ends a reservation and accounts for its outcome, as nginx frees a peer: a failure counts, restarts the timeout and lowers
    /// the effective weight; a success forgets the failures only when it was picked after the timeout had passed.
    @inline(__always)
    mutating func release(_ outcome: PeerOutcome, nowMs: Int64, _ status: UInt16) {
        countAnswer(status)
        switch outcome {
        case .failed:
            unsafe row.pointee.fails.wrappingAdd(1, ordering: .relaxed)
            unsafe row.pointee.failures.wrappingAdd(1, ordering: .relaxed)
            unsafe row.pointee.accessedMs.store(nowMs, ordering: .relaxed)
            unsafe row.pointee.checkedMs.store(nowMs, ordering: .relaxed)
            if maxFails != 0 { effectiveWeight = max(0, effectiveWeight - weight / maxFails) }
        case .succeeded, .cut:
            if unsafe row.pointee.accessedMs.load(ordering: .relaxed) < row.pointee.checkedMs.load(ordering: .relaxed) {
                // It was out and is back.
                if slowStartMs != 0 && hasFailed { unsafe row.pointee.risenMs.store(nowMs, ordering: .relaxed) }
                forgetFailures()
            }
        case .neither:
            break
        }
        unsafe row.pointee.active.wrappingSubtract(1, ordering: .relaxed)
    }

    /// As `release`, for a peer that is alone in its upstream: failures are told to the metrics only.
    func releaseAlone(_ outcome: PeerOutcome, _ status: UInt16) {
        countAnswer(status)
        if outcome == .failed { unsafe row.pointee.failures.wrappingAdd(1, ordering: .relaxed) }
        forgetFailures()
        unsafe row.pointee.active.wrappingSubtract(1, ordering: .relaxed)
    }

    /// By the first digit of the status; what is above 599 with 5xx.
    @inline(__always)
    private func countAnswer(_ status: UInt16) {
        unsafe row.pointee.answers[min(Int(status / 100), 5)].wrappingAdd(1, ordering: .relaxed)
    }

    func countTunnel(_ step: Int) { unsafe row.pointee.tunnels.wrappingAdd(step, ordering: .relaxed) }

    /// Goes on from where `old`, the same peer before a change, stands: after failures, and in a slow start.
    /// `picks` and `totalWeight`: of its tier.
    mutating func keepStanding(of old: PeerSlot, picks: Int, totalWeight: Int, now: Int) {
        if old.ramp.isOn {
            ramp = old.ramp
            ramp.picks -= picks
            ramp.credit = totalWeight > 0 ? ramp.credit / totalWeight * now : 0
        }
        if old.effectiveWeight == old.weight { return }
        effectiveWeight = old.effectiveWeight * weight / old.weight
    }

    @inline(__always)
    private func forgetFailures() {
        if unsafe row.pointee.fails.load(ordering: .relaxed) != 0 { unsafe row.pointee.fails.store(0, ordering: .relaxed) }
    }
}

/// Where a peer stands in its slow start, for one worker.
struct Ramp: BitwiseCopyable {
    var isOn = false
    /// Which start it is.
    var startMs: Int64 = 0
    /// The picks of the tier when it last gained, and what it has: see `PeerSlot.isWarming`.
    var picks = 0
    var credit = 0
}
