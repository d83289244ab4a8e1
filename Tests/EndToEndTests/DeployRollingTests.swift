// Owns the promises of rolling updates: replicas are replaced one by one under load, and a bad release goes as its plan says.

import Foundation
import TestSupport
import Testing

@Suite("rolling deploys", .ownThread)
struct DeployRollingTests {
    private func answers(_ stage: DeployStage) throws -> Set<String> {
        Set(try (0..<12).map { _ in try stage.served() })
    }

    /// At the third replica: the third process that is started with this version.
    static func bad(_ action: String, _ more: [String: String] = [:]) -> [String: String] {
        ["BREAKS": "health", "BREAKS_VERSION": "v2", "TRIES": "500", "FAILURE_ACTION": action].merging(more) { _, new in new }
    }

    @Test func replicasAreReplacedOneByOne() throws {
        let stage = try DeployStage("three-replicas")
        try stage.deploy("v1")
        #expect(try answers(stage) == ["v1\n"])
        try stage.underLoad {
            try stage.deploy("v2")
            #expect(try answers(stage) == ["v2\n"])
            let back = try stage.run("deploy", "rollback")
            #expect(back.status == 0, "\(back.all)")
            #expect(try answers(stage) == ["v1\n"])
        }
    }

    /// How many servers of the pool took requests while `body` ran: the fewest and the most.
    private func serving(_ stage: DeployStage, while body: () throws -> Void) throws -> ClosedRange<Int> {
        let (isEnding, seen) = (Locked(false), Locked<[Int]>([]))
        let admin = try Admin(stage.proxy, folder: "switchback.state")
        let ended = Signal()
        onThread {
            while !isEnding.current {
                guard let servers = try? admin.get("/upstreams/hubnity")["servers"].list else { break }
                let count = servers.count { $0["down"].bool != true && $0["drain"].bool != true }
                seen.with { $0.append(count) }
            }
            ended.fire()
        }
        defer { isEnding.with { $0 = true } }
        try body()
        isEnding.with { $0 = true }
        ended.wait()
        guard let fewest = seen.current.min(), let most = seen.current.max() else { throw TestFailure("nothing was seen") }
        return fewest...most
    }

    @Test func theNewOneComesFirst() throws {
        let stage = try DeployStage("start-first", proxy: "three-replicas")
        try stage.deploy("v1")
        #expect(stage.processes.count == 3)
        try stage.underLoad {
            // Never fewer than three serve, and never more than one at a time is replaced.
            let there = try serving(stage) { try stage.deploy("v2") }
            #expect(there == 3...4)
            #expect(try answers(stage) == ["v2\n"])
            #expect(stage.processes.count == 3)
            let back = try serving(stage) {
                let result = try stage.run("deploy", "rollback")
                #expect(result.status == 0, "\(result.all)")
            }
            #expect(back == 3...4)
            #expect(try answers(stage) == ["v1\n"])
        }
        #expect(stage.processes.count == 3)
    }

    /// The second of three successors is not well: the first one goes back, too, and nobody was without a server.
    @Test func aBadSuccessorIsRolledBack() throws {
        let stage = try DeployStage("start-first", proxy: "three-replicas")
        try stage.deploy("v1")
        let text = stage.read("build.sh")
        let luckless = "sed -i 's/if BREAKS == \"health\"/if BREAKS == \"health\" and os.environ[\"DEPLOY_REPLICA\"] == \"two\"/'"
        try stage.write("build.sh", text + "\n\(luckless) \"$DEPLOY_DIRECTORY/app.py\"\n")
        try stage.underLoad {
            let range = try serving(stage) {
                let result = try stage.start(["deploy", "--commit", "v2"], Self.bad("rollback")).result(withinMs: 60_000)
                #expect(result.status == 1 && result.errors.contains("is undone"), "\(result.all)")
            }
            #expect(range.lowerBound >= 3, "\(range)")
            #expect(try answers(stage) == ["v1\n"])
        }
        #expect(stage.processes.count == 3)
    }

    @Test func failuresOfItsStartDoNotCountAgainstAReplica() throws {
        let stage = try DeployStage("start-first", proxy: "three-replicas")
        try stage.deploy("v1")
        let slow = ["BREAKS": "starts-slowly:10", "BREAKS_VERSION": "v2", "TRIES": "3"]
        try stage.underLoad {
            try stage.refuse("v2", because: "(3 times in a row)", environment: slow)
            try stage.deploy("v2", environment: slow.merging(["START_PERIOD": "60s"]) { _, new in new })
            #expect(try answers(stage) == ["v2\n"])
        }
    }

    @Test func aBadReleaseIsRolledBack() throws {
        let stage = try DeployStage("three-replicas")
        try stage.deploy("v1")
        try stage.underLoad {
            let result = try stage.start(["deploy", "--commit", "v2"], Self.bad("rollback")).result(withinMs: 120_000)
            #expect(result.status == 1 && result.errors.contains("is undone"), "\(result.all)")
            #expect(try answers(stage) == ["v1\n"])
        }
        #expect(stage.processes.count == 3)
    }

    @Test func aBadReleasePausesAndIsTakenUp() throws {
        let stage = try DeployStage("three-replicas")
        try stage.deploy("v1")
        try stage.underLoad {
            let result = try stage.start(["deploy", "--commit", "v2"], Self.bad("pause")).result(withinMs: 120_000)
            #expect(result.status == 1 && result.errors.contains("has paused"), "\(result.all)")
            #expect(try answers(stage) == ["v1\n"], "the batch that failed is undone")
            let resumed = try stage.start(["deploy", "--resume"], ["BREAKS": ""]).result(withinMs: 120_000)
            #expect(resumed.status == 0, "\(resumed.all)")
            #expect(try answers(stage) == ["v2\n"])
        }
    }

    /// The second replica alone has no luck: its port is in its name.
    private func spoilTheSecond(_ stage: DeployStage) throws {
        let path = "build.sh"
        let text = stage.read(path)
        try stage.write(
            path,
            text
                + "\nsed -i 's/if BREAKS == \"health\":/if BREAKS == \"health\" and os.environ[\"DEPLOY_REPLICA\"] == \"two\":/' \"$DEPLOY_DIRECTORY/app.py\"\n"
        )
    }

    @Test func theOthersGoOnAsLongAsFewFail() throws {
        let stage = try DeployStage("three-replicas")
        try stage.deploy("v1")
        try stage.underLoad {
            try spoilTheSecond(stage)
            let result = try stage.start(["deploy", "--commit", "v2"], Self.bad("continue", ["FAILURE_RATIO": "0.34"])).result(
                withinMs: 120_000)
            #expect(result.status == 1 && result.errors.contains("is done, but not whole"), "\(result.all)")
            #expect(try answers(stage) == ["v1\n", "v2\n"])
        }
    }

    /// A batch was undone, and the next is under way: from here on the operator is heard as before.
    @Test func whatGoesOnAfterABatchWasUndoneCanBeBrokenOff() throws {
        let stage = try DeployStage("three-replicas")
        try stage.deploy("v1")
        try spoilTheSecond(stage)
        let running = try stage.start(["deploy", "--commit", "v2"], Self.bad("continue", ["FAILURE_RATIO": "0.34"]))
        try Harness.wait(for: "the third: \(running.output)", withinMs: 120_000) { running.output.contains("take three out") }
        running.signal(SIGINT)
        let result = try running.result(withinMs: 120_000)
        #expect(result.status == 1 && result.errors.contains("is undone") && result.errors.contains("broken off"), "\(result.all)")
        #expect(try answers(stage) == ["v1\n"])
    }
}
