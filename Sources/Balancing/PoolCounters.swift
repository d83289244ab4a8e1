// The counters of one upstream that every worker shares: what is on its way, what was refused, whose health changed.
// Made and kept by the control side with those of its peers; changed by balancers and by the exchanges of all workers.
import Synchronization

/// What a `PoolCounters` counts in. Accesses are relaxed, as with `PeerRow`, but for the epoch, behind which what it tells of can be read.
struct PoolRow: ~Copyable {
    // Read by every pick, changed seldom.
    /// Counts changes of health and ejections.
    let epoch = Atomic<Int>(0)
    let ejected = Atomic<Int>(0)
    let ejections = Atomic<Int>(0)
    /// When outliers are next looked for.
    let roundDueMs = Atomic<Int64>(0)
    let isPanicking = Atomic<Bool>(false)
    let panics = Atomic<Int>(0)
    let panicPicks = Atomic<Int>(0)
    private let unused = Atomic<Int>(0)

    // Where limits are set, changed by every exchange.
    let active = Atomic<Int>(0)
    let pending = Atomic<Int>(0)
    let retries = Atomic<Int>(0)
    let retriesRefused = Atomic<Int>(0)
    let activeRefused = Atomic<Int>(0)
    let pendingRefused = Atomic<Int>(0)

    static var lineBytes: Int { 128 }
}

/// The shared counters of one upstream. They outlive a configuration, as those of its peers do.
@safe public final class PoolCounters: @unchecked Sendable {
    let row: UnsafeMutablePointer<PoolRow>

    public init() {
        let memory = UnsafeMutableRawPointer.allocate(byteCount: PoolRow.lineBytes, alignment: PoolRow.lineBytes)
        unsafe row = memory.bindMemory(to: PoolRow.self, capacity: 1)
        unsafe row.initialize(to: PoolRow())
    }

    // It holds nothing that is to be destroyed.
    deinit { unsafe UnsafeMutableRawPointer(row).deallocate() }

    /// The health of a peer has changed: balancers look anew.
    func note() { unsafe row.pointee.epoch.wrappingAdd(1, ordering: .releasing) }

    // MARK: Outliers and panic

    /// Ejections since the row was made.
    public var ejections: Int { unsafe row.pointee.ejections.load(ordering: .relaxed) }
    /// Whether so many peers are sick that all are used.
    public var isPanicking: Bool { unsafe row.pointee.isPanicking.load(ordering: .relaxed) }
    /// How often that began, and how many picks were made in it.
    public var panics: Int { unsafe row.pointee.panics.load(ordering: .relaxed) }
    public var panicPicks: Int { unsafe row.pointee.panicPicks.load(ordering: .relaxed) }

    // MARK: Limits

    /// Exchanges that hold a peer, where a limit needs their number.
    public var active: Int { unsafe row.pointee.active.load(ordering: .relaxed) }
    /// Exchanges that wait for a connection to be made, where a limit needs their number.
    public var pending: Int { unsafe row.pointee.pending.load(ordering: .relaxed) }
    /// Exchanges that try a further peer, where a limit needs their number.
    public var retries: Int { unsafe row.pointee.retries.load(ordering: .relaxed) }
    public var retriesRefused: Int { unsafe row.pointee.retriesRefused.load(ordering: .relaxed) }
    public var activeRefused: Int { unsafe row.pointee.activeRefused.load(ordering: .relaxed) }
    public var pendingRefused: Int { unsafe row.pointee.pendingRefused.load(ordering: .relaxed) }

    /// What changes them; whoever keeps a view keeps its `PoolCounters` alive.
    public var view: PoolView { PoolView(self) }
}

/// The counters of an upstream, reached by address, without counting references.
@safe public struct PoolView: @unchecked Sendable, BitwiseCopyable {
    private let row: UnsafeMutablePointer<PoolRow>

    init(_ counters: PoolCounters) { unsafe row = counters.row }

    @inline(__always)
    var epoch: Int { unsafe row.pointee.epoch.load(ordering: .acquiring) }

