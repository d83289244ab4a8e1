@testable import Balancing
import Testing

/// Health set from outside, panic, and the shared cells behind both.
@Suite struct HealthTests {
    static func specs(_ count: Int, _ pool: PoolCounters = PoolCounters(), _ change: (Int, inout PeerSpec) -> Void = { _, _ in }) -> [PeerSpec] {
        (0..<count).map { i in
            var spec = PeerSpec(counters: PeerCounters(pool: pool))
            spec.hashName = Array("10.0.0.\(i):80".utf8)
            change(i, &spec)
            return spec
        }
    }

    static func pick(_ balancer: inout Balancer, _ nowMs: Int64, key: [UInt8] = [1, 2, 3, 4], random: UInt64 = 7) -> Pick {
        var tried = TriedPeers()
        return balancer.pick(PickContext(nowMs: nowMs, randomNumber: random), key: key.span, tried: &tried)
    }

    /// The peers that a number of picks go to; -1 for none. Each is released at once.
    static func takers(_ balancer: inout Balancer, _ count: Int, _ nowMs: Int64) -> [Int] {
        var random = RandomSequence(state: UInt64(count))
        return (0..<count).map { i in
            let key = (0..<4).map { _ in UInt8(random.next(below: 256)) }
            guard case .peer(let peer, _) = pick(&balancer, nowMs, key: key, random: random.next()) else { return -1 }
            balancer.release(peer, outcome: .succeeded, nowMs: nowMs)
            return Int(peer)
        }
    }

