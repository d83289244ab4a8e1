// Owns attacks over HTTP/2: whoever sends what asks for nothing, or takes back what it asks for, is told to calm down and let go, while
// others are served and memory stays bounded.

import Foundation
import TestSupport
import Testing

@Suite("HTTP/2 floods", .ownThread, .enabled(if: !Harness.isNginx))
struct HTTP2FloodTests {
    typealias Frame = HTTP2Peer.Frame

    private static let request = [(":method", "GET"), (":scheme", "http"), (":path", "/never"), (":authority", "a")]

    /// What is sent over and over, by its name; `i` counts from 0.
    private static let attacks: [(name: String, frames: @Sendable (Int) -> [Frame])] = [
        ("rapid reset", { i in [HTTP2Peer.headers(2 * i + 1, request, end: true), HTTP2Peer.resetFrame(2 * i + 1)] }),
        ("rapid reset of answered ones", { i in
            let quick = [request[0], request[1], (":path", "/quick"), request[3]]
            return [HTTP2Peer.headers(2 * i + 1, quick, end: false), HTTP2Peer.resetFrame(2 * i + 1)]
        }),
        ("streams without end", { i in [HTTP2Peer.headers(2 * i + 1, request, end: true)] }),
        ("settings", { _ in [HTTP2Peer.settingsFrame([(.window, 65_535)])] }),
        ("empty settings", { _ in [HTTP2Peer.settingsFrame([])] }),
        ("pings", { _ in [Frame(type: Frame.ping, flags: 0, stream: 0, payload: [UInt8](repeating: 1, count: 8))] }),
        ("acknowledged pings", { _ in [Frame(type: Frame.ping, flags: 1, stream: 0, payload: [UInt8](repeating: 1, count: 8))] }),
        ("window updates", { _ in [HTTP2Peer.windowUpdate(0, 1)] }),
        ("priorities", { i in [Frame(type: 2, flags: 0, stream: 2 * i + 1, payload: [0, 0, 0, 0, 16])] }),
        ("frames of no known type", { _ in [Frame(type: 0xBE, flags: 0, stream: 0, payload: [])] }),
        ("empty data", { i in
            i == 0
                ? [HTTP2Peer.headers(1, [(":method", "POST")] + request.dropFirst(), end: false)]
                : [Frame(type: Frame.data, flags: 0, stream: 1, payload: [])]
        }),
        ("padding alone", { i in
            i == 0
                ? [HTTP2Peer.headers(1, [(":method", "POST")] + request.dropFirst(), end: false)]
                : [Frame(type: Frame.data, flags: 8, stream: 1, payload: [5, 0, 0, 0, 0, 0])]
        }),
        ("continuations", { i in
            i == 0
                ? [Frame(type: Frame.headers, flags: 1, stream: 1, payload: HTTP2Peer.block([request[0]]))]
                : [Frame(type: Frame.continuation, flags: 0, stream: 1, payload: HTTP2Peer.block([("x", "y")]))]
        }),
        ("empty continuations", { i in
            i == 0
                ? [Frame(type: Frame.headers, flags: 1, stream: 1, payload: HTTP2Peer.block([request[0]]))]
                : [Frame(type: Frame.continuation, flags: 0, stream: 1, payload: [])]
        }),
        // One field of 3 kB in the table, then a byte for each time it is meant.
        ("a bomb of fields", { i in
            let big = [UInt8(0x40)] + [1, 0x78] + [0x7F, 0xC1, 0x16] + [UInt8](repeating: 0x79, count: 3008)
            let block = HTTP2Peer.block(request) + (i == 0 ? big : []) + [UInt8](repeating: 0xBE, count: 4000)
            return [Frame(type: Frame.headers, flags: 5, stream: 2 * i + 1, payload: block)]
        }),
    ]

