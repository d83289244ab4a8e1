// Tests what a deploy does where a replica's old version does not come back: nothing that would leave fewer to serve.

import AdminAPI
import Deploy
import Testing

@Suite("replicas that do not come back")
struct MissingReplicaTests {
    typealias World = MachineTests.World

    /// With `start-first` the old replica goes last. It does not come back, and so the new one keeps the requests.
    @Test func theNewReplicaStaysWhereTheOldOneDoesNotComeBack() {
        let steps = [
            MachineTests.step("start new", .replace, batch: 0),
            MachineTests.step("new in", .replace, undo: 3, batch: 0) { $0.carriesTraffic = true },
            MachineTests.step("old out", .replace, batch: 0) { $0.undoNeeds = 3 },
            MachineTests.step("stop old", .replace, batch: 0), MachineTests.step("verify", .verify, undo: 0),
        ]
        for (vain, undone) in [("-stop old", ["-stop old"]), ("-old out", ["-stop old", "-old out"])] {
            let world = MachineTests.world(steps)
            world.answers = ["verify": [MachineTests.failure()], vain: [MachineTests.failure("dead")]]
            world.run()
            #expect(world.log.dropFirst(5) == undone[...])
            #expect(world.outcome == .stuck)
            #expect(world.machine.leftovers.contains("not undone: new in"))
        }
    }

    /// Of two replicas one is missing: nobody would serve while the other is replaced, or taken back.
    @Test(arguments: [RollingPlan.FailureAction.rollback, .continue])
    func noFurtherReplicaIsTouchedWhereOneIsMissing(action: RollingPlan.FailureAction) {
        var steps: [DeployStep] = []
        for (i, name) in ["a", "b", "c"].enumerated() {
            steps.append(MachineTests.step("\(name) out", .replace, batch: i) { $0.undoNeeds = 3 * i + 1 })
            steps.append(MachineTests.step("stop \(name)", .replace, batch: i))
            steps.append(MachineTests.step("\(name) in", .replace, batch: i) { $0.carriesTraffic = true })
        }
        let world = MachineTests.world(steps) {
            $0.failureAction = action
            $0.failureRatioMax = 0.5
        }
        world.answers = ["b in": [MachineTests.failure()], "-stop b": [MachineTests.failure("dead")]]
        world.run()
        #expect(world.log == ["a out", "stop a", "a in", "b out", "stop b", "b in", "-b in", "-stop b"])
        #expect(world.outcome == .stuck)
    }

    /// What the batch could not take back is not as before, whatever is undone later.
    @Test func whatAPausedBatchLeftIsNotForgotten() {
        let world = MachineTests.batches(.pause)
        world.answers["-a1"] = [MachineTests.failure("dead")]
        world.run()
        #expect(world.machine.phase == .paused && world.machine.leftovers == ["not undone: a1"])
        let resumed = World(DeployMachine(world.machine.record, replaying: world.entries))
        resumed.run()
        #expect(resumed.log == ["a1", "b1", "a2", "b2"] && resumed.outcome == .done && resumed.machine.leftovers == [])
        world.run(.abort("no more"))
        #expect(world.outcome == .stuck)
    }
}
