// Owns what a rollout promises: a good release reaches everybody without a failed request, a bad one is taken back by itself.
// Real applications in processes of their own, under load; steps last a second.

import Foundation
import TestSupport
import Testing

/// Blue and green in Python behind the split `app`, with a state folder.
final class Releases {
    let blue: PythonApp
    let green: PythonApp
    let proxy: Proxy

    static let policy = """
        {"name": "quick", "steps": [10, 50, 100], "interval": "1s", "warm_up": "0s", "samples_min": 10, "inconclusive": "go_on", "bake": "1s",
         "guards": {"window": "5s", "throughput_drop_max": null, "latency_rise_floor": "150ms"}, "latency_rise_min": "150ms"}
        """

    init(split: String = "blue 1; green 0;", http: String = "", main: String = "") throws {
        blue = try PythonApp("blue")
        green = try PythonApp("green")
        let text = BlueGreen.configuration(
            blue.endpoint, green.endpoint, split: split, http: http, main: "state state; worker_processes 2; \(main)")
        proxy = try Proxy(text)
    }

    func admin() throws -> Admin { try Admin(proxy, folder: "state") }
    func load() -> Load { Load(proxy.endpoint, connections: 4) }

    @discardableResult
    func start(_ admin: Admin, policy: String = Releases.policy) throws -> Int {
        let answer = try admin.ask("POST", "/rollouts", "{\"split\": \"app\", \"to\": \"green\", \"reason\": \"release 42\", \"policy\": \(policy)}")
        guard answer.status == 201, let number = answer.json["number"].int else { throw TestFailure("\(answer.status) \(answer.text)") }
        return number
    }

    func wait(_ admin: Admin, _ number: Int = 1, for phases: Set<String>, withinMs: Int = 120_000) throws -> JSONValue {
        var last = try admin.get("/rollouts/\(number)")
        try Harness.wait(for: "\(phases): \(last)", withinMs: withinMs) {
            last = try admin.get("/rollouts/\(number)")
            return phases.contains(last["phase"].text ?? "")
        }
        return last
    }
}

@Suite("rollouts", .ownThread, .serialized, .enabled(if: !Harness.isNginx))
struct RolloutTests {
    static let ends: Set = ["succeeded", "rolled_back", "aborted", "failed", "frozen"]

    @Test func aGoodReleaseReachesEverybodyWithoutAFailedRequest() throws {
        let it = try Releases()
        let admin = try it.admin()
        let load = it.load()
        try load.waitForAnswers(50)
        try it.start(admin)
        let end = try it.wait(admin, for: Self.ends)
        #expect(end["phase"].text == "succeeded", "\(end)")
        #expect(try admin.weights() == ["blue": 0, "green": 100])
        try load.waitForAnswers(20)
        let result = try load.finish()
        #expect(result.failures == [])
        #expect(result.count(200) == result.sent)
        // Counted on both sides.
        #expect(try it.blue.requestCount + it.green.requestCount == result.sent)
        #expect(try it.green.requestCount == result.bodies["green"])
        let entries = end["entries"].list.compactMap { $0["kind"].text }
        #expect(entries.filter { $0 == "step" }.count == 3)
    }

    @Test func aReleaseThatAnswersErrorsIsTakenBack() throws {
        let it = try Releases()
        let admin = try it.admin()
        try it.green.behave(.init(errors: 0.05))
        let load = it.load()
        try load.waitForAnswers(50)
        // Errors alone are looked at, and as long as it takes.
        let policy = """
            {"steps": [50, 100], "interval": "10m", "warm_up": "0s", "samples_min": 10, "latency_rise_min": "10s",
             "guards": {"throughput_drop_max": null, "latency_rise_max": null, "latency_rise_max_ratio": null}}
            """
        try it.start(admin, policy: policy)
        let end = try it.wait(admin, for: Self.ends)
        #expect(end["phase"].text == "rolled_back", "\(end)")
        #expect(try admin.weights() == ["blue": 100, "green": 0])
        try load.waitForAnswers(50)
        let after = load.current.count(500)
        try load.waitForAnswers(100)
        let result = try load.finish()
        #expect(result.count(500) == after, "nobody sees the bad release any more")
        #expect(result.count(500) + result.count(200) == result.sent)
    }

    @Test func aReleaseThatIsSlowIsTakenBack() throws {
        let it = try Releases()
        let admin = try it.admin()
        try it.green.behave(.init(slowMs: 300))
        let load = Load(it.proxy.endpoint, connections: 12)
        try load.waitForAnswers(100)
        try it.start(
            admin, policy: "{\"steps\": [50, 100], \"interval\": \"20s\", \"warm_up\": \"0s\", \"guards\": {\"window\": \"5s\", \"samples_min\": 10}}")
        let end = try it.wait(admin, for: Self.ends)
        #expect(end["phase"].text == "rolled_back", "\(end)")
        #expect(["latency_rise", "latency_test"].contains(end["finding"]["kind"].text ?? ""))
        let result = try load.finish()
        #expect(result.count(200) == result.sent)
    }

