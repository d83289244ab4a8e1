// Whether the value of a Host field or an authority names a host, and where host and port lie in it.
// Called by the engine for both; the rules are those nginx applies (letters, digits, RFC 3986 unreserved and sub-delims).

public enum HostResult: Equatable, Sendable, BitwiseCopyable {
    /// `host`: its range in the value given, with the brackets of a literal, without port and without the dot at its end.
    /// `port`: nil when there is none, when it is empty or 0. `hasUppercase`: the caller has to lower-case it for comparison.
    case valid(host: ByteRange, port: UInt16?, hasUppercase: Bool)
    case bad
}

/// Characters of a registered name: unreserved and sub-delims of RFC 3986. "%" is not among them.
@inline(__always)
func isHostCharacter(_ c: UInt8) -> Bool { inSet(c, 0x2BFF_7FD2_0000_0000, 0x47FF_FFFE_87FF_FFFE) }

/// Letters in lower case, digits and "-".
@inline(__always)
private func isPlain(_ c: UInt8) -> Bool { c &- 0x61 < 26 || isDigit(c) || c == 0x2D }

/// Judges a host with an optional port, e.g. `Example.com:8080` or `[::1]`.
public func validateHost(_ value: Span<UInt8>) -> HostResult {
    let isLiteral = value.count > 0 && value[0] == 0x5B
    var i = isLiteral ? 1 : 0
    var hasUppercase = false
    while i < value.count {
        let c = inside(value, i)
        if isPlain(c) {
            // What nearly all hosts are made of.
            i &+= 1
            continue
        }
        if c == (isLiteral ? 0x5D : 0x3A) { break }
        if c &- 0x41 < 26 {
            hasUppercase = true
        } else if c == 0x2E {
            if i > 0, inside(value, i &- 1) == 0x2E { return .bad }
        } else if !isHostCharacter(c), c != (isLiteral ? 0x3A : 0x25) {
            return .bad
        }
        i &+= 1
    }
    var hostEnd = i
    if isLiteral {
        if i == value.count { return .bad }
        i += 1
        hostEnd = i
    } else if hostEnd > 0, value[hostEnd - 1] == 0x2E {
        hostEnd -= 1
    }
    if hostEnd == 0 { return .bad }
    var port: UInt16?
    if i < value.count {
        guard value[i] == 0x3A, let number = portNumber(value, from: i + 1) else { return .bad }
        port = number == 0 ? nil : number
    }
    return .valid(host: ByteRange(0, hostEnd), port: port, hasUppercase: hasUppercase)
}

/// The digits from `start` to the end: 0 when there are none, nil when something else is there or above 65535.
private func portNumber(_ value: Span<UInt8>, from start: Int) -> UInt16? {
    var n = 0
    for i in start..<value.count {
        if !isDigit(value[i]) { return nil }
        n = n &* 10 &+ Int(value[i] &- 0x30)
        if n > 65535 { return nil }
    }
    return UInt16(n)
}
