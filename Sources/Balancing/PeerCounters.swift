// The counters of one peer that every worker shares: what makes least_conn, max_conns and max_fails mean the same with any
// number of workers. Made and kept by the control side, changed by balancers. It knows neither weights nor algorithms.
import Synchronization

/// What a `PeerCounters` counts in: one cache line of its own, so that peers do not slow each other down.
///
/// All accesses are relaxed: each counter stands for itself, and no other memory is published through it.
struct PeerRow: ~Copyable {
    let active = Atomic<Int>(0)
    let fails = Atomic<Int>(0)
    let accessedMs = Atomic<Int64>(0)
    let checkedMs = Atomic<Int64>(0)
    let requests = Atomic<Int>(0)
    let failures = Atomic<Int>(0)
    let errors = Atomic<Int>(0)
    let tunnels = Atomic<Int>(0)

    static var lineBytes: Int { 64 }
}

/// Rows side by side. They live until the last peer of theirs is gone.
@safe private final class PeerRows {
    let memory: UnsafeMutableRawPointer
    let count: Int

    init(_ count: Int) {
        self.count = count
        unsafe memory = .allocate(byteCount: count * PeerRow.lineBytes, alignment: PeerRow.lineBytes)
        for i in 0..<count {
            unsafe (memory + i * PeerRow.lineBytes).bindMemory(to: PeerRow.self, capacity: 1).initialize(to: PeerRow())
        }
    }

    func row(_ i: Int) -> UnsafeMutablePointer<PeerRow> {
        precondition(i >= 0 && i < count)
        return unsafe (memory + i * PeerRow.lineBytes).assumingMemoryBound(to: PeerRow.self)
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

    public convenience init() { self.init(PeerRows(1), 0) }

    fileprivate init(_ rows: PeerRows, _ i: Int) {
        self.rows = rows
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

    /// How many of the answers had a status of 500 or more: what `Balancer.countError` was told.
    public var errors: Int { unsafe row.pointee.errors.load(ordering: .relaxed) }

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

    /// Forgets the failures that keep the peer out, as when it is declared healthy from outside. Totals stay.
    public func forgetFailures() { unsafe row.pointee.fails.store(0, ordering: .relaxed) }
}

/// Makes the counters of many peers: their rows share memory, some at a time, so that one that stays keeps no more than these.
public struct PeerCounterMaker: ~Copyable {
    private static var rowsMax: Int { 64 }
    private var rows: PeerRows?
    private var next = 0
    private var left: Int

    /// - Parameter count: how many are to be made, probably.
    public init(expecting count: Int) { left = count }

    public mutating func make() -> PeerCounters {
        if let rows, next < rows.count {
            next += 1
            return PeerCounters(rows, next - 1)
        }
        let fresh = PeerRows(min(max(left, 1), Self.rowsMax))
        left -= fresh.count
        rows = fresh
        next = 1
        return PeerCounters(fresh, 0)
    }
}
