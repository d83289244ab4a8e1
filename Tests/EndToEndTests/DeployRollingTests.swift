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

    @Test func theOthersGoOnAsLongAsFewFail() throws {
        let stage = try DeployStage("three-replicas")
        try stage.deploy("v1")
        try stage.underLoad {
            // The second replica alone has no luck: its port is in its name.
            let path = "build.sh"
            let text = stage.read(path)
            try stage.write(
                path,
                text
                    + "\nsed -i 's/if BREAKS == \"health\":/if BREAKS == \"health\" and os.environ[\"DEPLOY_REPLICA\"] == \"two\":/' \"$DEPLOY_DIRECTORY/app.py\"\n"
            )
            let result = try stage.start(["deploy", "--commit", "v2"], Self.bad("continue", ["FAILURE_RATIO": "0.34"])).result(
                withinMs: 120_000)
            #expect(result.status == 1 && result.errors.contains("is done, but not whole"), "\(result.all)")
            #expect(try answers(stage) == ["v1\n", "v2\n"])
        }
    }
}
