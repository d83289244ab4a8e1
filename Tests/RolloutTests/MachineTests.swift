import AdminAPI
import Testing

@testable import Rollout

@Suite("rollout: going forward")
struct MachineTests {
    @Test func aGoodReleaseGoesThroughAllSteps() {
        var drive = Drive(shortPolicy { $0.steps = [5, 50, 100] })
        drive.start()
        #expect(drive.shares == [5] && drive.phase == .running)
        drive.run(19)
        #expect(drive.shares == [5])
        drive.run(1)
        #expect(drive.shares == [5, 50])
        drive.run(20)
        #expect(drive.shares == [5, 50, 100] && drive.phase == .baking)
        drive.run(30)
        #expect(drive.phase == .succeeded && drive.rollbacks.isEmpty)
        #expect(
            drive.entries.map(\.kind) == [.started, .step, .verdict, .step, .verdict, .step, .baking, .succeeded])
        #expect(drive.entries[2].figures.contains { $0.name == "new.error_ratio" })
        #expect(drive.entries[5].revision == 3)
        #expect(drive.machine.handle(.operate(.abort, who: "anna"), atMs: drive.nowMs) == [])
    }

    @Test func wakesWhenTimeHasToPass() {
        var drive = Drive(shortPolicy())
        drive.start()
        #expect(drive.actions.contains(.wake(atMs: drive.nowMs + 20_000)))
        let startMs = drive.nowMs
        drive.run(20)
        #expect(drive.phase == .baking)
        #expect(drive.actions.contains(.wake(atMs: startMs + 50_000)))
        drive.nowMs = startMs + 50_000
        drive.give(.tick(Observations()))
        #expect(drive.phase == .succeeded)
    }

    @Test func blueGreenSwitchesOnceAndBakes() {
        var drive = Drive(
            shortPolicy {
                $0.strategy = .blueGreen
                $0.steps = [100]
            })
        drive.start()
        #expect(drive.shares == [100] && drive.phase == .baking)
        drive.run(5)
        drive.run(1, new: seen(20, errors: 20))
        #expect(drive.phase == .rolledBack && drive.rollbacks.count == 1)
    }

    @Test func aFixedShareStaysUntilAnOperatorDecides() {
        var drive = Drive(
            shortPolicy {
                $0.strategy = .ab
                $0.steps = [50]
            })
        drive.start()
        drive.run(200)
        #expect(drive.phase == .running && drive.shares == [50])
        #expect(drive.entries.filter { $0.kind == .verdict }.count == 10)
        drive.give(.operate(.promote, who: "anna"))
        #expect(drive.shares == [50, 100] && drive.phase == .baking)
    }

    @Test func aStepThatWaitsForApproval() {
        var drive = Drive(shortPolicy { $0.approvalSteps = [100] })
        drive.start()
        drive.run(60)
        #expect(drive.phase == .waitingForApproval && drive.told.last == .approvalAsked)
        drive.give(.operate(.approve, who: "anna"))
        #expect(drive.shares == [10, 100] && drive.phase == .baking)
        #expect(drive.entries.contains { $0.kind == .approved && $0.who == "anna" })
    }

    // MARK: Inconclusive

    @Test(arguments: RolloutPolicy.Inconclusive.allCases) func tooLittleTraffic(what: RolloutPolicy.Inconclusive) {
        var drive = Drive(shortPolicy { $0.whenInconclusive = what })
        drive.start()
        drive.run(40, new: seen(1))
        let probes = drive.actions.filter { $0 == .probe }.count
        switch what {
        case .hold: #expect(drive.phase == .inconclusive && probes == 0)
        case .probe: #expect(drive.phase == .inconclusive && probes == 5)
        case .goOn: #expect(drive.phase == .baking)
        }
        if what == .goOn { return }
        #expect(drive.entries.last?.text == "10 % is held: 18 requests to green after the warm-up, 50 are needed")
        drive.run(40, new: seen(20))
        #expect(drive.shares == [10, 100])
    }

    @Test func whatLeansAgainstItHoldsTheStep() {
        var drive = Drive(
            shortPolicy {
                $0.guards.errorRatioMax = nil
                $0.guards.errorRiseMax = nil
                $0.whenInconclusive = .goOn
            })
        drive.start()
        drive.run(17)
        drive.run(1, new: seen(20, errors: 5))
        drive.run(2)
        #expect(drive.phase == .inconclusive)
        #expect(drive.entries.last?.text.contains("lean against the new variant") == true)
        drive.run(60)
        #expect(drive.shares == [10, 100], "health makes up for it")
    }

    @Test func aFailedCheckHoldsTheStep() {
        var drive = Drive(shortPolicy())
        drive.start()
        drive.give(.check(.new, isGood: false))
        drive.run(25)
        #expect(drive.phase == .inconclusive)
        drive.give(.check(.new, isGood: true))
        #expect(drive.shares == [10, 100])
    }

    static func read(_ policy: inout RolloutPolicy, _ name: String, everyMs: Int64) {
        var metric = MetricLimit(name: name, max: 10)
        metric.source = .url("http://127.0.0.1:9/")
        metric.intervalMs = everyMs
        policy.guards.metrics.append(metric)
    }

    @Test(arguments: RolloutPolicy.Inconclusive.allCases)
    func aMetricThatIsNeverReadHoldsTheStep(what: RolloutPolicy.Inconclusive) throws {
        var drive = Drive(
            shortPolicy {
                Self.read(&$0, "heap", everyMs: 5_000)
                $0.whenInconclusive = what
            })
        drive.start()
        drive.run(20)
        if what == .goOn { return #expect(drive.phase == .baking) }
        #expect(drive.phase == .inconclusive)
        #expect(drive.entries.last?.text == "10 % is held: heap has not been read for 20 s")
        // As after a restart.
        drive.machine = try RolloutMachine(body: drive.machine.json.bytes())
        drive.give(.metric("heap", .new, value: .infinity))
        drive.give(.metric("heap", .old, value: 1))
        drive.run(1)
        #expect(drive.phase == .inconclusive)
        drive.give(.metric("heap", .new, value: 1))
        #expect(drive.shares == [10, 100])
        // A policy that does not ask for it is not held by it.
        #expect(try drive.record.replay(shortPolicy()).percent == 100)
        #expect(try drive.record.replay(drive.machine.plan.policy).percent == 100)
        #expect(try drive.record.replay(shortPolicy { Self.read(&$0, "other", everyMs: 5_000) }).phase == .inconclusive)
    }

    /// Three times its interval, and ten seconds at least.
    @Test(arguments: [(1_000, 10, true), (1_000, 11, false), (5_000, 15, true), (5_000, 16, false), (60_000, 19, true)] as [(Int64, Int, Bool)])
    func aMetricMayBeReadSeldom(everyMs: Int64, agoSeconds: Int, passes: Bool) throws {
        var drive = Drive(shortPolicy { Self.read(&$0, "heap", everyMs: everyMs) })
        drive.start()
        drive.run(20 - agoSeconds)
        drive.give(.metric("heap", .new, value: 1))
        // As after a restart.
        let text = drive.machine.json.bytes()
        let restored = try RolloutMachine(body: text)
        #expect(restored == drive.machine)
        drive.run(agoSeconds)
        #expect(drive.shares == (passes ? [10, 100] : [10]))
    }

    /// The first look is due at the beginning, and may take its time.
    @Test func aSlowMetricHoldsNoShortStep() {
        var drive = Drive(
            shortPolicy {
                Self.read(&$0, "heap", everyMs: 60_000)
                $0.intervalMs = 10_000
            })
        drive.start()
        drive.run(10)
        #expect(drive.shares == [10, 100])
    }

    // MARK: Shadow

    @Test(arguments: [(4, RolloutPhase.running), (30, .failed)] as [(UInt64, RolloutPhase)])
    func mirroredTrafficComesFirst(differing: UInt64, phase: RolloutPhase) {
        var drive = Drive(shortPolicy { $0.shadow = ShadowGate() })
        drive.start()
        #expect(drive.phase == .shadowing && drive.shares == [])
        var counts = ShadowCounts()
        counts.compared = 250
        counts.differing = differing / 2
        counts.comparedOld = 100
        counts.differingOld = 1
        drive.give(.shadow(counts))
        #expect(drive.phase == .shadowing)
        drive.give(.shadow(counts))
        #expect(drive.phase == phase)
        #expect(drive.rollbacks.isEmpty)
    }

    @Test func tooLittleMirroredTraffic() {
        var drive = Drive(shortPolicy { $0.shadow = ShadowGate() })
        drive.start()
        drive.run(601)
        #expect(drive.phase == .shadowing && drive.told.last == .inconclusive)
        drive.give(.operate(.abort, who: "anna"))
        #expect(drive.phase == .aborted && drive.rollbacks.isEmpty)
    }

    // MARK: Operators

    @Test func pauseAndResumeBeginTheStepAgain() {
        var drive = Drive(shortPolicy())
        drive.start()
        drive.run(15)
        drive.give(.operate(.pause, who: "anna"))
        drive.run(60)
        #expect(drive.phase == .paused && drive.shares == [10])
        drive.give(.operate(.resume, who: "anna"))
        drive.run(19)
        #expect(drive.phase == .running)
        drive.run(1)
        #expect(drive.shares == [10, 100])
    }

    @Test func abortIsOneSwitchBack() {
        var drive = Drive(shortPolicy())
        drive.start()
        drive.run(5)
        drive.give(.operate(.abort, who: "anna"))
        #expect(drive.rollbacks.map(\.text) == ["anna aborted it"])
        #expect(drive.phase == .aborted && drive.machine.percent == 0)
    }

    @Test func whatMakesNoSenseIsRefusedAndChangesNothing() {
        var drive = Drive(shortPolicy())
        #expect(drive.machine.refusal(of: .pause) == "the rollout is pending")
        drive.start()
        let before = drive.machine
        for verb in [OperatorVerb.resume, .approve] {
            #expect(drive.machine.refusal(of: verb) == "the rollout is running")
            drive.give(.operate(verb, who: "anna"))
        }
        #expect(drive.machine == before)
    }

    // MARK: Switches

    @Test func aRefusedStepIsAskedForAgainThenFrozen() {
        var drive = Drive(shortPolicy())
        drive.start()
        drive.acknowledges = false
        drive.run(20)
        for id in 0..<4 {
            drive.give(.refused(id: 2, why: "busy"))
            drive.run(1)
            #expect(drive.shares.count == 3 + id)
        }
        drive.give(.refused(id: 2, why: "busy"))
        #expect(drive.phase == .frozen && drive.machine.finding?.kind == .switchRefused && drive.machine.percent == 10)
    }

    @Test func aRefusedStartFails() {
        var drive = Drive(shortPolicy())
        drive.acknowledges = false
        drive.start()
        for _ in 0..<5 {
            drive.give(.refused(id: 1, why: "no such variant"))
            drive.run(1)
        }
        #expect(drive.phase == .failed && drive.rollbacks.isEmpty)
    }

    @Test(arguments: [RolloutPhase.paused, .frozen], [false, true])
    func whoIsHeldAsksForNoLargerShare(phase: RolloutPhase, isPromoted: Bool) {
        func hold(_ drive: inout Drive) {
            if phase == .paused { return drive.give(.operate(.pause, who: "anna")) }
            for _ in 0..<3 { drive.give(.dependency("db", nil, isGood: false)) }
        }
        for isRefusedFirst in [true, false] {
            var drive = Drive(shortPolicy())
            drive.start()
            drive.acknowledges = false
            if isPromoted { drive.give(.operate(.promote, who: "anna")) } else { drive.run(20) }
            #expect(drive.shares == [10, 100])
            if !isRefusedFirst { hold(&drive) }
            drive.give(.refused(id: 2, why: "busy"))
            if isRefusedFirst { hold(&drive) }
            #expect(drive.phase == phase && drive.machine.wantedPercent == nil && drive.machine.dueMs == nil)
            drive.run(60)
            #expect(drive.shares == [10, 100])
            // It goes on with the step anew.
            drive.acknowledges = true
            drive.give(.dependency("db", nil, isGood: true))
            drive.give(.operate(.resume, who: "anna"))
            drive.run(19)
            #expect(drive.phase == .running && drive.shares == [10, 100])
            drive.run(1)
            #expect(drive.shares == [10, 100, 100] && drive.phase == .baking)
        }
    }

    @Test func aFirstStepThatWasHeldIsAskedForAnew() {
        var drive = Drive(shortPolicy())
        drive.acknowledges = false
        drive.start()
        drive.give(.refused(id: 1, why: "busy"))
        drive.give(.operate(.pause, who: "anna"))
        drive.run(30)
        #expect(drive.shares == [10] && drive.phase == .paused)
        drive.acknowledges = true
        drive.give(.operate(.resume, who: "anna"))
        #expect(drive.shares == [10, 10] && drive.phase == .running)
    }

    @Test func aRefusedRollbackIsAskedForUntilItSucceeds() {
        var drive = Drive(shortPolicy())
        drive.start()
        drive.run(5)
        drive.acknowledges = false
        drive.run(1, new: seen(20, errors: 20))
        for _ in 0..<100 {
            drive.give(.refused(id: 2, why: "journal full"))
            drive.run(1)
        }
        #expect(drive.phase == .rollingBack && drive.rollbacks.count == 101)
        #expect(drive.told.filter { $0 == .refused }.count == 2, "told once a minute")
        drive.give(.switched(id: 2, revision: 9))
        #expect(drive.phase == .rolledBack)
    }

    @Test func anOldAcknowledgementDoesNotUndoARollback() {
        var drive = Drive(shortPolicy())
        drive.start()
        drive.run(15)
        drive.acknowledges = false
        drive.run(5)
        #expect(drive.shares == [10, 100])
        drive.run(1, new: seen(20, errors: 20))
        #expect(drive.phase == .rollingBack)
        drive.give(.switched(id: 2, revision: 2))
        #expect(drive.phase == .rollingBack)
        drive.give(.switched(id: 3, revision: 3))
        #expect(drive.phase == .rolledBack && drive.machine.percent == 0)
    }
}
