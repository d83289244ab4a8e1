// What the tests of this module share: memory between unreadable pages, and heads written out as text to compare.
import Glibc
import HTTPMessage

/// Memory with an unreadable page before and behind it: a read one byte outside ends the test program.
final class GuardedMemory {
    private let page = Int(sysconf(Int32(_SC_PAGESIZE)))
    private let base: UnsafeMutableRawPointer
    private let bytesMax: Int

    init(bytesMax: Int = 64 << 10) {
        self.bytesMax = bytesMax
        base = mmap(nil, bytesMax + 2 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)!
        precondition(mprotect(base + page, bytesMax, PROT_READ | PROT_WRITE) == 0)
    }

    deinit { munmap(base, bytesMax + 2 * page) }

    /// `bytes` with the unreadable page right behind them.
    func atEnd<R>(_ bytes: some Collection<UInt8>, _ body: (Span<UInt8>) -> R) -> R {
        with(bytes, at: base + page + bytesMax - bytes.count, body)
    }

    /// `bytes` with the unreadable page right before them.
    func atStart<R>(_ bytes: some Collection<UInt8>, _ body: (Span<UInt8>) -> R) -> R { with(bytes, at: base + page, body) }

    private func with<R>(_ bytes: some Collection<UInt8>, at start: UnsafeMutableRawPointer, _ body: (Span<UInt8>) -> R) -> R {
        precondition(bytes.count <= bytesMax)
        let target = UnsafeMutableRawBufferPointer(start: start, count: bytes.count)
        target.copyBytes(from: bytes)
        return body(UnsafeBufferPointer(target.bindMemory(to: UInt8.self)).span)
    }
}

func text(_ bytes: Span<UInt8>, _ range: ByteRange) -> String {
    precondition(range.end <= bytes.count)
    var part: [UInt8] = []
    for i in range.first..<range.end { part.append(bytes[i]) }
    return String(decoding: part, as: UTF8.self)
}

/// A verdict that two runs can be compared by.
enum Verdict: Equatable, CustomStringConvertible {
    case needMore
    case bad(BadHead)
    case head(String, bytes: Int)

    var description: String {
        switch self {
        case .needMore: "needMore"
        case .bad(let reason): "bad \(reason)"
        case .head(let text, _): text
        }
    }
}

func describe(_ summary: FieldSummary, _ fields: borrowing MutableSpan<HeaderField>, _ bytes: Span<UInt8>) -> String {
    var out = ""
    for i in 0..<summary.fieldCount {
        let f = fields[i]
        out += "|\(text(bytes, f.name))=\(text(bytes, f.value))"
        if f.known != .other { out += "(\(f.known))" }
        if f.flags.contains(.underscore) { out += "(underscore)" }
        if f.flags.contains(.unusual) { out += "(unusual)" }
    }
    let marks: [(String, Bool)] = [
        ("close", summary.wantsClose), ("keepAlive", summary.wantsKeepAlive), ("upgrade", summary.hasUpgradeToken),
        ("names", summary.listsNames),
        ("continue", summary.expectsContinue), ("hostRepeated", summary.isHostRepeated),
        ("lengthRepeated", summary.isContentLengthRepeated), ("encodingRepeated", summary.isTransferEncodingRepeated),
    ]
    for (word, isSet) in marks where isSet { out += " +\(word)" }
    return out
}

/// Parses `bytes` as the head of a request into room for `fieldsMax` fields.
func request(_ bytes: Span<UInt8>, seen: Int = 0, fieldsMax: Int = 16) -> Verdict {
    var storage = [HeaderField](repeating: HeaderField(), count: fieldsMax)
    var fields = storage.mutableSpan
    var head = RequestHead()
    switch parseRequestHead(bytes, seen: seen, fields: &fields, head: &head) {
    case .needMore: return .needMore
    case .bad(let reason): return .bad(reason)
    case .head: break
    }
    var out = "\(text(bytes, head.methodRange))"
    if head.method == .other { out += "(other)" }
    out += " \(text(bytes, head.target)) 1.\(head.versionMinor)"
    if !head.scheme.isEmpty { out += " scheme=\(text(bytes, head.scheme))" }
    if !head.authority.isEmpty { out += " authority=\(text(bytes, head.authority))" }
    out += " path=\(text(bytes, head.path))"
    if let query = head.query { out += " query=\(text(bytes, query))" }
    if head.isComplexPath { out += " complex" }
    if head.isAsteriskForm { out += " asterisk" }
    return .head(out + describe(head.fields, fields, bytes), bytes: head.headBytes)
}

func response(_ bytes: Span<UInt8>, seen: Int = 0, fieldsMax: Int = 16) -> Verdict {
    var storage = [HeaderField](repeating: HeaderField(), count: fieldsMax)
    var fields = storage.mutableSpan
    var head = ResponseHead()
    switch parseResponseHead(bytes, seen: seen, fields: &fields, head: &head) {
    case .needMore: return .needMore
    case .bad(let reason): return .bad(reason)
    case .head: break
    }
    let out = "\(head.status) \(text(bytes, head.reason)) 1.\(head.versionMinor)" + describe(head.fields, fields, bytes)
    return .head(out, bytes: head.headBytes)
}

func trailer(_ bytes: Span<UInt8>, seen: Int = 0, fieldsMax: Int = 16) -> Verdict {
    var storage = [HeaderField](repeating: HeaderField(), count: fieldsMax)
    var fields = storage.mutableSpan
    switch parseTrailerFields(bytes, seen: seen, fields: &fields) {
    case .needMore: return .needMore
    case .bad(let reason): return .bad(reason)
    case .fields(let count, let consumed):
        var summary = FieldSummary()
        summary.fieldCount = count
        return .head(describe(summary, fields, bytes), bytes: consumed)
    }
}

/// How a parser differs from its answer to the whole when the bytes come in two parts, cut at every place, or one by one, each
/// laid against an unreadable page. Empty when it does not.
func differences(_ input: [UInt8], _ parse: (Span<UInt8>, Int) -> Verdict) -> [String] {
    let memory = GuardedMemory()
    let whole = memory.atEnd(input) { parse($0, 0) }
    var found: [String] = []
    /// A fault in a later part may wait for the end of the head.
    func isRight(_ verdict: Verdict, seen: Int) -> Bool {
        if verdict == whole { return true }
        guard case .bad = whole, verdict == .needMore else { return false }
        return memory.atEnd(input + [0x0A, 0x0A]) { parse($0, seen) } == whole
    }
    if memory.atStart(input, { parse($0, 0) }) != whole { found.append("at the start of memory") }
    for cut in 0..<input.count {
        let first = memory.atEnd(input[..<cut]) { parse($0, 0) }
        if case .needMore = first {
            if !isRight(memory.atEnd(input, { parse($0, cut) }), seen: cut) { found.append("second part from \(cut)") }
        } else if first != whole {
            found.append("first part up to \(cut): \(first)")
        }
    }
    for count in 1...max(1, input.count) where count <= input.count {
        let verdict = memory.atStart(input[..<count]) { parse($0, count - 1) }
        if verdict == .needMore, count < input.count { continue }
        if !isRight(verdict, seen: count - 1) { found.append("one by one at \(count): \(verdict)") }
        break
    }
    return found
}
