// Owns filtered bodies that are large, slow or without end: memory stays bounded, nobody waits for others.

import Foundation
import TestSupport
import Testing

@Suite("filtered streams", .ownThread)
struct FilterStreamingTests {
    static let totalBytes = 96 << 20
    static let growthBytesMax = 48 << 20
    static let block = Array(Pattern.text(64 << 10).utf8)

    /// Of a block repeated without end: whether each byte is the right one.
    private final class Checker {
        var count = 0
        var isRight = true
        func take(_ bytes: [UInt8]) {
            var done = 0
            while done < bytes.count {
                let at = count % FilterStreamingTests.block.count
                let n = min(bytes.count - done, FilterStreamingTests.block.count - at)
                isRight = isRight && bytes[done..<(done + n)].elementsEqual(FilterStreamingTests.block[at..<(at + n)])
                done += n
                count += n
            }
        }
    }

    @Test("what is large passes gzip whole, in bounded memory", arguments: [true, false])
    func large(isBuffered: Bool) throws {
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: \(Self.totalBytes)\r\n\r\n")
            for _ in 0..<(Self.totalBytes / Self.block.count) { try c.send(Self.block) }
        }
        let proxy = try Proxy(
            server:
                "gzip on; location / { proxy_pass http://\(upstream.endpoint); proxy_buffering \(isBuffered ? "on" : "off"); }")
        let before = proxy.residentBytes
        let client = try proxy.client()
        try client.send(RawClient.text("GET", "/", ["Accept-Encoding: gzip"]))
        let reader = Gzip.Reader()
        let checker = Checker()
        let response = try client.stream.readResponse { reader.take($0) { checker.take($0) } }
        #expect(response["Content-Encoding"] == "gzip")
        #expect(reader.isWhole && !reader.isBroken)
        #expect(checker.count == Self.totalBytes)
        #expect(checker.isRight)
        #expect(proxy.residentBytes - before < Self.growthBytesMax)
    }

    @Test func aClientThatDoesNotReadStopsTheUpstreamThroughGzip() throws {
        let stalled = Signal()
        // Noise, so that gzip makes it no smaller.
        let noise = (0..<(64 << 10)).map { _ in UInt8.random(in: 0...255) }
        let blocks = 512
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: \(blocks * noise.count)\r\n\r\n")
            for _ in 0..<blocks {
                if !c.stream.isWritable(withinMs: 300) { stalled.fire() }
                try c.send(noise)
            }
        }
        let proxy = try Proxy(server: "gzip on; location / { proxy_pass http://\(upstream.endpoint); proxy_buffering off; }")
        let before = proxy.residentBytes
        let client = try proxy.client(receiveBufferBytes: 16 << 10)
        try client.send(RawClient.text("GET", "/", ["Accept-Encoding: gzip"]))
        #expect(stalled.wait())
        #expect(proxy.residentBytes - before < Self.growthBytesMax)
        let reader = Gzip.Reader()
        var isRight = true
        _ = try client.stream.readResponse {
            reader.take($0) { bytes in
                let at = (reader.count - bytes.count) % noise.count
                isRight = isRight && bytes.indices.allSatisfy { bytes[$0] == noise[(at + $0) % noise.count] }
            }
        }
        #expect(reader.isWhole && reader.count == blocks * noise.count && isRight)
    }

    @Test("a little gzip that unpacks to much is unpacked as the client takes it", arguments: ["http", "http2", "file"])
    func bomb(way: String) throws {
        let packed = Gzip.packed([UInt8](repeating: 0x61, count: Self.totalBytes), level: 9)
        #expect(packed.count < 128 << 10)
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: \(packed.count)\r\n\r\n")
            try c.send(packed)
        }
        let proxy = try Proxy(
            server: """
                http2 on; gunzip on;
                location /proxied { proxy_pass http://\(upstream.endpoint); }
                location /a.html { root site; gzip_static always; }
                """, files: ["site/b": ""])
        try Data(packed).write(to: URL(fileURLWithPath: proxy.path("site/a.html.gz")))
        let before = proxy.residentBytes
        if way == "http2" {
            let client = try HTTP2Client(proxy)
            let answer = try client.answer(try client.begin("GET", "/proxied"))
            #expect(answer.body.count == Self.totalBytes && answer.resetCode == nil, "\(answer.body.count), reset \(answer.resetCode ?? -1): \(proxy.errorLog)")
        } else {
            let client = try proxy.client(receiveBufferBytes: 16 << 10)
            try client.send(RawClient.text("GET", way == "file" ? "/a.html" : "/proxied"))
            _ = try client.stream.readHead()
            let other = try proxy.client()
            #expect(try other.request("GET", "/none").status == 404, "others are served meanwhile")
            #expect(proxy.residentBytes - before < Self.growthBytesMax)
            var count = 0
            _ = try client.stream.readChunked { count += $0.count }
            #expect(count == Self.totalBytes)
        }
        #expect(proxy.residentBytes - before < Self.growthBytesMax)
    }

    @Test("events are not held back by gzip", arguments: ["text/event-stream", "text/plain"], [true, false])
    func events(type: String, isBuffered: Bool) throws {
        let next = DispatchSemaphore(value: 0)
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Type: \(type)\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in 0..<10 {
                next.wait()
                try c.send("9\r\ndata: \(i)\n\n\r\n")
            }
            next.wait()
            try c.send("0\r\n\r\n")
        }
        let proxy = try Proxy(
            server:
                "http2 on; gzip on; gzip_types \(type); location / { proxy_pass http://\(upstream.endpoint); proxy_buffering \(isBuffered ? "on" : "off"); }"
        )
        let client = try HTTP2Client(proxy)
        let id = try client.begin("GET", "/", [("accept-encoding", "gzip")])
        for i in 0..<10 {
            next.signal()
            _ = try client.answer(id) { answer in
                let reader = Gzip.Reader()
                var text: [UInt8] = []
                reader.take(answer.body) { text += $0 }
                return String(decoding: text, as: UTF8.self).hasSuffix("data: \(i)\n\n")
            }
        }
        next.signal()
        let whole = try client.answer(id)
        #expect(whole["content-encoding"] == "gzip")
        #expect(Gzip.unpacked(whole.body) == (0..<10).map { "data: \($0)\n\n" }.joined())
    }

    @Test func anUpstreamThatBreaksOffBreaksTheAnswer() throws {
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 1000000\r\n\r\n")
            try c.send(Self.block)
            c.close()
        }
        let proxy = try Proxy(server: "gzip on; location / { proxy_pass http://\(upstream.endpoint); }")
        let (answer, _) = try proxy.raw("GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n")
        #expect(answer.contains("Content-Encoding: gzip"))
        #expect(!answer.hasSuffix("0\r\n\r\n"))
        #expect(proxy.errorLog.contains("upstream prematurely closed connection"))
    }

    @Test func aRateHoldsForWhatIsSent() throws {
        let noise = (0..<40_000).map { _ in UInt8.random(in: 0...255) }
        let upstream = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: \(noise.count)\r\n\r\n")
            try c.send(noise)
        }
        let proxy = try Proxy(server: "gzip on; limit_rate 20k; location / { proxy_pass http://\(upstream.endpoint); }")
        let begun = Date()
        let response = try proxy.get("/", ["Accept-Encoding: gzip"])
        #expect(Date().timeIntervalSince(begun) > 0.7)
        let reader = Gzip.Reader()
        reader.take(response.body) { _ in }
        #expect(reader.isWhole && reader.count == noise.count)
    }
}
