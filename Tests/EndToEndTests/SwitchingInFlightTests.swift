// Owns what is in flight while others switch: a download, an upload, a stream of events and a tunnel, byte for byte.

import Foundation
import TestSupport
import Testing

/// Bytes of which each block is told from its neighbours: what was lost, doubled or moved shows.
private struct Ramp {
    static let block: [UInt8] = {
        var state: UInt64 = 1
        return (0..<65_521).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 33)
        }
    }()
    private(set) var count = 0
    private(set) var isRight = true

    /// `count` bytes, from `offset` on.
    static func bytes(_ offset: Int, _ count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let at = (offset + bytes.count) % block.count
            bytes += block[at..<min(block.count, at + count - bytes.count)]
        }
        return bytes
    }

    /// The next ones.
    mutating func take(_ bytes: [UInt8]) {
        let wanted = Self.bytes(count, bytes.count)
        let order = bytes.withUnsafeBytes { a in wanted.withUnsafeBytes { memcmp(a.baseAddress!, $0.baseAddress!, $0.count) } }
        isRight = isRight && order == 0
        count += bytes.count
    }
}

@Suite("switching: in flight", .ownThread, .enabled(if: !Harness.isNginx))
struct SwitchingInFlightTests {
    static let switches = 100
    static let downloadBytes = 20_000_000
    static let uploadBytes = 5_000_000

    /// `/download`, `/upload`, `/events` (one each time `ticks` is signalled), `/tunnel`; the name elsewhere.
    private func script(_ name: String, _ ticks: DispatchSemaphore) -> Upstream.Handler {
        { request, connection in
            switch request.target {
            case "/download":
                try connection.send("HTTP/1.1 200 OK\r\nX-Pool: \(name)\r\nContent-Length: \(Self.downloadBytes)\r\n\r\n")
                for at in stride(from: 0, to: Self.downloadBytes, by: 50_000) { try connection.send(Ramp.bytes(at, 50_000)) }
            case "/upload":
                var ramp = Ramp()
                _ = try connection.stream.readRequestBody(request.head) { ramp.take($0) }
                try connection.answer(body: "\(name) \(ramp.count) \(ramp.isRight)")
            case "/events":
                try connection.send(
                    "HTTP/1.1 200 OK\r\nX-Pool: \(name)\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
                for i in 1...Self.switches {
                    ticks.wait()
                    let text = "data: \(i)\n\n"
                    try connection.send(String(text.utf8.count, radix: 16) + "\r\n" + text + "\r\n")
                }
                try connection.send("0\r\n\r\n")
            case "/tunnel":
                try connection.acceptUpgrade()
                try connection.echoToEnd()
            default: try connection.answer(body: name)
            }
        }
    }

    /// Everything that comes as events, on a thread of its own.
    private final class Listener: Sendable {
        let text = Locked("")
        let ended = Signal()

        init(_ client: RawClient) {
            onThread { [self] in
                let response = try? client.stream.readResponse { some in
                    self.text.with { $0 += String(decoding: some, as: UTF8.self) }
                }
                if response == nil { text.with { $0 += "cut" } }
                ended.fire()
            }
        }
    }

    @Test("stays where it is through a hundred switches", arguments: [1, 2])
    func staysWhereItIs(workers: Int) throws {
        let ticks = DispatchSemaphore(value: 0)
        let upgrade = "proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $http_connection;"
        let pools = try BlueGreen(location: upgrade + "client_max_body_size 0;", main: "worker_processes \(workers);") {
            script($0, ticks)
        }
        let proxy = pools.proxy
        let admin = try pools.admin()
        let download = try proxy.client(receiveBufferBytes: 64 << 10)
        try download.send(RawClient.text("GET", "/download"))
        let head = try download.stream.readHead()
        #expect(head["X-Pool"] == "blue")
        let upload = try proxy.client()
        try upload.send(RawClient.text("PUT", "/upload", ["Content-Length: \(Self.uploadBytes)"]))
        let events = try proxy.client()
        try events.send(RawClient.text("GET", "/events"))
        let listener = Listener(events)
        let tunnel = try proxy.client()
        #expect(try tunnel.upgrade("/tunnel").word(1) == "101")
        _ = try pools.blue.waitForRequests(4)

        let probe = try proxy.client()
        var ramp = Ramp()
        for i in 1...Self.switches {
            let isGreen = i % 2 == 1
            try admin.weigh(isGreen ? ["blue": 0, "green": 1] : ["blue": 1, "green": 0])
            #expect(try probe.request().text == (isGreen ? "green" : "blue"))
            ramp.take(try download.stream.read(exactly: Self.downloadBytes / Self.switches))
            try upload.send(Ramp.bytes(upload.stream.sent - uploadHead, Self.uploadBytes / Self.switches))
            ticks.signal()
            let event = "data: \(i)\n\n"
            try Harness.wait(for: "event \(i): \(listener.text.current.suffix(20))") { listener.text.current.hasSuffix(event) }
            #expect(try tunnel.echo("ping \(i)") == "ping \(i)")
        }
        #expect(ramp.count == Self.downloadBytes && ramp.isRight)
        #expect(try download.request().text == "blue", "the connection goes on")
        #expect(try upload.response().text == "blue \(Self.uploadBytes) true")
        #expect(listener.ended.wait())
        #expect(listener.text.current == (1...Self.switches).map { "data: \($0)\n\n" }.joined())
        #expect(pools.green.requests.allSatisfy { $0.target == "/" })

        let receipt = try admin.get("/receipts/2")
        #expect(receipt["tunnels_carried"].int == 1, "\(receipt)")
        #expect(receipt["carried"]["started"].int == 4, "\(receipt)")
        tunnel.close()
        try pools.blue.waitForNoTunnel()
        let receipts = try Receipts(1...Self.switches + 1, admin)
        #expect(receipts.started == 4 + Self.switches + 1)
    }

    private var uploadHead: Int { RawClient.text("PUT", "/upload", ["Content-Length: \(Self.uploadBytes)"]).utf8.count }
}

extension Upstream {
    fileprivate func waitForNoTunnel() throws {
        guard let tunnel = requests.first(where: { $0.target == "/tunnel" })?.connection else { return }
        try Harness.wait(for: "the tunnel to end") { !isOpen(tunnel) }
    }
}
