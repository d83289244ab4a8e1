// Memory of a fixed size that one balancer owns: its peers, its tree, its points.
// Used inside this module only. It never grows and never counts references.

/// A fixed number of values, all equal to begin with.
@safe struct Table<T: BitwiseCopyable>: ~Copyable {
    private let start: UnsafeMutablePointer<T>
    let count: Int

    init(_ count: Int, filledWith value: T) {
        self.count = count
        unsafe start = .allocate(capacity: max(count, 1))
        unsafe start.initialize(repeating: value, count: count)
    }

    init(_ values: [T]) {
        count = values.count
        unsafe start = .allocate(capacity: max(values.count, 1))
        for i in 0..<values.count { unsafe (start + i).initialize(to: values[i]) }
    }

    init(_ count: Int, make: (Int) -> T) {
        self.count = count
        unsafe start = .allocate(capacity: max(count, 1))
        for i in 0..<count { unsafe (start + i).initialize(to: make(i)) }
    }

    deinit { unsafe start.deallocate() }

    @inline(__always)
    subscript(_ i: Int) -> T {
        get {
            assert(i >= 0 && i < count)
            return unsafe start[i]
        }
        _modify {
            assert(i >= 0 && i < count)
            yield unsafe &start[i]
        }
    }

    /// The same memory to read from, for as long as the table lives.
    var view: TableView<T> { unsafe TableView(start: start, count: count) }
}

/// A table that somebody else owns and nobody changes.
@safe struct TableView<T: BitwiseCopyable>: BitwiseCopyable {
    private let start: UnsafePointer<T>
    let count: Int

    init(start: UnsafePointer<T>, count: Int) {
        unsafe self.start = start
        self.count = count
    }

    @inline(__always)
    subscript(_ i: Int) -> T {
        assert(i >= 0 && i < count)
        return unsafe start[i]
    }
}
