// Event words that wait for their turn: in the order they came, in memory that grows when it must.
// Owned by a worker and by its HTTP/2 sessions. It knows no owners.

/// Whom to go on with later in this turn or in the next: a ring of event words that grows when it must.
struct PostedQueue: ~Copyable {
    private var memory = UnsafeMutablePointer<UInt64>.allocate(capacity: 64)
    private var capacity = 64
    private var first = 0
    private(set) var count = 0
    deinit { memory.deallocate() }

    var isEmpty: Bool { count == 0 }

    mutating func push(_ word: UInt64) {
        if count == capacity {
            let larger = UnsafeMutablePointer<UInt64>.allocate(capacity: capacity * 2)
            for i in 0..<count { larger[i] = memory[(first + i) & (capacity - 1)] }
            memory.deallocate()
            memory = larger
            first = 0
            capacity *= 2
        }
        memory[(first + count) & (capacity - 1)] = word
        count += 1
    }

    mutating func pop() -> UInt64? {
        if count == 0 { return nil }
        let word = memory[first]
        first = (first + 1) & (capacity - 1)
        count -= 1
        return word
    }
}
