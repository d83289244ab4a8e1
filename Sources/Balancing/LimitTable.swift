// The states of the keys of limit_req and limit_conn: a table of a fixed size, of which the least recently used state makes way for a new
// one. The engine keeps one, or several behind each other's locks, for each zone.

/// Keys stand here by a hash that nobody outside can steer: two of them on one hash would share a state.
public struct LimitTable: ~Copyable, Sendable {
    private struct Entry: BitwiseCopyable {
        var key: UInt64
        var bucket: LeakyBucket
        var connections: UInt32 = 0
        /// The next of the same chain, or of the free ones.
        var next: Int32 = -1
        var newer: Int32 = -1
        var older: Int32 = -1
    }

    /// What a state takes, with its share of the chains' heads.
    public static var stateBytes: Int { MemoryLayout<Entry>.stride + 2 * MemoryLayout<Int32>.stride }

    private var entries: [Entry] = []
    private var heads: [Int32]
    private var firstFree: Int32 = -1
    private var newest: Int32 = -1
    private var oldest: Int32 = -1
    public let capacity: Int
    /// States held now.
    public private(set) var count = 0

    /// `capacity`: how many states there may be.
    public init(capacity: Int) {
        precondition(capacity > 0 && capacity < Int(Int32.max))
        self.capacity = capacity
        // A power of two above the capacity by half or less: chains are short.
        heads = [Int32](repeating: -1, count: 1 << (Int.bitWidth - (capacity - 1).leadingZeroBitCount))
        entries.reserveCapacity(capacity)
    }

    // MARK: Requests

    public enum RequestVerdict: Equatable, Sendable, BitwiseCopyable {
        /// Within rate and burst: above the rate by so many thousandths of a request.
        case within(Int64)
        case over(Int64)
        /// Every state is in use.
        case full
    }

    /// Whether one more request of `key` may come now. It is counted if it may and `counts` is set, or by `countRequest` later, when
    /// other limits have had their say.
    public mutating func judgeRequest(_ key: UInt64, nowMs: Int64, _ rate: RequestRate, counts: Bool) -> RequestVerdict {
        let i = place(key, nowMs)
        if i < 0 { return .full }
        let excess = entries[i].bucket.excess(nowMs: nowMs, rate)
        if excess > rate.burst { return .over(excess) }
        if counts { entries[i].bucket.take(excess, nowMs: nowMs) }
        return .within(excess)
    }

    /// Counts a request; returns how far above the rate its key is now.
    public mutating func countRequest(_ key: UInt64, nowMs: Int64, _ rate: RequestRate) -> Int64 {
        let i = place(key, nowMs)
        if i < 0 { return 0 }
        let excess = entries[i].bucket.excess(nowMs: nowMs, rate)
        entries[i].bucket.take(excess, nowMs: nowMs)
        return excess
    }

    // MARK: Connections

    public enum ConnectionVerdict: Equatable, Sendable, BitwiseCopyable {
        case entered
        /// As many as there may be are there.
        case tooMany
        /// Every state is in use.
        case full
    }

    /// One more connection of `key`, unless `most` are there. Each that enters leaves.
    public mutating func enterConnection(_ key: UInt64, most: UInt32) -> ConnectionVerdict {
        let i = place(key, 0)
        if i < 0 { return .full }
        if entries[i].connections >= most { return .tooMany }
        entries[i].connections += 1
        return .entered
    }

    public mutating func leaveConnection(_ key: UInt64) {
        let i = find(key)
        if i < 0 || entries[i].connections == 0 { return }
        entries[i].connections -= 1
        if entries[i].connections > 0 { return }
        remove(i)
        entries[i].next = firstFree
        firstFree = Int32(i)
    }

    /// Connections of `key` now.
    public func connections(_ key: UInt64) -> UInt32 {
        let i = find(key)
        return i < 0 ? 0 : entries[i].connections
    }

    // MARK: Places

    private func head(_ key: UInt64) -> Int { Int(truncatingIfNeeded: key) & (heads.count - 1) }

    private func find(_ key: UInt64) -> Int {
        var i = heads[head(key)]
        while i >= 0, entries[Int(i)].key != key { i = entries[Int(i)].next }
        return Int(i)
    }

    /// The state of `key`, which is the most recently used now; a new one where there was none. -1: there is no room.
    private mutating func place(_ key: UInt64, _ nowMs: Int64) -> Int {
        let known = find(key)
        if known >= 0 {
            if Int(newest) != known {
                unlink(known)
                linkNewest(known)
            }
            return known
        }
        let fresh = Entry(key: key, bucket: LeakyBucket(nowMs: nowMs))
        let i = room()
        if i < 0 { return -1 }
        if i == entries.count { entries.append(fresh) } else { entries[i] = fresh }
        entries[i].next = heads[head(key)]
        heads[head(key)] = Int32(i)
        linkNewest(i)
        count += 1
        return i
    }

    /// A place for a new state: the oldest goes when there is no other, unless it has connections.
    private mutating func room() -> Int {
        if firstFree >= 0 {
            let i = Int(firstFree)
            firstFree = entries[i].next
            return i
        }
        if entries.count < capacity { return entries.count }
        let i = Int(oldest)
        if i < 0 || entries[i].connections > 0 { return -1 }
        remove(i)
        return i
    }

    /// Takes a state out of its chain and out of the order of use.
    private mutating func remove(_ i: Int) {
        unlink(i)
        count -= 1
        let chain = head(entries[i].key)
        var before = heads[chain]
        if before == Int32(i) {
            heads[chain] = entries[i].next
            return
        }
        while entries[Int(before)].next != Int32(i) { before = entries[Int(before)].next }
        entries[Int(before)].next = entries[i].next
    }

    private mutating func unlink(_ i: Int) {
        let (newer, older) = (entries[i].newer, entries[i].older)
        if newer >= 0 { entries[Int(newer)].older = older } else { newest = older }
        if older >= 0 { entries[Int(older)].newer = newer } else { oldest = newer }
    }

    private mutating func linkNewest(_ i: Int) {
        entries[i].newer = -1
        entries[i].older = newest
        if newest >= 0 { entries[Int(newest)].newer = Int32(i) } else { oldest = Int32(i) }
        newest = Int32(i)
    }
}
