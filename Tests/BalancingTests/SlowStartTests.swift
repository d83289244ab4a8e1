@testable import Balancing
import Testing

/// The share of a peer that starts slowly, as its start goes on.
@Suite struct SlowStartTests {
    static let slowMs: Int64 = 30_000

    /// The share, in percent of all, that peer 0 gets over some picks at one moment, each held for the time of `held` picks.
    static func share(_ balancer: inout Balancer, _ picks: Int, _ nowMs: Int64, held: Int = 0) -> Double {
        var open: [Int32] = []
        var mine = 0
        for _ in 0..<picks {
            guard case .peer(let peer, _) = HealthTests.pick(&balancer, nowMs) else { return -1 }
            if peer == 0 { mine += 1 }
            open.append(peer)
            if open.count > held { balancer.release(open.removeFirst(), outcome: .succeeded, nowMs: nowMs) }
        }
        for peer in open { balancer.release(peer, outcome: .succeeded, nowMs: nowMs) }
        return Double(mine) * 100 / Double(picks)
    }

    struct Form: Sendable, CustomTestStringConvertible {
        var algorithm: Algorithm
        var peers: Int
        var weight: Int
        var held: Int
        var testDescription: String { "\(algorithm), \(peers) peers, weight \(weight), \(held) held" }
    }

    static let forms = [
        Form(algorithm: .roundRobin, peers: 2, weight: 1, held: 0), Form(algorithm: .roundRobin, peers: 10, weight: 1, held: 0),
        Form(algorithm: .roundRobin, peers: 10, weight: 7, held: 0), Form(algorithm: .roundRobin, peers: 50, weight: 1, held: 0),
        Form(algorithm: .roundRobin, peers: 50, weight: 7, held: 0), Form(algorithm: .leastConn, peers: 4, weight: 1, held: 40),
        Form(algorithm: .leastConn, peers: 10, weight: 3, held: 200), Form(algorithm: .leastConn, peers: 50, weight: 1, held: 500),
    ]

    @Test(arguments: forms)
    func theShareGrowsFromNothing(_ form: Form) {
        let specs = HealthTests.specs(form.peers) { i, spec in
            spec.slowStartMs = Self.slowMs
            if i == 0 { spec.weight = form.weight }
        }
        let fair = Double(form.weight) * 100 / Double(form.peers - 1 + form.weight)
        var balancer = Balancer(form.algorithm, peers: specs)
        #expect(abs(Self.share(&balancer, 4000, 1000, held: form.held) - fair) < 0.2 * fair + 0.5)
        specs[0].counters.setHealth(.unhealthy, nowMs: 2000)
        #expect(Self.share(&balancer, 500, 3000, held: form.held) == 0)
        specs[0].counters.setHealth(.healthy, nowMs: 10_000)
        #expect(Self.share(&balancer, 500, 10_000, held: form.held) == 0)
        for tenth: Int64 in [1, 3, 5, 8] {
            let wanted = fair * Double(tenth) / 10
            let share = Self.share(&balancer, 6000, 10_000 + tenth * 3000, held: form.held)
            #expect(share <= wanted * 1.25 + 0.3, "\(tenth)/10: never flooded")
            #expect(share >= wanted * 0.55 - 0.3, "\(tenth)/10: nor starved")
        }
        #expect(abs(Self.share(&balancer, 4000, 41_000, held: form.held) - fair) < 0.2 * fair + 0.5)
    }

    /// A worker looks at the clock once a turn, and who adds a peer in the middle of one has a later time.
    @Test(arguments: [Algorithm.roundRobin, .leastConn], [4, 50])
    func aTurnThatBeganBeforeTheStartFloodsNobody(_ algorithm: Algorithm, _ count: Int) {
        let specs = HealthTests.specs(count) { _, spec in spec.slowStartMs = Self.slowMs }
        specs[0].counters.rise(nowMs: 10_005)
        var balancer = Balancer(algorithm, peers: specs)
        #expect(Self.share(&balancer, 500, 10_000, held: 100) <= 0.2)
        #expect(Self.share(&balancer, 500, 10_005, held: 100) <= 0.2)
        #expect(Self.share(&balancer, 500, 10_005 + Self.slowMs, held: 100) > 50 / Double(count))
    }

