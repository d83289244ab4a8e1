@testable import Balancing
import Synchronization
import Testing

/// Who is ejected, for how long, and who never is.
@Suite struct OutlierTests {
    static func policy(_ change: (inout OutlierPolicy) -> Void = { _ in }) -> HealthPolicy {
        var health = HealthPolicy()
        var outliers = OutlierPolicy()
        change(&outliers)
        health.outliers = outliers
        return health
    }

    /// Ends `count` exchanges with a peer, whoever had been picked.
    @discardableResult
    static func end(
        _ balancer: inout Balancer, _ peer: Int32, _ count: Int, isError: Bool = false, latencyMs: Int64 = 5, _ nowMs: Int64
    ) -> [Ejection] {
        (0..<count).compactMap { _ in
            balancer.release(peer, outcome: .succeeded, nowMs: nowMs, report: PeerReport(isError: isError, latencyMs: latencyMs))
        }
    }

    static func judge(_ balancer: inout Balancer, _ nowMs: Int64) -> [Ejection] {
        var all: [Ejection] = []
        balancer.judge(nowMs) { all.append($0) }
        return all
    }

    @Test(arguments: [3, 60])
    func errorsOneBehindTheOtherEject(_ count: Int) {
        let specs = HealthTests.specs(count)
        var balancer = Balancer(.roundRobin, peers: specs, health: Self.policy())
        #expect(Self.end(&balancer, 1, 4, isError: true, 1000).isEmpty)
        #expect(Self.end(&balancer, 1, 1, 1000).isEmpty, "a success begins the count anew")
        #expect(Self.end(&balancer, 1, 4, isError: true, 1000).isEmpty)
        let last = balancer.release(1, outcome: .failed, nowMs: 1000, report: PeerReport())
        #expect(last == Ejection(peer: 1, reason: .consecutiveErrors, durationMs: 30_000))
        #expect(specs[1].counters.ejectedUntilMs(nowMs: 1000) == 31_000)
        #expect(specs[1].counters.pool.ejections == 1)
        #expect(Self.end(&balancer, 1, 20, isError: true, 1000).isEmpty, "what was on its way has been judged")
        #expect(!HealthTests.takers(&balancer, 3 * count, 31_000).contains(1))
        #expect(HealthTests.takers(&balancer, 3 * count, 31_001).contains(1))
        #expect(specs[1].counters.ejectedUntilMs(nowMs: 31_001) == nil)
    }

