// Owns switching under HTTP/2: one connection with a hundred streams in flight lives through a hundred switches, and new streams follow
// each of them at once; nothing is lost by either side's count.

import Foundation
import TestSupport
import Testing

/// Lets everybody pass who waits for a number that has been reached.
private final class Steps: @unchecked Sendable {
    private let condition = NSCondition()
    private var reached = 0

    func advance() {
        condition.lock()
        reached += 1
        condition.broadcast()
        condition.unlock()
    }

    func wait(for step: Int) {
        condition.lock()
        while reached < step { condition.wait() }
        condition.unlock()
    }
}

@Suite("switching: HTTP/2", .ownThread, .enabled(if: !Harness.isNginx))
struct SwitchingHTTP2Tests {
    static let switches = 100
    static let streams = 100

    @Test("a hundred streams through a hundred switches", arguments: [1, 2])
    func streamsLiveOn(workers: Int) throws {
        let steps = Steps()
        let pools = try BlueGreen(
            location: "client_max_body_size 0; proxy_pass_trailers on;", http: "http2 on; http2_max_concurrent_streams 256;",
            main: "worker_processes \(workers);"
        ) { name in
            { request, c in
                guard request.target.hasPrefix("/long") else { return try c.answer(body: name) }
                if request.target == "/long/up" {
                    var count = 0
                    _ = try c.stream.readRequestBody(request.head) { count += $0.count }
                    return try c.answer(body: "\(name) \(count)")
                }
                try c.send("HTTP/1.1 200 OK\r\nX-Pool: \(name)\r\nTransfer-Encoding: chunked\r\n\r\n")
                for i in 1...Self.switches {
                    steps.wait(for: i)
                    let piece = "\(i),"
                    try c.send(String(piece.utf8.count, radix: 16) + "\r\n" + piece + "\r\n")
                }
                try c.send("0\r\nX-End: \(name)\r\n\r\n")
            }
        }
        let admin = try pools.admin()
        let client = try HTTP2Client(try pools.proxy.client(timeoutMs: 20_000).stream)
        let downs = try (0..<Self.streams - 10).map { _ in try client.begin("GET", "/long") }
        let ups = try (0..<10).map { _ in try client.begin("PUT", "/long/up", end: false) }
        _ = try pools.blue.waitForRequests(Self.streams)

        var probes = 0
        for i in 1...Self.switches {
            let isGreen = i % 2 == 1
            try admin.weigh(isGreen ? ["blue": 0, "green": 1] : ["blue": 1, "green": 0])
            // Of the very connection: streams begin under the newest snapshot, whatever their neighbours are on.
            for _ in 0..<3 {
                #expect(try client.request().text == (isGreen ? "green" : "blue"), "switch \(i)")
                probes += 1
            }
            for id in ups { try client.data(id, [UInt8](repeating: UInt8(i), count: 600)) }
            steps.advance()
            let last = "\(i),"
            for id in downs { try client.read { client.soFar(id).text.hasSuffix(last) } }
        }
        let wanted = (1...Self.switches).map { "\($0)," }.joined()
        for id in downs {
            let answer = try client.answer(id)
            #expect(answer.text == wanted && answer["x-pool"] == "blue" && answer.trailer("x-end") == "blue")
        }
        for id in ups {
            try client.data(id, [], end: true)
            #expect(try client.answer(id).text == "blue \(Self.switches * 600)")
        }
        #expect(client.goawayStreams.isEmpty)
        let total = Self.streams + probes
        #expect(pools.requestCount == total && pools.blue.cutRequests.isEmpty && pools.green.cutRequests.isEmpty)
        #expect(try pools.proxy.waitForLines(total).allSatisfy { $0.contains("HTTP/2.0\" 200") })
        let receipt = try admin.get("/receipts/2")
        #expect(receipt["carried"]["started"].int == Self.streams, "\(receipt)")
        let receipts = try Receipts(1...Self.switches + 1, admin)
        #expect(receipts.started == total && receipts.completed >= probes)
    }

    @Test("streams wait while their split is held, and none is lost")
    func streamsAreHeld() throws {
        let pools = try BlueGreen(http: "http2 on;")
        let admin = try pools.admin()
        let client = try HTTP2Client(try pools.proxy.client().stream)
        #expect(try client.request().text == "blue")
        try admin.write("POST", "/splits/app/hold")
        let ids = try (0..<50).map { _ in try client.begin("GET", "/held") }
        try Harness.wait(for: "fifty streams to wait") { try admin.get("/status")["splits"]["app"]["holding"].int == 50 }
        try client.send(HTTP2Peer.resetFrame(ids[0]))
        try admin.weigh(["blue": 0, "green": 1])
        try admin.write("POST", "/splits/app/release")
        for id in ids.dropFirst() { #expect(try client.answer(id).text == "green") }
        #expect(pools.green.requestCount == 49)
    }
}
