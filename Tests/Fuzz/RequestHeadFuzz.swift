// The request parser: ranges lie within the head, what follows changes nothing, and a head in two parts parses like one.
import HTTPMessage

private enum Answer: Equatable {
    case needMore
    case bad(BadHead)
    case head([UInt64])
}

private func inside(_ range: ByteRange, _ end: Int) -> Bool { range.end <= end }

/// Parses and writes out all that was found as numbers.
private func parse(_ bytes: Span<UInt8>, seen: Int) -> Answer {
    var storage = [HeaderField](repeating: HeaderField(), count: 12)
    var fields = storage.mutableSpan
    var head = RequestHead()
    switch parseRequestHead(bytes, seen: seen, fields: &fields, head: &head) {
    case .needMore: return .needMore
    case .bad(let reason): return .bad(reason)
    case .head: break
    }
    check(head.headBytes > 0 && head.headBytes <= bytes.count, "the head lies within the bytes")
    check(bytes[head.headBytes - 1] == 0x0A, "the head ends in a line feed")
    check(head.fieldCount <= 12, "no more fields than room")
    check(inside(head.target, head.headBytes) && !head.target.isEmpty, "the target lies within the head")
    check(inside(head.path, head.target.end) && inside(head.authority, head.target.end), "path and authority lie in the target")
    check(inside(head.query ?? .none, head.target.end) && inside(head.scheme, head.target.end), "so do query and scheme")
    var found = [head.method.rawValue, head.versionMinor].map { UInt64($0) } + [UInt64(head.headBytes)]
    var ranges = [head.methodRange, head.target, head.path, head.query ?? .none, head.authority, head.scheme, head.lineRange]
    for i in 0..<head.fieldCount {
        let field = fields[i]
        check(field.name.count > 0 && field.name.end < field.value.start, "a name stands before its value")
        check(field.value.end < head.headBytes, "a value lies within the head")
        for k in field.value.first..<field.value.end {
            check(bytes[k] >= 0x20 && bytes[k] != 0x7F || bytes[k] == 0x09, "no control in a value")
        }
        ranges += [field.name, field.value]
        found += [UInt64(field.known.rawValue), UInt64(field.flags.rawValue)]
    }
    for k in head.target.first..<head.target.end { check(bytes[k] > 0x20 && bytes[k] != 0x7F, "no control in a target") }
    for range in ranges { found.append(UInt64(range.start) << 32 | UInt64(range.count)) }
    follow(head, fields.span, bytes)
    return .head(found)
}

/// What the engine does with a head next.
private func follow(_ head: RequestHead, _ fields: Span<HeaderField>, _ bytes: Span<UInt8>) {
    if case .length(let n) = requestFraming(head, fields, bytes) { check(n >= 0, "a length is not negative") }
    if head.hostIndex >= 0 {
        let value = fields[head.hostIndex].value
        let host = bytes.extracting(value.first..<value.end)
        if case .valid(let range, _, _) = validateHost(host) {
            check(range.count > 0 && range.end <= host.count, "a host lies within its value")
        }
    }
    let raw = bytes.extracting(head.path.first..<head.path.end)
    var storage = [UInt8](repeating: 0, count: raw.count + 1)
    var output = storage.mutableSpan
    guard let count = normalizePath(raw, mergeSlashes: true, into: &output) else { return }
    check(count >= 1 && count <= raw.count + 1 && output[0] == 0x2F, "a normal path begins with a slash")
    for i in 1..<max(1, count) {
        check(output[i] != 0 && !(output[i] == 0x2F && output[i - 1] == 0x2F), "a normal path has no empty segment")
    }
    // CONNECT and "*" have no path.
    if !head.isComplexPath, raw.count > 0 { check(count == raw.count, "a simple path is normal") }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzRequestHead(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let whole = withExactCopy(start, count) { parse($0, seen: 0) }
    for cut in stride(from: count > 64 ? Int(start[count / 2]) % 7 : 0, to: count, by: count > 64 ? 7 : 1) {
        let first = withExactCopy(start, cut) { parse($0, seen: 0) }
        if first == .needMore {
            let second = withExactCopy(start, count) { parse($0, seen: cut) }
            if case .bad = whole, second == .needMore { continue }
            check(second == whole, "two parts parse like one")
        } else {
            check(first == whole, "what follows changes nothing")
        }
    }
    return 0
}
