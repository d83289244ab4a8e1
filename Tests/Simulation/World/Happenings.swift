// What will happen when: a heap of actions by virtual time. What falls on the same moment happens in seeded order.
// Owned by the world, which alone takes from it. It knows nothing of sockets.

/// Names one planned happening, so that it can be called off.
package struct HappeningID: Hashable, Sendable {
    let number: UInt64
}

struct Happenings {
    private struct Entry {
        var atNs: UInt64
        var tie: UInt64
        var number: UInt64
        var action: () -> Void

        func comesBefore(_ other: Entry) -> Bool {
            if atNs != other.atNs { return atNs < other.atNs }
            return tie != other.tie ? tie < other.tie : number < other.number
        }
    }

    private var heap: [Entry] = []
    private var live: Set<UInt64> = []
    private var made: UInt64 = 0

    var count: Int { live.count }

    mutating func add(atNs: UInt64, tie: UInt64, _ action: @escaping () -> Void) -> HappeningID {
        made += 1
        live.insert(made)
        heap.append(Entry(atNs: atNs, tie: tie, number: made, action: action))
        var child = heap.count - 1
        while child > 0, heap[child].comesBefore(heap[(child - 1) / 2]) {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
        return HappeningID(number: made)
    }

    mutating func callOff(_ id: HappeningID) { live.remove(id.number) }

    /// When the next one falls due, or nil when nothing is planned.
    mutating func nextNs() -> UInt64? {
        while let first = heap.first, !live.contains(first.number) { _ = removeFirst() }
        return heap.first?.atNs
    }

    /// Takes the next one if it falls due at `limitNs` or before.
    mutating func take(dueBy limitNs: UInt64) -> (atNs: UInt64, action: () -> Void)? {
        guard let atNs = nextNs(), atNs <= limitNs else { return nil }
        let entry = removeFirst()
        live.remove(entry.number)
        return (entry.atNs, entry.action)
    }

    mutating func removeAll() {
        heap = []
        live = []
    }

    private mutating func removeFirst() -> Entry {
        let first = heap[0]
        let last = heap.removeLast()
        if heap.isEmpty { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2] where child < heap.count && heap[child].comesBefore(heap[least]) {
                least = child
            }
            if least == parent { return first }
            heap.swapAt(parent, least)
            parent = least
        }
    }
}