    @Test("are ended", arguments: attacks.indices)
    func areEnded(i: Int) throws {
        let attack = Self.attacks[i]
        let upstream = try Upstream { _, c in c.hold() }
        let proxy = try Proxy(
            server: "http2 on; location / { proxy_pass http://\(upstream.endpoint); } location /quick { return 200 quick; }")
        let before = proxy.residentBytes
        let attacker = try HTTP2Client(try proxy.client().stream)
        var sent = 0
        var end = StreamEnd.timedOut
        // The proxy ends it; what is on its way by then may meet a reset.
        do {
            while sent < 200_000 {
                var bytes: [UInt8] = []
                for _ in 0..<50 {
                    bytes += attack.frames(sent).flatMap(HTTP2Peer.bytes)
                    sent += 1
                }
                try attacker.stream.send(bytes)
                while attacker.stream.isReadable(withinMs: 0) { try attacker.readOne() }
            }
        } catch { end = error as? StreamEnd ?? .timedOut }
        #expect(end == .closed || end == .reset, "\(attack.name): \(end) after \(sent)")
        // More streams than allowed are the library's to refuse, as a protocol error.
        let codes = attack.name == "streams without end" ? [1, 11] : [11]
        // A reset may have destroyed what was said; the log has it.
        if let code = attacker.goawayCode { #expect(codes.contains(code), "\(attack.name): \(code)") }
        #expect(sent < 50_000, "\(attack.name): \(sent)")
        #expect(try HTTP2Client(try proxy.client().stream).request("GET", "/quick").text == "quick")
        #expect(proxy.residentBytes - before < 64 << 20, "\(attack.name): \(proxy.residentBytes - before) bytes")
        try Harness.wait(for: "the log to tell") { proxy.errorLog.contains("http2") || proxy.errorLog.contains("HTTP/2") || attack.name.contains("bomb") }
        try upstream.waitForOpenConnections(0)
    }

    /// Once settings are agreed on frames may be of any size, and of this one the library keeps all.
    @Test func aLongGoodbyeIsNotListenedTo() throws {
        let proxy = try Proxy(server: "http2 on; return 200 quick;")
        let clients = try (0..<8).map { _ in try HTTP2Client(try proxy.client(timeoutMs: 3000).stream) }
        for client in clients { #expect(try client.request().text == "quick") }
        let before = proxy.residentBytes
        let goodbye = HTTP2Peer.bytes(Frame(type: Frame.goaway, flags: 0, stream: 0, payload: [UInt8](repeating: 0, count: 8 << 20)))
        for client in clients { try? client.stream.send(Array(goodbye.dropLast(1000))) }
        for client in clients { #expect(client.readToEnd() != .timedOut) }
        #expect(proxy.residentBytes - before < 32 << 20)
    }

    /// Until a client has acknowledged how many streams there may be, the library refuses one by one what is beyond.
    @Test func whoIsRefusedAllTheTimeIsLetGo() throws {
        let upstream = try Upstream { _, c in c.hold() }
        let proxy = try Proxy(server: "http2 on; location / { proxy_pass http://\(upstream.endpoint); }")
        let client = try HTTP2Client(try proxy.client(timeoutMs: 5000).stream)
        var end: StreamEnd?
        do {
            for i in 0..<20_000 { try client.stream.send(HTTP2Peer.bytes(HTTP2Peer.headers(2 * i + 1, Self.request, end: true))) }
        } catch { end = error as? StreamEnd }
        // Nothing that it reads is answered.
        if end == nil { end = client.stream.readToEnd().end }
        #expect(end == .closed || end == .reset)
        try Harness.wait(for: "the log to tell") { proxy.errorLog.contains("flood") }
        try upstream.waitForOpenConnections(0)
    }

    /// One who sends and never reads.
    @Test func whoNeverReadsIsLetGo() throws {
        let proxy = try Proxy(server: "http2 on; send_timeout 500ms; location / { return 200 \"\(String(repeating: "x", count: 2000))\"; }")
        let client = try HTTP2Client(try proxy.client(receiveBufferBytes: 4096).stream, [(.window, 1 << 30)])
        var end: StreamEnd?
        do {
            try client.openWindow(0, 1 << 30)
            // Whole frames, all of them: what they ask for is more than any kernel keeps for a peer.
            for i in 0..<20_000 { try client.stream.send(HTTP2Peer.bytes(HTTP2Peer.headers(2 * i + 1, Self.request, end: true))) }
        } catch { end = error as? StreamEnd }
        // Its end is a reset, or comes when it reads after all; until the proxy has let go it does not.
        // If the proxy was slow to begin, it finds more streams at once than it has allowed.
        if end == nil {
            try Harness.wait(for: "the proxy to let go") {
                let log = proxy.errorLog
                return log.contains("timed out") || log.contains("flood") || log.contains("rule of HTTP/2")
            }
            end = client.readToEnd()
        }
        #expect(end == .closed || end == .reset)
        #expect(proxy.residentBytes < 128 << 20)
        #expect(try HTTP2Client(try proxy.client().stream).request().status == "200")
    }
}
