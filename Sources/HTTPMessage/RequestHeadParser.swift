// The head of a request: empty lines, request line, fields (RFC 9112 sections 2.2 and 3), as lenient as nginx where that is safe.
// Called by the engine's client sessions. It must not decode, route, judge the framing or look beyond the head.

/// Empty lines tolerated before a request (RFC 9112 section 2.2).
public let emptyLinesBeforeRequestMax = 4

/// Parses the head of a request at the beginning of `bytes`.
///
/// - `seen`: how many of the bytes an earlier call answered `needMore` for (0 at first). A head that comes a byte at a time is
///   then parsed again only when its end may have come or its size has doubled.
/// - `lineSeen`: the `requestLineComplete` of that answer, so that only new bytes are searched for the end of the request line;
///   nil if the caller did not keep it, and then that search begins at the first byte each time.
/// - `fields`: receives the field lines; its count is the most a head may have.
/// - `head`: filled when the answer is `.head`; undefined otherwise.
///
/// - `isHTTP2`: the head stands for fields of HTTP/2, and so does its version.
///
/// Accepted beyond the grammar, as nginx does: several spaces between the parts of the request line and behind it, a bare LF as
/// line end, bytes above 127 in target and values. Methods are letters A to Z, "-" and "_".
public func parseRequestHead(
    _ bytes: Span<UInt8>, seen: Int, lineSeen: Bool? = nil, isHTTP2: Bool = false, fields: inout MutableSpan<HeaderField>,
    head: inout RequestHead
) -> RequestHeadResult {
    if !shouldParse(bytes, seen: seen) {
        let isComplete = lineSeen == true || hasRequestLine(bytes, searchFrom: lineSeen == false ? seen : 0)
        return .needMore(requestLineComplete: isComplete)
    }
    head = RequestHead()
    let lineEnd: Int
    switch parseRequestLine(bytes, isHTTP2, &head) {
    case .at(let next): lineEnd = next
    case .needMore: return .needMore(requestLineComplete: false)
    case .bad(let reason): return .bad(reason)
    }
    switch parseFieldSection(bytes, from: lineEnd, into: &fields, summary: &head.fields) {
    case .needMore: return .needMore(requestLineComplete: true)
    case .bad(let reason): return .bad(reason)
    case .end(let end):
        head.headBytes = end
        return .head
    }
}

/// Whether a line that is not empty ends at `searchFrom` or later in bytes of which a parser said `needMore`.
private func hasRequestLine(_ bytes: Span<UInt8>, searchFrom: Int) -> Bool {
    var i = 0
    while i < bytes.count, bytes[i] == 0x0D || bytes[i] == 0x0A { i += 1 }
    i = max(i, searchFrom)
    while i < bytes.count {
        let lf = firstEqual(word(bytes, i), 0x0A)
        if lf != 0 { return i + place(lf) < bytes.count }
        i &+= 8
    }
    return false
}

/// Answers with the offset behind the line.
@inline(__always)
private func parseRequestLine(_ bytes: Span<UInt8>, _ isHTTP2: Bool, _ head: inout RequestHead) -> ScanEnd {
    var i = 0
    if bytes.count > 0, bytes[0] <= 0x0D {
        switch skipEmptyLines(bytes) {
        case .at(let next): i = next
        case let other: return other
        }
    }
    let start = i
    switch parseMethod(bytes, i, &head) {
    case .at(let next): i = next
    case let other: return other
    }
    while i < bytes.count, bytes[i] == 0x20 { i &+= 1 }
    if i == bytes.count { return .needMore }
    let targetStart = i
    switch bytes[i] == 0x2F && head.method != .connect ? parsePathAndQuery(bytes, i, &head) : parseOtherTarget(bytes, i, &head) {
    case .at(let next): i = next
    case let other: return other
    }
    head.target = ByteRange(targetStart, i)
    while i < bytes.count, bytes[i] == 0x20 { i &+= 1 }
    return parseVersion(bytes, i, lineStart: start, isHTTP2, &head)
}

private func skipEmptyLines(_ bytes: Span<UInt8>) -> ScanEnd {
    var i = 0
    var lines = 0
    while i < bytes.count {
        if bytes[i] == 0x0D {
            if i + 1 == bytes.count { return .needMore }
            if bytes[i + 1] != 0x0A { return .bad(.loneCarriageReturn) }
            i += 2
        } else if bytes[i] == 0x0A {
            i += 1
        } else {
            return .at(i)
        }
        lines += 1
        if lines > emptyLinesBeforeRequestMax { return .bad(.tooManyEmptyLines) }
    }
    return .needMore
}

