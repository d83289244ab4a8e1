// The Range field of a request for a body whose length is known (RFC 9110 section 14.1.2).
// Called for answers that may be sent in parts. Pure.

import Bytes

/// Bytes `start..<end` of a body.
public struct ByteSpan: BitwiseCopyable, Equatable, Sendable {
    public var start: Int64
    public var end: Int64
    public init(start: Int64, end: Int64) {
        self.start = start
        self.end = end
    }
}

public enum RangeVerdict: Equatable {
    /// The field is to be passed over: another unit, more ranges than are allowed, or ranges that cost more than the whole.
    case whole
    case unsatisfiable
    /// So many of them, in the order they were asked for.
    case ranges(Int)
}

/// Reads the value of Range for a body of `length` bytes. The rules are nginx's.
///
/// partBytes: what a part costs beside its bytes. slackBytes: how much more than the whole all parts may come to. most: who asks for
/// more parts gets the whole.
public func parseRanges(
    _ value: ByteView, length: Int64, partBytes: Int64, slackBytes: Int64, into spans: inout [ByteSpan], most: Int
) -> RangeVerdict {
    guard value.count >= 7, value.slice(0, 6).equalsIgnoringCase(ByteView("bytes=")) else { return .whole }
    spans.removeAll(keepingCapacity: true)
    var total: Int64 = 0
    var from = 6
    while true {
        let end = value.firstIndex(of: 0x2C, from: from) ?? value.count
        guard let span = range(value.slice(from, end - from).trimmed, length) else { return .unsatisfiable }
        if span.start < span.end {
            if spans.count == most { return .whole }
            spans.append(span)
            total += span.end - span.start
        } else if span.start == 0 {
            return .whole
        }
        if end == value.count { break }
        from = end + 1
    }
    if spans.isEmpty { return .unsatisfiable }
    if spans.count > 1, total > length || total + Int64(spans.count) * partBytes > length + slackBytes { return .whole }
    return .ranges(spans.count)
}

/// `FIRST-[LAST]` or `-COUNT`, cut to what is there; nil: it is neither. Empty: it asks for nothing that is there.
private func range(_ text: ByteView, _ length: Int64) -> ByteSpan? {
    guard let dash = text.firstIndex(of: 0x2D) else { return nil }
    let first = text.slice(0, dash).trimmed
    let last = text.slice(dash + 1).trimmed
    if first.isEmpty {
        guard let count = last.decimal else { return nil }
        return ByteSpan(start: count < length ? length - count : 0, end: length)
    }
    guard let start = first.decimal else { return nil }
    if last.isEmpty { return ByteSpan(start: start, end: length) }
    guard let end = last.decimal else { return nil }
    return ByteSpan(start: start, end: end >= length ? length : end + 1)
}
