// Tests what steps of a deploy ask of the proxy and leave on the disk: whose rollout it is, what is drained, a second try.

import AdminAPI
import Deploy
import Foundation
import TestSupport
import Testing

@testable import proxyctl

@Suite("steps of a deploy, done")
struct StepDoerTests {
    static let id = "3f9c2a00"

    static func record(_ step: DeployStep, id: String = id) -> DeployRecord {
        var record = DeployRecord(number: 1)
        record.id = id
        record.name = "web"
        record.steps = [step]
        return record
    }

    static func doer(_ record: DeployRecord, _ admin: FakeAdmin, startedAtMs: Int64 = 0) throws -> StepDoer {
        StepDoer(
            record, startedAtMs: startedAtMs, folder: admin.directory,
            client: AdminClient([try AdminAddress.parse(admin.directory + "/admin.sock").get()]), tell: { _ in },
            isInterrupted: { false })
    }

    static func state(_ weights: [String: Int]) -> Reply {
        let shares = weights.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .integer(Int64($0.value))) }
        return .json(
            .members([
                "revision": 42, "splits": .members(["app": .members(["weights": .object(shares)])]),
                "upstreams": .members(["blue": .members(["servers": []]), "green": .members(["servers": []])]),
            ]))
    }

    // MARK: Rollouts

    static func rollout(
        _ number: Int64, _ phase: String, reason: String, to: String = "green", percent: Int64 = 0, started: Int64 = 5000,
        why: String? = nil
    ) -> JSON {
        .members([
            "entries": [], "finding": why.map { .members(["kind": "asked", "text": .string($0)]) }, "new": .string(to),
            "number": .integer(number), "old": to == "green" ? "blue" : "green", "percent": .integer(percent),
            "phase": .string(phase), "reason": .string(reason), "split": "app", "started": .string(Timestamp.text(ms: started)),
        ])
    }

    static var rolling: DeployStep {
        let work = RolloutWork(split: "app", to: "green", policy: "slow", before: ["blue": 1, "green": 0])
        var undo = work
        undo.isUndo = true
        var step = DeployStep(.rollout, service: "web", "roll web out to green", .rollout(work))
        step.undo = [.rollout(undo)]
        return step
    }

    /// Of a state folder that is gone: same name, same number.
    static let strangers: [JSON] = [
        rollout(1, "succeeded", reason: "deploy web 1"), rollout(2, "succeeded", reason: "deploy web 1 (id 00000000)"),
        rollout(3, "running", reason: "deploy web 1 (id 00000001)"),
    ]

    @Test func anotherDeploysRolloutIsNotTakenForItsOwn() throws {
        let mark = "deploy web 1 (id \(Self.id))"
        let admin = try FakeAdmin([
            "GET /rollouts": [.json(.array(Self.strangers))],
            "POST /rollouts": [.json(Self.rollout(4, "pending", reason: mark))],
            "GET /rollouts/4": [.json(Self.rollout(4, "succeeded", reason: mark, percent: 100))],
        ])
        let doer = try Self.doer(Self.record(Self.rolling), admin)
        #expect(doer.perform(0) == .succeeded(.members(["rollout": 4])))
        #expect(try JSON.parse(Array(try #require(admin.write).text.utf8))["reason"]?.string == mark)

        let own = try FakeAdmin([
            "GET /rollouts": [.json(.array(Self.strangers + [Self.rollout(4, "running", reason: mark)]))],
            "GET /rollouts/4": [.json(Self.rollout(4, "succeeded", reason: mark, percent: 100))],
        ])
        #expect(try Self.doer(Self.record(Self.rolling), own).perform(0) == .succeeded(.members(["rollout": 4])))
        #expect(own.write == nil, "it is found again after a crash")
    }

    @Test func anUndoingLeavesTheRolloutsOfOthersAlone() throws {
        let admin = try FakeAdmin([
            "GET /rollouts": [.json(.array(Self.strangers))], "GET /upstreams": [Self.state(["blue": 1, "green": 0])],
        ])
        #expect(try Self.doer(Self.record(Self.rolling), admin).undo(0, 0) == .succeeded(.members(["revision": 42])))
        #expect(admin.write == nil)
    }

    /// A journal of before the id was kept.
    @Test(
        arguments: [
            (rollout(7, "succeeded", reason: "deploy web 1", started: 5000), 7),
            (rollout(7, "succeeded", reason: "deploy web 1", started: 4999), 8),
            (rollout(7, "succeeded", reason: "deploy web 1", to: "blue"), 8),
        ] as [(JSON, Int64)])
    func withoutAnIdTheTargetAndTheTimeDecide(there: JSON, number: Int64) throws {
        let admin = try FakeAdmin([
            "GET /rollouts": [.json(.array([there]))], "GET /rollouts/7": [.json(there)],
            "POST /rollouts": [.json(Self.rollout(8, "pending", reason: "deploy web 1"))],
            "GET /rollouts/8": [.json(Self.rollout(8, "succeeded", reason: "deploy web 1"))],
        ])
        let doer = try Self.doer(Self.record(Self.rolling, id: ""), admin, startedAtMs: 5000)
        #expect(doer.perform(0) == .succeeded(.members(["rollout": .integer(number)])))
    }

    /// What a rollout has left goes back; what a person has set in its place stays.
    @Test(
        arguments: [
            ("failed", 25, ["blue": 75, "green": 25], true), ("succeeded", 100, ["blue": 0, "green": 100], true),
            ("rolled_back", 0, ["blue": 100, "green": 0], true), ("aborted", 25, ["blue": 1, "green": 0], true),
            ("aborted", 25, ["blue": 0, "green": 100], false), ("aborted", 25, ["blue": 50, "green": 50], false),
            ("succeeded", 100, ["blue": 50, "green": 50], false),
        ] as [(String, Int64, [String: Int], Bool)])
    func whatAPersonHasSetIsNotTakenBack(phase: String, percent: Int64, now: [String: Int], isOurs: Bool) throws {
        let ended = Self.rollout(4, phase, reason: "deploy web 1 (id \(Self.id))", percent: percent)
        let admin = try FakeAdmin([
            "GET /rollouts": [.json(.array([ended]))], "GET /upstreams": [Self.state(now)],
            "PUT /upstreams?reason=deploy%20web%201%20%28id%203f9c2a00%29": [.accepted(43)],
        ])
        let event = try Self.doer(Self.record(Self.rolling), admin).undo(0, 0)
        if isOurs {
            guard case .succeeded = event else { return #expect(Bool(false), "\(event)") }
        } else {
            let words = now.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
            #expect(event == .failed("somebody else has moved traffic: app has \(words)", isFinal: true))
        }
        #expect((admin.write != nil) == (isOurs && now != ["blue": 1, "green": 0]))
    }

    // MARK: Draining

    @Test func whatServesAgainIsNotDrained() throws {
        var idle = IdleWork(upstreams: ["blue"], timeoutMs: 1000)
        idle.isDraining = true
        let step = DeployStep(.drain, service: "web", "drain", .idle(idle))
        let drain =
            "POST /upstreams/blue/drain?reason=deploy%20web%201%20%28id%203f9c2a00%29&timeout=1000ms"
        let status = Reply.json(Fixture.serving().json)
        let back = try FakeAdmin([
            "GET /upstreams": [Self.state(["blue": 100, "green": 0])], drain: [.accepted(43)], "GET /status": [status],
        ])
        let refused = DeployEvent.failed("blue has traffic of app: it is left running", isFinal: true)
        #expect(try Self.doer(Self.record(step), back).perform(0) == refused)
        #expect(back.write == nil)
        let idleOne = try FakeAdmin([
            "GET /upstreams": [Self.state(["blue": 0, "green": 100])],
            drain: [.problem(Problem(.lostRace, "not 42", revision: 43)), .accepted(43)], "GET /status": [status],
        ])
        #expect(try Self.doer(Self.record(step), idleOne).perform(0) == .succeeded(nil))
        #expect(idleOne.writes.map(\.line) == [drain, drain])
        #expect(idleOne.write?["If-Match"] == "\"42\"", "nobody may switch in between")
    }

    // MARK: Once more

    /// After a pause a batch is tried again: a second undoing has to run, and what was undone is not done.
    @Test func aStepThatIsTriedAgainIsUndoneAgain() throws {
        let admin = try FakeAdmin([:])
        func command(_ word: String) -> Work {
            let env = ["PATH": "/usr/bin:/bin"]
            return .command(CommandWork(run: "echo \(word) >> log", env: env, directory: admin.directory, timeoutMs: 10_000))
        }
        var step = DeployStep(.replace, service: "web", "start", command("do"))
        step.undo = [command("undo"), command("tidy")]
        let doer = try Self.doer(Self.record(step), admin)
        try DeployFolder.make(admin.directory + "/steps")
        for round in 1...2 {
            #expect(doer.inspect(0) == .notDone)
            #expect(doer.perform(0) == .succeeded(nil))
            #expect(doer.inspect(0) == .done(nil))
            // A crash may come after either: it is not undone twice.
            for _ in 1...2 {
                #expect(doer.undo(0, 0) == .succeeded(nil))
                #expect(doer.undo(0, 1) == .succeeded(nil))
            }
            let log = Array(repeating: "do\nundo\ntidy", count: round).joined(separator: "\n")
            #expect(Files.text(admin.directory + "/log") == log)
        }
    }
}
