// Owns conflicts between the file and what runs, over restarts: each is told until it is settled.

import AdminAPI
import ConfigurationFile
import Engine
import Testing

@testable import Control

/// What `pools` in `http { }` come to.
func builtPools(_ pools: String, _ counters: PeerCounterRegistry = PeerCounterRegistry()) throws -> BuiltConfiguration {
    let system = PlayedSystem()
    let text = "events { } http { \(pools) server { listen 127.0.0.1:80; location / { proxy_pass http://app; } } }"
    let options = ServerOptions(source: .text(text), prefix: "/prefix/")
    let logs = LogFiles(system: system, prefix: options.prefix, defaultErrorLog: options.errorLog)
    return try SnapshotBuilder(system: system, logs: logs, counters: counters).build(try options.parse(with: system).directives)
}

/// A start with this configuration and the journal on `disk`.
func controllerOnDisk(_ pools: String, _ disk: MemoryDisk) throws -> Controller {
    let counters = PeerCounterRegistry()
    let (journal, replay) = try Journal.open(JournalStorage(disk))
    return try Controller(
        builtPools(pools, counters), journal: journal, replay: replay, pools: PoolBuilder(system: PlayedSystem(), counters: counters),
        clock: .system, workers: 1)
}

@Suite("Conflicts of file and running proxy")
struct ConflictTests {
    private static func text(blue: Int = 90, green: Int = 10, keepalive: Int = 8) -> String {
        "upstream blue { server 127.0.0.1:3001; keepalive \(keepalive); } upstream green { server 127.0.0.1:3002; } "
            + "split app { blue \(blue); green \(green); }"
    }

    private let author = Author(who: "ada")
    private let pointer = "/splits/app/weights/green"

    private func conflicts(_ controller: Controller) -> [String] {
        controller.events.takeWarnings().map { String($0.prefix { $0 != ":" }) }
    }

    private func weights(_ controller: Controller) -> [String: Int]? { controller.running.state.splits["app"]?.weights }

    @Test(arguments: [false, true]) func areToldUntilSettled(byRestarts: Bool) throws {
        let disk = MemoryDisk()
        var controller = try controllerOnDisk(Self.text(), disk)
        _ = try controller.change(.setWeights(split: "app", ["green": 50]), by: author)
        func read(_ text: String, preferringFile: Bool = false) throws {
            if byRestarts, !preferringFile {
                controller = try controllerOnDisk(text, disk)
            } else {
                _ = try controller.reload(try builtPools(text), by: author, preferringFile: preferringFile)
            }
        }
        for _ in 0..<3 {
            try read(Self.text(green: 20))
            #expect(conflicts(controller) == [pointer])
            #expect(weights(controller) == ["blue": 90, "green": 50])
        }
        // What else changes in the file is merged as ever.
        try read(Self.text(blue: 80, green: 30))
        #expect(conflicts(controller) == [pointer])
        #expect(weights(controller) == ["blue": 80, "green": 50])
        try read(Self.text(blue: 80, green: 30), preferringFile: true)
        #expect(weights(controller) == ["blue": 80, "green": 30])
        #expect(conflicts(controller) == [pointer])
        try read(Self.text(blue: 80, green: 30))
        #expect(conflicts(controller) == [])
    }

    @Test(arguments: ["file as it runs", "running as the file", "file as it was", "running as it was"])
    func areSettledByEitherSide(how: String) throws {
        let controller = try controllerOnDisk(Self.text(), MemoryDisk())
        _ = try controller.change(.setWeights(split: "app", ["green": 50]), by: author)
        _ = try controller.reload(try builtPools(Self.text(green: 20)), by: author)
        #expect(conflicts(controller) == [pointer])
        var file = 20
        switch how {
        case "file as it runs": file = 50
        case "running as the file": _ = try controller.change(.setWeights(split: "app", ["green": 20]), by: author)
        case "file as it was": file = 10
        default: _ = try controller.change(.setWeights(split: "app", ["green": 10]), by: author)
        }
        _ = try controller.reload(try builtPools(Self.text(green: file)), by: author)
        #expect(conflicts(controller) == [])
        // The running value where the file took its own back, the file's where what runs did.
        #expect(weights(controller)?["green"] == (file == 20 ? 20 : 50))
        _ = try controller.reload(try builtPools(Self.text(green: file, keepalive: 9)), by: author)
        #expect(conflicts(controller) == [])
    }
}
