// Owns the promise that a deploy may leave the traffic to a rollout: a person lets it begin, the proxy judges it, and a bad one
// comes back with everything that the deploy had begun.

import Foundation
import TestSupport
import Testing

@Suite("deploys with a rollout", .ownThread)
struct DeployCanaryTests {
    /// The canary's proxy, with a first version in service.
    private func stage() throws -> DeployStage {
        let stage = try DeployStage("canary", proxy: "two-ports")
        try stage.deploy("v1", ["--to", "green", "-f", "conf/deploy/two-ports.yaml"])
        return stage
    }

    @Test func aGoodCanaryIsApprovedAndReachesEverybody() throws {
        let stage = try stage()
        try stage.underLoad {
            let running = try stage.start(["deploy", "--commit", "v2"])
            try Harness.wait(for: "the question: \(running.output)") { running.output.contains("needs approval") }
            #expect(try stage.served() == "v1\n")
            #expect(try stage.run("deploy", "approve").output.contains("Approved: roll app out to blue"))
            let result = try running.result(withinMs: 120_000)
            #expect(result.status == 0, "\(result.all)")
            #expect(try stage.served() == "v2\n")
        }
        let back = try stage.run("deploy", "rollback")
        #expect(back.status == 0, "\(back.all)")
        #expect(try stage.served() == "v1\n")
    }

    @Test func aBadCanaryGoesBackAndIsEnded() throws {
        let stage = try stage()
        let load = Load(stage.proxy.endpoint, connections: 4)
        try load.waitForAnswers(20)
        let result = try stage.start(
            ["deploy", "--commit", "v2", "--yes"], ["BREAKS": "errors", "BREAKS_VERSION": "v2", "STEP": "5s"]
        ).result(withinMs: 120_000)
        #expect(result.status == 1 && result.errors.contains("rolled_back"), "\(result.all)")
        #expect(!result.output.contains("needs approval") && result.output.contains("approved by"), "nobody is asked: \(result.all)")
        #expect(try stage.served() == "v1\n")
        #expect(Set(stage.processes.keys) == ["app-green"])
        let account = try load.finish()
        #expect(account.failures == [])
        // Some of the first twentieth of the users have seen it, nobody else.
        #expect(account.count(500) > 0 && account.count(500) * 4 < account.sent, "\(account.statuses)")
    }

    @Test func aPolicyIsCheckedBeforeAnythingBegins() throws {
        let stage = try stage()
        try stage.write("canary.yaml", stage.read("canary.yaml").replacing("steps: [5, 25, 50, 100]", with: "steps: [50, 25]"))
        let result = try stage.run("deploy", "--commit", "v2")
        #expect(
            result.status == 2 && result.errors.contains("conf/deploy/canary.yaml:") && result.errors.contains("rise"),
            "\(result.all)")
        #expect(!result.output.contains("build"))
    }

    /// Killed while the rollout runs: it goes on in the proxy, and the deploy finds it again.
    @Test func aRolloutOutlivesItsDeploy() throws {
        let stage = try stage()
        try stage.underLoad {
            let first = try stage.start(["deploy", "--commit", "v2", "--yes"], ["STEP": "500ms"])
            try Harness.wait(for: "the rollout: \(first.output)") {
                try stage.rollouts().contains("running")
            }
            first.signal(SIGKILL)
            #expect(try first.end() == .signalled(SIGKILL))
            let resumed = try stage.run("deploy", "--resume")
            #expect(resumed.status == 0, "\(resumed.all)")
            #expect(try stage.served() == "v2\n")
        }
        #expect(try stage.rollouts().components(separatedBy: "\"split\"").count == 2, "one rollout, not two")
    }

    /// A rollout may take hours: what it does is told meanwhile, and so is what it waits for.
    @Test func whatTheRolloutSaysIsTold() throws {
        let stage = try stage()
        let text = stage.read("canary.yaml")
        try stage.write("canary.yaml", text.replacing("steps: [5, 25, 50, 100]", with: "steps: [25, 100]\n      approval_steps: [100]"))
        try stage.underLoad {
            let running = try stage.start(["deploy", "--commit", "v2", "--yes"])
            try Harness.wait(for: "the second question: \(running.output)", withinMs: 60_000) {
                running.output.contains("`proxyctl rollout approve 1` lets it begin")
            }
            #expect(running.output.contains("step: blue has 25 %"), "\(running.output)")
            let approved = try Proxyctl(stage.proxy, ["rollout", "approve"], admin: DeployStage.socket).result()
            #expect(approved.status == 0, "\(approved.all)")
            let result = try running.result(withinMs: 60_000)
            #expect(result.status == 0 && result.output.contains("step: blue has 100 %"), "\(result.all)")
        }
    }

    /// A person's word stands: the deploy neither takes it back nor ends what has traffic by it.
    @Test func whatAPersonSetsOverTheRolloutStays() throws {
        let stage = try stage()
        let running = try stage.start(["deploy", "--commit", "v2", "--yes"], ["STEP": "60s"])
        try Harness.wait(for: "the first step: \(running.output)", withinMs: 60_000) { running.output.contains("blue has 5 %") }
        let weight = ["weight", "blue", "50", "--reason", "enough"]
        let refused = try Proxyctl(stage.proxy, weight, admin: DeployStage.socket).result()
        #expect(refused.status == 1 && refused.errors.contains("force"), "\(refused.all)")
        let forced = try Proxyctl(stage.proxy, weight + ["--force"], admin: DeployStage.socket).result()
        #expect(forced.status == 0, "\(forced.all)")
        let result = try running.result(withinMs: 60_000)
        #expect(result.status == 1 && result.errors.contains("sets the weights otherwise (enough)"), "\(result.all)")
        #expect(result.errors.contains("not undone: roll app out to blue"), "\(result.all)")
        #expect(result.all.contains("somebody else has moved traffic: service has blue 50, green 50"), "\(result.all)")
        let weights = try Admin(stage.proxy, folder: "switchback.state").get("/upstreams")["splits"]["service"]["weights"]
        #expect(weights["blue"].int == 50 && weights["green"].int == 50)
        #expect(Set(stage.processes.keys) == ["app-blue", "app-green"])
    }

    /// The proxy is killed and started again while the rollout runs: both go on.
    @Test func aRolloutOutlivesItsProxy() throws {
        let stage = try stage()
        let running = try stage.start(["deploy", "--commit", "v2", "--yes"], ["STEP": "2s"])
        try Harness.wait(for: "the rollout: \(running.output)") { try stage.rollouts().contains("running") }
        #expect(try stage.proxy.stop(SIGKILL) == .signalled(SIGKILL))
        // Away for so long that proxyctl has asked in vain: it asks five times a second.
        let killedAt = DispatchTime.now().uptimeNanoseconds
        try Harness.wait(for: "a second") { DispatchTime.now().uptimeNanoseconds - killedAt > 1_000_000_000 }
        try stage.proxy.start()
        let result = try running.result(withinMs: 60_000)
        #expect(result.status == 0, "\(result.all)")
        #expect(try stage.served() == "v2\n")
        #expect(try stage.rollouts().components(separatedBy: "\"split\"").count == 2, "one rollout, not two")
    }
}
