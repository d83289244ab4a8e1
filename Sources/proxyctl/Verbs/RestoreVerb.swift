// `proxyctl restore N`: goes back to an earlier revision.

import ArgumentParser

struct RestoreVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "restore", abstract: "Go back to the pools and splits of an earlier revision.")

    @Argument(help: "A number of `proxyctl history`.")
    var revision: UInt64

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var write: WriteOptions

    func run() throws {
        let client = try write.server.client()
        let request = write.request("POST", ["revisions", String(revision), "restore"])
        try waiting.finish(try write.perform(request, client), write.server, client)
    }
}
