// Owns mirrors: every request arrives at both ends with its body, and whatever becomes of a mirror costs the clients nothing.

import Foundation
import TestSupport
import Testing

@Suite("mirrors", .ownThread)
struct MirrorTests {
    private static func configuration(_ upstream: Upstream, _ mirror: Endpoint, bufferSize: String = "4k", patience: String = "2s") -> String {
        """
        client_body_buffer_size \(bufferSize); client_max_body_size 8m;
        location / { mirror /copy; proxy_pass http://\(upstream.endpoint); }
        location = /copy { internal; proxy_pass http://\(mirror)$request_uri; proxy_read_timeout \(patience); }
        """
    }

    @Test("a mirror loses nothing: all requests of many clients arrive at both ends, with their bodies")
    func nothingIsLost() throws {
        let upstream = try Upstream { r, c in try c.answer(body: "\(r.body.count)") }
        let mirror = try Upstream { _, c in try c.answer(body: String(repeating: "dropped", count: 10_000)) }
        // On a busy machine the mirror takes its time, and a copy that is given up has not arrived.
        let proxy = try Proxy(server: Self.configuration(upstream, mirror.endpoint, patience: "60s"), main: "worker_processes 2;")
        let perClient = 40
        let problems = Locked<[String]>([])
        let done = Locked(0)
        for i in 0..<8 {
            onThread {
                defer { done.with { $0 += 1 } }
                do {
                    let client = try proxy.client()
                    for n in 0..<perClient {
                        // Some bodies wait in memory, some in a file.
                        let body = n % 3 == 0 ? nil : String(repeating: "b", count: n % 3 == 1 ? 700 : 20_000)
                        let answer = try client.request(body == nil ? "GET" : "POST", "/\(i)/\(n)?x=\(n)", body: body)
                        if answer.text != "\(body?.utf8.count ?? 0)" { problems.with { $0.append("\(i)/\(n): \(answer.status) \(answer.text)") } }
                    }
                } catch { problems.with { $0.append("\(error)") } }
            }
        }
        try Harness.wait(for: "the clients") { done.current == 8 }
        #expect(problems.current == [])
        let count = 8 * perClient
        func summary(_ requests: [Request]) -> [String] { requests.map { "\($0.method) \($0.target) \($0.body.count)" }.sorted() }
        let copies = try mirror.waitForRequests(count)
        #expect(copies.count == count)
        #expect(summary(copies) == summary(upstream.requests))
        #expect(proxy.accessLines.count == count, "copies have no lines of their own")
    }

    @Test("a mirror that never answers delays nobody, and is cut short by nobody")
    func aSilentMirror() throws {
        let upstream = try Upstream(saying: "quick")
        let mirror = try Upstream { _, c in c.hold() }
        let proxy = try Proxy(server: Self.configuration(upstream, mirror.endpoint))
        let begun = ContinuousClock.now
        for i in 0..<20 {
            // The client has gone long before its copy is given up.
            #expect(try proxy.client().request("GET", "/\(i)").text == "quick")
        }
        #expect(ContinuousClock.now - begun < .seconds(2))
        _ = try mirror.waitForRequests(20)
        #expect(proxy.isRunning)
    }

    @Test("a mirror that is not there delays nobody")
    func aDeadMirror() throws {
        let upstream = try Upstream(saying: "quick")
        let proxy = try Proxy(server: Self.configuration(upstream, .tcp("127.0.0.1", try Ports.reserve())))
        for i in 0..<20 { #expect(try proxy.get("/\(i)").text == "quick") }
        #expect(try proxy.stop(SIGQUIT, withinMs: 30_000) == .exited(0))
    }

    @Test("a graceful stop lets copies that are under way come to their end")
    func aStop() throws {
        let upstream = try Upstream(saying: "quick")
        let mirror = try Upstream { _, c in
            usleep(300_000)
            try c.answer()
        }
        let proxy = try Proxy(server: Self.configuration(upstream, mirror.endpoint))
        #expect(try proxy.get("/").text == "quick")
        _ = try mirror.waitForRequests(1)
        #expect(try proxy.stop(SIGQUIT, withinMs: 30_000) == .exited(0))
        #expect(mirror.failures == [])
    }

    @Test("beyond a bound copies are dropped: counted, and none the slower for the clients", arguments: [0, 100_000])
    func theBound(bodyBytes: Int) throws {
        let upstream = try Upstream(saying: "quick")
        let hole = try BlackHole()
        let proxy = try Proxy(server: Self.configuration(upstream, hole.endpoint, bufferSize: "1m"))
        let client = try proxy.client()
        let body = bodyBytes == 0 ? nil : String(repeating: "b", count: bodyBytes)
        for _ in 0..<300 { #expect(try client.request("POST", "/", body: body).text == "quick") }
        #expect(proxy.errorLog.contains("too many mirrored requests are under way, one is dropped"))
        // A quarter of worker_connections, which is 512.
        let receipt = try Admin(proxy).get("/receipts/1")
        #expect(receipt["inner"].int == 128)
        #expect(receipt["mirrors_dropped"].int == 172)
        #expect(receipt["after"]["started"].int.map { $0 >= 300 } == true)
    }
}
