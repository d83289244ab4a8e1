// What a balancer begins with: its peers in their tiers, with the turns and weights an older balancer had for them.
// Used by `Balancer.init` only, once for each worker and revision, so it is linear in the peers and allocates a few tables.

/// The peers of an upstream, in their tiers.
struct TierSlots: ~Copyable {
    var primary: Table<PeerSlot>
    var backup: Table<PeerSlot>
    /// The slot of each peer, of its tier; backups counted down from -1.
    var ofPeer: Table<Int32>

    init(_ list: [PeerSpec]) {
        // Elements of a span are read where they are; those of an array are copied, each with two references.
        let peers = list.span
        var ofPeer = Table<Int32>(peers.count, filledWith: 0)
        var counts: (primary: Int32, backup: Int32) = (0, 0)
        for i in 0..<peers.count {
            if peers[i].isBackup {
                counts.backup += 1
                ofPeer[i] = -counts.backup
            } else {
                ofPeer[i] = counts.primary
                counts.primary += 1
            }
        }
        self.ofPeer = ofPeer
        primary = Self.tier(peers, Int(counts.primary), backups: false)
        backup = Self.tier(peers, Int(counts.backup), backups: true)
    }

    private static func tier(_ peers: Span<PeerSpec>, _ count: Int, backups: Bool) -> Table<PeerSlot> {
        var next = 0
        return Table(count) { _ in
            while peers[next].isBackup != backups { next += 1 }
            next += 1
            return PeerSlot(peers[next - 1], index: next - 1)
        }
    }

    /// How many peers take something new, health aside.
    var takingCount: Int {
        var taking = primariesTaking
        for slot in 0..<backup.count where !backup[slot].isOut { taking += 1 }
        return taking
    }

    var primariesTaking: Int {
        var taking = 0
        for slot in 0..<primary.count where !primary[slot].isOut { taking += 1 }
        return taking
    }

    /// Whether a primary has weight.
    var hasWeight: Bool {
        for slot in 0..<primary.count where primary[slot].weight > 0 { return true }
        return false
    }

    /// The first unit of weight of each primary.
    func ranges() -> Table<Int> {
        var first = 0
        return Table(primary.count) { slot in
            defer { first += primary[slot].weight }
            return first
        }
    }

    /// Gives the peers that `old` had in the same tier their place in the turns.
    mutating func succeed(_ old: borrowing Balancer) {
        let rows = RowIndex(old)
        Self.carry(old.primary, into: &primary) { rows.find($0) }
        Self.carry(old.backup, into: &backup) { -1 - rows.find($0) }
    }

    /// `find`: the slot that a row has in `old`; one it does not have when it is elsewhere or nowhere.
    private static func carry(_ old: borrowing PeerTier, into slots: inout Table<PeerSlot>, find: (UInt) -> Int) {
        if old.count == 0 || slots.count == 0 { return }
        var total = 0
        for i in 0..<slots.count { total += slots[i].weight }
        var isHeir = Table(slots.count, filledWith: false)
        var heirs = 0
        var sum = 0
        var from = 0
        for i in 0..<slots.count {
            // Most often the peer is where it was. Two that share a row are told apart by that, too.
            if from >= old.count || old.slots[from].rowAddress != slots[i].rowAddress {
                let found = find(slots[i].rowAddress)
                if found < 0 || found >= old.count { continue }
                from = found
            }
            slots[i].keepStanding(of: old.slots[from], picks: old.picks, totalWeight: old.totalWeight, now: total)
            slots[i].currentWeight = rescale(old.currentWeight(from), from: old.totalWeight, to: total)
            from += 1
            isHeir[i] = true
            heirs += 1
            sum += slots[i].currentWeight
        }
        // Current weights add up to 0, or newcomers, who begin with 0, would be ahead of the others or behind them.
        let excess = heirs == 0 ? 0 : sum / heirs
        if excess == 0 { return }
        for i in 0..<slots.count where isHeir[i] { slots[i].currentWeight -= excess }
    }

    /// A current weight over the weight of all says by how many turns a peer is behind its share: that is what is kept.
    private static func rescale(_ currentWeight: Int, from oldTotal: Int, to total: Int) -> Int {
        if oldTotal == total { return currentWeight }
        if oldTotal == 0 { return 0 }
        let (product, overflow) = currentWeight.multipliedReportingOverflow(by: total)
        let result = overflow ? Int(clamping: Int128(currentWeight) * Int128(total) / Int128(oldTotal)) : product / oldTotal
        return min(max(result, -total), total)
    }
}

/// Finds the peers of a balancer by their rows, in constant time. Of several with one row, the first.
private struct RowIndex: ~Copyable {
    private var rows: Table<UInt>
    private var slots: Table<Int32>

    init(_ balancer: borrowing Balancer) {
        let peers = balancer.slots.count
        var size = 2
        while size < 2 * peers { size *= 2 }
        rows = Table(size, filledWith: 0)
        slots = Table(size, filledWith: 0)
        for i in 0..<peers {
            let slot = balancer.slots[i]
            let row = slot >= 0 ? balancer.primary.slots[Int(slot)].rowAddress : balancer.backup.slots[Int(-1 - slot)].rowAddress
            let place = place(of: row)
            if rows[place] == 0 { (rows[place], slots[place]) = (row, slot) }
        }
    }

    /// The slot, of its tier; backups counted down from -1; `Int.max` when there is none.
    func find(_ row: UInt) -> Int {
        let place = place(of: row)
        return rows[place] == 0 ? .max : Int(slots[place])
    }

    /// Where the row is, or else the free place for it: less than half are taken.
    private func place(of row: UInt) -> Int {
        let mask = rows.count - 1
        var place = Int(truncatingIfNeeded: mix64(UInt64(row))) & mask
        while rows[place] != 0 && rows[place] != row { place = (place + 1) & mask }
        return place
    }
}
