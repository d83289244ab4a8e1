// Owns what limit_req and limit_conn decide: the leaky bucket with a given clock, and the bounded table of states against a plain model.

import Balancing
import Testing

@Suite struct LimitTests {
    /// 2 requests a second.
    static func rate(_ perSecond: Int64 = 2000, burst: Int64 = 0, undelayed: Int64 = 0) -> RequestRate {
        RequestRate(perSecond: perSecond, burst: burst * 1000, undelayed: undelayed * 1000)
    }

    /// Requests at these times: `delay` in milliseconds, or -1 for one that is refused.
    static func run(_ rate: RequestRate, at times: [Int64]) -> [Int64] {
        var table = LimitTable(capacity: 4)
        return times.map { ms in
            switch table.judgeRequest(7, nowMs: ms, rate, counts: true) {
            case .within(let excess): rate.delayMs(excess: excess)
            case .over, .full: -1
            }
        }
    }

    @Test(
        "a key and its requests",
        arguments: [
            // Without a burst: one each half second, and what is refused does not count.
            (rate(), [0, 100, 499, 500, 600, 1000], [0, -1, -1, 0, -1, 0]),
            // Long after: as at the beginning.
            (rate(), [0, 1_000_000, 1_000_001], [0, 0, -1]),
            // Three above the rate wait, each behind the one before it.
            (rate(burst: 3), [0, 0, 0, 0, 0, 500, 500], [0, 500, 1000, 1500, -1, 1500, -1]),
            // Nobody waits.
            (rate(burst: 3, undelayed: 1_000_000), [0, 0, 0, 0, 0, 500, 500], [0, 0, 0, 0, -1, 0, -1]),
            // The first two above the rate do not wait.
            (rate(burst: 3, undelayed: 2), [0, 0, 0, 0, 0], [0, 0, 0, 500, -1]),
            // One a minute, rounded down to thousandths as nginx does.
            (rate(16, burst: 1), [0, 0, 62_499, 62_500], [0, 62_500, -1, 62_500]),
            // A clock that is a little behind another one's.
            (rate(burst: 1), [1000, 990, 980], [0, 500, -1]),
            // The largest numbers.
            (rate(.max, burst: 1_000_000), [0, 0, .max], [0, 0, 0]),
        ])
    func requests(rate: RequestRate, times: [Int64], wanted: [Int64]) {
        #expect(Self.run(rate, at: times) == wanted)
    }

    @Test func excessIsToldWhetherItPassesOrNot() {
        var table = LimitTable(capacity: 4)
        let rate = Self.rate(burst: 1)
        #expect(table.judgeRequest(1, nowMs: 0, rate, counts: true) == .within(0))
        #expect(table.judgeRequest(1, nowMs: 250, rate, counts: true) == .within(500))
        #expect(table.judgeRequest(1, nowMs: 250, rate, counts: true) == .over(1500))
        #expect(table.judgeRequest(2, nowMs: 250, rate, counts: true) == .within(0))
    }

    @Test func whatIsJudgedFirstAndCountedLaterCountsOnce() {
        var table = LimitTable(capacity: 4)
        let rate = Self.rate(burst: 2)
        #expect(table.judgeRequest(1, nowMs: 0, rate, counts: false) == .within(0))
        #expect(table.judgeRequest(1, nowMs: 0, rate, counts: false) == .within(0))
        #expect(table.countRequest(1, nowMs: 0, rate) == 0)
        #expect(table.countRequest(1, nowMs: 0, rate) == 1000)
        #expect(table.judgeRequest(1, nowMs: 0, rate, counts: false) == .within(2000))
        // Counted although it has lost its state meanwhile.
        #expect(table.countRequest(9, nowMs: 5, rate) == 0)
    }

    // MARK: The table

    @Test func theLeastRecentlyUsedStateMakesWay() {
        var table = LimitTable(capacity: 3)
        let rate = Self.rate()
        func judge(_ key: UInt64, _ ms: Int64) -> LimitTable.RequestVerdict { table.judgeRequest(key, nowMs: ms, rate, counts: true) }
        for key in 1...3 { #expect(judge(UInt64(key), 0) == .within(0)) }
        // 1 is used, so 2 goes for 4; then 2 is new and 3 goes.
        #expect(judge(1, 1) == .over(998))
        #expect(judge(4, 1) == .within(0))
        #expect(judge(2, 1) == .within(0))
        #expect(table.count == 3)
        #expect(judge(1, 1) == .over(998))
        #expect(judge(4, 1) == .over(1000))
        #expect(judge(3, 1) == .within(0))
    }

    @Test func connectionsAreCountedAndForgotten() {
        var table = LimitTable(capacity: 2)
        #expect(table.enterConnection(1, most: 2) == .entered)
        #expect(table.enterConnection(1, most: 2) == .entered)
        #expect(table.enterConnection(1, most: 2) == .tooMany)
        #expect(table.enterConnection(1, most: 3) == .entered)
        #expect(table.enterConnection(2, most: 1) == .entered)
        // Nobody who is there makes way.
        #expect(table.enterConnection(3, most: 1) == .full)
        #expect(table.connections(1) == 3)
        table.leaveConnection(3)
        table.leaveConnection(2)
        #expect(table.count == 1)
        #expect(table.enterConnection(3, most: 1) == .entered)
        for _ in 0..<3 { table.leaveConnection(1) }
        #expect(table.connections(1) == 0)
        #expect(table.count == 1)
    }

    /// A table held in plain arrays: keys, the most recently used last.
    private struct Model {
        var capacity: Int
        var order: [UInt64] = []
        var connections: [UInt64: UInt32] = [:]

        mutating func enter(_ key: UInt64, most: UInt32) -> LimitTable.ConnectionVerdict {
            if let at = order.firstIndex(of: key) {
                order.remove(at: at)
            } else if order.count == capacity {
                return .full
            }
            order.append(key)
            if connections[key, default: 0] >= most { return .tooMany }
            connections[key, default: 0] += 1
            return .entered
        }

        mutating func leave(_ key: UInt64) {
            guard let n = connections[key] else { return }
            connections[key] = n == 1 ? nil : n - 1
            if n == 1 { order.removeAll { $0 == key } }
        }
    }

    @Test(arguments: [1, 2, 5, 64, 1000])
    func manyKeysAgreeWithAPlainModel(capacity: Int) {
        var table = LimitTable(capacity: capacity)
        var model = Model(capacity: capacity)
        var state: UInt64 = 88_172_645_463_325_252
        func draw(_ n: Int) -> Int {
            state ^= state << 13
            state ^= state >> 7
            state ^= state << 17
            return Int(state % UInt64(n))
        }
        for _ in 0..<4000 {
            // Few low bits differ: chains are long.
            let key = UInt64(draw(2 * capacity + 1)) << 32 | UInt64(draw(3))
            if draw(5) < 3 {
                let most = UInt32(1 + draw(3))
                #expect(table.enterConnection(key, most: most) == model.enter(key, most: most))
            } else {
                table.leaveConnection(key)
                model.leave(key)
            }
            #expect(table.count == model.order.count)
            #expect(table.connections(key) == model.connections[key, default: 0])
        }
    }

    @Test func aStateTakesNoMoreThanItsShareOfAZone() {
        // nginx: about 16 thousand states in a megabyte.
        #expect(LimitTable.stateBytes <= 64)
    }
}
