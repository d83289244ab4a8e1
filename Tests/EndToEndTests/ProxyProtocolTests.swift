// Owns the PROXY protocol on real sockets: what a header in front of a connection says, what is refused, and headers sent to peers.

import Foundation
import TestSupport
import Testing

@Suite("PROXY protocol", .ownThread)
struct ProxyProtocolTests {
    static let tcp4 = Array("PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n".utf8)
    static let signature = Array("\r\n\r\n\0\r\nQUIT\n".utf8)
    /// As `tcp4`, in version 2, with a value of type 0xEE.
    static let binary: [UInt8] = {
        let fixed: [UInt8] = [0x21, 0x11, 0, 20, 192, 0, 2, 1, 192, 0, 2, 2, 0, 123, 22, 46, 0xEE, 0, 5]
        return signature + fixed + Array("hello".utf8)
    }()
    static let seen = "$proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port $remote_addr"

    private func proxy(_ server: String, http: String = "", main: String = "") throws -> Proxy {
        try Proxy(http: "\(http)\nserver { listen 127.0.0.1:%PORT% proxy_protocol; \(server)\n}", main: main)
    }

    private func ask(_ proxy: Proxy, _ header: [UInt8], _ target: String = "/") throws -> String {
        let client = try proxy.client()
        try client.send(header + Array(RawClient.text("GET", target).utf8))
        return try client.response().text
    }

    @Test func aHeaderIsReadAndTheConnectionGoesOn() throws {
        let proxy = try proxy("location / { return 200 \"\(Self.seen) $proxy_protocol_tlv_0xee\"; }")
        #expect(try ask(proxy, Self.tcp4) == "192.0.2.1 123 192.0.2.2 5678 127.0.0.1 ")
        #expect(try ask(proxy, Self.binary) == "192.0.2.1 123 192.0.2.2 5678 127.0.0.1 hello")
        #expect(try ask(proxy, Array("PROXY UNKNOWN\r\n".utf8)) == "    127.0.0.1 ")
        #expect(try ask(proxy, Self.signature + [0x20, 0, 0, 0]) == "    127.0.0.1 ")
        let six = Array("PROXY TCP6 2001:db8::1 ::ffff:192.0.2.2 0 65535\r\n".utf8)
        #expect(try ask(proxy, six) == "2001:db8::1  ::ffff:192.0.2.2 65535 127.0.0.1 ")
    }

