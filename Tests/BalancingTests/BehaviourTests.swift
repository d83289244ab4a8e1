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

    @Test(arguments: AgreementTests.algorithms)
    func weight0TakesNothing(_ algorithm: Algorithm) {
        let backup = Self.spec { $0.isBackup = true }
        let idle = [Self.spec { $0.weight = 0 }, Self.spec { $0.weight = 0; $0.hashName = [1] }]
        let active = Self.spec { $0.hashName = [2] }
        let cases = [([idle[0], active, idle[1]], Pick.peer(1, isBackup: false)), (idle + [backup], .peer(2, isBackup: true))]
        for (specs, taker) in cases {
            var balancer = Balancer(algorithm, peers: specs)
            for i in 0..<100 {
                var tried = TriedPeers()
                let key: [UInt8] = [UInt8(i), 0, 0, 0]
                let context = PickContext(nowMs: 1, randomNumber: UInt64(i) << 57)
                #expect(!balancer.pickStuck(0, context, tried: &tried))
                #expect(balancer.pick(context, key: key.span, tried: &tried) == taker)
            }
        }
        var none = Balancer(algorithm, peers: idle)
        let triesMax = none.triesMax
        #expect(triesMax == 0)
        #expect(Self.pick(&none, 1) == .none(.allDown))
        #expect(idle.allSatisfy { $0.counters.requests == 0 })
    }

    @Test(arguments: [2, 100])
    func sessionsStayWithADrainedPeer(_ count: Int) {
        var specs = (0..<count).map { _ in Self.spec { $0.maxConns = 2 } }
        specs[1].isDrained = true
        var balancer = Balancer(.leastConn, peers: specs)
        let now = PickContext(nowMs: 50_000)
        func stick(_ peer: Int32, _ balancer: inout Balancer, _ now: PickContext) -> Bool {
            var tried = TriedPeers()
            return balancer.pickStuck(peer, now, tried: &tried)
        }
        #expect((0..<20).allSatisfy { _ in Self.pick(&balancer, 50_000) != .peer(1, isBackup: false) })
        #expect(stick(1, &balancer, now) && stick(1, &balancer, now))
        #expect(!stick(1, &balancer, now), "busy")
        balancer.release(1, outcome: .failed, nowMs: 50_000)
        #expect(!stick(1, &balancer, now), "failed")
        #expect(stick(1, &balancer, PickContext(nowMs: 60_001)), "on trial")
        balancer.release(1, outcome: .succeeded, nowMs: 60_001)
        #expect(specs[1].counters.fails == 0)
        #expect(!stick(-1, &balancer, now) && !stick(Int32(count), &balancer, now), "no such peer")
        specs[1].isDown = true
        var down = Balancer(.leastConn, peers: specs, continuing: balancer)
        #expect(!stick(1, &down, PickContext(nowMs: 60_001)))
    }

    @Test func afterAFailureASessionGoesElsewhere() {
        let backups = (0..<2).map { _ in Self.spec { $0.isBackup = true } }
        let specs = [Self.spec { $0.isDrained = true }, Self.spec()] + backups
        var balancer = Balancer(.roundRobin, peers: specs)
        var tried = TriedPeers()
        let now = PickContext(nowMs: 1)
        #expect(balancer.pickStuck(3, now, tried: &tried), "a backup")
        #expect(!balancer.pickStuck(3, now, tried: &tried))
        #expect(balancer.pickStuck(0, now, tried: &tried))
        #expect(!balancer.pickStuck(0, now, tried: &tried))
        #expect(Self.pick(&balancer, 1, &tried) == .peer(1, isBackup: false))
        #expect(Self.pick(&balancer, 1, &tried) == .peer(2, isBackup: true))
        #expect(!balancer.pickStuck(3, now, tried: &tried))
        #expect(Self.pick(&balancer, 1, &tried) == .none(.allTried))
        #expect(tried.count == 4)
    }

    @Test func aPeerAloneMayBeDrained() {
        var spec = Self.spec { $0.isDrained = true }
        var balancer = Balancer(.roundRobin, peers: [spec])
        for _ in 0..<3 {
            var tried = TriedPeers()
            #expect(Self.pick(&balancer, 1, &tried) == .none(.allDown))
            #expect(balancer.pickStuck(0, PickContext(nowMs: 1), tried: &tried))
            #expect(!balancer.pickStuck(0, PickContext(nowMs: 1), tried: &tried))
            balancer.release(0, outcome: .failed, nowMs: 1)
        }
        #expect(spec.counters.active == 0 && spec.counters.failures == 3)
        spec.isDrained = false
        spec.weight = 0
        var weightless = Balancer(.roundRobin, peers: [spec])
        #expect(Self.pick(&weightless, 1) == .none(.allDown))
    }

    @Test func errorsAndTimesAreToldToTheControlSide() {
        let specs = [Self.spec { $0.isBackup = true }, Self.spec(), Self.spec()]
        var balancer = Balancer(.roundRobin, peers: specs)
        for (peer, status): (Int32, UInt16) in [(0, 500), (1, 599), (1, 999), (1, 200), (1, 101), (2, 404), (2, 304)] {
            balancer.countAnswer(peer, status: status)
        }
        #expect(specs.map(\.counters.errors) == [1, 2, 0])
        #expect((0...6).map { specs[1].counters.answers($0) } == [0, 1, 1, 0, 0, 2, 0])
        #expect((0...6).map { specs[2].counters.answers($0) } == [0, 0, 0, 1, 1, 0, 0])
        let counters = specs[1].counters
        #expect(counters.unavailableUntilMs(maxFails: 1, failTimeoutMs: 10_000) == nil)
        #expect(Self.pick(&balancer, 20_000) == .peer(1, isBackup: false))
        balancer.release(1, outcome: .failed, nowMs: 20_000)
        #expect(counters.unavailableUntilMs(maxFails: 1, failTimeoutMs: 10_000) == 30_000)
        #expect(counters.unavailableUntilMs(maxFails: 0, failTimeoutMs: 10_000) == nil)
        #expect(counters.unavailableUntilMs(maxFails: 2, failTimeoutMs: 10_000) == nil)
        #expect(counters.isUnavailable(atMs: 30_000, maxFails: 1, failTimeoutMs: 10_000))
        #expect(!counters.isUnavailable(atMs: 30_001, maxFails: 1, failTimeoutMs: 10_000))
        #expect(MemoryLayout<PeerRow>.size <= PeerRow.strideBytes)
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
            var balancer = Balancer(algorithm, peers: [spec, spec, Self.spec { $0.weight = -5 }, Self.spec()])
            for i in 0..<5 {
                guard case .peer(let peer, _) = Self.pick(&balancer, Int64(i)) else { return }
                balancer.release(peer, outcome: .failed, nowMs: Int64(i))
            }
        }
    }
}
