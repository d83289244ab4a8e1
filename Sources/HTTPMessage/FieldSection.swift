// Field lines up to the empty line that ends them (RFC 9112 section 5), for requests, responses and trailers alike.
// Called by the head parsers. It must not judge values beyond the list of `Connection` and the token of `Expect`.

enum FieldSectionEnd {
    case needMore
    case bad(BadHead)
    /// The offset behind the empty line.
    case end(Int)
}

/// Reads field lines from `start` on into `fields` and notes in `summary` what they say. Lines end in CRLF or a bare LF.
@inline(never)
func parseFieldSection(
    _ bytes: Span<UInt8>, from start: Int, into fields: inout MutableSpan<HeaderField>, summary: inout FieldSummary
) -> FieldSectionEnd {
    var at = start
    var count = 0
    let most = fields.count
    // Kept in a register and stored once, at the end of the section: nobody asks for it when there is none.
    var present: UInt64 = 0
    summary.repeatedNames = 0
    while at < bytes.count {
        let beginning = word(bytes, at)
        let c = UInt8(truncatingIfNeeded: beginning)
        if c <= 0x20 {
            summary.fieldCount = count
            summary.presentNames = present
            if c == 0x0D, at &+ 1 < bytes.count, inside(bytes, at &+ 1) == 0x0A { return .end(at &+ 2) }
            return endOfSection(bytes, at, c)
        }
        if count >= most { return .bad(.tooManyFields) }

        let name = scanName(bytes, at, beginning)
        if name.end <= at { return nameFault(bytes, at) }
        // What is known is noted at once: less is to be kept while the value is looked for.
        unsafe fields[unchecked: count] = HeaderField(name: ByteRange(at, name.end), known: name.known, flags: name.flags)
        if name.flags.rawValue != 0 { summary.hasFlaggedFields = true }
        let bit: UInt64 = 1 &<< UInt64(truncatingIfNeeded: name.known.place)
        if present & bit != 0 { summary.repeatedNames |= bit }
        present |= bit

        // The blanks before the value are scanned with it: a space is no control.
        let leading = word(bytes, name.end &+ 1)
        let stop: Int
        switch scanText(bytes, from: name.end &+ 1, leading) {
        case .at(let end): stop = end
        case .needMore: return .needMore
        case .bad(let reason): return .bad(reason)
        }
        var first = name.end &+ 2
        var last = stop
        // One space and a character that is none is what nearly all lines have here. A tab is the only other blank there can be.
        if UInt16(truncatingIfNeeded: leading).byteSwapped &- 0x2021 < 0xDF {
            while inside(bytes, last &- 1) <= 0x20 { last &-= 1 }
        } else {
            first &-= 1
            while first < stop, isBlank(inside(bytes, first)) { first &+= 1 }
            while last > first, isBlank(inside(bytes, last &- 1)) { last &-= 1 }
        }
        let value = ByteRange(first, last)
        unsafe fields[unchecked: count].value = value
        if bit & indexedBits != 0 {
            switch name.known {
            case .host: if summary.hostIndex < 0 { summary.hostIndex = count }
            case .contentLength: if summary.contentLengthIndex < 0 { summary.contentLengthIndex = count }
            default: note(name.known, value, count, bytes, &summary)
            }
        }
        count &+= 1
        // Bit 0 tells a CR, behind which an LF is, from an LF.
        at = stop &+ 1 &+ Int(inside(bytes, stop) & 1)
    }
    return .needMore
}

/// What a line that does not begin with a name is: the end of the section, or a fault.
@inline(never)
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

/// A name that ends at its colon, or `end` -1: then `nameFault` says why.
private struct NameScan {
    var end: Int
    var known = HeaderName.other
    var flags = FieldFlags.none
}

