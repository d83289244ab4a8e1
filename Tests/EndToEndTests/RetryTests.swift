// Owns which failed requests go to another peer and which must not, with counts taken on both sides.

import Foundation
import TestSupport
import Testing

@Suite("next upstream", .ownThread)
struct RetryTests {
    enum Failure: String, CaseIterable, Sendable {
        case refused, reset, closed, timedOut
    }

    /// A peer that fails each request in one way.
    private func failing(_ failure: Failure) throws -> Upstream {
        let upstream = try Upstream(listening: failure != .refused) { _, c in
            switch failure {
            case .reset: c.reset()
            case .timedOut: c.hold()
            default: c.close()
            }
        }
        return upstream
    }

    /// Both peers in turn, neither ever taken out. Impatient only where a peer says nothing: on a busy machine the others take their time.
    private func proxy(_ first: Upstream, _ second: Upstream, _ more: String = "", failing failure: Failure? = nil) throws -> Proxy {
        let patience = failure == .timedOut ? "500ms" : "60s"
        return try Proxy(
            server: "location / { proxy_pass http://u; proxy_read_timeout \(patience); \(more) }",
            http: """
                log_format peers "$request_method $status $upstream_addr $upstream_status";
                access_log access.log peers;
                upstream u { server \(first.endpoint) max_fails=0; server \(second.endpoint) max_fails=0; }
                """)
    }

