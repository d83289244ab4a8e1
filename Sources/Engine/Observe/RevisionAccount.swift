// What one worker did under one revision: the figures that receipts are made of. One thread writes, others read.
// Made by Control with a snapshot; written by the worker as exchanges begin and end.

import Bytes
import CLinux

/// A figure of an account.
package enum Tally: Int, CaseIterable, Sendable {
    case started
    /// Began under this revision and have not ended.
    case inFlight
    // How exchanges ended that began under this revision.
    case completed, abortedByClient, failedByUpstream, failedByProxy, moved
    // Of these, those that ended when a later revision was current.
    case lateCompleted, lateAbortedByClient, lateFailedByUpstream, lateFailedByProxy, lateMoved
    case held, retried, tunnels
    // Requests made within requests, which count in none of the figures above, and mirrored ones that were not made for want of room.
    case inner, mirrorsDropped
    // Connections of clients, under the revision that was current.
    case accepted, closedByClient, closedByProxy, closedByDrain
    /// Exchanges of earlier revisions in flight when the worker took this one, and the tunnels among them.
    case carried, tunnelsCarried
    /// What the worker's late endings came to then, so that those of the carried can be told from others.
    case baseCompleted, baseAbortedByClient, baseFailedByUpstream, baseFailedByProxy, baseMoved
    /// When the worker took this revision, and when the last exchange of it ended late: nanoseconds of the monotonic clock.
    case adoptedNs, lastLateNs
}

/// The cells of an account. Each is a relaxed atomic number with one writer: adding costs a load and a store.
package struct Account: BitwiseCopyable, @unchecked Sendable {
    fileprivate let cells: UnsafeMutablePointer<UInt64>

    @inline(__always)
    func add(_ tally: Tally, _ n: UInt64 = 1) { clinux_count_add(cells + tally.rawValue, n) }

    @inline(__always)
    func subtract(_ tally: Tally) { clinux_count_add(cells + tally.rawValue, UInt64.max) }

    func isSame(as other: Account) -> Bool { cells == other.cells }

    func set(_ tally: Tally, _ value: UInt64) { clinux_count_set(cells + tally.rawValue, value) }

    package subscript(_ tally: Tally) -> UInt64 { clinux_count_read(cells + tally.rawValue) }
}

/// Owns the cells.
package final class RevisionAccount: Sendable {
    package let account: Account

    package init() {
        let cells = UnsafeMutablePointer<UInt64>.allocate(capacity: Tally.allCases.count)
        cells.initialize(repeating: 0, count: Tally.allCases.count)
        account = Account(cells: cells)
    }

    deinit { account.cells.deallocate() }
}

/// How an exchange ended, as accounts count it.
enum Ending { case completed, abortedByClient, failedByUpstream, failedByProxy, moved }

/// The late tallies, and where an account keeps what they were when its worker took the revision.
package let lateTallies: [(late: Tally, base: Tally)] = [
    (.lateCompleted, .baseCompleted), (.lateAbortedByClient, .baseAbortedByClient), (.lateFailedByUpstream, .baseFailedByUpstream),
    (.lateFailedByProxy, .baseFailedByProxy), (.lateMoved, .baseMoved),
]

extension Worker {
    /// Opens the account of a revision that the worker has just taken.
    func openAccount(_ account: Account) {
        for (late, base) in lateTallies { account.set(base, counters.late.account[late]) }
        var carried: UInt64 = 0
        var tunnels: UInt64 = 0
        for handle in exchanges.handles {
            guard let x = exchanges.find(handle), x.inner == nil else { continue }
            carried += 1
            if x.phase == .tunnel { tunnels += 1 }
        }
        account.set(.carried, carried)
        account.set(.tunnelsCarried, tunnels)
        account.set(.adoptedNs, max(1, kernel.monotonicNs()))
    }

    /// The exchange has ended: settles its account. Those that outlived their revision are counted apart, too.
    @inline(__always)
    func settleAccount(_ pinned: Ref<PinnedSnapshot>, _ ending: Ending) {
        let account = pinned.account
        switch ending {
        case .completed: account.add(.completed)
        case .abortedByClient: account.add(.abortedByClient)
        case .failedByUpstream: account.add(.failedByUpstream)
        case .failedByProxy: account.add(.failedByProxy)
        case .moved: account.add(.moved)
        }
        account.subtract(.inFlight)
        if pinned.revision != current.revision { settleLate(account, ending) }
    }

    private func settleLate(_ account: Account, _ ending: Ending) {
        let tally: Tally = switch ending {
        case .completed: .lateCompleted
        case .abortedByClient: .lateAbortedByClient
        case .failedByUpstream: .lateFailedByUpstream
        case .failedByProxy: .lateFailedByProxy
        case .moved: .lateMoved
        }
        account.add(tally)
        counters.late.account.add(tally)
        account.set(.lastLateNs, nowNs)
    }
}
