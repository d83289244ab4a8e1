import HTTPMessage
import Testing

private func framing(_ head: String, to method: Method) -> BodyFraming? {
    let bytes = Array((head + "\r\n\r\n").utf8)
    var storage = [HeaderField](repeating: HeaderField(), count: 8)
    var fields = storage.mutableSpan
    var parsed = ResponseHead()
    guard parseResponseHead(bytes.span, seen: 0, fields: &fields, head: &parsed) == .head else { return nil }
    return responseFraming(parsed, fields.span, bytes.span, requestMethod: method)
}

private let responses: [(head: String, method: Method, expected: BodyFraming)] = [
    ("HTTP/1.1 200 OK", .get, .untilClose),
    ("HTTP/1.0 200 OK", .get, .untilClose),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5", .get, .length(5)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 0", .get, .length(0)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked", .get, .chunked),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5", .head, .none),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", .head, .none),
    ("HTTP/1.1 200 OK", .head, .none),
    ("HTTP/1.1 204 No Content\r\nContent-Length: 5", .get, .none),
    ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5", .get, .none),
    ("HTTP/1.1 100 Continue", .post, .none),
    ("HTTP/1.1 101 Switching Protocols", .get, .none),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5", .connect, .none),
    ("HTTP/1.1 403 Forbidden\r\nContent-Length: 5", .connect, .length(5)),
    ("HTTP/1.1 403 Forbidden", .connect, .untilClose),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5", .get, .bad(.repeatedContentLength)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", .get, .bad(.lengthAndTransferEncoding)),
    ("HTTP/1.1 200 OK\r\nContent-Length: x", .get, .bad(.badContentLength)),
    ("HTTP/1.1 204 No Content\r\nContent-Length: x", .get, .bad(.badContentLength)),
    ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked", .head, .bad(.lengthAndTransferEncoding)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip", .get, .bad(.unknownTransferEncoding)),
    ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked", .get, .bad(.unknownTransferEncoding)),
    ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked", .get, .bad(.transferEncodingInHTTP10)),
]

/// Feeds `pieces` one after the other; the payload, and what is left of the last piece, or the fault.
private func decode(_ pieces: [ArraySlice<UInt8>], _ memory: GuardedMemory) -> (payload: [UInt8], left: Int, fault: BadChunk?) {
    var decoder = ChunkedDecoder()
    var payload: [UInt8] = []
    for (index, piece) in pieces.enumerated() {
        let end: (Int, BadChunk?)? = memory.atEnd(piece) { bytes in
            var at = 0
            while true {
                switch decoder.step(bytes, at: &at) {
                case .needMore: return nil
                case .data(let start, let count): for i in start..<start + count { payload.append(bytes[i]) }
                case .lastChunk: return (bytes.count - at + pieces[(index + 1)...].reduce(0) { $0 + $1.count }, nil)
                case .bad(let reason): return (0, reason)
                }
            }
        }
        if let end { return (payload, end.0, end.1) }
    }
    return (payload, -1, nil)
}

/// A generator whose seed makes a failure repeatable.
private struct Dice: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ state >> 29
    }
}

@Suite struct BodyTests {
    @Test(arguments: responses)
    func theFramingOfAResponseIsJudged(_ head: String, _ method: Method, _ expected: BodyFraming) {
        #expect(framing(head, to: method) == expected)
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6, 7, 8] as [UInt64])
    func aChunkedBodyIsTheSameHoweverItIsCut(_ seed: UInt64) {
        let memory = GuardedMemory()
        var dice = Dice(state: seed)
        var payload: [UInt8] = []
        var wire: [UInt8] = []
        for _ in 0..<Int.random(in: 0...6, using: &dice) {
            let chunk = (0..<Int.random(in: 1...40, using: &dice)).map { _ in UInt8.random(in: 0...255, using: &dice) }
            payload += chunk
            wire += Array(String(chunk.count, radix: 16, uppercase: Bool.random(using: &dice)).utf8)
            if Bool.random(using: &dice) { wire += Array(";ext=\"v\"".utf8) }
            wire += [13, 10] + chunk + [13, 10]
        }
        wire += Array("0\r\n".utf8)
        let rest = Array("\r\nGET /".utf8)
        wire += rest
        for cut in 0...wire.count {
            let result = decode([wire[..<cut], wire[cut...]], memory)
            #expect(result.payload == payload && result.left == rest.count && result.fault == nil, "cut at \(cut)")
        }
        for _ in 0..<100 {
            var pieces: [ArraySlice<UInt8>] = []
            var at = 0
            while at < wire.count {
                let end = min(wire.count, at + Int.random(in: 0...9, using: &dice))
                pieces.append(wire[at..<end])
                at = end
            }
            let result = decode(pieces, memory)
            #expect(result.payload == payload && result.left == rest.count && result.fault == nil)
        }
    }

    @Test func theDecoderSaysWhatIsLeftOfAChunk() {
        var decoder = ChunkedDecoder()
        var at = 0
        let bytes = Array("a\r\n0123".utf8)
        #expect(decoder.chunkBytesLeft == 0)
        #expect(decoder.step(bytes.span, at: &at) == .data(start: 3, count: 4))
        #expect(decoder.chunkBytesLeft == 6)
        #expect(decoder.step(bytes.span, at: &at) == .needMore)
    }
}
