// `proxyctl export`: the running pools and splits as configuration text.

import ArgumentParser

struct ExportVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Print the running pools and splits as configuration, to be put into the file.")

    @OptionGroup var server: ServerOptions

    func run() throws {
        Output.document(try server.client().send(AdminRequest("GET", ["export"])).orProblem().body)
    }
}