    @Test func severalRequestsHaveTheSameHeader() throws {
        let proxy = try proxy("location / { return 200 \"$proxy_protocol_addr $connection_requests\"; }")
        let client = try proxy.client()
        try client.send(Self.tcp4)
        for n in 1...3 { #expect(try client.request().text == "192.0.2.1 \(n)") }
    }

    @Test(.enabled(if: !Harness.isNginx, "nginx wants the header in one piece"))
    func aHeaderMayComeByteByByte() throws {
        let proxy = try proxy("location / { return 200 \"$proxy_protocol_addr $proxy_protocol_tlv_0xee\"; }")
        for header in [Self.tcp4, Self.binary] {
            let client = try proxy.client()
            for byte in header { try client.send([byte]) }
            #expect(try client.request().text.hasPrefix("192.0.2.1"))
        }
    }

    @Test(
        "bad headers end the connection",
        arguments: [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", #"broken header: "GET / HTTP/1.1" while reading PROXY protocol, client: 127.0.0.1"#),
            ("PROXY TCP4 1.2.3.4\r\n", #"broken header: "PROXY TCP4 1.2.3.4" while reading PROXY protocol"#),
            ("\r\n\r\n\0\r\nQUIT\n\u{11}\u{11}\0\0", "unknown PROXY protocol version"),
            ("\r\n\r\n\0\r\nQUIT\n!\u{11}\u{7f}\0", "header is too large"),
        ])
    func refused(bytes: String, words: String) throws {
        let proxy = try proxy("location / { return 200; }")
        let (text, end) = try proxy.raw(bytes)
        #expect(text == "")
        #expect(end != .timedOut)
        try Harness.wait(for: "\(words): \(proxy.errorLog)") { proxy.errorLog.contains(words) }
        #expect(proxy.accessLines == [])
        // Others are served on.
        #expect(try ask(proxy, Self.tcp4) == "")
    }

    @Test(.enabled(if: !Harness.isNginx, "nginx says nothing of it")) func halfAHeaderAndTheEndIsABrokenOne() throws {
        let proxy = try proxy("location / { return 200; }")
        let (text, end) = try proxy.raw("PROXY TCP4 192.0", halfClose: true)
        #expect(text == "")
        #expect(end != .timedOut)
        try Harness.wait(for: "the log: \(proxy.errorLog)") { proxy.errorLog.contains(#"broken header: "PROXY TCP4 192.0""#) }
    }

    @Test(arguments: ["", "PROXY TCP4 192.0"])
    func aHeaderThatDoesNotComeIsNotWaitedForLong(part: String) throws {
        let proxy = try proxy("client_header_timeout 300ms; location / { return 200; }")
        let client = try proxy.client()
        try client.send(part)
        var end = StreamEnd.timedOut
        let ms = elapsedMs { end = client.end() }
        #expect(end != .timedOut)
        #expect(ms < 5000)
        #expect(Harness.isNginx || proxy.errorLog.contains("client timed out"))
    }

    @Test func aGracefulStopDoesNotWaitForHeaders() throws {
        let proxy = try proxy("location / { return 200; }")
        let client = try proxy.client()
        try proxy.stop(SIGQUIT, withinMs: 30_000)
        #expect(client.end() != .timedOut)
    }

    // MARK: Sent to peers

    /// A peer that answers with the header and the head that came, and keeps its connections.
    private func peer() throws -> Upstream {
        try Upstream(raw: nil) { connection in
            guard var header = try? connection.stream.read(exactly: 16) else { return }
            let isBinary = header[0] == 0x0D
            if isBinary {
                header += (try? connection.stream.read(exactly: Int(header[14]) << 8 | Int(header[15]))) ?? []
            } else {
                while header.last != 0x0A, let byte = try? connection.stream.read(exactly: 1) { header += byte }
            }
            let text = isBinary ? header.map { String($0, radix: 16) }.joined(separator: " ") : String(decoding: header, as: UTF8.self)
            while (try? connection.stream.readHead()) != nil { try? connection.answer(body: text) }
        }
    }

    @Test(.enabled(if: !Harness.isNginx)) func aPeerIsToldTheClient() throws {
        let peer = try peer()
        let proxy = try Proxy(
            server: """
                set_real_ip_from 127.0.0.1; real_ip_header X-Real-IP;
                location / { proxy_pass http://u; proxy_send_proxy_protocol v1; }
                location /two/ { proxy_pass http://u; proxy_send_proxy_protocol v2; }
                """, http: "upstream u { server \(peer.endpoint); keepalive 4; }")
        let client = try proxy.client()
        let first = try client.request().text
        #expect(first.wholeMatch(of: /PROXY TCP4 127.0.0.1 127.0.0.1 \d+ \d+\r\n/) != nil, "\(first)")
        #expect(first.hasSuffix(" \(proxy.port)\r\n"))
        // Another address needs another connection, though the one before could have been kept.
        let second = try client.request("GET", "/", ["X-Real-IP: 192.0.2.7:99"]).text
        #expect(second == "PROXY TCP4 192.0.2.7 127.0.0.1 99 \(proxy.port)\r\n")
        let third = try client.request("GET", "/", ["X-Real-IP: 2001:db8::7"]).text
        #expect(third == "PROXY TCP6 2001:db8::7 ::ffff:127.0.0.1 0 \(proxy.port)\r\n")
        let fourth = try client.request("GET", "/two/", ["X-Real-IP: 192.0.2.7:258"]).text
        let port = String(proxy.port >> 8, radix: 16) + " " + String(proxy.port & 255, radix: 16)
        #expect(fourth == "d a d a 0 d a 51 55 49 54 a 21 11 0 c c0 0 2 7 7f 0 0 1 1 2 \(port)")
        #expect(peer.connectionCount == 4)
        try peer.waitForOpenConnections(0)
    }

    @Test(.enabled(if: !Harness.isNginx)) func aHeaderGoesOnFromProxyToProxy() throws {
        let peer = try peer()
        let proxy = try proxy(
            """
            set_real_ip_from 127.0.0.1; real_ip_header proxy_protocol;
            location / { proxy_pass http://\(peer.endpoint); proxy_send_proxy_protocol v1; }
            """)
        #expect(try ask(proxy, Self.binary) == "PROXY TCP4 192.0.2.1 192.0.2.2 123 5678\r\n")
    }
}
