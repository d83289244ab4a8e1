// Owns what receipts say of workers that pass over a revision, because the next was published before they woke.

import AdminAPI
import Testing

@testable import Control
@testable import Engine

@Suite("receipts")
struct LedgerTests {
    private let workers = [WorkerCounters(workerCount: 2), WorkerCounters(workerCount: 2)]
    private var ledger = Ledger()
    private var accounts: [[RevisionAccount]] = []

    /// Revision 1 has taken three requests in each worker; 2 and 3 were published since.
    init() {
        for number in UInt64(1)...3 {
            let pair = [RevisionAccount(), RevisionAccount()]
            accounts.append(pair)
            let revision = Revision(number: number, kind: .change, atMs: 0, who: "", reason: "", summary: "")
            ledger.open(revision, pair, acceptedNs: number * 1_000_000)
        }
        for account in accounts[0].map(\.account) {
            account.set(.adoptedNs, 1_000_000)
            account.set(.started, 3)
            account.set(.inFlight, 3)
        }
    }

    /// The worker takes revision `number` with `carried` requests in flight.
    private func take(_ worker: Int, _ number: Int, carried: UInt64) {
        let account = accounts[number - 1][worker].account
        account.set(.carried, carried)
        account.set(.tunnelsCarried, 1)
        account.set(.adoptedNs, 5_000_000)
    }

    /// One of the requests of revision 1 ends.
    private func end(_ worker: Int) {
        let account = accounts[0][worker].account
        account.add(.completed)
        account.subtract(.inFlight)
        account.add(.lateCompleted)
        workers[worker].late.account.add(.lateCompleted)
    }

    @Test func aRevisionThatAWorkerPassedOverIsVisibleAndBalances() throws {
        take(0, 2, carried: 3)
        #expect(ledger.progress(2)?.isVisible == false)
        #expect(ledger.receipt(2, workers: workers)?.visibleAfterUs == nil)
        take(0, 3, carried: 3)
        take(1, 3, carried: 3)
        #expect(ledger.progress(2)?.isVisible == true)
        #expect(ledger.progress(3)?.isVisible == true)
        for number in UInt64(2)...3 {
            let receipt = try #require(ledger.receipt(number, workers: workers))
            #expect(receipt.carried.started == 6)
            #expect(receipt.carried.inFlight == 6)
            #expect(receipt.tunnelsCarried == 2)
            #expect(receipt.visibleAfterUs == Int64(5000 - 1000 * number))
            #expect(receipt.balances)
        }
        for worker in [0, 0, 0, 1, 1, 1] { end(worker) }
        let receipt = try #require(ledger.receipt(2, workers: workers))
        #expect(receipt.carried.completed == 6)
        #expect(receipt.balances && receipt.isFinal)
        #expect(ledger.progress(2)?.isFinal == true)
    }
}
