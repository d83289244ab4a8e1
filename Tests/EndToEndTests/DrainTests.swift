// Owns drains over the admin API: what becomes of WebSocket connections and event streams, and of what comes after.

import Foundation
import TestSupport
import Testing

@Suite("drains", .ownThread, .enabled(if: !Harness.isNginx))
struct DrainTests {
    private func proxy(_ blue: Upstream, _ green: Upstream) throws -> Proxy {
        try Proxy(
            server: """
                location / {
                    proxy_pass http://app; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
                }
                """, http: "upstream blue { server \(blue.endpoint); } upstream green { server \(green.endpoint); } split app { blue 1; green 0; }",
            main: "worker_processes 2; state %DIR%/state;")
    }

    private func drainBlue(_ proxy: Proxy, timeout: String) throws {
        let socket = AdminTests.socket(proxy)
        #expect(try AdminTests.ask(socket, "PATCH", "/splits/app", body: "{\"weights\": {\"blue\": 0, \"green\": 1}}").status == 200)
        let answer = try AdminTests.ask(socket, "POST", "/upstreams/blue/drain?timeout=\(timeout)")
        #expect([200, 202].contains(answer.status))
    }

    @Test func aWebSocketIsClosedByTheBook() throws {
        let heard = Locked<[UInt8]>([])
        let blue = try Upstream { _, c in
            try c.acceptUpgrade()
            try c.send([0x81, 2, 104, 105])
            let close = try c.stream.read(exactly: 8)
            heard.with { $0 = close }
            try c.send([0x88, 2, 0x03, 0xF4])
            c.close()
        }
        let green = try Upstream(saying: "green")
        let proxy = try proxy(blue, green)
        let client = try proxy.client()
        try client.send(RawClient.text("GET", "/", ["Connection: Upgrade", "Upgrade: websocket"]))
        #expect(try client.stream.readHead().word(1) == "101")
        #expect(try client.stream.read(exactly: 4) == [0x81, 2, 104, 105])
        try drainBlue(proxy, timeout: "100ms")
        #expect(try client.stream.read(exactly: 4) == [0x88, 2, 0x03, 0xF4])
        try client.send([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xF4])
        #expect(client.end() == .closed)
        let close = heard.current
        #expect(close.count == 8 && close[0] == 0x88 && close[1] == 0x82 && close[6] ^ close[2] == 0x03 && close[7] ^ close[3] == 0xF4)
        #expect(try proxy.get().text == "green")
    }

    @Test func anEventStreamEndsWhole() throws {
        let blue = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n")
            c.hold()
        }
        let green = try Upstream(saying: "green")
        let proxy = try proxy(blue, green)
        let client = try proxy.client()
        try client.send(RawClient.text())
        _ = try blue.waitForRequests(1)
        try drainBlue(proxy, timeout: "200ms")
        // The whole answer, to its last chunk; the connection goes on, and leads elsewhere.
        #expect(try client.response().text == "data: 1\n")
        #expect(try client.request().text == "green")
        try blue.waitForOpenConnections(0)
    }

    @Test func whatATunnelHasTakenIsDeliveredFirst() throws {
        let mayRead = Signal()
        let end = Locked<StreamEnd?>(nil)
        let blue = try Upstream { _, c in
            try c.acceptUpgrade()
            mayRead.wait()
            let (_, how) = c.stream.readToEnd()
            end.with { $0 = how }
        }
        let green = try Upstream(saying: "green")
        let proxy = try proxy(blue, green)
        let client = try proxy.client()
        _ = try client.upgrade()
        // Until nothing goes any more: the proxy has read what the server's socket would not take.
        let piece = [UInt8](repeating: 0x61, count: 64 << 10)
        while client.stream.isWritable(withinMs: 300) { _ = try client.stream.sendSome(piece) }
        try drainBlue(proxy, timeout: "0s")
        #expect(!client.stream.isReadable(withinMs: 200), "the connection is still there")
        mayRead.fire()
        try Harness.wait(for: "the server's end") { end.current != nil }
        #expect(end.current == .closed)
        try blue.waitForOpenConnections(0)
    }

    @Test func aTunnelOfAnotherProtocolEndsInOrder() throws {
        let blue = try Upstream { _, c in
            try c.acceptUpgrade()
            try c.echoToEnd()
        }
        let green = try Upstream(saying: "green")
        let proxy = try proxy(blue, green)
        let client = try proxy.client()
        _ = try client.upgrade()
        #expect(try client.echo("before") == "before")
        try drainBlue(proxy, timeout: "0s")
        #expect(client.end() == .closed)
        try blue.waitForOpenConnections(0)
    }
}
