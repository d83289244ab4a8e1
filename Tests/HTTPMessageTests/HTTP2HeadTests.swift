// Owns the turning of HTTP/2 fields into the text of a head, and of an answer's head into fields.

import Bytes
import HTTPMessage
import Testing

/// Feeds `fields` to a builder; the text of the head, or what is wrong with it.
private func head(_ fields: [(String, String)], list: Int = 4096, field: Int = 2048) -> String {
    let memory = (0..<4).map { _ in UnsafeMutableBufferPointer<UInt8>.allocate(capacity: 8192) }
    defer { for m in memory { m.deallocate() } }
    func writer(_ i: Int) -> ByteWriter { ByteWriter(memory[i].baseAddress!, capacity: memory[i].count) }
    var builder = FieldsToHead(lines: writer(0), pseudo: writer(1), cookies: writer(2))
    var result = ""
    // What one request leaves behind must not show in the next.
    for _ in 0..<2 {
        builder.begin(listBytesMax: list, fieldBytesMax: field)
        for (name, value) in fields {
            var (name, value) = (name, value)
            name.withUTF8 { n in
                value.withUTF8 { v in builder.add(ByteView(n.baseAddress!, n.count), ByteView(v.baseAddress!, v.count)) }
            }
        }
        builder.end()
        var w = writer(3)
        builder.write(to: &w)
        if builder.isTooLarge {
            result = "too large"
        } else if let fault = builder.fault {
            result = "\(fault)"
        } else {
            result = String(decoding: w.view.buffer, as: UTF8.self)
            #expect(w.count <= builder.headBytesMax)
        }
    }
    return result
}

