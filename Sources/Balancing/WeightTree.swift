// Smooth weighted round robin over many peers in O(log n) a turn: a kinetic tournament, exact to the last tie.
// A part of `PeerTier`, beside `PeerTier+Tree.swift`, which decides which peers stand in the tree.

// In smooth weighted round robin each peer gains its weight a turn, and the one with the most, the first of equals, pays the
// weight of all. Between its payments a peer's current weight is a line over the turns: `begin + weight * tick`. A node of the
// tournament holds the peer that leads among its leaves, and the tick at which some lead below it changes (`due`), which two
// lines tell by a division. A turn ticks the clock, mends the nodes that are due and climbs once from the peer that paid.
// Peers of equal weight never overtake each other, so the usual upstream has no due nodes at all. Distinct weights have some,
// O(log n) a turn on the average.
//
// With `leastConn`, less load leads before more weight, and only the peers of one load take turns: each load has a clock of its
// own. The group that ticks is the least loaded, so its members lead every node above them, and a node looks for what is due
// only in children led by its own group.
//
// `begin + weight * tick` is computed modulo 2^64: a current weight is small, its parts need not be.

struct WeightNode: BitwiseCopyable {
    /// The slot that leads, or -1.
    var leader: Int32 = -1
    /// The tick of the leader's group from which on this node, or one below it, must be played again.
    var due = Int.max
}

extension PeerTier {
    /// The current weight of a peer that stands in the tree.
    @inline(__always)
    func lineValue(_ slot: Int) -> Int {
        slots[slot].currentWeight &+ slots[slot].weight &* groups.tick(slots[slot].group)
    }

    @inline(__always)
    private func node(_ n: Int) -> WeightNode {
        if n < capacity { return nodes[n] }
        let slot = n - capacity
        return slot < count && slots[slot].place == .standing ? WeightNode(leader: Int32(slot)) : WeightNode()
    }

    /// Who stands first, or -1.
    var leader: Int { Int(node(1).leader) }

    /// Plays the node `n`: which child's leader leads, and until when.
    @inline(__always)
    private mutating func play(_ n: Int) -> WeightNode {
        visit()
        let (left, right) = (node(2 * n), node(2 * n + 1))
        if right.leader < 0 { return left }
        if left.leader < 0 { return right }
        let (a, b) = (Int(left.leader), Int(right.leader))
        if slots[a].group != slots[b].group { return compareLoads(a, b) < 0 ? left : right }
        let lead = lineValue(a) - lineValue(b)
        let gain = slots[a].weight - slots[b].weight
        let tick = groups.tick(slots[a].group)
        var due = min(left.due, right.due)
        if lead >= 0 {
            if gain < 0 { due = min(due, tick + lead / -gain + 1) }
            return WeightNode(leader: left.leader, due: due)
        }
        if gain > 0 { due = min(due, tick + (gain - lead - 1) / gain) }
        return WeightNode(leader: right.leader, due: due)
    }

    /// Plays every node again.
    mutating func playAll() {
        var n = capacity - 1
        while n > 0 {
            nodes[n] = play(n)
            n -= 1
        }
    }

    /// Plays the nodes above `slot` again, as far as its change reaches.
    mutating func climb(_ slot: Int) {
        var n = (capacity + slot) / 2
        while n > 0 {
            let before = nodes[n]
            let after = play(n)
            if after.leader == before.leader && after.due == before.due && Int(after.leader) != slot { return }
            nodes[n] = after
            n /= 2
        }
    }

    /// Plays the nodes below `n` whose time has come with the last tick of `group`.
    mutating func mend(_ n: Int, _ group: Int32) {
        if n >= capacity { return }
        visit()
        let due = nodes[n]
        if due.leader < 0 || due.due > groups.tick(group) || slots[Int(due.leader)].group != group { return }
        mend(2 * n, group)
        mend(2 * n + 1, group)
        nodes[n] = play(n)
    }

    @inline(__always)
    mutating func visit() {
        #if DEBUG
            visits += 1
        #endif
    }
}
