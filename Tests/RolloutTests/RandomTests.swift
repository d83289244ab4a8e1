// Owns what holds of a rollout whatever happens: random traffic, checks, refusals, lost acknowledgements, restarts and people, in any order.

import AdminAPI
import TestChance
import Testing

@testable import Rollout

@Suite("rollout: whatever happens")
struct RandomTests {
    /// The split as it is, and the machine that moves it.
    struct World {
        var machine: RolloutMachine
        var chance: SeededNumbers
        var nowMs: Int64 = 1_000_000
        /// What the new variant has.
        var percent = 0
        var revision: UInt64 = 0
        var refusesOneIn: Int
        var trouble: [String] = []
        var rollbacks = 0

        init(seed: UInt64) {
            chance = SeededNumbers(state: seed)
            refusesOneIn = [2, 5, 1000][Int(seed % 3)]
            var policy = shortPolicy { _ in }
            policy.steps = [[10, 50, 100], [100], [1, 100]][chance.below(3)]
            policy.samplesMin = 1
            policy.whenInconclusive = RolloutPolicy.Inconclusive.allCases[chance.below(3)]
            policy.whenWayBackSick = chance.once(in: 2) ? .freeze : .rollBack
            policy.rollsBackByItself = !chance.once(in: 4)
            if chance.once(in: 3) { policy.approvalSteps = [100] }
            if chance.once(in: 3) {
                var gate = ShadowGate()
                gate.comparedMin = 50
                policy.shadow = gate
            }
            var plan = RolloutPlan(number: 7, split: "app", old: "blue", new: "green", policy: policy)
            plan.isWayBack = chance.once(in: 6)
            machine = RolloutMachine(plan: plan)
        }

        mutating func give(_ first: RolloutEvent) {
            var events = [first]
            while !events.isEmpty {
                let event = events.removeFirst()
                let before = machine
                carryOut(machine.handle(event, atMs: nowMs), &events)
                check(event, before)
            }
        }

        /// An acknowledgement may be lost with the process.
        mutating func carryOut(_ actions: [RolloutAction], _ events: inout [RolloutEvent]) {
            for action in actions {
                let (wanted, id, isBack): (Int, Int, Bool)
                switch action {
                case .setShare(let share, let one): (wanted, id, isBack) = (share, one, false)
                case .rollBack(let share, let one, _): (wanted, id, isBack) = (share, one, true)
                default: continue
                }
                // What is so already is no change, and refused by nobody.
                if wanted != percent, chance.once(in: refusesOneIn) {
                    events.append(.refused(id: id, why: "no"))
                    continue
                }
                if !isBack, machine.plan.isWayBack == false, wanted < percent { trouble.append("less by a step: \(wanted) after \(percent)") }
                if isBack, wanted != percent { rollbacks += 1 }
                percent = wanted
                revision += 1
                if chance.once(in: 12) { restart(&events) } else { events.append(.switched(id: id, revision: revision)) }
            }
        }

        mutating func restart(_ events: inout [RolloutEvent]) {
            guard let again = try? RolloutMachine(body: machine.json.bytes(pretty: false)), again == machine else {
                return trouble.append("it is not read back")
            }
            machine = again
            events = []
            nowMs += 100
            carryOut(machine.resumeAfterRestart(atMs: nowMs), &events)
        }

        mutating func check(_ event: RolloutEvent, _ before: RolloutMachine) {
            let held: Set<RolloutPhase> = [.paused, .frozen]
            // A person's word, for which guards hold what comes of it.
            if case .operate(.promote, _) = event { return }
            if held.contains(before.phase), held.contains(machine.phase), before.wantedPercent != machine.wantedPercent, machine.wantedPercent ?? 0 > machine.percent {
                trouble.append("asks for more while \(machine.phase)")
            }
            if machine.phase == .rolledBack || machine.phase == .failed, percent != 0 { trouble.append("\(machine.phase) at \(percent)") }
            if machine.phase == .succeeded, percent != 100 { trouble.append("succeeded at \(percent)") }
            if machine.phase == .aborted, case .operate = event, percent != 0 { trouble.append("aborted at \(percent)") }
            if machine.phase.isEnd, machine.percent != percent { trouble.append("says \(machine.percent), has \(percent)") }
            if before.phase == .rollingBack, machine.phase != .rollingBack, !machine.phase.isEnd { trouble.append("a rollback is given up") }
            if machine.plan.isWayBack || !machine.plan.policy.rollsBackByItself, machine.phase == .rolledBack { trouble.append("rolled back by itself") }
        }

        mutating func tick(_ isBad: Bool) {
            nowMs += 1000
            var figures = Observations(old: seen(180), new: seen(20, errors: isBad ? 20 : 0))
            if percent == 0 { figures.new = Observation() }
            if percent == 100 { figures = Observations(old: Observation(), new: seen(200, errors: isBad ? 100 : 0)) }
            give(.tick(figures))
        }

        mutating func something() {
            switch chance.below(40) {
            case 0: give(.check(.new, isGood: chance.once(in: 2)))
            case 1: give(.check(.old, isGood: chance.once(in: 2)))
            case 2: give(.wayBack(isGood: chance.once(in: 2)))
            case 3: give(.dependency("db", [nil, .old, .new][chance.below(3)], isGood: chance.once(in: 2)))
            case 4...8: give(.operate(OperatorVerb.allCases[chance.below(OperatorVerb.allCases.count)], who: "ann"))
            case 9: give(.switched(id: chance.below(5), revision: 99))
            case 10: give(.refused(id: chance.below(5), why: "stranger"))
            case 11, 12:
                var counts = ShadowCounts()
                counts.compared = 60
                counts.differing = chance.once(in: 5) ? 30 : 0
                give(.shadow(counts))
            case 13, 14: for _ in 0..<3 { tick(true) }
            case 15:
                var events: [RolloutEvent] = []
                restart(&events)
                for event in events { give(event) }
            default: for _ in 0..<chance.below(25) { tick(false) }
            }
        }
    }

    @Test func nothingIsForgottenAndNothingIsDoneTwice() {
        var ends: [RolloutPhase: Int] = [:]
        for seed in UInt64(0)..<250 {
            var world = World(seed: seed)
            for _ in 0..<12 { world.tick(false) }
            world.give(.start)
            for _ in 0..<40 where !world.machine.phase.isEnd && world.trouble.isEmpty { world.something() }
            // Then all goes well, and somebody helps: it comes to its end.
            world.refusesOneIn = 1_000_000
            world.give(.wayBack(isGood: true))
            for i in 0..<240 where !world.machine.phase.isEnd {
                world.give(.check(.old, isGood: true))
                world.give(.check(.new, isGood: true))
                for side in Side.allCases { world.give(.dependency("db", side, isGood: true)) }
                if world.machine.phase == .shadowing {
                    var counts = ShadowCounts()
                    counts.compared = 60
                    world.give(.shadow(counts))
                }
                world.tick(false)
                if i % 40 == 39 { for verb in [OperatorVerb.resume, .approve] { world.give(.operate(verb, who: "ann")) } }
            }
            #expect(world.machine.phase.isEnd, "seed \(seed) stays \(world.machine.phase) at \(world.percent)")
            #expect(world.trouble.isEmpty, "seed \(seed): \(world.trouble)")
            #expect(world.rollbacks <= 1, "seed \(seed)")
            ends[world.machine.phase, default: 0] += 1
        }
        #expect(ends.count == 4, "\(ends)")
    }
}
