// What a worker counts. Plain numbers written by one thread; published for others as one copy a turn at most.
// Incremented all over the engine; read by Control through `published`.

import Synchronization

package struct CounterValues: Sendable {
    package var requests: UInt64 = 0
    package var completed: UInt64 = 0
    package var abortedByClient: UInt64 = 0
    package var failed: UInt64 = 0
    package var retries: UInt64 = 0
    package var tunnels: UInt64 = 0
    package var acceptedConnections: UInt64 = 0
    package var closedConnections: UInt64 = 0
    package var refusedConnections: UInt64 = 0
    package var acceptRests: UInt64 = 0
    package var upstreamFailures: UInt64 = 0
    package var upstreamDescriptorFailures: UInt64 = 0
    package var idleUpstreamsClosed: UInt64 = 0
    package var bytesToClients: UInt64 = 0
    /// Answers by the first digit of their status: 1xx to 5xx, and others at 0.
    package var statuses: InlineArray<6, UInt64> = .init(repeating: 0)
    package init() {}
}

/// The counters of one worker. Only its own thread may touch `values`.
@dynamicMemberLookup
package final class WorkerCounters: @unchecked Sendable {
    private let values = UnsafeMutablePointer<CounterValues>.allocate(capacity: 1)
    private let copy = Mutex(CounterValues())
    private let adoptedRevision = Atomic<UInt64>(0)
    package let workerCount: Int

    package init(workerCount: Int = 1) {
        self.workerCount = workerCount
        values.initialize(to: CounterValues())
    }

    deinit { values.deallocate() }

    @inline(__always)
    package subscript<V>(dynamicMember path: WritableKeyPath<CounterValues, V>) -> V {
        @inline(__always) get { values.pointee[keyPath: path] }
        @inline(__always) _modify { yield &values.pointee[keyPath: path] }
    }

    func countStatus(_ status: UInt16) {
        let digit = Int(status / 100)
        values.pointee.statuses[digit >= 1 && digit <= 5 ? digit : 0] += 1
    }

    /// Makes the present numbers visible to other threads.
    func publish() { copy.withLock { $0 = values.pointee } }

    /// The numbers as last published.
    package var published: CounterValues { copy.withLock { $0 } }

    func adopted(revision: UInt64) { adoptedRevision.store(revision, ordering: .releasing) }

    /// The revision the worker serves by.
    package var revision: UInt64 { adoptedRevision.load(ordering: .acquiring) }
}
