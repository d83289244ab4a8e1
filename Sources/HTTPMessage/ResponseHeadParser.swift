// The head of a response: status line and fields (RFC 9112 section 4). Stricter than nginx: what is not a head is refused.
// Called by the engine's upstream sessions. It must not judge the framing or look beyond the head.

/// Parses the head of a response at the beginning of `bytes`; the parameters are those of `parseRequestHead`.
///
/// Refused though nginx passes it: anything that does not begin with a status line (nginx takes it for HTTP/0.9), a status
/// outside 100...999 or followed by ".", folded lines and lines whose name is not a token (nginx drops the line).
public func parseResponseHead(
    _ bytes: Span<UInt8>, seen: Int, fields: inout MutableSpan<HeaderField>, head: inout ResponseHead
) -> ResponseHeadResult {
    if !shouldParse(bytes, seen: seen) { return .needMore }
    head = ResponseHead()
    let lineEnd: Int
    switch parseStatusLine(bytes, &head) {
    case .at(let next): lineEnd = next
    case .needMore: return .needMore
    case .bad(let reason): return .bad(reason)
    }
    switch parseFieldSection(bytes, from: lineEnd, into: &fields, summary: &head.fields) {
    case .needMore: return .needMore
    case .bad(let reason): return .bad(reason)
    case .end(let end):
        head.headBytes = end
        return .head
    }
}

/// Answers with the offset behind the line.
@inline(__always)
private func parseStatusLine(_ bytes: Span<UInt8>, _ head: inout ResponseHead) -> ScanEnd {
    let version = word(bytes, 0)
    // " 200 ": a blank, three digits, each of which leaves a number below 10, and a blank.
    let status = word(bytes, 8) & 0xFF_FFFF_FFFF ^ packed(" 000 ")
    if version == packed("HTTP/1.1"), status & 0xFF_0000_00FF == 0,
        (status | (status &+ 0x7676_7600)) & 0x8080_8000 == 0, status & 0xFF00 != 0
    {
        head.versionMinor = 1
        let (hundreds, tens, ones) = (status &>> 8 & 0xFF, status &>> 16 & 0xFF, status &>> 24)
        head.status = UInt16(truncatingIfNeeded: hundreds &* 100 &+ tens &* 10 &+ ones)
        return parseReason(bytes, 13, &head)
    }
    return parseRareStatusLine(bytes, version, &head)
}

/// The rest of a status line, from the reason phrase on.
@inline(__always)
private func parseReason(_ bytes: Span<UInt8>, _ start: Int, _ head: inout ResponseHead) -> ScanEnd {
    switch scanText(bytes, from: start, word(bytes, start)) {
    case .at(let end):
        head.reason = ByteRange(start, end)
        return .at(end &+ 1 &+ Int(inside(bytes, end) & 1))
    case let other: return other
    }
}

@inline(never)
private func parseRareStatusLine(_ bytes: Span<UInt8>, _ w: UInt64, _ head: inout ResponseHead) -> ScanEnd {
    var i: Int
    if w == packed("HTTP/1.1") {
        head.versionMinor = 1
        i = 8
    } else if w == packed("HTTP/1.0") {
        i = 8
    } else {
        switch checkVersionStart(bytes, 0) {
        case .at(let next): i = next
        case let other: return other
        }
    }
    if i < bytes.count, isDigit(bytes[i]) {
        switch readMinor(bytes, 7, &head.versionMinor) {
        case .at(let next): i = next
        case let other: return other
        }
    }
    if i == bytes.count { return .needMore }
    if bytes[i] != 0x20 { return .bad(.badVersion) }
    while i < bytes.count, bytes[i] == 0x20 { i &+= 1 }
    var status: UInt16 = 0
    let statusStart = i
    while i < bytes.count, isDigit(bytes[i]), i < statusStart &+ 3 {
        status = status &* 10 &+ UInt16(bytes[i] &- 0x30)
        i &+= 1
    }
    if i == bytes.count { return .needMore }
    if i != statusStart &+ 3 || status < 100 { return .bad(.badStatus) }
    head.status = status
    switch bytes[i] {
    case 0x20: i &+= 1
    case 0x0D, 0x0A: break
    default: return .bad(.badStatus)
    }
    return parseReason(bytes, i, &head)
}
