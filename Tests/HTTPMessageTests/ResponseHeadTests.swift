import HTTPMessage
import Testing

private let cases: [(input: String, expected: String)] = [
    (
        "HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 5\r\n\r\nhello",
        "200 OK 1.1|Server=x(server)|Content-Length=5(contentLength)"
    ),
    ("HTTP/1.0 404 Not Found\n\n", "404 Not Found 1.0"),
    ("HTTP/1.1 204\r\n\r\n", "204  1.1"),
    ("HTTP/1.1 204 \r\n\r\n", "204  1.1"),
    ("HTTP/1.1  200 OK\r\n\r\n", "200 OK 1.1"),
    ("HTTP/1.1 999 \u{e9} \t x\r\n\r\n", "999 é \t x 1.1"),
    ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "100 Continue 1.1"),
    (
        "HTTP/1.2 200 OK\r\nconnection: close\r\nUpgrade: h\r\n\r\n",
        "200 OK 1.1|connection=close(connection)|Upgrade=h(upgrade) +close"
    ),
    ("HTTP/2 200\r\n\r\n", "bad versionNotSupported"),
    ("HTTP/1 200\r\n\r\n", "bad badVersion"),
    ("HTTP/1.1200 OK\r\n\r\n", "bad badVersion"),
    ("HTTP/1.1\t200 OK\r\n\r\n", "bad badVersion"),
    ("HTTP/1.1 \r\n\r\n", "bad badStatus"),
    ("HTTP/1.1 20 OK\r\n\r\n", "bad badStatus"),
    ("HTTP/1.1 2000 OK\r\n\r\n", "bad badStatus"),
    ("HTTP/1.1 099 OK\r\n\r\n", "bad badStatus"),
    ("HTTP/1.1 2x0 OK\r\n\r\n", "bad badStatus"),
    ("HTTP/1.1 403.1 Forbidden\r\n\r\n", "bad badStatus"),
    ("HTTP/1.1 200 a\u{0}b\r\n\r\n", "bad nulByte"),
    ("HTTP/1.1 200 a\u{8}b\r\n\r\n", "bad controlCharacter"),
    ("HTTP/1.1 200 a\rb\r\n\r\n", "bad loneCarriageReturn"),
    ("<html>hello</html>", "bad badVersion"),
    ("\r\nHTTP/1.1 200 OK\r\n\r\n", "bad badVersion"),
    ("ICY 200 OK\r\n\r\n", "bad badVersion"),
    ("http/1.1 200 OK\r\n\r\n", "bad badVersion"),
    ("HTTP/1.1 200 OK\r\nHTTP/1.1 200 OK\r\n\r\n", "bad badFieldName"),
    ("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", "bad obsoleteFold"),
    ("HTTP/1.1 200 OK\r\nA b\r\n\r\n", "bad spaceBeforeColon"),
    (
        "HTTP/1.1 200 OK\r\nX-Accel-Redirect: /x\r\nSet-Cookie: a=b\r\nWWW-Authenticate: Basic\r\n\r\n",
        "200 OK 1.1|X-Accel-Redirect=/x(xAccelRedirect)|Set-Cookie=a=b(setCookie)|WWW-Authenticate=Basic(wwwAuthenticate)"
    ),
    ("HTTP/1.1 200 OK", "needMore"),
    ("", "needMore"),
]

private let trailers: [(input: String, expected: String, consumed: Int)] = [
    ("\r\n", "", 2),
    ("\n", "", 1),
    ("\r\nGET / HTTP/1.1\r\n\r\n", "", 2),
    ("A: b\r\nExpires: c\r\n\r\nrest", "|A=b|Expires=c(expires)", 20),
    ("A: b\n\n", "|A=b", 6),
    ("A: b\r\n", "needMore", 0),
    ("A b\r\n\r\n", "bad spaceBeforeColon", 0),
    (" A: b\r\n\r\n", "bad obsoleteFold", 0),
    ("\rA", "bad loneCarriageReturn", 0),
]

@Suite struct ResponseHeadTests {
    @Test(arguments: cases)
    func isParsedWholeInPartsAndAgainstUnreadablePages(_ input: String, _ expected: String) {
        let bytes = Array(input.utf8)
        #expect(response(bytes.span).description == expected)
        #expect(differences(bytes) { response($0, seen: $1) } == [])
    }

    @Test(arguments: trailers)
    func trailersAreParsedLikeHeads(_ input: String, _ expected: String, _ consumed: Int) {
        let bytes = Array(input.utf8)
        let verdict = trailer(bytes.span)
        #expect(verdict.description == expected)
        if case .head(_, let bytes) = verdict { #expect(bytes == consumed) }
        #expect(differences(bytes) { trailer($0, seen: $1) } == [])
    }

    @Test func tooManyFieldsIsABadHead() {
        let bytes = Array("HTTP/1.1 200 OK\r\nA: b\r\nA: b\r\n\r\n".utf8)
        #expect(response(bytes.span, fieldsMax: 1) == .bad(.tooManyFields))
        #expect(trailer(Array("A: b\r\n\r\n".utf8).span, fieldsMax: 0) == .bad(.tooManyFields))
    }
}
