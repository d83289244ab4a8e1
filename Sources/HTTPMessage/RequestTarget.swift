// The request-target in its four forms (RFC 9112 section 3.2): where path, query and authority lie in it.
// Called by the request parser. It must not decode anything; `normalizePath` and `validateHost` do the rest.

/// Reads a path, a query and a fragment up to the space behind them. `start` is at "/", "?" or "#", or at that space.
@inline(__always)
func parsePathAndQuery(_ bytes: Span<UInt8>, _ start: Int, _ head: inout RequestHead) -> ScanEnd {
    var i: Int
    switch scanPath(bytes, start, &head.isComplexPath) {
    case .at(let end): i = end
    case let other: return other
    }
    head.path = ByteRange(start, i)
    if bytes[i] == 0x20 { return .at(i) }
    if bytes[i] == 0x3F {
        let queryStart = i &+ 1
        switch scanVisible(bytes, queryStart, stopAtFragment: true) {
        case .at(let end): i = end
        case let other: return other
        }
        head.query = ByteRange(queryStart, i)
        if bytes[i] == 0x20 { return .at(i) }
    }
    head.isComplexPath = true
    return scanVisible(bytes, i, stopAtFragment: false)
}

/// Finds the space, "?" or "#" that ends a path and sets `complex` when it holds "%", "//" or "/.".
@inline(__always)
private func scanPath(_ bytes: Span<UInt8>, _ start: Int, _ complex: inout Bool) -> ScanEnd {
    var i = start
    while true {
        let w = word(bytes, i)
        // Space, controls and the characters up to "%"; then "?" and DEL, which differ in one bit and overflow into the highest.
        // That addition may carry out of a byte of 255 and so mark ">" or "~" falsely.
        let stop = ((w &- everyByte &* 0x26) | ((w | everyByte &* 0x40) &+ everyByte)) & ~w & everyHighBit
        // Zero where a slash stands before "/" or ".", which differ in one bit.
        let pair = (w ^ everyByte &* 0x2F) | ((word(bytes, i &+ 1) | everyByte) ^ everyByte &* 0x2F)
        if (pair &- everyByte) & ~pair & everyHighBit & (stop &- 1) & ~stop != 0 { complex = true }
        if stop == 0 {
            i &+= 8
            continue
        }
        i &+= place(stop)
        switch byte(w, stop) {
        case 0x20, 0x3F, 0x23: return .at(i)
        case 0x25: complex = true
        case 0x21...0x24, 0x3E, 0x7E: break
        case let c: return i >= bytes.count ? .needMore : .bad(badInTarget(c))
        }
        i &+= 1
    }
}

/// Finds the space behind a query or a fragment, or the "#" behind a query.
@inline(__always)
private func scanVisible(_ bytes: Span<UInt8>, _ start: Int, stopAtFragment: Bool) -> ScanEnd {
    var i = start
    while true {
        let w = word(bytes, i)
        // As above: a carry may mark "~" falsely.
        let stop = ((w &- everyByte &* 0x24) | (w &+ everyByte)) & ~w & everyHighBit
        if stop == 0 {
            i &+= 8
            continue
        }
        i &+= place(stop)
        let c = byte(w, stop)
        if c == 0x20 { return .at(i) }
        if c < 0x20 || c == 0x7F { return i >= bytes.count ? .needMore : .bad(badInTarget(c)) }
        if c == 0x23, stopAtFragment { return .at(i) }
        i &+= 1
    }
}

private func badInTarget(_ c: UInt8) -> BadHead {
    c == 0x0D || c == 0x0A ? .missingVersion : BadHead(control: c)
}

/// Absolute-form, authority-form (CONNECT alone) and asterisk-form (OPTIONS alone).
@inline(never)
func parseOtherTarget(_ bytes: Span<UInt8>, _ start: Int, _ head: inout RequestHead) -> ScanEnd {
    if head.method == .connect { return parseAuthority(bytes, start, &head) }
    if bytes[start] == 0x2A {
        if start + 1 == bytes.count { return .needMore }
        if bytes[start + 1] != 0x20 || head.method != .options { return .bad(.badTarget) }
        head.isAsteriskForm = true
        return .at(start + 1)
    }
    var i = start
    while i < bytes.count, isLetter(bytes[i]) { i += 1 }
    if i == bytes.count { return .needMore }
    let scheme = ByteRange(start, i)
    if !matches(bytes, scheme, "http") && !matches(bytes, scheme, "https") { return .bad(badCharacter(bytes[i])) }
    let separator: StaticString = "://"
    for k in 0..<3 {
        if i + k == bytes.count { return .needMore }
        if unsafe bytes[i + k] != separator.utf8Start[k] { return .bad(badCharacter(bytes[i + k])) }
    }
    head.scheme = scheme
    switch parseAuthority(bytes, i + 3, &head) {
    case .at(let next): i = next
    case let other: return other
    }
    head.isComplexPath = bytes[i] != 0x2F
    return parsePathAndQuery(bytes, i, &head)
}

private func badCharacter(_ c: UInt8) -> BadHead {
    if c == 0 { return .nulByte }
    return c < 0x20 || c == 0x7F ? badInTarget(c) : .badTarget
}

/// A host and a port, the port obligatory for CONNECT. Answers with the offset behind them, where "/", "?" or a space is.
private func parseAuthority(_ bytes: Span<UInt8>, _ start: Int, _ head: inout RequestHead) -> ScanEnd {
    var i = start
    if i < bytes.count, bytes[i] == 0x5B {
        while i < bytes.count, bytes[i] != 0x5D {
            // Whatever `validateHost` may accept in brackets; nothing that ends a host.
            if !isHostCharacter(bytes[i]), bytes[i] != 0x3A, i > start { return .bad(.badAuthority) }
            i += 1
        }
        i += 1
    } else {
        while i < bytes.count, isDigit(bytes[i]) || isLetter(bytes[i]) || bytes[i] == 0x2E || bytes[i] == 0x2D { i += 1 }
    }
    if i >= bytes.count { return .needMore }
    if i == start { return .bad(.badAuthority) }
    var digits = 0
    if bytes[i] == 0x3A {
        i += 1
        while i < bytes.count, isDigit(bytes[i]) {
            i += 1
            digits += 1
        }
        if i >= bytes.count { return .needMore }
    }
    head.authority = ByteRange(start, i)
    if head.method == .connect { return digits > 0 && bytes[i] == 0x20 ? .at(i) : .bad(.badTarget) }
    switch bytes[i] {
    case 0x2F, 0x3F, 0x20: return .at(i)
    default: return .bad(.badAuthority)
    }
}
