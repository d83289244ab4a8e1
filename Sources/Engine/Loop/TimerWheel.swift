// Timers of one worker: a hierarchical wheel of milliseconds, four levels of 64 slots.
// Asked by the worker's turn; set by connections. It fires by returning owners, it never calls anyone.

import Bytes

/// Names a timer made by a `TimerWheel`.
package struct TimerID: BitwiseCopyable, Equatable {
    var index: UInt32
    static let none = TimerID(index: .max)
}

/// Setting a later deadline and cancelling cost one store: the node stays in its slot and is moved when the slot comes due. Almost
/// every timeout of a proxy is put off or cancelled, so this is what is cheap.
package struct TimerWheel: ~Copyable {
    private struct Node: BitwiseCopyable {
        var deadlineMs: Int64 = .max
        /// When the node's slot comes due; `deadlineMs` may be later by now.
        var slotMs: Int64 = 0
        var next: UInt32 = .max
        var previous: UInt32 = .max
        /// level * 64 + slot, or -1 when in no slot.
        var slot: Int16 = -1
        var owner: UInt64 = 0
    }

    private static let levels = 4
    private static let none = UInt32.max

    private var nodes: UnsafeMutablePointer<Node>
    private var capacity: Int
    private var firstFree = UInt32.max
    /// Nodes from here on have never been used: their memory is not touched, so it costs nothing yet.
    private var untouched = 0
    private let heads = UnsafeMutablePointer<UInt32>.allocate(capacity: 256)
    private var occupied: InlineArray<4, UInt64> = .init(repeating: 0)
    private var currentMs: Int64
    /// When the earliest slot that holds a node comes due: `.max` when none does, `.min` when it is not known.
    private var earliestMs = Int64.max
    /// Timers made and not freed.
    private(set) var count = 0
    /// The slot of a timer that is free, for assertions.
    private static let freed: Int16 = -2

    package init(nowMs: Int64) {
        currentMs = nowMs
        capacity = 0
        nodes = .allocate(capacity: 1)
        heads.initialize(repeating: Self.none, count: 256)
        grow()
    }

    deinit {
        nodes.deallocate()
        heads.deallocate()
    }

    /// A timer that belongs to `owner`, not yet set.
    mutating func make(owner: UInt64) -> TimerID {
        let i: UInt32
        if firstFree != Self.none {
            i = firstFree
            firstFree = nodes[Int(i)].next
        } else {
            if untouched == capacity { grow() }
            i = UInt32(untouched)
            untouched += 1
        }
        count += 1
        (nodes + Int(i)).initialize(to: Node())
        nodes[Int(i)].owner = owner
        return TimerID(index: i)
    }

    mutating func free(_ id: TimerID) {
        assert(nodes[Int(id.index)].slot != Self.freed, "a timer is freed twice")
        unlink(id.index)
        nodes[Int(id.index)].slot = Self.freed
        nodes[Int(id.index)].next = firstFree
        nodes[Int(id.index)].deadlineMs = .max
        firstFree = id.index
        count -= 1
    }

    /// Fires at `deadlineMs` unless it is set anew or cancelled before.
    @inline(__always)
    mutating func set(_ id: TimerID, at deadlineMs: Int64) {
        let node = nodes + Int(id.index)
        assert(node.pointee.slot != Self.freed, "a timer is set that nobody has")
        node.pointee.deadlineMs = deadlineMs
        if node.pointee.slot >= 0, node.pointee.slotMs <= deadlineMs { return }
        unlink(id.index)
        link(id.index)
    }

    @inline(__always)
    mutating func cancel(_ id: TimerID) { nodes[Int(id.index)].deadlineMs = .max }

    /// How long the loop may sleep: until the next slot that holds a node, which may find nothing to fire. -1: for ever.
    @inline(__always)
    mutating func sleepMs(nowMs: Int64) -> Int32 {
        let due = dueMs()
        if due == .max { return -1 }
        return Int32(truncatingIfNeeded: min(max(0, due - nowMs), 3_600_000))
    }

    /// The owner of a timer that is due at `nowMs`, or nil when none is (left).
    @inline(__always)
    mutating func nextDue(nowMs: Int64) -> UInt64? {
        if dueMs() <= nowMs { return nextOfDueSlots(nowMs) }
        currentMs = max(currentMs, nowMs)
        return nil
    }

    @inline(never)
    private mutating func nextOfDueSlots(_ nowMs: Int64) -> UInt64? {
        while true {
            let due = dueMs()
            if due > nowMs {
                currentMs = max(currentMs, nowMs)
                return nil
            }
            if due > currentMs { currentMs = due }
            for level in 0..<Self.levels {
                let shift = Int64(6 * level)
                if level > 0, due & ((1 << shift) - 1) != 0 { break }
                let slot = level * 64 + Int((due >> shift) & 63)
                while heads[slot] != Self.none {
                    let i = heads[slot]
                    unlink(i)
                    let deadline = nodes[Int(i)].deadlineMs
                    if deadline == .max { continue }
                    if deadline <= currentMs {
                        nodes[Int(i)].deadlineMs = .max
                        return nodes[Int(i)].owner
                    }
                    link(i)
                }
            }
        }
    }

    @inline(__always)
    private mutating func dueMs() -> Int64 {
        if earliestMs == .min { earliestMs = nextSlotMs() ?? .max }
        return earliestMs
    }

    /// The time of the earliest slot that holds a node.
    @inline(never)
    private func nextSlotMs() -> Int64? {
        var best: Int64?
        for level in 0..<Self.levels where occupied[level] != 0 {
            let shift = Int64(6 * level)
            let position = currentMs >> shift
            let here = UInt64(bitPattern: position & 63)
            // A node may sit in the slot of this very moment when the clock has just come to it; else slots count from the next one.
            let rotated = rotateRight(occupied[level], by: here)
            var steps = Int64(rotated.trailingZeroBitCount)
            if steps == 0, (position << shift) != currentMs || !holdsNow(level: level, slot: Int(here)) {
                let later = rotated & ~1
                steps = later == 0 ? 64 : Int64(later.trailingZeroBitCount)
            }
            let due = (position + steps) << shift
            if best.map({ due < $0 }) ?? true { best = due }
        }
        return best
    }

    private func holdsNow(level: Int, slot: Int) -> Bool {
        let head = heads[level * 64 + slot]
        return head != Self.none && nodes[Int(head)].slotMs <= currentMs
    }

    private func rotateRight(_ bits: UInt64, by n: UInt64) -> UInt64 { n == 0 ? bits : (bits >> n) | (bits << (64 - n)) }

    private mutating func link(_ i: UInt32) {
        let node = nodes + Int(i)
        // The farthest a node can be placed is one turn of the top level; it is placed again when that comes due.
        let farthest = currentMs + (1 << 24) - (1 << 18)
        let at = min(max(node.pointee.deadlineMs, currentMs), farthest)
        let delta = at - currentMs
        let level = delta < 64 ? 0 : delta < 4096 ? 1 : delta < 262_144 ? 2 : 3
        let shift = Int64(6 * level)
        let slot = level * 64 + Int((at >> shift) & 63)
        node.pointee.slotMs = (at >> shift) << shift
        node.pointee.slot = Int16(slot)
        node.pointee.previous = Self.none
        node.pointee.next = heads[slot]
        if heads[slot] != Self.none { nodes[Int(heads[slot])].previous = i }
        heads[slot] = i
        occupied[level] |= 1 << UInt64(slot & 63)
        earliestMs = min(earliestMs, node.pointee.slotMs)
    }

    private mutating func unlink(_ i: UInt32) {
        let node = nodes + Int(i)
        let slot = Int(node.pointee.slot)
        if slot < 0 { return }
        let next = node.pointee.next
        let previous = node.pointee.previous
        if next != Self.none { nodes[Int(next)].previous = previous }
        if previous != Self.none { nodes[Int(previous)].next = next } else { heads[slot] = next }
        if heads[slot] == Self.none {
            occupied[slot >> 6] &= ~(1 << UInt64(slot & 63))
            if node.pointee.slotMs <= earliestMs { earliestMs = .min }
        }
        node.pointee.slot = -1
        node.pointee.next = Self.none
        node.pointee.previous = Self.none
    }

    private mutating func grow() {
        let larger = max(64, capacity * 2)
        let fresh = UnsafeMutablePointer<Node>.allocate(capacity: larger)
        fresh.update(from: nodes, count: untouched)
        nodes.deallocate()
        nodes = fresh
        capacity = larger
    }
}
