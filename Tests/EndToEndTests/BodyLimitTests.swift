// Owns bodies at the edges of memory: larger than any buffer of the proxy although the configuration asks for more.

import Foundation
import TestSupport
import Testing

@Suite("body limits", .ownThread)
struct BodyLimitTests {
    @Test("a body beyond every buffer passes whole, whatever the buffer directives ask for", arguments: [true, false])
    func largeBodyInABigBuffer(isChunked: Bool) throws {
        let upstream = try Upstream { r, c in try c.answer(body: "\(r.body.count) \(r.body.first ?? 0) \(r.body.last ?? 0)") }
        let proxy = try Proxy(
            server: """
                client_max_body_size 16m; client_body_buffer_size 8m;
                location / { proxy_pass http://\(upstream.endpoint); }
                """)
        let size = 3 << 20
        let body = "a" + String(repeating: "b", count: size - 2) + "c"
        let client = try proxy.client()
        if isChunked {
            let half = size / 2
            let first = body.prefix(half)
            let rest = body.dropFirst(half)
            try client.send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            try client.send(String(first.utf8.count, radix: 16) + "\r\n" + first + "\r\n")
            try client.send(String(rest.utf8.count, radix: 16) + "\r\n" + rest + "\r\n0\r\n\r\n")
        } else {
            try client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n" + body)
        }
        #expect(try client.response().text == "\(size) 97 99")
        #expect(proxy.isRunning)
    }
}

@Suite("compressed access log", .ownThread)
struct CompressedLogTests {
    @Test func everyLineIsThereOnceTheProxyHasStopped() throws {
        let proxy = try Proxy(http: "access_log access.log.gz combined gzip=3; server { listen 127.0.0.1:%PORT%; return 200 x; }")
        for i in 0..<40 { #expect(try proxy.get("/line/\(i)").status == 200) }
        #expect(try proxy.stop(SIGQUIT, withinMs: 30_000) == .exited(0))
        let unpacked = Process()
        let output = Pipe()
        unpacked.executableURL = URL(fileURLWithPath: "/bin/gzip")
        unpacked.arguments = ["-dc", proxy.path("access.log.gz")]
        unpacked.standardOutput = output
        try unpacked.run()
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        unpacked.waitUntilExit()
        #expect(unpacked.terminationStatus == 0)
        let lines = text.split(separator: "\n")
        #expect(lines.count == 40)
        #expect(lines.enumerated().allSatisfy { $1.contains("/line/\($0) ") })
    }
}
