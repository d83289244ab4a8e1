// Owns the header of the PROXY protocol: both versions, whole and cut at every byte, what is refused, and the values behind the addresses.

import HTTPMessage
import Testing

@Suite struct ProxyProtocolTests {
    static let signature: [UInt8] = Array("\r\n\r\n\0\r\nQUIT\n".utf8)

    /// A header of version 2 around its addresses and values.
    static func version2(_ command: UInt8, _ family: UInt8, _ rest: [UInt8], length: Int? = nil) -> [UInt8] {
        let length = length ?? rest.count
        let fixed: [UInt8] = [command, family, UInt8(length >> 8), UInt8(length & 255)]
        return signature + fixed + rest
    }

    static let four: [UInt8] = [192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 22, 46]
    static let six: [UInt8] = [
        0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 123, 22, 46,
    ]

    static func text(_ e: IPEndpoint) -> String {
        func byte(_ i: Int) -> UInt8 {
            let half = i < 8 ? e.address.high : e.address.low
            return UInt8(truncatingIfNeeded: half >> UInt64(8 * (i % 8)))
        }
        if e.address.isIPv6 { return "\(byte(0)).\(byte(1))..\(byte(15)) \(e.port)" }
        return "\(byte(0)).\(byte(1)).\(byte(2)).\(byte(3)) \(e.port)"
    }

    static func parse(_ bytes: Span<UInt8>) -> ProxyHeaderResult { parseProxyHeader(bytes, bytesMax: 4096) }

    /// `source:port destination:port`, the bytes of the header and of the values, in words.
    static func words(_ bytes: [UInt8]) -> String {
        switch parse(bytes.span) {
        case .needMore: return "needs more"
        case .bad(let fault): return "\(fault)"
        case .header(let header):
            guard let a = header.addresses else { return "\(header.byteCount) unknown" }
            return "\(header.byteCount) \(text(a.source)) \(text(a.destination))" + (header.values.isEmpty ? "" : " \(header.values.length)")
        }
    }

    static let whole: [(bytes: [UInt8], words: String)] = [
        (Array("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n".utf8), "41 192.0.2.1 123 192.0.2.2 5678"),
        (Array("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n".utf8), "44 0.0.0.0 0 255.255.255.255 65535"),
        (Array("PROXY TCP6 2001:Db8::1 2001:Db8::2 123 5678\r\n".utf8), "45 32.1..1 123 32.1..2 5678"),
        (Array("PROXY UNKNOWN\r\n".utf8), "15 unknown"),
        (Array("PROXY UNKNOWN 1 2 3 4 5 6\r\n".utf8), "27 unknown"),
        (Array("PROXY UNKNOWN \(String(repeating: "f", count: 91))\r\n".utf8), "107 unknown"),
        (version2(0x21, 0x11, four), "28 192.0.2.1 123 192.0.2.2 5678"),
        (version2(0x21, 0x11, four + [1, 0, 1, 65]), "32 192.0.2.1 123 192.0.2.2 5678 4"),
        (version2(0x21, 0x21, six), "52 32.1..1 123 32.1..2 5678"),
        // LOCAL: whatever else it says.
        (version2(0x20, 0x00, []), "16 unknown"), (version2(0x20, 0x11, four), "28 unknown"),
        // Unspecified, datagrams, unix sockets and families that are none.
        (version2(0x21, 0x00, []), "16 unknown"), (version2(0x21, 0x01, []), "16 unknown"), (version2(0x21, 0x12, four), "28 unknown"),
        (version2(0x21, 0x31, [UInt8](repeating: 47, count: 216)), "232 unknown"), (version2(0x21, 0x41, [1, 2, 3, 4]), "20 unknown"),
    ]

