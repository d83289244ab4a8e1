// Field lines up to the empty line that ends them (RFC 9112 section 5), for requests, responses and trailers alike.
// Called by the head parsers. It must not judge values beyond the list of `Connection` and the token of `Expect`.

enum FieldSectionEnd {
    case needMore
    case bad(BadHead)
    /// The offset behind the empty line.
    case end(Int)
}

/// Reads field lines from `start` on into `fields` and notes in `summary` what they say. Lines end in CRLF or a bare LF.
@inline(__always)
func parseFieldSection(
    _ bytes: Span<UInt8>, from start: Int, into fields: inout MutableSpan<HeaderField>, summary: inout FieldSummary
) -> FieldSectionEnd {
    var at = start
    var count = 0
    while at < bytes.count {
        let c = bytes[at]
        if c <= 0x20 {
            switch endOfSection(bytes, at, c) {
            case .end(let end):
                summary.fieldCount = count
                return .end(end)
            case let other: return other
            }
        }
        if count == fields.count { return .bad(.tooManyFields) }

        var flags: FieldFlags = []
        let nameEnd: Int
        switch scanName(bytes, from: at, &flags) {
        case .at(let end): nameEnd = end
        case .needMore: return .needMore
        case .bad(let reason): return .bad(reason)
        }
        var field = HeaderField(name: ByteRange(at, nameEnd), flags: flags)
        if flags.isEmpty { field.known = headerName(bytes, at, nameEnd &- at) } else { summary.hasFlaggedFields = true }

        var first = nameEnd &+ 1
        while first < bytes.count, isBlank(bytes[first]) { first &+= 1 }
        let stop: Int
        switch scanText(bytes, from: first) {
        case .at(let end): stop = end
        case .needMore: return .needMore
        case .bad(let reason): return .bad(reason)
        }
        var last = stop
        while last > first, isBlank(bytes[last &- 1]) { last &-= 1 }
        field.value = ByteRange(first, last)
        fields[count] = field
        if field.known.rawValue &- 1 < HeaderName.upgrade.rawValue { note(field, count, bytes, &summary) }
        count &+= 1
        at = bytes[stop] == 0x0D ? stop &+ 2 : stop &+ 1
    }
    return .needMore
}

/// What a line that does not begin with a name is: the end of the section, or a fault.
@inline(__always)
private func endOfSection(_ bytes: Span<UInt8>, _ at: Int, _ c: UInt8) -> FieldSectionEnd {
    switch c {
    case 0x0D:
        if at &+ 1 == bytes.count { return .needMore }
        return bytes[at &+ 1] == 0x0A ? .end(at &+ 2) : .bad(.loneCarriageReturn)
    case 0x0A: return .end(at &+ 1)
    case 0x20, 0x09: return .bad(.obsoleteFold)
    default: return .bad(BadHead(control: c))
    }
}

enum ScanEnd {
    case at(Int)
    case needMore
    case bad(BadHead)
}

/// Finds the colon behind a name. Letters and "-" pass eight at a time; the rest of the token characters pass one by one.
@inline(__always)
private func scanName(_ bytes: Span<UInt8>, from start: Int, _ flags: inout FieldFlags) -> ScanEnd {
    var i = start
    while true {
        let w = word(bytes, i)
        let lower = w | everyCaseBit
        let letters = (lower &+ everyByte &* 0x1F) & ~(lower &+ everyByte &* 0x05) & ~w & everyHighBit
        let other = everyHighBit & ~(letters | eachEqual(w, 0x2D))
        if other == 0 {
            i &+= 8
            continue
        }
        i &+= place(other)
        if i >= bytes.count { return .needMore }
        let c = bytes[i]
        if c == 0x3A { return i == start ? .bad(.emptyFieldName) : .at(i) }
        if !isToken(c) { return .bad(badName(c)) }
        if c == 0x5F {
            flags.insert(.underscore)
        } else if !isDigit(c) && c != 0x2D && !isLetter(c) {
            flags.insert(.unusual)
        }
        i &+= 1
    }
}

@inline(never)
private func badName(_ c: UInt8) -> BadHead {
    switch c {
    case 0x20, 0x09: .spaceBeforeColon
    case 0x0D, 0x0A: .missingColon
    case 0: .nulByte
    case 1..<0x20, 0x7F: .controlCharacter
    default: .badFieldName
    }
}

