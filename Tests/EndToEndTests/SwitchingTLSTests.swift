// Owns switching behind TLS: a WebSocket, a stream of gRPC and a hundred streams of HTTP/2, open at once, live through a hundred switches.
// Clients are `openssl s_client`; what they speak inside is theirs.

import Foundation
import TestSupport
import Testing

@Suite("switching: TLS", .ownThread, .enabled(if: !Harness.isNginx))
struct SwitchingTLSTests {
    static let switches = 100
    static let streams = 100

    /// Two pools for requests and WebSockets, two for calls, all behind one address.
    private struct Site {
        let requests: [Upstream]
        let calls: [Upstream]
        let release = Signal()
        let proxy: Proxy

        init() throws {
            let release = release
            requests = try ["blue", "green"].map { name in
                try Upstream { request, c in
                    switch request.target {
                    case "/socket":
                        try c.acceptUpgrade(early: name)
                        try c.echoToEnd()
                    case "/long":
                        try c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nbegin\r\n")
                        release.wait(ms: 60_000)
                        try c.send("3\r\nend\r\n0\r\n\r\n")
                    default: try c.answer(body: name)
                    }
                }
            }
            calls = try ["blue", "green"].map { name in
                try Upstream(http2: nil) { peer in
                    let request = try peer.request(whole: false)
                    try peer.send(HTTP2Peer.headers(request.stream, [(":status", "200"), ("content-type", "application/grpc"), ("x-pool", name)]))
                    var hasEnded = false
                    while !hasEnded {
                        let frame = try peer.frame()
                        guard frame.type == HTTP2Peer.Frame.data else { continue }
                        try peer.send(HTTP2Peer.Frame(type: HTTP2Peer.Frame.data, flags: 0, stream: frame.stream, payload: frame.payload))
                        hasEnded = frame.endsStream
                    }
                    try peer.send(HTTP2Peer.headers(request.stream, [("grpc-status", "0")], end: true))
                    _ = try peer.frame()
                }
            }
            proxy = try Proxy(
                http: """
                    upstream blue { server \(requests[0].endpoint); keepalive 64; }
                    upstream green { server \(requests[1].endpoint); keepalive 64; }
                    upstream calls_blue { server \(calls[0].endpoint); }
                    upstream calls_green { server \(calls[1].endpoint); }
                    split app { blue 1; green 0; }
                    split calls { calls_blue 1; calls_green 0; }
                    server {
                        listen 127.0.0.1:%PORT% ssl;
                        http2 on;
                        http2_max_concurrent_streams 256;
                        \(TLSTests.certificate)
                        location / {
                            proxy_pass http://app;
                            proxy_http_version 1.1;
                            proxy_set_header Upgrade $http_upgrade;
                            proxy_set_header Connection $http_connection;
                            proxy_buffering off;
                        }
                        location /pkg.Echo/ { grpc_pass grpc://calls; }
                    }
                    """, files: TLSTests.files())
        }
    }

    @Test func everythingThatIsOpenLivesOn() throws {
        let site = try Site()
        let admin = try Admin(site.proxy)
        let socket = try TLSClient(site.proxy, timeoutMs: 30_000)
        #expect(try socket.raw.upgrade("/socket").word(1) == "101")
        #expect(try socket.raw.stream.read(exactly: 4).elementsEqual("blue".utf8))

        let caller = try TLSClient(site.proxy, ["-alpn", "h2"], timeoutMs: 30_000)
        let calls = try HTTP2Client(caller.raw.stream)
        let call = try calls.begin("POST", "/pkg.Echo/Chat", [("content-type", "application/grpc"), ("te", "trailers")], end: false)
        #expect(try calls.answer(call) { $0.hasHead }["x-pool"] == "blue")

        let many = try TLSClient(site.proxy, ["-alpn", "h2"], timeoutMs: 30_000)
        let client = try HTTP2Client(many.raw.stream)
        let ids = try (0..<Self.streams).map { _ in try client.begin("GET", "/long") }
        for id in ids { _ = try client.answer(id) { $0.text == "begin" } }

        var echoed = 0
        for i in 1...Self.switches {
            let isGreen = i % 2 == 1
            try admin.weigh(["blue": isGreen ? 0 : 1, "green": isGreen ? 1 : 0])
            try admin.weigh(["calls_blue": isGreen ? 0 : 1, "calls_green": isGreen ? 1 : 0], in: "calls")
            // The very connection that a hundred streams wait on: its next request goes where the switch says.
            #expect(try client.request().text == (isGreen ? "green" : "blue"), "switch \(i)")
            #expect(try socket.raw.echo("frame \(i)") == "frame \(i)", "switch \(i)")
            let message: [UInt8] = [0, 0, 0, 0, 4] + Array(String(1000 + i).utf8)
            try calls.data(call, message)
            echoed += message.count
            #expect(try calls.answer(call) { $0.body.count == echoed }.body.suffix(message.count).elementsEqual(message), "switch \(i)")
        }
        site.release.fire()
        for id in ids { #expect(try client.answer(id).text == "beginend") }
        try calls.data(call, [], end: true)
        #expect(try calls.answer(call).trailer("grpc-status") == "0")
        #expect(client.goawayStreams.isEmpty && calls.goawayStreams.isEmpty)
        socket.close()

        let total = Self.streams + Self.switches + 1
        #expect(site.requests.map(\.requestCount).reduce(0, +) == total)
        let lines = try site.proxy.waitForLines(total + 1)
        #expect(lines.allSatisfy { $0.contains("\" 200 ") || $0.contains("\" 101 ") })
        _ = try Receipts(1...2 * Self.switches + 1, admin)
    }
}
