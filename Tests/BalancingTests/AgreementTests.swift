@testable import Balancing
import Testing

/// Random upstreams, outcomes and times: the balancer and the reference model must agree on every pick.
@Suite struct AgreementTests {
    /// How a run is made. Each form of the balancer must hold on its own, without being refreshed from the rows.
    struct Form: Sendable, CustomTestStringConvertible {
        var name: String
        var tuning: Tuning
        var peersMax: Int
        var testDescription: String { name }
    }

    static let forms = [
        Form(name: "linear", tuning: Tuning(), peersMax: 8),
        Form(name: "tree of few", tuning: Tuning(linearMax: 0, refreshesPerPick: 0), peersMax: 8),
        Form(name: "tree of many", tuning: Tuning(linearMax: 0, refreshesPerPick: 0), peersMax: 90),
        Form(name: "tree as built", tuning: Tuning(), peersMax: 90),
    ]
    static let algorithms: [Algorithm] = [.roundRobin, .leastConn, .ipHash, .hash, .hashConsistent, .random, .randomTwo]

    @Test(arguments: forms, algorithms)
    func everyPickIsTheReferencesPick(_ form: Form, _ algorithm: Algorithm) {
        for seed in 1...UInt64(30) {
            var run = Run(algorithm, form, seed: seed)
            for step in 0..<400 {
                if let problem = run.step() {
                    Issue.record("seed \(seed), step \(step): \(problem)")
                    return
                }
            }
        }
    }

    /// Many lines of distinct slopes, which overtake each other all the time.
    @Test func manyDistinctWeightsKeepTheOrder() {
        var random = RandomSequence(state: 77)
        let specs = (0..<400).map { _ in
            var spec = PeerSpec(counters: PeerCounters())
            spec.weight = 1 + random.next(below: 5_000)
            return spec
        }
        var balancer = Balancer(.roundRobin, peers: specs)
        var model = ReferenceModel(.roundRobin, specs)
        for step in 0..<2_000 {
            var tried = TriedPeers()
            var request = ReferenceModel.Request()
            let picked = balancer.pick(PickContext(nowMs: 1), key: Span(), tried: &tried)
            let expected = model.pick(1, key: [], random: 0, &request)
            guard case .peer(let peer, _) = picked, Int(peer) == expected else {
                Issue.record("step \(step): picked \(picked), reference \(expected as Int?)")
                return
            }
        }
    }

    struct Exchange {
        var tried = TriedPeers()
        var request = ReferenceModel.Request()
        var key: [UInt8]
        var peer = -1
    }

    struct Run: ~Copyable {
        var random: RandomSequence
        var balancer: Balancer
        var model: ReferenceModel
        var open: [Exchange] = []
        var nowMs: Int64
        let algorithm: Algorithm
        let tuning: Tuning
        var specs: [PeerSpec]
        let failurePercent: Int

        init(_ algorithm: Algorithm, _ form: Form, seed: UInt64) {
            var random = RandomSequence(state: seed &* 7919)
            let keyed = algorithm != .roundRobin && algorithm != .leastConn
            let isRing = algorithm == .hashConsistent
            let weightMax = [1, 2, 5, isRing ? 3 : 40][random.next(below: 4)]
            let hasNames = random.next(below: 2) == 0
            var specs: [PeerSpec] = []
            for i in 0..<(1 + random.next(below: isRing ? min(form.peersMax, 12) : form.peersMax)) {
                var spec = PeerSpec(counters: PeerCounters())
                spec.weight = random.next(below: 8) == 0 ? 0 : 1 + random.next(below: weightMax)
                spec.maxConns = random.next(below: 3) == 0 ? 1 + random.next(below: 3) : 0
                spec.maxFails = random.next(below: 4)
                spec.failTimeoutMs = Int64(random.next(below: 50))
                spec.isBackup = !keyed && i > 0 && random.next(below: 4) == 0
                spec.isDown = random.next(below: 10) == 0
                spec.isDrained = random.next(below: 10) == 0
                spec.hashName = Array((hasNames ? "name\(i / 2):80" : "10.0.0.\(i):80").utf8)
                specs.append(spec)
            }
            balancer = Balancer(algorithm, peers: specs, tuning: form.tuning)
            model = ReferenceModel(algorithm, specs)
            nowMs = Int64(random.next(below: 1000))
            failurePercent = [0, 5, 40][random.next(below: 3)]
            self.algorithm = algorithm
            self.specs = specs
            tuning = form.tuning
            self.random = random
        }

        mutating func step() -> String? {
            nowMs += Int64(random.next(below: 4))
            if random.next(below: 40) == 0 { replace() }
            let choice = random.next(below: 10)
            if choice < 5 || open.isEmpty {
                if open.count > 60 { return nil }
                let length = algorithm == .ipHash ? [0, 4, 16][random.next(below: 3)] : random.next(below: 12)
                let key = (0..<length).map { _ in UInt8(random.next(below: 256)) }
                open.append(Exchange(key: key))
                return pick(open.count - 1)
            }
            let i = random.next(below: open.count)
            if open[i].peer >= 0 {
                let failed = random.next(below: 100) < failurePercent
                let outcome: PeerOutcome = failed ? .failed : random.next(below: 9) == 0 ? .neither : .succeeded
                balancer.release(Int32(open[i].peer), outcome: outcome, nowMs: nowMs)
                model.release(open[i].peer, outcome, nowMs)
                open[i].peer = -1
                if failed && !open[i].tried.isFull { return pick(i) }
            }
            open.remove(at: i)
            return nil
        }

        /// Goes on with a new balancer in which, now and then, a peer has another state.
        private mutating func replace() {
            let i = random.next(below: specs.count)
            let kind = random.next(below: 4)
            let change: (inout PeerSpec) -> Void = { spec in
                if kind == 0 { spec.isDown.toggle() }
                if kind == 1 { spec.isDrained.toggle() }
            }
            change(&specs[i])
            model.change(i, change)
            balancer = Balancer(algorithm, peers: specs, continuing: balancer, tuning: tuning)
        }

        private mutating func pickStuck(_ i: Int) -> String? {
            let peer = random.next(below: specs.count)
            let isFirst = open[i].tried.count == 0
            let isFull = open[i].tried.isFull
            let picked = balancer.pickStuck(Int32(peer), PickContext(nowMs: nowMs), tried: &open[i].tried)
            let expected = !isFull && model.pickStuck(peer, nowMs, &open[i].request, isFirst: isFirst)
            if picked != expected { return "stuck to \(peer): \(picked), reference \(expected)" }
            if picked { open[i].peer = peer }
            return picked ? nil : pick(i, mayBeStuck: false)
        }

        private mutating func pick(_ i: Int, mayBeStuck: Bool = true) -> String? {
            if mayBeStuck && random.next(below: 4) == 0 { return pickStuck(i) }
            let context = PickContext(nowMs: nowMs, randomNumber: random.next())
            let key = open[i].key
            let picked = balancer.pick(context, key: key.span, tried: &open[i].tried)
            let expected = model.pick(nowMs, key: key, random: context.randomNumber, &open[i].request)
            if case .peer(let peer, let isBackup) = picked {
                open[i].peer = Int(peer)
                let isRight = expected == Int(peer) && isBackup == open[i].request.onBackup
                return isRight ? nil : "picked \(peer), reference \(expected as Int?)"
            }
            open.remove(at: i)
            return expected == nil ? nil : "picked nothing, reference \(expected as Int?)"
        }
    }
}
