// Owns the promises of a deploy between two ports: nobody notices a good release, nobody notices a bad one, and the way back is one word.
// Real processes (conf/deploy/app.py) behind a real proxy, under load; every wait is for a condition.

import Foundation
import TestSupport
import Testing

@Suite("deploy between two ports", .ownThread)
struct DeployTwoPortsTests {
    @Test func goodReleasesComeAndGoBackUnnoticed() throws {
        let stage = try DeployStage("two-ports")
        try stage.deploy("v1", ["--to", "green"])
        #expect(try stage.served() == "v1\n")
        try stage.underLoad {
            try stage.deploy("v2")
            #expect(try stage.served() == "v2\n")
            // Kept warm: the way back needs no start.
            #expect(Set(stage.processes.keys) == ["app-blue", "app-green"])
            let back = try stage.run("deploy", "rollback", "--reason", "just so")
            #expect(back.status == 0, "\(back.all)")
            #expect(try stage.served() == "v1\n")
            #expect(try stage.run("deploy", "rollback").errors.contains("was a rollback itself"))
            try stage.deploy("v3")
        }
        #expect(try stage.served() == "v3\n")
        let history = try stage.run("deploy", "history").output
        #expect(history.split(separator: "\n").count == 5, "\(history)")
        #expect(history.contains("rollback"))
        let status = try stage.run("deploy", "status")
        #expect(status.output.contains("deploy 4 of app from green to blue, version v3"), "\(status.all)")
        #expect(status.output.contains("blue 100.0 %"), "\(status.all)")
        let finish = try stage.run("deploy", "finish")
        #expect(finish.status == 0, "\(finish.all)")
        #expect(Set(stage.processes.keys) == ["app-blue"])
        #expect(try stage.run("deploy", "rollback").errors.contains("the way back was given up"))
    }

    @Test func aBuildIsSkippedWhereThisCommitWasBuiltLast() throws {
        let stage = try DeployStage("two-ports")
        try stage.write(
            "build.sh",
            "#!/bin/sh\nmkdir -p \"$DEPLOY_DIRECTORY\" && cp app.py \"$DEPLOY_DIRECTORY\" && echo \"$DEPLOY_COMMIT\" >> builds\n")
        try stage.deploy("v1", ["--to", "green"])
        #expect(stage.read(".deploy/releases/green/.build-hash") == "v1\n")
        try stage.deploy("v1", ["--to", "blue"])
        let again = try stage.run("deploy", "--to", "green", "--commit", "v1")
        #expect(again.output.contains("build app: v1 is built already"), "\(again.all)")
        #expect(stage.read("builds") == "v1\nv1\n")
        try stage.refuse("v2", because: "status 3", environment: try Self.failingBuild(stage))
        // Half a build is none: the next one of the old commit builds again.
        #expect(stage.read(".deploy/releases/blue/.build-hash") == "")
    }

    private static func failingBuild(_ stage: DeployStage) throws -> [String: String] {
        try stage.write("build.sh", "#!/bin/sh\necho this does not compile\nexit 3\n")
        return [:]
    }

    @Test func everyFailureLeavesTheRunningVersionAlone() throws {
        let stage = try DeployStage("two-ports")
        try stage.deploy("v1", ["--to", "green"])
        try stage.underLoad {
            let bad = { (breaks: String) in ["BREAKS": breaks, "BREAKS_VERSION": "v2", "TRIES": "500"] }
            try stage.refuse("v2", because: "this release cannot start", environment: bad("start"))
            try stage.refuse("v2", because: "/health answers 503 (500 times in a row)", environment: bad("health"))
            try stage.refuse("v2", because: "has ended with status 9", environment: bad("dies"))
            // Well by its own word, but somebody else answers through the proxy: here the switch was made, and is undone.
            try stage.refuse("v2", because: "expected v2", environment: ["VERSION": "v1", "INTERVAL": "1ms"])
            let text = stage.read("build.sh")
            try stage.refuse("v3", because: "this does not compile", environment: try Self.failingBuild(stage))
            try stage.write("build.sh", text)
            try stage.deploy("v4")
        }
        #expect(try stage.served() == "v4\n")
        let history = try stage.run("deploy", "history", "--json")
        #expect(history.output.components(separatedBy: "\"undone\"").count == 6, "\(history.all)")
    }

