// Bytes waiting in a simulated buffer: in at the back, out at the front.
// Owned by sockets and actors. It has no limit of its own; its owner counts.

struct ByteQueue {
    private var storage: [UInt8] = []
    private var head = 0

    var count: Int { storage.count - head }
    var isEmpty: Bool { count == 0 }

    mutating func append(_ bytes: UnsafeRawPointer, _ count: Int) {
        storage.append(contentsOf: UnsafeRawBufferPointer(start: bytes, count: count))
    }

    mutating func append(_ bytes: [UInt8]) { storage.append(contentsOf: bytes) }

    /// Copies the first `count` bytes to `target`, without taking them.
    func peek(into target: UnsafeMutableRawPointer, _ count: Int) {
        precondition(count <= self.count)
        storage.withUnsafeBytes { bytes in
            guard count > 0, let base = bytes.baseAddress else { return }
            target.copyMemory(from: base + head, byteCount: count)
        }
    }

    /// Shows the first `count` bytes to `body`.
    func withFront<R>(_ count: Int, _ body: (UnsafeRawBufferPointer) -> R) -> R {
        storage.withUnsafeBytes { body(UnsafeRawBufferPointer(rebasing: $0[head..<head + count])) }
    }

    mutating func drop(_ count: Int) {
        precondition(count <= self.count)
        head += count
        if head == storage.count {
            storage.removeAll(keepingCapacity: true)
            head = 0
        } else if head > 65_536, head > storage.count / 2 {
            storage.removeFirst(head)
            head = 0
        }
    }

    mutating func take(_ count: Int) -> [UInt8] {
        let out = Array(storage[head..<head + count])
        drop(count)
        return out
    }

    mutating func move(_ count: Int, to other: inout ByteQueue) {
        other.storage.append(contentsOf: storage[head..<head + count])
        drop(count)
    }

    mutating func removeAll() {
        storage = []
        head = 0
    }
}
