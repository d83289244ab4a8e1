// Buffers in sizes of powers of two, reused: what an exchange borrows while it lives and what a short write leaves behind.
// Owned by a worker, used by one thread. It keeps a bounded number of free bytes and gives the rest back to the system.

/// Memory borrowed from a `BufferPool`. `capacity` 0 means none.
@safe public struct Buffer: BitwiseCopyable {
    public let start: UnsafeMutablePointer<UInt8>
    public let capacity: Int

    @inlinable public static var none: Buffer {
        unsafe Buffer(start: UnsafeMutablePointer(mutating: ByteView.empty.start), capacity: 0)
    }
    @inlinable public var isNone: Bool { capacity == 0 }
    @inlinable init(start: UnsafeMutablePointer<UInt8>, capacity: Int) {
        unsafe self.start = start
        self.capacity = capacity
    }
}

@safe public struct BufferPool: ~Copyable {
    static var smallestShift: Int { 10 }
    static var classCount: Int { 12 }

    /// The largest buffer the pool lends: 2 MiB.
    public static var largest: Int { 1 << (smallestShift + classCount - 1) }

    private var free: InlineArray<12, UnsafeMutableRawPointer?> = unsafe .init(repeating: nil)
    private let keepBytesMax: Int
    /// Bytes lent out now.
    public private(set) var lentBytes = 0
    /// Bytes kept for reuse.
    public private(set) var keptBytes = 0

    /// `keepBytesMax`: how many free bytes are kept for reuse.
    public init(keepBytesMax: Int) { self.keepBytesMax = keepBytesMax }

    deinit {
        for i in 0..<Self.classCount {
            var next = unsafe free[i]
            while let buffer = unsafe next {
                unsafe next = buffer.load(as: UnsafeMutableRawPointer?.self)
                unsafe buffer.deallocate()
            }
        }
    }

    /// Lends a buffer of at least `size` bytes (at most `largest`), its content undefined.
    public mutating func take(_ size: Int) -> Buffer {
        precondition(size <= Self.largest)
        let index = Self.classIndex(size)
        let capacity = 1 << (Self.smallestShift + index)
        lentBytes += capacity
        if let kept = unsafe free[index] {
            unsafe free[index] = kept.load(as: UnsafeMutableRawPointer?.self)
            keptBytes -= capacity
            return unsafe Buffer(start: kept.assumingMemoryBound(to: UInt8.self), capacity: capacity)
        }
        return unsafe Buffer(start: .allocate(capacity: capacity), capacity: capacity)
    }

    /// Takes a buffer back; it must not be used afterwards. `Buffer.none` is welcome.
    @inlinable @inline(__always)
    public mutating func give(_ buffer: Buffer) {
        if !buffer.isNone { takeBack(buffer) }
    }

    @usableFromInline
    mutating func takeBack(_ buffer: Buffer) {
        lentBytes -= buffer.capacity
        if keptBytes + buffer.capacity > keepBytesMax {
            unsafe buffer.start.deallocate()
            return
        }
        let raw = unsafe UnsafeMutableRawPointer(buffer.start)
        let index = Self.classIndex(buffer.capacity)
        unsafe raw.storeBytes(of: free[index], as: UnsafeMutableRawPointer?.self)
        unsafe free[index] = raw
        keptBytes += buffer.capacity
    }

    private static func classIndex(_ size: Int) -> Int {
        size <= 1 << smallestShift ? 0 : Int.bitWidth - (size - 1).leadingZeroBitCount - smallestShift
    }
}
