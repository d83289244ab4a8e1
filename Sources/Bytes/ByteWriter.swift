// Appends bytes to memory of a fixed size: heads of requests and responses, log lines, values of variables.
// A worker owns a few; overflow is a flag the caller asks for once at the end, not a check after each append.

/// A cursor over memory it does not own. When the room runs out it sets `overflowed` and drops what does not fit.
@safe public struct ByteWriter: BitwiseCopyable {
    public let start: UnsafeMutablePointer<UInt8>
    public let capacity: Int
    public private(set) var count = 0
    public private(set) var overflowed = false

    @inlinable
    public init(_ start: UnsafeMutablePointer<UInt8>, capacity: Int) {
        unsafe self.start = start
        self.capacity = capacity
    }

    @inlinable public var view: ByteView { unsafe ByteView(start, count) }
    @inlinable public var room: Int { capacity - count }

    /// What was appended since `mark`, an earlier `count`.
    @inlinable public func view(from mark: Int) -> ByteView { unsafe ByteView(start + mark, count - mark) }

    public mutating func reset() {
        count = 0
        overflowed = false
    }

    /// Forgets what was appended since `mark`, an earlier `count`.
    public mutating func truncate(to mark: Int) { count = mark }

    /// Marks `n` bytes that the caller wrote at `start + count` itself.
    public mutating func advance(_ n: Int) {
        precondition(n <= room)
        count += n
    }

    @inline(__always)
    public mutating func append(_ byte: UInt8) {
        if count == capacity {
            overflowed = true
            return
        }
        unsafe start[count] = byte
        count += 1
    }

    public mutating func append(_ bytes: ByteView) {
        if bytes.count > room {
            overflowed = true
            return
        }
        unsafe (start + count).update(from: bytes.start, count: bytes.count)
        count += bytes.count
    }

    @inline(__always)
    public mutating func append(_ literal: StaticString) { append(ByteView(literal)) }

    public mutating func append(lowercasing bytes: ByteView) {
        if bytes.count > room {
            overflowed = true
            return
        }
        for i in 0..<bytes.count { unsafe start[count + i] = asciiLower(bytes.start[i]) }
        count += bytes.count
    }

    public mutating func append(decimal value: Int64) {
        if value < 0 { append(0x2D) }
        append(decimal: value.magnitude)
    }

    public mutating func append(decimal value: Int) { append(decimal: Int64(value)) }

    /// `minimumDigits` pads with zeros on the left.
    public mutating func append(decimal value: UInt64, minimumDigits: Int = 1) {
        var digits: InlineArray<20, UInt8> = .init(repeating: 0x30)
        var n = value
        var first = 20
        repeat {
            first -= 1
            digits[first] = 0x30 + UInt8(truncatingIfNeeded: n % 10)
            n /= 10
        } while n > 0
        first = min(first, 20 - min(minimumDigits, 20))
        for i in first..<20 { append(digits[i]) }
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
