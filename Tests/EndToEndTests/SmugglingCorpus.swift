// Owns the corpus of requests that two parsers could read in two ways, and what the proxy must make of each.
// Used by SmugglingTests. Every line is a way that a proxy and a server were once led apart.

/// A request that must be refused before an upstream hears of it.
struct RefusedRequest: Sendable {
    let name: String
    let bytes: String
    let statuses: Set<Int>

    init(_ name: String, _ statuses: Set<Int>, _ bytes: String) {
        self.name = name
        self.bytes = bytes
        self.statuses = statuses
    }

    /// A POST with these field lines.
    static func post(_ name: String, _ statuses: Set<Int>, _ fields: String..., body: String = "0\r\n\r\n") -> Self {
        Self(name, statuses, "POST / HTTP/1.1\r\nHost: a\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n" + body)
    }

    /// A chunked POST with this body.
    static func chunked(_ name: String, _ body: String) -> Self {
        post(name, [400], "Transfer-Encoding: chunked", body: body)
    }

    /// A GET with these field lines after Host.
    static func get(_ name: String, _ statuses: Set<Int>, _ fields: String...) -> Self {
        Self(name, statuses, "GET / HTTP/1.1\r\nHost: a\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n")
    }

    static func line(_ name: String, _ statuses: Set<Int>, _ line: String) -> Self {
        Self(name, statuses, line + "\r\nHost: a\r\n\r\n")
    }
}

enum SmugglingCorpus {
    static let lengths: [RefusedRequest] = [
        .post("length and chunked", [400], "Content-Length: 4", "Transfer-Encoding: chunked"),
        .post("chunked and length", [400], "Transfer-Encoding: chunked", "Content-Length: 4"),
        .post("two lengths", [400], "Content-Length: 4", "Content-Length: 5", body: "abcde"),
        .post("a length twice", [400], "Content-Length: 4", "Content-Length: 4", body: "abcd"),
        .post("a list of lengths", [400], "Content-Length: 4, 4", body: "abcd"),
        .post("a length with a sign", [400], "Content-Length: +4", body: "abcd"),
        .post("a negative length", [400], "Content-Length: -4", body: "abcd"),
        .post("a hexadecimal length", [400], "Content-Length: 0x4", body: "abcd"),
        .post("an empty length", [400], "Content-Length:", body: "abcd"),
        .post("a length with a space inside", [400], "Content-Length: 1 0", body: "abcd"),
        .post("a length with a point", [400], "Content-Length: 4.0", body: "abcd"),
        .post("a length beyond 64 bits", [400, 413], "Content-Length: 99999999999999999999", body: "abcd"),
        .post("a length that wraps to 4", [400, 413], "Content-Length: 18446744073709551620", body: "abcd"),
        .post("a length beyond the limit", [413], "Content-Length: 999999999999", body: "abcd"),
        .post("a space before the colon", [400], "Content-Length : 4", body: "abcd"),
    ]

