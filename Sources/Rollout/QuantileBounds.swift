// Bounds of a quantile that hold at every look: what a verdict says of p95 and p99.
// Called when a verdict is worded. Pure function of a histogram.

/// A quantile with its bounds, in microseconds.
public struct QuantileBounds: Sendable, Equatable {
    /// The middle of the quantile's bucket.
    public var valueUs: UInt64
    /// The quantile is not below this.
    public var lowerUs: UInt64
    /// The quantile is not above this.
    public var upperUs: UInt64

    /// Bounds within which the quantile lies at all looks together, with a probability of at least 1 - `alpha`, for latencies
    /// that are independent and alike.
    ///
    /// The count of values below a quantile is binomial. A count is believed while its likelihood under the share is more
    /// than `alpha` times that under a beta mixture of all shares, a mixture martingale (Robbins: Statistical methods related to
    /// the law of the iterated logarithm, 1970; for quantiles Howard, Ramdas: Sequential estimation of quantiles, Bernoulli 28,
    /// 2022). The values at the least and greatest count believed, to the outer edges of their buckets, are the bounds.
    /// - Parameter share: 0.95 for p95. nil: nothing was counted.
    public init?(of histogram: LatencyHistogram, share: Double, alpha: Double) {
        guard let value = histogram.quantileUs(share) else { return nil }
        let n = Double(histogram.total)
        // As much weight as 20 values, around the share.
        let (a, b) = (20 * share, 20 * (1 - share))
        let fixed =
            Numerics.lnGamma(a) + Numerics.lnGamma(b) - Numerics.lnGamma(a + b) + Numerics.lnGamma(n + a + b)
            + Numerics.ln(1 / alpha)
        func isBelieved(_ k: UInt64) -> Bool {
            let k = Double(k)
            let mixture = Numerics.lnGamma(a + k) + Numerics.lnGamma(b + n - k)
            return mixture - k * Numerics.ln(share) - (n - k) * Numerics.ln(1 - share) < fixed
        }
        // The counts that are believed lie side by side, around the quantile's own rank.
        let middle = min(histogram.rank(share), histogram.total)
        var (low, lowest) = (UInt64(0), middle)
        while low < lowest {
            let k = (low + lowest) / 2
            if isBelieved(k) { lowest = k } else { low = k + 1 }
        }
        var (greatest, high) = (middle, histogram.total)
        while greatest < high {
            let k = greatest + (high - greatest + 1) / 2
            if isBelieved(k) { greatest = k } else { high = k - 1 }
        }
        valueUs = value
        lowerUs = lowest == 0 ? 0 : histogram.edgesUs(ofRank: lowest)?.lower ?? 0
        let end = LatencyHistogram.lowerUs(ofBucket: LatencyHistogram.bucketCount)
        upperUs = greatest >= histogram.total ? end : histogram.edgesUs(ofRank: greatest + 1)?.upper ?? end
    }
}
