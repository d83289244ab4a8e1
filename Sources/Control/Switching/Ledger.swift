// The accounts of revisions, and the receipts that are made of them.
// Owned by the controller. Workers write the accounts while they are read here: figures are read until they agree.

import AdminAPI
import CLinux
import Engine

struct Ledger {
    private struct Page {
        var revision: Revision
        var accounts: [RevisionAccount]
        var acceptedNs: UInt64
    }
    /// Oldest first.
    private var pages: [Page] = []
    /// What the revisions came to whose pages are no longer kept.
    private var folded = RequestAccount()
    private var foldedConnections: (accepted: UInt64, closed: UInt64) = (0, 0)

    mutating func open(_ revision: Revision, _ accounts: [RevisionAccount], acceptedNs: UInt64) {
        pages.append(Page(revision: revision, accounts: accounts, acceptedNs: acceptedNs))
        if pages.count <= ControlLimits.receiptsKept { return }
        // Of the oldest that have come to their end, the figures stay. One under which a tunnel lives on stays whole.
        let old = pages.count - ControlLimits.receiptsKept
        guard let place = pages[..<old].lastIndex(where: { Self.sum(.inFlight, $0) == 0 }) else { return }
        let first = pages[place]
        let account = Self.account(first)
        folded.started += account.started
        folded.completed += account.completed
        folded.abortedByClient += account.abortedByClient
        folded.failedByUpstream += account.failedByUpstream
        folded.failedByProxy += account.failedByProxy
        folded.moved += account.moved
        foldedConnections.accepted += Self.sum(.accepted, first)
        foldedConnections.closed += Self.sum(.closedByClient, first) + Self.sum(.closedByProxy, first)
        pages.remove(at: place)
    }

    func accounts(of number: UInt64) -> [RevisionAccount]? { pages.last { $0.revision.number == number }?.accounts }

    private static func sum(_ tally: Tally, _ page: Page) -> UInt64 { page.accounts.reduce(0) { $0 + $1.account[tally] } }

    private static func account(_ page: Page) -> RequestAccount {
        var account = RequestAccount()
        // In this order a request that ends or begins meanwhile cannot make the ends exceed the beginnings.
        account.completed = sum(.completed, page)
        account.abortedByClient = sum(.abortedByClient, page)
        account.failedByUpstream = sum(.failedByUpstream, page)
        account.failedByProxy = sum(.failedByProxy, page)
        account.moved = sum(.moved, page)
        account.inFlight = sum(.inFlight, page)
        account.started = sum(.started, page)
        return account
    }

    /// Nil: there is no page of this revision.
    func receipt(_ number: UInt64, workers: [WorkerCounters]) -> Receipt? {
        // Older pages may have lost those behind them, which a receipt needs.
        guard let place = pages.lastIndex(where: { $0.revision.number == number }), pages.count - place <= ControlLimits.receiptsKept
        else { return nil }
        var receipt = read(place, workers)
        // The workers go on while they are read. A difference that stays is one.
        for _ in 0..<ControlLimits.receiptReadings where !receipt.balances {
            clinux_sleep_ms(1)
            receipt = read(place, workers)
        }
        return receipt
    }

    /// Nil: there is no page of this revision.
    func progress(_ number: UInt64) -> (isVisible: Bool, isFinal: Bool)? {
        guard let place = pages.lastIndex(where: { $0.revision.number == number }) else { return nil }
        let isVisible = pages[place].accounts.indices.allSatisfy { taken(place, by: $0) != nil }
        if !isVisible || place + 1 == pages.count { return (isVisible, false) }
        return (true, pages[...place].allSatisfy { Self.sum(.inFlight, $0) == 0 })
    }

    /// What a worker opened when it took this revision, or the first later one: what comes and goes while it sleeps it passes over.
    private func taken(_ place: Int, by worker: Int) -> Account? {
        for page in pages[place...] where page.accounts.indices.contains(worker) {
            let account = page.accounts[worker].account
            if account[.adoptedNs] > 0 { return account }
        }
        return nil
    }

