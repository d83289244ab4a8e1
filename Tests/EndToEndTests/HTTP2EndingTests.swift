// Owns how HTTP/2 connections end on the proxy's part: requests that are counted, time that is over, a graceful stop. No stream that was
// on its way is lost.

import Foundation
import TestSupport
import Testing

@Suite("HTTP/2 endings", .ownThread)
struct HTTP2EndingTests {
    private static let anyStream = 0x7FFF_FFFF

    private func client(_ proxy: Proxy) throws -> HTTP2Client { try HTTP2Client(try proxy.client().stream) }

    @Test func oneStreamAtATimeEndsAtOnce() throws {
        let proxy = try Proxy(server: "http2 on; keepalive_requests 3; return 200 x;")
        let client = try client(proxy)
        for _ in 0..<3 { #expect(try client.request().text == "x") }
        #expect(client.readToEnd() == .closed)
        #expect(client.goawayStreams == [5] && client.goawayCode == 0)
    }

    @Test(.enabled(if: !Harness.isNginx)) func manyStreamsEndInTwoSteps() throws {
        let gate = Signal()
        let upstream = try Upstream { _, c in
            gate.wait()
            try c.answer(body: "x")
        }
        let proxy = try Proxy(server: "http2 on; keepalive_requests 3; location / { proxy_pass http://\(upstream.endpoint); }")
        let client = try client(proxy)
        client.answersPings = false
        var ids = try (0..<3).map { _ in try client.begin("GET", "/") }
        try client.read { !client.goawayStreams.isEmpty }
        #expect(client.goawayStreams == [Self.anyStream])
        // On their way when the client heard of it: they are served like the others.
        ids += try (0..<5).map { _ in try client.begin("GET", "/") }
        _ = try upstream.waitForRequests(8)
        // It comes behind the notice, and its answer says that the notice has been read.
        try client.read { client.others.contains { $0.type == HTTP2Peer.Frame.ping } }
        guard let ping = client.others.first(where: { $0.type == HTTP2Peer.Frame.ping }) else { throw TestFailure("no PING") }
        try client.send(HTTP2Peer.Frame(type: HTTP2Peer.Frame.ping, flags: 1, stream: 0, payload: ping.payload))
        try client.read { client.goawayStreams.count == 2 }
        #expect(client.goawayStreams == [Self.anyStream, 15])
        gate.fire()
        for id in ids { #expect(try client.answer(id).text == "x") }
        #expect(client.readToEnd() == .closed)
    }

    @Test(.enabled(if: !Harness.isNginx)) func quitFinishesStreams() throws {
        let gate = Signal()
        let upstream = try Upstream { _, c in
            gate.wait()
            try c.answer(body: "done")
        }
        let proxy = try Proxy(server: "http2 on; location / { proxy_pass http://\(upstream.endpoint); } location /own { return 200 own; }")
        let busy = try client(proxy)
        let ids = try (0..<20).map { _ in try busy.begin("GET", "/") }
        let idle = try client(proxy)
        #expect(try idle.request("GET", "/own").text == "own")
        _ = try upstream.waitForRequests(20)
        proxy.signal(SIGQUIT)
        #expect(idle.readToEnd() == .closed)
        #expect(idle.goawayCode == 0)
        try busy.read { !busy.goawayStreams.isEmpty }
        let late = try busy.begin("GET", "/own")
        #expect(try busy.answer(late).text == "own")
        #expect(proxy.isRunning)
        gate.fire()
        for id in ids { #expect(try busy.answer(id).text == "done") }
        #expect(busy.readToEnd() == .closed)
        #expect(busy.goawayStreams.first == Self.anyStream)
        busy.stream.close()
        idle.stream.close()
        #expect(try proxy.waitForEnd() == .exited(0))
        #expect(proxy.accessLines.count == 22)
    }

    /// What it says meanwhile is no sign that it takes anything.
    @Test(.enabled(if: !Harness.isNginx)) func aClientThatTakesNothingIsLetGoThoughItTalks() throws {
        let proxy = try Proxy(
            server: "http2 on; http2_max_concurrent_streams 1000; send_timeout 1s; root site;", files: ["site/x": String(repeating: "x", count: 12_000)])
        let client = try HTTP2Client(try proxy.client(receiveBufferBytes: 4096).stream)
        try client.openWindow(0, 100_000_000)
        for _ in 0..<800 { _ = try client.begin("GET", "/x") }
        var said = 0
        let end = Date(timeIntervalSinceNow: 6)
        while Date() < end, (try? client.send(HTTP2Peer.Frame(type: HTTP2Peer.Frame.ping, flags: 0, stream: 0, payload: [0, 0, 0, 0, 0, 0, 0, 0]))) != nil {
            said += 1
            Thread.sleep(forTimeInterval: 0.1)
        }
        #expect(said < 50)
        #expect(proxy.errorLog.contains("client timed out"))
    }

    /// Each second something of it goes, though as much waits as before.
    @Test(.enabled(if: !Harness.isNginx)) func aClientThatTakesLittleByLittleIsServed() throws {
        let proxy = try Proxy(server: "http2 on; send_timeout 3s; root site;", files: ["site/x": String(repeating: "x", count: 16 << 20)])
        let client = try HTTP2Client(try proxy.client(receiveBufferBytes: 4096).stream, [(.window, 100_000_000)])
        client.opensWindows = false
        try client.openWindow(0, 100_000_000)
        let id = try client.begin("GET", "/x")
        let end = Date(timeIntervalSinceNow: 6)
        while Date() < end {
            let before = client.soFar(id).body.count
            try client.read { client.soFar(id).body.count >= before + 300_000 }
            Thread.sleep(forTimeInterval: 0.2)
        }
        #expect(try client.answer(id).body.count == 16 << 20)
    }

    /// All of the answer is in a file before the client takes the second window of it.
    @Test(.enabled(if: !Harness.isNginx)) func anAnswerThatWaitedInAFileComesWhole() throws {
        let bytes = 12 << 20
        let isSent = Signal()
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Length: \(bytes)\r\n\r\n" + String(repeating: "x", count: bytes))
            isSent.fire()
        }
        let proxy = try Proxy(server: "http2 on; location / { proxy_pass http://\(upstream.endpoint); }")
        let client = try client(proxy)
        client.opensWindows = false
        let id = try client.begin("GET", "/")
        try client.read { client.soFar(id).body.count == 65_535 }
        isSent.wait()
        client.opensWindows = true
        try client.openWindow(0, 65_535)
        try client.openWindow(id, 65_535)
        let answer = try client.answer(id)
        #expect(answer.body.count == bytes && answer.resetCode == nil, "\(answer.body.count), reset \(answer.resetCode ?? -1): \(proxy.errorLog)")
    }

    @Test func aFastStopTellsWhatItCan() throws {
        let upstream = try Upstream { _, c in c.hold() }
        let proxy = try Proxy(server: "http2 on; location / { proxy_pass http://\(upstream.endpoint); }")
        let client = try client(proxy)
        _ = try client.begin("GET", "/")
        _ = try upstream.waitForRequests(1)
        try proxy.stop()
        #expect(client.readToEnd() != .timedOut)
    }

    /// The last frame of one of the answers is ready when the client's socket takes no more; then the client takes its requests back.
    @Test(.enabled(if: !Harness.isNginx)) func whatIsTakenBackBeforeItsLastFrameIsSentEnds() throws {
        let count = 120
        let proxy = try Proxy(
            server: "http2 on; http2_chunk_size 128k; root site;", files: ["site/x": String(repeating: "x", count: 60_000)])
        let client = try HTTP2Client(proxy.client(receiveBufferBytes: 4096).stream, [(.window, 0), (.maxFrame, 1 << 20)])
        client.opensWindows = false
        let ids = try (0..<count).map { _ in try client.begin("GET", "/x") }
        // All answers wait for their windows.
        try client.read { ids.allSatisfy { client.soFar($0).hasHead } }
        try client.openWindow(0, 1 << 30)
        try client.send(HTTP2Peer.settingsFrame([(.window, 1 << 20)]))
        try client.read { ids.contains { !client.soFar($0).body.isEmpty } }
        try client.stream.send(ids.flatMap { HTTP2Peer.bytes(HTTP2Peer.resetFrame($0)) })
        // What is on its way already, whole answers perhaps, ends when the client has it: the answer to a PING comes behind it.
        try client.send(HTTP2Peer.Frame(type: HTTP2Peer.Frame.ping, flags: 0, stream: 0, payload: [0, 1, 2, 3, 4, 5, 6, 7]))
        try client.read { client.others.contains { $0.type == HTTP2Peer.Frame.ping && $0.flags & 1 == 1 } }
        try Harness.wait(for: "the end of all requests", withinMs: 20_000) { proxy.accessLines.count == count }
    }
}