    @Test func aReleaseThatDiesIsLeftWithinASecond() throws {
        let it = try Releases()
        let admin = try it.admin()
        let load = it.load()
        try load.waitForAnswers(50)
        let policy = """
            {"steps": [50, 100], "interval": "30s", "warm_up": "0s", "latency_rise_min": "150ms", "guards": {"latency_rise_floor": "150ms"}}
            """
        try it.start(admin, policy: policy)
        try load.waitForAnswers(100)
        #expect(try admin.get("/rollouts/1")["phase"].text == "running")
        it.green.die()
        let end = try it.wait(admin, for: Self.ends, withinMs: 60_000)
        #expect(end["phase"].text == "rolled_back", "\(end)")
        try load.waitForAnswers(20)
        let bad = load.current.count(502)
        try load.waitForAnswers(100)
        let result = try load.finish()
        #expect(result.count(502) == bad)
        // Half of 400 requests a second go there and five are enough: what one second would see is far too many.
        #expect((1...200).contains(bad), "\(bad)")
    }

    /// With the other variant's servers as backups: what covers up for a dead release does not make it a good one.
    @Test func aReleaseThatDiesBehindABackupIsLeftWithoutAFailedRequest() throws {
        let it = try Releases()
        let text = it.proxy.configuration
            .replacing("upstream blue { server \(it.blue.endpoint);", with: "upstream blue { server \(it.blue.endpoint); server \(it.green.endpoint) backup;")
            .replacing("upstream green { server \(it.green.endpoint);", with: "upstream green { server \(it.green.endpoint); server \(it.blue.endpoint) backup;")
            .replacing("listen 127.0.0.1:\(it.proxy.port)", with: "listen 127.0.0.1:%PORT%")
        let proxy = try Proxy(text)
        let admin = try Admin(proxy, folder: "state")
        let load = Load(proxy.endpoint, connections: 4)
        try load.waitForAnswers(50)
        try it.start(admin, policy: "{\"steps\": [50, 100], \"interval\": \"30s\", \"warm_up\": \"0s\"}")
        try load.waitForAnswers(100)
        it.green.die()
        let diedAt = DispatchTime.now().uptimeNanoseconds
        let end = try it.wait(admin, for: Self.ends, withinMs: 10_000)
        let tookMs = (DispatchTime.now().uptimeNanoseconds - diedAt) / 1_000_000
        #expect(end["phase"].text == "rolled_back", "\(end)")
        #expect(tookMs < 1500, "\(tookMs) ms")
        #expect(try admin.weights() == ["blue": 100, "green": 0])
        let result = try load.finish()
        #expect(result.failures == [])
        #expect(result.count(200) == result.sent, "\(result.statuses)")
    }

    @Test func whatBothVariantsHaveFreezes() throws {
        let it = try Releases()
        let admin = try it.admin()
        let load = it.load()
        try load.waitForAnswers(50)
        try it.start(admin, policy: "{\"steps\": [50, 100], \"interval\": \"30s\", \"warm_up\": \"0s\", \"guards\": {\"window\": \"5s\"}}")
        try load.waitForAnswers(300)
        // A database, say.
        try it.green.behave(.init(errors: 0.3))
        try it.blue.behave(.init(errors: 0.3))
        let end = try it.wait(admin, for: Self.ends)
        #expect(end["phase"].text == "frozen", "\(end)")
        #expect(end["finding"]["common"].bool == true)
        #expect(try admin.weights() == ["blue": 50, "green": 50])
        _ = try load.finish()
    }

    @Test func aCrashInTheMiddleIsGoneThrough() throws {
        let it = try Releases()
        var admin = try it.admin()
        try it.start(admin, policy: "{\"steps\": [20, 60, 100], \"interval\": \"1s\", \"samples_min\": 1, \"inconclusive\": \"go_on\", \"bake\": \"1s\"}")
        try Harness.wait(for: "the second step") { try admin.weights() == ["blue": 40, "green": 60] }
        #expect(try it.proxy.stop(SIGKILL) == .signalled(SIGKILL))
        try it.proxy.start()
        admin = try it.admin()
        // It goes on without being asked.
        try Harness.wait(for: "the last step: \(it.proxy.errorLog.suffix(500))") { try admin.weights() == ["blue": 0, "green": 100] }
        let end = try it.wait(admin, for: Self.ends)
        #expect(end["phase"].text == "succeeded", "\(end)")
        #expect(try admin.weights() == ["blue": 0, "green": 100])
        #expect(end["entries"].list.count { $0["kind"].text == "started" } == 1)
        // It is there after another one, too.
        #expect(try it.proxy.stop(SIGKILL) == .signalled(SIGKILL))
        try it.proxy.start()
        admin = try it.admin()
        #expect(try admin.get("/rollouts/1")["entries"].list.count == end["entries"].list.count)
    }

