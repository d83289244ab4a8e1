// The text of a response head, as this proxy composes it, taken apart into the fields of HTTP/2 (RFC 9113 section 8.3.2).
// Called by the engine's HTTP/2 session with heads and trailers of its own making. It judges nothing but what belongs to a connection.

/// One field: where its name, in lower case by now, and its value lie.
public struct FieldPlace: BitwiseCopyable, Sendable {
    public var name: ByteRange
    public var value: ByteRange
    @inlinable @inline(__always) public init(name: ByteRange = .none, value: ByteRange = .none) {
        self.name = name
        self.value = value
    }
}

/// Finds the field lines of `bytes` from `start` on and lowers their names in place. Fields about the connection, which HTTP/2 does not
/// have, are left out. Returns how many there are, at most as many as `places` holds.
///
/// Lines end in CRLF, as the composer writes them; what has no colon is passed over.
public func fieldPlaces(_ bytes: inout MutableSpan<UInt8>, from start: Int, into places: inout MutableSpan<FieldPlace>) -> Int {
    var at = start
    var count = 0
    while at < bytes.count, count < places.count {
        let colon = lowerName(&bytes, at)
        if colon < 0 {
            at = lineEnd(bytes, from: at) &+ 1
            continue
        }
        let end = lineEnd(bytes, from: colon &+ 1)
        var first = colon &+ 1
        var last = end
        while first < last, isBlank(bytes[first]) { first &+= 1 }
        while last > first, isBlank(bytes[last &- 1]) || bytes[last &- 1] == 0x0D { last &-= 1 }
        if colon > at, !isOfConnection(bytes, at, colon &- at) {
            places[count] = FieldPlace(name: ByteRange(at, colon), value: ByteRange(first, last))
            count &+= 1
        }
        at = end &+ 1
    }
    return count
}

/// Lowers what stands before the next colon, eight bytes at a time, and answers with its place; -1: the line ends before one comes.
@inline(__always)
private func lowerName(_ bytes: inout MutableSpan<UInt8>, _ start: Int) -> Int {
    var i = start
    while i &+ 8 <= bytes.count {
        let w = wordInside(bytes.span, i)
        let marks = firstEqual(w, 0x3A) | firstEqual(w, 0x0A)
        let capitals = capitalMarks(w) & (marks == 0 ? ~0 : below(marks))
        if capitals != 0 {
            var raw = unsafe bytes.mutableBytes
            raw.storeBytes(of: (w | capitals &>> 2).littleEndian, toByteOffset: i, as: UInt64.self)
        }
        if marks != 0 {
            i &+= place(marks)
            return bytes[i] == 0x3A ? i : -1
        }
        i &+= 8
    }
    while i < bytes.count {
        let c = bytes[i]
        if c == 0x3A { return i }
        if c == 0x0A { return -1 }
        if c &- 0x41 < 26 { bytes[i] = c | 0x20 }
        i &+= 1
    }
    return -1
}

@inline(__always)
private func lineEnd(_ bytes: borrowing MutableSpan<UInt8>, from start: Int) -> Int {
    let span = bytes.span
    var i = start
    while i < span.count {
        let lf = firstEqual(word(span, i), 0x0A)
        if lf != 0 {
            i &+= place(lf)
            return i < span.count ? i : span.count
        }
        i &+= 8
    }
    return span.count
}

/// The name, in lower case, is of a field that HTTP/2 forbids (RFC 9113 section 8.2.2).
@inline(__always)
private func isOfConnection(_ bytes: borrowing MutableSpan<UInt8>, _ start: Int, _ count: Int) -> Bool {
    switch count {
    case 7: hasName(bytes, start, "upgrade")
    case 10: hasName(bytes, start, "connection") || hasName(bytes, start, "keep-alive")
    case 16: hasName(bytes, start, "proxy-connection")
    case 17: hasName(bytes, start, "transfer-encoding")
    default: false
    }
}

@inline(__always)
private func hasName(_ bytes: borrowing MutableSpan<UInt8>, _ start: Int, _ name: StaticString) -> Bool {
    for i in 0..<name.utf8CodeUnitCount where unsafe bytes[start &+ i] != name.utf8Start[i] { return false }
    return true
}
