// Ejects peers that do worse than their siblings: errors one behind the other, a share of errors, slow answers. A part of `Balancer`.
// What is seen is counted in the shared rows with each release; shares and times are judged in a round that one worker makes for all.
import Synchronization

/// When a peer is ejected, and for how long. Words and defaults are those of Envoy's outlier detection, where it has them.
public struct OutlierPolicy: Sendable, Equatable, BitwiseCopyable {
    /// Errors (failures, and answers of 500 and more) one behind the other; 0: any number.
    public var consecutiveErrors = 5
    /// The share of errors in a round, in percent, if it is also more than twice that of the siblings; 0: any.
    public var errorPercent = 50
    /// The typical time to the first byte of an answer in percent of that of the siblings, if it is also 20 ms longer; 0: any.
    public var latencyPercent = 0
    public var intervalMs: Int64 = 5_000
    /// With fewer requests nothing is judged but errors one behind the other: they are judged in a later round.
    public var requestsMin = 20
    /// The time of a first ejection; the n-th takes n times as long, up to the longest. A round that goes well takes one off.
    public var ejectionMs: Int64 = 30_000
    public var ejectionMsMax: Int64 = 300_000
    /// Of the primaries that take something new; one in any case, if another peer is left.
    public var ejectedPercentMax = 50

    public init() {}
}

/// What an outcome says besides, for the detection of outliers.
public struct PeerReport: Sendable, BitwiseCopyable {
    /// The answer's status was 500 or more.
    public var isError: Bool
    /// To the first byte of the answer's head; -1: not known.
    public var latencyMs: Int64

    public init(isError: Bool = false, latencyMs: Int64 = -1) {
        self.isError = isError
        self.latencyMs = latencyMs
    }
}

/// A peer is ejected.
public struct Ejection: Sendable, Equatable, BitwiseCopyable {
    public enum Reason: UInt8, Sendable, BitwiseCopyable { case consecutiveErrors, errorRatio, latency }
    /// The index of the peer in the list the balancer was made from.
    public var peer: Int32
    public var reason: Reason
    public var durationMs: Int64
}

/// The cells of a peer's row that outliers are judged by.
@safe struct OutlierRow {
    private let row: UnsafeMutablePointer<PeerRow>

    /// What was seen of a peer, or of several, since the last round.
    struct Seen {
        var requests = 0
        var errors = 0
        /// The sum of the logarithms of the times of the answers that were no errors.
        var logs = 0

        var answers: Int { requests - errors }
    }

    init(row: UnsafeMutablePointer<PeerRow>) { unsafe self.row = row }

    var seen: Seen {
        unsafe Seen(
            requests: row.pointee.seenRequests.load(ordering: .relaxed), errors: row.pointee.seenErrors.load(ordering: .relaxed),
            logs: row.pointee.seenLogs.load(ordering: .relaxed))
    }

    func forget(_ seen: Seen) {
        unsafe row.pointee.seenRequests.wrappingSubtract(seen.requests, ordering: .relaxed)
        unsafe row.pointee.seenErrors.wrappingSubtract(seen.errors, ordering: .relaxed)
        unsafe row.pointee.seenLogs.wrappingSubtract(seen.logs, ordering: .relaxed)
    }

    /// Counts an outcome, and returns how many errors there are one behind the other now.
    func count(isError: Bool, latencyMs: Int64) -> Int {
        unsafe row.pointee.seenRequests.wrappingAdd(1, ordering: .relaxed)
        if isError {
            unsafe row.pointee.seenErrors.wrappingAdd(1, ordering: .relaxed)
            return unsafe row.pointee.streak.wrappingAdd(1, ordering: .relaxed).newValue
        }
        unsafe row.pointee.seenLogs.wrappingAdd(Logarithm.of(1 + Int(max(0, latencyMs))), ordering: .relaxed)
        if unsafe row.pointee.streak.load(ordering: .relaxed) != 0 { forgetStreak() }
        return 0
    }

    func forgetStreak() { unsafe row.pointee.streak.store(0, ordering: .relaxed) }

    var ejections: Int { unsafe row.pointee.ejections.load(ordering: .relaxed) }

    /// A round went well.
    func forgetEjection() {
        if ejections > 0 { unsafe row.pointee.ejections.wrappingSubtract(1, ordering: .relaxed) }
    }

    /// Ejects the peer until `untilMs`, unless another worker has just done so.
    func eject(untilMs: Int64, nowMs: Int64) -> Bool {
        let before = unsafe row.pointee.ejectedUntilMs.load(ordering: .relaxed)
        if nowMs <= before { return false }
        let (isFirst, _) = unsafe row.pointee.ejectedUntilMs.compareExchange(expected: before, desired: untilMs, ordering: .relaxed)
        if !isFirst { return false }
        unsafe row.pointee.ejections.wrappingAdd(1, ordering: .relaxed)
        forgetStreak()
        forget(seen)
        return true
    }
}

extension Balancer {
    /// The least a peer must be slower than its siblings.
    private static var slowerMsMin: Int { 20 }

    /// Counts an outcome of a primary. Its ejection, if it was one error too many.
    mutating func count(
        _ report: PeerReport, _ outcome: PeerOutcome, _ slot: Int, _ policy: OutlierPolicy, _ nowMs: Int64
    ) -> Ejection? {
        // What was on its way when it was ejected has been judged with it.
        if nowMs <= primary.slots[slot].ejectedUntilMs { return nil }
        let row = primary.slots[slot].outlierRow
        let streak = row.count(isError: outcome == .failed || outcome == .cut || report.isError, latencyMs: report.latencyMs)
        if policy.consecutiveErrors == 0 || streak < policy.consecutiveErrors { return nil }
        // If it may not be now, the next attempt comes after as many errors again.
        row.forgetStreak()
        return eject(slot, .consecutiveErrors, policy, nowMs)
    }

