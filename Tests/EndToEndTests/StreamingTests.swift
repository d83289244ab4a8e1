// Owns large bodies: whole through the proxy, in bounded memory, at the speed of the slower side.

import Foundation
import TestSupport
import Testing

@Suite("streaming", .ownThread)
struct StreamingTests {
    static let totalBytes = 256 << 20
    static let block = Array(Pattern.text(64 << 10).utf8)
    /// What the proxy may grow by. Kernel buffers are not in it.
    static let growthBytesMax = 48 << 20
    /// What may be under way between two sides when one stopped reading: kernel buffers of two connections, and the proxy's.
    static let underWayBytesMax = 64 << 20

    private func proxy(_ upstream: Upstream, _ more: String = "") throws -> Proxy {
        try Proxy(
            server: """
                client_max_body_size 0;
                location / {
                    proxy_pass http://\(upstream.endpoint);
                    proxy_http_version 1.1;
                    proxy_buffering off;
                    proxy_request_buffering off;
                    \(more)
                }
                """)
    }

    /// Sends `totalBytes` in blocks; `onStall` hears how many were sent when the other side has taken no more for a while.
    private static func pour(_ stream: TestSupport.Stream, onStall: (Int) -> Void) throws {
        var sent = 0
        var hasStalled = false
        while sent < totalBytes {
            if !hasStalled && !stream.isWritable(withinMs: 300) {
                hasStalled = true
                onStall(sent)
            }
            try stream.send(block)
            sent += block.count
        }
    }

    /// Counts bytes and says whether each was the right one.
    private final class Checker {
        var count = 0
        var isRight = true
        func take(_ bytes: [UInt8]) {
            var done = 0
            while done < bytes.count {
                let at = count % StreamingTests.block.count
                let n = min(bytes.count - done, StreamingTests.block.count - at)
                let same = bytes.withUnsafeBytes { b in
                    StreamingTests.block.withUnsafeBytes { memcmp(b.baseAddress! + done, $0.baseAddress! + at, n) == 0 }
                }
                isRight = isRight && same
                count += n
                done += n
            }
        }
    }

    @Test("a large download passes whole in bounded memory", arguments: [true, false])
    func download(isChunked: Bool) throws {
        let upstream = try Upstream { _, c in
            if !isChunked {
                try c.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.totalBytes)\r\n\r\n")
                return try Self.pour(c.stream) { _ in }
            }
            try c.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            let chunk = Array("10000\r\n".utf8) + Self.block + Array("\r\n".utf8)
            for _ in 0..<(Self.totalBytes / Self.block.count) { try c.send(chunk) }
            try c.send("0\r\n\r\n")
        }
        let proxy = try proxy(upstream)
        let before = proxy.residentBytes
        let checker = Checker()
        var most = 0
        let client = try proxy.client()
        try client.send(RawClient.text())
        let response = try client.stream.readResponse { bytes in
            let mark = checker.count >> 24
            checker.take(bytes)
            if checker.count >> 24 != mark { most = max(most, proxy.residentBytes) }
        }
        #expect(response.status == 200)
        #expect(checker.count == Self.totalBytes)
        #expect(checker.isRight)
        #expect(most - before < Self.growthBytesMax, "grew by \((most - before) >> 10) KiB")
    }

    @Test func aLargeUploadPassesWholeInBoundedMemory() throws {
        let seen = Locked((count: 0, isRight: false))
        let upstream = try Upstream(readsBodies: false) { request, c in
            let checker = Checker()
            _ = try c.stream.readRequestBody(request.head) { checker.take($0) }
            seen.with { $0 = (checker.count, checker.isRight) }
            try c.answer(body: "done")
        }
        let proxy = try proxy(upstream)
        let before = proxy.residentBytes
        let client = try proxy.client()
        try client.send(RawClient.text("PUT", "/", ["Content-Length: \(Self.totalBytes)"]))
        try Self.pour(client.stream) { _ in }
        #expect(try client.response().text == "done")
        #expect(seen.current == (Self.totalBytes, true))
        #expect(proxy.residentBytes - before < Self.growthBytesMax)
    }

    @Test func aClientThatDoesNotReadStopsTheUpstream() throws {
        let stalledAt = Locked(0)
        let stalled = Signal()
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Length: \(Self.totalBytes)\r\n\r\n")
            try Self.pour(c.stream) { sent in
                stalledAt.with { $0 = sent }
                stalled.fire()
            }
        }
        let proxy = try proxy(upstream)
        let before = proxy.residentBytes
        let client = try proxy.client(receiveBufferBytes: 16 << 10)
        try client.send(RawClient.text())
        #expect(stalled.wait())
        #expect(stalledAt.current < Self.underWayBytesMax)
        #expect(proxy.residentBytes - before < Self.growthBytesMax)
        let other = try proxy.client()
        try other.send(RawClient.text())
        #expect(try other.stream.readHead().word(1) == "200", "other clients are served meanwhile")
        other.close()
        let checker = Checker()
        _ = try client.stream.readResponse { checker.take($0) }
        #expect(checker.count == Self.totalBytes)
        #expect(checker.isRight)
    }

    @Test func anUpstreamThatDoesNotReadStopsTheClient() throws {
        let mayRead = Signal()
        let upstream = try Upstream(readsBodies: false) { request, c in
            mayRead.wait()
            var count = 0
            _ = try c.stream.readRequestBody(request.head) { count += $0.count }
            try c.answer(body: "\(count)")
        }
        let proxy = try proxy(upstream)
        let before = proxy.residentBytes
        let client = try proxy.client()
        try client.send(RawClient.text("PUT", "/", ["Content-Length: \(Self.totalBytes)"]))
        var stalledAt: Int?
        try Self.pour(client.stream) { sent in
            stalledAt = sent
            #expect(proxy.residentBytes - before < Self.growthBytesMax)
            mayRead.fire()
        }
        let sent = try #require(stalledAt, "the client was never stopped")
        #expect(sent < Self.underWayBytesMax)
        #expect(try client.response().text == "\(Self.totalBytes)")
    }

    @Test func eventsArriveAsTheyAreSent() throws {
        let next = DispatchSemaphore(value: 0)
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in 0..<10 {
                next.wait()
                try c.send("9\r\ndata: \(i)\n\n\r\n")
            }
            try c.send("0\r\n\r\n")
        }
        let proxy = try proxy(upstream)
        let client = try proxy.client()
        try client.send(RawClient.text())
        #expect(try client.stream.readHead()["Transfer-Encoding"] == "chunked")
        var received = ""
        for i in 0..<10 {
            next.signal()
            while !received.contains("data: \(i)\n\n") { received += String(decoding: try client.stream.read(), as: UTF8.self) }
        }
        while !received.hasSuffix("0\r\n\r\n") { received += String(decoding: try client.stream.read(), as: UTF8.self) }
    }

    @Test func manySlowClientsAreServedTogether() throws {
        let upstream = try Upstream { _, c in try c.answer(body: Pattern.text(200_000)) }
        let proxy = try proxy(upstream)
        let clients = try (0..<40).map { _ in try proxy.client(receiveBufferBytes: 4 << 10) }
        for client in clients { try client.send(RawClient.text("GET", "/", ["Connection: close"]), pieceBytes: 9) }
        let expected = Pattern.text(200_000)
        for client in clients { #expect(try client.response().text == expected) }
    }
}
