// Owns holds over the admin API: a single server restarts while requests wait, and none is lost.

import Foundation
import TestSupport
import Testing

@Suite("holds", .ownThread, .enabled(if: !Harness.isNginx))
struct HoldTests {
    private func proxy(_ upstream: Upstream) throws -> Proxy {
        try Proxy(
            server: "location / { proxy_pass http://app; }", http: "upstream blue { server \(upstream.endpoint); } split app { blue 1; }",
            main: "worker_processes 2; state %DIR%/state;")
    }

    private func ask(_ proxy: Proxy, _ target: String) throws -> Response {
        try AdminTests.ask(AdminTests.socket(proxy), target.hasPrefix("/receipts") ? "GET" : "POST", target)
    }

    @Test func aServerRestartsAndNoRequestIsLost() throws {
        let upstream = try Upstream(saying: "hello")
        let proxy = try proxy(upstream)
        #expect(try proxy.get().text == "hello")
        #expect(try ask(proxy, "/splits/app/hold?timeout=20s&max=100").status == 200)
        upstream.refuse()
        let clients = try (0..<12).map { _ in try proxy.client() }
        for client in clients { try client.send(RawClient.text("POST", "/", body: "body")) }
        // One that gives up leaves no trace at the server.
        let hasty = try proxy.client()
        try hasty.send(RawClient.text("GET", "/hasty"))
        hasty.close()
        #expect(try proxy.waitForLines(2).contains { $0.contains("/hasty") && $0.contains(" 499 ") })
        #expect(upstream.requestCount == 1)
        func holding() throws -> Int? {
            let status = AdminTests.object(try AdminTests.ask(AdminTests.socket(proxy), "GET", "/status"))
            return (status["splits"] as? [String: [String: Any]])?["app"]?["holding"] as? Int
        }
        try Harness.wait(for: "12 that wait") { try holding() == 12 }
        try upstream.listen()
        #expect(try ask(proxy, "/splits/app/release?rate=1000").status == 200)
        for client in clients { #expect(try client.response().text == "hello") }
        #expect(upstream.requests.dropFirst().allSatisfy { $0.text == "body" } && upstream.requestCount == 13)
        #expect(try holding() == 0)
        let receipt = AdminTests.object(try ask(proxy, "/receipts/1"))
        // The hasty one may have gone before it could wait.
        #expect([12, 13].contains(receipt["held"] as? Int), "\(receipt)")
    }

    @Test func thereIsAnEndToWaitingAndToRoom() throws {
        let upstream = try Upstream(saying: "hello")
        let proxy = try proxy(upstream)
        #expect(try ask(proxy, "/splits/app/hold?timeout=300ms&max=1").status == 200)
        let clients = try (0..<6).map { _ in try proxy.client() }
        for client in clients { try client.send(RawClient.text()) }
        for client in clients {
            let answer = try client.response()
            #expect(answer.status == 503 && answer["Retry-After"] == "1")
        }
        #expect(upstream.requestCount == 0)
        #expect(proxy.errorLog.contains("too many requests wait: their split is held \"app\""))
        #expect(proxy.errorLog.contains("the request has waited too long: its split is held \"app\""))
        #expect(try ask(proxy, "/splits/app/release").status == 200)
        #expect(try clients[0].request().text == "hello")
    }
}
