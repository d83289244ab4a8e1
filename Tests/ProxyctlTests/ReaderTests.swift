// Tests the reading of answers and of event streams, whole and in every pair of pieces.

import Testing

@testable import proxyctl

@Suite("answers and events as they come")
struct ReaderTests {
    static let answers: [(String, Int, String)] = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", 200, ""),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 X\r\nA: b\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length:  2\r\n\r\n{}",
            201, "{}"
        ),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: x\r\n\r\n", 200,
            "hello world"
        ),
        ("HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
    ]

    @Test(arguments: answers)
    func read(text: String, status: Int, body: String) {
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            var reader = AnswerReader()
            reader.feed(bytes[..<cut])
            reader.feed(bytes[cut...])
            if reader.progress != .done || reader.status != status || reader.body != Array(body.utf8) {
                Issue.record("cut at \(cut): \(reader.progress) \(reader.status) \(String(decoding: reader.body, as: UTF8.self))")
            }
            // Cut off anywhere before its end, it is not taken for whole.
            if cut < bytes.count {
                var short = AnswerReader()
                short.feed(bytes[..<cut])
                short.end()
                guard case .bad = short.progress else {
                    Issue.record("\(text) cut at \(cut) is \(short.progress)")
                    continue
                }
            }
        }
    }

    @Test func theEndOfTheConnectionEndsAnAnswerWithoutLength() {
        var reader = AnswerReader()
        reader.feed(Array("HTTP/1.0 500 Oops\r\n\r\nab".utf8))
        reader.feed(Array("c".utf8))
        #expect(reader.progress == .body)
        reader.end()
        #expect(reader.progress == .done)
        #expect(reader.takeBody() == Array("abc".utf8))
        #expect(reader.takeBody() == [])
    }

    @Test(arguments: [
        "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/2 200\r\n\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/1.1 999 X\r\n\r\n", "\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + String(repeating: "1", count: 2000),
        "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 70_000),
    ])
    func refused(text: String) {
        var reader = AnswerReader()
        for byte in text.utf8 { reader.feed(CollectionOfOne(byte)) }
        guard case .bad = reader.progress else {
            Issue.record("\(text.prefix(80)) was taken: \(reader.progress)")
            return
        }
    }

    @Test func anAnswerToHEADHasNoBody() {
        var reader = AnswerReader(to: "HEAD")
        reader.feed(Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n".utf8))
        #expect(reader.progress == .done)
        #expect(reader["content-LENGTH"] == "5")
    }

    @Test(arguments: ["\n", "\r\n", "\r"])
    func events(end: String) {
        let lines = [
            ": hello", "retry: 250", "", "id: 7", "event: revision", "data: {\"a\":", "data:1}", "", "id: 8", "", "data", "",
            "junk", "id: 9", "data: last",
        ]
        let bytes = Array((lines.joined(separator: end) + end).utf8)
        for cut in 0...bytes.count {
            var reader = EventReader()
            let messages = reader.feed(bytes[..<cut]) + reader.feed(bytes[cut...])
            #expect(
                messages == [
                    EventReader.Message(id: "7", event: "revision", data: "{\"a\":\n1}"),
                    EventReader.Message(id: "8", event: nil, data: ""),
                ])
            #expect(reader.lastID == "8")
            #expect(reader.retryMs == 250)
            // Half an event is none.
            reader.reset()
            #expect(reader.feed(Array("\n\n".utf8)) == [])
        }
    }

    @Test func aLineHasABound() {
        var reader = EventReader()
        _ = reader.feed(repeatElement(UInt8(ascii: "x"), count: EventReader.lineBytesMax + 1))
        #expect(reader.isTooLong)
    }
}
