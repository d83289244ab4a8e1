import AdminAPI
import Foundation
import Rollout
import Testing

@testable import Control
@testable import Engine

/// What of rollouts outlives a process.
@Suite("Rollouts that are kept")
struct RolloutKeepingTests {
    /// A folder of a state, and a process after another in it.
    private final class Processes {
        let folder = NSTemporaryDirectory() + "rollouts-" + UUID().uuidString
        private(set) var it: RolloutDesk?
        private var epochMs: Int64 = 1_700_000_000_000

        deinit { try? FileManager.default.removeItem(atPath: folder) }

        /// As by kill -9. Whoever has the desk must let it go, too.
        func end() {
            // Wall clocks go on.
            if let it { epochMs += it.desk.nowMs - 1_000_000 + 2_000 }
            it = nil
        }

        /// Of the wall, while nobody looks.
        func setWall(ahead ms: Int64) { epochMs += ms }

        /// A rollout two seconds old, killed behind what `change` does to its machine, which is kept.
        func killed(behind change: (inout RolloutMachine) -> Void) throws -> (machine: RolloutMachine, facts: RolloutFacts) {
            var desk: RolloutDesk? = try next()
            desk?.start()
            desk?.pass(seconds: 2)
            var machine = try #require(desk?.live?.machine)
            let facts = try #require(desk?.live?.facts)
            desk = nil
            end()
            change(&machine)
            let left = LiveRollout(machine, RolloutRecord(plan: machine.plan), facts, workers: 1)
            try RolloutStore(folder: folder).keep(state: left.stateJSON, of: 1)
            return (machine, facts)
        }

        func next() throws -> RolloutDesk {
            end()
            let (journal, replay) = try Journal.open(folder: folder)
            let desk = try RolloutDesk(journal: journal, replay: replay, rollouts: RolloutStore(folder: folder), epochMs: epochMs)
            it = desk
            return desk
        }
    }

    @Test func aRolloutGoesOnWhereItWas() throws {
        let processes = Processes()
        var it: RolloutDesk? = try processes.next()
        it?.start()
        it?.pass(seconds: 14)
        #expect(it?.phase() == "running")
        #expect(it?.weights == ["blue": 50, "green": 50])
        let entries = it?.show()["entries"]?.array ?? []
        let machine = it?.live?.machine
        it = nil
        it = try processes.next()
        #expect(it?.phase() == "running")
        #expect(it?.weights == ["blue": 50, "green": 50])
        #expect(it?.show()["entries"]?.array == entries)
        #expect(it?.live?.machine.stepAtMs == machine?.stepAtMs)
        #expect(it?.desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 1}}"#).problem == "rollout-live")
        it?.pass(seconds: 10)
        #expect(it?.weights == ["blue": 0, "green": 100])
        it?.pass(seconds: 7)
        #expect(it?.phase() == "succeeded")
        it = nil
        // What has ended is there, and its record can be replayed.
        let last = try processes.next()
        #expect(last.phase() == "succeeded")
        #expect(last.show()["entries"]?.array?.count == 8)
        #expect(last.desk.ask("POST", "/rollouts/1/replay", #"{"policy": \#(RolloutDesk.policy)}"#).json["phase"] == "succeeded")
        #expect(last.start(to: "blue").json["number"] == 2)
    }

