// Memory that is freed all at once: what a snapshot freezes its routes, templates and names into.
// Filled by one thread while the snapshot is built, read by all workers afterwards.

/// A bump allocator. What it hands out lives as long as the arena.
@safe public final class Arena: @unchecked Sendable {
    private var blocks: [UnsafeMutableRawPointer] = unsafe []
    private var next = 0
    private var end = 0
    /// Bytes taken from the system, for the log and for tests.
    public private(set) var reservedBytes = 0

    private let blockBytes: Int

    /// `blockBytes`: what is taken from the system at a time, at least.
    public init(blockBytes: Int = 64 << 10) { self.blockBytes = blockBytes }

    deinit { for unsafe block in unsafe blocks { unsafe block.deallocate() } }

    /// Copies `bytes` into the arena.
    public func freeze(bytes: some Collection<UInt8>) -> ByteView {
        let count = bytes.count
        let memory = unsafe allocate(count, alignment: 1).bindMemory(to: UInt8.self, capacity: count)
        _ = unsafe UnsafeMutableBufferPointer(start: memory, count: count).initialize(from: bytes)
        return unsafe ByteView(memory, count)
    }

    public func freeze(_ text: String) -> ByteView { freeze(bytes: text.utf8) }

    /// Copies `bytes` into the arena, with room behind them.
    public func freezePadded(_ bytes: some Collection<UInt8>) -> PaddedBytes {
        let count = bytes.count
        let room = max(count, PaddedBytes.readableMin)
        let memory = unsafe allocate(room, alignment: 1).bindMemory(to: UInt8.self, capacity: room)
        unsafe memory.initialize(repeating: 0, count: room)
        _ = unsafe UnsafeMutableBufferPointer(start: memory, count: count).update(from: bytes)
        return unsafe PaddedBytes(start: memory, count: count)
    }

    /// Copies `elements` into the arena.
    public func freeze<T: BitwiseCopyable>(_ elements: [T]) -> Frozen<T> {
        let size = MemoryLayout<T>.stride * elements.count
        let memory = unsafe allocate(size, alignment: MemoryLayout<T>.alignment).bindMemory(to: T.self, capacity: elements.count)
        unsafe elements.withUnsafeBufferPointer { source in
            if let first = source.baseAddress { unsafe memory.initialize(from: first, count: source.count) }
        }
        return unsafe Frozen(start: memory, count: elements.count)
    }

    /// Copies one value into the arena.
    public func freeze<T: BitwiseCopyable>(_ value: T) -> Ref<T> {
        let memory = unsafe allocate(MemoryLayout<T>.stride, alignment: MemoryLayout<T>.alignment).bindMemory(to: T.self, capacity: 1)
        unsafe memory.initialize(to: value)
        return unsafe Ref(memory)
    }

    private func allocate(_ size: Int, alignment: Int) -> UnsafeMutableRawPointer {
        var start = (next + alignment - 1) & ~(alignment - 1)
        if unsafe blocks.isEmpty || start + size > end {
            // Doubling: many small blocks of a large content would cost more than what they leave empty.
            let capacity = max(blockBytes, min(reservedBytes, 64 << 10), size + alignment)
            unsafe blocks.append(.allocate(byteCount: capacity, alignment: 64))
            reservedBytes += capacity
            start = 0
            end = capacity
        }
        next = start + size
        return unsafe blocks[blocks.count - 1] + start
    }
}

/// Bytes in an arena of which 16 may be read whatever their count: short ones are copied without asking how short they are.
@safe public struct PaddedBytes: BitwiseCopyable {
    @usableFromInline static var readableMin: Int { 16 }
    public let view: ByteView

    @inlinable
    init(start: UnsafePointer<UInt8>, count: Int) { unsafe view = ByteView(start, count) }

    public static var empty: PaddedBytes { unsafe PaddedBytes(start: ByteView("                ").start, count: 0) }
}

/// A fixed list in an arena.
@safe public struct Frozen<T: BitwiseCopyable>: @unchecked Sendable, BitwiseCopyable {
    @usableFromInline let start: UnsafeMutablePointer<T>
    public let count: Int

