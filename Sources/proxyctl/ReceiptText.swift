// Owns how a receipt reads, whether it is a good one, and the waiting for it.
// Called by the verb `receipt` and by those that move traffic.

import AdminAPI
import CLinux

enum ReceiptText {
    /// The account does not lie, and of the requests around the change the proxy failed none.
    static func isGood(_ receipt: Receipt) -> Bool {
        receipt.balances && receipt.after.failedByProxy == 0 && receipt.carried.failedByProxy == 0
    }

    static func lines(_ receipt: Receipt, isColoured: Bool) -> [String] {
        var lines = [
            "Receipt of revision \(receipt.revision)" + (receipt.reason.isEmpty ? "" : ": " + Words.printable(receipt.reason))
        ]
        lines.append(
            "made " + Words.moment(ms: receipt.atMs) + (receipt.who.isEmpty ? "" : " by " + Words.printable(receipt.who)))
        lines.append(visibility(receipt))
        lines.append("")
        lines += table(receipt).lines(isColoured: isColoured)
        lines.append("")
        lines.append(
            "tunnels carried over \(receipt.tunnelsCarried), requests held \(receipt.held), tried again \(receipt.retried)")
        if receipt.inner + receipt.mirrorsDropped > 0 {
            lines.append("besides, requests made within requests \(receipt.inner), mirrored ones dropped \(receipt.mirrorsDropped)")
        }
        lines.append(
            "connections closed by clients \(receipt.closedByClient), by the proxy \(receipt.closedByProxy), "
                + "by a drain \(receipt.closedByDrain)")
        lines.append("")
        let style: Style = isGood(receipt) ? .green : .red
        lines += verdict(receipt).map { style.applied(to: $0, isColoured: isColoured) }
        lines.append(
            receipt.isFinal
                ? "The figures are final."
                : "The figures still move: revision \(receipt.revision) serves, or requests of it are in flight.")
        return lines
    }

    private static func visibility(_ receipt: Receipt) -> String {
        guard let us = receipt.visibleAfterUs else { return "not in force on all workers (\(receipt.workers)) yet" }
        let drained = receipt.slowestDrainMs.map { "; the last earlier request ended after " + Words.span(ms: $0) }
        return "in force on all workers (\(receipt.workers)) after " + Words.span(us: us)
            + (drained ?? "; earlier requests are still in flight")
    }

    private static func table(_ receipt: Receipt) -> Table {
        let accounts = [receipt.before, receipt.carried, receipt.after]
        var table = Table([.left(""), .right("before it"), .right("carried over"), .right("since")])
        let rows: [(String, KeyPath<RequestAccount, UInt64>)] = [
            ("started", \.started), ("  completed", \.completed), ("  aborted by the client", \.abortedByClient),
            ("  failed by the upstream", \.failedByUpstream), ("  failed by the proxy", \.failedByProxy),
            ("  moved on after a hold", \.moved), ("  in flight", \.inFlight),
        ]
        for (title, path) in rows {
            let isBad = path == \RequestAccount.failedByProxy
            table.rows.append(
                [Cell(title)] + accounts.map { Cell($0[keyPath: path], isBad && $0[keyPath: path] > 0 ? .red : .plain) })
        }
        table.rows.append([Cell("")] + accounts.map { Cell($0.balances ? "balanced" : "UNBALANCED", $0.balances ? .dim : .red) })
        return table
    }

    private static func verdict(_ receipt: Receipt) -> [String] {
        var lines: [String] = []
        let accounts = [("before it", receipt.before), ("carried over", receipt.carried), ("since", receipt.after)]
        for (title, account) in accounts where !account.balances {
            lines.append("DOES NOT BALANCE: \(title): \(account.started) started, \(account.accountedFor) accounted for.")
        }
        let failed = receipt.after.failedByProxy &+ receipt.carried.failedByProxy
        if failed > 0 { lines.append("The proxy failed " + Words.count(failed, "request") + " around this change.") }
        return lines.isEmpty ? ["Balanced: every request is accounted for, and the proxy failed none around this change."] : lines
    }
}

extension RequestAccount {
    fileprivate var accountedFor: UInt64 {
        [completed, abortedByClient, failedByUpstream, failedByProxy, moved, inFlight].reduce(0, &+)
    }
}

/// Waits for the receipt of one revision.
struct ReceiptWait {
    let revision: UInt64
    /// How long to wait for the requests of earlier revisions; nil: not at all.
    let timeoutMs: Int64?

    /// How often the server is asked whether they have ended.
    static let periodMs: Int32 = 200

    func run(_ server: ServerOptions, _ client: AdminClient) throws(Failure) {
        var (receipt, answer) = try read(client, isWaiting: true)
        var waitedMs: Int64 = 0
        while let timeoutMs, receipt.slowestDrainMs == nil, waitedMs < timeoutMs {
            clinux_sleep_ms(Self.periodMs)
            waitedMs += Int64(Self.periodMs)
            (receipt, answer) = try read(client, isWaiting: false)
        }
        try Self.show(receipt, answer, server)
        if receipt.visibleAfterUs == nil {
            throw Failure(
                .refused, "not every worker serves by revision \(revision) yet",
                hint: "`proxyctl receipt \(revision) --wait visible` waits on.")
        }
        if timeoutMs != nil, receipt.slowestDrainMs == nil {
            throw Failure(
                .refused, "requests of earlier revisions are still in flight",
                hint: "They go on. `proxyctl receipt \(revision)` shows them; `proxyctl drain UPSTREAM` ends long-lived ones.")
        }
    }

    private func read(_ client: AdminClient, isWaiting: Bool) throws(Failure) -> (Receipt, AdminAnswer) {
        var request = AdminRequest("GET", ["receipts", String(revision)])
        if isWaiting {
            request.query = [("wait", "1")]
            request.timeoutMs = 60_000
        }
        let answer = try client.send(request).orProblem()
        return (try answer.decoded(Receipt.self), answer)
    }

    /// Prints, and throws where the receipt is not a good one.
    static func show(_ receipt: Receipt, _ answer: AdminAnswer, _ server: ServerOptions) throws(Failure) {
        if server.json {
            Output.document(answer.body)
        } else {
            Output.lines([""] + ReceiptText.lines(receipt, isColoured: Output.isColoured))
        }
        if !ReceiptText.isGood(receipt) {
            throw Failure(
                .refused,
                receipt.balances
                    ? "the proxy failed requests around revision \(receipt.revision)"
                    : "the receipt of revision \(receipt.revision) does not balance",
                hint: "`proxyctl undo` goes back; the error log says what happened.")
        }
    }
}
