// The line of requests that wait for a peer of one upstream, oldest first, over all workers and snapshots.
// Kept by Control beside the counters of the upstream; entered and left by Queue.swift. It knows waiters by name and calls nobody.

import Bytes
import Synchronization

package final class WaitingLine: Sendable {
    /// An exchange of some worker.
    struct Waiter {
        /// Its place for ever: who waits again after a call in vain stands where it stood.
        var ticket: UInt64
        let mailbox: Mailbox
        let handle: Handle
    }

    private struct Line {
        var waiters: [Waiter] = []
        /// Those before it have left.
        var first = 0
        var nextTicket: UInt64 = 0

        var count: Int { waiters.count - first }

        mutating func remove(at i: Int) {
            if i == first {
                first += 1
                if first > 64, first * 2 > waiters.count {
                    waiters.removeFirst(first)
                    first = 0
                }
            } else {
                waiters.remove(at: i)
            }
        }
    }

    private let line = Mutex(Line())
    private let waiters = Atomic<Int>(0)
    private let refused = Atomic<Int>(0)
    private let expired = Atomic<Int>(0)

    package init() {}

    /// How many wait: one load.
    package var count: Int { waiters.load(ordering: .relaxed) }
    /// How many were refused because too many waited, and how many because they had waited too long.
    package var overflows: Int { refused.load(ordering: .relaxed) }
    package var timeouts: Int { expired.load(ordering: .relaxed) }

    func countTimeout() { expired.wrappingAdd(1, ordering: .relaxed) }

    /// Stands at the end; the ticket, or nil when `most` wait already.
    func enter(_ mailbox: Mailbox, _ handle: Handle, most: Int) -> UInt64? {
        let ticket: UInt64? = line.withLock { line in
            if line.count >= most { return nil }
            line.nextTicket += 1
            line.waiters.append(Waiter(ticket: line.nextTicket, mailbox: mailbox, handle: handle))
            waiters.store(line.count, ordering: .relaxed)
            return line.nextTicket
        }
        if ticket == nil { refused.wrappingAdd(1, ordering: .relaxed) }
        return ticket
    }

    /// Stands where it stood before it was called in vain.
    func reenter(_ waiter: Waiter) {
        line.withLock { line in
            var i = line.first
            while i < line.waiters.count, line.waiters[i].ticket < waiter.ticket { i += 1 }
            if i == line.first, i > 0 {
                line.first -= 1
                line.waiters[line.first] = waiter
            } else {
                line.waiters.insert(waiter, at: i)
            }
            waiters.store(line.count, ordering: .relaxed)
        }
    }

    /// The oldest, who stands in the line no more.
    func call() -> Waiter? {
        line.withLock { line in
            if line.count == 0 { return nil }
            let waiter = line.waiters[line.first]
            line.remove(at: line.first)
            waiters.store(line.count, ordering: .relaxed)
            return waiter
        }
    }

    /// Leaves before being called. False: the call is on its way.
    func leave(_ ticket: UInt64) -> Bool {
        line.withLock { line in
            guard let i = line.waiters[line.first...].firstIndex(where: { $0.ticket == ticket }) else { return false }
            line.remove(at: i)
            waiters.store(line.count, ordering: .relaxed)
            return true
        }
    }
}