    @Test("a GET is tried on the next peer", arguments: Failure.allCases)
    func getIsRetried(failure: Failure) throws {
        let bad = try failing(failure)
        let good = try Upstream(saying: "good")
        let proxy = try proxy(bad, good, failing: failure)
        for _ in 0..<4 { #expect(try proxy.get().text == "good") }
        #expect(good.requestCount == 4)
        #expect(failure == .refused || bad.requestCount == 2)
        let status = failure == .timedOut ? "504" : "502"
        let lines = try proxy.waitForLines(4)
        #expect(lines.filter { $0 == "GET 200 \(bad.endpoint), \(good.endpoint) \(status), 200" }.count == 2, "\(lines)")
        #expect(lines.filter { $0 == "GET 200 \(good.endpoint) 200" }.count == 2, "\(lines)")
    }

    @Test("a POST that was sent is not repeated", arguments: [Failure.reset, .closed, .timedOut])
    func postIsNotRetried(failure: Failure) throws {
        let bad = try failing(failure)
        let good = try Upstream(saying: "good")
        let proxy = try proxy(bad, good, failing: failure)
        let statuses = try (0..<4).map { try proxy.get("/\($0)", method: "POST", body: "b").status }
        #expect(statuses.filter { $0 == (failure == .timedOut ? 504 : 502) }.count == 2)
        #expect(statuses.filter { $0 == 200 }.count == 2)
        #expect(bad.requestCount == 2)
        #expect(good.requestCount == 2)
        #expect(Set((bad.requests + good.requests).map(\.target)).count == 4, "each arrived once")
    }

    @Test func aPostThatWasNeverSentIsTriedElsewhere() throws {
        let bad = try failing(.refused)
        let good = try Upstream(saying: "good")
        let proxy = try proxy(bad, good)
        for _ in 0..<4 { #expect(try proxy.get("/", method: "POST", body: "b").text == "good") }
        #expect(good.requests.map(\.text) == ["b", "b", "b", "b"])
    }

    @Test func aPostIsRepeatedWhenToldSo() throws {
        let bad = try failing(.closed)
        let good = try Upstream(saying: "good")
        let proxy = try proxy(bad, good, "proxy_next_upstream error timeout non_idempotent;")
        for _ in 0..<4 { #expect(try proxy.get("/", method: "POST", body: "body").text == "good") }
        #expect(good.requests.map(\.text) == ["body", "body", "body", "body"])
    }

    @Test func offMeansNoSecondPeer() throws {
        let bad = try failing(.closed)
        let good = try Upstream(saying: "good")
        let proxy = try proxy(bad, good, "proxy_next_upstream off;")
        let statuses = try (0..<4).map { _ in try proxy.get().status }
        #expect(statuses.sorted() == [200, 200, 502, 502])
    }

    @Test("answers that count as failures go on to the next peer", arguments: [500, 502, 503, 504, 403, 404, 429])
    func statuses(status: Int) throws {
        let bad = try Upstream { _, c in try c.answer("\(status) Bad", body: "bad") }
        let good = try Upstream(saying: "good")
        let proxy = try proxy(bad, good, "proxy_next_upstream http_\(status);")
        for _ in 0..<4 { #expect(try proxy.get().text == "good") }
        #expect(bad.requestCount == 2)
        let plain = try self.proxy(bad, good)
        #expect(try (0..<2).map { _ in try plain.get().status }.sorted() == [200, status].sorted())
    }

    @Test func anInvalidHeadGoesOnWhenToldSo() throws {
        let bad = try Upstream { _, c in try c.send("HTTP/1.1 200 OK\r\nX Y: 1\r\n\r\n") }
        let good = try Upstream(saying: "good")
        let proxy = try proxy(bad, good, "proxy_next_upstream invalid_header;")
        for _ in 0..<4 { #expect(try proxy.get().text == "good") }
    }

    @Test func nothingIsTriedAgainOnceTheClientHasHeardSomething() throws {
        let bad = try Upstream { _, c in
            try c.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart")
            c.reset()
        }
        let good = try Upstream(saying: "good")
        let proxy = try proxy(bad, good, "proxy_buffering off;")
        var cut = 0
        for _ in 0..<4 {
            do { #expect(try proxy.get().text == "good") } catch is StreamEnd { cut += 1 }
        }
        #expect(cut == 2)
        #expect(bad.requestCount == 2)
        #expect(good.requestCount == 2)
    }

    @Test func triesAreBounded() throws {
        let peers = try (0..<4).map { _ in try failing(.closed) }
        let proxy = try Proxy(
            server: "location / { proxy_pass http://u; proxy_next_upstream_tries 3; }",
            http: "upstream u { \(peers.map { "server \($0.endpoint) max_fails=0;" }.joined()) }")
        #expect(try proxy.get().status == 502)
        #expect(peers.map(\.requestCount).reduce(0, +) == 3)
    }

    @Test func theTimeForTriesIsBounded() throws {
        let peers = try (0..<4).map { _ in try failing(.timedOut) }
        let proxy = try Proxy(
            server: "location / { proxy_pass http://u; proxy_read_timeout 300ms; proxy_next_upstream_timeout 400ms; }",
            http: "upstream u { \(peers.map { "server \($0.endpoint) max_fails=0;" }.joined()) }")
        #expect(try proxy.get().status == 504)
        #expect(peers.map(\.requestCount).reduce(0, +) == 2)
    }

    @Test func whenEveryPeerFailsTheClientHearsItOnce() throws {
        let first = try failing(.closed)
        let second = try failing(.refused)
        let proxy = try proxy(first, second)
        let response = try proxy.get()
        #expect(response.status == 502)
        #expect(response.text.contains("502 Bad Gateway"))
        #expect(first.requestCount == 1)
    }

    @Test func aBufferedBodyIsSentWholeToTheNextPeer() throws {
        let body = Pattern.text(300_000)
        let bad = try Upstream(readsBodies: false) { _, c in c.reset() }
        let good = try Upstream { r, c in try c.answer(body: r.text == body ? "whole" : "broken") }
        let proxy = try proxy(bad, good)
        for _ in 0..<4 { #expect(try proxy.get("/", method: "PUT", body: body).text == "whole") }
    }

    @Test func idempotentMethodsAreRetried() throws {
        for method in ["HEAD", "PUT", "DELETE", "OPTIONS"] {
            let bad = try failing(.closed)
            let good = try Upstream { r, c in
                if r.method == "HEAD" { try c.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n") } else { try c.answer() }
            }
            let proxy = try proxy(bad, good)
            for _ in 0..<2 { #expect(try proxy.get("/", method: method).status == 200, "\(method)") }
        }
    }
}
