// A reference to a value that a slab or an arena owns: what the hot path passes around instead of class references.
// Used by every part of the engine; made only by `Slab` and `Arena`. It never frees, retains or moves anything.

/// A pointer to a `T` that lives in a `Slab` or an `Arena`, read and written like the value itself: `connection.state = .idle`.
///
/// It costs a pointer and no reference counting. Its owner decides how long the value lives; an event that may have outlived
/// its value carries a `Handle`, which the slab checks.
@dynamicMemberLookup
@safe public struct Ref<T: BitwiseCopyable>: @unchecked Sendable, Equatable, BitwiseCopyable {
    @usableFromInline let pointer: UnsafeMutablePointer<T>

    @inlinable @inline(__always)
    public init(_ pointer: UnsafeMutablePointer<T>) { unsafe self.pointer = pointer }

    /// Leads to no value and must not be read: what a field holds before it is set.
    @inlinable public static var nowhere: Ref {
        unsafe Ref(UnsafeMutablePointer(bitPattern: MemoryLayout<T>.alignment).unsafelyUnwrapped)
    }

    /// For a C library that is to give it back.
    @inlinable
    @unsafe public var rawPointer: UnsafeMutableRawPointer { unsafe UnsafeMutableRawPointer(pointer) }

    /// The whole value.
    @inlinable @inline(__always)
    public var value: T {
        get { unsafe pointer.pointee }
        nonmutating _modify { yield unsafe &pointer.pointee }
    }

    /// A stored property. The compiler turns the key path into a load or a store; but a mutating call or an `inout` argument goes
    /// through `value` (`x.value.region.release()`), for there it would fall back to the key path at run time.
    @inlinable @inline(__always)
    public subscript<V>(dynamicMember path: WritableKeyPath<T, V>) -> V {
        @inline(__always) get { unsafe pointer.pointee[keyPath: path] }
        @inline(__always) nonmutating _modify { yield unsafe &pointer.pointee[keyPath: path] }
    }

    @inlinable @inline(__always)
    public subscript<V>(dynamicMember path: KeyPath<T, V>) -> V {
        @inline(__always) get { unsafe pointer.pointee[keyPath: path] }
    }

    @inlinable @inline(__always)
    public static func == (a: Ref, b: Ref) -> Bool { unsafe a.pointer == b.pointer }
}
