import Bytes
import HTTPMessage
import Testing

private func block(_ input: String, keepsHost: Bool = false, fieldsMax: Int = 16) -> String {
    var bytes = Array(input.utf8)
    var fields = [HeaderField](repeating: HeaderField(), count: fieldsMax)
    var found = HTTP2RequestBlock()
    let bad = bytes.withUnsafeMutableBufferPointer { bytes in
        fields.withUnsafeMutableBufferPointer { fields in
            var span = bytes.mutableSpan
            var list = fields.mutableSpan
            return http2RequestBlock(&span, keepsHost: keepsHost, fields: &list, block: &found)
        }
    }
    if let bad { return "bad \(bad)" }
    func piece(_ range: ByteRange) -> String { String(decoding: bytes[range.first..<range.end], as: UTF8.self) }
    let head = "\(piece(found.method)) \(piece(found.path)) [\(piece(found.authority))]"
    let lines = fields.prefix(found.fieldCount).map { "|\(piece($0.name))=\(piece($0.value))" }.joined()
    return head + lines + "+" + String(decoding: bytes[found.headBytes...], as: UTF8.self)
}

private let heads: [(input: String, expected: String)] = [
    ("GET / HTTP/1.1\r\nHost: a:80\r\nX-Y: Z\r\n\r\n", "GET / [a:80]|x-y=Z+"),
    ("POST /a?b=c HTTP/1.0\r\nCONTENT-Length: 3\r\nHost: u\r\n\r\nabc", "POST /a?b=c [u]|content-length=3+abc"),
    ("GET /a b HTTP/1.1\r\n\r\n", "GET /a b []+"),
    (
        "GET / HTTP/1.1\r\nConnection: x\r\nKeep-Alive: 1\r\nProxy-Connection: y\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n"
            + "HTTP2-Settings: a\r\nA: b\r\n\r\n", "GET / []|a=b+"
    ),
    ("GET / HTTP/1.1\r\nTE: gzip;q=1, Trailers\r\n\r\n", "GET / []|te=Trailers+"),
    ("GET / HTTP/1.1\r\nTE: gzip\r\nCookie: a; b\r\n\r\n", "GET / []|cookie=a; b+"),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET / [a]+"),
    ("OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS * []+"),
    ("GET /\r\n\r\n", "bad badTarget"),
    ("GET / HTTX/1.1x\r\n\r\n", "bad missingVersion"),
    ("GET  HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("G\u{7}T / HTTP/1.1\r\n\r\n", "bad badMethod"),
    (" / HTTP/1.1\r\n\r\n", "bad badMethod"),
    ("GET / HTTP/1.1\r\nA b\r\n\r\n", "bad spaceBeforeColon"),
    ("GET / HTTP/1.1\r\nA: b\r\n", "bad missingColon"),
    ("GET", "bad missingVersion"),
    ("", "bad badMethod"),
]

private let responses: [(fields: [(String, String)], isTrailers: Bool, expected: String)] = [
    ([(":status", "200"), ("a", "b"), ("c", "")], false, "HTTP/1.1 200|a: b|c: ||"),
    ([(":status", "103"), ("link", "<x>")], false, "HTTP/1.1 103|link: <x>||"),
    ([("grpc-status", "0")], true, "grpc-status: 0||"),
    ([], true, "|"),
    ([(":status", "2000")], false, "bad badStatus"),
    ([(":status", "2x0")], false, "bad badStatus"),
    ([(":status", "099")], false, "bad badStatus"),
    ([(":path", "/")], false, "bad badStatus"),
    ([(":status", "200"), (":status", "200")], false, "bad badStatus"),
    ([("a", "b"), (":status", "200")], false, "bad badStatus"),
    ([(":status", "200")], true, "bad badStatus"),
    ([(":status", "200"), ("", "b")], false, "bad emptyFieldName"),
    ([(":status", "200"), ("Aa", "b")], false, "bad badFieldName"),
    ([(":status", "200"), ("a:b", "b")], false, "bad badFieldName"),
    ([(":status", "200"), ("a\r\nb", "c")], false, "bad badFieldName"),
    ([(":status", "200"), ("a", "b\r\nc: d")], false, "bad loneCarriageReturn"),
    ([(":status", "200"), ("a", "b\nc")], false, "bad controlCharacter"),
    ([(":status", "200"), ("a", "b\u{0}c")], false, "bad nulByte"),
]

@Suite struct HTTP2FieldsTests {
    @Test(arguments: heads)
    func aRequestIsTakenApart(_ input: String, _ expected: String) { #expect(block(input) == expected) }

    @Test func hostStaysAFieldWhereItIsAsked() {
        #expect(block("GET / HTTP/1.1\r\nHost: a\r\n\r\n", keepsHost: true) == "GET / []|host=a+")
        #expect(block("GET / HTTP/1.1\r\nA: b\r\nB: c\r\n\r\n", fieldsMax: 1) == "bad tooManyFields")
    }

    @Test(arguments: responses)
    func aResponseBecomesText(_ fields: [(String, String)], _ isTrailers: Bool, _ expected: String) {
        var text = HTTP2ResponseText(isTrailers: isTrailers)
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 1024)
        defer { memory.deallocate() }
        var w = ByteWriter(memory, capacity: 1024)
        func view<R>(_ text: String, _ body: (ByteView) -> R) -> R {
            Array(text.utf8).withUnsafeBufferPointer { bytes in body(bytes.baseAddress.map { ByteView($0, bytes.count) } ?? .empty) }
        }
        var bad: BadHead?
        for (name, value) in fields where bad == nil {
            let before = w.count
            bad = view(name) { n in
                view(value) { v in
                    let fault = text.append(n, v, to: &w)
                    #expect(w.count - before <= HTTP2ResponseText.bytesMax(n, v))
                    return fault
                }
            }
            if bad != nil { #expect(w.count == before, "nothing of a refused field") }
        }
        if bad == nil { #expect(text.end(&w)) }
        #expect((bad.map { "bad \($0)" } ?? w.view.string.split(separator: "\r\n", omittingEmptySubsequences: false).joined(separator: "|")) == expected)
    }

    @Test func aBlockWithoutAStatusIsNoHead() {
        let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: 16)
        defer { memory.deallocate() }
        var w = ByteWriter(memory, capacity: 16)
        #expect(HTTP2ResponseText(isTrailers: false).end(&w) == false)
    }
}
