// A sequential test of two proportions by betting: evidence that grows only if the new variant's proportion is the greater one.
// Used by ErrorTest (errors) and LatencyTest (requests slower than a mark). It knows neither; counts of blocks of time come in.

/// Bets against "in each block, the new variant's proportion exceeds the old one's by at most `margin`".
///
/// The wealth begins with 1 and is an e-process: while the hypothesis is true, its expectation is at most 1 whenever one
/// looks, so it ever reaches 1/alpha with a probability of at most alpha (Ville's inequality). Nothing is assumed of how the
/// proportions move from block to block, so load, time of day and faults common to both do no harm; within a block, requests
/// count as independent.
///
/// A block with n_o and n_n requests is bet on by the ratio of the likelihoods of (p, p + margin + effect), p being what
/// earlier blocks say of the old variant, and of the point of the hypothesis nearest to it in the block's Kullback-Leibler
/// divergence (Turner, Ly, Grünwald: Generic E-variables for exact sequential k-sample tests that allow for optional
/// stopping, JSPI 230, 2024; with a margin: Turner, Grünwald, arXiv:2203.09785). Several effects are bet on side by side.
///
/// A fault may begin late, when bets from the beginning have lost nearly all: half the wealth is staked at once, the rest
/// stays in reserve, of which a share is staked anew every few blocks (mixing over the beginning of a change as in
/// Shin, Ramdas, Rinaldo: E-detectors, 2023). Any such division decided beforehand keeps the guarantee.
struct ProportionBets: Sendable, Equatable {
    static let effects: [Double] = [0.004, 0.01, 0.025, 0.06, 0.15, 0.4, 0.9]
    static let blocksBetweenStakes = 10
    static let stakeOfReserve = 1.0 / 32
    /// The old variant's counts are halved so often, so that the estimate follows it.
    static let blocksBetweenHalvings = 60

    /// The logarithm of the wealth staked on each effect.
    var lnStakes: [Double]
    /// Wealth not staked yet.
    var reserve = 0.5
    var blocks = 0
    /// What earlier blocks saw of the old variant.
    var oldEvents: Double
    var oldTrials: Double

    /// - Parameter prior: the proportion that is assumed before anything was seen; it weighs as much as 100 requests.
    init(prior: Double) {
        lnStakes = Array(repeating: Numerics.ln(0.5 / Double(Self.effects.count)), count: Self.effects.count)
        oldEvents = 100 * prior
        oldTrials = 100
    }

    /// The logarithm of the wealth: how many times likelier what was seen has become, in favour of "the new one is worse".
    var lnWealth: Double { lnStakes.reduce(Numerics.ln(reserve)) { Numerics.lnSum($0, $1) } }

    struct Block {
        var oldEvents: UInt64
        var oldTrials: UInt64
        var newEvents: UInt64
        var newTrials: UInt64
    }

    /// Bets on a block, then learns from it.
    /// - Parameter margin: how much greater the hypothesis lets the new proportion be: 0 or more, less than 1.
    mutating func take(_ block: Block, margin: Double) {
        stakeAnew()
        let base = min(max(oldEvents / oldTrials, 0.0005), 0.5)
        for i in Self.effects.indices {
            // Limits: no double is lost, and a stake can win again.
            lnStakes[i] = min(max(lnStakes[i] + lnRatio(of: block, base, margin, Self.effects[i]), -600), 600)
        }
        oldEvents += Double(min(block.oldEvents, block.oldTrials))
        oldTrials += Double(block.oldTrials)
        if blocks % Self.blocksBetweenHalvings == 0 {
            oldEvents /= 2
            oldTrials = max(oldTrials / 2, 1)
        }
    }

    private mutating func stakeAnew() {
        blocks &+= 1
        guard blocks % Self.blocksBetweenStakes == 0, reserve > 1e-200 else { return }
        let stake = reserve * Self.stakeOfReserve
        reserve -= stake
        let lnStake = Numerics.ln(stake / Double(lnStakes.count))
        for i in lnStakes.indices { lnStakes[i] = Numerics.lnSum(lnStakes[i], lnStake) }
    }

    /// The logarithm of the likelihood ratio of a block. A block that lacks a variant says nothing: 0.
    private func lnRatio(of block: Block, _ base: Double, _ margin: Double, _ effect: Double) -> Double {
        let (oldTrials, newTrials) = (Double(block.oldTrials), Double(block.newTrials))
        let new = min(base + margin + effect, 0.999)
        guard oldTrials > 0, newTrials > 0, new > base + margin + 1e-6 else { return 0 }
        // The divergence's derivative rises from `base`, where it is negative, to `new - margin`, where it is positive.
        var (low, high) = (base, new - margin)
        for _ in 0..<50 {
            let p = (low + high) / 2
            let q = p + margin
            if oldTrials * (p - base) / (p * (1 - p)) < newTrials * (new - q) / (q * (1 - q)) { low = p } else { high = p }
        }
        let nearest = (low + high) / 2
        return Self.lnLikelihood(block.oldEvents, block.oldTrials, base, nearest)
            + Self.lnLikelihood(block.newEvents, block.newTrials, new, nearest + margin)
    }

    private static func lnLikelihood(_ events: UInt64, _ trials: UInt64, _ p: Double, _ q: Double) -> Double {
        let events = min(events, trials)
        return Double(events) * Numerics.ln(p / q) + Double(trials - events) * Numerics.ln((1 - p) / (1 - q))
    }
}
