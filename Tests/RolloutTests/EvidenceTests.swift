import RolloutSimulation
import Testing

@testable import Rollout

@Suite("rollout: sequential tests")
struct EvidenceTests {
    /// The expectation of the factor by which a block changes the wealth, worked out over all outcomes: at most 1 wherever the
    /// hypothesis is true, more than 1 where the new variant is worse.
    @Test(arguments: [(3, 5), (8, 2), (1, 1)] as [(UInt64, UInt64)], [0, 0.05])
    func aBlockIsAFairBet(trials: (UInt64, UInt64), margin: Double) {
        let bets = ProportionBets(prior: 0.03)
        func expectation(_ p: Double, _ q: Double) -> Double {
            var sum = 0.0
            for old in 0...trials.0 {
                for new in 0...trials.1 {
                    var after = bets
                    after.take(.init(oldEvents: old, oldTrials: trials.0, newEvents: new, newTrials: trials.1), margin: margin)
                    let wealth = Numerics.exp(after.lnWealth)
                    sum += wealth * binomial(trials.0, old, p) * binomial(trials.1, new, q)
                }
            }
            return sum
        }
        for p in [0.0, 0.001, 0.01, 0.03, 0.1, 0.4, 0.9] {
            for q in [0, p / 2, p, min(p + margin / 2, 1), min(p + margin, 1)] {
                #expect(expectation(p, q) <= 1 + 1e-9, "\(p) \(q)")
            }
        }
        #expect(expectation(0.03, 0.03 + margin + 0.6) > 1.1)
    }

    private func binomial(_ n: UInt64, _ k: UInt64, _ p: Double) -> Double {
        var value = 1.0
        for i in 0..<k { value *= Double(n - i) / Double(i + 1) * p }
        for _ in k..<n { value *= 1 - p }
        return value
    }

    @Test func healthyBlocksLeaveTheWealthAndAFaultRaisesIt() {
        var bets = ProportionBets(prior: 0.002)
        for i in 0..<600 as Range<UInt64> {
            bets.take(
                .init(oldEvents: i % 3 == 0 ? 1 : 0, oldTrials: 190, newEvents: i % 50 == 0 ? 1 : 0, newTrials: 10), margin: 0.002
            )
        }
        #expect(bets.lnWealth < Numerics.ln(2))
        // Ten minutes of health do not hide what begins then.
        var blocks = 0
        while bets.lnWealth < Numerics.ln(200), blocks < 200 {
            bets.take(.init(oldEvents: 0, oldTrials: 190, newEvents: blocks % 2 == 0 ? 1 : 0, newTrials: 10), margin: 0.002)
            blocks += 1
        }
        #expect(blocks < 40)
    }

    @Test func aBlockThatLacksAVariantSaysNothing() {
        var bets = ProportionBets(prior: 0.002)
        let before = bets.lnStakes
        bets.take(.init(oldEvents: 9, oldTrials: 10, newEvents: 0, newTrials: 0), margin: 0)
        bets.take(.init(oldEvents: 0, oldTrials: 0, newEvents: 9, newTrials: 10), margin: 0)
        #expect(bets.lnStakes == before)
    }

    @Test func errorsOfBothProveNothing() {
        var test = ErrorTest()
        let policy = RolloutPolicy(name: "p")
        for _ in 0..<300 { test.take(Observations(old: seen(150, errors: 45), new: seen(50, errors: 15)), policy) }
        #expect(test.verdict(policy, alpha: 0.01) == .pass)
    }

    @Test func aVerdictSaysWhatItSaw() throws {
        var test = ErrorTest()
        let policy = RolloutPolicy(name: "p")
        var verdicts: [Verdict] = []
        for _ in 0..<20 {
            test.take(Observations(old: seen(190), new: seen(10, errors: 1)), policy)
            verdicts.append(test.verdict(policy, alpha: 0.005))
        }
        #expect(verdicts.first == .pass)
        #expect(verdicts.contains { if case .inconclusive = $0 { true } else { false } })
        guard case .fail(let finding) = verdicts.last else {
            Issue.record("no failure")
            return
        }
        #expect(finding.kind == .errorTest)
        #expect(finding.text.contains("20 of 200 requests (10 %) against 0 of 3800 requests (0 %)"), "\(finding.text)")
        #expect(finding.figures.contains(Figure("new.error_ratio", 0.1)))
    }

    @Test(arguments: [(60, false), (69, false), (80, true), (350, true)] as [(UInt64, Bool)])
    func latencyFailsBeyondTheSmallestEffect(newMs: UInt64, fails: Bool) {
        var test = LatencyTest(share: 0.95)
        let policy = RolloutPolicy(name: "p")
        var old = seen(180, ms: 50)
        old.latency.add(us: 52_000, count: 20)
        for _ in 0..<60 { test.take(Observations(old: old, new: seen(20, ms: newMs)), policy) }
        if case .fail(let finding) = test.verdict(policy, alpha: 0.0025) {
            #expect(fails)
            #expect(finding.text.hasPrefix("p95 of the new variant is "))
            #expect(finding.figures.contains { $0.name == "new.p95_lower_ms" })
        } else {
            #expect(!fails)
        }
    }

    @Test func figuresAreWordedBriefly() {
        let cases: [(Double, Int, String)] = [
            (0, 2, "0"), (1.5, 2, "1.5"), (1.006, 2, "1.01"), (12, 1, "12"), (0.999, 2, "1"), (-2.25, 1, "-2.3"),
            (0.04, 2, "0.04"),
        ]
        for (value, digits, text) in cases { #expect(Wording.decimal(value, digits: digits) == text) }
        #expect(Wording.percent(0.0123) == "1.23 %" && Wording.ms(us: 412_345) == "412 ms" && Wording.ms(us: 1_250) == "1.3 ms")
    }
}
