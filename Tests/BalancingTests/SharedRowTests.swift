@testable import Balancing
import Testing

/// Several workers, each with a balancer of its own over the same rows.
@Suite struct SharedRowTests {
    static func specs(_ count: Int, _ change: (inout PeerSpec) -> Void) -> [PeerSpec] {
        (0..<count).map { _ in
            var spec = PeerSpec(counters: PeerCounters())
            change(&spec)
            return spec
        }
    }

    static func pick(_ balancer: inout Balancer, _ nowMs: Int64) -> Int32 {
        var tried = TriedPeers()
        guard case .peer(let peer, _) = balancer.pick(PickContext(nowMs: nowMs), key: Span(), tried: &tried) else { return -1 }
        return peer
    }

    @Test(arguments: [3, 100])
    func leastConnSeesTheExchangesOfTheOtherWorker(_ count: Int) {
        let specs = Self.specs(count) { _ in }
        var one = Balancer(.leastConn, peers: specs)
        var other = Balancer(.leastConn, peers: specs)
        // What is idle for both is chosen before anything that is busy for one of them.
        for i in 0..<count { _ = i % 3 == 0 ? Self.pick(&one, 1) : Self.pick(&other, 1) }
        #expect(specs.allSatisfy { $0.counters.active == 1 })
    }

    @Test(arguments: [Algorithm.roundRobin, .leastConn], [0, 1])
    func aWorkerThatSleptStillFindsAPeer(_ algorithm: Algorithm, _ maxConns: Int) {
        let specs = Self.specs(1000) { $0.maxConns = maxConns }
        var one = Balancer(algorithm, peers: specs)
        var other = Balancer(algorithm, peers: specs)
        for _ in 0..<990 { _ = Self.pick(&one, 1) }
        for _ in 0..<10 { #expect(Self.pick(&other, 1) >= 0) }
    }

    /// Each worker saw one failure of a peer that `max_fails` allows two of.
    @Test(arguments: [2, 100])
    func failuresSeenByDifferentWorkersAddUp(_ count: Int) {
        var specs = Self.specs(count) { $0.isDown = true }
        (specs[1].isDown, specs[1].maxFails) = (false, 2)
        var one = Balancer(.roundRobin, peers: specs)
        var other = Balancer(.roundRobin, peers: specs)
        #expect(Self.pick(&one, 20_000) == 1)
        #expect(Self.pick(&other, 20_000) == 1)
        one.release(1, outcome: .failed, nowMs: 20_000)
        #expect(Self.pick(&one, 20_000) == 1)
        other.release(1, outcome: .failed, nowMs: 20_001)
        #expect(Self.pick(&one, 20_002) == -1)
        #expect(Self.pick(&other, 20_002) == -1)
    }

    /// The trial after `fail_timeout` goes to one worker, not to each.
    @Test(arguments: [2, 100])
    func oneTrialForAllWorkers(_ count: Int) {
        var specs = Self.specs(count) { $0.isDown = true }
        specs[1].isDown = false
        var one = Balancer(.roundRobin, peers: specs)
        var other = Balancer(.roundRobin, peers: specs)
        #expect(Self.pick(&one, 20_000) == 1)
        one.release(1, outcome: .failed, nowMs: 20_000)
        #expect(Self.pick(&other, 20_000) == -1)
        #expect(Self.pick(&other, 30_001) == 1)
        #expect(Self.pick(&one, 30_001) == -1)
        other.release(1, outcome: .succeeded, nowMs: 30_001)
        // The one that lost the trial learns of its success when it next reads the row.
        var tries = 0
        while Self.pick(&one, 30_002) != 1 && tries < count { tries += 1 }
        #expect(tries <= count / Tuning().refreshesPerPick + 1)
    }

    /// What one worker changes, a busy other one knows within `count / refreshesPerPick` picks.
    @Test func releasesOfTheOtherWorkerAreSeenInTime() {
        let specs = Self.specs(400) { $0.maxConns = 1 }
        var one = Balancer(.leastConn, peers: specs)
        var other = Balancer(.leastConn, peers: specs)
        let held = (0..<400).map { _ in Self.pick(&one, 1) }
        #expect(Self.pick(&other, 1) == -1)
        for _ in 0..<50 { _ = Self.pick(&other, 1) }
        let busy = other.primary.populations[Int(Place.busy.rawValue)]
        #expect(busy == 400)
        for peer in held { one.release(peer, outcome: .succeeded, nowMs: 2) }
        let seen = (0..<51).map { _ in Self.pick(&other, 3) }.filter { $0 >= 0 }
        #expect(seen.count == 51)
    }

    @Test(arguments: [Algorithm.roundRobin, .leastConn, .randomTwo], [3, 60])
    func threadsNeverExceedMaxConnsAndLeaveNothingBehind(_ algorithm: Algorithm, _ count: Int) async {
        let specs = Self.specs(count) {
            $0.maxConns = 2
            $0.maxFails = 2
            $0.failTimeoutMs = 3
        }
        let excess = await withTaskGroup(of: Int.self) { group in
            for worker in 0..<4 {
                group.addTask {
                    var balancer = Balancer(algorithm, peers: specs)
                    var random = RandomSequence(state: UInt64(worker))
                    var open: [Int32] = []
                    var excess = 0
                    for step in 0..<4_000 {
                        let nowMs = Int64(step / 10)
                        var tried = TriedPeers()
                        let context = PickContext(nowMs: nowMs, randomNumber: random.next())
                        if case .peer(let peer, _) = balancer.pick(context, key: Span(), tried: &tried) {
                            open.append(peer)
                            if specs[Int(peer)].counters.active > 2 { excess += 1 }
                        }
                        if open.count > count / 2 || random.next(below: 3) == 0, let peer = open.popLast() {
                            balancer.release(peer, outcome: random.next(below: 20) == 0 ? .failed : .succeeded, nowMs: nowMs)
                        }
                    }
                    for peer in open { balancer.release(peer, outcome: .succeeded, nowMs: 4_000) }
                    return excess
                }
            }
            return await group.reduce(0, +)
        }
        #expect(excess == 0)
        #expect(specs.allSatisfy { $0.counters.active == 0 })
    }
}
