// When each failed peer may be tried again: a tournament over times, so that a pick asks for the earliest in constant time.
// Used by `PeerTier` in its tree form.

struct WakeTree: ~Copyable {
    /// Node `n` has the children `2n` and `2n + 1`; the leaves are the peers in order.
    private var times: Table<Int64>
    private let capacity: Int

    /// `capacity`: a power of two.
    init(capacity: Int) {
        self.capacity = capacity
        times = Table(2 * capacity, filledWith: .max)
    }

    var earliest: Int64 { times[1] }

    /// The peer that wakes at `earliest`.
    var first: Int {
        var n = 1
        while n < capacity { n = times[2 * n] == times[1] ? 2 * n : 2 * n + 1 }
        return n - capacity
    }

    mutating func set(_ peer: Int, _ time: Int64) {
        var n = capacity + peer
        times[n] = time
        while n > 1 {
            n /= 2
            times[n] = min(times[2 * n], times[2 * n + 1])
        }
    }
}
