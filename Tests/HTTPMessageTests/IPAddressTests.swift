// Owns addresses in digits: what is one and what is not, with ports, and in lists. The system's own inet_pton is the judge where it can be.

import Glibc
import HTTPMessage
import Testing

@Suite struct IPAddressTests {
    static func parsed(_ text: String) -> IPAddress? {
        let bytes = Array(text.utf8)
        return parseIPAddress(bytes.span)
    }

    /// What inet_pton makes of it.
    static func judged(_ text: String) -> IPAddress? {
        for (family, count) in [(AF_INET, 4), (AF_INET6, 16)] {
            var bytes = [UInt8](repeating: 0, count: 16)
            guard inet_pton(family, text, &bytes) == 1 else { continue }
            return IPAddress(isIPv6: count == 16, in: bytes.span, at: 0)
        }
        return nil
    }

    static let texts = [
        "192.0.2.1", "0.0.0.0", "255.255.255.255", "1.2.3.4", "256.0.0.1", "1.2.3", "1.2.3.4.5", "1..2.3", ".1.2.3", "1.2.3.", "01.2.3.4",
        "1.2.3.04", "0.0.0.00", "1.2.3.a", "1.2.3.-4", "", " ", "1", "::", "::1", "1::", "2001:db8::1", "2001:Db8:0:0:0:0:0:1", "1:2:3:4:5:6:7:8",
        "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "1::2:3:4:5:6:7:8", "1::3::5", ":", ":1", "1:", ":::",
        "::ffff:192.0.2.1", "::192.0.2.1", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::256.1.1.1", "::1.2.3.4:5", "12345::",
        "g::", "::%eth0", "fe80::1%lo", "[::1]", "abcd:ef01:2345:6789:abcd:ef01:2345:6789", "ABCD::EF", "1.2.3.4:80", "::ffff:1.2.3.4.5",
        "1:2:3:4::5:6:7:8", "0:0:0:0:0:0:0:0", "00001::", "::0000:1",
    ]

    @Test func allOfATextIsAnAddressOrNot() {
        for text in Self.texts { #expect(Self.parsed(text) == Self.judged(text), "\(text)") }
    }

    @Test func everyPartOfATextIsJudgedAlike() {
        for text in Self.texts {
            for end in 0..<text.utf8.count {
                let part = String(decoding: Array(text.utf8)[..<end], as: UTF8.self)
                #expect(Self.parsed(part) == Self.judged(part), "\(part)")
            }
        }
    }

    @Test func nothingOutsideOfATextIsRead() {
        let memory = GuardedMemory()
        for text in Self.texts {
            #expect(memory.atEnd(Array(text.utf8)) { parseIPAddress($0) } == Self.parsed(text))
            let endpoint = memory.atEnd(Array(text.utf8)) { parseIPEndpoint($0) }
            #expect(memory.atStart(Array(text.utf8)) { parseIPEndpoint($0) } == endpoint)
        }
    }

    @Test(
        "with a port",
        arguments: [
            ("192.0.2.1", "192.0.2.1", 0), ("192.0.2.1:80", "192.0.2.1", 80), ("192.0.2.1:65535", "192.0.2.1", 65535),
            ("2001:db8::1", "2001:db8::1", 0), ("[2001:db8::1]:443", "2001:db8::1", 443), ("2001:db8::1:443", "2001:db8::1:443", 0),
        ])
    func endpoint(text: String, address: String, port: UInt16) {
        let bytes = Array(text.utf8)
        let found = parseIPEndpoint(bytes.span)
        #expect(found?.address == Self.judged(address))
        #expect(found?.port == port)
    }

    @Test(
        "no endpoint",
        arguments: [
            "", ":80", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:123456", "192.0.2.1:8a", "[::1]", "[::1]80", "[::1", "[]:80",
            "[192.0.2.1]:80", "::1]:80", "unix:", "unknown", "example.com:80", "[:80",
        ])
    func noEndpoint(text: String) {
        let bytes = Array(text.utf8)
        #expect(parseIPEndpoint(bytes.span) == nil)
    }

    @Test(
        "a list from its end",
        arguments: [
            ("192.0.2.1", ["192.0.2.1"]), ("192.0.2.1, 192.0.2.2", ["192.0.2.2", "192.0.2.1"]),
            ("192.0.2.1,192.0.2.2,::1 ,", ["::1", "192.0.2.2", "192.0.2.1"]), ("  192.0.2.1\t", ["192.0.2.1"]),
            ("192.0.2.1, unknown, 192.0.2.3", ["192.0.2.3"]), ("192.0.2.1, unknown", []), ("", []), (" , ", []),
        ])
    func list(text: String, addresses: [String]) {
        let bytes = Array(text.utf8)
        var end = bytes.count
        var found: [IPAddress?] = []
        while let (endpoint, start) = lastForwarded(in: bytes.span, before: end) {
            #expect(start < end)
            found.append(endpoint.address)
            end = start
        }
        #expect(found == addresses.map(Self.judged))
    }
}
