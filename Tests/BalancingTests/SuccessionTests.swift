@testable import Balancing
import Testing

/// Balancers that continue an older one. That one with the same peers picks as if nothing had happened, `AgreementTests` shows.
@Suite struct SuccessionTests {
    static func spec(_ change: (inout PeerSpec) -> Void = { _ in }) -> PeerSpec { BehaviourTests.spec(change) }

    static func specs(_ weights: [Int]) -> [PeerSpec] { weights.map { weight in spec { $0.weight = weight } } }

    static func picks(_ balancer: inout Balancer, _ count: Int) -> [Int] {
        (0..<count).map { _ in
            guard case .peer(let peer, _) = BehaviourTests.pick(&balancer, 1) else { return -1 }
            balancer.release(peer, outcome: .succeeded, nowMs: 1)
            return Int(peer)
        }
    }

    static func counts(_ picks: [Int], _ peers: Int) -> [Int] { (0..<peers).map { peer in picks.filter { $0 == peer }.count } }

    @Test(arguments: [3, 100])
    func theTurnGoesOnBehindTheLastOne(_ count: Int) {
        let specs = Self.specs([Int](repeating: 1, count: count))
        var old = Balancer(.roundRobin, peers: specs)
        #expect(Self.picks(&old, 2) == [0, 1])
        var new = Balancer(.leastConn, peers: specs, continuing: old)
        #expect(Self.picks(&new, 3) == [2, 3 % count, 4 % count])
        var reversed = Balancer(.roundRobin, peers: specs.reversed(), continuing: new)
        let left = Set(Self.picks(&reversed, count - 5 % count))
        #expect(left.count == count - 5 % count)
        #expect(left.isDisjoint(with: (0..<(5 % count)).map { count - 1 - $0 }))
    }

    /// A newcomer gets its share from the start: neither all turns nor none, whatever turn the others were at.
    @Test(arguments: [0, 1, 2, 3, 7], [4, 50])
    func newcomersGetTheirShare(_ picksBefore: Int, _ count: Int) {
        let specs = Self.specs((0..<count).map { 1 + $0 % 3 })
        var old = Balancer(.roundRobin, peers: specs)
        _ = Self.picks(&old, picksBefore)
        let later = Array(specs.dropFirst(2)) + Self.specs([5, 1])
        var new = Balancer(.roundRobin, peers: later, continuing: old)
        let total = later.reduce(0) { $0 + $1.weight }
        let counts = Self.counts(Self.picks(&new, 4 * total), later.count)
        for (count, spec) in zip(counts, later) { #expect(abs(count - 4 * spec.weight) <= 2) }
        #expect(abs(Self.counts(Self.picks(&new, total), later.count)[count - 2] - 5) <= 1)
    }

    /// From one extreme of weights to the other, the past weighs a few turns at most.
    @Test(arguments: [[1_000_000, 1], [1, 1_000_000], [1, 1]], [[1, 1], [1, 100], [100, 1], [0, 1]])
    func newWeightsCountAtOnce(_ before: [Int], _ after: [Int]) {
        var specs = Self.specs(before)
        for turns in [0, 1, 5, 1_000] {
            var old = Balancer(.roundRobin, peers: specs)
            _ = Self.picks(&old, turns)
            for i in 0..<2 { specs[i].weight = after[i] }
            var new = Balancer(.roundRobin, peers: specs, continuing: old)
            let total = after[0] + after[1]
            let counts = Self.counts(Self.picks(&new, total), 2)
            for i in 0..<2 { #expect(abs(counts[i] - after[i]) <= 1 && (after[i] > 0 || counts[i] == 0)) }
            for i in 0..<2 { specs[i].weight = before[i] }
        }
    }

    @Test func manyChangesDoNotAddUp() {
        var random = RandomSequence(state: 9)
        for size in [6, 60] {
            var specs = Self.specs((0..<size).map { 1 + $0 % 4 })
            var balancer = Balancer(.roundRobin, peers: specs)
            for _ in 0..<2_000 {
                _ = Self.picks(&balancer, random.next(below: 5))
                let i = random.next(below: size)
                switch random.next(below: 4) {
                case 0: specs[i] = Self.spec { $0.weight = 1 + random.next(below: 9) }
                case 1: specs[i].weight = random.next(below: 10)
                case 2: specs.swapAt(i, 0)
                default: specs[i].isDrained.toggle()
                }
                balancer = Balancer(.roundRobin, peers: specs, continuing: balancer)
            }
            for i in specs.indices {
                specs[i].isDrained = false
                specs[i].weight = 1
            }
            balancer = Balancer(.roundRobin, peers: specs, continuing: balancer)
            let counts = Self.counts(Self.picks(&balancer, 10 * size), size)
            #expect(counts.allSatisfy { abs($0 - 10) <= 3 })
        }
    }

    @Test func failuresGoOnToCost() {
        var specs = Self.specs([4, 4])
        for i in 0..<2 { specs[i].maxFails = 4 }
        var old = Balancer(.roundRobin, peers: specs)
        for _ in 0..<4 { _ = BehaviourTests.pick(&old, 1) }
        for _ in 0..<2 { old.release(0, outcome: .failed, nowMs: 1) }
        let effective = old.primary.slots[0].effectiveWeight
        #expect(effective == 2)
        for i in 0..<2 { specs[i].weight = 8 }
        let new = Balancer(.roundRobin, peers: specs, continuing: old)
        let doubled = new.primary.slots[0].effectiveWeight
        #expect(doubled == 4)
        #expect(specs[0].counters.fails == 2)
    }

    /// Servers listed twice have one row. Each goes on with its own turns.
    @Test func peersOfOneRowAreToldApart() {
        let one = Self.spec()
        let specs = [one, Self.spec(), one, Self.spec()]
        var old = Balancer(.roundRobin, peers: specs)
        _ = Self.picks(&old, 1)
        var new = Balancer(.roundRobin, peers: specs, continuing: old)
        #expect(Self.picks(&new, 4) == [1, 2, 3, 0])
        var others = Balancer(.roundRobin, peers: [one, one, one], continuing: new)
        #expect(Set(Self.picks(&others, 3)).count == 3)
    }

    @Test func anyListFollowsAnyOther() {
        let backup = Self.spec { $0.isBackup = true }
        let lists = [[], Self.specs([1]), Self.specs([0]), Self.specs([0, 0]), [backup], Self.specs([1, 2]) + [backup]]
        for before in lists {
            for after in lists + [before.reversed(), before.map { spec in Self.spec { $0.counters = spec.counters } }] {
                for algorithm in AgreementTests.algorithms {
                    var old = Balancer(algorithm, peers: before)
                    _ = Self.picks(&old, 3)
                    var new = Balancer(algorithm, peers: after, continuing: old)
                    let takes = after.contains { $0.weight > 0 }
                    #expect(Self.picks(&new, 3).allSatisfy { ($0 >= 0) == takes })
                }
            }
        }
    }
}
