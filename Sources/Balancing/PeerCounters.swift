// The counters of one peer that every worker shares: what makes least_conn, max_conns and max_fails mean the same with any
// number of workers. Made and kept by the control side, changed by balancers. It knows neither weights nor algorithms.
import Synchronization

/// The memory behind a `PeerCounters`: one cache line of its own, so that peers do not slow each other down.
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

    static var lineBytes: Int { 64 }
}

/// The shared counters of one peer. They outlive a configuration: a later `Balancer` of the same peer is given the same row.
///
/// A balancer keeps the rows of its peers alive, and reaches them by address, without reference counting.
@safe public final class PeerCounters: @unchecked Sendable {
    let row: UnsafeMutablePointer<PeerRow>

    public init() {
        let memory = UnsafeMutableRawPointer.allocate(
            byteCount: max(MemoryLayout<PeerRow>.size, PeerRow.lineBytes), alignment: PeerRow.lineBytes)
        unsafe row = memory.bindMemory(to: PeerRow.self, capacity: 1)
        unsafe row.initialize(to: PeerRow())
    }

    deinit {
        unsafe row.deinitialize(count: 1)
        unsafe row.deallocate()
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