    /// The split keeps the share that a rollout gave it, and nobody watches it any more: that must be told.
    @Test(arguments: ["index.json", "policies.json", "1.state"], ["", "{\"first\": 1", "\0\u{1}"])
    func whatCannotBeReadIsSetAsideAndTold(name: String, content: String) throws {
        let processes = Processes()
        var it: RolloutDesk? = try processes.next()
        #expect(it?.desk.ask("PUT", "/policies/slow", #"{"interval": "2m"}"#).status == 201)
        it?.start()
        it = nil
        processes.end()
        let path = processes.folder + "/rollouts/" + name
        #expect(FileManager.default.fileExists(atPath: path))
        try Data(content.utf8).write(to: URL(fileURLWithPath: path))
        let next = try processes.next()
        next.pass(seconds: 1)
        let told = next.desk.controller.events.takeWarnings()
        #expect(told.count == 1 && told[0].hasPrefix("\"\(path)\" cannot be read ("), "\(told)")
        #expect(told.first?.contains("was set aside as \(name).damaged") == true)
        #expect(try Data(contentsOf: URL(fileURLWithPath: path + ".damaged")) == Data(content.utf8))
        #expect(next.weights == ["blue": 90, "green": 10] || name == "policies.json", "\(String(describing: next.weights))")
        #expect((next.phase() == "running") == (name == "policies.json"))
    }

    @Test func policiesAreThere() throws {
        let processes = Processes()
        #expect(try processes.next().desk.ask("PUT", "/policies/slow", #"{"interval": "2m"}"#).status == 201)
        #expect(try processes.next().desk.ask("GET", "/policies/slow").json["interval"] == "2m")
    }

    @Test func whatWasAskedForBeforeACrashIsDoneAfterIt() throws {
        let processes = Processes()
        // Between the decision and the switch.
        let left = try processes.killed { _ = $0.handle(.operate(.abort, who: "me"), atMs: 1_700_001_010_000) }
        #expect(left.machine.phase == .rollingBack)
        let again = try processes.next()
        #expect(again.phase() == "aborted")
        #expect(again.weights == ["blue": 100, "green": 0])
    }

    /// What got well while the process was down is told as well as what does so later.
    @Test func aWayBackThatIsWellAfterARestartIsToldSo() throws {
        let processes = Processes()
        var (machine, facts) = try processes.killed { _ = $0.handle(.wayBack(isGood: false), atMs: 1_700_001_002_500) }
        #expect(machine.isWayBackSick)
        let again = try processes.next()
        again.pass(seconds: 1)
        #expect(again.show()["way_back"] == "well")
        again.pass(seconds: 8)
        #expect(again.weights == ["blue": 50, "green": 50])
        for side in Side.allCases { for _ in 0..<3 { _ = machine.handle(.check(side, isGood: false), atMs: 1_700_001_003_000) } }
        let rollout = LiveRollout(machine, RolloutRecord(plan: machine.plan), facts, workers: 1)
        #expect(rollout.news(ofWayBack: false) == nil)
        #expect(rollout.news(ofFailedRounds: 3, .new) == [])
        #expect(rollout.news(ofFailedRounds: 0, .old) == [.check(.old, isGood: true)])
        #expect(rollout.news(ofFailedRounds: 4, .new) == [.check(.new, isGood: false)])
    }

    /// As on a machine whose clock is wrong until it has been set.
    @Test func aWallClockThatIsBehindAtARestartStopsNothing() throws {
        let processes = Processes()
        var it: RolloutDesk? = try processes.next()
        it?.start()
        it?.pass(seconds: 5)
        it = nil
        processes.end()
        processes.setWall(ahead: -86_400_000)
        it = try processes.next()
        it?.pass(seconds: 11)
        #expect(it?.weights == ["blue": 50, "green": 50])
        it?.pass(seconds: 17)
        #expect(it?.phase() == "succeeded")
        it = nil
        // The next one has the wall's time again.
        it = try processes.next()
        it?.start(to: "blue")
        #expect((it?.live?.machine.lastMs ?? .max) < 1_700_000_000_000)
    }

    /// Whatever a file says of time.
    @Test(arguments: [Int64.min, -(1 << 52), 1 << 52, .max]) func timesThatMakeNoSenseEndNoProcess(lastMs: Int64) throws {
        let processes = Processes()
        var it: RolloutDesk? = try processes.next()
        it?.start()
        it?.pass(seconds: 1)
        let machine = try #require(it?.live?.machine)
        let facts = try #require(it?.live?.facts)
        it = nil
        processes.end()
        let state = machine.json.merging(.members(["last_ms": .integer(lastMs)]))
        try RolloutStore(folder: processes.folder).keep(state: .members(["facts": facts.json, "machine": state]), of: 1)
        let again = try processes.next()
        again.pass(seconds: 2)
        #expect(again.desk.ask("GET", "/rollouts").status == 200)
    }