    /// Without the guard an idle newcomer would be given every request until it has as many as the others.
    @Test(arguments: [4, 50])
    func leastConnDoesNotFloodAColdPeer(_ count: Int) {
        let specs = HealthTests.specs(count) { i, spec in spec.slowStartMs = i == 0 ? Self.slowMs : 0 }
        specs[0].counters.setHealth(.unchecked, nowMs: 0)
        var balancer = Balancer(.leastConn, peers: specs)
        for _ in 0..<(count - 1) * 20 { _ = HealthTests.pick(&balancer, 1000) }
        specs[0].counters.setHealth(.healthy, nowMs: 1000)
        for _ in 0..<count * 2 { _ = HealthTests.pick(&balancer, 1300) }
        #expect(specs[0].counters.active <= 1, "1 % of its start is over")
        for _ in 0..<count * 10 { _ = HealthTests.pick(&balancer, 16_000) }
        #expect(specs[0].counters.active >= 3 && specs[0].counters.active <= 8)
    }

    @Test(arguments: [3, 50])
    func recoveriesOfAllKindsStartSlowly(_ count: Int) {
        let specs = HealthTests.specs(count) { _, spec in spec.slowStartMs = Self.slowMs }
        var balancer = Balancer(.roundRobin, peers: specs, health: OutlierTests.policy())
        // After failures: with the success that ends them.
        balancer.release(0, outcome: .failed, nowMs: 20_000)
        specs[0].counters.forgetFailures()
        balancer.release(0, outcome: .failed, nowMs: 20_000)
        #expect(specs[0].counters.risenThousandths(slowStartMs: Self.slowMs, nowMs: 30_001) == 1000)
        var isTried = false
        for _ in 0..<3 * count where !isTried { isTried = HealthTests.pick(&balancer, 30_001) == .peer(0, isBackup: false) }
        #expect(isTried)
        balancer.release(0, outcome: .succeeded, nowMs: 31_000)
        #expect(specs[0].counters.risenThousandths(slowStartMs: Self.slowMs, nowMs: 34_000) == 100)
        // After an ejection: with its end.
        #expect(OutlierTests.end(&balancer, 1, 5, isError: true, 40_000).count == 1)
        #expect(specs[1].counters.risenThousandths(slowStartMs: Self.slowMs, nowMs: 85_000) == 500)
        #expect(!HealthTests.takers(&balancer, 2 * count, 70_010).contains(1))
    }

    @Test func withNobodyElseTheyAreUsed() {
        for count in [3, 50] {
            let specs = HealthTests.specs(count) { _, spec in spec.slowStartMs = Self.slowMs }
            for spec in specs { spec.counters.rise(nowMs: 1000) }
            var balancer = Balancer(.roundRobin, peers: specs)
            let takers = HealthTests.takers(&balancer, 20 * count, 1001)
            #expect(!takers.contains(-1))
            #expect(Set(takers).count >= min(count, 16))
        }
    }

    @Test func aPeerAloneStartsAtOnce() {
        let specs = HealthTests.specs(1) { _, spec in spec.slowStartMs = Self.slowMs }
        specs[0].counters.rise(nowMs: 1000)
        var balancer = Balancer(.roundRobin, peers: specs)
        #expect(HealthTests.takers(&balancer, 3, 1000) == [0, 0, 0])
    }

    /// A change in the middle of a start neither ends it nor begins it anew.
    @Test(arguments: [4, 50])
    func aStartGoesOnOverChanges(_ count: Int) {
        let specs = HealthTests.specs(count) { _, spec in spec.slowStartMs = Self.slowMs }
        var balancer = Balancer(.roundRobin, peers: specs)
        _ = Self.share(&balancer, 100, 500)
        specs[0].counters.rise(nowMs: 1000)
        var mine = 0.0
        for i in 0..<40 {
            balancer = Balancer(.roundRobin, peers: specs, continuing: balancer)
            mine += Self.share(&balancer, 100, 16_000 + Int64(i)) / 40
        }
        let fair = 100 / Double(count)
        #expect(mine > 0.3 * fair && mine < 0.7 * fair)
    }

    #if DEBUG
        @Test(arguments: [Algorithm.roundRobin, .leastConn])
        func manyColdPeersCostLittle(_ algorithm: Algorithm) {
            let specs = HealthTests.specs(10_000) { _, spec in spec.slowStartMs = Self.slowMs }
            for i in 0..<5_000 { specs[2 * i].counters.rise(nowMs: 1000) }
            var balancer = Balancer(algorithm, peers: specs)
            _ = HealthTests.takers(&balancer, 100, 10_000)
            balancer.primary.visits = 0
            let takers = HealthTests.takers(&balancer, 10_000, 10_001)
            let visits = balancer.primary.visits
            #expect(visits < 100 * 10_000)
            let cold = takers.count { $0 % 2 == 0 }
            #expect(cold > 500 && cold < 3000, "a third of their half: \(cold)")
        }
    #endif
}