    static let encodings: [RefusedRequest] = [
        .post("gzip", [400, 501], "Transfer-Encoding: gzip"),
        .post("gzip, chunked", [400, 501], "Transfer-Encoding: gzip, chunked"),
        .post("chunked, gzip", [400, 501], "Transfer-Encoding: chunked, gzip"),
        .post("chunked, chunked", [400, 501], "Transfer-Encoding: chunked, chunked"),
        .post("chunked twice", [400, 501], "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        .post("chunked and identity", [400, 501], "Transfer-Encoding: chunked", "Transfer-Encoding: identity"),
        .post("xchunked", [400, 501], "Transfer-Encoding: xchunked"),
        .post("chunkedx", [400, 501], "Transfer-Encoding: chunkedx"),
        .post("quoted", [400, 501], "Transfer-Encoding: \"chunked\""),
        .post("identity", [400, 501], "Transfer-Encoding: identity"),
        .post("empty", [400, 501], "Transfer-Encoding:"),
        .post("a vertical tab before", [400, 501], "Transfer-Encoding: \u{0B}chunked"),
        .post("a space before the colon", [400], "Transfer-Encoding : chunked"),
        .post("folded", [400, 501], "Transfer-Encoding:", " chunked"),
        RefusedRequest("in HTTP/1.0", [400, 501], "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ]

    static let chunks: [RefusedRequest] = [
        .chunked("not a number", "zz\r\nabc\r\n0\r\n\r\n"),
        .chunked("a negative size", "-1\r\nabc\r\n0\r\n\r\n"),
        .chunked("a size with a sign", "+3\r\nabc\r\n0\r\n\r\n"),
        .chunked("a size with 0x", "0x3\r\nabc\r\n0\r\n\r\n"),
        .chunked("a size beyond 64 bits", "ffffffffffffffffff\r\nabc\r\n0\r\n\r\n"),
        .chunked("a size that wraps to 3", "10000000000000003\r\nabc\r\n0\r\n\r\n"),
        .chunked("no size", "\r\nabc\r\n0\r\n\r\n"),
        .chunked("data longer than its size", "3\r\nabcX\r\n0\r\n\r\n"),
        .chunked("bare carriage returns", "3\rabc\r0\r\r"),
        .chunked("a bare carriage return after the data", "3\r\nabc\r0\r\n\r\n"),
    ]

    static let fields: [RefusedRequest] = [
        RefusedRequest("no Host", [400], "GET / HTTP/1.1\r\n\r\n"),
        .get("two Hosts", [400], "Host: b"),
        RefusedRequest("a Host with a slash", [400], "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        RefusedRequest("a Host with NUL", [400], "GET / HTTP/1.1\r\nHost: a\0b\r\n\r\n"),
        .get("NUL in a value", [400], "X: a\0b"),
        .get("a bare carriage return in a value", [400], "X: a\rTransfer-Encoding: chunked"),
        .get("a folded line", [400], "X: a", " b"),
        RefusedRequest("a first line that is folded", [400], "GET / HTTP/1.1\r\n X: y\r\nHost: a\r\n\r\n"),
        .get("an empty name", [400], ": x"),
        .get("a space in a name", [400], "X Y: x"),
        .get("a control character in a name", [400], "X\u{01}Y: x"),
        .get("a field of 40 KB", [400, 431], "X: " + String(repeating: "a", count: 40_000)),
        RefusedRequest(
            "fields of 80 KB", [400, 431],
            "GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: aaaaaaaaaaaaaaaaaaaaaa\r\n", count: 3000) + "\r\n"),
    ]

    static let lines: [RefusedRequest] = [
        .line("HTTP/2.0", [400, 505], "GET / HTTP/2.0"),
        .line("HTTP/9.1", [400, 505], "GET / HTTP/9.1"),
        .line("no minor version", [400], "GET / HTTP/1."),
        .line("http in lower case", [400], "GET / http/1.1"),
        .line("a method in lower case", [400], "get / HTTP/1.1"),
        .line("a control character in the target", [400], "GET /\u{01} HTTP/1.1"),
        .line("a space in the target", [400], "GET /a b HTTP/1.1"),
        .line("an escaped NUL", [400], "GET /%00 HTTP/1.1"),
        .line("a broken escape", [400], "GET /%zz HTTP/1.1"),
        .line("above the root", [400], "GET /../x HTTP/1.1"),
        .line("above the root, escaped", [400], "GET /%2e%2e/x HTTP/1.1"),
        .line("no slash", [400], "GET x HTTP/1.1"),
        .line("CONNECT", [400, 405], "CONNECT a:80 HTTP/1.1"),
        .line("TRACE", [405], "TRACE / HTTP/1.1"),
        .line("a target of 40 KB", [414], "GET /" + String(repeating: "a", count: 40_000) + " HTTP/1.1"),
        .line("a bare carriage return in the line", [400], "GET / HTTP/1.1\rX: y"),
        RefusedRequest(
            "a TLS hello", [400], "\u{16}\u{03}\u{01}\u{02}\0\u{01}\0\u{01}\u{7c}\u{03}\u{03}" + String(repeating: "x", count: 50)
        ),
    ]
}
