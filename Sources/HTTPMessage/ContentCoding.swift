// What a client says of codings in Accept-Encoding, and what a Cache-Control says, for `gzip` and its conditions.
// Called when an answer's head is composed. Pure: bytes in, a verdict out.

import Bytes

/// Whether a value of Accept-Encoding allows gzip, by nginx's rules: the first "gzip" that begins a word counts; without a weight it
/// is welcome, with one unless that is 0 or is not a weight (RFC 9110 section 12.4.2). "*" is not looked at.
public func acceptsGzip(_ value: Span<UInt8>) -> Bool {
    guard var i = gzipWord(value) else { return false }
    while i < value.count {
        switch value[i] {
        case 0x2C: return true
        case 0x20: i += 1
        case 0x3B: return hasWeight(value, from: i + 1)
        default: return false
        }
    }
    return true
}

/// The place behind the first "gzip" at the front of a word.
private func gzipWord(_ value: Span<UInt8>) -> Int? {
    var i = 0
    while i + 4 <= value.count {
        let isGzip =
            value[i] | 0x20 == 0x67 && value[i + 1] | 0x20 == 0x7A && value[i + 2] | 0x20 == 0x69 && value[i + 3] | 0x20 == 0x70
        if isGzip, i == 0 || value[i - 1] == 0x2C || value[i - 1] == 0x20 { return i + 4 }
        i += isGzip ? 4 : 1
    }
    return nil
}

/// Whether " q=WEIGHT" from `start` is a weight above 0. Nothing at all is no weight, and no objection.
private func hasWeight(_ value: Span<UInt8>, from start: Int) -> Bool {
    var i = start
    while i < value.count, value[i] == 0x20 { i += 1 }
    if i == value.count { return true }
    guard value[i] | 0x20 == 0x71, i + 2 < value.count, value[i + 1] == 0x3D else { return false }
    i += 2
    let whole = value[i]
    guard whole == 0x30 || whole == 0x31 else { return false }
    i += 1
    if i == value.count || value[i] == 0x2C || value[i] == 0x20 { return whole == 0x31 }
    guard value[i] == 0x2E else { return false }
    i += 1
    var sum = 0
    var digits = 0
    while i < value.count, value[i] != 0x2C, value[i] != 0x20 {
        guard isDigit(value[i]) else { return false }
        sum += Int(value[i] - 0x30)
        digits += 1
        i += 1
    }
    if digits > 3 || whole == 0x31 && sum > 0 { return false }
    return whole == 0x31 || sum > 0
}

/// Whether a value of Cache-Control names `directive` (in lower case), with an argument or without.
public func namesDirective(_ value: ByteView, _ directive: ByteView) -> Bool {
    var from = 0
    while from < value.count {
        let end = value.firstIndex(of: 0x2C, from: from) ?? value.count
        let part = value.slice(from, end - from).trimmed
        let name = part.slice(0, part.firstIndex(of: 0x3D) ?? part.count).trimmed
        if name.equalsIgnoringCase(directive) { return true }
        from = end + 1
    }
    return false
}

/// A Content-Type taken apart: the type with what parameters stand before its charset, and the charset.
public struct MediaTypeParts: BitwiseCopyable {
    /// The part that `gzip_types` and `charset_types` are compared with, and that a charset is put behind.
    public var type: ByteView
    /// Empty: the field names none.
    public var charset: ByteView

    /// A type that is what it is, with whatever parameters.
    public init(type: ByteView) {
        self.type = type
        charset = .empty
    }

    public init(_ value: ByteView) {
        type = value
        charset = .empty
        var from = 0
        while let semicolon = value.firstIndex(of: 0x3B, from: from) {
            from = semicolon + 1
            let rest = value.slice(from).trimmed
            guard rest.count >= 8, rest.slice(0, 8).equalsIgnoringCase(ByteView("charset=")) else { continue }
            type = value.slice(0, semicolon)
            charset = rest.slice(8)
            if charset.hasPrefix(ByteView("\"")) { charset = charset.slice(1) }
            if charset.hasSuffix(ByteView("\"")) { charset = charset.slice(0, charset.count - 1) }
            return
        }
    }
}
