// `proxyctl hold [SPLIT]`: lets new requests wait.

import ArgumentParser

struct HoldVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "hold", abstract: "Let new requests of a split wait, until `release`.",
        discussion:
            "For the moment in which neither variant may serve, such as a migration. Nobody is refused before the bounds are met."
    )

    @Argument(help: "The split; may be left out where there is one only.", completion: Completions.splits)
    var split: String?

    @Option(help: ArgumentHelp("The longest that a request waits; then it is refused.", valueName: "time"))
    var timeout: String?

    @Option(help: ArgumentHelp("The most that wait at once; further ones are refused.", valueName: "requests"))
    var max: Int?

    @OptionGroup var write: WriteOptions

    func validate() throws {
        if let timeout, Words.milliseconds(timeout) == nil { throw ValidationError("--timeout: a time is 30s, 500ms or 1m30s") }
        if let max, max < 0 { throw ValidationError("--max: a number of requests") }
    }

    func run() throws {
        let client = try write.server.client()
        let name = try split ?? RunningNames.read(client).split(named: nil)
        var request = write.request("POST", ["splits", name, "hold"])
        if let timeout { request.query.append(("timeout", timeout)) }
        if let max { request.query.append(("max", String(max))) }
        try write.perform(request, client)
    }
}
