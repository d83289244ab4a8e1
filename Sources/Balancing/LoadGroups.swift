// The peers of a tier by their load (active exchanges for a unit of weight): those of one load take turns among themselves.
// Used by `PeerTier` in its tree form. With round robin all peers have load 0 and one group.

/// The peers of one load, as a sum. Each group has a clock of its own, which ticks when its peers take a turn.
struct LoadGroup: BitwiseCopyable {
    /// The load as a fraction in lowest terms.
    var active = 0
    var weight = 1
    var tick = 0
    var totalWeight = 0
    var count = 0
    /// The next group in the same bucket, or the next free one.
    var next: Int32 = -1
}

/// Finds the group of a load in constant time. A group lives as long as it has members; group 0, of load 0, always.
struct LoadGroups: ~Copyable {
    private var groups: Table<LoadGroup>
    private var buckets: Table<Int32>
    private var firstFree: Int32 = 1

    /// `peers`: how many may be members at once.
    init(peers: Int) {
        groups = Table(peers + 2, filledWith: LoadGroup())
        for i in 0..<groups.count { groups[i].next = i + 1 < groups.count ? Int32(i + 1) : -1 }
        var size = 1
        while size < peers { size *= 2 }
        buckets = Table(size, filledWith: -1)
    }

    subscript(_ id: Int32) -> LoadGroup { groups[Int(id)] }

    @inline(__always)
    func tick(_ id: Int32) -> Int { groups[Int(id)].tick }

    mutating func advance(_ id: Int32) { groups[Int(id)].tick += 1 }

    /// Adds a peer of `weight` with `active` exchanges and returns its group.
    mutating func join(active: Int, weight: Int) -> Int32 {
        let id = active == 0 ? 0 : find(active: active, weight: weight)
        groups[Int(id)].count += 1
        groups[Int(id)].totalWeight += weight
        return id
    }

    mutating func leave(_ id: Int32, weight: Int) {
        groups[Int(id)].count -= 1
        groups[Int(id)].totalWeight -= weight
        if id != 0 && groups[Int(id)].count == 0 { remove(id) }
    }

    private mutating func find(active: Int, weight: Int) -> Int32 {
        let divisor = weight == 1 ? 1 : greatestCommonDivisor(active, weight)
        let (a, w) = (active / divisor, weight / divisor)
        let bucket = bucket(a, w)
        var id = buckets[bucket]
        while id >= 0 {
            if groups[Int(id)].active == a && groups[Int(id)].weight == w { return id }
            id = groups[Int(id)].next
        }
        id = firstFree
        firstFree = groups[Int(id)].next
        groups[Int(id)] = LoadGroup(active: a, weight: w, next: buckets[bucket])
        buckets[bucket] = id
        return id
    }

    private mutating func remove(_ id: Int32) {
        let bucket = bucket(groups[Int(id)].active, groups[Int(id)].weight)
        if buckets[bucket] == id {
            buckets[bucket] = groups[Int(id)].next
        } else {
            var before = buckets[bucket]
            while groups[Int(before)].next != id { before = groups[Int(before)].next }
            groups[Int(before)].next = groups[Int(id)].next
        }
        groups[Int(id)].next = firstFree
        firstFree = id
    }

    private func bucket(_ active: Int, _ weight: Int) -> Int {
        let mixed = (UInt(bitPattern: active) &* 0x9E37_79B9_7F4A_7C15) ^ (UInt(bitPattern: weight) &* 0xC2B2_AE3D_27D4_EB4F)
        return Int(bitPattern: (mixed ^ (mixed >> 29)) & UInt(bitPattern: buckets.count - 1))
    }

    private func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
        var (x, y) = (a, b)
        while y != 0 { (x, y) = (y, x % y) }
        return x
    }
}
