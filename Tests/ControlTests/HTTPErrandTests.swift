// Owns how the answers to errands are read: to responders of OCSP, receivers of news, sources of metrics.

import Testing

@testable import Control

@Suite("answers to errands")
struct HTTPErrandTests {
    @Test(
        arguments: [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok"), ("HTTP/1.1 200 OK\r\nContent-Length:\t2 \t\r\n\r\nok and more", "ok"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked \r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok"),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\nContent-Length: 0\n\n", ""), ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", nil),
        ] as [(String, String?)])
    func bodies(answer: String, body: String?) throws {
        let parsed = try HTTPErrand.parse(Array(answer.utf8), isHTTP10: false, isOver: false)
        #expect(parsed.map { String(decoding: $0.body, as: UTF8.self) } == body)
    }

    @Test(arguments: ["Content-Length: -1", "Content-Length: 2, 2", "Content-Length: x"]) func lengthsThatAreNone(line: String) {
        #expect(throws: HTTPErrand.Failure.invalid) {
            try HTTPErrand.parse(Array("HTTP/1.1 200 OK\r\n\(line)\r\n\r\nok".utf8), isHTTP10: false, isOver: false)
        }
    }
}