/// Answers with the offset of the space behind the method.
@inline(__always)
private func parseMethod(_ bytes: Span<UInt8>, _ start: Int, _ head: inout RequestHead) -> ScanEnd {
    let w = word(bytes, start)
    if w & 0xFFFF_FFFF == packed("GET ") {
        head.method = .get
        head.methodRange = ByteRange(start, start &+ 3)
        return .at(start &+ 3)
    }
    if w & 0xFF_FFFF_FFFF == packed("POST ") {
        head.method = .post
        head.methodRange = ByteRange(start, start &+ 4)
        return .at(start &+ 4)
    }
    return parseRareMethod(bytes, start, w, &head)
}

private func parseRareMethod(_ bytes: Span<UInt8>, _ start: Int, _ w: UInt64, _ head: inout RequestHead) -> ScanEnd {
    var i = start
    while i < bytes.count, bytes[i] &- 0x41 < 26 || bytes[i] == 0x2D || bytes[i] == 0x5F { i += 1 }
    if i == bytes.count { return .needMore }
    if bytes[i] != 0x20 || i == start { return .bad(.badMethod) }
    head.method = Method(w, count: i - start, last: bytes[i - 1])
    head.methodRange = ByteRange(start, i)
    return .at(i)
}

/// A version and the line end. Answers with the offset behind the line.
@inline(__always)
private func parseVersion(_ bytes: Span<UInt8>, _ start: Int, lineStart: Int, _ isHTTP2: Bool, _ head: inout RequestHead) -> ScanEnd {
    var i: Int
    let w = word(bytes, start)
    if w == packed("HTTP/1.1") {
        head.versionMinor = 1
        i = start &+ 8
        if word(bytes, i) & 0xFFFF == packed("\r\n") {
            head.lineRange = ByteRange(lineStart, i)
            return .at(i &+ 2)
        }
    } else if w == packed("HTTP/1.0") {
        i = start &+ 8
    } else if isHTTP2, w == packed("HTTP/2.0") {
        head.versionMinor = 1
        i = start &+ 8
    } else {
        if start < bytes.count, bytes[start] == 0x0D || bytes[start] == 0x0A { return .bad(.missingVersion) }
        switch checkVersionStart(bytes, start) {
        case .at(let next): i = next
        case let other: return other
        }
    }
    if i < bytes.count, isDigit(bytes[i]) {
        // "HTTP/1.1" followed by more digits: a higher minor version.
        switch readMinor(bytes, start &+ 7, &head.versionMinor) {
        case .at(let next): i = next
        case let other: return other
        }
    }
    head.lineRange = ByteRange(lineStart, i)
    while i < bytes.count, bytes[i] == 0x20 { i &+= 1 }
    if i == bytes.count { return .needMore }
    if bytes[i] == 0x0A { return .at(i &+ 1) }
    if bytes[i] != 0x0D { return .bad(bytes[i] == 0 ? .nulByte : .badVersion) }
    if i &+ 1 == bytes.count { return .needMore }
    return bytes[i &+ 1] == 0x0A ? .at(i &+ 2) : .bad(.loneCarriageReturn)
}

/// Reads a version that is neither 1.0 nor 1.1 or not whole; answers with the offset of the first digit of the minor version.
func checkVersionStart(_ bytes: Span<UInt8>, _ start: Int) -> ScanEnd {
    let name: StaticString = "HTTP/"
    for k in 0..<5 {
        if start + k >= bytes.count { return .needMore }
        if unsafe bytes[start + k] != name.utf8Start[k] { return .bad(.badVersion) }
    }
    if start + 5 >= bytes.count { return .needMore }
    let major = bytes[start + 5]
    if !isDigit(major) || major == 0x30 { return .bad(.badVersion) }
    if major != 0x31 { return .bad(.versionNotSupported) }
    if start + 6 >= bytes.count { return .needMore }
    if isDigit(bytes[start + 6]) { return .bad(.versionNotSupported) }
    if bytes[start + 6] != 0x2E { return .bad(.badVersion) }
    if start + 7 >= bytes.count { return .needMore }
    return isDigit(bytes[start + 7]) ? .at(start + 7) : .bad(.badVersion)
}

/// Reads a minor version of one to three digits; anything above 0 counts as 1.
func readMinor(_ bytes: Span<UInt8>, _ start: Int, _ minor: inout UInt8) -> ScanEnd {
    var i = start
    var value: UInt16 = 0
    while i < bytes.count, isDigit(bytes[i]) {
        if i == start + 3 { return .bad(.badVersion) }
        value = value * 10 + UInt16(bytes[i] - 0x30)
        i += 1
    }
    if i == bytes.count { return .needMore }
    minor = value == 0 ? 0 : 1
    return .at(i)
}
