// The scratch that a worker reads into, and the queue of those it goes on with later.
// Owned by Worker.swift, used by everything that runs in its turn.

import Bytes

/// The memory one read goes to: room for a head in front of the data and for the end of a chunk behind it.
struct ReadScratch: ~Copyable {
    static var headroom: Int { Limits.responseHeadBytesMax + 4096 }
    static var tail: Int { 64 }
    private let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: headroom + Limits.readBytes + tail)
    deinit { memory.deallocate() }
    /// Where reads begin.
    var data: UnsafeMutablePointer<UInt8> { memory + Self.headroom }
}

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
