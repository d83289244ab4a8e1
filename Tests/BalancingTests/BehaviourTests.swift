@testable import Balancing
import Testing

/// The rules one by one, as an operator would state them.
@Suite struct BehaviourTests {
    static func spec(_ change: (inout PeerSpec) -> Void = { _ in }) -> PeerSpec {
        var spec = PeerSpec(counters: PeerCounters())
        change(&spec)
        return spec
    }

    static func pick(_ balancer: inout Balancer, _ nowMs: Int64, _ tried: inout TriedPeers) -> Pick {
        balancer.pick(PickContext(nowMs: nowMs), key: Span(), tried: &tried)
    }

    static func pick(_ balancer: inout Balancer, _ nowMs: Int64) -> Pick {
        var tried = TriedPeers()
        return pick(&balancer, nowMs, &tried)
    }

    @Test func weightsMakeNginxsSmoothOrder() {
        var balancer = Balancer(.roundRobin, peers: [5, 1, 1].map { weight in Self.spec { $0.weight = weight } })
        var order = ""
        for _ in 0..<7 {
            if case .peer(let peer, _) = Self.pick(&balancer, 1) { order += "abc".dropFirst(Int(peer)).prefix(1) }
        }
        #expect(order == "aabacaa")
    }

    @Test func aFailedPeerGetsOneTrialAfterItsTimeout() {
        let specs = [Self.spec(), Self.spec { $0.isBackup = true }]
        var balancer = Balancer(.roundRobin, peers: specs)
        #expect(Self.pick(&balancer, 20_000) == .peer(0, isBackup: false))
        balancer.release(0, outcome: .failed, nowMs: 20_000)
        #expect(Self.pick(&balancer, 30_000) == .peer(1, isBackup: true))
        #expect(Self.pick(&balancer, 30_001) == .peer(0, isBackup: false))
        #expect(Self.pick(&balancer, 30_001) == .peer(1, isBackup: true))
        balancer.release(0, outcome: .succeeded, nowMs: 30_002)
        #expect(specs[0].counters.fails == 0)
        #expect(Self.pick(&balancer, 30_002) == .peer(0, isBackup: false))
    }

    @Test func aSuccessForgetsFailuresOnlyWhenPickedAfterTheTimeout() {
        let specs = [Self.spec { $0.maxFails = 3 }, Self.spec { $0.isDown = true }]
        var balancer = Balancer(.roundRobin, peers: specs)
        for outcome in [PeerOutcome.failed, .succeeded, .failed, .neither] {
            #expect(Self.pick(&balancer, 50_000) == .peer(0, isBackup: false))
            balancer.release(0, outcome: outcome, nowMs: 50_000)
        }
        #expect(specs[0].counters.fails == 2)
        #expect(Self.pick(&balancer, 60_001) == .peer(0, isBackup: false))
        balancer.release(0, outcome: .succeeded, nowMs: 60_001)
        #expect(specs[0].counters.fails == 0)
        #expect(specs[0].counters.requests == 5)
        #expect(specs[0].counters.failures == 2)
        #expect(specs[0].counters.active == 0)
    }

    @Test func aPeerAloneIsNeverTakenOut() {
        let spec = Self.spec { $0.maxConns = 1 }
        var balancer = Balancer(.leastConn, peers: [spec])
        var tried = TriedPeers()
        let isSingle = balancer.isSingle
        #expect(isSingle)
        for _ in 0..<5 {
            #expect(Self.pick(&balancer, 1, &tried) == .peer(0, isBackup: false))
            #expect(Self.pick(&balancer, 1) == .none(.allBusy))
            balancer.release(0, outcome: .failed, nowMs: 1)
        }
        #expect(spec.counters.fails == 0)
        #expect(spec.counters.failures == 5)
    }

    @Test func anExchangeTriesEachPeerOnceThenTheBackups() {
        let specs = [Self.spec { $0.isBackup = true }, Self.spec(), Self.spec { $0.isDrained = true }, Self.spec()]
        var balancer = Balancer(.leastConn, peers: specs)
        var tried = TriedPeers()
        let triesMax = balancer.triesMax
        #expect(triesMax == 3)
        #expect(Self.pick(&balancer, 1, &tried) == .peer(1, isBackup: false))
        #expect(Self.pick(&balancer, 1, &tried) == .peer(3, isBackup: false))
        #expect(Self.pick(&balancer, 1, &tried) == .peer(0, isBackup: true))
        #expect(Self.pick(&balancer, 1, &tried) == .none(.allTried))
        #expect(tried.count == 3)
    }

