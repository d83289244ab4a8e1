// Does the new variant answer more errors than the old one, over the same time? A sequential test: look as often as you like.
// Fed by the machine with blocks of time after the warm-up. It decides nothing: a verdict comes out.

/// The sequential comparison of two error ratios; see `ProportionBets` for the method and its source.
struct ErrorTest: Sendable, Equatable {
    var bets = ProportionBets(prior: 0.002)
    /// Both variants since the test began: figures of the verdict.
    var oldErrors: UInt64 = 0
    var oldRequests: UInt64 = 0
    var newErrors: UInt64 = 0
    var newRequests: UInt64 = 0

    /// - Parameter seen: both variants over a block in which both had requests.
    mutating func take(_ seen: Observations, _ policy: RolloutPolicy) {
        let block = ProportionBets.Block(
            oldEvents: seen.old.errors.sum(policy.errorClasses), oldTrials: seen.old.finished,
            newEvents: seen.new.errors.sum(policy.errorClasses), newTrials: seen.new.finished)
        bets.take(block, margin: policy.errorRiseMin)
        oldErrors &+= block.oldEvents
        oldRequests &+= block.oldTrials
        newErrors &+= block.newEvents
        newRequests &+= block.newTrials
    }

    /// - Parameter alpha: the probability of ever failing a variant that is worse by no more than `policy.errorRiseMin`.
    func verdict(_ policy: RolloutPolicy, alpha: Double) -> Verdict {
        let evidence = bets.lnWealth
        if evidence >= Numerics.ln(1 / alpha) { return .fail(finding(policy, evidence)) }
        if evidence >= Numerics.ln(1 / alpha) / 2 {
            return .inconclusive("the error ratios lean against the new variant, without proof yet: \(sides)")
        }
        return .pass
    }

    private var sides: String {
        "\(Wording.share(newErrors, of: newRequests)) against \(Wording.share(oldErrors, of: oldRequests))"
    }

    var figures: [Figure] {
        [
            Figure("new.errors", Double(newErrors)), Figure("new.requests", Double(newRequests)),
            Figure("new.error_ratio", Wording.ratio(newErrors, of: newRequests)),
            Figure("old.errors", Double(oldErrors)), Figure("old.requests", Double(oldRequests)),
            Figure("old.error_ratio", Wording.ratio(oldErrors, of: oldRequests)),
            Figure("error_evidence", Numerics.exp(bets.lnWealth)),
        ]
    }

    private func finding(_ policy: RolloutPolicy, _ evidence: Double) -> Finding {
        let odds = Wording.decimal(Numerics.exp(min(evidence, 30)), digits: 0)
        return Finding(
            .errorTest,
            "errors of the new variant in \(sides) of the old one at the same time: worse by more than"
                + " \(Wording.percent(policy.errorRiseMin)), with \(odds) to 1",
            figures)
    }
}
