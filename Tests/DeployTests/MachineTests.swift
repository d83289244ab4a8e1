// Tests the decisions of a deploy: what follows what, what is undone and when not, and that its entries alone make it again.

import AdminAPI
import Deploy
import Testing

@Suite("deploy machine")
struct MachineTests {
    /// What is done, in letters; each step is `name` and undone as `-name`.
    final class World {
        var machine: DeployMachine
        var entries: [DeployEntry] = []
        var log: [String] = []
        var nowMs: Int64 = 1000
        /// What a step answers, by its title; the others succeed. Undoing is asked for as `-title`.
        var answers: [String: [DeployEvent]] = [:]
        var found: [String: Found] = [:]
        /// Stops in the middle: after so many actions.
        var actionsMax = 10_000

        init(_ machine: DeployMachine) { self.machine = machine }

        private func answer(_ name: String) -> DeployEvent {
            log.append(name)
            guard let list = answers[name], let first = list.first else { return .succeeded(nil) }
            if list.count > 1 { answers[name] = Array(list.dropFirst()) }
            return first
        }

        func run(_ first: DeployEvent = .start) {
            var events = [first]
            while let event = events.first {
                events.removeFirst()
                for action in machine.handle(event, atMs: nowMs) {
                    actionsMax -= 1
                    if actionsMax < 0 { return }
                    switch action {
                    case .record(let entry): entries.append(entry)
                    case .perform(let step): events.append(answer(machine.record.steps[step].title))
                    case .undo(let step, let part):
                        events.append(answer("-\(machine.record.steps[step].title)" + (part == 0 ? "" : "\(part)")))
                    case .inspect(let step): events.append(.found(found[machine.record.steps[step].title] ?? .unknown))
                    case .ask(let step):
                        events.append(answers["?\(machine.record.steps[step].title)"]?.first ?? .approved(who: "ann"))
                    case .wake(let atMs):
                        nowMs = atMs
                        events.append(.tick)
                    }
                }
            }
        }

        var outcome: DeployOutcome? { if case .ended(let outcome) = machine.phase { outcome } else { nil } }
    }

    static func step(
        _ name: String, _ stage: Stage = .start, undo: Int = 1, batch: Int? = nil, _ change: (inout DeployStep) -> Void = { _ in }
    )
        -> DeployStep
    {
        var step = DeployStep(stage, name, .pause(ms: 1))
        step.undo = Array(repeating: .pause(ms: 1), count: undo)
        step.batch = batch
        change(&step)
        return step
    }

    static func world(_ steps: [DeployStep], _ change: (inout DeployRecord) -> Void = { _ in }) -> World {
        var record = DeployRecord(number: 1)
        record.steps = steps
        record.batches = Set(steps.compactMap(\.batch)).count
        change(&record)
        return World(DeployMachine(record))
    }

    static let abc = [step("a"), step("b", undo: 0), step("c"), step("d", .drain, undo: 0)]
    static func failure(_ text: String = "no") -> DeployEvent { .failed(text, isFinal: true) }

    @Test func stepsFollowEachOther() {
        let world = Self.world(Self.abc)
        world.run()
        #expect(world.log == ["a", "b", "c", "d"])
        #expect(world.outcome == .done)
    }

    @Test func aFailureUndoesEverythingBeforeItBackwards() {
        let world = Self.world(Self.abc)
        world.answers["c"] = [Self.failure()]
        world.run()
        #expect(world.log == ["a", "b", "c", "-c", "-a"], "what failed may have begun something")
        #expect(world.outcome == .undone)
        #expect(world.machine.why == "c: no")
    }

    @Test func tidyingUndoesNothing() {
        let world = Self.world(Self.abc)
        world.answers["d"] = [Self.failure()]
        world.run()
        #expect(world.log == ["a", "b", "c", "d"])
        #expect(world.outcome == .incomplete)
    }

    @Test func anUndoingInVainDoesNotStopTheOthers() {
        let world = Self.world(Self.abc)
        world.answers = ["c": [Self.failure()], "-c": [Self.failure("never")]]
        world.run()
        #expect(world.log == ["a", "b", "c", "-c", "-a"])
        #expect(world.outcome == .stuck)
        #expect(world.machine.leftovers == ["not undone: c"])
    }

