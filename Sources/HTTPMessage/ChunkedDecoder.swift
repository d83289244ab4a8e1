// Takes a chunked body apart (RFC 9112 section 7.1) without copying: says where the content lies in the bytes received.
// One in each exchange with such a body, fed by the engine. It must not parse the trailer section: `parseTrailerFields` does.

/// Why a chunked body was refused.
public enum BadChunk: UInt8, Error, CaseIterable, Sendable, BitwiseCopyable {
    case badSize, sizeTooLarge, badExtension, lineTooLong, badLineEnd, missingLineEnd

    /// For the log.
    public var word: StaticString {
        switch self {
        case .badSize: "invalid chunk size"
        case .sizeTooLarge: "chunk size too large"
        case .badExtension: "invalid chunk extension"
        case .lineTooLong: "chunk size line too long"
        case .badLineEnd: "invalid line end after a chunk size"
        case .missingLineEnd: "no line end after the content of a chunk"
        }
    }
}

/// Keeps its place in a body of chunks between reads.
///
/// Lines must end in CRLF: a bare LF is refused, as nginx does, because peers disagree whether it ends a chunk extension, which
/// is how requests are smuggled behind one.
public struct ChunkedDecoder: Sendable, BitwiseCopyable {
    /// The longest line of size and extension accepted, in bytes without its line end.
    public static var lineBytesMax: Int { 1024 }

    public enum Step: Equatable, Sendable, BitwiseCopyable {
        /// All of the input is used up.
        case needMore
        /// `count` (at least 1) bytes of content at `start` in the input: a chunk or a part of one.
        case data(start: Int, count: Int)
        /// The last chunk's line is consumed; the trailer section begins at the offset.
        case lastChunk
        case bad(BadChunk)
    }

    private enum State: UInt8, BitwiseCopyable {
        case start, size, blanks, `extension`, lineFeed, data, dataEnd, dataLineFeed, done
    }

    private var state = State.start
    private var lineBytes: UInt16 = 0
    private var size: Int64 = 0

    public init() {}

    /// Bytes still to come of the chunk whose size was read last.
    public var chunkBytesLeft: Int64 { state == .data ? size : 0 }

    /// Reads on from `offset` in `input` and moves it behind what was consumed, the content reported included. Call again until
    /// the answer is `needMore`, `lastChunk` or `bad`; not again after the last two.
    public mutating func step(_ input: Span<UInt8>, at offset: inout Int) -> Step {
        while offset < input.count {
            if state == .data {
                let start = offset
                let count = Int(min(size, Int64(input.count - offset)))
                size -= Int64(count)
                offset += count
                if size == 0 { state = .dataEnd }
                return .data(start: start, count: count)
            }
            if state == .done { return .lastChunk }
            let c = input[offset]
            offset += 1
            if let reason = take(c) { return .bad(reason) }
            if state == .done { return .lastChunk }
        }
        return .needMore
    }

    /// One byte of what is not content.
    @inline(__always)
    private mutating func take(_ c: UInt8) -> BadChunk? {
        switch state {
        case .start, .size:
            let digit = hexValue(c)
            if digit < 16 {
                if size > Int64.max >> 4 { return .sizeTooLarge }
                size = size << 4 | Int64(digit)
                state = .size
                return countLineByte()
            }
            return state == .start ? .badSize : takeAfterSize(c)
        case .blanks: return takeAfterSize(c)
        case .extension:
            if c == 0x0D {
                state = .lineFeed
                return nil
            }
            if c == 0x0A { return .badLineEnd }
            if c < 0x20 && c != 0x09 || c == 0x7F { return .badExtension }
            return countLineByte()
        case .lineFeed:
            if c != 0x0A { return .badLineEnd }
            lineBytes = 0
            state = size == 0 ? .done : .data
            return nil
        case .dataEnd:
            if c != 0x0D { return .missingLineEnd }
            state = .dataLineFeed
            return nil
        case .dataLineFeed:
            if c != 0x0A { return .missingLineEnd }
            state = .start
            return nil
        case .data, .done: return nil
        }
    }

    /// Behind the digits: blanks, then an extension or the line end. Anything else might be another recipient's digit.
    private mutating func takeAfterSize(_ c: UInt8) -> BadChunk? {
        switch c {
        case 0x0D:
            state = .lineFeed
            return nil
        case 0x3B: state = .extension
        case 0x20, 0x09: state = .blanks
        case 0x0A: return .badLineEnd
        default: return .badSize
        }
        return countLineByte()
    }

    @inline(__always)
    private mutating func countLineByte() -> BadChunk? {
        lineBytes += 1
        return Int(lineBytes) > Self.lineBytesMax ? .lineTooLong : nil
    }
}
