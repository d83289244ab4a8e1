// The counters of one peer that every worker shares: what makes least_conn, max_conns and max_fails mean the same with any
// number of workers. Made and kept by the control side, changed by balancers. It knows neither weights nor algorithms.
import Synchronization

/// What a `PeerCounters` counts in: three cache lines of its own, so that peers do not slow each other down. The first is what a pick
/// reads, the second what only answers change, the third what is counted where outliers are looked for.
///
/// All accesses are relaxed: each counter stands for itself, and no other memory is published through it.
struct PeerRow: ~Copyable {
    /// Before any time of the clock, and far from overflow.
    static var never: Int64 { -(1 << 60) }

    let active = Atomic<Int>(0)
    let fails = Atomic<Int>(0)
    let accessedMs = Atomic<Int64>(0)
    let checkedMs = Atomic<Int64>(0)
    let requests = Atomic<Int>(0)
    /// A `PeerHealth`.
    let health = Atomic<UInt8>(0)
    /// Ejected until then, that millisecond included.
    let ejectedUntilMs = Atomic<Int64>(PeerRow.never)
    /// When the peer last came or recovered, other than from an ejection.
    let risenMs = Atomic<Int64>(PeerRow.never)

    let failures = Atomic<Int>(0)
    /// By the first digit of the status; tries without an answer at 0.
    let answers = InlineArray<6, Atomic<Int>> { _ in Atomic<Int>(0) }
    let tunnels = Atomic<Int>(0)

    /// Errors one behind the other, and what was seen since the outliers were last looked for: see `Outliers.swift`.
    let streak = Atomic<Int>(0)
    let seenRequests = Atomic<Int>(0)
    let seenErrors = Atomic<Int>(0)
    let seenLogs = Atomic<Int>(0)
    /// How often the peer was ejected, less the intervals that went well since.
    let ejections = Atomic<Int>(0)

    static var strideBytes: Int { 192 }
    static var alignmentBytes: Int { 64 }
}

/// What somebody who asks a peer after its health knows of it.
public enum PeerHealth: UInt8, Sendable, BitwiseCopyable {
    /// Nobody asks.
    case unwatched
    /// It has not passed yet, and gets no request before it has.
    case unchecked
    case healthy
    /// Gets no request, unless so many peers are sick that all are used again.
    case unhealthy
}

/// Rows side by side. They live until the last peer of theirs is gone.
@safe private final class PeerRows {
    let memory: UnsafeMutableRawPointer
    let count: Int

    init(_ count: Int) {
        self.count = count
        unsafe memory = .allocate(byteCount: count * PeerRow.strideBytes, alignment: PeerRow.alignmentBytes)
        for i in 0..<count {
            unsafe (memory + i * PeerRow.strideBytes).bindMemory(to: PeerRow.self, capacity: 1).initialize(to: PeerRow())
        }
    }

    func row(_ i: Int) -> UnsafeMutablePointer<PeerRow> {
        precondition(i >= 0 && i < count)
        return unsafe (memory + i * PeerRow.strideBytes).assumingMemoryBound(to: PeerRow.self)
    }

    // Rows hold nothing that is to be destroyed.
    deinit { unsafe memory.deallocate() }
}

/// The shared counters of one peer. They outlive a configuration: a later `Balancer` of the same peer is given the same row.
///
/// A balancer keeps the rows of its peers alive, and reaches them by address, without reference counting.
@safe public final class PeerCounters: @unchecked Sendable {
    let row: UnsafeMutablePointer<PeerRow>
    /// Keeps the row alive.
    private let rows: PeerRows
    /// What the peer's upstream counts.
    public let pool: PoolCounters

    public convenience init(pool: PoolCounters = PoolCounters()) { self.init(PeerRows(1), 0, pool) }

    fileprivate init(_ rows: PeerRows, _ i: Int, _ pool: PoolCounters) {
        self.rows = rows
        self.pool = pool
        unsafe row = rows.row(i)
    }

    /// Exchanges that hold the peer now.
    public var active: Int { unsafe row.pointee.active.load(ordering: .relaxed) }
    /// Failures counted against `max_fails`.
    public var fails: Int { unsafe row.pointee.fails.load(ordering: .relaxed) }
    /// When the peer last failed, in milliseconds of the engine's clock; 0 before.
    public var accessedMs: Int64 { unsafe row.pointee.accessedMs.load(ordering: .relaxed) }
    /// When the current `fail_timeout` began: with a failure, or with a request picked after the one before had passed.
    public var checkedMs: Int64 { unsafe row.pointee.checkedMs.load(ordering: .relaxed) }
    /// How often the peer was picked since the row was made.
    public var requests: Int { unsafe row.pointee.requests.load(ordering: .relaxed) }
    /// How many of the requests failed.
    public var failures: Int { unsafe row.pointee.failures.load(ordering: .relaxed) }