    @Test(arguments: AgreementTests.algorithms, [4, 60])
    func onlyTheHealthyAreAsked(_ algorithm: Algorithm, _ count: Int) {
        let specs = Self.specs(count)
        var balancer = Balancer(algorithm, peers: specs)
        #expect(Set(Self.takers(&balancer, 40 * count, 1000)) == Set(0..<count))
        #expect(specs[1].counters.setHealth(.unchecked, nowMs: 1000))
        #expect(specs[2].counters.setHealth(.unhealthy, nowMs: 1000))
        #expect(!specs[2].counters.setHealth(.unhealthy, nowMs: 1000), "nothing new")
        #expect(Set(Self.takers(&balancer, 40 * count, 2000)) == Set(0..<count).subtracting([1, 2]))
        var tried = TriedPeers()
        for peer: Int32 in [1, 2] { #expect(!balancer.pickStuck(peer, PickContext(nowMs: 2000), tried: &tried)) }
        #expect(specs[1].counters.setHealth(.healthy, nowMs: 2000))
        #expect(Set(Self.takers(&balancer, 40 * count, 3000)) == Set(0..<count).subtracting([2]))
        specs[2].counters.setHealth(.healthy, nowMs: 3000)
        #expect(Set(Self.takers(&balancer, 40 * count, 4000)) == Set(0..<count))
        let isPanicking = balancer.isPanicking
        #expect(!isPanicking)
    }

    /// Another snapshot's balancer, another worker's: all see what was set once.
    @Test func healthOutlivesBalancers() {
        let specs = Self.specs(3)
        var one = Balancer(.roundRobin, peers: specs)
        specs[0].counters.setHealth(.unhealthy, nowMs: 5)
        #expect(Set(Self.takers(&one, 9, 10)) == [1, 2])
        var other = Balancer(.leastConn, peers: specs.reversed(), continuing: one)
        #expect(Set(Self.takers(&other, 9, 10)) == [0, 1])
        #expect(specs[0].counters.health == .unhealthy)
    }

    struct Panic: Sendable, CustomTestStringConvertible {
        var healthy: Int
        var unchecked = 0
        var percent = 50
        var backups = 0
        var backupsAreSick = false
        /// How many primaries are used, the backups aside.
        var used: Int
        var testDescription: String { "\(self)" }
    }

    @Test(arguments: [
        Panic(healthy: 2, used: 2), Panic(healthy: 1, used: 4), Panic(healthy: 0, used: 4), Panic(healthy: 0, percent: 0, used: 0),
        Panic(healthy: 1, percent: 0, used: 1), Panic(healthy: 3, percent: 100, used: 4), Panic(healthy: 4, percent: 100, used: 4),
        // What has not been checked is neither healthy nor sick, and is asked in no panic.
        Panic(healthy: 1, unchecked: 2, used: 1), Panic(healthy: 1, unchecked: 3, used: 1), Panic(healthy: 0, unchecked: 3, used: 1),
        Panic(healthy: 0, unchecked: 4, used: 0),
        // A healthy backup is better than sick peers.
        Panic(healthy: 1, backups: 1, used: 1), Panic(healthy: 0, backups: 1, used: 0),
        Panic(healthy: 1, backups: 2, backupsAreSick: true, used: 4),
    ], [4, 64])
    func belowAShareOfHealthyPeersAllAreUsed(_ panic: Panic, _ scale: Int) {
        let n = scale / 4
        let pool = PoolCounters()
        let specs = Self.specs(scale + panic.backups, pool) { i, spec in spec.isBackup = i >= scale }
        var policy = HealthPolicy()
        policy.panicPercent = panic.percent
        var balancer = Balancer(.roundRobin, peers: specs, health: policy)
        for i in 0..<scale {
            let health: PeerHealth = i < panic.unchecked * n ? .unchecked : i < (4 - panic.healthy) * n ? .unhealthy : .healthy
            specs[i].counters.setHealth(health, nowMs: 100)
        }
        for i in scale..<specs.count where panic.backupsAreSick { specs[i].counters.setHealth(.unhealthy, nowMs: 100) }
        let takers = Set(Self.takers(&balancer, 4 * scale, 1000))
        #expect(takers.count { $0 >= 0 && $0 < scale } == panic.used * n)
        #expect(takers.contains(scale) == (panic.used == 0 && panic.backups > 0))
        let isPanicking = balancer.isPanicking
        #expect(isPanicking == (panic.used > panic.healthy))
        #expect((pool.panicPicks > 0) == isPanicking)
        if takers == [-1] { #expect(Self.pick(&balancer, 1000) == .none(.allSick)) }
        // It is over when they are well.
        for i in 0..<scale { specs[i].counters.setHealth(.healthy, nowMs: 1000) }
        #expect(Set(Self.takers(&balancer, 4 * scale, 2000)) == Set(0..<scale))
        let stillPanics = balancer.isPanicking
        #expect(!stillPanics)
    }

    /// Most are well: a request that finds them at their `max_conns` waits or is refused, and the sick get nothing.
    @Test(arguments: [Algorithm.roundRobin, .leastConn, .hash], [4, 64])
    func busyPeersAreNoReasonForAPanic(_ algorithm: Algorithm, _ count: Int) {
        let specs = Self.specs(count) { _, spec in spec.maxConns = 1 }
        var balancer = Balancer(algorithm, peers: specs)
        specs[1].counters.setHealth(.unhealthy, nowMs: 100)
        for _ in 1..<count {
            guard case .peer(let peer, _) = Self.pick(&balancer, 1000) else {
                Issue.record("there are free ones")
                return
            }
            #expect(peer != 1)
        }
        #expect(Self.pick(&balancer, 1000) == .none(.allBusy))
        let isPanicking = balancer.isPanicking
        #expect(!isPanicking && specs[1].counters.active == 0)
        balancer.release(0, outcome: .succeeded, nowMs: 1000)
        #expect(Self.pick(&balancer, 1000) == .peer(0, isBackup: false))
    }

    @Test func aPeerAloneIsUsedInPanicOnlyAndNotBeforeItsFirstCheck() {
        let specs = Self.specs(1)
        var policy = HealthPolicy()
        var balancer = Balancer(.roundRobin, peers: specs, health: policy)
        specs[0].counters.setHealth(.unchecked, nowMs: 1)
        #expect(Self.pick(&balancer, 1) == .none(.allSick))
        specs[0].counters.setHealth(.unhealthy, nowMs: 1)
        #expect(Self.pick(&balancer, 1) == .peer(0, isBackup: false))
        policy.panicPercent = 0
        var strict = Balancer(.roundRobin, peers: specs, health: policy)
        #expect(Self.pick(&strict, 1) == .none(.allSick))
        specs[0].counters.setHealth(.healthy, nowMs: 1)
        #expect(Self.pick(&strict, 1) == .peer(0, isBackup: false))
    }

    @Test func oneWorkerSaysThatItIsPanic() {
        let pool = PoolCounters()
        #expect(pool.view.tellPanic(true))
        #expect(!pool.view.tellPanic(true))
        #expect(pool.isPanicking && pool.panics == 1)
        #expect(pool.view.tellPanic(false))
        #expect(!pool.view.tellPanic(false))
    }

    /// Small and large upstreams know the same at the same time: one scan a pick, against trees that learn of changes.
    @Test(arguments: [Algorithm.roundRobin, .leastConn, .ipHash, .random])
    func bothFormsAgreeOnHealth(_ algorithm: Algorithm) {
        for seed in 1...UInt64(40) {
            var random = RandomSequence(state: seed &* 104_729)
            let size = 2 + random.next(below: 20)
            let weights = (0..<size).map { _ in 1 + random.next(below: 4) }
            func make() -> [PeerSpec] { Self.specs(size) { i, spec in (spec.weight, spec.maxFails) = (weights[i], 0) } }
            let (small, large) = (make(), make())
            var linear = Balancer(algorithm, peers: small)
            var tree = Balancer(algorithm, peers: large, tuning: Tuning(linearMax: 0, refreshesPerPick: 0))
            var nowMs: Int64 = 1000
            var open: [Int32] = []
            for step in 0..<300 {
                if random.next(below: 12) == 0 {
                    let peer = random.next(below: size)
                    let health = PeerHealth(rawValue: UInt8(1 + random.next(below: 3))) ?? .healthy
                    for specs in [small, large] { specs[peer].counters.setHealth(health, nowMs: nowMs) }
                    nowMs += 200
                }
                if random.next(below: 3) == 0, let peer = open.popLast() {
                    linear.release(peer, outcome: .succeeded, nowMs: nowMs)
                    tree.release(peer, outcome: .succeeded, nowMs: nowMs)
                }
                let key = (0..<4).map { _ in UInt8(random.next(below: 256)) }
                let number = random.next()
                let picks = (Self.pick(&linear, nowMs, key: key, random: number), Self.pick(&tree, nowMs, key: key, random: number))
                if picks.0 != picks.1 {
                    Issue.record("seed \(seed), step \(step): \(picks)")
                    return
                }
                if case .peer(let peer, _) = picks.0 {
                    open.append(peer)
                    let health = small[Int(peer)].counters.health
                    let isPanicking = linear.isPanicking
                    if health == .unchecked || health == .unhealthy && !isPanicking { Issue.record("seed \(seed), step \(step): \(health)") }
                }
            }
        }
    }

    @Test func budgetsAndLimitsCount() {
        let pool = PoolCounters()
        var budget = RetryBudget()
        #expect([0, 5, 15, 20, 100].map { budget.most(active: $0) } == [3, 3, 3, 4, 20])
        #expect((0..<5).map { _ in pool.view.beginRetry(budget) } == [true, true, true, false, false])
        #expect(pool.retries == 3 && pool.retriesRefused == 2)
        #expect((0..<30).allSatisfy { _ in pool.view.beginActive(most: 30) })
        #expect(!pool.view.beginActive(most: 30) && pool.activeRefused == 1 && pool.active == 30)
        #expect((0..<4).map { _ in pool.view.beginRetry(budget) } == [true, true, true, false], "20 % of 31")
        pool.view.endRetry()
        pool.view.endActive()
        #expect(pool.view.beginActive(most: 30))
        #expect(pool.view.beginPending(most: 1) && !pool.view.beginPending(most: 1))
        #expect(pool.pending == 1 && pool.pendingRefused == 1)
        (budget.percent, budget.least) = (.max, 0)
        #expect(budget.most(active: .max) > 1 << 50)
    }
}
