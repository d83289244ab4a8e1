// The one judge of how long a body is: length against chunked (RFC 9112 section 6).
// Asked once a head by the engine's sessions, of both sides. It must not look at anything but the head it is given.

public enum BodyFraming: Equatable, Sendable, BitwiseCopyable {
    /// No body follows the head.
    case none
    /// So many bytes follow; possibly 0.
    case length(Int64)
    /// Chunks and a trailer section follow.
    case chunked
    /// All that comes until the connection closes (responses alone).
    case untilClose
    case bad(BadHead)
}

/// The framing of a request's body. `bytes` and `fields` are those `head` was parsed from.
public func requestFraming(_ head: RequestHead, _ fields: Span<HeaderField>, _ bytes: Span<UInt8>) -> BodyFraming {
    declaredFraming(head.fields, fields, bytes, versionMinor: head.versionMinor)
}

/// The framing of the body of a response to a request with `requestMethod`. `.none` for a 2xx answer to CONNECT and for 101
/// means that no message body follows: the connection carries another protocol from there on.
///
/// Contradictory fields are refused even where no body follows: whoever sends them is not to be trusted with the connection.
@inlinable @inline(__always)
public func responseFraming(
    _ head: ResponseHead, _ fields: Span<HeaderField>, _ bytes: Span<UInt8>, requestMethod: Method
) -> BodyFraming {
    let declared = declaredFraming(head.fields, fields, bytes, versionMinor: head.versionMinor)
    if case .bad = declared { return declared }
    if head.status < 200 || head.status == 204 || head.status == 304 { return .none }
    if requestMethod == .head || requestMethod == .connect && head.status < 300 { return .none }
    if case .none = declared { return .untilClose }
    return declared
}

@inlinable @inline(__always)
func declaredFraming(
    _ summary: FieldSummary, _ fields: Span<HeaderField>, _ bytes: Span<UInt8>, versionMinor: UInt8
) -> BodyFraming {
    if summary.transferEncodingIndex >= 0 {
        if summary.isTransferEncodingRepeated { return .bad(.repeatedTransferEncoding) }
        if summary.contentLengthIndex >= 0 { return .bad(.lengthAndTransferEncoding) }
        if versionMinor == 0 { return .bad(.transferEncodingInHTTP10) }
        return isChunked(bytes, fields[summary.transferEncodingIndex].value) ? .chunked : .bad(.unknownTransferEncoding)
    }
    if summary.contentLengthIndex < 0 { return .none }
    if summary.isContentLengthRepeated { return .bad(.repeatedContentLength) }
    return contentLength(bytes, fields[summary.contentLengthIndex].value)
}

@usableFromInline
func isChunked(_ bytes: Span<UInt8>, _ value: ByteRange) -> Bool { matches(bytes, value, "chunked") }

/// Digits alone: no sign, list or blank (RFC 9110 section 8.6).
@usableFromInline
func contentLength(_ bytes: Span<UInt8>, _ value: ByteRange) -> BodyFraming {
    var n: Int64 = 0
    var i = value.first
    if value.isEmpty { return .bad(.badContentLength) }
    // So many digits cannot be too many.
    let safeEnd = min(value.end, i &+ 18)
    while i < safeEnd {
        let digit = inside(bytes, i) &- 0x30
        if digit > 9 { return .bad(.badContentLength) }
        n = n &* 10 &+ Int64(digit)
        i &+= 1
    }
    while i < value.end {
        if !isDigit(bytes[i]) { return .bad(.badContentLength) }
        let (tens, overflowed) = n.multipliedReportingOverflow(by: 10)
        let (sum, overflowedToo) = tens.addingReportingOverflow(Int64(bytes[i] &- 0x30))
        if overflowed || overflowedToo { return .bad(.badContentLength) }
        n = sum
        i &+= 1
    }
    return .length(n)
}
