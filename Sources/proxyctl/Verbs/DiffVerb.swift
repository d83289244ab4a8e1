// `proxyctl diff A B`: how two revisions differ.

import AdminAPI
import ArgumentParser

struct DiffVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "diff", abstract: "Show how two revisions differ.")

    @Argument(help: "The one.")
    var from: UInt64

    @Argument(help: "The other.")
    var to: UInt64

    @OptionGroup var server: ServerOptions

    func run() throws {
        let answer = try server.client().send(AdminRequest("GET", ["revisions", String(from), "diff", String(to)])).orProblem()
        if server.json { return Output.document(answer.body) }
        let differences = try answer.list(of: StateDifference.self, named: "differences")
        if differences.isEmpty { return Output.line("Revisions \(from) and \(to) have the same pools and splits.") }
        Output.lines(DifferenceText.lines(differences, isColoured: Output.isColoured))
    }
}
