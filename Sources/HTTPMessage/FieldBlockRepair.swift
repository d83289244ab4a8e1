// Takes a whole byte of padding off the Huffman-coded strings of a field block. RFC 7541 section 5.2 calls such padding an error, and
// nghttp2 ends the connection for it; nginx and others read it, and there are peers that rely on that. The meaning stays the same.
// Called by the engine's sessions with the frames of one block, before the library has them. Everything else passes as it is.

/// Whether a block, all of it in the HEADERS frame at the front of `frame`, has a string that is padded so.
public func needsFieldBlockRepair(_ frame: Span<UInt8>) -> Bool {
    guard let fragment = blockFragment(frame, at: 0) else { return false }
    // Such a byte is all ones, and few blocks have one anywhere.
    if !hasByteOfOnes(frame, fragment.first, fragment.end) { return false }
    var strings = BlockStrings(from: fragment.first, to: fragment.end)
    while let string = strings.next(frame) {
        if hasPaddingByte(frame, string.bytes) { return true }
    }
    return false
}

@inline(__always)
private func hasByteOfOnes(_ bytes: Span<UInt8>, _ first: Int, _ end: Int) -> Bool {
    var i = first
    while i &+ 8 <= end {
        if firstEqual(wordInside(bytes, i), 0xFF) != 0 { return true }
        i &+= 8
    }
    while i < end {
        if inside(bytes, i) == 0xFF { return true }
        i &+= 1
    }
    return false
}

/// Writes the frames of the block in `frames`, which are one HEADERS frame and perhaps CONTINUATION frames, without such padding.
/// What pads the frames themselves is left out.
///
/// - `output`: at least as large as `frames` and 1 KiB.
/// - Returns: how many bytes were written; nil when there is nothing to repair, or when the block is broken in other ways.
public func repairFieldBlock(_ frames: Span<UInt8>, into output: inout MutableSpan<UInt8>) -> Int? {
    if output.count < frames.count + 1024 || frames.count < 9 { return nil }
    let priority = frames[4] & FrameBits.priority != 0
    let front = 9 + (priority ? 5 : 0)
    // The block in one piece, behind the room for the first frame's head.
    var end = front
    var at = 0
    while at < frames.count {
        guard let fragment = blockFragment(frames, at: at) else { return nil }
        if at == 0, priority { for i in 0..<5 { output[9 + i] = frames[fragment.first - 5 + i] } }
        for i in fragment.first..<fragment.end {
            output[end] = frames[i]
            end += 1
        }
        at = fragment.next
    }
    guard let repaired = compact(&output, from: front, to: end) else { return nil }
    let flags = frames[4] & (FrameBits.endStream | FrameBits.priority)
    return layFrames(&output, front: front, end: repaired, flags: flags, head: frames)
}

/// Takes the padding bytes out of the block. Nil: there were none, or the block cannot be read.
private func compact(_ bytes: inout MutableSpan<UInt8>, from: Int, to: Int) -> Int? {
    var strings = BlockStrings(from: from, to: to)
    var read = from
    var write = from
    var found = false
    while let string = strings.next(bytes.span) {
        if !hasPaddingByte(bytes.span, string.bytes) { continue }
        found = true
        // What stands between the last such string and this one.
        while read < string.start {
            bytes[write] = bytes[read]
            read += 1
            write += 1
        }
        writeLength(&bytes, &write, string.bytes.length - 1)
        read = string.bytes.first
        while read < string.bytes.end - 1 {
            bytes[write] = bytes[read]
            read += 1
            write += 1
        }
        read += 1
    }
    if !found || strings.isBroken { return nil }
    while read < to {
        bytes[write] = bytes[read]
        read += 1
        write += 1
    }
    return write
}

/// The length of a Huffman-coded string; never longer than that of one which is a byte longer.
private func writeLength(_ bytes: inout MutableSpan<UInt8>, _ at: inout Int, _ length: Int) {
    if length < 127 {
        bytes[at] = 0x80 | UInt8(truncatingIfNeeded: length)
        at += 1
        return
    }
    bytes[at] = 0xFF
    at += 1
    var rest = length - 127
    while rest >= 128 {
        bytes[at] = 0x80 | UInt8(truncatingIfNeeded: rest & 127)
        rest >>= 7
        at += 1
    }
    bytes[at] = UInt8(truncatingIfNeeded: rest)
    at += 1
}

/// Puts heads of frames before and into the block that lies from `front` to `end`. `head`: the head of the frame it came in.
private func layFrames(_ bytes: inout MutableSpan<UInt8>, front: Int, end: Int, flags: UInt8, head: Span<UInt8>) -> Int? {
    func writeHead(_ bytes: inout MutableSpan<UInt8>, _ at: Int, _ count: Int, _ type: UInt8, _ flags: UInt8) {
        bytes[at] = UInt8(truncatingIfNeeded: count >> 16)
        bytes[at + 1] = UInt8(truncatingIfNeeded: count >> 8)
        bytes[at + 2] = UInt8(truncatingIfNeeded: count)
        bytes[at + 3] = type
        bytes[at + 4] = flags
        for i in 5..<9 { bytes[at + i] = head[i] }
    }
    let most = FrameBits.frameBytesMax
    let whole = end - 9
    let more = whole > most ? (whole - most + most - 1) / most : 0
    let first = min(whole, most)
    let total = end + more * 9
    if total > bytes.count { return nil }
    // From the back, so that nothing is overwritten before it is moved.
    for k in stride(from: more, to: 0, by: -1) {
        let from = 9 + first + (k - 1) * most
        let count = min(most, end - from)
        let to = from + k * 9
        for i in stride(from: count - 1, through: 0, by: -1) { bytes[to + i] = bytes[from + i] }
        writeHead(&bytes, to - 9, count, FrameBits.continuation, k == more ? FrameBits.endHeaders : 0)
    }
    writeHead(&bytes, 0, first, FrameBits.headers, flags | (more == 0 ? FrameBits.endHeaders : 0))
    return total
}

