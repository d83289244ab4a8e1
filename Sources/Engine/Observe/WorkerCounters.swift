// What a worker counts: plain numbers written by one thread.
// Incremented all over the engine through `Worker.counts`; read when the worker has ended, or by its own thread.

import Bytes
import Synchronization

package struct CounterValues: Sendable, BitwiseCopyable {
    package var requests: UInt64 = 0
    package var completed: UInt64 = 0
    package var abortedByClient: UInt64 = 0
    package var failed: UInt64 = 0
    package var retries: UInt64 = 0
    package var tunnels: UInt64 = 0
    /// Requests made within requests, which count nowhere else; those that have ended; and mirrored ones that were not made for want of room.
    package var inner: UInt64 = 0
    package var innerEnded: UInt64 = 0
    package var mirrorsDropped: UInt64 = 0
    package var acceptedConnections: UInt64 = 0
    package var closedConnections: UInt64 = 0
    package var refusedConnections: UInt64 = 0
    package var acceptRests: UInt64 = 0
    package var upstreamFailures: UInt64 = 0
    package var upstreamDescriptorFailures: UInt64 = 0
    package var idleUpstreamsClosed: UInt64 = 0
    /// HTTP/2 connections closed because their clients sent too much that asks for nothing.
    package var http2Floods: UInt64 = 0
    package var bytesToClients: UInt64 = 0
    /// Answers by the first digit of their status: 1xx to 5xx, and others at 0.
    package var statuses: InlineArray<6, UInt64> = .init(repeating: 0)
    package init() {}
}

/// The counters of one worker and what it says of itself to other threads.
package final class WorkerCounters: @unchecked Sendable {
    /// Only the worker's own thread may touch these while it runs.
    package let values: Ref<CounterValues>
    private let memory = UnsafeMutablePointer<CounterValues>.allocate(capacity: 1)
    /// Exchanges that outlived their revision, of all revisions together.
    package let late = RevisionAccount()
    private let adoptedRevision = Atomic<UInt64>(0)
    package let workerCount: Int

    package init(workerCount: Int = 1) {
        self.workerCount = workerCount
        memory.initialize(to: CounterValues())
        values = Ref(memory)
    }

    deinit { memory.deallocate() }

    func adopted(revision: UInt64) { adoptedRevision.store(revision, ordering: .releasing) }

    /// The revision the worker serves by.
    package var revision: UInt64 { adoptedRevision.load(ordering: .acquiring) }
}

extension Worker {
    func countStatus(_ status: UInt16) {
        let digit = Int(status / 100)
        counts.statuses[digit >= 1 && digit <= 5 ? digit : 0] += 1
    }
}