    /// The old replica did not come back: requests to its address would fail.
    @Test func whatDidNotComeBackGetsNoRequests() {
        let steps = [
            Self.step("m"), Self.step("out a", .replace, batch: 0) { $0.undoNeeds = 3 },
            Self.step("out b", .replace, batch: 0) { $0.undoNeeds = 4 },
            Self.step("stop a", .replace, batch: 0), Self.step("stop b", .replace, batch: 0), Self.step("start", .replace, batch: 0),
        ]
        let world = Self.world(steps)
        world.answers = ["start": [Self.failure()], "-stop a": [Self.failure("dead")]]
        world.run()
        #expect(world.log.suffix(5) == ["-start", "-stop b", "-stop a", "-out b", "-m"])
        #expect(world.outcome == .stuck)
        #expect(world.machine.leftovers == ["not undone: out a", "not undone: stop a"])
        #expect(world.entries.contains { $0.kind == .undoFailed && $0.step == 1 && $0.text.contains("stop a") })
    }

    /// Its last requests may be in flight still, and it may have all the others again.
    @Test func whatCouldNotBeDrainedIsNotStopped() {
        func drain(_ service: String) -> DeployStep { Self.step("drain \(service)", .drain, undo: 0) { $0.service = service } }
        func stop(_ service: String) -> DeployStep { Self.step("stop \(service)", .stop, undo: 0) { $0.service = service } }
        let world = Self.world([Self.step("a"), drain("x"), drain("y"), stop("x"), stop("y")])
        world.answers["drain x"] = [Self.failure("it has traffic")]
        world.run()
        #expect(world.log == ["a", "drain x", "drain y", "stop y"])
        #expect(world.outcome == .incomplete)
        #expect(world.machine.why == "stop x: it is left running: drain x: it has traffic")
    }