/// Marks the first byte that is neither letter nor "-", and possibly some behind it. `lower` is `w` with case bits; without them
/// capitals are no letters.
@inline(__always)
func notLetters(_ w: UInt64, _ lower: UInt64) -> UInt64 {
    // Each addition sets the high bit of a byte from some value on. One that carries does so out of a byte above 127, which is
    // marked itself, and so spoils nothing below that mark.
    let letters = (lower &+ everyByte &* 0x1F) & ~(lower &+ everyByte &* 0x05)
    let notDash = (w ^ everyByte &* 0x2D) &+ everyLowBits
    return (notDash & ~letters | w) & everyHighBit
}

/// Finds the colon behind the name at `start`, where the word `w` is, and recognises the name, letters and "-" eight at a time.
///
/// Known names are looked for first: what is one needs no look at its characters. Case bits make the letters of a known name out
/// of letters alone, but its "-" also out of a CR.
@inline(__always)
private func scanName(_ bytes: Span<UInt8>, _ start: Int, _ w: UInt64) -> NameScan {
    let lower = w | everyCaseBit
    let colon = firstEqual(w, 0x3A)
    if colon != 0 {
        let count = place(colon)
        // None of the short ones has a "-".
        let known = shortName(lower & below(colon), count)
        if known == .other { return scanLetters(bytes, start, w) }
        return NameScan(end: start &+ count, known: known)
    }
    if start &+ 16 <= bytes.count {
        let nextColon = firstEqual(wordInside(bytes, start &+ 8), 0x3A)
        if nextColon != 0 {
            let count = 8 &+ place(nextColon)
            let last = wordInside(bytes, start &+ count &- 8)
            let known = mediumName(lower, last | everyCaseBit, count)
            // A control has neither of the bits of which each character of a name has one.
            let either = everyByte &* 0x40
            if known != .other, (w | w &<< 1) & (last | last &<< 1) & either == either {
                return NameScan(end: start &+ count, known: known)
            }
        }
    }
    return scanLetters(bytes, start, w)
}

/// A name that is not known or not short.
@inline(never)
private func scanLetters(_ bytes: Span<UInt8>, _ start: Int, _ w: UInt64) -> NameScan {
    let stops = notLetters(w, w | everyCaseBit)
    if stops != 0 {
        if byte(w, stops) != 0x3A || stops & 0x80 != 0 { return scanRareName(bytes, start) }
        return NameScan(end: start &+ place(stops))
    }
    let next = word(bytes, start &+ 8)
    let nextStops = notLetters(next, next | everyCaseBit)
    if nextStops == 0 || byte(next, nextStops) != 0x3A { return scanRareName(bytes, start) }
    let count = 8 &+ place(nextStops)
    let last = wordInside(bytes, start &+ count &- 8) | everyCaseBit
    return NameScan(end: start &+ count, known: mediumName(w | everyCaseBit, last, count))
}

/// Why there is no name at `start`.
@inline(never)
private func nameFault(_ bytes: Span<UInt8>, _ start: Int) -> FieldSectionEnd {
    var i = start
    while i < bytes.count, bytes[i] != 0x3A {
        if !isToken(bytes[i]) { return .bad(badName(bytes[i])) }
        i &+= 1
    }
    return i == bytes.count ? .needMore : .bad(.emptyFieldName)
}

