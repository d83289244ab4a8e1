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
    @inline(__always)
    func availability(_ nowMs: Int64) -> Place { isOut ? .down : health(nowMs) }

    /// Whether a session stuck to the peer may have it now, or else why not.
    func stuckAvailability(_ nowMs: Int64) -> Place { isShut ? .down : health(nowMs) }

    @inline(__always)
    private func health(_ nowMs: Int64) -> Place {
        if hasFailed && nowMs <= failedUntilMs { return .failed }
        if maxConns != 0 && active >= maxConns { return .busy }
        return .standing
    }

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
    mutating func release(_ outcome: PeerOutcome, nowMs: Int64) {
        switch outcome {
        case .failed:
            unsafe row.pointee.fails.wrappingAdd(1, ordering: .relaxed)
            unsafe row.pointee.failures.wrappingAdd(1, ordering: .relaxed)
            unsafe row.pointee.accessedMs.store(nowMs, ordering: .relaxed)
            unsafe row.pointee.checkedMs.store(nowMs, ordering: .relaxed)
            if maxFails != 0 { effectiveWeight = max(0, effectiveWeight - weight / maxFails) }
        case .succeeded:
            if unsafe row.pointee.accessedMs.load(ordering: .relaxed) < row.pointee.checkedMs.load(ordering: .relaxed) {
                forgetFailures()
            }
        case .neither:
            break
        }
        unsafe row.pointee.active.wrappingSubtract(1, ordering: .relaxed)
    }

    /// As `release`, for a peer that is alone in its upstream: failures are told to the metrics only.
    func releaseAlone(_ outcome: PeerOutcome) {
        if outcome == .failed { unsafe row.pointee.failures.wrappingAdd(1, ordering: .relaxed) }
        forgetFailures()
        unsafe row.pointee.active.wrappingSubtract(1, ordering: .relaxed)
    }

    /// Counts an answer with a status of 500 or more.
    func countError() { unsafe row.pointee.errors.wrappingAdd(1, ordering: .relaxed) }

    func countTunnel(_ step: Int) { unsafe row.pointee.tunnels.wrappingAdd(step, ordering: .relaxed) }

    /// Recovers from where `old`, the same peer before a change, stands.
    mutating func keepEffectiveWeight(of old: PeerSlot) {
        if old.effectiveWeight == old.weight { return }
        effectiveWeight = old.effectiveWeight * weight / old.weight
    }

    @inline(__always)
    private func forgetFailures() {
        if unsafe row.pointee.fails.load(ordering: .relaxed) != 0 { unsafe row.pointee.fails.store(0, ordering: .relaxed) }
    }
}