    @Test func noPeerSaysWhy() {
        var none = Balancer(.roundRobin, peers: [])
        #expect(Self.pick(&none, 1) == .none(.allDown))
        var down = Balancer(.random, peers: [Self.spec { $0.isDown = true }, Self.spec { $0.isDrained = true }])
        #expect(Self.pick(&down, 1) == .none(.allDown))
        var mixed = Balancer(.roundRobin, peers: [Self.spec(), Self.spec { $0.isBackup = true; $0.maxConns = 1 }])
        #expect(Self.pick(&mixed, 1) == .peer(0, isBackup: false))
        mixed.release(0, outcome: .failed, nowMs: 1)
        #expect(Self.pick(&mixed, 1) == .peer(1, isBackup: true))
        #expect(Self.pick(&mixed, 1) == .none(.allBusy))
        mixed.release(1, outcome: .failed, nowMs: 1)
        #expect(Self.pick(&mixed, 1) == .none(.allFailed))
    }

    @Test func whatWasTriedIsBounded() {
        var balancer = Balancer(.random, peers: (0..<1000).map { _ in Self.spec() })
        var tried = TriedPeers()
        var seen: Set<Int32> = []
        var random = RandomSequence(state: 3)
        while case .peer(let peer, _) = balancer.pick(
            PickContext(nowMs: 1, randomNumber: random.next()), key: Span(), tried: &tried)
        {
            #expect(seen.insert(peer).inserted)
        }
        #expect(tried.isFull)
        #expect(seen.count == tried.count && seen.count >= 16 && seen.count <= 80)
    }

    @Test(arguments: [Algorithm.random, .randomTwo])
    func randomFollowsTheWeights(_ algorithm: Algorithm) {
        let specs = [1, 2, 3, 4].map { weight in Self.spec { $0.weight = weight } }
        var balancer = Balancer(algorithm, peers: specs)
        var random = RandomSequence(state: 11)
        for _ in 0..<10_000 {
            var tried = TriedPeers()
            _ = balancer.pick(PickContext(nowMs: 1, randomNumber: random.next()), key: Span(), tried: &tried)
        }
        // Nothing is released: with two to compare, the load itself evens out what chance does not.
        let tolerance = algorithm == .random ? 200 : 20
        for spec in specs { #expect(abs(spec.counters.active - 1000 * spec.weight) < tolerance) }
    }

    @Test func ipHashReadsThreeBytesOfIPv4AndAllOfIPv6() {
        let addresses: [[UInt8]] = [[10, 1, 2, 3], [10, 1, 2, 4], [10, 1, 3, 3], [], Array(0..<16), Array(0..<15) + [9]]
        let hashes = addresses.map { Balancer.ipHash($0.span) }
        #expect(hashes[0] == hashes[1])
        #expect(hashes[0] == (((89 * 113 + 10) % 6271 * 113 + 1) % 6271 * 113 + 2) % 6271)
        #expect(Set(hashes).count == 5)
    }

    @Test func aRingIsSharedAndBounded() {
        let specs = [Int(Int32.max), 1, Int(Int32.max)].enumerated().map { i, weight in
            Self.spec {
                $0.weight = weight
                $0.hashName = Array("peer\(i)".utf8)
            }
        }
        let ring = HashRing(peers: specs, pointsMax: 1000)
        let points = ring.view.points.count
        #expect(points > 900 && points <= 1000 + specs.count)
        var owners: [Pick] = []
        for _ in 0..<2 {
            var balancer = Balancer(.hashConsistent, peers: specs, ring: ring)
            var tried = TriedPeers()
            let key: [UInt8] = [1, 2, 3]
            owners.append(balancer.pick(PickContext(nowMs: 1), key: key.span, tried: &tried))
        }
        #expect(owners[0] == owners[1])
    }

    @Test func removingAServerMovesOnlyItsShareOfTheRing() {
        func owners(_ peers: Range<Int>) -> [Int32] {
            var balancer = Balancer(.hashConsistent, peers: peers.map { i in Self.spec { $0.hashName = Array("peer\(i)".utf8) } })
            return (0..<2000).map { i in
                var tried = TriedPeers()
                let key = Array("user\(i)".utf8)
                let pick = balancer.pick(PickContext(nowMs: 1), key: key.span, tried: &tried)
                guard case .peer(let peer, _) = pick else { return -1 }
                return peer
            }
        }
        let moved = zip(owners(0..<10), owners(0..<9)).filter { $0 != $1 && $0 != 9 }.count
        #expect(moved == 0)
    }

    @Test func absurdSettingsAreCut() {
        let spec = Self.spec {
            $0.weight = .max
            $0.maxConns = -1
            $0.maxFails = .max
            $0.failTimeoutMs = .max
        }
        for algorithm in AgreementTests.algorithms where algorithm != .hashConsistent {
            var balancer = Balancer(algorithm, peers: [spec, spec, Self.spec { $0.weight = -5 }])
            for i in 0..<5 {
                guard case .peer(let peer, _) = Self.pick(&balancer, Int64(i)) else { return }
                balancer.release(peer, outcome: .failed, nowMs: Int64(i))
            }
        }
    }
}
