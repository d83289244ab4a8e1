// Owns tunnels: what an Upgrade that the upstream accepts becomes.

import Foundation
import TestSupport
import Testing

@Suite("tunnels", .ownThread)
struct TunnelTests {
    private func proxy(_ upstream: Upstream, _ more: String = "") throws -> Proxy {
        try Proxy(
            server: """
                location / {
                    proxy_pass http://\(upstream.endpoint);
                    proxy_http_version 1.1;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection "Upgrade";
                    \(more)
                }
                """)
    }

    private func echo() throws -> Upstream {
        try Upstream { _, c in
            try c.acceptUpgrade()
            try c.echoToEnd()
        }
    }

    private func open(_ proxy: Proxy) throws -> RawClient {
        let client = try proxy.client()
        let head = try client.upgrade()
        #expect(head.word(1) == "101")
        #expect(head["Upgrade"] == "chat")
        #expect(head["Connection"]?.lowercased() == "upgrade")
        return client
    }

    @Test func dataPassesBothWays() throws {
        let upstream = try echo()
        let proxy = try proxy(upstream)
        let client = try open(proxy)
        for i in 0..<50 {
            #expect(try client.echo("message \(i)") == "message \(i)")
        }
        let seen = try #require(upstream.requests.first)
        #expect(seen["Upgrade"] == "chat")
        #expect(seen["Connection"] == "Upgrade")
        client.close()
        try upstream.waitForOpenConnections(0)
        #expect(try proxy.waitForLines(1)[0].contains(" 101 "))
    }

    @Test func bytesRightBehindTheHeadsArrive() throws {
        let upstream = try Upstream { _, c in
            try c.acceptUpgrade(early: "early")
            let heard = try c.stream.read(exactly: 5)
            try c.send(heard)
            c.hold()
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        #expect(try client.upgrade(early: "eager").word(1) == "101")
        #expect(try client.stream.read(exactly: 10) == Array("earlyeager".utf8))
    }

    @Test func largeStreamsCrossEachOther() throws {
        let upstream = try echo()
        let proxy = try proxy(upstream)
        let client = try open(proxy)
        let block = Array(Pattern.text(64 << 10).utf8)
        let rounds = 128
        let failure = Locked<String?>(nil)
        let isSent = Signal()
        onThread {
            do { for _ in 0..<rounds { try client.send(block) } } catch { failure.with { $0 = "\(error)" } }
            isSent.fire()
        }
        for round in 0..<rounds {
            let back = try client.stream.read(exactly: block.count)
            if back != block { throw TestFailure("block \(round) came back changed") }
        }
        #expect(isSent.wait())
        #expect(failure.current == nil)
    }

    @Test func whatWasSentBeforeTheClientsEndArrivesAndTheEndToo() throws {
        let heard = Locked<(String, StreamEnd)?>(nil)
        let upstream = try Upstream { _, c in
            try c.acceptUpgrade()
            let (bytes, end) = c.stream.readToEnd()
            heard.with { $0 = (String(decoding: bytes, as: UTF8.self), end) }
        }
        let proxy = try proxy(upstream)
        let client = try open(proxy)
        try client.send("last words")
        client.halfClose()
        try Harness.wait(for: "the upstream to see the end") { heard.current != nil }
        #expect(heard.current?.0 == "last words")
        #expect(heard.current?.1 == .closed)
        #expect(client.end() == .closed)
    }

    @Test func whatWasSentBeforeTheUpstreamsEndArrivesAndTheEndToo() throws {
        let upstream = try Upstream { _, c in
            try c.acceptUpgrade(early: Pattern.text(1 << 20))
            c.stream.halfClose()
            c.hold()
        }
        let proxy = try proxy(upstream)
        let client = try open(proxy)
        let (bytes, end) = client.stream.readToEnd()
        #expect(bytes.count == 1 << 20)
        #expect(end == .closed)
        client.close()
        try upstream.waitForOpenConnections(0)
    }

    @Test func anIdleTunnelIsEndedByTheReadTimeout() throws {
        let upstream = try echo()
        let proxy = try proxy(upstream, "proxy_read_timeout 300ms;")
        let client = try open(proxy)
        #expect(try client.echo("x") == "x")
        let waited = elapsedMs { _ = client.end() }
        #expect(waited >= 200 && waited < 3000)
        try upstream.waitForOpenConnections(0)
    }

    @Test func aRefusedUpgradeIsAnOrdinaryAnswer() throws {
        let upstream = try Upstream { r, c in
            if r.target == "/next" { try c.answer(body: "next") } else { try c.answer("426 Upgrade Required", body: "no") }
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send(RawClient.text("GET", "/", ["Connection: Upgrade", "Upgrade: chat"]))
        let response = try client.response()
        #expect(response.status == 426)
        #expect(response.text == "no")
        #expect(try client.request("GET", "/next").text == "next")
    }

    @Test(.enabled(if: !Harness.isNginx, "nginx passes the 101 on as an ordinary answer without an end"))
    func anUpgradeNobodyAskedForIsRefused() throws {
        let upstream = try Upstream { _, c in
            try c.acceptUpgrade()
            c.hold()
        }
        let proxy = try Proxy(server: "location / { proxy_pass http://\(upstream.endpoint); proxy_http_version 1.1; }")
        #expect(try proxy.get().status == 502)
    }

    @Test func aResetOfTheUpstreamEndsTheTunnel() throws {
        let upstream = try Upstream { _, c in
            try c.acceptUpgrade()
            _ = try c.stream.read(exactly: 1)
            c.reset()
        }
        let proxy = try proxy(upstream)
        let client = try open(proxy)
        try client.send("x")
        #expect(client.end() != .timedOut)
    }
}