    /// With the other environment as backup even this costs no request.
    @Test func aReleaseThatDiesInServiceIsTakenBack() throws {
        let stage = try DeployStage("two-ports")
        try stage.deploy("v1", ["--to", "green"])
        try stage.underLoad {
            try stage.refuse(
                "v2", because: "what ran before runs on",
                environment: ["BREAKS": "dies-in-service", "BREAKS_VERSION": "v2", "BAKE": "20s"])
        }
        #expect(try stage.served() == "v1\n")
    }

    /// What runs has died unnoticed, and the way back serves as its backup: another version there would begin with its end.
    @Test func whoServesAsTheBackupIsNotDeployedOver() throws {
        let stage = try DeployStage("two-ports")
        try stage.deploy("v1", ["--to", "green"])
        try stage.deploy("v2")
        let ask = { (words: [String]) in try Proxyctl(stage.proxy, words, admin: DeployStage.socket).result() }
        kill(-(try #require(stage.processes["app-blue"])), SIGKILL)
        try Harness.wait(for: "green to serve") { try stage.served() == "v1\n" && ask(["status"]).output.contains("failed") }
        try stage.underLoad {
            let refused = try stage.run("deploy", "--commit", "v3")
            #expect(refused.status == 1, "\(refused.all)")
            #expect(refused.errors.hasPrefix("proxyctl: no server of blue is up, and green serves its users as the backup: nothing was begun\n`proxyctl switch green"))
            #expect(try ask(["switch", "green"]).status == 0)
            try stage.deploy("v3")
        }
        #expect(try stage.served() == "v3\n")
        #expect(try stage.weights().contains("\"blue\":100"))
    }

    @Test func controlCUndoes() throws {
        let stage = try DeployStage("two-ports")
        try stage.deploy("v1", ["--to", "green"])
        try stage.underLoad {
            let running = try stage.start(["deploy", "--commit", "v2"], ["BAKE": "60s"])
            try Harness.wait(for: "the switch: \(running.output)") { try stage.served() == "v2\n" }
            running.signal(SIGINT)
            let result = try running.result()
            #expect(result.status == 1 && result.errors.contains("broken off by the operator"), "\(result.all)")
        }
        #expect(try stage.served() == "v1\n")
        #expect(Set(stage.processes.keys) == ["app-green"])
    }

    @Test func twoDeploysKeepApartAndAStaleLockIsTold() throws {
        let stage = try DeployStage("two-ports")
        let first = try stage.start(["deploy", "--commit", "v1", "--to", "green"], ["BAKE": "60s"])
        try Harness.wait(for: "the lock") { stage.read(".deploy/lock").contains("@") }
        let second = try stage.run("deploy", "--commit", "v2", "--to", "green")
        #expect(second.status == 1 && second.errors.contains("another deploy runs:"), "\(second.all)")
        try Harness.wait(for: "the switch: \(first.output)") { (try? stage.served()) == "v1\n" }
        #expect(try stage.run("deploy", "status").output.contains("The lock is held by"))
        first.signal(SIGKILL)
        #expect(try first.end() == .signalled(SIGKILL))
        let third = try stage.run("deploy", "--commit", "v2")
        #expect(third.errors.contains("which is gone) was stale"), "\(third.all)")
        #expect(third.status == 1 && third.errors.contains("deploy 1") && third.errors.contains("--resume"), "\(third.all)")
        let undone = try stage.run("deploy", "rollback")
        #expect(undone.status == 0 && undone.output.contains("everything is as before"), "\(undone.all)")
        #expect(stage.processes.isEmpty)
        #expect(try stage.weights().contains("blue"))
    }
}
