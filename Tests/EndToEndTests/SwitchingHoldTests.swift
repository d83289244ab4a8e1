// Owns holds: requests wait while a single server restarts, in bounds, and none of them is lost.

import Foundation
import TestSupport
import Testing

@Suite("switching: holds", .ownThread, .enabled(if: !Harness.isNginx))
struct SwitchingHoldTests {
    /// Answers `NAME BODY`.
    private func script(_ name: String) -> Upstream.Handler {
        { request, connection in try connection.answer(body: name + " " + request.text) }
    }

    private func proxy(_ server: Upstream, workers: Int = 1) throws -> Proxy {
        try Proxy(
            server: "location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; }",
            http: "upstream only { server \(server.endpoint); keepalive 8; } split app { only 1; }",
            main: "worker_processes \(workers);")
    }

    private func waitForHeld(_ count: Int, _ admin: Admin) throws {
        var status = try admin.get("/status")
        try Harness.wait(for: "\(count) requests to wait: \(status)") {
            status = try admin.get("/status")
            return try admin.get("/receipts/\(status["revision"].int ?? 0)")["held"].int == count
        }
    }

    @Test("a single server restarts where it was and nobody notices", arguments: [(1, false), (2, false), (2, true)])
    func restart(workers: Int, isUnix: Bool) throws {
        let folder = try Harness.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let old = try Upstream(at: isUnix ? .unix(folder + "/only.sock") : nil, script("old"))
        let proxy = try proxy(old, workers: workers)
        let admin = try Admin(proxy)
        let clients = try (0..<8).map { _ in try proxy.client() }
        for client in clients { #expect(try client.request().text == "old ") }

        try admin.write("POST", "/splits/app/hold")
        #expect(try admin.get("/status")["splits"]["app"]["held"].bool == true)
        let bodies = (0..<8).map { "body \($0) " + Pattern.text(20_000) }
        let texts = bodies.enumerated().map { RawClient.text("POST", "/", ["X-Request-Id: \($0)"], body: $1) }
        for i in 0..<7 { try clients[i].send(texts[i]) }
        // Of the last one half the body comes while it waits.
        try clients[7].send(String(texts[7].dropLast(10_000)))
        try waitForHeld(8, admin)
        #expect(old.requestCount == 8)
        old.stop()
        try clients[7].send(String(texts[7].suffix(10_000)))
        let new = try Upstream(at: old.endpoint, script("new"))
        try admin.write("POST", "/splits/app/release")
        for (i, client) in clients.enumerated() { #expect(try client.response().text == "new " + bodies[i]) }
        #expect(old.requestCount == 8)
        #expect(Set(new.requests.compactMap { $0["X-Request-Id"] }).count == 8)
        #expect(new.requestCount == 8, "none was asked twice")
        for client in clients { #expect(try client.request().text == "new ") }
        let receipt = try admin.get("/receipts/1")
        #expect(receipt["balances"].bool == true && receipt["after"]["failed_by_proxy"].int == 0, "\(receipt)")
        #expect(receipt["closed_by_proxy"].int == 0, "\(receipt)")
    }

    @Test func whatWaitsGoesOnUnderTheRevisionOfTheRelease() throws {
        let pools = try BlueGreen()
        let admin = try pools.admin()
        let client = try pools.proxy.client()
        try admin.write("POST", "/splits/app/hold")
        try client.send(RawClient.text())
        try waitForHeld(1, admin)
        #expect(try admin.weigh(["blue": 0, "green": 1]) == 2)
        try admin.write("POST", "/splits/app/release")
        #expect(try client.response().text == "green")
        #expect(pools.blue.requestCount == 0)
        let receipt = try admin.get("/receipts/2?wait=1")
        #expect(receipt["before"]["moved"].int == 1, "\(receipt)")
        #expect(receipt["after"]["started"].int == 1, "\(receipt)")
        #expect(receipt["balances"].bool == true, "\(receipt)")
    }

    private func expectRefused(_ response: Response) {
        #expect(response.status == 503)
        #expect(Int(response["Retry-After"] ?? "") ?? 0 > 0, "\(response.head.text)")
    }

    @Test func oneMoreThanMayWaitIsTold() throws {
        let server = try Upstream(script("only"))
        let proxy = try proxy(server)
        let admin = try Admin(proxy)
        try admin.write("POST", "/splits/app/hold?max=2")
        let waiting = try (0..<2).map { _ in try proxy.client() }
        for client in waiting { try client.send(RawClient.text()) }
        try waitForHeld(2, admin)
        let late = try proxy.client()
        expectRefused(try late.request())
        expectRefused(try late.request("POST", "/", body: "x"))
        try admin.write("POST", "/splits/app/release")
        for client in waiting { #expect(try client.response().text == "only ") }
        #expect(try late.request().text == "only ")
        #expect(server.requestCount == 3)
    }

    @Test func whoWaitsTooLongIsTold() throws {
        let server = try Upstream(script("only"))
        let proxy = try proxy(server)
        let admin = try Admin(proxy)
        try admin.write("POST", "/splits/app/hold?timeout=100ms")
        let client = try proxy.client()
        var response: Response?
        let ms = try elapsedMs { response = try client.request() }
        expectRefused(try #require(response))
        #expect(ms >= 90)
        #expect(server.requestCount == 0)
        try admin.write("POST", "/splits/app/release")
        #expect(try client.request().text == "only ")
    }
}