/// Where the part of a block lies in the frame at `at`, and the frame's end. Nil: not a frame of a block, or its padding is too long.
private func blockFragment(_ bytes: Span<UInt8>, at: Int) -> (first: Int, end: Int, next: Int)? {
    if bytes.count - at < 9 { return nil }
    let next = at + 9 + (Int(bytes[at]) << 16 | Int(bytes[at + 1]) << 8 | Int(bytes[at + 2]))
    if next > bytes.count { return nil }
    var first = at + 9
    var end = next
    switch bytes[at + 3] {
    case FrameBits.continuation: return at == 0 ? nil : (first, end, next)
    case FrameBits.headers:
        if at != 0 { return nil }
        if bytes[at + 4] & FrameBits.padded != 0 {
            if first >= end { return nil }
            end -= Int(bytes[first])
            first += 1
        }
        if bytes[at + 4] & FrameBits.priority != 0 { first += 5 }
        return first <= end ? (first, end, next) : nil
    default: return nil
    }
}

/// The Huffman-coded strings of a block, one after the other (RFC 7541 section 6).
private struct BlockStrings {
    private var at: Int
    private let end: Int
    /// Strings that the representation under way still has.
    private var left = 0
    private(set) var isBroken = false

    init(from: Int, to: Int) {
        at = from
        end = to
    }

    /// `start`: where its length stands. Nil: there are no more, or the block cannot be read on.
    mutating func next(_ bytes: Span<UInt8>) -> (start: Int, bytes: ByteRange)? {
        while true {
            while left == 0 {
                if at >= end { return nil }
                if !representation(bytes) { return broken() }
            }
            if at >= end { return broken() }
            let start = at
            let isCoded = bytes[at] & 0x80 != 0
            guard let length = integer(bytes, 7), length <= end - at else { return broken() }
            let range = ByteRange(at, at + length)
            at += length
            left -= 1
            if isCoded { return (start, range) }
        }
    }

    private mutating func broken() -> (start: Int, bytes: ByteRange)? {
        isBroken = true
        at = end
        left = 0
        return nil
    }

    private mutating func representation(_ bytes: Span<UInt8>) -> Bool {
        let c = bytes[at]
        // Indexed, with incremental indexing, the table's size, without indexing or never indexed.
        let prefix = c & 0x80 != 0 ? 7 : c & 0x40 != 0 ? 6 : c & 0x20 != 0 ? 5 : 4
        guard let index = integer(bytes, prefix) else { return false }
        if prefix == 6 || prefix == 4 { left = index == 0 ? 2 : 1 }
        return true
    }

    /// An integer of section 5.1; nil when it is cut or larger than any that makes sense.
    private mutating func integer(_ bytes: Span<UInt8>, _ prefix: Int) -> Int? {
        let mask = 1 << prefix - 1
        var n = Int(bytes[at]) & mask
        at += 1
        if n < mask { return n }
        for shift in stride(from: 0, through: 21, by: 7) {
            if at >= end { return nil }
            let c = Int(bytes[at])
            at += 1
            n += (c & 127) << shift
            if c & 128 == 0 { return n }
        }
        return nil
    }
}

/// Whether the last symbol of the string ends with its last byte but one, and the last is all padding.
private func hasPaddingByte(_ bytes: Span<UInt8>, _ string: ByteRange) -> Bool {
    if string.isEmpty || bytes[string.end - 1] != 0xFF { return false }
    let bits = (string.length - 1) * 8
    var bit = 0
    while bit < bits {
        // The next 32 bits; behind the string's end they are ones, as padding is.
        var word: UInt64 = 0
        let first = string.first + bit >> 3
        for i in first..<(first + 5) { word = word << 8 | (i < string.end ? UInt64(bytes[i]) : 0xFF) }
        guard let length = codeBits(UInt32(truncatingIfNeeded: word >> UInt64(8 - bit & 7))) else { return false }
        bit += length
    }
    return bit == bits
}

/// Bits of the code that `bits` begin with; nil for the one that must not occur, the end of a string. The codes of RFC 7541
/// appendix B grow with their length, so the first of each length says where the shorter ones end.
private func codeBits(_ bits: UInt32) -> Int? {
    switch bits {
    case ..<0x5000_0000: 5
    case ..<0xB800_0000: 6
    case ..<0xF800_0000: 7
    case ..<0xFE00_0000: 8
    case ..<0xFF40_0000: 10
    case ..<0xFFA0_0000: 11
    case ..<0xFFC0_0000: 12
    case ..<0xFFF0_0000: 13
    case ..<0xFFF8_0000: 14
    case ..<0xFFFE_0000: 15
    case ..<0xFFFE_6000: 19
    case ..<0xFFFE_E000: 20
    case ..<0xFFFF_4800: 21
    case ..<0xFFFF_B000: 22
    case ..<0xFFFF_EA00: 23
    case ..<0xFFFF_F600: 24
    case ..<0xFFFF_F800: 25
    case ..<0xFFFF_FBC0: 26
    case ..<0xFFFF_FE20: 27
    case ..<0xFFFF_FFF0: 28
    case ..<0xFFFF_FFFC: 30
    default: nil
    }
}
