// Looks at eight bytes at a time: the loads and byte classes the parsers share.
// Used by every parser of this module. It must not know any grammar beyond RFC 9110's token.

@inline(__always) var everyByte: UInt64 { 0x0101_0101_0101_0101 }
@inline(__always) var everyHighBit: UInt64 { 0x8080_8080_8080_8080 }
@inline(__always) var everyLowBits: UInt64 { 0x7F7F_7F7F_7F7F_7F7F }
@inline(__always) var everyCaseBit: UInt64 { 0x2020_2020_2020_2020 }

/// The eight bytes at `i` (0 to the count), the first in the lowest place; zeros stand for what lies beyond the end.
@inline(__always)
func word(_ bytes: Span<UInt8>, _ i: Int) -> UInt64 {
    if i &+ 8 <= bytes.count { return wordInside(bytes, i) }
    return wordAtEnd(bytes, i)
}

/// The eight bytes at `i`, which the caller knows to be there.
@inline(__always)
func wordInside(_ bytes: Span<UInt8>, _ i: Int) -> UInt64 {
    assert(i >= 0 && i &+ 8 <= bytes.count)
    return unsafe UInt64(littleEndian: bytes.bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: i, as: UInt64.self))
}

/// The byte at `i`, which the caller knows to be there.
@inline(__always)
func inside(_ bytes: Span<UInt8>, _ i: Int) -> UInt8 {
    assert(i >= 0 && i < bytes.count)
    return unsafe bytes[unchecked: i]
}

@inline(never)
private func wordAtEnd(_ bytes: Span<UInt8>, _ i: Int) -> UInt64 {
    if i >= bytes.count { return 0 }
    if bytes.count >= 8 {
        return wordInside(bytes, bytes.count &- 8) &>> UInt64(truncatingIfNeeded: (i &+ 8 &- bytes.count) &* 8)
    }
    var w: UInt64 = 0
    for j in i..<bytes.count { w |= UInt64(bytes[j]) << UInt64((j - i) * 8) }
    return w
}

/// Marks bytes equal to `byte`. Only the lowest mark is certain.
@inline(__always)
func firstEqual(_ w: UInt64, _ byte: UInt64) -> UInt64 {
    let z = w ^ (everyByte &* byte)
    return (z &- everyByte) & ~z & everyHighBit
}

/// Marks capital letters, each of them for certain.
@inline(__always)
func capitalMarks(_ w: UInt64) -> UInt64 {
    let low = w & everyLowBits
    let fromA = low &+ everyByte &* (0x80 - 0x41)
    let pastZ = low &+ everyByte &* (0x80 - 0x5B)
    return fromA & ~pastZ & ~w & everyHighBit
}

/// The place, 0 to 7, of the lowest mark.
@inline(__always)
func place(_ marks: UInt64) -> Int { marks.trailingZeroBitCount &>> 3 }

/// The bytes of `w` from the one that the lowest mark is on, that one in the lowest place.
@inline(__always)
func from(_ w: UInt64, _ marks: UInt64) -> UInt64 { w &>> UInt64(truncatingIfNeeded: marks.trailingZeroBitCount &- 7) }

/// The byte of `w` that the lowest mark is on.
@inline(__always)
func byte(_ w: UInt64, _ marks: UInt64) -> UInt8 { UInt8(truncatingIfNeeded: from(w, marks)) }

/// All the bits of the bytes below the lowest mark.
@inline(__always)
func below(_ marks: UInt64) -> UInt64 { (marks & (0 &- marks)) &>> 7 &- 1 }

/// Up to eight characters as `word` would load them.
@inline(__always)
func packed(_ text: StaticString) -> UInt64 {
    var w: UInt64 = 0
    for i in 0..<text.utf8CodeUnitCount { w |= unsafe UInt64(text.utf8Start[i]) << UInt64(8 &* i) }
    return w
}

@inline(__always) func isDigit(_ c: UInt8) -> Bool { c &- 0x30 < 10 }
@inline(__always) func isLetter(_ c: UInt8) -> Bool { (c | 0x20) &- 0x61 < 26 }
@inline(__always) func isBlank(_ c: UInt8) -> Bool { c == 0x20 || c == 0x09 }

/// The value of a hexadecimal digit, or 255.
@inline(__always)
func hexValue(_ c: UInt8) -> UInt8 {
    if isDigit(c) { return c &- 0x30 }
    let lower = c | 0x20
    return lower &- 0x61 < 6 ? lower &- 0x57 : 255
}

/// Set membership of a byte below 128: `low` holds bits for 0...63, `high` for 64...127.
@inline(__always)
func inSet(_ c: UInt8, _ low: UInt64, _ high: UInt64) -> Bool {
    c < 0x80 && ((c < 0x40 ? low : high) &>> UInt64(c & 0x3F)) & 1 == 1
}

/// RFC 9110 section 5.6.2.
@inline(__always)
func isToken(_ c: UInt8) -> Bool { inSet(c, 0x03FF_6CFA_0000_0000, 0x57FF_FFFF_C7FF_FFFE) }

/// Whether the bytes of `range` are `lower`, a text of lower-case letters, digits and "-", when case does not count.
@inline(__always)
func matches(_ bytes: Span<UInt8>, _ range: ByteRange, _ lower: StaticString) -> Bool {
    if range.length != lower.utf8CodeUnitCount { return false }
    var i = 0
    while i < range.length {
        let c = bytes[range.first &+ i]
        if unsafe (c &- 0x41 < 26 ? c | 0x20 : c) != lower.utf8Start[i] { return false }
        i &+= 1
    }
    return true
}
