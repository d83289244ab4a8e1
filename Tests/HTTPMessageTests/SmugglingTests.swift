import HTTPMessage
import Testing

/// What becomes of a request and what follows it: how the engine would read it, as text.
private func judgement(_ bytes: Span<UInt8>) -> String {
    var storage = [HeaderField](repeating: HeaderField(), count: 16)
    var fields = storage.mutableSpan
    var head = RequestHead()
    switch parseRequestHead(bytes, seen: 0, fields: &fields, head: &head) {
    case .needMore: return "needMore"
    case .bad(let reason): return "bad \(reason)"
    case .head: break
    }
    if head.isHostRepeated { return "host repeated" }
    switch requestFraming(head, fields.span, bytes) {
    case .none: return "none, left \(bytes.count - head.headBytes)"
    case .length(let n): return "length \(n), left \(Int64(bytes.count - head.headBytes) - n)"
    case .untilClose: return "until close"
    case .bad(let reason): return "bad \(reason)"
    case .chunked: break
    }
    var decoder = ChunkedDecoder()
    var at = head.headBytes
    var payload: [UInt8] = []
    while true {
        switch decoder.step(bytes, at: &at) {
        case .needMore: return "chunked, more"
        case .bad(let reason): return "chunk \(reason)"
        case .data(let start, let count): for i in start..<start + count { payload.append(bytes[i]) }
        case .lastChunk:
            switch parseTrailerFields(bytes.extracting(at..<bytes.count), fields: &fields) {
            case .needMore: return "trailer, more"
            case .bad(let reason): return "trailer bad \(reason)"
            case .fields(let count, let consumed):
                return
                    "chunked \(String(decoding: payload, as: UTF8.self)) trailers \(count), left \(bytes.count - at - consumed)"
            }
        }
    }
}

private let start = "POST / HTTP/1.1\r\nHost: a\r\n"
private let chunkedStart = start + "Transfer-Encoding: chunked\r\n\r\n"
private let next = "GET /admin HTTP/1.1\r\nX: "

