// `proxyctl undo`: goes back to what was before the last change.

import ArgumentParser

struct UndoVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "undo", abstract: "Go back to what was before the last change.",
        discussion: "Twice goes two changes back. With --if-match N only if N is still the last one.")

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var write: WriteOptions

    func run() throws {
        let client = try write.server.client()
        try waiting.finish(try write.perform(write.request("POST", ["undo"]), client), write.server, client)
    }
}
