// How fast requests of one key come, and whether one more may: the leaky bucket of limit_req, with numbers as nginx counts them.
// Kept in a `LimitTable`. Times are given, nothing is asked of a clock.

/// The rate a key may have. Requests are counted in thousandths, so that slow rates stay whole numbers.
public struct RequestRate: Equatable, Sendable, BitwiseCopyable {
    /// Thousandths of a request a second; at least 1.
    public var perSecond: Int64
    /// How far above the rate a key may be, in thousandths.
    public var burst: Int64
    /// How far above the rate requests are not delayed, in thousandths.
    public var undelayed: Int64

    /// The largest rate: its product with `LeakyBucket.msMax` is far from overflow.
    public static var perSecondMax: Int64 { 1_000_000_000 }

    public init(perSecond: Int64, burst: Int64, undelayed: Int64) {
        self.perSecond = min(max(perSecond, 1), Self.perSecondMax)
        self.burst = burst
        self.undelayed = undelayed
    }

    /// How long a request that is `excess` above the rate waits.
    public func delayMs(excess: Int64) -> Int64 {
        excess <= undelayed ? 0 : (excess - undelayed) * 1000 / perSecond
    }
}

public struct LeakyBucket: Equatable, Sendable, BitwiseCopyable {
    /// How far above the rate the key was at `lastMs`, in thousandths of a request. Before its first request it is one below.
    public private(set) var excess: Int64 = -1000
    public private(set) var lastMs: Int64

    static var msMax: Int64 { 1_000_000_000 }

    public init(nowMs: Int64) { lastMs = nowMs }

    /// How far above the rate the key is with one more request.
    public func excess(nowMs: Int64, _ rate: RequestRate) -> Int64 {
        // Workers look at the clock at the beginning of a turn: another one's may be a little ahead.
        let ms = min(max(nowMs - lastMs, 0), Self.msMax)
        return max(0, excess - rate.perSecond * ms / 1000 + 1000)
    }

    /// Counts the request that `excess` was told of.
    public mutating func take(_ excess: Int64, nowMs: Int64) {
        self.excess = excess
        lastMs = max(lastMs, nowMs)
    }
}