    // MARK: At the terminal

    private func ctl(_ it: Releases, _ words: String...) throws -> Proxyctl.Result {
        try Proxyctl(it.proxy, words, admin: "unix:state/admin.sock").result(withinMs: 30_000)
    }

    @Test func peopleSteerAtTheTerminal() throws {
        let it = try Releases()
        let load = it.load()
        try load.waitForAnswers(20)
        let started = try ctl(it, "rollout", "start", "green", "--steps", "10,50,100", "--interval", "20s", "--reason", "release 42")
        #expect(started.status == 0, "\(started.all)")
        #expect(started.output.hasPrefix("Rollout 1 of app: blue to green; it is running; green has 10 %."))
        let again = try ctl(it, "rollout", "start", "green")
        #expect(again.status == 1, "\(again.all)")
        #expect(try ctl(it, "weight", "green", "30").status == 1)
        #expect(try ctl(it, "rollout", "pause").output == "Rollout 1 is paused; green has 10 %.\n")
        #expect(try ctl(it, "rollout", "approve").status == 1)
        #expect(try ctl(it, "rollout", "resume", "1", "--reason", "all is well").output == "Rollout 1 is running; green has 10 %.\n")
        let status = try ctl(it, "rollout", "status")
        #expect(status.output.contains("10 % of [10] 50 100, by the policy unnamed"), "\(status.all)")
        #expect(status.output.contains("VARIANT"))
        #expect(try ctl(it, "rollout", "promote").output == "Rollout 1 is baking; green has 100 %.\n")
        #expect(try ctl(it, "rollout", "abort", "--reason", "not today").output.hasPrefix("Rollout 1 was aborted: "))
        let show = try ctl(it, "rollout", "show", "1")
        #expect(show.output.contains("(root (not today))") || show.output.contains("(not today)"), "\(show.all)")
        #expect(try ctl(it, "rollout", "list").output.contains("aborted"))
        // The end of one that is followed is the exit status.
        let good = try ctl(
            it, "rollout", "start", "green", "--strategy", "blue-green", "--bake", "1s", "--watch")
        #expect(good.status == 0, "\(good.all)")
        #expect(good.output.contains("succeeded"))
        let bad = try ctl(it, "rollout", "status", "1", "--watch")
        #expect(bad.status == 1, "\(bad.all)")
        let replay = try ctl(it, "rollout", "replay", "2", "--policy", Harness.packageDirectory + "/conf/rollout/blue-green.yaml")
        #expect(replay.status == 0, "\(replay.all)")
        #expect(replay.output.hasPrefix("By the policy blue-green: "))
        let result = try load.finish()
        #expect(result.failures == [])
        #expect(result.count(200) == result.sent)
    }

    @Test func examplesAreGoodAndMistakesHaveTheirPlace() throws {
        let it = try Releases()
        let folder = Harness.packageDirectory + "/conf/rollout/"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasSuffix(".yaml") }.sorted()
        #expect(names == ["ab.yaml", "blue-green.yaml", "canary.yaml", "limits.yaml", "rolling.yaml", "shadow.yaml"])
        for name in names {
            let put = try ctl(it, "policy", "put", folder + name)
            #expect(put.status == 0, "\(put.all)")
        }
        #expect(try ctl(it, "policy", "list").output.split(separator: "\n").count == names.count + 1)
        let kept = try ctl(it, "policy", "get", "limits")
        #expect(kept.output.contains("\"rss\": \"/run/app-$variant.pid\""), "\(kept.all)")
        #expect(try ctl(it, "policy", "delete", "ab").status == 0)
        #expect(try ctl(it, "policy", "get", "ab").status == 1)
        try it.proxy.write("wrong.yaml", "name: wrong\nsteps:\n  - 50\n  - 20\n")
        let wrong = try ctl(it, "policy", "put", "wrong.yaml")
        #expect(wrong.status == 2)
        #expect(wrong.errors.contains("wrong.yaml:4:5: found 20 after 50, expected percentages that rise"), "\(wrong.all)")
        try it.proxy.write("misspelt.yaml", "name: x\nguards:\n  windw: 3s\n")
        let misspelt = try ctl(it, "rollout", "start", "green", "--policy", "misspelt.yaml")
        #expect(misspelt.errors.contains("misspelt.yaml:3:3: found \"windw\""), "\(misspelt.all)")
    }
}