    @Test func wholeHeaders() {
        for (bytes, words) in Self.whole {
            #expect(Self.words(bytes) == words)
            // What follows is not looked at, be it HTTP, TLS or another header.
            for rest in [Array("GET / HTTP/1.1\r\n".utf8), [0x16, 3, 1], bytes, [0x0A]] { #expect(Self.words(bytes + rest) == words) }
        }
    }

    @Test func everyCutNeedsMore() {
        let memory = GuardedMemory()
        for (bytes, _) in Self.whole {
            for end in 0..<bytes.count {
                #expect(memory.atEnd(bytes[..<end]) { Self.parse($0) } == .needMore, "\(bytes[..<end])")
            }
            #expect(memory.atEnd(bytes) { Self.parse($0) } == Self.parse(bytes.span))
        }
    }

    @Test(
        "refused lines",
        arguments: [
            "GET / HTTP/1.1\r\n", "proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY\r\n", "PROXY \r\n", "PROXY TCP4\r\n", "PROXY TCP4 \r\n",
            "PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n",
            "PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 1 65536\r\n", "PROXY TCP4 192.0.2.1 192.0.2.2 -1 2\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", "PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n", "PROXY TCP6 ::1 192.0.2.2 1 2\r\n", "PROXY TCP4 a b 1 2\r\n", "PROXY UNKNOWN\n", "\r\n\r\n\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 000001 2\r\n", "\r\n\r\nGET / HTTP/1.1\r\n", "\u{16}\u{3}\u{1}",
        ])
    func refused(line: String) {
        let bytes = Array(line.utf8)
        #expect(Self.words(bytes) == "broken")
        // However it comes, it is refused no later, and never taken.
        for end in 0..<bytes.count {
            let words = Self.words(Array(bytes[..<end]))
            #expect(words == "needs more" || words == "broken", "\(words)")
        }
    }

    @Test func aLineThatDoesNotEndIsRefused() {
        let line = Array(("PROXY UNKNOWN " + String(repeating: "f", count: 200)).utf8)
        #expect(Self.words(Array(line[..<106])) == "needs more")
        #expect(Self.words(Array(line[..<107])) == "broken")
        #expect(Self.words(Array(line[..<106]) + [0x0D, 0x0A]) == "broken")
    }

    @Test func refusedBinaryHeaders() {
        #expect(Self.words(Self.version2(0x11, 0x11, Self.four)) == "unknownVersion(1)")
        #expect(Self.words(Self.version2(0x31, 0x11, Self.four)) == "unknownVersion(3)")
        #expect(Self.words(Self.version2(0x22, 0x11, Self.four)) == "unknownCommand(2)")
        #expect(Self.words(Self.version2(0x21, 0x11, Array(Self.four.dropLast()))) == "truncated")
        #expect(Self.words(Self.version2(0x21, 0x21, Self.four)) == "truncated")
        #expect(Self.words(Self.version2(0x21, 0x11, [], length: 4081)) == "tooLarge")
        #expect(Self.words(Self.version2(0x21, 0x11, [], length: 4080)) == "needs more")
        #expect(Self.words(Self.version2(0x20, 0x00, [], length: 65535)) == "tooLarge")
    }

    // MARK: Values

    static func value(_ type: UInt8, _ bytes: [UInt8]) -> [UInt8] {
        let fixed: [UInt8] = [type, UInt8(bytes.count >> 8), UInt8(bytes.count & 255)]
        return fixed + bytes
    }
    static func value(_ type: UInt8, _ text: String) -> [UInt8] { value(type, Array(text.utf8)) }
    static let tls: [[UInt8]] = [value(0x21, "TLSv1.2"), value(0x22, "example.com"), value(0x25, "RSA512")]
    static let values: [UInt8] = [
        value(0x01, "h2"), value(0x02, "localhost"), value(0x20, [1, 0, 0, 1, 255] + Array(tls.joined())), value(0x04, ""), value(0xAE, "12345"),
        value(0xAE, "again"),
    ].flatMap(\.self)

    static func find(_ name: String, in values: [UInt8] = values) -> String {
        let name = Array(name.utf8)
        switch proxyValue(name.span, in: values.span) {
        case .bytes(let range): return String(decoding: values[range.first..<range.end], as: UTF8.self)
        case .number(let n): return "\(n)"
        case let other: return "\(other)"
        }
    }

    @Test(
        "values by name",
        arguments: [
            ("alpn", "h2"), ("0x01", "h2"), ("0x1", "h2"), ("0x0001", "h2"), ("authority", "localhost"), ("unique_id", "absent"), ("netns", "absent"),
            ("0x04", ""), ("0xae", "12345"), ("0x000ae", "12345"), ("0x000e", "absent"), ("ssl_version", "TLSv1.2"), ("ssl_cn", "example.com"),
            ("ssl_0x22", "example.com"), ("ssl_cipher", "absent"), ("ssl_key_alg", "RSA512"), ("ssl_verify", "511"), ("ssl_nothing", "unknownName"),
            ("ssl_", "unknownName"), ("", "unknownName"), ("0x", "unknownName"), ("0x100", "unknownName"), ("0xg", "unknownName"),
            ("ssl_alpn", "unknownName"), ("version", "unknownName"), ("crc32c", "unknownName"),
        ])
    func named(name: String, wanted: String) { #expect(Self.find(name) == wanted) }

    @Test func noValuesAreNothing() {
        for name in ["alpn", "ssl", "ssl_version", "ssl_verify", "0xff"] { #expect(Self.find(name, in: []) == "absent") }
    }

    /// Cut anywhere, a value is found whole, or it is told that they are broken, or those that are left end before it.
    @Test func brokenValuesAreTold() {
        let names = ["alpn", "authority", "0xae", "ssl_cn", "ssl_verify", "0xfe"]
        for end in 0..<Self.values.count {
            let cut = Array(Self.values[..<end])
            for name in names {
                let found = Self.find(name, in: cut)
                #expect(found == Self.find(name) || found == "broken" || found == "absent", "\(name) at \(end): \(found)")
            }
        }
        #expect(Self.find("0xfe", in: [1, 0, 9, 1]) == "broken")
        #expect(Self.find("ssl_verify", in: Self.value(0x20, [1, 0, 0])) == "broken")
        #expect(Self.find("ssl_cn", in: Self.value(0x20, [1, 0, 0, 0, 0, 0x22, 0, 9, 1])) == "broken")
    }
}
