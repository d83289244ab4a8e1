import HTTPMessage
import Testing

/// A request and what it must parse to: a head as `request` writes it out, or "bad REASON", or "needMore".
private let cases: [(input: String, expected: String)] = [
    ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / 1.1 path=/|Host=a(host)"),
    ("GET / HTTP/1.0\n\n", "GET / 1.0 path=/"),
    ("\r\n\n\r\nGET / HTTP/1.1\r\n\r\n", "GET / 1.1 path=/"),
    ("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", "bad tooManyEmptyLines"),
    ("\r\rGET / HTTP/1.1\r\n\r\n", "bad loneCarriageReturn"),
    (
        "POST /a/b?c=d&e HTTP/1.1\nHost: x\nContent-Length: 3\n\nabc",
        "POST /a/b?c=d&e 1.1 path=/a/b query=c=d&e|Host=x(host)|Content-Length=3(contentLength)"
    ),
    ("GET  /   HTTP/1.1  \r\n\r\n", "GET / 1.1 path=/"),
    ("HEAD /x? HTTP/1.1\r\n\r\n", "HEAD /x? 1.1 path=/x query="),
    ("PROPPATCH /x HTTP/1.1\r\n\r\n", "PROPPATCH /x 1.1 path=/x"),
    ("PROPFIND /x HTTP/1.1\r\n\r\n", "PROPFIND /x 1.1 path=/x"),
    ("A-B_C /x HTTP/1.1\r\n\r\n", "A-B_C(other) /x 1.1 path=/x"),
    ("PROPPATCHES /x HTTP/1.1\r\n\r\n", "PROPPATCHES(other) /x 1.1 path=/x"),
    ("get / HTTP/1.1\r\n\r\n", "bad badMethod"),
    ("G\u{0}T / HTTP/1.1\r\n\r\n", "bad badMethod"),
    (" GET / HTTP/1.1\r\n\r\n", "bad badMethod"),
    ("GET\t/ HTTP/1.1\r\n\r\n", "bad badMethod"),
    ("GET\r\n\r\n", "bad badMethod"),
    ("\u{16}\u{3}\u{1}\u{2}", "bad badMethod"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad badTarget"),
    // Paths.
    ("GET /a//b HTTP/1.1\r\n\r\n", "GET /a//b 1.1 path=/a//b complex"),
    ("GET /a/./b HTTP/1.1\r\n\r\n", "GET /a/./b 1.1 path=/a/./b complex"),
    ("GET /a/.. HTTP/1.1\r\n\r\n", "GET /a/.. 1.1 path=/a/.. complex"),
    ("GET /.well-known/x HTTP/1.1\r\n\r\n", "GET /.well-known/x 1.1 path=/.well-known/x complex"),
    ("GET /a.b/c.d HTTP/1.1\r\n\r\n", "GET /a.b/c.d 1.1 path=/a.b/c.d"),
    ("GET /1234567/.b HTTP/1.1\r\n\r\n", "GET /1234567/.b 1.1 path=/1234567/.b complex"),
    ("GET /123456/.b HTTP/1.1\r\n\r\n", "GET /123456/.b 1.1 path=/123456/.b complex"),
    ("GET /12345/78?/. HTTP/1.1\r\n\r\n", "GET /12345/78?/. 1.1 path=/12345/78 query=/."),
    ("GET /123456?//%2e HTTP/1.1\r\n\r\n", "GET /123456?//%2e 1.1 path=/123456 query=//%2e"),
    ("GET /%41 HTTP/1.1\r\n\r\n", "GET /%41 1.1 path=/%41 complex"),
    (
        "GET /a!\"$&'()*+,;=:@[]{}|\\^`~<> HTTP/1.1\r\n\r\n",
        "GET /a!\"$&'()*+,;=:@[]{}|\\^`~<> 1.1 path=/a!\"$&'()*+,;=:@[]{}|\\^`~<>"
    ),
    ("GET /a#b?c HTTP/1.1\r\n\r\n", "GET /a#b?c 1.1 path=/a complex"),
    ("GET /a?b#c?d HTTP/1.1\r\n\r\n", "GET /a?b#c?d 1.1 path=/a query=b complex"),
    ("GET /é?ü=ß HTTP/1.1\r\n\r\n", "GET /é?ü=ß 1.1 path=/é query=ü=ß"),
    ("GET /a\u{7f} HTTP/1.1\r\n\r\n", "bad controlCharacter"),
    ("GET /a\u{1}b HTTP/1.1\r\n\r\n", "bad controlCharacter"),
    ("GET /a?b\tc HTTP/1.1\r\n\r\n", "bad controlCharacter"),
    ("GET /a\u{0}b HTTP/1.1\r\n\r\n", "bad nulByte"),
    ("GET /a?\u{0} HTTP/1.1\r\n\r\n", "bad nulByte"),
    ("GET /a#\u{0} HTTP/1.1\r\n\r\n", "bad nulByte"),
    ("GET a/b HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("GET ?a HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("GET \\a HTTP/1.1\r\n\r\n", "bad badTarget"),
    // Other forms.
    ("OPTIONS * HTTP/1.1\r\n\r\n", "OPTIONS * 1.1 path= asterisk"),
    ("OPTIONS *x HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("GET * HTTP/1.1\r\n\r\n", "bad badTarget"),
    (
        "GET http://h.example/p?q HTTP/1.1\r\n\r\n",
        "GET http://h.example/p?q 1.1 scheme=http authority=h.example path=/p query=q"
    ),
    ("GET HTTPS://h:8443 HTTP/1.1\r\n\r\n", "GET HTTPS://h:8443 1.1 scheme=HTTPS authority=h:8443 path= complex"),
    ("GET http://h:?q HTTP/1.1\r\n\r\n", "GET http://h:?q 1.1 scheme=http authority=h: path= query=q complex"),
    ("GET http://[::1]:80/ HTTP/1.1\r\n\r\n", "GET http://[::1]:80/ 1.1 scheme=http authority=[::1]:80 path=/"),
    ("GET http://[::1/ HTTP/1.1\r\n\r\n", "bad badAuthority"),
    ("GET http:/// HTTP/1.1\r\n\r\n", "bad badAuthority"),
    ("GET http://u@h/ HTTP/1.1\r\n\r\n", "bad badAuthority"),
    ("GET http://a_b/ HTTP/1.1\r\n\r\n", "bad badAuthority"),
    ("GET http://h:80:80/ HTTP/1.1\r\n\r\n", "bad badAuthority"),
    ("GET http:/h/ HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("GET ftp://h/ HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("GET httpx://h/ HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("CONNECT h:443 HTTP/1.1\r\n\r\n", "CONNECT h:443 1.1 authority=h:443 path="),
    ("CONNECT h HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("CONNECT h: HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("CONNECT h:1/ HTTP/1.1\r\n\r\n", "bad badTarget"),
    ("CONNECT [::1]:443 HTTP/1.1\r\n\r\n", "CONNECT [::1]:443 1.1 authority=[::1]:443 path="),
    ("CONNECT @:1 HTTP/1.1\r\n\r\n", "bad badAuthority"),
    // Versions.
    ("GET /\r\n\r\n", "bad missingVersion"),
    ("GET / \n\n", "bad missingVersion"),
    ("GET / HTTP/0.9\r\n\r\n", "bad badVersion"),
    ("GET / HTTP/2.0\r\n\r\n", "bad versionNotSupported"),
    ("GET / HTTP/11.1\r\n\r\n", "bad versionNotSupported"),
    ("GET / HTTP/1.2\r\n\r\n", "GET / 1.1 path=/"),
    ("GET / HTTP/1.10\r\n\r\n", "GET / 1.1 path=/"),
    ("GET / HTTP/1.00\r\n\r\n", "GET / 1.0 path=/"),
    ("GET / HTTP/1.1000\r\n\r\n", "bad badVersion"),
    ("GET / HTTP/1.\r\n\r\n", "bad badVersion"),
    ("GET / HTTP/1.x\r\n\r\n", "bad badVersion"),
    ("GET / HTTP/1.1x\r\n\r\n", "bad badVersion"),
    ("GET / http/1.1\r\n\r\n", "bad badVersion"),
    ("GET / / HTTP/1.1\r\n\r\n", "bad badVersion"),
    ("GET / HTTP/1.1 x\r\n\r\n", "bad badVersion"),
    ("GET / HTTP/1.1\r \n\r\n", "bad loneCarriageReturn"),
    ("GET / HTTP/1.1\u{0}\r\n\r\n", "bad nulByte"),
    // Fields.
    ("GET / HTTP/1.1\r\nA:b\r\n\r\n", "GET / 1.1 path=/|A=b"),
    ("GET / HTTP/1.1\r\nA:\r\nB: \r\nC: \t \r\n\r\n", "GET / 1.1 path=/|A=|B=|C="),
    ("GET / HTTP/1.1\r\nA: \t b \t c\t \r\n\r\n", "GET / 1.1 path=/|A=b \t c"),
    ("GET / HTTP/1.1\r\nA: ~~é~\u{fd}~ÿ~~~~\r\n\r\n", "GET / 1.1 path=/|A=~~é~\u{fd}~ÿ~~~~"),
    ("GET / HTTP/1.1\r\nX_y: 1\r\nx.y: 2\r\nA1-2: 3\r\n\r\n", "GET / 1.1 path=/|X_y=1(underscore)|x.y=2(unusual)|A1-2=3"),
    (
        "GET / HTTP/1.1\r\nContent_Length: 1\r\n!a_: 2\r\n\r\n",
        "GET / 1.1 path=/|Content_Length=1(underscore)|!a_=2(underscore)(unusual)"
    ),
    (
        "GET / HTTP/1.1\r\nhOsT: a\r\nCONTENT-LENGTH: 1\r\ntransfer-Encoding: x\r\nIf-Unmodified-Since: y\r\n\r\n",
        "GET / 1.1 path=/|hOsT=a(host)|CONTENT-LENGTH=1(contentLength)|transfer-Encoding=x(transferEncoding)"
            + "|If-Unmodified-Since=y(ifUnmodifiedSince)"
    ),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET / 1.1 path=/|Host=a(host)|Host=b(host) +hostRepeated"),
    ("GET / HTTP/1.1\r\nConnection: Keep-Alive\r\n\r\n", "GET / 1.1 path=/|Connection=Keep-Alive(connection) +keepAlive"),
    (
        "GET / HTTP/1.1\r\nConnection: ,, x ,\tCLOSE\r\nConnection: upGrade,keep-alive\r\n\r\n",
        "GET / 1.1 path=/|Connection=,, x ,\tCLOSE(connection)|Connection=upGrade,keep-alive(connection)"
            + " +close +keepAlive +upgrade +names"
    ),
    ("GET / HTTP/1.1\r\nConnection: closed, xclose\r\n\r\n", "GET / 1.1 path=/|Connection=closed, xclose(connection) +names"),
    ("GET / HTTP/1.1\r\nConnection: , \t\r\n\r\n", "GET / 1.1 path=/|Connection=,(connection)"),
    ("GET / HTTP/1.1\r\nExpect: 100-Continue\r\n\r\n", "GET / 1.1 path=/|Expect=100-Continue(expect) +continue"),
    ("GET / HTTP/1.1\r\nExpect: 100-continued\r\n\r\n", "GET / 1.1 path=/|Expect=100-continued(expect)"),
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", "bad spaceBeforeColon"),
    ("GET / HTTP/1.1\r\nHost\t: a\r\n\r\n", "bad spaceBeforeColon"),
    ("GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n", "bad obsoleteFold"),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", "bad obsoleteFold"),
    ("GET / HTTP/1.1\r\nHost: a\r\n\tb\r\n\r\n", "bad obsoleteFold"),
    ("GET / HTTP/1.1\r\n: a\r\n\r\n", "bad emptyFieldName"),
    ("GET / HTTP/1.1\r\nHost\r\n\r\n", "bad missingColon"),
    ("GET / HTTP/1.1\r\nHost\n\n", "bad missingColon"),
    ("GET / HTTP/1.1\r\nHo\u{0}st: a\r\n\r\n", "bad nulByte"),
    ("GET / HTTP/1.1\r\nHo\u{2}st: a\r\n\r\n", "bad controlCharacter"),
    ("GET / HTTP/1.1\r\nHo\u{7f}st: a\r\n\r\n", "bad controlCharacter"),
    ("GET / HTTP/1.1\r\nContent\rType: a\r\n\r\n", "bad missingColon"),
    ("GET / HTTP/1.1\r\nHTTP\u{12}-Settings: a\r\n\r\n", "bad controlCharacter"),
    ("GET / HTTP/1.1\r\nHo(st: a\r\n\r\n", "bad badFieldName"),
    ("GET / HTTP/1.1\r\nHö: a\r\n\r\n", "bad badFieldName"),
    ("GET / HTTP/1.1\r\nContent\rLength: a\r\n\r\n", "bad missingColon"),
    ("GET / HTTP/1.1\r\nA: b\u{0}c\r\n\r\n", "bad nulByte"),
    ("GET / HTTP/1.1\r\nA: b\u{1f}c\r\n\r\n", "bad controlCharacter"),
    ("GET / HTTP/1.1\r\nA: b\u{7f}\r\n\r\n", "bad controlCharacter"),
    ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "bad loneCarriageReturn"),
    ("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", "bad loneCarriageReturn"),
    ("GET / HTTP/1.1\r\nA: b\r\n\rx", "bad loneCarriageReturn"),
    ("GET / HTTP/1.1\r\n\u{0}", "bad nulByte"),
    ("GET / HTTP/1.1\r\nA: b\r\n", "needMore"),
    ("GET / HTTP/1.1", "needMore"),
    ("", "needMore"),
    ("\r\n\r\n", "needMore"),
]

@Suite struct RequestHeadTests {
    @Test(arguments: cases)
    func isParsedWholeInPartsAndAgainstUnreadablePages(_ input: String, _ expected: String) {
        let bytes = Array(input.utf8)
        #expect(request(bytes.span).description == expected)
        #expect(differences(bytes) { request($0, seen: $1) } == [])
    }

    @Test func whatFollowsTheHeadIsNotConsumed() {
        let head = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        for rest in ["", "x", "GET / HTTP/1.1\r\n\r\n", "\r\n\r\n", "\u{0}"] {
            guard case .head(_, let bytes) = request(Array((head + rest).utf8).span) else {
                Issue.record("no head before \(rest)")
                continue
            }
            #expect(bytes == head.utf8.count)
        }
    }

    @Test func moreFieldsThanTheRoomIsABadHead() {
        let lines = String(repeating: "A: b\r\n", count: 4)
        let bytes = Array("GET / HTTP/1.1\r\n\(lines)\r\n".utf8)
        #expect(request(bytes.span, fieldsMax: 3) == .bad(.tooManyFields))
        #expect(request(bytes.span, fieldsMax: 4) != .bad(.tooManyFields))
        #expect(differences(bytes) { request($0, seen: $1, fieldsMax: 3) } == [])
        #expect(BadHead.tooManyFields.status == 431)
    }

    @Test func needMoreSaysWhetherTheRequestLineIsComplete() {
        let bytes = Array("\r\n\nGET /abcdefgh HTTP/1.1\r\nHost: a\r\n".utf8)
        let lineEnd = 27
        var storage = [HeaderField](repeating: HeaderField(), count: 4)
        var head = RequestHead()
        for count in 0...bytes.count {
            for seen in 0...count {
                var fields = storage.mutableSpan
                let expected = RequestHeadResult.needMore(requestLineComplete: count >= lineEnd)
                for lineSeen in [nil, seen >= lineEnd] {
                    let result = bytes.span.extracting(0..<count).withUnsafeBufferPointer {
                        parseRequestHead($0.span, seen: seen, lineSeen: lineSeen, fields: &fields, head: &head)
                    }
                    #expect(result == expected, "\(count) \(seen)")
                }
            }
        }
    }

    @Test func aFaultIsFoundBeforeTheEndOfTheHead() {
        // Not on the byte, but when the count next passes a power of two.
        let good = Array("GET / HTTP/1.1\r\nHost: a\r\n".utf8)
        var bytes = good + Array("bad line\r\n".utf8)
        #expect(request(bytes.span, seen: good.count) == .bad(.spaceBeforeColon))
        bytes = good + Array("x y".utf8)
        #expect(request(bytes.span, seen: good.count) == .needMore)
    }

    @Test func everyKnownNameIsRecognisedInAnyCase() {
        for name in HeaderName.allCases where name != .other {
            for spelled in ["\(name.lowercased)", "\(name.lowercased)".uppercased()] {
                for changed in [spelled, spelled + "x", "x" + spelled, String(spelled.dropLast()) + "~"] {
                    let bytes = Array("\(changed): 1\r\n\r\n".utf8)
                    var storage = [HeaderField](repeating: HeaderField(), count: 1)
                    var fields = storage.mutableSpan
                    _ = parseTrailerFields(bytes.span, fields: &fields)
                    let known = fields[0].known
                    #expect((known == name) == (changed == spelled), "\(changed)")
                }
            }
        }
    }

    @Test func methodsKnowTheirNamesAndNature() {
        for method in Method.allCases where method != .other {
            let target = method == .connect ? "a:1" : "/"
            var storage = [HeaderField](repeating: HeaderField(), count: 1)
            var fields = storage.mutableSpan
            var head = RequestHead()
            let bytes = Array("\(method.word) \(target) HTTP/1.1\r\n\r\n".utf8)
            #expect(parseRequestHead(bytes.span, seen: 0, fields: &fields, head: &head) == .head)
            #expect(head.method == method)
        }
        #expect(Method.allCases.filter { $0.isSafe } == [.get, .head, .options, .trace, .propfind])
        #expect(Method.allCases.filter { !$0.isIdempotent } == [.other, .post, .patch, .connect, .lock])
    }

    @Test func everyReasonHasItsOwnWord() {
        #expect(Set(BadHead.allCases.map { "\($0.word)" }).count == BadHead.allCases.count)
        #expect(BadHead.allCases.allSatisfy { [400, 414, 431, 501, 505].contains($0.status) })
    }
}
