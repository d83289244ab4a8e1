import Health
import Testing

/// When each check is made: spread, jitter, bounds, and thousands of servers.
@Suite struct CheckRosterTests {
    /// splitmix64.
    struct Lots {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var x = state
            x = (x ^ (x >> 30)) &* 0xBF58_476D_1CE4_E5B9
            x = (x ^ (x >> 27)) &* 0x94D0_49BB_1331_11EB
            return x ^ (x >> 31)
        }
    }

    @Test func theEarliestComesFirstAndAgainAfterItsInterval() {
        var roster = CheckRoster(runningMax: 9)
        let timing = CheckTiming(intervalMs: 100)
        let a = roster.add(timing, CheckStanding(.assumed), dueMs: 30)
        let b = roster.add(timing, CheckStanding(.assumed), dueMs: 10)
        #expect(roster.dueMs == 10 && roster.takeDue(9) == nil)
        #expect(roster.takeDue(10) == b)
        #expect(roster.dueMs == 30 && roster.takeDue(29) == nil && roster.running == 1)
        #expect(roster.finish(b, passed: true, nowMs: 15, random: 0) == true)
        #expect(roster.finish(b, passed: true, nowMs: 15, random: 0) == nil, "it is not under way")
        #expect(roster.takeDue(200) == a)
        // From its beginning, however long it took; a late one is not made up for.
        #expect(roster.dueMs == 110)
        #expect(roster.takeDue(200) == b)
        #expect(roster.finish(b, passed: true, nowMs: 500, random: 0) == false)
        #expect(roster.dueMs == 500)
    }

    @Test func jitterIsAPartOfWhatIsSaid() {
        let timing = CheckTiming(intervalMs: 100, jitterMs: 9)
        let dues = Set((0..<1000).map { timing.next(after: 0, nowMs: 5, random: UInt64($0)) })
        #expect(dues == Set(100...109))
    }

    @Test func soManyAreUnderWayAtOnce() {
        var roster = CheckRoster(runningMax: 2)
        let handles = (0..<3).map { _ in roster.add(CheckTiming(), CheckStanding(.assumed), dueMs: 0) }
        let first = [roster.takeDue(0), roster.takeDue(0)].compactMap(\.self)
        #expect(first.count == 2 && roster.takeDue(0) == nil && roster.dueMs == nil)
        roster.postpone(first[0], nowMs: 0)
        #expect(roster.takeDue(0).map(handles.contains) == true)
        roster.remove(first[1])
        #expect(roster.running == 1 && roster.count == 2)
    }

    @Test func whatWasTakenOffIsNobodys() {
        var roster = CheckRoster(runningMax: 9)
        let old = roster.add(CheckTiming(), CheckStanding(.assumed), dueMs: 0)
        #expect(roster.takeDue(0) == old)
        roster.remove(old)
        let new = roster.add(CheckTiming(), CheckStanding(.waiting), dueMs: 0)
        #expect(new.index == old.index && new != old)
        #expect(roster.finish(old, passed: false, nowMs: 1, random: 0) == nil)
        #expect(roster.standing(old) == nil && roster.standing(new)?.state == .waiting)
        roster.remove(old)
        #expect(roster.count == 1)
    }

    @Test func aShorterIntervalCountsAtOnce() {
        var roster = CheckRoster(runningMax: 9)
        let check = roster.add(CheckTiming(intervalMs: 60_000), CheckStanding(.assumed), dueMs: 60_000)
        roster.change(check, CheckTiming(intervalMs: 1000), nowMs: 100)
        #expect((100...1100).contains(roster.dueMs ?? 0))
    }

    /// Ten thousand servers for a minute: each is asked once an interval, evenly, and the sick are told from the well.
    @Test func tenThousandServers() {
        let (count, intervalMs) = (10_000, Int64(5000))
        var roster = CheckRoster(runningMax: 512)
        let timing = CheckTiming(intervalMs: intervalMs, fails: 3, passes: 2)
        let handles = (0..<count).map { i in
            roster.add(timing, CheckStanding(.assumed), dueMs: timing.spread(UInt64(i) &* 0x9E37_79B9))
        }
        let places = Dictionary(uniqueKeysWithValues: handles.enumerated().map { ($0.element, $0.offset) })
        var lots = Lots(state: 7)
        var made = [Int](repeating: 0, count: count)
        var perSecond = [Int](repeating: 0, count: 60)
        /// By the time a check ends.
        var ends: [Int64: [CheckHandle]] = [:]
        var runningMost = 0
        for nowMs in Int64(0)..<60_000 {
            for handle in ends.removeValue(forKey: nowMs) ?? [] {
                // Every hundredth server is sick from 20 s to 40 s.
                let isSick = (places[handle] ?? 0) % 100 == 0 && (20_000..<40_000).contains(nowMs)
                #expect(roster.finish(handle, passed: !isSick, nowMs: nowMs, random: lots.next()) != nil)
            }
            while let handle = roster.takeDue(nowMs) {
                made[places[handle] ?? 0] += 1
                perSecond[Int(nowMs / 1000)] += 1
                ends[nowMs + 1 + Int64(lots.next() % 40), default: []].append(handle)
            }
            runningMost = max(runningMost, roster.running)
            if nowMs == 39_000 {
                for (i, handle) in handles.enumerated() { #expect(roster.standing(handle)?.state == (i % 100 == 0 ? .failing : .passing)) }
            }
        }
        #expect(made.allSatisfy { $0 == 12 })
        // 2000 a second; the spread is by chance.
        #expect(perSecond.allSatisfy { (1800...2200).contains($0) }, "\(perSecond)")
        #expect(runningMost < 120)
        for handle in handles { #expect(roster.standing(handle)?.state == .passing) }
        for (i, handle) in handles.enumerated() { #expect(roster.standing(handle)?.falls == (i % 100 == 0 ? 1 : 0)) }
    }

    /// Against a plain list: adding, removing, taking and ending in any order.
    @Test(arguments: 1...20)
    func theHeapKeepsOrder(_ seed: Int) {
        var lots = Lots(state: UInt64(seed))
        var roster = CheckRoster(runningMax: 1000)
        let timing = CheckTiming(intervalMs: 50, jitterMs: 30)
        var due: [CheckHandle: Int64] = [:]
        var under: [CheckHandle: Int64] = [:]
        var nowMs: Int64 = 0
        for _ in 0..<2000 {
            nowMs += Int64(lots.next() % 3)
            switch lots.next() % 4 {
            case 0:
                let dueMs = nowMs + Int64(lots.next() % 100)
                due[roster.add(timing, CheckStanding(.assumed), dueMs: dueMs)] = dueMs
            case 1:
                guard let handle = due.keys.min(by: { $0.index < $1.index }) else { continue }
                due[handle] = nil
                roster.remove(handle)
            case 2:
                guard let handle = roster.takeDue(nowMs) else {
                    #expect(due.values.allSatisfy { $0 > nowMs })
                    continue
                }
                #expect(due[handle] == due.values.min())
                due[handle] = nil
                under[handle] = nowMs
            default:
                guard let (handle, beganMs) = under.min(by: { $0.key.index < $1.key.index }) else { continue }
                under[handle] = nil
                let random = lots.next()
                #expect(roster.finish(handle, passed: true, nowMs: nowMs, random: random) != nil)
                due[handle] = timing.next(after: beganMs, nowMs: nowMs, random: random)
            }
            #expect(roster.dueMs == due.values.min())
            #expect(roster.count == due.count + under.count && roster.running == under.count)
        }
    }
}