    @inlinable init(start: UnsafeMutablePointer<T>, count: Int) {
        unsafe self.start = start
        self.count = count
    }

    /// A copy of the first `count` elements of `source` in `memory`, which a region owns and which is large and aligned enough.
    public init(copying source: UnsafeMutableBufferPointer<T>, count: Int, into memory: UnsafeMutablePointer<UInt8>) {
        precondition(count <= source.count)
        let typed = unsafe UnsafeMutableRawPointer(memory).bindMemory(to: T.self, capacity: count)
        if count > 0, let from = source.baseAddress { unsafe typed.update(from: from, count: count) }
        unsafe self.init(start: typed, count: count)
    }

    /// `count` copies of `value` in `memory`, which a region owns and which is large and aligned enough.
    public init(repeating value: T, count: Int, into memory: UnsafeMutablePointer<UInt8>) {
        let typed = unsafe UnsafeMutableRawPointer(memory).bindMemory(to: T.self, capacity: count)
        unsafe typed.initialize(repeating: value, count: count)
        unsafe self.init(start: typed, count: count)
    }

    /// The elements for a call that takes a span.
    @inlinable public var buffer: UnsafeBufferPointer<T> { unsafe UnsafeBufferPointer(start: start, count: count) }

    /// A list of nothing, which needs no arena.
    @inlinable public static var empty: Frozen {
        unsafe Frozen(start: UnsafeMutablePointer(bitPattern: MemoryLayout<T>.alignment).unsafelyUnwrapped, count: 0)
    }

    @inlinable public var isEmpty: Bool { count == 0 }

    /// Whether it is the very list that `other` is, whatever the elements of both.
    @inlinable public func isSame(as other: Frozen) -> Bool { unsafe start == other.start && count == other.count }

    @inlinable @inline(__always)
    public subscript(_ i: Int) -> Ref<T> {
        precondition(i >= 0 && i < count)
        return unsafe Ref(start + i)
    }
}

/// Memory of one exchange: bump-allocated from buffers of the pool, given back when the exchange ends.
@safe public struct Region: BitwiseCopyable {
    @usableFromInline var newest = Buffer.none
    @usableFromInline var used = 0
    /// Bytes borrowed from the pool.
    public var bytes: Int { borrowed }
    @usableFromInline var borrowed = 0

    /// Each buffer begins with the one before it.
    @usableFromInline static var linkBytes: Int { MemoryLayout<Buffer>.stride }

    @inlinable public init() {}

    /// `size` bytes aligned to 8, or nil when the region would grow beyond `limit` bytes.
    @inlinable
    public mutating func allocate(_ size: Int, from pool: inout BufferPool, limit: Int) -> UnsafeMutablePointer<UInt8>? {
        let rounded = (size + 7) & ~7
        if used + rounded > newest.capacity, !grow(rounded, from: &pool, limit: limit) { return nil }
        let p = unsafe newest.start + used
        used += rounded
        return unsafe p
    }

    @usableFromInline
    mutating func grow(_ rounded: Int, from pool: inout BufferPool, limit: Int) -> Bool {
        let want = max(Self.linkBytes + rounded, newest.isNone ? 2048 : 4096)
        if borrowed + want > limit || want > BufferPool.largest { return false }
        let buffer = pool.take(want)
        unsafe UnsafeMutableRawPointer(buffer.start).storeBytes(of: newest, as: Buffer.self)
        newest = buffer
        borrowed += buffer.capacity
        used = Self.linkBytes
        return true
    }

    /// A copy of `view` that lives as long as the region, or nil beyond `limit`.
    @inlinable
    public mutating func copy(_ view: ByteView, from pool: inout BufferPool, limit: Int) -> ByteView? {
        guard let p = unsafe allocate(view.count, from: &pool, limit: limit) else { return nil }
        unsafe p.update(from: view.start, count: view.count)
        return unsafe ByteView(p, view.count)
    }

    public mutating func release(to pool: inout BufferPool) {
        while !newest.isNone {
            let before = unsafe UnsafeRawPointer(newest.start).load(as: Buffer.self)
            pool.give(newest)
            newest = before
        }
        used = 0
        borrowed = 0
    }
}
