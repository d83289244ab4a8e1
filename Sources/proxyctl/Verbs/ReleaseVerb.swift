// `proxyctl release [SPLIT]`: lets held requests go.

import ArgumentParser

struct ReleaseVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "release", abstract: "Let the requests go that a `hold` keeps waiting.")

    @Argument(help: "The split; may be left out where there is one only.", completion: Completions.splits)
    var split: String?

    @Option(help: ArgumentHelp("At most so many a second; else all at once.", valueName: "requests"))
    var rate: Int?

    @OptionGroup var write: WriteOptions

    func validate() throws {
        if let rate, rate < 1 { throw ValidationError("--rate: a number of requests, at least 1") }
    }

    func run() throws {
        let client = try write.server.client()
        let name = try split ?? RunningNames.read(client).split(named: nil)
        var request = write.request("POST", ["splits", name, "release"])
        if let rate { request.query.append(("rate", String(rate))) }
        try write.perform(request, client)
    }
}
