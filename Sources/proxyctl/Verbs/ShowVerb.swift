// `proxyctl show N`: one revision with its pools and splits.

import AdminAPI
import ArgumentParser

struct ShowVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "show", abstract: "Show one revision with its pools and splits.")

    @Argument(help: "A number of `proxyctl history`.")
    var revision: UInt64

    @OptionGroup var server: ServerOptions

    func run() throws {
        let answer = try server.client().send(AdminRequest("GET", ["revisions", String(revision)])).orProblem()
        // The server's JSON is the form in which a state can be read, stored and put.
        Output.document(answer.body)
    }
}
