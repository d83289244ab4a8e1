// Counts of latencies in buckets of bounded relative width: what workers fill with plain increments and verdicts are made from.
// Filled by whoever observes, merged by the controller. Whole numbers only; it keeps no sample.

/// Latencies in microseconds, log-linear as in HdrHistogram: each power of two in 16 equal parts.
///
/// Values below 32 µs are exact; above, a bucket is at most 1/16 of its lower end wide, and its middle, which `quantileUs`
/// answers, off by at most 1/32. From 2^27 µs (134 s) on everything is one value. Merging is adding, in any order.
public struct LatencyHistogram: Sendable, Equatable {
    static let partBits = 4
    static let topBits = 27
    /// A worker's own row has so many counters: `row[LatencyHistogram.bucket(ofUs: us)] += 1`.
    public static let bucketCount = (topBits - partBits + 1) << partBits

    /// By bucket; empty: nothing was counted.
    private var counts: [UInt64] = []
    /// The buckets that may hold something.
    private(set) var first = bucketCount
    private(set) var last = -1
    public private(set) var total: UInt64 = 0

    public init() {}

    /// From a worker's row of `bucketCount` counters; what is beyond is left out.
    public init(row: Span<UInt64>) {
        for bucket in 0..<min(row.count, Self.bucketCount) { add(bucket: bucket, row[bucket]) }
    }

    // MARK: Buckets

    /// The bucket of a latency. A few instructions, no branch but one.
    @inlinable
    public static func bucket(ofUs us: UInt64) -> Int {
        let us = min(us, 1 << 27 - 1)
        if us < 16 { return Int(truncatingIfNeeded: us) }
        let octave = 63 &- us.leadingZeroBitCount
        return (octave &- 3) &<< 4 | Int(truncatingIfNeeded: us &>> UInt64(truncatingIfNeeded: octave &- 4) & 15)
    }

    /// The least latency of a bucket, in microseconds. That of `bucketCount` is the end of all.
    public static func lowerUs(ofBucket bucket: Int) -> UInt64 {
        let bucket = min(max(bucket, 0), bucketCount)
        if bucket < 16 { return UInt64(bucket) }
        return UInt64(16 + bucket & 15) << UInt64(bucket >> 4 - 1)
    }

    public subscript(bucket: Int) -> UInt64 { counts.indices.contains(bucket) ? counts[bucket] : 0 }

    // MARK: Counting

    public mutating func add(us: UInt64, count: UInt64 = 1) { add(bucket: Self.bucket(ofUs: us), count) }

    /// A bucket that there is not is passed over.
    public mutating func add(bucket: Int, _ count: UInt64) {
        guard count > 0, bucket >= 0, bucket < Self.bucketCount else { return }
        if counts.isEmpty { counts = Array(repeating: 0, count: Self.bucketCount) }
        counts[bucket] &+= count
        total &+= count
        first = min(first, bucket)
        last = max(last, bucket)
    }

    public mutating func add(_ other: LatencyHistogram) {
        if other.first > other.last { return }
        if counts.isEmpty {
            self = other
            return
        }
        for bucket in other.first...other.last { counts[bucket] &+= other.counts[bucket] }
        total &+= other.total
        first = min(first, other.first)
        last = max(last, other.last)
    }

    /// Takes away what was added before.
    mutating func subtract(_ other: LatencyHistogram) {
        if other.first > other.last || counts.isEmpty { return }
        for bucket in other.first...other.last {
            let gone = min(counts[bucket], other.counts[bucket])
            counts[bucket] -= gone
            total &-= gone
        }
        tighten()
    }

    /// Halves every count, rounding down: the past weighs less.
    mutating func halve() {
        if first > last { return }
        total = 0
        for bucket in first...last {
            counts[bucket] >>= 1
            total &+= counts[bucket]
        }
        tighten()
    }

    private mutating func tighten() {
        while first <= last, counts[first] == 0 { first += 1 }
        while last >= first, counts[last] == 0 { last -= 1 }
        if first > last { self = LatencyHistogram() }
    }

    // MARK: Reading

    /// The bucket of the value of this rank, counted from 1; nil: nothing was counted.
    private func bucket(ofRank rank: UInt64) -> Int? {
        if first > last { return nil }
        var seen: UInt64 = 0
        for bucket in first...last {
            seen &+= counts[bucket]
            if seen >= rank { return bucket }
        }
        return last
    }

    /// The least and the first greater latency of the bucket that holds the value of this rank, in microseconds.
    /// - Parameter rank: from 1; less counts as 1, more than there are as the last.
    func edgesUs(ofRank rank: UInt64) -> (lower: UInt64, upper: UInt64)? {
        guard let bucket = bucket(ofRank: max(rank, 1)) else { return nil }
        return (Self.lowerUs(ofBucket: bucket), Self.lowerUs(ofBucket: bucket + 1))
    }

    /// A quantile: the middle of the bucket of the least value that at least this share of all do not exceed. Off by at most
    /// 1/32 of itself; nil: nothing was counted.
    /// - Parameter share: 0.95 for p95.
    public func quantileUs(_ share: Double) -> UInt64? {
        edgesUs(ofRank: rank(share)).map { $0.lower + ($0.upper - 1 - $0.lower) / 2 }
    }

    /// The rank of a quantile: its share of the total, rounded up.
    func rank(_ share: Double) -> UInt64 {
        let exact = min(max(share, 0), 1) * Double(total)
        let whole = UInt64(exact)
        return Double(whole) < exact ? whole + 1 : whole
    }

    /// How many were at least as long as the least latency of `bucket`.
    func count(fromBucket bucket: Int) -> UInt64 {
        var sum: UInt64 = 0
        var i = max(bucket, first)
        while i <= last {
            sum &+= counts[i]
            i += 1
        }
        return sum
    }
}
