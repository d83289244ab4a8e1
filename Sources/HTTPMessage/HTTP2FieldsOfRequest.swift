// The text of a request head, as this proxy composes it, taken apart into the fields of HTTP/2 (RFC 9113 section 8.3.1).
// Called by the engine's HTTP/2 sessions to upstreams with heads of their own making. It must not look beyond the head.

/// What a request's field block begins with, where it lies in the head.
public struct HTTP2RequestBlock: Equatable, Sendable, BitwiseCopyable {
    public var method = ByteRange.none
    public var path = ByteRange.none
    /// The value of Host; count 0 when there is none, or when it stays a field.
    public var authority = ByteRange.none
    /// How many ordinary fields there are.
    public var fieldCount = 0
    /// Bytes of the head, with the empty line that ends it.
    public var headBytes = 0
    @inlinable public init() {}
}

/// Takes the head at the front of `bytes` apart: names are lowered in place, fields that belong to a connection are left out
/// (section 8.2.2), and of TE only "trailers" stays. Answers with what is wrong with the head, if anything is.
///
/// - `keepsHost`: Host stays an ordinary field, and there is no `:authority`.
/// - `fields`: receives the ordinary fields; its count is the most a head may have.
public func http2RequestBlock(
    _ bytes: inout MutableSpan<UInt8>, keepsHost: Bool = false, fields: inout MutableSpan<HeaderField>, block: inout HTTP2RequestBlock
) -> BadHead? {
    block = HTTP2RequestBlock()
    let lineEnd: Int
    switch firstLine(bytes.span, &block) {
    case .at(let next): lineEnd = next
    case .needMore: return .missingVersion
    case .bad(let reason): return reason
    }
    var summary = FieldSummary()
    switch parseFieldSection(bytes.span, from: lineEnd, into: &fields, summary: &summary) {
    case .needMore: return .missingColon
    case .bad(let reason): return reason
    case .end(let end): block.headBytes = end
    }
    var kept = 0
    for i in 0..<summary.fieldCount {
        var field = fields[i]
        switch field.known {
        case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .http2Settings: continue
        case .host:
            if !keepsHost {
                if block.authority.isEmpty { block.authority = field.value }
                continue
            }
        case .te:
            guard let trailers = trailersToken(bytes.span, field.value) else { continue }
            field.value = trailers
        default: break
        }
        lower(&bytes, field.name)
        fields[kept] = field
        kept &+= 1
    }
    block.fieldCount = kept
    return nil
}

/// `METHOD TARGET HTTP/1.x` and the offset behind it. The target may hold blanks, as what is configured may.
private func firstLine(_ bytes: Span<UInt8>, _ block: inout HTTP2RequestBlock) -> ScanEnd {
    var methodEnd = 0
    while methodEnd < bytes.count, bytes[methodEnd] != 0x20 {
        if !isToken(bytes[methodEnd]) { return .bad(.badMethod) }
        methodEnd &+= 1
    }
    if methodEnd == 0 { return .bad(.badMethod) }
    if methodEnd == bytes.count { return .needMore }
    block.method = ByteRange(0, methodEnd)
    switch scanText(bytes, from: methodEnd &+ 1, word(bytes, methodEnd &+ 1)) {
    case .at(let end):
        // " HTTP/1.1"
        let pathEnd = end &- 9
        if pathEnd <= methodEnd &+ 1 { return .bad(.badTarget) }
        if bytes[pathEnd] != 0x20 { return .bad(.missingVersion) }
        block.path = ByteRange(methodEnd &+ 1, pathEnd)
        return .at(bytes[end] == 0x0D ? end &+ 2 : end &+ 1)
    case let other: return other
    }
}

/// The word "trailers" in the list of a TE field.
private func trailersToken(_ bytes: Span<UInt8>, _ value: ByteRange) -> ByteRange? {
    var i = value.first
    while i < value.end {
        while i < value.end, isBlank(bytes[i]) || bytes[i] == 0x2C { i &+= 1 }
        var last = i
        while last < value.end, bytes[last] != 0x2C { last &+= 1 }
        let next = last
        while last > i, isBlank(bytes[last &- 1]) { last &-= 1 }
        if matches(bytes, ByteRange(i, last), "trailers") { return ByteRange(i, last) }
        i = next
    }
    return nil
}

private func lower(_ bytes: inout MutableSpan<UInt8>, _ range: ByteRange) {
    for i in range.first..<range.end {
        let c = bytes[i]
        if c &- 0x41 < 26 { bytes[i] = c | 0x20 }
    }
}