    @Test func whatRequestsStandOnIsLeftStanding() {
        let steps = [
            Self.step("start"), Self.step("switch", .switch) { $0.carriesTraffic = true }, Self.step("verify", .verify, undo: 0),
        ]
        let world = Self.world(steps)
        world.answers = ["verify": [Self.failure()], "-switch": [Self.failure("no proxy")]]
        world.run()
        #expect(
            world.log == ["start", "switch", "verify", "-switch"], "the new version keeps running: it may have all the traffic")
        #expect(world.outcome == .stuck)
    }

    @Test func undoingHasParts() {
        let world = Self.world([Self.step("a", undo: 3), Self.step("b", undo: 0)])
        world.answers = ["b": [Self.failure()], "-a1": [Self.failure()]]
        world.run()
        #expect(world.log == ["a", "b", "-a", "-a1"], "a part builds on the one before it")
        #expect(world.outcome == .stuck)
    }

    // MARK: Rhythms

    static func probe(_ rhythm: Rhythm) -> [DeployStep] {
        [DeployStep(.health, "p", .probe(ProbeWork(checks: [], rhythm: rhythm)))]
    }
    static let miss = DeployEvent.failed("miss", isFinal: false)

    @Test(
        arguments: [
            // Five tries, two seconds apart: the fifth is the last.
            (Rhythm(tries: 5, intervalMs: 2000), [MachineTests.miss], 5, DeployOutcome.undone, 8000),
            (
                Rhythm(tries: 5, intervalMs: 2000),
                [MachineTests.miss, MachineTests.miss, MachineTests.miss, MachineTests.miss, .succeeded(nil)], 5, .done, 8000
            ),
            (Rhythm(tries: 5, intervalMs: 2000), [MachineTests.failure()], 1, .undone, 0),
            // Passes must come in a row.
            (
                Rhythm(tries: 2, intervalMs: 10, passes: 3),
                [.succeeded(nil), .succeeded(nil), MachineTests.miss, .succeeded(nil)], 6, .done, 50
            ),
            // A bake lasts its time, and bears single failures.
            (Rhythm(tries: 2, intervalMs: 10, durationMs: 50), [.succeeded(nil)], 6, .done, 50),
            (
                Rhythm(tries: 2, intervalMs: 10, durationMs: 50), [.succeeded(nil), MachineTests.miss, .succeeded(nil)], 6, .done,
                50
            ),
            (
                Rhythm(tries: 2, intervalMs: 10, durationMs: 50), [.succeeded(nil), MachineTests.miss, MachineTests.miss], 3,
                .undone, 20
            ),
            // Failures of the start period don't count.
            (Rhythm(tries: 2, intervalMs: 10, startPeriodMs: 45), [MachineTests.miss], 7, .undone, 60),
        ] as [(Rhythm, [DeployEvent], Int, DeployOutcome, Int64)])
    func probesAreRepeated(rhythm: Rhythm, answers: [DeployEvent], tries: Int, outcome: DeployOutcome, tookMs: Int64) {
        let world = Self.world(Self.probe(rhythm))
        world.answers["p"] = answers
        world.run()
        #expect(world.log.count == tries)
        #expect(world.outcome == outcome)
        #expect(world.nowMs - 1000 == tookMs)
    }

    // MARK: People

    @Test func aPersonIsAsked() {
        let steps = [Self.step("a"), Self.step("b") { $0.needsApproval = true }]
        let yes = Self.world(steps)
        yes.run()
        #expect(yes.log == ["a", "b"] && yes.outcome == .done)
        #expect(yes.entries.map(\.kind).contains(.asked) && yes.entries.first { $0.kind == .approved }?.who == "ann")
        let no = Self.world(steps)
        no.answers["?b"] = [.abort("rejected")]
        no.run()
        #expect(no.log == ["a", "-a"] && no.outcome == .undone && no.machine.why == "rejected")
    }

    // MARK: Batches

    static func batches(_ action: RollingPlan.FailureAction, ratio: Double = 0) -> World {
        var steps = [step("m", .migrate)]
        for i in 0..<3 { steps += [step("a\(i)", .replace, batch: i), step("b\(i)", .replace, batch: i)] }
        let world = world(steps) {
            $0.failureAction = action
            $0.failureRatioMax = ratio
        }
        world.answers["b1"] = [failure()]
        return world
    }

    @Test func aFailedBatchTakesEverythingBack() {
        let world = Self.batches(.rollback)
        world.run()
        #expect(world.log == ["m", "a0", "b0", "a1", "b1", "-b1", "-a1", "-b0", "-a0", "-m"])
        #expect(world.outcome == .undone)
    }

    @Test func aFailedBatchPauses() {
        let world = Self.batches(.pause)
        world.run()
        #expect(world.log == ["m", "a0", "b0", "a1", "b1", "-b1", "-a1"])
        #expect(world.machine.phase == .paused)
        world.answers = [:]
        world.log = []
        world.run()
        #expect(world.log == ["a1", "b1", "a2", "b2"], "the batch is tried again")
        #expect(world.outcome == .done)
    }

    @Test func aPausedDeployCanBeUndone() {
        let world = Self.batches(.pause)
        world.run()
        world.log = []
        world.run(.abort("no more"))
        #expect(world.log == ["-b0", "-a0", "-m"])
        #expect(world.outcome == .undone)
    }

    @Test func aFailedBatchIsLeftAlone() {
        let world = Self.batches(.continue, ratio: 0.34)
        world.run()
        #expect(world.log == ["m", "a0", "b0", "a1", "b1", "-b1", "-a1", "a2", "b2"])
        #expect(world.outcome == .incomplete)
        let strict = Self.batches(.continue, ratio: 0.3)
        strict.run()
        #expect(strict.log.last == "-m")
        #expect(strict.outcome == .undone)
    }

    /// Control-C while the old version drains changes nothing; a word to undo it does, until the old version is stopped.
    @Test func whatIsBeyondTheBakeIsTakenBackOnlyOnRequest() {
        let steps = [Self.step("a"), Self.step("d", .drain, undo: 0), Self.step("s", .stop, undo: 0)]
        for (actions, event, log, outcome) in [
            (5, .abort("no"), ["d", "s"], .done), (5, .revoke("no"), ["-a"], .undone), (8, .abort("no"), ["s"], .done), (8, .revoke("no"), ["s"], .done),
        ] as [(Int, DeployEvent, [String], DeployOutcome)] {
            let first = Self.world(steps)
            first.actionsMax = actions
            first.run()
            let second = World(DeployMachine(first.machine.record, replaying: first.entries))
            second.found = ["d": .notDone, "s": .notDone]
            second.run(event)
            if second.outcome == nil { second.run() }
            #expect(second.log == log, "\(actions) \(event)")
            #expect(second.outcome == outcome, "\(actions) \(event)")
        }
    }

    // MARK: Crashes

    @Test func nobodyGuessesAboutACommandThatWasCutOff() {
        let steps = [Self.step("a"), Self.step("m", .migrate) { $0.isRepeatable = false }, Self.step("c")]
        for (found, log, outcome) in [
            (Found.done(nil), ["c"], DeployOutcome.done), (.notDone, ["m", "c"], .done), (.failed("x"), ["-m", "-a"], .undone),
            (.unknown, ["-m", "-a"], .undone),
        ] as [(Found, [String], DeployOutcome)] {
            let first = Self.world(steps)
            first.actionsMax = 5
            first.run()
            #expect(first.entries.last?.kind == .begun && first.entries.last?.step == 1)
            let second = World(DeployMachine(first.machine.record, replaying: first.entries))
            second.found["m"] = found
            second.run()
            #expect(second.log == log, "\(found)")
            #expect(second.outcome == outcome, "\(found)")
        }
    }

    /// Wherever a deploy is cut off, its entries make it again, it comes to the same end, and does nothing that was done.
    @Test(arguments: ["", "a1", "b1", "b2", "m", "end", "-b1"], [RollingPlan.FailureAction.rollback, .pause, .continue])
    func entriesMakeItAgain(broken: String, action: RollingPlan.FailureAction) {
        func fresh() -> World {
            let world = Self.batches(action, ratio: 0.5)
            world.answers = broken == "-b1" ? ["b2": [Self.failure()], "-b1": [Self.failure()]] : [broken: [Self.failure()]]
            return world
        }
        let whole = fresh()
        whole.run()
        for count in 1..<400 {
            let first = fresh()
            first.actionsMax = count
            first.run()
            if first.actionsMax >= 0 { break }
            let second = World(DeployMachine(first.machine.record, replaying: first.entries))
            second.answers = fresh().answers
            if second.machine.phase == .paused || second.machine.isEnded { continue }
            second.run()
            // The same entries in the end, but for the one that was begun twice.
            #expect(second.machine.phase == whole.machine.phase, "cut after \(count)")
            #expect(second.machine.progress.map(\.state) == whole.machine.progress.map(\.state), "cut after \(count)")
            #expect(World.tidied(first.entries + second.entries) == World.tidied(whole.entries), "cut after \(count)")
        }
    }

    /// Of another version, or damaged: what is not there is passed over.
    @Test func aJournalThatNamesWhatIsNotThereEndsNothing() {
        let record = Self.world(Self.abc).machine.record
        let entries = [DeployEntry.Kind.begun, .done, .turned, .undo, .undone, .resumed].flatMap { kind in
            [0, 2, 99].flatMap { step in
                [0, 1, 1 << 52].map { part in
                    var entry = DeployEntry(kind, atMs: 1, step: step)
                    entry.part = part
                    return entry
                }
            }
        }
        for first in entries {
            for second in entries {
                let world = World(DeployMachine(record, replaying: [DeployEntry(.begun, atMs: 0, step: 0), first, second]))
                world.run()
                #expect(world.machine.isEnded)
            }
        }
    }

    @Test func entriesAreReadBackAsTheyWereWritten() throws {
        let world = Self.batches(.continue, ratio: 0.5)
        world.run()
        for entry in world.entries { #expect(try DeployEntry(body: entry.json.bytes(pretty: false)) == entry) }
        var record = world.machine.record
        #expect(try DeployRecord(body: record.json.bytes()) == record)
        record.name = "web"
        #expect(record.mark == "deploy web 1", "as journals of before the id")
        record.id = "3f9c2a00"
        #expect(record.mark == "deploy web 1 (id 3f9c2a00)")
        #expect(try DeployRecord(body: record.json.bytes()) == record)
    }
}

extension MachineTests.World {
    /// Kinds and steps, each run of equal ones once.
    static func tidied(_ entries: [DeployEntry]) -> [String] {
        var out: [String] = []
        for entry in entries {
            let line = "\(entry.kind.rawValue) \(entry.step.map(String.init) ?? "") \(entry.part)"
            if out.last != line { out.append(line) }
        }
        return out
    }
}
