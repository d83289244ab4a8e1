// `proxyctl reload`: reads the configuration file anew, as the signal HUP does.

import ArgumentParser

struct ReloadVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "reload", abstract: "Read the configuration anew.",
        discussion: "What was changed at run time stays, unless the file changed the same field; --prefer says who is right then."
    )

    enum Side: String, ExpressibleByArgument, CaseIterable { case file, running }

    @Option(help: "Who is right where the file and the running proxy both changed something.")
    var prefer: Side?

    @OptionGroup var write: WriteOptions

    func run() throws {
        let client = try write.server.client()
        var request = write.request("POST", ["reload"])
        if let prefer { request.query.append(("prefer", prefer.rawValue)) }
        request.timeoutMs = 60_000
        try write.perform(request, client)
    }
}