private let get = [(":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "h:1")]
private func get(without name: String) -> [(String, String)] { get.filter { $0.0 != name } }

private let cases: [(name: String, fields: [(String, String)], wanted: String)] = [
    ("a plain one", get + [("accept", "*/*"), ("x-empty", "")], "GET /a?b HTTP/2.0\r\nhost: h:1\r\naccept: */*\r\nx-empty: \r\n\r\n"),
    ("pseudo-headers in any order", get.reversed(), "GET /a?b HTTP/2.0\r\nhost: h:1\r\n\r\n"),
    ("crumbs of a cookie", get + [("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")],
     "GET /a?b HTTP/2.0\r\nhost: h:1\r\nx: y\r\ncookie: a=1; b=2\r\n\r\n"),
    ("a host in place of the authority", get(without: ":authority") + [("host", "x")], "GET /a?b HTTP/2.0\r\nhost: x\r\n\r\n"),
    ("a host that is the authority", get + [("host", "h:1")], "GET /a?b HTTP/2.0\r\nhost: h:1\r\n\r\n"),
    ("a host that is not", get + [("host", "h")], "hostNotAuthority"),
    ("two hosts beside the authority", get + [("host", "h:1"), ("host", "h:1")], "hostNotAuthority"),
    ("every server", [(":method", "OPTIONS"), (":scheme", "http"), (":path", "*"), (":authority", "h")],
     "OPTIONS * HTTP/2.0\r\nhost: h\r\n\r\n"),
    ("CONNECT", [(":method", "CONNECT"), (":authority", "h:9")], "CONNECT h:9 HTTP/2.0\r\nhost: h:9\r\n\r\n"),
    ("CONNECT without a port", [(":method", "CONNECT"), (":authority", "h")], "CONNECT h:443 HTTP/2.0\r\nhost: h\r\n\r\n"),
    ("trailers are welcome", get + [("te", " Trailers ")], "GET /a?b HTTP/2.0\r\nhost: h:1\r\nte:  Trailers \r\n\r\n"),
    ("no method", get(without: ":method"), "missingPseudoField"),
    ("no scheme", get(without: ":scheme"), "missingPseudoField"),
    ("no path", get(without: ":path"), "missingPseudoField"),
    ("no path but CONNECT", [(":method", "CONNECT"), (":path", "/")], "missingPseudoField"),
    ("an empty method", get(without: ":method") + [(":method", "")], "badMethod"),
    ("an empty scheme", get(without: ":scheme") + [(":scheme", "")], "badTarget"),
    ("an empty path", get(without: ":path") + [(":path", "")], "badTarget"),
    ("a path that is none", get(without: ":path") + [(":path", "a")], "badTarget"),
    ("an absolute path", get(without: ":path") + [(":path", "http://h/")], "badTarget"),
    ("a blank in a path", get(without: ":path") + [(":path", "/a b")], "badTarget"),
    ("a line in a path", get(without: ":path") + [(":path", "/ HTTP/1.1\r\nx: y")], "badTarget"),
    ("a line in a method", get(without: ":method") + [(":method", "GET / HTTP/1.1\r\n")], "badMethod"),
    ("a line in an authority", get(without: ":authority") + [(":authority", "h\r\nx: y")], "badHost"),
    ("an unknown one", get + [(":protocol", "websocket")], "unknownPseudoField"),
    ("a status in a request", get + [(":status", "200")], "unknownPseudoField"),
    ("one twice", get + [(":path", "/b")], "misplacedPseudoField"),
    ("one behind a field", [("x", "y")] + get, "misplacedPseudoField"),
    ("capitals", get + [("X-A", "b")], "badFieldName"),
    ("an empty name", get + [("", "b")], "badFieldName"),
    ("a colon in a name", get + [("a:b", "c")], "badFieldName"),
    ("a blank in a name", get + [("a b", "c")], "badFieldName"),
    ("a line in a name", get + [("a\r\nb", "c")], "badFieldName"),
    ("a line in a value", get + [("a", "b\r\nc: d")], "loneCarriageReturn"),
    ("a line feed in a long value", get + [("a", "12345678\n")], "controlCharacter"),
    ("a zero byte", get + [("a", "b\0")], "nulByte"),
    ("Connection", get + [("connection", "close")], "connectionField"),
    ("Keep-Alive", get + [("keep-alive", "5")], "connectionField"),
    ("Proxy-Connection", get + [("proxy-connection", "x")], "connectionField"),
    ("Transfer-Encoding", get + [("transfer-encoding", "chunked")], "connectionField"),
    ("Upgrade", get + [("upgrade", "h2c")], "connectionField"),
    ("TE", get + [("te", "gzip")], "connectionField"),
]

@Suite("HTTP/2 fields and heads")
struct HTTP2HeadTests {
    @Test("requests", arguments: cases.indices)
    func requests(i: Int) { #expect(head(cases[i].fields) == cases[i].wanted, "\(cases[i].name)") }

    @Test func sizesAreBounded() {
        // The names and values of these come to 48.
        let fields = get + [("x", "12345")]
        let size = fields.reduce(0) { $0 + $1.0.utf8.count + $1.1.utf8.count }
        #expect(head(fields, list: size).hasPrefix("GET"))
        #expect(head(fields, list: size - 1) == "too large")
        #expect(head(get + [("x", "1234567890123")], field: 12) == "too large")
        #expect(head(get + [("x234567890123", "")], field: 12) == "too large")
    }

    /// What this text is, the parser of all heads finds again.
    @Test func theParserReadsThem() {
        let bytes = Array(head(get + [("content-length", "3")]).utf8)
        var fields = [HeaderField](repeating: HeaderField(), count: 8)
        var list = fields.mutableSpan
        var found = RequestHead()
        #expect(parseRequestHead(bytes.span, seen: 0, isHTTP2: true, fields: &list, head: &found) == .head)
        #expect(found.versionMinor == 1 && found.fields.contentLengthIndex == 1 && found.headBytes == bytes.count)
        #expect(parseRequestHead(bytes.span, seen: 0, fields: &list, head: &found) == .bad(.versionNotSupported))
    }

    private func places(_ text: String, max: Int = 16) -> [String] {
        var bytes = Array(text.utf8)
        var places = [FieldPlace](repeating: FieldPlace(), count: max)
        var span = bytes.mutableSpan
        var list = places.mutableSpan
        let count = fieldPlaces(&span, from: 0, into: &list)
        return places.prefix(count).map { place in
            String(decoding: bytes[place.name.first..<place.name.end], as: UTF8.self) + "="
                + String(decoding: bytes[place.value.first..<place.value.end], as: UTF8.self)
        }
    }

    @Test func answersAreTakenApart() {
        #expect(places("Server: a\r\nContent-Type: Text/HTML\r\nX-B:c:D\r\nEmpty: \r\n\r\n") == ["server=a", "content-type=Text/HTML", "x-b=c:D", "empty="])
        #expect(places("A:  b \t\r\nC: d") == ["a=b", "c=d"])
        #expect(
            places(
                "Connection: close\r\nKeep-Alive: timeout=5\r\nProxy-Connection: x\r\nTransfer-Encoding: chunked\r\nUpgrade: h2\r\nUpgraded: no\r\n\r\n")
                == ["upgraded=no"])
        #expect(places("no colon\r\n: no name\r\nA: b\r\n\r\n") == ["a=b"])
        #expect(places("A: 1\r\nB: 2\r\nC: 3\r\n", max: 2) == ["a=1", "b=2"])
        #expect(places("") == [])
    }

    /// Names are looked at eight bytes at a time: every length, at every place, with what lies just beside the letters.
    @Test func namesAreLoweredWhereverTheyLie() {
        let edges = "@AZ[`az{-_09\u{7F}"
        for length in 1...20 {
            let name = String((0..<length).map { Array(edges)[($0 * 5 + length) % edges.count] })
            for lead in 0...8 {
                let before = String(repeating: "l", count: lead) + ": V\r\n"
                let found = places((lead > 0 ? before : "") + name + ":Value: OF\r\nNo Colon\r\nLast: X")
                #expect(found == (lead > 0 ? [String(repeating: "l", count: lead) + "=V"] : []) + [name.lowercased() + "=Value: OF", "last=X"])
            }
        }
    }

    @Test func whatIsNoNameIsToldWhereverItLies() {
        for length in 1...20 {
            for place in 0..<length {
                func text(_ wrong: String) -> String { String(repeating: "x", count: place) + wrong + String(repeating: "-", count: length - place - 1) }
                for wrong in ["A", "Z", "[", "@", "{", " ", "\u{7F}", "é"] { #expect(head(get + [(text(wrong), "v")]) == "badFieldName") }
                #expect(head(get + [(text("z"), "v")]).hasSuffix("\(text("z")): v\r\n\r\n"))
                let path = [(":method", "GET"), (":scheme", "https"), (":authority", "h")]
                for wrong in [" ", "\t", "\u{7F}", "\0"] { #expect(head(path + [(":path", "/" + text(wrong))]) == "badTarget") }
                for good in ["!", "~", "é"] { #expect(head(path + [(":path", "/" + text(good))]).hasPrefix("GET /\(text(good)) ")) }
            }
        }
    }
}