/// Finds the end of a line of text: the CR of a CRLF or a bare LF. Tabs and bytes above 127 are text, other controls are not.
@inline(__always)
func scanText(_ bytes: Span<UInt8>, from start: Int) -> ScanEnd {
    var i = start
    while true {
        let w = word(bytes, i)
        let control = firstBelow(w, 0x20) | firstEqual(w, 0x7F)
        if control == 0 {
            i &+= 8
            continue
        }
        i &+= place(control)
        if i >= bytes.count { return .needMore }
        switch bytes[i] {
        case 0x0D:
            if i &+ 1 == bytes.count { return .needMore }
            return bytes[i &+ 1] == 0x0A ? .at(i) : .bad(.loneCarriageReturn)
        case 0x0A: return .at(i)
        case 0x09: i &+= 1
        case let c: return .bad(BadHead(control: c))
        }
    }
}

@inline(__always)
private func note(_ field: HeaderField, _ index: Int, _ bytes: Span<UInt8>, _ summary: inout FieldSummary) {
    switch field.known {
    case .host:
        if summary.hostIndex >= 0 { summary.isHostRepeated = true } else { summary.hostIndex = index }
    case .contentLength:
        if summary.contentLengthIndex >= 0 {
            summary.isContentLengthRepeated = true
        } else {
            summary.contentLengthIndex = index
        }
    case .transferEncoding:
        if summary.transferEncodingIndex >= 0 {
            summary.isTransferEncodingRepeated = true
        } else {
            summary.transferEncodingIndex = index
        }
    case .connection:
        if summary.connectionIndex < 0 { summary.connectionIndex = index }
        noteConnection(bytes, field.value, &summary)
    case .expect:
        if summary.expectIndex < 0 { summary.expectIndex = index }
        if matches(bytes, field.value, "100-continue") { summary.expectsContinue = true }
    case .upgrade:
        if summary.upgradeIndex < 0 { summary.upgradeIndex = index }
    default: break
    }
}

/// Reads the list of a `Connection` field (RFC 9110 section 7.6.1).
private func noteConnection(_ bytes: Span<UInt8>, _ value: ByteRange, _ summary: inout FieldSummary) {
    var i = value.first
    let end = value.end
    while i < end {
        while i < end, isBlank(bytes[i]) || bytes[i] == 0x2C { i &+= 1 }
        var last = i
        while last < end, bytes[last] != 0x2C { last &+= 1 }
        let next = last
        while last > i, isBlank(bytes[last &- 1]) { last &-= 1 }
        let token = ByteRange(i, last)
        switch token.count {
        case 5: if matches(bytes, token, "close") { summary.wantsClose = true }
        case 7: if matches(bytes, token, "upgrade") { summary.hasUpgradeToken = true }
        case 10: if matches(bytes, token, "keep-alive") { summary.wantsKeepAlive = true }
        default: break
        }
        i = next
    }
}

/// Whether a section, or a head, may end within the bytes from `seen` on: an LF that follows an LF or an LF and a CR, or that
/// begins the bytes (a trailer section may be an empty line alone).
func mayEnd(_ bytes: Span<UInt8>, seen: Int) -> Bool {
    var i = seen
    while i < bytes.count {
        let lf = firstEqual(word(bytes, i), 0x0A)
        if lf == 0 {
            i &+= 8
            continue
        }
        i &+= place(lf)
        if i == 0 || bytes[i &- 1] == 0x0A { return true }
        if bytes[i &- 1] == 0x0D, i == 1 || bytes[i &- 2] == 0x0A { return true }
        i &+= 1
    }
    return false
}

/// Whether it is worth parsing again after a `needMore` at `seen` bytes: when the end may have come, and each time the count passes a
/// power of two, so that a fault is found without waiting for the end and all the attempts together still cost linear time.
@inline(__always)
func shouldParse(_ bytes: Span<UInt8>, seen: Int) -> Bool {
    if seen <= 0 || seen >= bytes.count { return true }
    return (seen ^ bytes.count) > (seen & bytes.count) || mayEnd(bytes, seen: seen)
}

/// Parses the trailer section that follows the last chunk (RFC 9112 section 7.1.2), up to and with its empty line.
///
/// `bytes` begin behind the line of the last chunk; `seen` as in `parseRequestHead`.
public func parseTrailerFields(_ bytes: Span<UInt8>, seen: Int = 0, fields: inout MutableSpan<HeaderField>) -> TrailerResult {
    if !shouldParse(bytes, seen: seen) { return .needMore }
    var summary = FieldSummary()
    switch parseFieldSection(bytes, from: 0, into: &fields, summary: &summary) {
    case .needMore: return .needMore
    case .bad(let reason): return .bad(reason)
    case .end(let end): return .fields(count: summary.fieldCount, consumed: end)
    }
}
