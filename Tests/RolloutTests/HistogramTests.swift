import Testing

@testable import Rollout

@Suite("rollout: latency histogram")
struct HistogramTests {
    @Test func everyValueIsInItsBucketAndBucketsAreNarrow() {
        var us: UInt64 = 0
        while us < 1 << 27 {
            let bucket = LatencyHistogram.bucket(ofUs: us)
            let lower = LatencyHistogram.lowerUs(ofBucket: bucket)
            let upper = LatencyHistogram.lowerUs(ofBucket: bucket + 1)
            #expect(lower <= us && us < upper, "\(us)")
            #expect(us < 32 ? upper == lower + 1 : 16 * (upper - lower) <= lower, "\(us)")
            us = us < 2_000 ? us + 1 : us * 101 / 100
        }
        #expect(LatencyHistogram.bucket(ofUs: .max) == LatencyHistogram.bucketCount - 1)
        #expect(LatencyHistogram.lowerUs(ofBucket: LatencyHistogram.bucketCount) == 1 << 27)
    }

    @Test func quantilesAreNearThoseOfTheValues() {
        var histogram = LatencyHistogram()
        for us in stride(from: UInt64(1_000), through: 100_000, by: 10) { histogram.add(us: us) }
        for (share, exact) in [(0.5, 50_500.0), (0.95, 95_050.0), (0.99, 99_010.0), (0, 1_000), (1, 100_000)] {
            let value = Double(histogram.quantileUs(share) ?? 0)
            #expect(abs(value / exact - 1) <= 1.0 / 32, "\(share): \(value)")
        }
        #expect(LatencyHistogram().quantileUs(0.5) == nil)
    }

    @Test func mergingIsAddingAndTakingAwayUndoesIt() {
        var (a, b) = (LatencyHistogram(), LatencyHistogram())
        for us in [5, 100, 100, 70_000] as [UInt64] { a.add(us: us) }
        for us in [100, 2_000_000, 1 << 40] as [UInt64] { b.add(us: us, count: 3) }
        var both = a
        both.add(b)
        var other = b
        other.add(a)
        #expect(both == other && both.total == 13)
        both.subtract(b)
        #expect(both == a)
        both.subtract(a)
        #expect(both == LatencyHistogram())
        a.halve()
        #expect(a.total == 1)
        a.halve()
        #expect(a == LatencyHistogram())
    }

    @Test func readsTheRowOfAWorker() {
        var row = [UInt64](repeating: 0, count: LatencyHistogram.bucketCount)
        var expected = LatencyHistogram()
        for us in [3, 900, 900, 12_345_678] as [UInt64] {
            row[LatencyHistogram.bucket(ofUs: us)] += 1
            expected.add(us: us)
        }
        #expect(LatencyHistogram(row: row.span) == expected)
    }

    /// Looked at after each hundred values, the true p95 leaves its bounds in far fewer than alpha of the streams.
    @Test func boundsHoldAtEveryLook() throws {
        var left = 0
        for seed in 0..<100 as Range<UInt64> {
            var state = seed &* 77 &+ 5
            var histogram = LatencyHistogram()
            var hasLeft = false
            for i in 1...3_000 {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                // Even from 0 to 100 ms: the p95 is 95 ms.
                histogram.add(us: (state >> 33) % 100_000)
                guard i % 100 == 0 else { continue }
                let bounds = try #require(QuantileBounds(of: histogram, share: 0.95, alpha: 0.05))
                #expect(bounds.lowerUs <= bounds.valueUs && bounds.valueUs <= bounds.upperUs)
                hasLeft = hasLeft || bounds.lowerUs > 95_000 || bounds.upperUs < 95_000
            }
            left += hasLeft ? 1 : 0
            let last = try #require(QuantileBounds(of: histogram, share: 0.95, alpha: 0.05))
            #expect(last.lowerUs > 88_000 && last.upperUs < 105_000, "and they are of use: \(last)")
        }
        #expect(left <= 5)
    }
}