    /// Ejects a primary, unless too many are ejected already or nobody else is left.
    private mutating func eject(_ slot: Int, _ reason: Ejection.Reason, _ policy: OutlierPolicy, _ nowMs: Int64) -> Ejection? {
        var most = max(1, primariesTaking * min(policy.ejectedPercentMax, 100) / 100)
        if backup.count == 0 { most = min(most, primariesTaking - 1) }
        if policy.ejectedPercentMax <= 0 || !pool.takePlace(most: most) { return nil }
        let row = primary.slots[slot].outlierRow
        let durationMs = min(policy.ejectionMsMax, policy.ejectionMs * Int64(min(row.ejections + 1, 1 << 20)))
        guard hasOther(than: slot, nowMs), row.eject(untilMs: nowMs + durationMs, nowMs: nowMs) else {
            pool.givePlace()
            return nil
        }
        pool.noteEjection()
        return Ejection(peer: primary.slots[slot].index, reason: reason, durationMs: durationMs)
    }

    /// Whether another peer is in service.
    private func hasOther(than slot: Int, _ nowMs: Int64) -> Bool {
        for i in 0..<primary.count where i != slot && isInService(primary.slots[i], nowMs) { return true }
        for i in 0..<backup.count where isInService(backup.slots[i], nowMs) { return true }
        return false
    }

    private func isInService(_ peer: PeerSlot, _ nowMs: Int64) -> Bool {
        switch peer.availability(nowMs, ignoresSickness: false) {
        case .standing, .busy: true
        default: false
        }
    }

    // MARK: Rounds

    /// Whether it is time for a round: one load.
    @inline(__always)
    public func isRoundDue(_ nowMs: Int64) -> Bool {
        outliers != nil && !isSingle && pool.roundDueMs <= nowMs
    }

    /// Judges what all workers have seen of the primaries since the last round, unless another worker is doing so.
    /// It takes time in proportion to the peers, once an interval.
    public mutating func judge(_ nowMs: Int64, _ told: (Ejection) -> Void) {
        guard let policy = outliers, !isSingle else { return }
        let dueMs = pool.roundDueMs
        if dueMs > nowMs || !pool.claimRound(dueMs: dueMs, nextMs: nowMs + max(policy.intervalMs, 1)) { return }
        let places = pool.places
        var all = OutlierRow.Seen()
        var ejected = 0
        for slot in 0..<primary.count {
            if nowMs <= primary.slots[slot].ejectedUntilMs {
                ejected += 1
                continue
            }
            let seen = primary.slots[slot].outlierRow.seen
            all.requests += seen.requests
            all.errors += seen.errors
            all.logs += seen.logs
        }
        // Ejections that are over count no more; one made meanwhile is not lost.
        pool.givePlace(places - ejected)
        // The very first release: an interval has only begun.
        if dueMs == 0 { return }
        for slot in 0..<primary.count where nowMs > primary.slots[slot].ejectedUntilMs {
            let row = primary.slots[slot].outlierRow
            let seen = row.seen
            if seen.requests < max(1, policy.requestsMin) { continue }
            let others = OutlierRow.Seen(
                requests: max(0, all.requests - seen.requests), errors: max(0, all.errors - seen.errors), logs: max(0, all.logs - seen.logs))
            if let reason = Self.verdict(seen, others, policy), let ejection = eject(slot, reason, policy, nowMs) {
                told(ejection)
            } else {
                row.forget(seen)
                row.forgetEjection()
            }
        }
    }

    /// Why a peer of which `seen` was seen is an outlier among `others`; nil: it is none.
    static func verdict(_ seen: OutlierRow.Seen, _ others: OutlierRow.Seen, _ policy: OutlierPolicy) -> Ejection.Reason? {
        if policy.errorPercent > 0, seen.errors * 100 >= policy.errorPercent * seen.requests {
            // seen.errors / seen.requests > 2 * others.errors / others.requests
            if others.requests == 0 || seen.errors * others.requests > 2 * others.errors * seen.requests { return .errorRatio }
        }
        let least = max(1, policy.requestsMin)
        if policy.latencyPercent > 0, seen.answers >= least, others.answers >= least {
            let (mine, theirs) = (seen.logs / seen.answers, others.logs / others.answers)
            let isFarOff = mine - theirs >= Logarithm.of(max(policy.latencyPercent, 1)) - Logarithm.of(100)
            if isFarOff, Logarithm.number(mine) - Logarithm.number(theirs) >= slowerMsMin { return .latency }
        }
        return nil
    }
}

/// Logarithms to the base 2 in 1/256, straight between powers of two: off by less than a tenth. With them an average is that of
/// the typical answer, and a few very slow ones count little.
enum Logarithm {
    /// Of a number from 1 on.
    static func of(_ number: Int) -> Int {
        let n = max(1, number)
        let power = Int.bitWidth - 1 - n.leadingZeroBitCount
        let rest = power >= 8 ? (n - (1 << power)) >> (power - 8) : (n - (1 << power)) << (8 - power)
        return power << 8 + rest
    }

    /// What `of` was given, about.
    static func number(_ logarithm: Int) -> Int {
        let power = min(max(0, logarithm >> 8), 60)
        let mantissa = 256 + (logarithm & 255)
        return power >= 8 ? mantissa << (power - 8) : mantissa >> (8 - power)
    }
}