/// Any name: long ones, other token characters, faults.
@inline(never)
private func scanRareName(_ bytes: Span<UInt8>, _ start: Int) -> NameScan {
    var flags = FieldFlags.none
    var i = start
    while true {
        let w = word(bytes, i)
        if notLetters(w, w | everyCaseBit) != 0 { break }
        i &+= 8
    }
    while i < bytes.count, bytes[i] != 0x3A {
        let c = bytes[i]
        if !isToken(c) { return NameScan(end: -1) }
        if c == 0x5F {
            flags.insert(.underscore)
        } else if !isDigit(c) && c != 0x2D && !isLetter(c) {
            flags.insert(.unusual)
        }
        i &+= 1
    }
    if i == bytes.count || i == start { return NameScan(end: -1) }
    var known = HeaderName.other
    if flags.rawValue == 0 {
        let count = i &- start
        let lower = word(bytes, start) | everyCaseBit
        if count < 8 {
            known = shortName(lower & ((1 &<< UInt64(truncatingIfNeeded: 8 &* count)) &- 1), count)
        } else {
            let last = wordInside(bytes, i &- 8) | everyCaseBit
            known =
                count <= 16
                ? mediumName(lower, last, count)
                : longName(lower, wordInside(bytes, start &+ 8) | everyCaseBit, last, count)
        }
    }
    return NameScan(end: i, known: known, flags: flags)
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
/// `beginning` is the word at `start`.
@inline(__always)
func scanText(_ bytes: Span<UInt8>, from start: Int, _ beginning: UInt64) -> ScanEnd {
    var i = start
    var w = beginning
    while true {
        // Below a space or, with 1 added, no longer below 128. The addition may carry out of a byte of 255 and so mark "~"
        // falsely.
        let control = ((w &- everyByte &* 0x20) | (w &+ everyByte)) & ~w & everyHighBit
        if control == 0 {
            i &+= 8
        } else {
            i &+= place(control)
            let rest = from(w, control)
            // Not so when the CR is the word's last byte.
            if rest & 0xFFFF == packed("\r\n") { return .at(i) }
            let c = UInt8(truncatingIfNeeded: rest)
            if c == 0x0D {
                if i &+ 1 >= bytes.count { return .needMore }
                return inside(bytes, i &+ 1) == 0x0A ? .at(i) : .bad(.loneCarriageReturn)
            }
            if c == 0x0A { return .at(i) }
            if c != 0x09, c != 0x7E { return i >= bytes.count ? .needMore : .bad(BadHead(control: c)) }
            i &+= 1
        }
        w = word(bytes, i)
    }
}

/// The names of which the summary keeps more than their presence.
@inline(__always)
private var indexedBits: UInt64 {
    1 &<< UInt64(HeaderName.host.rawValue) | 1 &<< UInt64(HeaderName.connection.rawValue)
        | 1 &<< UInt64(HeaderName.contentLength.rawValue) | 1 &<< UInt64(HeaderName.transferEncoding.rawValue)
        | 1 &<< UInt64(HeaderName.expect.rawValue) | 1 &<< UInt64(HeaderName.upgrade.rawValue)
}

@inline(never)
private func note(_ known: HeaderName, _ value: ByteRange, _ index: Int, _ bytes: Span<UInt8>, _ summary: inout FieldSummary) {
    switch known {
    case .transferEncoding: if summary.transferEncodingIndex < 0 { summary.transferEncodingIndex = index }
    case .connection:
        if summary.connectionIndex < 0 { summary.connectionIndex = index }
        noteConnection(bytes, value, &summary)
    case .expect:
        if summary.expectIndex < 0 { summary.expectIndex = index }
        if matches(bytes, value, "100-continue") { summary.expectsContinue = true }
    case .upgrade: if summary.upgradeIndex < 0 { summary.upgradeIndex = index }
    default: break
    }
}

/// Reads the list of a `Connection` field (RFC 9110 section 7.6.1).
@inline(__always)
private func noteConnection(_ bytes: Span<UInt8>, _ value: ByteRange, _ summary: inout FieldSummary) {
    if value.count == 10, wordInside(bytes, value.first) | everyCaseBit == packed("keep-ali"),
        wordInside(bytes, value.end &- 8) | everyCaseBit == packed("ep-alive")
    {
        // What nearly all clients send; the loop below would find the same.
        summary.wantsKeepAlive = true
        return
    }
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
        case 5 where matches(bytes, token, "close"): summary.wantsClose = true
        case 7 where matches(bytes, token, "upgrade"): summary.hasUpgradeToken = true
        case 10 where matches(bytes, token, "keep-alive"): summary.wantsKeepAlive = true
        case 0: break
        default: summary.listsNames = true
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

/// Whether it is worth parsing again after a `needMore` at `seen` bytes: when the end may have come, and each time the count
/// passes a power of two, so that a fault is found without waiting for the end and all the attempts together still cost linear
/// time.
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
