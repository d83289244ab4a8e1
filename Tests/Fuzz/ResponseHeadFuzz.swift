// The response parser and the trailer parser: the same promises as for requests.
import HTTPMessage

private enum Answer: Equatable {
    case needMore
    case bad(BadHead)
    case head([UInt64])
}

private func parse(_ bytes: Span<UInt8>, seen: Int) -> Answer {
    var storage = [HeaderField](repeating: HeaderField(), count: 12)
    var fields = storage.mutableSpan
    var head = ResponseHead()
    switch parseResponseHead(bytes, seen: seen, fields: &fields, head: &head) {
    case .needMore: return .needMore
    case .bad(let reason): return .bad(reason)
    case .head: break
    }
    check(head.headBytes > 0 && head.headBytes <= bytes.count, "the head lies within the bytes")
    check(head.status >= 100 && head.status <= 999, "a status has three digits")
    check(head.reason.end < head.headBytes, "the reason lies within the head")
    for method in [Method.get, .head, .connect] {
        if case .length(let n) = responseFraming(head, fields.span, bytes, requestMethod: method) {
            check(n >= 0, "a length is not negative")
        }
    }
    let line = [UInt64(head.status), UInt64(head.reason.start), UInt64(head.reason.count), UInt64(head.headBytes)]
    return .head(line + numbers(fields, head.fieldCount, end: head.headBytes))
}

private func parseTrailer(_ bytes: Span<UInt8>, seen: Int) -> Answer {
    var storage = [HeaderField](repeating: HeaderField(), count: 12)
    var fields = storage.mutableSpan
    switch parseTrailerFields(bytes, seen: seen, fields: &fields) {
    case .needMore: return .needMore
    case .bad(let reason): return .bad(reason)
    case .fields(let count, let consumed):
        check(consumed > 0 && consumed <= bytes.count, "the section lies within the bytes")
        return .head([UInt64(consumed)] + numbers(fields, count, end: consumed))
    }
}

private func numbers(_ fields: borrowing MutableSpan<HeaderField>, _ count: Int, end: Int) -> [UInt64] {
    check(count <= 12, "no more fields than room")
    var found: [UInt64] = []
    for i in 0..<count {
        let field = fields[i]
        check(field.name.count > 0 && field.name.end < field.value.start && field.value.end < end, "a field lies within the head")
        for range in [field.name, field.value] { found.append(UInt64(range.start) << 32 | UInt64(range.count)) }
        found += [UInt64(field.known.rawValue), UInt64(field.flags.rawValue)]
    }
    return found
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzResponseHead(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    splits(start, count, parse)
    splits(start, count, parseTrailer)
    return 0
}

private func splits(_ start: UnsafePointer<UInt8>, _ count: Int, _ parse: (Span<UInt8>, Int) -> Answer) {
    let whole = withExactCopy(start, count) { parse($0, 0) }
    for cut in stride(from: count > 64 ? Int(start[count / 2]) % 7 : 0, to: count, by: count > 64 ? 7 : 1) {
        let first = withExactCopy(start, cut) { parse($0, 0) }
        if first == .needMore {
            let second = withExactCopy(start, count) { parse($0, cut) }
            if case .bad = whole, second == .needMore { continue }
            check(second == whole, "two parts parse like one")
        } else {
            check(first == whole, "what follows changes nothing")
        }
    }
}