    private func read(_ place: Int, _ workers: [WorkerCounters]) -> Receipt {
        let page = pages[place]
        let taken = page.accounts.indices.map { self.taken(place, by: $0) }
        var receipt = Receipt(revision: page.revision.number)
        receipt.reason = page.revision.reason
        receipt.who = page.revision.who
        receipt.atMs = page.revision.atMs
        receipt.workers = page.accounts.count
        if place > 0 { receipt.before = Self.account(pages[place - 1]) }
        receipt.after = Self.account(page)
        receipt.carried = carried(place, taken, workers)
        receipt.tunnelsCarried = taken.reduce(0) { $0 + ($1?[.tunnelsCarried] ?? 0) }
        receipt.held = Self.sum(.held, page)
        receipt.retried = Self.sum(.retried, page)
        receipt.inner = Self.sum(.inner, page)
        receipt.mirrorsDropped = Self.sum(.mirrorsDropped, page)
        receipt.closedByClient = Self.sum(.closedByClient, page)
        receipt.closedByProxy = Self.sum(.closedByProxy, page)
        receipt.closedByDrain = Self.sum(.closedByDrain, page)
        let adopted = taken.compactMap { $0?[.adoptedNs] }
        if adopted.count == taken.count, let last = adopted.max() {
            receipt.visibleAfterUs = last > page.acceptedNs ? Int64(last - page.acceptedNs) / 1000 : 0
        }
        if receipt.carried.inFlight == 0, receipt.visibleAfterUs != nil {
            let last = pages[..<place].reduce(0) { max($0, $1.accounts.map { $0.account[.lastLateNs] }.max() ?? 0) }
            receipt.slowestDrainMs = last > page.acceptedNs ? Int64((last - page.acceptedNs) / 1_000_000) : 0
        }
        receipt.isFinal = place + 1 < pages.count && receipt.carried.inFlight == 0 && receipt.after.inFlight == 0
        return receipt
    }

    /// What was in flight when the workers took this revision. Its ends are the late ones since, without those of this and later revisions.
    private func carried(_ place: Int, _ taken: [Account?], _ workers: [WorkerCounters]) -> RequestAccount {
        func ends(_ tallies: (late: Tally, base: Tally)) -> UInt64 {
            var count: UInt64 = 0
            for (i, worker) in workers.enumerated() where i < taken.count {
                guard let account = taken[i] else { continue }
                let later = pages[place...].reduce(UInt64(0)) { $0 + ($1.accounts.indices.contains(i) ? $1.accounts[i].account[tallies.late] : 0) }
                count &+= worker.late.account[tallies.late] &- account[tallies.base] &- later
            }
            return count
        }
        var account = RequestAccount()
        account.completed = ends(lateTallies[0])
        account.abortedByClient = ends(lateTallies[1])
        account.failedByUpstream = ends(lateTallies[2])
        account.failedByProxy = ends(lateTallies[3])
        account.moved = ends(lateTallies[4])
        // A worker that has not taken the revision yet has carried nothing over.
        for i in taken.indices where taken[i] != nil {
            account.inFlight += pages[..<place].reduce(0) { $0 + ($1.accounts.indices.contains(i) ? $1.accounts[i].account[.inFlight] : 0) }
        }
        account.started = taken.reduce(0) { $0 + ($1?[.carried] ?? 0) }
        return account
    }

    /// The totals since the start.
    func fill(_ status: inout Status) {
        var total = folded
        var (accepted, closed) = foldedConnections
        for page in pages {
            let account = Self.account(page)
            total.started += account.started
            total.completed += account.completed
            total.abortedByClient += account.abortedByClient
            total.failedByUpstream += account.failedByUpstream
            total.failedByProxy += account.failedByProxy
            total.moved += account.moved
            total.inFlight += account.inFlight
            closed += Self.sum(.closedByClient, page) + Self.sum(.closedByProxy, page)
            accepted += Self.sum(.accepted, page)
        }
        status.requests = total
        status.connections = accepted > closed ? accepted - closed : 0
    }
}
