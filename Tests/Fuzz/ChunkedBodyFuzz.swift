// The chunked decoder: it moves on, stays within its input, and finds the same content however the bytes are cut.
import HTTPMessage

private struct Outcome: Equatable {
    var content: [UInt8] = []
    /// Where the trailer section begins, or -1.
    var end = -1
    var fault: BadChunk?
}

/// Feeds pieces of `step` bytes, or all at once for 0, each in memory of its own.
private func decode(_ start: UnsafePointer<UInt8>, _ count: Int, step: Int) -> Outcome {
    var decoder = ChunkedDecoder()
    var outcome = Outcome()
    var base = 0
    while base < count || count == 0 {
        let piece = step == 0 ? count - base : min(step, count - base)
        let isDone = withExactCopy(start + base, piece) { feed(&decoder, $0, base, &outcome) }
        base += piece
        if isDone || count == 0 { break }
    }
    return outcome
}

private func feed(_ decoder: inout ChunkedDecoder, _ bytes: Span<UInt8>, _ base: Int, _ outcome: inout Outcome) -> Bool {
    var at = 0
    while true {
        let before = at
        let step = decoder.step(bytes, at: &at)
        check(at >= before && at <= bytes.count, "the offset moves on within the input")
        switch step {
        case .needMore:
            check(at == bytes.count, "all of the input is used up")
            return false
        case .data(let start, let count):
            check(count > 0 && start >= before && start + count == at, "content lies within the input")
            for i in start..<start + count { outcome.content.append(bytes[i]) }
        case .lastChunk:
            outcome.end = base + at
            return true
        case .bad(let reason):
            outcome.fault = reason
            return true
        }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzChunkedBody(_ start: UnsafePointer<UInt8>, _ count: Int) -> CInt {
    let whole = decode(start, count, step: 0)
    for step in [1, 2, 3, 5, 17] { check(decode(start, count, step: step) == whole, "pieces decode like the whole") }
    return 0
}
