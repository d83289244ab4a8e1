// When a server is asked after its health, and how many answers in a row change what is known of it.
// Read by `CheckRoster`; made by Control from the words of `health_check`. Plain values.

/// The numbers of one `health_check`.
public struct CheckTiming: Sendable, Equatable, BitwiseCopyable {
    /// From the beginning of a check to that of the next, at least.
    public var intervalMs: Int64
    /// A check comes later by a part of this, by lot.
    public var jitterMs: Int64
    /// So many failures in a row make a server sick, so many passes make it well.
    public var fails: Int
    public var passes: Int

    public init(intervalMs: Int64 = 5000, jitterMs: Int64 = 0, fails: Int = 1, passes: Int = 1) {
        self.intervalMs = max(1, intervalMs)
        self.jitterMs = max(0, jitterMs)
        self.fails = max(1, fails)
        self.passes = max(1, passes)
    }

    /// How long a first check waits, so that many servers are asked evenly over an interval and not all at once.
    /// - Parameter seed: any number of the server's own; the same gives the same place.
    public func spread(_ seed: UInt64) -> Int64 {
        // splitmix64's finish: neighbours are far apart afterwards.
        var x = seed &+ 0x9E37_79B9_7F4A_7C15
        x = (x ^ (x >> 30)) &* 0xBF58_476D_1CE4_E5B9
        x = (x ^ (x >> 27)) &* 0x94D0_49BB_1331_11EB
        x ^= x >> 31
        return Int64(x.multipliedFullWidth(by: UInt64(intervalMs)).high)
    }

    /// When the check is due that follows one that began at `beganMs` and has ended at `nowMs`.
    public func next(after beganMs: Int64, nowMs: Int64, random: UInt64) -> Int64 {
        let usual = max(beganMs + intervalMs, nowMs)
        return usual + (jitterMs > 0 ? Int64(random % UInt64(jitterMs + 1)) : 0)
    }
}
