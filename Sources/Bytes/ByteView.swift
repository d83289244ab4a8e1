// Bytes that somebody else owns: a piece of a received head, a literal of the configuration, a value of a variable.
// Used everywhere on the hot path in place of arrays and strings. It never allocates or frees.

/// A start and a count. The owner (an arena, a region, a worker's scratch) decides how long the bytes stay.
@safe public struct ByteView: @unchecked Sendable, BitwiseCopyable {
    public let start: UnsafePointer<UInt8>
    public let count: Int

    @inlinable @inline(__always)
    public init(_ start: UnsafePointer<UInt8>, _ count: Int) {
        unsafe self.start = start
        self.count = count
    }

    @inlinable @inline(__always)
    public init(_ literal: StaticString) {
        unsafe self.init(literal.utf8Start, literal.utf8CodeUnitCount)
    }

    @inlinable public static var empty: ByteView { ByteView("") }
    @inlinable public var isEmpty: Bool { count == 0 }

    @inlinable @inline(__always)
    public subscript(_ i: Int) -> UInt8 {
        assert(i >= 0 && i < count)
        return unsafe start[i]
    }

    @inlinable public var buffer: UnsafeBufferPointer<UInt8> { unsafe UnsafeBufferPointer(start: start, count: count) }

    /// The part from `from`, `length` bytes long (all the rest by default). Out-of-range values are cut to what is there.
    @inlinable @inline(__always)
    public func slice(_ from: Int, _ length: Int) -> ByteView {
        // One comparison each, in which a negative number is a very large one.
        if UInt(bitPattern: from) <= UInt(bitPattern: count), UInt(bitPattern: length) <= UInt(bitPattern: count &- from) {
            return unsafe ByteView(start + from, length)
        }
        return cut(from, length)
    }

    @inlinable @inline(__always)
    public func slice(_ from: Int) -> ByteView {
        if UInt(bitPattern: from) <= UInt(bitPattern: count) { return unsafe ByteView(start + from, count &- from) }
        return cut(from, .max)
    }

    @usableFromInline @inline(never)
    func cut(_ from: Int, _ length: Int) -> ByteView {
        let first = min(max(from, 0), count)
        return unsafe ByteView(start + first, max(0, min(length, count - first)))
    }

    @inlinable
    public static func == (a: ByteView, b: ByteView) -> Bool {
        if a.count != b.count { return false }
        var i = 0
        while i &+ 8 <= a.count {
            if a.word(i) != b.word(i) { return false }
            i &+= 8
        }
        while i < a.count {
            if unsafe a.start[i] != b.start[i] { return false }
            i &+= 1
        }
        return true
    }

    @inlinable public func hasPrefix(_ p: ByteView) -> Bool { count >= p.count && slice(0, p.count) == p }
    @inlinable public func hasSuffix(_ s: ByteView) -> Bool { count >= s.count && slice(count - s.count) == s }

    /// Whether the bytes are equal when ASCII letters are compared without case.
    @inlinable
    public func equalsIgnoringCase(_ other: ByteView) -> Bool {
        if count != other.count { return false }
        var i = 0
        // Words that are equal as they are need no lowering, and most are.
        while i &+ 8 <= count, word(i) == other.word(i) { i &+= 8 }
        if count >= 8, i &+ 8 > count, word(count &- 8) == other.word(count &- 8) { return true }
        while i < count {
            if unsafe asciiLower(start[i]) != asciiLower(other.start[i]) { return false }
            i &+= 1
        }
        return true
    }

    @inlinable
    public func firstIndex(of byte: UInt8, from: Int = 0) -> Int? {
        var i = from
        while i < count {
            if unsafe start[i] == byte { return i }
            i += 1
        }
        return nil
    }

    @inlinable
    public func lastIndex(of byte: UInt8) -> Int? {
        var i = count - 1
        while i >= 0 {
            if unsafe start[i] == byte { return i }
            i -= 1
        }
        return nil
    }

