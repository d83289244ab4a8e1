// Owns what outlives kill -9 where there is a state folder: every acknowledged change, the history, the way back.

import Foundation
import TestSupport
import Testing

@Suite("switching: durability", .ownThread, .enabled(if: !Harness.isNginx))
struct SwitchingDurabilityTests {
    private func pools(_ split: String = "blue 1; green 0;", http: String = "") throws -> BlueGreen {
        try BlueGreen(split: split, http: http, main: "state state;")
    }

    /// As a crash does it. Returns a connection to what was started again.
    private func crash(_ pools: BlueGreen) throws -> Admin {
        #expect(try pools.proxy.stop(SIGKILL) == .signalled(SIGKILL))
        try pools.proxy.start()
        return try pools.admin("state")
    }

    @Test func everythingIsThereAfterACrash() throws {
        let pools = try pools()
        var admin = try pools.admin("state")
        #expect(try pools.proxy.get().text == "blue")
        try admin.write("POST", "/upstreams/green/servers", "{\"server\": \"127.0.0.1:1\", \"down\": true}")
        try admin.write("PUT", "/upstreams/violet", "{\"servers\": [{\"server\": \"\(pools.green.endpoint)\"}]}")
        try admin.write("PUT", "/splits/app", "{\"weights\": {\"blue\": 0, \"green\": 0, \"violet\": 1}, \"reason\": \"x\"}")
        #expect(try admin.weigh(["blue": 0, "green": 1, "violet": 0]) == 5)
        let state = try admin.get("/upstreams")
        let history = try admin.get("/revisions")
        #expect(history["revisions"].list.count == 5)

        admin = try crash(pools)
        #expect(try admin.revision == 5)
        #expect(try admin.get("/upstreams").description == state.description)
        #expect(try admin.get("/revisions").description == history.description)
        #expect(try admin.get("/revisions/4")["reason"].text == "x")
        #expect(try admin.get("/status")["journal"].text == "on")
        #expect(try pools.proxy.get().text == "green")

        // The way back leads behind the crash, step by step.
        #expect(try admin.write("POST", "/undo") == 6)
        #expect(try admin.weights() == ["blue": 0, "green": 0, "violet": 1])
        #expect(try admin.write("POST", "/undo") == 7)
        #expect(try admin.weights() == ["blue": 1, "green": 0])
        #expect(try pools.proxy.get().text == "blue")
        admin = try crash(pools)
        #expect(try admin.write("POST", "/undo") == 8)
        #expect(try admin.get("/upstreams")["upstreams"].names == ["blue", "green"])
        #expect(try admin.write("POST", "/revisions/5/restore") == 9)
        #expect(try admin.get("/upstreams")["splits"].description == state["splits"].description)
    }

    /// One of several who change weights as fast as they are acknowledged, each that of its own variant.
    private final class Writer: Sendable {
        struct Log: Sendable {
            /// What was acknowledged: the revision, and the weight that it gave.
            var acknowledged: [(revision: Int, weight: Int)] = []
            var sent = 0
        }
        let variant: String
        let log = Locked(Log())
        let ended = Signal()

        init(_ variant: String, _ admin: Admin) {
            self.variant = variant
            onThread { [self] in
                for weight in 1... {
                    log.with { $0.sent = weight }
                    guard let revision = try? admin.weigh([variant: weight]) else { break }
                    log.with { $0.acknowledged.append((revision, weight)) }
                }
                ended.fire()
            }
        }
    }

    @Test func whatWasAcknowledgedInAStormSurvivesIt() throws {
        let variants = (0..<4).map { "pool\($0)" }
        let spare = try Upstream(saying: "spare")
        let upstreams = variants.map { "upstream \($0) { server \(spare.endpoint); }" }.joined()
        let pools = try pools("blue 1; " + variants.map { "\($0) 0;" }.joined(), http: upstreams)
        for round in 1...3 {
            let writers = try variants.map { Writer($0, try pools.admin("state")) }
            let wanted = 50 * round
            try Harness.wait(for: "\(wanted) changes: \(pools.proxy.errorLog.suffix(500))") {
                writers.reduce(0) { $0 + $1.log.current.acknowledged.count } >= wanted
            }
            #expect(try pools.proxy.stop(SIGKILL) == .signalled(SIGKILL))
            for writer in writers { #expect(writer.ended.wait()) }
            try pools.proxy.start()
            let admin = try pools.admin("state")

            let revisions = try admin.get("/revisions?limit=10000")["revisions"].list.compactMap { $0["revision"].int }
            let kept = Set(revisions)
            let (newest, oldest) = (try #require(revisions.first), try #require(revisions.last))
            #expect(revisions == Array((oldest...newest).reversed()), "no number is missing")
            #expect(try admin.revision == newest)
            let weights = try admin.weights()
            for writer in writers {
                let log = writer.log.current
                for (revision, weight) in log.acknowledged {
                    #expect(revision < oldest || kept.contains(revision))
                    #expect(weight <= weights[writer.variant] ?? -1)
                }
                let last = try #require(log.acknowledged.last)
                #expect(last.revision <= newest)
                // One change more may have been accepted than its writer heard of.
                #expect([last.weight, log.sent].contains(weights[writer.variant] ?? -1))
                let then = try admin.get("/revisions/\(last.revision)")
                #expect(then.description.contains("\"\(writer.variant)\":\(last.weight)"), "\(then)")
            }
            #expect(try pools.proxy.get().status == 200)
            try admin.weigh(Dictionary(uniqueKeysWithValues: variants.map { ($0, 0) }))
        }
    }

    @Test(
        "what a crash left behind the last whole record is set aside",
        arguments: ["deadbeef 120 {\"revision\":", "deadbeef 12 {\"what\": 1}\n", "\0\0\0\0"])
    func tornTail(tail: String) throws {
        let pools = try pools()
        var admin = try pools.admin("state")
        #expect(try admin.weigh(["blue": 0, "green": 1]) == 2)
        #expect(try pools.proxy.stop(SIGKILL) == .signalled(SIGKILL))
        let file = try #require(FileHandle(forWritingAtPath: pools.proxy.path("state/journal")))
        try file.seekToEnd()
        try file.write(contentsOf: Data(tail.utf8))
        try file.close()
        try pools.proxy.start()

        admin = try pools.admin("state")
        try Harness.wait(for: "the log to tell") { pools.proxy.errorLog.contains("set aside") }
        #expect(pools.proxy.errorLog.contains("[warn]"))
        #expect(try admin.revision == 2)
        #expect(try pools.proxy.get().text == "green")
        #expect(try admin.write("POST", "/undo") == 3)
        admin = try crash(pools)
        #expect(try admin.revision == 3)
        #expect(try pools.proxy.get().text == "blue")
        #expect(pools.proxy.errorLog.components(separatedBy: "set aside").count == 2, "told once")
    }

    @Test func aSecondProxyLeavesTheStateAlone() throws {
        let pools = try pools()
        let second = try pools.proxy.run([])
        #expect(second.status == .exited(1))
        #expect(second.output.contains("\(pools.proxy.path("state"))"), "\(second.output)")
        #expect(try pools.admin("state").weigh(["blue": 0, "green": 1]) == 2)
        #expect(try pools.proxy.get().text == "green")
    }
}