    @Test func whatSomebodyElseWroteMeanwhileStands() throws {
        let processes = Processes()
        var it: RolloutDesk? = try processes.next()
        it?.start()
        it?.pass(seconds: 1)
        it = nil
        processes.end()
        // Another version of proxyd, which knows no rollouts, had a turn.
        do {
            let (journal, replay) = try Journal.open(folder: processes.folder)
            let plain = try AdminDesk(RolloutDesk.pools, journal: journal, replay: replay)
            #expect(plain.ask("PATCH", "/splits/app", #"{"weights": {"blue": 7, "green": 3}}"#).status == 200)
        }
        let again = try processes.next()
        #expect(again.phase() == "aborted")
        #expect(again.weights == ["blue": 7, "green": 3])
    }

    @Test func aDamagedStateEndsThatRolloutAlone() throws {
        let processes = Processes()
        var it: RolloutDesk? = try processes.next()
        it?.start()
        it?.pass(seconds: 1)
        it = nil
        processes.end()
        try "{".write(toFile: processes.folder + "/rollouts/1.state", atomically: false, encoding: .utf8)
        let again = try processes.next()
        #expect(again.desk.ask("GET", "/rollouts/1").status == 404)
        #expect(again.start(#"{"steps": [50, 100], "interval": "10s"}"#).json["number"] == 2)
    }

    @Test func aTornLineOfARecordIsLeftOut() throws {
        let processes = Processes()
        var it: RolloutDesk? = try processes.next()
        it?.start()
        it?.pass(seconds: 3)
        it = nil
        processes.end()
        let path = processes.folder + "/rollouts/1.record"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        try String(text.dropLast(5)).write(toFile: path, atomically: false, encoding: .utf8)
        let again = try processes.next()
        again.pass(seconds: 2)
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        for line in lines { _ = try JSON.parse(String(line)) }
        #expect(again.phase() == "running")
    }

    @Test func aStartThatWasRefusedDoesNotBeginLater() throws {
        let processes = Processes()
        var it: RolloutDesk? = try processes.next()
        it?.desk.controller.stop()
        let plan = RolloutPlan(number: 0, split: "app", old: "blue", new: "green", policy: RolloutPolicy(name: "p"))
        #expect(throws: Problem.self) { _ = try it?.desk.server.rollouts.start(plan, RolloutFacts()) }
        it = nil
        it = try processes.next()
        #expect(it?.desk.ask("GET", "/rollouts").json["rollouts"]?.array == [])
        #expect(it?.weights == ["blue": 1, "green": 0])
    }

    /// A long rollout's record is bounded, on the disk too.
    @Test func recordsAreBounded() throws {
        let plan = RolloutPlan(number: 1, split: "app", old: "blue", new: "green", policy: RolloutPolicy(name: "p"))
        let rollout = LiveRollout(RolloutMachine(plan: plan), RolloutRecord(plan: plan), RolloutFacts(), workers: 1)
        let folder = NSTemporaryDirectory() + "rollouts-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let store = RolloutStore(folder: folder)
        var seen = Observations()
        seen.old.started = 1
        for i in 0..<Int64(RolloutRecord.linesMax) * 2 {
            _ = rollout.take(.tick(seen), atMs: i * 1000)
            if i % 500 == 0 { try rollout.write(to: store, nowMs: i * 1000, isDecision: false) }
        }
        #expect(rollout.record.lines.count <= RolloutRecord.linesMax)
        try rollout.write(to: store, nowMs: .max / 2, isDecision: true)
        #expect(store.record(1) == rollout.record)
    }
}