    /// Without the spaces and tabs at both ends.
    @inlinable
    public var trimmed: ByteView {
        var first = 0
        var last = count
        while first < last, unsafe start[first] == 0x20 || start[first] == 0x09 { first += 1 }
        while last > first, unsafe start[last - 1] == 0x20 || start[last - 1] == 0x09 { last -= 1 }
        return slice(first, last - first)
    }

    /// Without the line end and the blanks at both ends.
    @inlinable
    public var trimmedLine: ByteView {
        var last = count
        while last > 0, unsafe start[last - 1] == 0x0A || start[last - 1] == 0x0D { last -= 1 }
        return slice(0, last).trimmed
    }

    /// FNV-1a over the bytes with ASCII letters lowered: for tables keyed by host or by header name. Not for keys an attacker
    /// may flood: those tables are built from the configuration alone.
    @inlinable
    public var hashIgnoringCase: UInt32 {
        var h: UInt32 = 2_166_136_261
        for i in 0..<count { h = unsafe (h ^ UInt32(asciiLower(start[i]))) &* 16_777_619 }
        return h
    }

    /// FNV-1a over the bytes as they are.
    @inlinable
    public var hash: UInt32 {
        var h: UInt32 = 2_166_136_261
        for i in 0..<count { h = unsafe (h ^ UInt32(start[i])) &* 16_777_619 }
        return h
    }

    /// The eight bytes from `i`, which must all be there, as one number (little-endian): for scans that skip what is harmless.
    @inlinable @inline(__always)
    public func word(_ i: Int) -> UInt64 {
        assert(i >= 0 && i + 8 <= count)
        return unsafe UnsafeRawPointer(start + i).loadUnaligned(as: UInt64.self)
    }

    /// The value of decimal digits alone, or nil when empty, when anything else is there or on overflow.
    @inlinable
    public var decimal: Int64? {
        if count == 0 { return nil }
        var n: Int64 = 0
        for i in 0..<count {
            let digit = unsafe Int64(start[i]) - 0x30
            if digit < 0 || digit > 9 { return nil }
            let (m, o1) = n.multipliedReportingOverflow(by: 10)
            let (a, o2) = m.addingReportingOverflow(digit)
            if o1 || o2 { return nil }
            n = a
        }
        return n
    }

    /// A copy as a string, for logs and messages: never on the hot path.
    public var string: String { unsafe String(decoding: buffer, as: UTF8.self) }
}

/// Copies `count` bytes between places that do not overlap. Most texts of a head are short, and for those a call costs more than
/// the copy: two loads that may overlap take the place of a loop.
@inlinable @inline(__always)
@unsafe public func copyBytes(_ from: UnsafePointer<UInt8>, to: UnsafeMutablePointer<UInt8>, _ count: Int) {
    let source = unsafe UnsafeRawPointer(from)
    let target = UnsafeMutableRawPointer(to)
    if count > 16 {
        unsafe target.copyMemory(from: source, byteCount: count)
        return
    }
    if count >= 8 {
        let last = unsafe source.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
        unsafe target.storeBytes(of: source.loadUnaligned(as: UInt64.self), as: UInt64.self)
        unsafe target.storeBytes(of: last, toByteOffset: count &- 8, as: UInt64.self)
    } else if count >= 4 {
        let last = unsafe source.loadUnaligned(fromByteOffset: count &- 4, as: UInt32.self)
        unsafe target.storeBytes(of: source.loadUnaligned(as: UInt32.self), as: UInt32.self)
        unsafe target.storeBytes(of: last, toByteOffset: count &- 4, as: UInt32.self)
    } else if count > 0 {
        let middle = unsafe from[count &>> 1]
        let last = unsafe from[count &- 1]
        unsafe to[0] = from[0]
        unsafe to[count &>> 1] = middle
        unsafe to[count &- 1] = last
    }
}

@inlinable @inline(__always)
public func asciiLower(_ byte: UInt8) -> UInt8 { byte &- 0x41 < 26 ? byte | 0x20 : byte }
