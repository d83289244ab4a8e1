// Reads the body of a request or response out of the bytes of a connection, by the framing that was judged for it.
// Used for what is forwarded and for what is dropped. It stores nothing and calls nobody.

import Bytes
import HTTPMessage

/// How far a body has been read.
struct BodyReader: BitwiseCopyable {
    private(set) var framing = BodyFraming.none
    private var remaining: Int64 = 0
    private var decoder = ChunkedDecoder()
    private var inTrailers = false
    private var trailerLine = 0
    private var trailerBytes = 0
    private(set) var isComplete = true
    /// A stream of HTTP/2 carries it, whose end is the body's.
    private var endsWithStream = false
    /// Its size is not known before its end.
    var isUnsized: Bool { if case .chunked = framing { true } else if case .untilClose = framing { true } else { false } }
    /// Payload bytes read.
    private(set) var received: Int64 = 0

    init() {}

    init(_ framing: BodyFraming) {
        self.framing = framing
        switch framing {
        case .none, .bad: isComplete = true
        case .length(let n):
            remaining = n
            isComplete = n == 0
        case .chunked, .untilClose: isComplete = false
        }
    }

    /// A body that is complete when its stream has ended, and bad if that is not where its length says.
    init(_ framing: BodyFraming, untilEnd: Bool) {
        self.init(framing)
        endsWithStream = untilEnd
        if untilEnd { isComplete = false }
    }

    enum Step {
        /// Payload at this place in the input.
        case data(ByteView)
        /// Bytes of the trailer section, line ends included; the empty line that ends it comes last.
        case trailer(ByteView)
        case needMore
        case complete
        case bad
    }

    /// The next piece of `input` from `offset`, which is advanced past what was used.
    mutating func step(_ input: ByteView, at offset: inout Int) -> Step {
        if isComplete { return .complete }
        switch framing {
        case .none, .bad: return .complete
        case .untilClose:
            if offset == input.count { return .needMore }
            return take(input, &offset, input.count - offset)
        case .length:
            if offset == input.count { return .needMore }
            if endsWithStream, remaining < Int64(input.count - offset) { return .bad }
            let n = Int(min(Int64(input.count - offset), remaining))
            remaining -= Int64(n)
            let piece = take(input, &offset, n)
            if remaining == 0, !endsWithStream { isComplete = true }
            return piece
        case .chunked: return chunkedStep(input, &offset)
        }
    }

    private mutating func take(_ input: ByteView, _ offset: inout Int, _ n: Int) -> Step {
        let piece = input.slice(offset, n)
        offset += n
        received += Int64(n)
        return .data(piece)
    }

    private mutating func chunkedStep(_ input: ByteView, _ offset: inout Int) -> Step {
        if !inTrailers {
            switch decoder.step(input.buffer.span, at: &offset) {
            case .needMore: return .needMore
            case .bad: return .bad
            case .data(let start, let count):
                received += Int64(count)
                return .data(input.slice(start, count))
            case .lastChunk: inTrailers = true
            }
        }
        return trailerStep(input, &offset)
    }

    /// Reads on to the empty line that ends the section.
    private mutating func trailerStep(_ input: ByteView, _ offset: inout Int) -> Step {
        let start = offset
        while offset < input.count, !isComplete {
            let byte = input[offset]
            offset += 1
            trailerBytes += 1
            if byte == 0x0A {
                isComplete = trailerLine == 0
                trailerLine = 0
            } else if byte != 0x0D {
                trailerLine += 1
            }
            if trailerBytes > Limits.trailerBytesMax { return .bad }
        }
        return offset == start ? .needMore : .trailer(input.slice(start, offset - start))
    }

    /// The body's sender closed: right for a body that ends so, and for none other.
    mutating func endOfStream() -> Bool {
        if case .untilClose = framing { isComplete = true }
        if endsWithStream, remaining == 0 { isComplete = true }
        return isComplete
    }
}
