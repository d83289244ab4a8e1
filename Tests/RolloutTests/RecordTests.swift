import AdminAPI
import RolloutSimulation
import Testing

@testable import Rollout

@Suite("rollout: state, record, replay")
struct RecordTests {
    static let events: [RolloutEvent] = [
        .start, .tick(Observations(old: seen(5, errors: 1), new: seen(2))), .tick(Observations()), .check(.old, isGood: true),
        .dependency("db", nil, isGood: false), .dependency("db", .new, isGood: true), .metric("rss", .old, value: 1.5e9),
        .wayBack(isGood: false), .shadow(ShadowCounts()), .switched(id: 4, revision: 99), .refused(id: 5, why: "\"busy\""),
        .operate(.promote, who: "anna"),
    ]

    @Test(arguments: events) func eventsAreReadBack(event: RolloutEvent) throws {
        #expect(try RolloutEvent(body: event.json.bytes(pretty: false)) == event)
    }

    @Test func aStateIsReadBackEqualAtEveryMoment() throws {
        var drive = Drive(
            shortPolicy {
                $0.shadow = ShadowGate()
                $0.guards.metrics = [MetricLimit(name: "rss", max: 1e9)]
            })
        func check() throws {
            let text = drive.machine.json.bytes(pretty: false)
            #expect(try RolloutMachine(body: text) == drive.machine)
        }
        try check()
        drive.start()
        try check()
        var counts = ShadowCounts()
        counts.compared = 600
        drive.give(.shadow(counts))
        for event in Self.events where event != .start {
            drive.give(event)
            drive.run(2)
            try check()
        }
        drive.run(3, new: seen(20, errors: 20))
        try check()
        #expect(drive.phase == .frozen, "the way back is sick")
    }

    @Test func aRestartAsksAgainForWhatIsPending() throws {
        var drive = Drive(shortPolicy())
        drive.acknowledges = false
        drive.start()
        var restored = try RolloutMachine(body: drive.machine.json.bytes())
        #expect(restored.resumeAfterRestart(atMs: drive.nowMs + 5_000).contains(.setShare(percent: 10, id: 1)))
        #expect(restored.resumeAfterRestart(atMs: drive.nowMs - 5_000).contains(.setShare(percent: 10, id: 1)))
    }

    /// Whatever is wrong with a stored state is a problem with a place, not a crash.
    @Test func damagedStatesAreRefused() throws {
        var drive = Drive(shortPolicy())
        drive.start()
        drive.run(5)
        guard case .object(let members) = drive.machine.json else { return }
        for (i, member) in members.enumerated() {
            for wrong in [JSON.null, .string("x"), .integer(-9), .integer(.max), .array([.integer(1)]), .number(1e300)] {
                var damaged = members
                damaged[i].value = wrong
                // Some are right by chance; none may end the process, nor may what is read.
                if var machine = try? RolloutMachine(json: .object(damaged)) {
                    _ = machine.handle(.tick(Observations(old: seen(9), new: seen(9))), atMs: drive.nowMs + 1)
                }
            }
            var without = members
            without.remove(at: i)
            if let found = problem({ () throws(Problem) in try RolloutMachine(json: .object(without)) }) {
                #expect(found.pointer == "/" + member.name)
            }
        }
    }

    @Test func aRecordTellsTheWholeStoryAndIsReadBack() throws {
        var drive = GuardTests.running()
        drive.run(1, new: seen(20, errors: 20))
        let record = drive.record
        #expect(try RolloutRecord(body: record.json.bytes(pretty: false)) == record)
        #expect(record.entries.map(\.kind) == [.started, .step, .rollingBack, .rolledBack])
        #expect(record.entries.last?.finding == .errorRatio)
    }