/// Heads that two recipients may read in two ways.
private let heads: [(input: String, expected: String)] = [
    // Two framings.
    (start + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad lengthAndTransferEncoding"),
    (start + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n", "bad lengthAndTransferEncoding"),
    (start + "content-length: 0\r\ntransfer-encoding: chunked\r\n\r\n", "bad lengthAndTransferEncoding"),
    (start + "Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n", "bad lengthAndTransferEncoding"),
    (start + "Content-Length: 5\r\nTransfer-Encoding:\r\n\r\n", "bad lengthAndTransferEncoding"),
    // Repeated lengths and lists of them.
    (start + "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "bad repeatedContentLength"),
    (start + "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "bad repeatedContentLength"),
    (start + "Content-Length: 5\r\ncontent-length: 5\r\n\r\n", "bad repeatedContentLength"),
    (start + "Content-Length: 5, 5\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: 5,6\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: +5\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: -5\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: -0\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: 0x5\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: 5 6\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: 5.0\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: 5;\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: \"5\"\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: 1_0\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: \u{663}\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length:\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: \r\nContent-Length: 5\r\n\r\n", "bad repeatedContentLength"),
    (start + "Content-Length: 9223372036854775808\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: 18446744073709551621\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: 99999999999999999999999999\r\n\r\n", "bad badContentLength"),
    (start + "Content-Length: 5\u{b}\r\n\r\n", "bad controlCharacter"),
    (start + "Content-Length: 5\u{0}\r\n\r\n", "bad nulByte"),
    (start + "Content-Length: 5\rContent-Length: 6\r\n\r\n", "bad loneCarriageReturn"),
    // Transfer codings that hide chunked or pretend it.
    (start + "Transfer-Encoding: xchunked\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: chunkedx\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: chunked, chunked\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: gzip, chunked\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: chunked, identity\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: identity\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: chunked;q=1\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: \"chunked\"\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: ,chunked\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding:\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: \u{b}chunked\r\n\r\n", "bad controlCharacter"),
    (start + "Transfer-Encoding: chunked\u{0}\r\n\r\n", "bad nulByte"),
    (start + "Transfer-Encoding: \u{a0}chunked\r\n\r\n", "bad unknownTransferEncoding"),
    (start + "Transfer-Encoding: chun\r\n ked\r\n\r\n", "bad obsoleteFold"),
    (start + "Transfer-Encoding:\r\n chunked\r\n\r\n", "bad obsoleteFold"),
    (start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "bad repeatedTransferEncoding"),
    (start + "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", "bad repeatedTransferEncoding"),
    (start + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", "bad repeatedTransferEncoding"),
    ("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad transferEncodingInHTTP10"),
    // Names that another recipient may take for a framing field.
    (start + "Transfer-Encoding : chunked\r\n\r\n", "bad spaceBeforeColon"),
    (start + "Transfer-Encoding\t: chunked\r\n\r\n", "bad spaceBeforeColon"),
    (start + " Transfer-Encoding: chunked\r\n\r\n", "bad obsoleteFold"),
    (start + "\tContent-Length: 5\r\n\r\n", "bad obsoleteFold"),
    (start + "Content-Length : 5\r\n\r\n", "bad spaceBeforeColon"),
    (start + "Content-Length\u{0}: 5\r\n\r\n", "bad nulByte"),
    (start + "Content-Length\u{b}: 5\r\n\r\n", "bad controlCharacter"),
    (start + "\u{b}Content-Length: 5\r\n\r\n", "bad controlCharacter"),
    (start + "Content Length: 5\r\n\r\n", "bad spaceBeforeColon"),
    (start + "Content-Length\r\n: 5\r\n\r\n", "bad missingColon"),
    (start + "Content-Length 5\r\n\r\n", "bad spaceBeforeColon"),
    (start + "\"Content-Length\": 5\r\n\r\n", "bad badFieldName"),
    (start + "Content-Length(): 5\r\n\r\n", "bad badFieldName"),
    (start + "\u{ff23}ontent-Length: 5\r\n\r\n", "bad badFieldName"),
    (start + "Transfer_Encoding: chunked\r\n\r\n", "none, left 0"),
    (start + "Foo: bar\r\n\rTransfer-Encoding: chunked\r\n\r\n", "bad loneCarriageReturn"),
    (start + "Foo: bar\rTransfer-Encoding: chunked\r\n\r\n", "bad loneCarriageReturn"),
    (start + "Foo: bar\r\r\nContent-Length: 5\r\n\r\n", "bad loneCarriageReturn"),
    // Two hosts, two lines in one, a request line that splits differently.
    (start + "Host: b\r\n\r\n", "host repeated"),
    ("GET / HTTP/1.1\r\nHost: a\nHost: b\r\n\r\n", "host repeated"),
    ("GET /\rX: / HTTP/1.1\r\nHost: a\r\n\r\n", "bad missingVersion"),
    ("GET /a HTTP/1.1\rHost: a\r\n\r\n", "bad loneCarriageReturn"),
    ("GET /a\u{b}HTTP/1.1\r\nHost: a\r\n\r\n", "bad controlCharacter"),
    ("GET /a HTTP/1.1\u{b}\r\nHost: a\r\n\r\n", "bad badVersion"),
    ("GET /a HTTP/1.1 HTTP/1.1\r\nHost: a\r\n\r\n", "bad badVersion"),
    ("GET /\nHost: a\r\n\r\n", "bad missingVersion"),
    ("GET\u{c}/ HTTP/1.1\r\nHost: a\r\n\r\n", "bad badMethod"),
    ("GET / HTTP/1.1\r\n\u{0}\r\n\r\n", "bad nulByte"),
    // Harmless and accepted.
    (start + "Content-Length: 5\r\n\r\nhello" + next, "length 5, left 24"),
    (start + "Content-Length: 005\r\n\r\nhello", "length 5, left 0"),
    (start + "Content-Length: \t5 \r\n\r\nhello", "length 5, left 0"),
    (start + "Content-Length: 9223372036854775807\r\n\r\n", "length 9223372036854775807, left -9223372036854775807"),
    (start + "\r\n" + next, "none, left 24"),
]

/// Chunked bodies behind a head that declares them.
private let bodies: [(input: String, expected: String)] = [
    ("5\r\nhello\r\n0\r\n\r\n" + next, "chunked hello trailers 0, left 24"),
    ("A\r\n0123456789\r\n00\r\n\r\n", "chunked 0123456789 trailers 0, left 0"),
    ("5;a=b;c=\"d\u{e9}\"\r\nhello\r\n0;x\r\n\r\n", "chunked hello trailers 0, left 0"),
    ("5 \t;a\r\nhello\r\n0 \r\n\r\n", "chunked hello trailers 0, left 0"),
    ("5\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\nx", "chunked hello trailers 2, left 1"),
    ("5\r\nhello\r\n0\r\nContent-Length: 3\r\n\r\n", "chunked hello trailers 1, left 0"),
    ("5\nhello\r\n0\r\n\r\n", "chunk badLineEnd"),
    ("5;\nhello\r\n0\r\n\r\n", "chunk badLineEnd"),
    ("5;a\nxx\r\n47\r\n0\r\n\r\n", "chunk badLineEnd"),
    ("5\rhello\r\n0\r\n\r\n", "chunk badLineEnd"),
    ("5\r\r\nhello\r\n0\r\n\r\n", "chunk badLineEnd"),
    ("5;a\rb\r\nhello\r\n0\r\n\r\n", "chunk badLineEnd"),
    ("5\r\nhello\n0\r\n\r\n", "chunk missingLineEnd"),
    ("5\r\nhello0\r\n\r\n", "chunk missingLineEnd"),
    ("5\r\nhelloXX0\r\n\r\n", "chunk missingLineEnd"),
    ("5\r\nhello\rX0\r\n\r\n", "chunk missingLineEnd"),
    ("4\r\nhello\r\n0\r\n\r\n", "chunk missingLineEnd"),
    ("6\r\nhello\r\n0\r\n\r\n", "chunk missingLineEnd"),
    ("0x5\r\nhello\r\n0\r\n\r\n", "chunk badSize"),
    ("+5\r\nhello\r\n0\r\n\r\n", "chunk badSize"),
    ("-5\r\nhello\r\n0\r\n\r\n", "chunk badSize"),
    (" 5\r\nhello\r\n0\r\n\r\n", "chunk badSize"),
    ("5_0\r\nhello\r\n0\r\n\r\n", "chunk badSize"),
    ("5 5\r\nhello\r\n0\r\n\r\n", "chunk badSize"),
    ("5,5\r\nhello\r\n0\r\n\r\n", "chunk badSize"),
    ("5\u{0}\r\nhello\r\n0\r\n\r\n", "chunk badSize"),
    ("g\r\n0\r\n\r\n", "chunk badSize"),
    ("\r\n0\r\n\r\n", "chunk badSize"),
    (";a\r\n0\r\n\r\n", "chunk badSize"),
    ("5;a\u{0}b\r\nhello\r\n0\r\n\r\n", "chunk badExtension"),
    ("5;a\u{7f}\r\nhello\r\n0\r\n\r\n", "chunk badExtension"),
    ("7fffffffffffffff\r\nx", "chunked, more"),
    ("8000000000000000\r\nx", "chunk sizeTooLarge"),
    ("10000000000000005\r\nhello\r\n0\r\n\r\n", "chunk sizeTooLarge"),
    ("ffffffffffffffffffff\r\n", "chunk sizeTooLarge"),
    ("100000000\r\nx", "chunked, more"),
    ("5;" + String(repeating: "a", count: 1022) + "\r\nhello\r\n0\r\n\r\n", "chunked hello trailers 0, left 0"),
    ("5;" + String(repeating: "a", count: 1023) + "\r\nhello\r\n0\r\n\r\n", "chunk lineTooLong"),
    (String(repeating: "0", count: 1025) + "\r\n\r\n", "chunk lineTooLong"),
    ("0\r\nX : y\r\n\r\n", "trailer bad spaceBeforeColon"),
    ("0\r\n X: y\r\n\r\n", "trailer bad obsoleteFold"),
    ("0\r\nGET / HTTP/1.1\r\n\r\n", "trailer bad spaceBeforeColon"),
    ("0\r\n\r", "trailer, more"),
    ("0\r\n\rX", "trailer bad loneCarriageReturn"),
    ("0\r\n", "trailer, more"),
]

@Suite struct SmugglingTests {
    @Test(arguments: heads)
    func whatTwoRecipientsMayReadInTwoWaysIsRefused(_ input: String, _ expected: String) {
        #expect(judgement(Array(input.utf8).span) == expected)
    }

    @Test(arguments: bodies)
    func chunkedBodiesAreReadInOneWayOnly(_ input: String, _ expected: String) {
        #expect(judgement(Array((chunkedStart + input).utf8).span) == expected)
    }
}
