import AdminAPI
import Rollout
import Testing

@testable import Control
@testable import Engine

@Suite("Rollouts")
struct RolloutTests {
    @Test func aGoodReleaseGoesToTheEnd() throws {
        let it = try RolloutDesk()
        let started = it.start()
        #expect(started.status == 201)
        #expect(started.json["number"] == 1)
        #expect(started.json["phase"] == "running")
        #expect(it.weights == ["blue": 90, "green": 10])
        it.pass(seconds: 9.5)
        #expect(it.weights == ["blue": 90, "green": 10])
        it.pass(seconds: 1)
        #expect(it.weights == ["blue": 50, "green": 50])
        it.pass(seconds: 10.5)
        #expect(it.weights == ["blue": 0, "green": 100])
        #expect(it.phase() == "baking")
        it.pass(seconds: 6)
        #expect(it.phase() == "succeeded")
        #expect(it.weights == ["blue": 0, "green": 100])
        let revisions = it.desk.ask("GET", "/revisions").json["revisions"]?.array ?? []
        #expect(revisions.prefix(3).compactMap { $0["reason"]?.string } == ["rollout 1: all", "rollout 1: step 50 %", "rollout 1: step 10 %"])
        #expect(revisions.first?["who"] == "rollout 1")
        let entries = it.show()["entries"]?.array ?? []
        #expect(entries.compactMap { $0["kind"]?.string } == ["started", "step", "verdict", "step", "verdict", "step", "baking", "succeeded"])
        #expect(it.desk.ask("GET", "/rollouts").json["rollouts"]?.array?.first?["who"] == "root")
        // The split is everybody's again.
        #expect(it.desk.ask("PATCH", "/splits/app", #"{"weights": {"blue": 1}}"#).status == 200)
    }

    /// Machines are put right by steps: neither is a minute longer for it, nor a bake over.
    @Test(arguments: [3_600_000, -3_600_000]) func stepsOfTheWallClockAreNoTime(stepMs: Int64) throws {
        let it = try RolloutDesk()
        it.start()
        it.pass(seconds: 5)
        it.desk.setWall(ahead: stepMs)
        it.pass(seconds: 4)
        #expect(it.weights == ["blue": 90, "green": 10])
        it.pass(seconds: 2)
        #expect(it.weights == ["blue": 50, "green": 50])
        it.pass(seconds: 10.5)
        #expect(it.phase() == "baking")
        it.desk.setWall(ahead: stepMs)
        it.pass(seconds: 3)
        #expect(it.phase() == "baking")
        it.pass(seconds: 4)
        #expect(it.phase() == "succeeded")
    }

    @Test func errorsLeadBackWithinATickOfTheRequestThatTips() throws {
        let it = try RolloutDesk()
        it.start()
        it.pass(seconds: 5)
        it.count(.new, 40, errors: 20)
        it.count(.old, 200)
        it.desk.turn(after: 250)
        #expect(it.phase() == "rolled_back")
        #expect(it.weights == ["blue": 100, "green": 0])
        #expect(it.show()["finding"]?["kind"] == "error_ratio")
        #expect(it.desk.ask("GET", "/revisions").json["revisions"]?.array?.first?["reason"]?.string?.hasPrefix("rollout 1: back to blue: ") == true)
    }

    @Test func aVariantThatDiesIsLeftAtOnce() throws {
        let it = try RolloutDesk()
        it.start()
        it.pass(seconds: 2)
        it.count(.new, 20, errors: 20, .connect)
        it.desk.turn(after: 250)
        #expect(it.phase() == "rolled_back")
        let figures = it.show()["finding"]?["figures"]?.array ?? []
        #expect(figures.contains { $0["name"] == "new.errors" && $0["value"] == 20 })
    }

    @Test func slownessLeadsBack() throws {
        let it = try RolloutDesk()
        it.start()
        it.pass(seconds: 9, us: (5_000, 305_000))
        #expect(it.phase() == "rolled_back")
        #expect(it.show()["finding"]?["kind"] == "latency_rise")
    }

    @Test func whatBothHaveFreezes() throws {
        let it = try RolloutDesk()
        it.start()
        it.pass(seconds: 3)
        for _ in 0..<20 {
            it.count(.new, 5, errors: 2)
            it.count(.old, 45, errors: 18)
            it.desk.turn(after: 250)
        }
        #expect(it.phase() == "frozen")
        #expect(it.weights == ["blue": 90, "green": 10])
        #expect(it.show()["finding"]?["common"] == true)
        // People decide.
        #expect(it.desk.ask("POST", "/rollouts/1/abort", #"{"reason": "enough"}"#).json["phase"] == "aborted")
        #expect(it.weights == ["blue": 100, "green": 0])
    }

