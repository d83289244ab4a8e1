// The states that limit_req and limit_conn keep of their keys, shared by all workers; and the settings of both.
// Made by Control, kept over reloads by LimitZoneRegistry, asked by Limiting.swift. Locks are held for one look-up, by those alone who are
// limited.

import Balancing
import Bytes
import Synchronization

/// `limit_req_zone` or `limit_conn_zone`: a table of states, in parts with a lock each.
package final class LimitZone: Sendable {
    private final class Part: Sendable {
        let table: Mutex<LimitTable>
        init(capacity: Int) { table = Mutex(LimitTable(capacity: capacity)) }
    }
    private let parts: [Part]

    /// bytes: of memory at most.
    package init(bytes: Int) {
        let capacity = max(1, bytes / LimitTable.stateBytes)
        // Small tables stay whole: in parts, one would be full before the others.
        let count = capacity >= 16 << 10 ? 8 : 1
        parts = (0..<count).map { _ in Part(capacity: capacity / count) }
    }

    /// How many states there may be.
    package var capacity: Int { parts.reduce(0) { $0 + $1.table.withLock { $0.capacity } } }

    /// How many there are now.
    package var count: Int { parts.reduce(0) { $0 + $1.table.withLock { $0.count } } }

    @inline(__always)
    fileprivate func withTable<R: Sendable>(of key: UInt64, _ body: (inout LimitTable) -> sending R) -> R {
        // The table itself goes by the lower bits.
        parts[Int(truncatingIfNeeded: key >> 56) & (parts.count - 1)].table.withLock { body(&$0) }
    }
}

/// A zone as a worker sees it. The snapshot owns the object.
package struct LimitZoneView: BitwiseCopyable {
    private let zone: Unmanaged<LimitZone>
    init(_ zone: LimitZone) { self.zone = .passUnretained(zone) }

    var count: Int { zone._withUnsafeGuaranteedRef { $0.count } }

    func judgeRequest(_ key: UInt64, nowMs: Int64, _ rate: RequestRate, counts: Bool) -> LimitTable.RequestVerdict {
        zone._withUnsafeGuaranteedRef { $0.withTable(of: key) { $0.judgeRequest(key, nowMs: nowMs, rate, counts: counts) } }
    }
    func countRequest(_ key: UInt64, nowMs: Int64, _ rate: RequestRate) -> Int64 {
        zone._withUnsafeGuaranteedRef { $0.withTable(of: key) { $0.countRequest(key, nowMs: nowMs, rate) } }
    }
    func enterConnection(_ key: UInt64, most: UInt32) -> LimitTable.ConnectionVerdict {
        zone._withUnsafeGuaranteedRef { $0.withTable(of: key) { $0.enterConnection(key, most: most) } }
    }
    func leaveConnection(_ key: UInt64) {
        zone._withUnsafeGuaranteedRef { $0.withTable(of: key) { $0.leaveConnection(key) } }
    }
}

/// A zone in a snapshot.
package struct LimitZoneSettings: BitwiseCopyable {
    package var name: ByteView
    var zone: LimitZoneView
    /// Whom a request or connection counts for; empty: it does not count.
    package var key: Template
    /// Thousandths of a request a second; 0: the zone is one of connections.
    package var ratePerSecond: Int64
    package var isOfConnections: Bool { ratePerSecond == 0 }
    package init(name: ByteView, zone: LimitZone, key: Template, ratePerSecond: Int64) {
        self.name = name
        self.zone = LimitZoneView(zone)
        self.key = key
        self.ratePerSecond = ratePerSecond
    }

    /// Keys that have a state now.
    package var keyCount: Int { zone.count }
}

/// One `limit_req`. Burst and what is not delayed in thousandths of a request.
package struct RequestLimit: BitwiseCopyable {
    /// Place in `SnapshotRoot.limitZones`.
    package var zone: Int32
    package var burst: Int64
    package var undelayed: Int64
    package init(zone: Int32, burst: Int64, undelayed: Int64) {
        self.zone = zone
        self.burst = burst
        self.undelayed = undelayed
    }
}

/// One `limit_conn`.
package struct ConnectionLimit: BitwiseCopyable {
    package var zone: Int32
    package var most: UInt32
    package init(zone: Int32, most: UInt32) {
        self.zone = zone
        self.most = most
    }
}

/// What becomes of a request beyond a limit.
package struct LimitRefusal: BitwiseCopyable {
    package var status: UInt16 = 503
    package var level = LogLevel.error
    /// It is told, and passes.
    package var isDryRun = false
    package init() {}
}

package struct LimitSettings: BitwiseCopyable {
    package var requests = Frozen<RequestLimit>.empty
    package var requestRefusal = LimitRefusal()
    package var connections = Frozen<ConnectionLimit>.empty
    package var connectionRefusal = LimitRefusal()
    package init() {}
}

/// What a limit did with an exchange: `$limit_req_status`, `$limit_conn_status`.
enum LimitStatus: UInt8, BitwiseCopyable {
    case none, passed, delayed, rejected, delayedDryRun, rejectedDryRun

    var word: StaticString {
        switch self {
        case .none: ""
        case .passed: "PASSED"
        case .delayed: "DELAYED"
        case .rejected: "REJECTED"
        case .delayedDryRun: "DELAYED_DRY_RUN"
        case .rejectedDryRun: "REJECTED_DRY_RUN"
        }
    }
}

/// A connection that an exchange counts as, in a zone that its snapshot owns.
struct CountedConnection: BitwiseCopyable {
    var zone: LimitZoneView
    var key: UInt64
}
