// Is a quantile of the new variant's latency later than the old one's, over the same time? A sequential test.
// Fed by the machine with blocks of time after the warm-up. It decides nothing: a verdict comes out.

/// The sequential comparison of a quantile.
///
/// The quantile of the old variant, as earlier blocks have it, is a mark. The share of the new variant's requests slower than the
/// mark and the smallest effect is compared with the old one's share slower than the mark, as `ProportionBets` does with any
/// two proportions. If no latency of the new variant is likelier to exceed a value by the effect than one of the old to
/// exceed that value, the test ever fails it with a probability of at most alpha. A mark that is off costs power, not validity.
struct LatencyTest: Sendable, Equatable {
    /// 0.95 for p95.
    let share: Double
    var bets: ProportionBets
    /// The old variant of earlier blocks, halved now and then.
    var reference = LatencyHistogram()
    /// Both variants since the test began.
    var old = LatencyHistogram()
    var new = LatencyHistogram()

    static let referenceMin: UInt64 = 100

    init(share: Double) {
        self.share = share
        bets = ProportionBets(prior: 1 - share)
    }

    /// - Parameter seen: both variants over a block in which both had requests.
    mutating func take(_ seen: Observations, _ policy: RolloutPolicy) {
        if reference.total >= Self.referenceMin, let mark = reference.edgesUs(ofRank: reference.rank(share))?.upper {
            let effectUs = max(UInt64(policy.latencyRiseMinMs) * 1000, UInt64(Double(mark) * policy.latencyRiseMinRatio))
            // Requests from a bucket on; the new one's bucket begins no earlier than the mark and the effect.
            let oldBucket = LatencyHistogram.bucket(ofUs: mark)
            var newBucket = LatencyHistogram.bucket(ofUs: mark + effectUs)
            if LatencyHistogram.lowerUs(ofBucket: newBucket) < mark + effectUs { newBucket += 1 }
            let block = ProportionBets.Block(
                oldEvents: seen.old.latency.count(fromBucket: oldBucket), oldTrials: seen.old.latency.total,
                newEvents: seen.new.latency.count(fromBucket: newBucket), newTrials: seen.new.latency.total)
            bets.take(block, margin: 0)
            if bets.blocks % ProportionBets.blocksBetweenHalvings == 0 { reference.halve() }
        }
        reference.add(seen.old.latency)
        old.add(seen.old.latency)
        new.add(seen.new.latency)
    }

    private var name: String { "p" + Wording.decimal(share * 100, digits: 1) }

    func verdict(_ policy: RolloutPolicy, alpha: Double) -> Verdict {
        let evidence = bets.lnWealth
        if evidence >= Numerics.ln(1 / alpha) { return .fail(finding(policy, alpha)) }
        if evidence >= Numerics.ln(1 / alpha) / 2 {
            return .inconclusive("\(name) leans against the new variant, without proof yet: \(sides(alpha))")
        }
        return .pass
    }

    private func sides(_ alpha: Double) -> String {
        guard let ours = QuantileBounds(of: new, share: share, alpha: alpha),
            let theirs = QuantileBounds(of: old, share: share, alpha: alpha)
        else { return "too few answers" }
        return
            "\(Wording.ms(us: ours.valueUs)) (at least \(Wording.ms(us: ours.lowerUs))) against \(Wording.ms(us: theirs.valueUs))"
            + " (at most \(Wording.ms(us: theirs.upperUs)))"
    }

    func figures(alpha: Double) -> [Figure] {
        var figures: [Figure] = []
        for (side, histogram) in [("new", new), ("old", old)] {
            guard let bounds = QuantileBounds(of: histogram, share: share, alpha: alpha) else { continue }
            figures.append(Figure("\(side).\(name)_ms", Double(bounds.valueUs) / 1000))
            figures.append(Figure("\(side).\(name)_lower_ms", Double(bounds.lowerUs) / 1000))
            figures.append(Figure("\(side).\(name)_upper_ms", Double(bounds.upperUs) / 1000))
        }
        figures.append(Figure("\(name)_evidence", Numerics.exp(bets.lnWealth)))
        return figures
    }

    private func finding(_ policy: RolloutPolicy, _ alpha: Double) -> Finding {
        let effect =
            "\(policy.latencyRiseMinMs) ms and \(Wording.percent(policy.latencyRiseMinRatio))"
        return Finding(
            .latencyTest,
            "\(name) of the new variant is \(sides(alpha)) of the old one at the same time: later by more than \(effect)",
            figures(alpha: alpha))
    }
}
