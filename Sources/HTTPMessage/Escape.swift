// Percent-encoding and decoding, with the sets of characters nginx uses for what it passes on.
// Called by the engine where it builds request targets, redirects and variables. It must not know the parts of a target.

/// Which bytes become "%XX", in upper-case hexadecimal; controls and bytes from 127 on always do.
public enum EscapeSet: UInt8, Sendable, BitwiseCopyable {
    /// A normalised path: space `"` `#` `%` `<` `>` `?` `\` `^` backquote `{` `|` `}`.
    case uri
    /// A query built from a path or a capture: those of `uri` and `&` `+` `;`.
    case arguments
    /// A value in any place: all but letters, digits, "-", ".", "_" and "~".
    case uriComponent

    @inline(__always)
    func holds(_ c: UInt8) -> Bool {
        if c >= 0x80 { return true }
        return switch self {
        case .uri: inSet(c, 0xD000_002D_FFFF_FFFF, 0xB800_0001_5000_0000)
        case .arguments: inSet(c, 0xD800_086D_FFFF_FFFF, 0xB800_0001_5000_0000)
        case .uriComponent: inSet(c, 0xFC00_9FFF_FFFF_FFFF, 0xB800_0001_7800_0001)
        }
    }
}

/// How many bytes `escape` writes for `source`.
public func escapedCount(_ source: Span<UInt8>, _ set: EscapeSet) -> Int {
    var n = source.count
    for i in source.indices where set.holds(source[i]) { n &+= 2 }
    return n
}

/// Percent-encodes `source`. Returns the bytes written, or nil when `output` is too small (three times the source never is).
public func escape(_ source: Span<UInt8>, _ set: EscapeSet, into output: inout MutableSpan<UInt8>) -> Int? {
    var n = 0
    for i in source.indices {
        let c = source[i]
        if set.holds(c) {
            if n &+ 3 > output.count { return nil }
            output[n] = 0x25
            output[n &+ 1] = hexDigit(c >> 4)
            output[n &+ 2] = hexDigit(c & 15)
            n &+= 3
        } else {
            if n == output.count { return nil }
            output[n] = c
            n &+= 1
        }
    }
    return n
}

/// Decodes each "%XX"; a "%" that two hexadecimal digits do not follow stays as it is. Returns the bytes written, or nil when
/// `output` is too small (as many bytes as the source never are).
public func unescape(_ source: Span<UInt8>, into output: inout MutableSpan<UInt8>) -> Int? {
    var n = 0
    var i = 0
    while i < source.count {
        if n == output.count { return nil }
        if source[i] == 0x25, let decoded = decodedByte(source, at: i &+ 1) {
            output[n] = decoded
            i &+= 3
        } else {
            output[n] = source[i]
            i &+= 1
        }
        n &+= 1
    }
    return n
}

@inline(__always)
private func hexDigit(_ nibble: UInt8) -> UInt8 { nibble < 10 ? 0x30 &+ nibble : 0x37 &+ nibble }
