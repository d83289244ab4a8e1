// Storage for connections, exchanges and timers: stable addresses, no allocation in the steady state, generation handles.
// Owned by a worker, used by one thread. It never shrinks and never calls anything.

/// Names one occupancy of a slab's slot. A handle to a value that was removed finds nothing, even when the slot is in use again.
public struct Handle: Equatable, Hashable, Sendable, BitwiseCopyable {
    public var index: UInt32
    public var generation: UInt32

    @inlinable public init(index: UInt32, generation: UInt32) {
        self.index = index
        self.generation = generation
    }

    /// A handle that finds nothing in any slab: generations begin at 1.
    @inlinable public static var none: Handle { Handle(index: .max, generation: 0) }
}

/// A table of `T` with stable addresses, grown a block at a time up to `limit` values.
@safe public struct Slab<T: BitwiseCopyable>: ~Copyable {
    @usableFromInline static var blockShift: UInt32 { 6 }
    @usableFromInline static var blockMask: UInt32 { 63 }

    @safe @usableFromInline struct Slot {
        @usableFromInline var generation: UInt32
        @usableFromInline var nextFree: UInt32
        @usableFromInline var occupied: Bool
    }

    @usableFromInline var slots: UnsafeMutablePointer<UnsafeMutablePointer<Slot>>
    @usableFromInline var values: UnsafeMutablePointer<UnsafeMutablePointer<T>>
    @usableFromInline var blockCount = 0
    @usableFromInline var firstFree: UInt32 = .max
    /// How many values the slab may hold at once.
    public let limit: Int
    /// How many it holds now.
    public var count: Int { held }
    @usableFromInline var held = 0

    public init(limit: Int) {
        precondition(limit > 0 && limit < Int(UInt32.max))
        self.limit = limit
        unsafe slots = .allocate(capacity: (limit >> Int(Self.blockShift)) + 1)
        unsafe values = .allocate(capacity: (limit >> Int(Self.blockShift)) + 1)
    }

    deinit {
        for i in 0..<blockCount {
            unsafe slots[i].deallocate()
            unsafe values[i].deallocate()
        }
        unsafe slots.deallocate()
        unsafe values.deallocate()
    }

    /// Stores `value` and returns where and under what handle, or nil when `limit` values are held.
    @inlinable
    public mutating func insert(_ value: T) -> (ref: Ref<T>, handle: Handle)? {
        guard let (place, handle) = unsafe occupy() else { return nil }
        unsafe place.initialize(to: value)
        return (unsafe Ref(place), handle)
    }

    /// As `insert`, with a copy of the value at `model`: for large values, which would be built on the stack first.
    @inlinable
    public mutating func insert(copying model: Ref<T>) -> (ref: Ref<T>, handle: Handle)? {
        guard let (place, handle) = unsafe occupy() else { return nil }
        unsafe place.update(from: model.pointer, count: 1)
        return (unsafe Ref(place), handle)
    }

    @inlinable @inline(__always)
    mutating func occupy() -> (UnsafeMutablePointer<T>, Handle)? {
        if held == limit { return nil }
        if firstFree == .max { grow() }
        let index = firstFree
        let slot = unsafe slot(index)
        firstFree = unsafe slot.pointee.nextFree
        unsafe slot.pointee.occupied = true
        held += 1
        return unsafe (place(index), Handle(index: index, generation: slot.pointee.generation))
    }

    /// The value under `handle`, or nil when it has been removed.
    @inlinable @inline(__always)
    public func find(_ handle: Handle) -> Ref<T>? {
        if Int(handle.index >> Self.blockShift) >= blockCount { return nil }
        let slot = unsafe slot(handle.index)
        return unsafe slot.pointee.generation == handle.generation && slot.pointee.occupied ? Ref(place(handle.index)) : nil
    }

    /// Frees the slot of `handle`; every handle to it finds nothing from now on. Its memory stays readable until the slot is reused.
    @inlinable
    public mutating func remove(_ handle: Handle) {
        guard find(handle) != nil else { return }
        let slot = unsafe slot(handle.index)
        unsafe slot.pointee.occupied = false
        // Generation 0 is kept for `Handle.none`.
        unsafe slot.pointee.generation = slot.pointee.generation == .max ? 1 : slot.pointee.generation + 1
        unsafe slot.pointee.nextFree = firstFree
        firstFree = handle.index
        held -= 1
    }

    /// The handles of all values held, for sweeps that may remove some on the way.
    public var handles: [Handle] {
        (0..<UInt32(blockCount << Int(Self.blockShift))).compactMap { index in
            let slot = unsafe slot(index)
            return unsafe slot.pointee.occupied ? Handle(index: index, generation: slot.pointee.generation) : nil
        }
    }

    @inlinable @inline(__always)
    func slot(_ index: UInt32) -> UnsafeMutablePointer<Slot> {
        unsafe slots[Int(index >> Self.blockShift)] + Int(index & Self.blockMask)
    }

    @inlinable @inline(__always)
    func place(_ index: UInt32) -> UnsafeMutablePointer<T> {
        unsafe values[Int(index >> Self.blockShift)] + Int(index & Self.blockMask)
    }

    @usableFromInline
    mutating func grow() {
        let size = 1 << Int(Self.blockShift)
        let block = UnsafeMutablePointer<Slot>.allocate(capacity: size)
        let first = UInt32(blockCount << Int(Self.blockShift))
        for i in 0..<size {
            let next = i + 1 < size ? first + UInt32(i) + 1 : UInt32.max
            unsafe (block + i).initialize(to: Slot(generation: 1, nextFree: next, occupied: false))
        }
        unsafe slots[blockCount] = block
        unsafe values[blockCount] = .allocate(capacity: size)
        blockCount += 1
        firstFree = first
    }
}
