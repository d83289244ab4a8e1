// `proxyctl receipt N`: the account of a change.

import AdminAPI
import ArgumentParser

struct ReceiptVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "receipt", abstract: "Show what became of the requests around a change.",
        discussion: "Exit status 1 unless it balances and the proxy failed no request around the change.")

    enum Moment: String, ExpressibleByArgument, CaseIterable { case visible, final }

    @Argument(help: "A number of `proxyctl history`.")
    var revision: UInt64

    @Option(
        help:
            "Wait until every worker serves by it, or until the figures are final: a later one serves, and nothing is in flight."
    )
    var wait: Moment?

    @Option(help: ArgumentHelp("How long to wait.", valueName: "time"))
    var timeout = "30s"

    @OptionGroup var server: ServerOptions

    func validate() throws {
        if Words.milliseconds(timeout) == nil { throw ValidationError("--timeout: a time is 30s, 500ms or 1m30s") }
    }

    func run() throws {
        var request = AdminRequest("GET", ["receipts", String(revision)])
        if let wait {
            request.query = [("wait", wait == .visible ? "1" : "final"), ("timeout", timeout)]
            request.timeoutMs = Int(Words.milliseconds(timeout) ?? 0) + 15_000
        }
        let answer = try server.client().send(request).orProblem()
        let receipt = try answer.decoded(Receipt.self)
        try ReceiptWait.show(receipt, answer, server)
        if wait == .visible, receipt.visibleAfterUs == nil {
            throw Failure(.refused, "not every worker serves by revision \(revision) yet")
        }
        if wait == .final, !receipt.isFinal { throw Failure(.refused, "the figures of revision \(revision) are not final yet") }
    }
}