    @Test func peopleSteer() throws {
        let it = try RolloutDesk()
        it.start(#"{"name": "asked", "steps": [10, 50, 100], "interval": "10s", "samples_min": 50, "approval_steps": [50], "bake": "5s"}"#)
        #expect(it.desk.ask("POST", "/rollouts/1/approve").problem == "conflict")
        #expect(it.desk.ask("POST", "/rollouts/1/pause").json["phase"] == "paused")
        it.pass(seconds: 30)
        #expect(it.weights == ["blue": 90, "green": 10])
        #expect(it.desk.ask("POST", "/rollouts/1/resume").json["phase"] == "running")
        it.pass(seconds: 11)
        #expect(it.phase() == "waiting_for_approval")
        #expect(it.desk.ask("POST", "/rollouts/1/approve", #"{"reason": "looks good"}"#).json["percent"] == 50)
        let entries = it.show()["entries"]?.array ?? []
        #expect(entries.contains { $0["kind"] == "approved" && $0["who"] == "root (looks good)" })
        #expect(it.desk.ask("POST", "/rollouts/1/promote").json["phase"] == "baking")
        #expect(it.weights == ["blue": 0, "green": 100])
        it.pass(seconds: 6)
        #expect(it.phase() == "succeeded")
        #expect(it.desk.ask("POST", "/rollouts/1/pause").problem == "conflict")
        #expect(it.desk.ask("POST", "/rollouts/9/pause").problem == "not-found")
    }

    // MARK: Others who write

    @Test func aPlainWriteIsRefusedAndAForcedOneEndsIt() throws {
        let it = try RolloutDesk()
        it.start()
        let before = it.desk.controller.running.revision
        for (method, path, body) in [
            ("PATCH", "/splits/app", #"{"weights": {"green": 100}}"#), ("PUT", "/splits/app", #"{"weights": {"blue": 1, "green": 1}}"#),
            ("POST", "/undo", "{}"), ("POST", "/revisions/1/restore", "{}"),
        ] {
            let refused = it.desk.ask(method, path, body)
            #expect(refused.status == 409)
            #expect(refused.problem == "rollout-live", "\(method) \(path)")
        }
        #expect(it.desk.controller.running.revision == before)
        let plan = it.desk.ask("PATCH", "/splits/app?dry_run=1", #"{"weights": {"green": 100}}"#)
        #expect(plan.json["warnings"]?.array?.contains { $0.string?.contains("rollout 1") == true } == true)
        // What is not the rollout's own goes through.
        #expect(it.desk.ask("POST", "/upstreams/green/servers", #"{"server": "127.0.0.1:3005"}"#).status == 201)
        #expect(it.phase() == "running")
        #expect(it.desk.ask("PATCH", "/splits/app?force=1", #"{"weights": {"green": 70}, "reason": "now"}"#).status == 200)
        #expect(it.phase() == "aborted")
        #expect(it.weights == ["blue": 90, "green": 70])
        let last = it.show()["entries"]?.array?.last
        #expect(last?["text"]?.string?.contains("(now)") == true)
        #expect(last?["who"] == "root")
    }

    @Test func aReloadGoesOnAndOneThatPrefersTheFileEndsIt() throws {
        let it = try RolloutDesk()
        it.desk.owner.pools = RolloutDesk.pools + " upstream more { server 127.0.0.1:9; }"
        it.start()
        #expect(it.desk.ask("POST", "/reload").status == 200)
        it.pass(seconds: 1)
        #expect(it.phase() == "running")
        #expect(it.weights == ["blue": 90, "green": 10])
        it.desk.owner.pools = RolloutDesk.pools.replacing("blue 1; green 0;", with: "blue 3; green 4;")
        #expect(it.desk.ask("POST", "/reload?prefer=file").status == 200)
        it.pass(seconds: 1)
        #expect(it.phase() == "aborted")
        #expect(it.weights == ["blue": 3, "green": 4])
    }

    // MARK: Starts

    @Test func whatCannotStart() throws {
        let it = try RolloutDesk()
        func refused(_ body: String, _ problem: String, _ pointer: String?) {
            let asked = it.desk.ask("POST", "/rollouts", body)
            #expect(asked.problem == problem, "\(body): \(asked.text)")
            #expect(asked.pointer == pointer, "\(body)")
            #expect(it.desk.server.rollouts.live.isEmpty)
        }
        refused(#"{"split": "app"}"#, "missing-field", "/to")
        refused(#"{"split": "app", "to": "green", "polcy": 1}"#, "unknown-field", "/polcy")
        refused(#"{"split": "none", "to": "green"}"#, "not-found", "/split")
        refused(#"{"split": "app", "to": "red"}"#, "unknown-variant", "/to")
        refused(#"{"split": "app", "to": "blue"}"#, "conflict", "/to")
        refused(#"{"split": "app", "to": "green", "policy": "none"}"#, "not-found", "/policy")
        refused(#"{"split": "app", "to": "green", "policy": {"steps": [50, 20]}}"#, "out-of-range", "/policy/steps/1")
        refused(#"{"split": "app", "to": "green", "policy": {"guards": {"windw": 1}}}"#, "unknown-field", "/policy/guards/windw")
        refused(#"{"split": "app", "to": "green", "policy": {"shadow": {"share": 0}}}"#, "out-of-range", "/policy/shadow/share")
        refused(
            #"{"split": "app", "to": "green", "policy": {"guards": {"metrics": [{"name": "m", "max": 1, "command": ["x"]}]}}}"#, "out-of-range",
            "/policy/guards/metrics/0/command")
        it.desk.ask("PATCH", "/splits/app", #"{"weights": {"blue": 80, "green": 20}}"#)
        refused(#"{"split": "app", "to": "green"}"#, "conflict", "/policy/steps/0")
        it.desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 0}}"#)
        it.desk.ask("PATCH", "/upstreams/green/servers/0", #"{"down": true}"#)
        refused(#"{"split": "app", "to": "green"}"#, "conflict", "/to")
        #expect(it.start(query: "?force=1").status == 201)
        #expect(it.start().problem == "rollout-live")
    }

    @Test func aPlanChangesNothing() throws {
        let it = try RolloutDesk()
        let before = it.desk.everything
        let plan = it.start(query: "?dry_run=1")
        #expect(plan.status == 200)
        #expect(plan.json["differences"]?.array?.count == 2)
        #expect(it.desk.everything == before)
        #expect(it.desk.server.rollouts.live.isEmpty)
    }

    @Test func aSickWayBackIsTold() throws {
        let it = try RolloutDesk()
        it.start()
        it.desk.ask("PATCH", "/upstreams/blue/servers/0", #"{"drain": true}"#)
        it.pass(seconds: 1)
        #expect(it.show()["way_back"] == "sick")
        it.count(.new, 40, errors: 40)
        it.desk.turn(after: 250)
        #expect(it.phase() == "frozen")
        // As soon as there is one, it is taken.
        it.desk.ask("PATCH", "/upstreams/blue/servers/0", #"{"drain": false}"#)
        for _ in 0..<4 { it.desk.turn(after: 250) }
        #expect(it.phase() == "rolled_back")
        let kinds = (it.show()["entries"]?.array ?? []).compactMap { $0["kind"]?.string }
        #expect(kinds.suffix(5) == ["way_back_sick", "frozen", "way_back_well", "rolling_back", "rolled_back"])
    }

    @Test func policiesAreKeptByName() throws {
        let it = try RolloutDesk()
        #expect(it.desk.ask("PUT", "/policies/slow", #"{"interval": "2m", "reason": "calm"}"#).status == 201)
        #expect(it.desk.ask("PUT", "/policies/slow", #"{"interval": "3m"}"#).status == 200)
        #expect(it.desk.ask("PUT", "/policies/slow", #"{"interval": "never"}"#).pointer == "/interval")
        #expect(it.desk.ask("PUT", "/policies/slow", #"{"name": "other"}"#).pointer == "/name")
        #expect(it.desk.ask("PUT", "/policies/.x", "{}").problem == "bad-name")
        #expect(it.desk.ask("GET", "/policies/slow").json["interval"] == "3m")
        #expect(it.desk.ask("GET", "/policies").json["policies"]?.array?.count == 1)
        #expect(it.start(#""slow""#).json["policy"] == "slow")
        #expect(it.desk.ask("DELETE", "/policies/slow").status == 200)
        #expect(it.desk.ask("GET", "/policies/slow").status == 404)
        #expect(it.phase() == "running")
    }

    @Test func aRecordIsReplayed() throws {
        let it = try RolloutDesk()
        it.start()
        it.pass(seconds: 4)
        it.count(.new, 100, errors: 20)
        it.count(.old, 200)
        it.desk.turn(after: 250)
        #expect(it.phase() == "rolled_back")
        let record = it.desk.ask("GET", "/rollouts/1/record").json
        #expect(try RolloutRecord(json: record).lines.count > 5)
        let same = it.desk.ask("POST", "/rollouts/1/replay", #"{"policy": \#(RolloutDesk.policy)}"#)
        #expect(same.json["phase"] == "rolled_back")
        let blind = #"{"alpha": 1e-9, "guards": {"error_ratio_max": null, "error_rise_max": null, "latency_rise_max": null, "latency_rise_max_ratio": null}}"#
        let other = it.desk.ask("POST", "/rollouts/1/replay", #"{"policy": \#(blind)}"#)
        #expect(other.json["phase"] != "rolled_back", "\(other.text)")
        #expect(it.desk.ask("POST", "/rollouts/1/replay", #"{"policy": {"steps": []}}"#).pointer == "/policy/steps")
    }
}