    func countPanicPick() { unsafe row.pointee.panicPicks.wrappingAdd(1, ordering: .relaxed) }

    /// When the outliers are next to be looked for.
    @inline(__always)
    var roundDueMs: Int64 { unsafe row.pointee.roundDueMs.load(ordering: .relaxed) }

    /// True for the one worker that makes the round which was due at `dueMs`.
    func claimRound(dueMs: Int64, nextMs: Int64) -> Bool {
        unsafe row.pointee.roundDueMs.compareExchange(expected: dueMs, desired: nextMs, ordering: .relaxed).exchanged
    }

    /// Takes the place of one ejected peer among `most`.
    func takePlace(most: Int) -> Bool {
        if unsafe row.pointee.ejected.wrappingAdd(1, ordering: .relaxed).newValue <= most { return true }
        givePlace()
        return false
    }

    func givePlace(_ count: Int = 1) { unsafe row.pointee.ejected.wrappingSubtract(count, ordering: .relaxed) }
    var places: Int { unsafe row.pointee.ejected.load(ordering: .relaxed) }

    func noteEjection() {
        unsafe row.pointee.ejections.wrappingAdd(1, ordering: .relaxed)
        unsafe row.pointee.epoch.wrappingAdd(1, ordering: .releasing)
    }

    /// Sets whether all peers are used although most are sick. True for the worker that is the first to say so.
    public func tellPanic(_ isPanicking: Bool) -> Bool {
        if unsafe row.pointee.isPanicking.exchange(isPanicking, ordering: .relaxed) == isPanicking { return false }
        if isPanicking { unsafe row.pointee.panics.wrappingAdd(1, ordering: .relaxed) }
        return true
    }

    // MARK: Limits

    /// Counts an exchange that is about to hold a peer. False, and nothing is counted, when there are `most` already.
    public func beginActive(most: Int) -> Bool {
        if unsafe Self.begin(row.pointee.active, most: most) { return true }
        unsafe row.pointee.activeRefused.wrappingAdd(1, ordering: .relaxed)
        return false
    }

    public func endActive() { unsafe row.pointee.active.wrappingSubtract(1, ordering: .relaxed) }

    /// Counts an exchange that is about to wait for a connection. False, and nothing is counted, when there are `most` already.
    public func beginPending(most: Int) -> Bool {
        if unsafe Self.begin(row.pointee.pending, most: most) { return true }
        unsafe row.pointee.pendingRefused.wrappingAdd(1, ordering: .relaxed)
        return false
    }

    public func endPending() { unsafe row.pointee.pending.wrappingSubtract(1, ordering: .relaxed) }

    /// Counts an exchange that is about to try a further peer. False, and nothing is counted, when the budget is spent.
    public func beginRetry(_ budget: RetryBudget) -> Bool {
        // The exchange itself has let go of its peer by now.
        if unsafe Self.begin(row.pointee.retries, most: budget.most(active: row.pointee.active.load(ordering: .relaxed) + 1)) { return true }
        unsafe row.pointee.retriesRefused.wrappingAdd(1, ordering: .relaxed)
        return false
    }

    public func endRetry() { unsafe row.pointee.retries.wrappingSubtract(1, ordering: .relaxed) }

    private static func begin(_ count: borrowing Atomic<Int>, most: Int) -> Bool {
        if count.wrappingAdd(1, ordering: .relaxed).newValue <= most { return true }
        count.wrappingSubtract(1, ordering: .relaxed)
        return false
    }
}

/// How many exchanges of an upstream may try a further peer at once.
public struct RetryBudget: Sendable, Equatable, BitwiseCopyable {
    /// Of the active exchanges; may be more than 100.
    public var percent = 20
    /// So many may in any case.
    public var least = 3

    public init() {}

    /// With so many active exchanges.
    public func most(active: Int) -> Int {
        let (product, overflow) = active.multipliedReportingOverflow(by: max(0, percent))
        return max(least, (overflow ? .max : product) / 100)
    }
}
