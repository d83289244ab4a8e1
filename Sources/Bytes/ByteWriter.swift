// Appends bytes to memory of a fixed size: heads of requests and responses, log lines, values of variables.
// A worker owns a few; overflow is a flag the caller asks for once at the end, not a check after each append.

/// A cursor over memory it does not own. When the room runs out it sets `overflowed` and drops what does not fit.
@safe public struct ByteWriter: BitwiseCopyable {
    public let start: UnsafeMutablePointer<UInt8>
    public let capacity: Int
    @usableFromInline var used = 0
    @usableFromInline var hasOverflowed = false

    @inlinable
    public init(_ start: UnsafeMutablePointer<UInt8>, capacity: Int) {
        unsafe self.start = start
        self.capacity = capacity
    }

    @inlinable @inline(__always) public var count: Int { used }
    /// Something did not fit and was dropped.
    @inlinable @inline(__always) public var overflowed: Bool { hasOverflowed }
    @inlinable @inline(__always) public var view: ByteView { unsafe ByteView(start, used) }
    @inlinable @inline(__always) public var room: Int { capacity &- used }

    /// What was appended since `mark`, an earlier `count`.
    @inlinable public func view(from mark: Int) -> ByteView { unsafe ByteView(start + mark, count - mark) }

    @inlinable @inline(__always)
    public mutating func reset() {
        used = 0
        hasOverflowed = false
    }

    /// Forgets what was appended since `mark`, an earlier `count`.
    @inlinable @inline(__always)
    public mutating func truncate(to mark: Int) { used = mark }

    /// Marks `n` bytes that the caller wrote at `start + count` itself.
    @inlinable @inline(__always)
    public mutating func advance(_ n: Int) {
        precondition(n <= room)
        used += n
    }

    @inlinable @inline(__always)
    public mutating func append(_ byte: UInt8) {
        if used == capacity {
            hasOverflowed = true
            return
        }
        unsafe start[used] = byte
        used &+= 1
    }

    @inlinable @inline(__always)
    public mutating func append(_ bytes: ByteView) {
        if bytes.count > room {
            hasOverflowed = true
            return
        }
        unsafe copyBytes(bytes.start, to: start + used, bytes.count)
        used &+= bytes.count
    }

    /// The count of a literal is known to the compiler, which turns the copy into a few stores.
    @inlinable @inline(__always)
    public mutating func append(_ literal: StaticString) {
        let count = literal.utf8CodeUnitCount
        if count > room {
            hasOverflowed = true
            return
        }
        unsafe UnsafeMutableRawPointer(start + used).copyMemory(from: literal.utf8Start, byteCount: count)
        used &+= count
    }

    @inlinable @inline(__always)
    public mutating func append(_ bytes: PaddedBytes) {
        if bytes.view.count <= PaddedBytes.readableMin, room >= PaddedBytes.readableMin {
            unsafe UnsafeMutableRawPointer(start + used).copyMemory(from: bytes.view.start, byteCount: PaddedBytes.readableMin)
            used &+= bytes.view.count
        } else {
            append(bytes.view)
        }
    }

    /// The first `count` (at most 15) of the bytes in two numbers, the first in the lowest place of `low`.
    @inlinable @inline(__always)
    public mutating func append(packed low: UInt64, _ high: UInt64, count: Int) {
        if room < 16 { return appendSlowly(low, high, count) }
        let place = unsafe UnsafeMutableRawPointer(start + used)
        unsafe place.storeBytes(of: low.littleEndian, as: UInt64.self)
        unsafe place.storeBytes(of: high.littleEndian, toByteOffset: 8, as: UInt64.self)
        used &+= count & 15
    }

    @usableFromInline @inline(never)
    mutating func appendSlowly(_ low: UInt64, _ high: UInt64, _ count: Int) {
        for i in 0..<count { append(UInt8(truncatingIfNeeded: i < 8 ? low &>> UInt64(8 &* i) : high &>> UInt64(8 &* (i &- 8)))) }
    }

    public mutating func append(lowercasing bytes: ByteView) {
        if bytes.count > room {
            hasOverflowed = true
            return
        }
        for i in 0..<bytes.count { unsafe start[used + i] = asciiLower(bytes.start[i]) }
        used += bytes.count
    }

    public mutating func append(decimal value: Int64) {
        if value < 0 { append(0x2D) }
        append(decimal: value.magnitude)
    }

    @inlinable
    public mutating func append(decimal value: Int) { append(decimal: Int64(value)) }

    /// `minimumDigits` pads with zeros on the left.
    public mutating func append(decimal value: UInt64, minimumDigits: Int = 1) {
        if value < 1000, room >= 3, minimumDigits <= 3 {
            // Statuses and small sizes.
            let n = UInt32(truncatingIfNeeded: value)
            let place = unsafe start + used
            if n >= 100 || minimumDigits == 3 {
                let hundreds = n / 100
                let rest = n &- hundreds &* 100
                unsafe place[0] = 0x30 &+ UInt8(truncatingIfNeeded: hundreds)
                unsafe place[1] = 0x30 &+ UInt8(truncatingIfNeeded: rest / 10)
                unsafe place[2] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
                used &+= 3
                return
            }
            if n < 10, minimumDigits <= 1 {
                unsafe place[0] = 0x30 &+ UInt8(truncatingIfNeeded: n)
                used &+= 1
                return
            }
        }
        var digits = value < 10 ? 1 : value < 100 ? 2 : value < 1000 ? 3 : value < 10_000 ? 4 : Self.digits(ofLarge: value)
        digits = max(digits, min(minimumDigits, 20))
        if digits > room {
            hasOverflowed = true
            return
        }
        var n = value
        var place = unsafe start + (used &+ digits)
        used &+= digits
        while digits > 0 {
            digits &-= 1
            unsafe place -= 1
            let rest = n / 10
            unsafe place.pointee = 0x30 &+ UInt8(truncatingIfNeeded: n &- rest &* 10)
            n = rest
        }
    }

    private static func digits(ofLarge value: UInt64) -> Int {
        var digits = 5
        var bound: UInt64 = 100_000
        while digits < 20, value >= bound {
            digits += 1
            let (next, overflow) = bound.multipliedReportingOverflow(by: 10)
            if overflow { break }
            bound = next
        }
        return digits
    }

    /// Lower-case hexadecimal, as chunk sizes are written.
    public mutating func append(hex value: UInt64, minimumDigits: Int = 1) {
        var shift = 60
        while shift > 0, value >> UInt64(shift) == 0, shift >= minimumDigits * 4 { shift -= 4 }
        while shift >= 0 {
            let nibble = UInt8(truncatingIfNeeded: (value >> UInt64(shift)) & 15)
            append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble)
            shift -= 4
        }
    }

    /// Milliseconds as nginx prints times: seconds, a point and three digits.
    public mutating func append(milliseconds ms: Int64) {
        append(decimal: UInt64(max(0, ms)) / 1000)
        append(0x2E)
        append(decimal: UInt64(max(0, ms)) % 1000, minimumDigits: 3)
    }
}
