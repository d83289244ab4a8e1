// The fields of an HTTP/2 response, as they are decoded one by one, put down as the text of an HTTP/1 head (RFC 9113 section 8.3.2).
// Called by the engine's HTTP/2 sessions to upstreams; the text goes through the parser that every response goes through.

import Bytes

/// Which kind of field block is being put down, and what of it has been seen.
public struct HTTP2ResponseText: Sendable, BitwiseCopyable {
    /// The status of this block, once it is known: 100 to 999.
    public private(set) var status: UInt16 = 0
    private let isTrailers: Bool

    /// isTrailers: the block ends a message and has no status.
    @inlinable public init(isTrailers: Bool) { self.init(trailers: isTrailers) }

    @usableFromInline init(trailers: Bool) { isTrailers = trailers }

    /// How many bytes one field may become.
    @inlinable public static func bytesMax(_ name: ByteView, _ value: ByteView) -> Int { name.count &+ value.count &+ 16 }

    /// Appends one field as a line. Answers with what is wrong with it, if anything is; then nothing was appended.
    ///
    /// Names and values that would not be one line of a head are refused: they would mean something else to whoever reads them
    /// as HTTP/1 (section 10.3).
    public mutating func append(_ name: ByteView, _ value: ByteView, to w: inout ByteWriter) -> BadHead? {
        if name.isEmpty { return .emptyFieldName }
        if name[0] == 0x3A { return appendStatus(name, value, &w) }
        if status == 0, !isTrailers { return .badStatus }
        for i in 0..<name.count {
            // No capitals: section 8.2.1.
            if !isToken(name[i]) || name[i] &- 0x41 < 26 { return .badFieldName }
        }
        for i in 0..<value.count {
            switch value[i] {
            case 0x0D, 0x0A, 0: return BadHead(control: value[i])
            default: continue
            }
        }
        w.append(name)
        w.append(": ")
        w.append(value)
        w.append("\r\n")
        return nil
    }

    private mutating func appendStatus(_ name: ByteView, _ value: ByteView, _ w: inout ByteWriter) -> BadHead? {
        guard !isTrailers, status == 0, name == ByteView(":status"), value.count == 3, let code = value.decimal, code >= 100 else {
            return .badStatus
        }
        status = UInt16(code)
        w.append("HTTP/1.1 ")
        w.append(value)
        w.append("\r\n")
        return nil
    }

    /// Appends the empty line behind the last field. False: there was no status.
    public func end(_ w: inout ByteWriter) -> Bool {
        w.append("\r\n")
        return isTrailers || status != 0
    }
}