    @Test func neitherSaysNothing() {
        var balancer = Balancer(.roundRobin, peers: HealthTests.specs(2), health: Self.policy())
        for _ in 0..<50 { #expect(balancer.release(0, outcome: .neither, nowMs: 1, report: PeerReport(isError: true)) == nil) }
    }

    /// No failure, but five of them are too many.
    @Test func answersThatBreakOffCountHereAlone() {
        var balancer = Balancer(.roundRobin, peers: HealthTests.specs(2), health: Self.policy())
        for _ in 0..<4 { #expect(balancer.release(0, outcome: .cut, nowMs: 1, report: PeerReport()) == nil) }
        #expect(Set(HealthTests.takers(&balancer, 4, 1)) == [0, 1])
        #expect(balancer.release(0, outcome: .cut, nowMs: 1, report: PeerReport())?.reason == .consecutiveErrors)
    }

    @Test func withoutAPolicyNobodyIsEjected() {
        var balancer = Balancer(.roundRobin, peers: HealthTests.specs(2))
        #expect(Self.end(&balancer, 0, 100, isError: true, 1).isEmpty)
        let isDue = balancer.isRoundDue(1_000_000)
        #expect(!isDue)
    }

    @Test func ejectionsGrowAndAreForgiven() {
        let specs = HealthTests.specs(4)
        var balancer = Balancer(.roundRobin, peers: specs, health: Self.policy { $0.ejectionMsMax = 70_000 })
        var nowMs: Int64 = 1000
        #expect(Self.judge(&balancer, nowMs).isEmpty)
        for durationMs: Int64 in [30_000, 60_000, 70_000] {
            #expect(Self.end(&balancer, 0, 5, isError: true, nowMs).first?.durationMs == durationMs)
            nowMs += durationMs + 1
            #expect(Self.judge(&balancer, nowMs).isEmpty)
        }
        for _ in 0..<2 {
            Self.end(&balancer, 0, 30, nowMs)
            nowMs += 5_000
            #expect(Self.judge(&balancer, nowMs).isEmpty)
        }
        #expect(Self.end(&balancer, 0, 5, isError: true, nowMs).first?.durationMs == 60_000, "two of three are forgiven")
    }

    /// Of peers that all fail: how many are ejected.
    @Test(arguments: [(10, 50, 5), (10, 100, 9), (10, 1, 1), (10, 0, 0), (3, 50, 1), (2, 50, 1), (2, 100, 1), (60, 10, 6)])
    func noMoreThanAShareAndNeverTheLast(_ count: Int, _ percent: Int, _ ejected: Int) {
        let specs = HealthTests.specs(count)
        var policy = Self.policy { $0.ejectedPercentMax = percent }
        policy.panicPercent = 0
        var one = Balancer(.roundRobin, peers: specs, health: policy)
        var other = Balancer(.roundRobin, peers: specs, health: policy)
        var all = 0
        for peer in 0..<Int32(count) {
            all += Self.end(&one, peer, 3, isError: true, 1000).count
            all += Self.end(&other, peer, 17, isError: true, 1000).count
        }
        #expect(all == ejected)
        #expect(specs.count { $0.counters.ejectedUntilMs(nowMs: 1000) != nil } == ejected)
        #expect(Set(HealthTests.takers(&other, 4 * count, 1000)).count == count - ejected)
    }

    @Test func aBackupIsSomebodyElseAndIsNotEjected() {
        let specs = HealthTests.specs(2) { i, spec in spec.isBackup = i == 1 }
        var balancer = Balancer(.roundRobin, peers: specs, health: Self.policy())
        #expect(Self.end(&balancer, 0, 5, isError: true, 1000).count == 1)
        #expect(Set(HealthTests.takers(&balancer, 5, 1000)) == [1])
        #expect(Self.end(&balancer, 1, 50, isError: true, 1000).isEmpty)
        specs[1].counters.setHealth(.unhealthy, nowMs: 1000)
        #expect(Set(HealthTests.takers(&balancer, 5, 2000)) == [0], "with the backup sick there is nobody but the ejected")
    }

    @Test func whoIsLeftAfterFailuresIsNotEjected() {
        let specs = HealthTests.specs(2)
        var balancer = Balancer(.roundRobin, peers: specs, health: Self.policy())
        balancer.release(1, outcome: .failed, nowMs: 20_000)
        #expect(Self.end(&balancer, 0, 50, isError: true, 20_000).isEmpty)
        // The other way round: the second fails while the first is ejected. Then the first has to do.
        #expect(Self.end(&balancer, 0, 5, isError: true, 40_000).count == 1)
        balancer.release(1, outcome: .failed, nowMs: 40_000)
        #expect(Set(HealthTests.takers(&balancer, 6, 40_001)) == [0])
        let isPanicking = balancer.isPanicking
        #expect(isPanicking)
    }

    @Test func aPeerAloneIsNeverEjected() {
        var balancer = Balancer(.roundRobin, peers: HealthTests.specs(1), health: Self.policy())
        #expect(Self.end(&balancer, 0, 100, isError: true, 1).isEmpty)
        #expect(HealthTests.takers(&balancer, 3, 2) == [0, 0, 0])
    }

    struct Case: Sendable, CustomTestStringConvertible {
        var name: String
        /// Requests, errors and milliseconds of each peer in the round.
        var peers: [(requests: Int, errors: Int, ms: Int64)]
        var ejected: [Int32] = []
        var reason = Ejection.Reason.errorRatio
        var testDescription: String { name }
    }

    static let cases = [
        Case(name: "all well", peers: [(50, 0, 5), (50, 1, 5), (50, 0, 5)]),
        Case(name: "half are errors", peers: [(50, 25, 5), (50, 0, 5), (50, 1, 5)], ejected: [0]),
        Case(name: "below the share", peers: [(50, 24, 5), (50, 0, 5), (50, 1, 5)]),
        Case(name: "too few to say", peers: [(19, 19, 5), (50, 0, 5), (50, 1, 5)]),
        Case(name: "all alike: the cause is elsewhere", peers: [(50, 40, 5), (50, 40, 5), (50, 45, 5)]),
        Case(name: "one of them worse, but all bad", peers: [(50, 50, 5), (50, 30, 5), (50, 30, 5)]),
        Case(name: "slow", peers: [(50, 0, 90), (50, 0, 20), (50, 0, 22)], ejected: [0], reason: .latency),
        Case(name: "slower by little", peers: [(50, 0, 50), (50, 0, 20), (50, 0, 22)]),
        Case(name: "three times nothing is nothing", peers: [(50, 0, 12), (50, 0, 1), (50, 0, 1)]),
        Case(name: "all slow", peers: [(50, 0, 900), (50, 0, 1000), (50, 0, 800)]),
        Case(name: "slow, with siblings that nobody asks", peers: [(50, 0, 900), (5, 0, 1), (5, 0, 1)]),
        Case(name: "two of four slow", peers: [(50, 0, 900), (50, 0, 900), (50, 0, 20), (50, 0, 20)], ejected: [0, 1], reason: .latency),
    ]

    @Test(arguments: cases)
    func aRoundJudges(_ story: Case) {
        let specs = HealthTests.specs(story.peers.count)
        let policy = Self.policy { ($0.consecutiveErrors, $0.latencyPercent) = (0, 300) }
        var balancer = Balancer(.roundRobin, peers: specs, health: policy)
        #expect(Self.judge(&balancer, 1000).isEmpty)
        for (i, peer) in story.peers.enumerated() {
            Self.end(&balancer, Int32(i), peer.requests - peer.errors, latencyMs: peer.ms, 2000)
            Self.end(&balancer, Int32(i), peer.errors, isError: true, 2000)
        }
        var isDue = balancer.isRoundDue(5999)
        #expect(!isDue)
        isDue = balancer.isRoundDue(6000)
        #expect(isDue)
        let ejections = Self.judge(&balancer, 6000)
        #expect(ejections.map(\.peer) == story.ejected)
        #expect(ejections.allSatisfy { $0.reason == story.reason && $0.durationMs == 30_000 })
        #expect(Self.judge(&balancer, 6000).isEmpty, "one round an interval")
        #expect(Self.judge(&balancer, 11_000).isEmpty, "what was judged is forgotten")
    }

    @Test func fewRequestsAreJudgedWhenThereAreEnough() {
        let specs = HealthTests.specs(3)
        var balancer = Balancer(.roundRobin, peers: specs, health: Self.policy { $0.consecutiveErrors = 0 })
        var nowMs: Int64 = 0
        var ejected: [Ejection] = []
        for _ in 0..<5 {
            nowMs += 5_000
            ejected += Self.judge(&balancer, nowMs)
            Self.end(&balancer, 2, 5, isError: true, nowMs)
        }
        #expect(ejected.map(\.peer) == [2] || Self.judge(&balancer, nowMs + 5_000).map(\.peer) == [2])
    }

    @Test func logarithmsAreGoodEnough() {
        for n in [1, 2, 3, 5, 10, 100, 255, 256, 257, 1000, 12_345, 1 << 40] {
            let back = Logarithm.number(Logarithm.of(n))
            #expect(back <= n && back * 257 >= n * 255)
        }
        #expect(Logarithm.of(300) - Logarithm.of(100) > 380 && Logarithm.of(300) - Logarithm.of(100) < 430)
    }

    /// Of all workers, as in one process.
    final class Clock: Sendable {
        let ticks = Atomic<Int64>(0)
    }

    /// Workers at once, whose clocks differ by what they sleep, under failures of all kinds.
    @Test(arguments: [6, 60])
    func threadsAlwaysFindSomebody(_ count: Int) async {
        let specs = HealthTests.specs(count)
        let health = Self.policy { ($0.ejectedPercentMax, $0.ejectionMs, $0.intervalMs, $0.ejectionMsMax) = (50, 5, 2, 40) }
        let clock = Clock()
        let excess = await withTaskGroup(of: Int.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    var balancer = Balancer(.leastConn, peers: specs, health: health)
                    var random = RandomSequence(state: UInt64(worker))
                    var excess = 0
                    for _ in 0..<4_000 {
                        let nowMs = clock.ticks.wrappingAdd(1, ordering: .relaxed).newValue / 40
                        guard case .peer(let peer, _) = HealthTests.pick(&balancer, nowMs) else {
                            excess += 1
                            continue
                        }
                        _ = balancer.release(
                            peer, outcome: .succeeded, nowMs: nowMs, report: PeerReport(isError: random.next(below: 3) > 0, latencyMs: 3))
                        var tally = 0
                        balancer.judge(nowMs) { _ in tally += 1 }
                    }
                    return excess
                }
            }
            return await group.reduce(0, +)
        }
        #expect(excess == 0, "there is always somebody left")
        #expect(specs[0].counters.pool.ejections > 10)
        #expect(specs.allSatisfy { $0.counters.active == 0 })
    }
}