    @Test func ticksOfASecondAreOneAndLongRecordsBecomeCoarser() {
        var record = RolloutRecord(plan: RolloutPlan(number: 1, split: "s", old: "o", new: "n", policy: shortPolicy()))
        for i in 0..<100 as Range<Int64> { record.append(.tick(Observations(old: seen(1))), atMs: i * 100, []) }
        #expect(record.lines.count == 10)
        for i in 10..<20_000 as Range<Int64> { record.append(.tick(Observations(old: seen(1))), atMs: i * 1_000, []) }
        #expect(record.lines.count <= RolloutRecord.linesMax)
        var requests: UInt64 = 0
        for case .event(.tick(let seen), _) in record.lines { requests += seen.old.finished }
        #expect(requests == 100 + 19_990)
    }

    /// As when it waits over a weekend for somebody's approval, or a switch back is refused all night.
    @Test func recordsOfLooksAndOfRefusalsAreBoundedToo() {
        var record = RolloutRecord(plan: RolloutPlan(number: 1, split: "s", old: "o", new: "n", policy: shortPolicy()))
        let entry = RolloutEntry(atMs: 0, kind: .started, phase: .running, percent: 10, text: "started", figures: [], finding: nil)
        record.append(.start, atMs: 0, [.record(entry)])
        var most = 0
        var shorter = 0
        for i in 1..<60_000 as Range<Int64> {
            for side in Side.allCases {
                let before = record.lines.count
                record.append(.check(side, isGood: i % 9 > 0), atMs: i * 5_000, [])
                if record.lines.count < before { shorter += 1 }
            }
            record.append(.dependency("db", nil, isGood: true), atMs: i * 5_000, [])
            record.append(.metric("rss", .new, value: 1), atMs: i * 5_000, [])
            record.append(.tick(Observations(old: seen(1))), atMs: i * 5_000, [])
            if i % 7 == 0 { record.append(.refused(id: 1, why: "no room"), atMs: i * 5_000, []) }
            most = max(most, record.lines.count)
        }
        #expect(most <= RolloutRecord.linesMax)
        // The whole record is written anew then.
        #expect(shorter < 300)
        #expect(record.entries == [entry])
        var requests: UInt64 = 0
        for case .event(.tick(let seen), _) in record.lines { requests += seen.old.finished }
        #expect(requests == 59_999)
        for i in 0..<20_000 as Range<Int64> { record.append(.wayBack(isGood: i % 2 == 0), atMs: 400_000_000 + i, [.record(entry)]) }
        #expect(record.lines.count <= RolloutRecord.linesMax && record.lines.first == .event(.start, atMs: 0))
    }

    // MARK: Replay

    @Test func theSamePolicyDoesTheSame() throws {
        var drive = GuardTests.running()
        drive.run(1, new: seen(20, errors: 20))
        let replay = try drive.record.replay(drive.machine.plan.policy)
        #expect(replay.phase == .rolledBack && replay.finding == drive.machine.finding)
        #expect(replay.entries == drive.record.entries)
        #expect(replay.newErrors == 20)
    }

    @Test func anotherPolicyWouldHaveBeenQuickerOrBlind() throws {
        var drive = GuardTests.running {
            $0.guards.errorRatioMax = nil
            $0.guards.errorRiseMax = nil
        }
        drive.run(60, new: seen(20, errors: 1))
        #expect(drive.rollbacks.map(\.kind) == [.errorTest])
        let endMs = drive.nowMs
        var strict = drive.machine.plan.policy
        strict.guards.errorRatioMax = 0.005
        let quicker = try drive.record.replay(strict)
        #expect(quicker.phase == .rolledBack && quicker.finding?.kind == .errorRatio)
        #expect((quicker.endedAtMs ?? .max) < endMs)
        #expect(quicker.summary.hasPrefix("rolled_back after 2"), "\(quicker.summary)")
        var blind = drive.machine.plan.policy
        blind.errorClasses = [.connect]
        let slower = try drive.record.replay(blind)
        #expect(slower.phase == .running && slower.endedAtMs == nil)
        #expect(slower.summary.hasPrefix("the record ends after"), "\(slower.summary)")
        blind.steps = [5]
        #expect(problem { () throws(Problem) in try drive.record.replay(blind) }?.pointer == "/steps/0")
    }
}