    /// Its answers with a status that begins with this digit, 1 to 5: what `Balancer.release` was told.
    public func answers(_ digit: Int) -> Int {
        digit >= 1 && digit <= 5 ? unsafe row.pointee.answers[digit].load(ordering: .relaxed) : 0
    }

    /// How many of the answers had a status of 500 or more.
    public var errors: Int { answers(5) }

    /// Tunnels among `active`: what `Balancer.countTunnel` was told.
    public var tunnels: Int { unsafe row.pointee.tunnels.load(ordering: .relaxed) }

    /// Until when failures keep the peer out under these settings, that millisecond included; nil when they don't.
    ///
    /// It may lie in the past: then the next exchange to pick the peer is its trial. A peer alone in its upstream is never out.
    public func unavailableUntilMs(maxFails: Int, failTimeoutMs: Int64) -> Int64? {
        maxFails > 0 && fails >= maxFails ? checkedMs &+ failTimeoutMs : nil
    }

    /// Whether failures keep the peer out at `nowMs` under these settings.
    public func isUnavailable(atMs nowMs: Int64, maxFails: Int, failTimeoutMs: Int64) -> Bool {
        unavailableUntilMs(maxFails: maxFails, failTimeoutMs: failTimeoutMs).map { nowMs <= $0 } ?? false
    }

    // MARK: Health, told from outside

    /// As last set; workers see it with their next pick.
    public var health: PeerHealth { unsafe PeerHealth(rawValue: row.pointee.health.load(ordering: .relaxed)) ?? .unwatched }

    /// Sets what is known of the peer's health, for all workers and whatever snapshot has it. From any thread.
    ///
    /// A peer that becomes healthy has no failures any more, is ejected no longer, and starts slowly where `slow_start` says so.
    /// - Parameter nowMs: of the engine's clock.
    /// - Returns: whether it was something else before. Only then anything is changed.
    @discardableResult
    public func setHealth(_ health: PeerHealth, nowMs: Int64) -> Bool {
        let before = unsafe PeerHealth(rawValue: row.pointee.health.exchange(health.rawValue, ordering: .relaxed)) ?? .unwatched
        if before == health { return false }
        if health == .healthy && before != .unwatched {
            forgetFailures()
            rise(nowMs: nowMs)
        }
        pool.note()
        return true
    }

    /// The peer is new among others that serve already: it starts slowly where `slow_start` says so.
    public func rise(nowMs: Int64) { unsafe row.pointee.risenMs.store(nowMs, ordering: .relaxed) }

    /// Until when the peer is ejected as an outlier, that millisecond included; nil when it is not at `nowMs`.
    public func ejectedUntilMs(nowMs: Int64) -> Int64? {
        let until = unsafe row.pointee.ejectedUntilMs.load(ordering: .relaxed)
        return nowMs <= until ? until : nil
    }

    /// How far a slow start is at `nowMs`, in thousandths; 1000 when it is over or there is none.
    public func risenThousandths(slowStartMs: Int64, nowMs: Int64) -> Int {
        let start = max(unsafe row.pointee.risenMs.load(ordering: .relaxed), unsafe row.pointee.ejectedUntilMs.load(ordering: .relaxed))
        let elapsedMs = max(0, nowMs - start)
        return slowStartMs <= 0 || elapsedMs >= slowStartMs ? 1000 : Int(elapsedMs * 1000 / slowStartMs)
    }

    /// Forgets the failures that keep the peer out, and its ejection, as when it is declared healthy from outside. Totals stay.
    public func forgetFailures() {
        unsafe row.pointee.fails.store(0, ordering: .relaxed)
        unsafe row.pointee.streak.store(0, ordering: .relaxed)
        unsafe row.pointee.ejectedUntilMs.store(PeerRow.never, ordering: .relaxed)
        pool.note()
    }
}

/// Makes the counters of many peers: their rows share memory, some at a time, so that one that stays keeps no more than these.
public struct PeerCounterMaker: ~Copyable {
    private static var rowsMax: Int { 64 }
    private var rows: PeerRows?
    private var next = 0
    private var left: Int
    private let pool: PoolCounters

    /// - Parameters:
    ///   - count: how many are to be made, probably.
    ///   - pool: of the upstream whose peers they are.
    public init(expecting count: Int, pool: PoolCounters) {
        left = count
        self.pool = pool
    }

    public mutating func make() -> PeerCounters {
        if let rows, next < rows.count {
            next += 1
            return PeerCounters(rows, next - 1, pool)
        }
        let fresh = PeerRows(min(max(left, 1), Self.rowsMax))
        left -= fresh.count
        rows = fresh
        next = 1
        return PeerCounters(fresh, 0, pool)
    }
}
