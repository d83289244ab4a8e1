// Owns limits of requests a second and of connections at a time, as clients and logs see them.

import Foundation
import TestSupport
import Testing

@Suite("limits", .ownThread)
struct LimitTests {
    private func proxy(_ server: String, http: String = "", main: String = "") throws -> Proxy {
        try Proxy(
            server: server,
            http: """
                limit_req_zone $arg_k zone=r:1m rate=60r/m; limit_req_zone $arg_k zone=fast:1m rate=10r/s;
                limit_conn_zone $arg_k zone=c:1m; \(http)
                """, main: main)
    }

    @Test func whoComesTooFastIsRefusedAndOthersAreNot() throws {
        let proxy = try proxy("location / { limit_req zone=r; limit_req_status 429; }")
        #expect(try proxy.get("/x?k=a").status == 404)
        #expect(try (0..<3).map { _ in try proxy.get("/x?k=a").status } == [429, 429, 429])
        #expect(try proxy.get("/x?k=b").status == 404)
        // Without a key nobody is counted.
        #expect(try (0..<3).map { _ in try proxy.get("/x").status } == [404, 404, 404])
        #expect(proxy.errorLog.contains(/\[error\] [^\n]*limiting requests, excess: [01]\.\d{3} by zone "r", client: 127\.0\.0\.1/))
    }

    @Test func allWorkersCountTogether() throws {
        let proxy = try proxy("location / { limit_req zone=r burst=4 nodelay; }", main: "worker_processes 3;")
        let statuses = try (0..<20).map { _ in try proxy.get("/x?k=a").status }
        // A second and more may have passed on a busy machine.
        #expect((5...8).contains(statuses.filter { $0 == 404 }.count), "\(statuses)")
        #expect(statuses.allSatisfy { $0 == 404 || $0 == 503 })
    }

    @Test func requestsOfABurstWaitForTheirTurn() throws {
        let proxy = try proxy("location / { limit_req zone=fast burst=3; add_header X-Status $limit_req_status always; }")
        let clients = try (0..<5).map { _ in try proxy.client() }
        var statuses: [String: Int] = [:]
        let ms = try elapsedMs {
            for client in clients { try client.send(RawClient.text("GET", "/x?k=a")) }
            for client in clients {
                let response = try client.response()
                statuses["\(response.status) \(response["X-Status"] ?? "")", default: 0] += 1
            }
        }
        #expect(statuses == ["404 PASSED": 1, "404 DELAYED": 3, "503 REJECTED": 1])
        #expect(ms >= 280)
        #expect(Harness.isNginx || proxy.errorLog.contains(#"[warn] "#))
        #expect(proxy.errorLog.contains(", by zone \"fast\""))
    }

    @Test func delayedRequestsGoOnWithTheirBodies() throws {
        let upstream = try Upstream { r, c in try c.answer(body: r.text) }
        let proxy = try proxy("location / { limit_req zone=fast burst=9; proxy_pass http://\(upstream.endpoint); proxy_request_buffering off; }")
        let client = try proxy.client()
        let body = String(repeating: "0123456789", count: 5000)
        for _ in 0..<3 { #expect(try client.request("POST", "/?k=a", body: body).text == body) }
        // Also behind each other in one piece.
        try client.send((0..<3).map { RawClient.text("POST", "/?k=b", body: "body \($0)") }.joined())
        for n in 0..<3 { #expect(try client.response().text == "body \(n)") }
    }

    @Test func aClientThatLeavesWhileItsRequestWaitsIsLetGo() throws {
        let proxy = try proxy("location / { limit_req zone=r burst=9; }")
        #expect(try proxy.get("/x?k=a").status == 404)
        let client = try proxy.client()
        try client.send(RawClient.text("GET", "/gone?k=a"))
        try Harness.wait(for: "the delay") { proxy.errorLog.contains("delaying request, excess: ") || !proxy.errorLog.isEmpty && Harness.isNginx }
        client.close()
        let lines = try proxy.waitForLines(2)
        #expect(lines[1].contains("GET /gone?k=a HTTP/1.1\" 499 0"), "\(lines)")
    }

    @Test func severalLimitsAreAllObeyed() throws {
        let proxy = try proxy("location / { limit_req zone=fast burst=100 nodelay; limit_req zone=r burst=1 nodelay; }")
        #expect(try (0..<3).map { _ in try proxy.get("/x?k=a").status } == [404, 404, 503])
    }

    @Test func aDryRunTellsAndPasses() throws {
        let proxy = try proxy(
            "limit_req_dry_run on; limit_conn_dry_run on; location / { limit_req zone=r; limit_conn c 1; add_header X-S $limit_req_status-$limit_conn_status always; }")
        #expect(try proxy.get("/x?k=a")["X-S"] == "PASSED-PASSED")
        #expect(try proxy.get("/x?k=a")["X-S"] == "REJECTED_DRY_RUN-PASSED")
        #expect(proxy.errorLog.contains("limiting requests, dry run, excess: "))
    }

    @Test func aReloadForgetsNobody() throws {
        let proxy = try proxy("location / { limit_req zone=r; } location /v { return 200 old; }")
        #expect(try proxy.get("/x?k=a").status == 404)
        try proxy.reload(proxy.configuration.replacing("old", with: "new").replacing("rate=60r/m", with: "rate=1r/m")) {
            try proxy.get("/v").text == "new"
        }
        #expect(try proxy.get("/x?k=a").status == 503)
    }

    // MARK: limit_conn

    /// An upstream that answers `/held` when told to.
    private func holding(_ release: Signal) throws -> Upstream {
        try Upstream { r, c in
            if r.target.hasPrefix("/held") { release.wait() }
            try c.answer(body: "done")
        }
    }

    @Test func asManyAtATimeAsAllowed() throws {
        let release = Signal()
        let upstream = try holding(release)
        let proxy = try proxy(
            "location / { limit_conn c 2; proxy_pass http://\(upstream.endpoint); add_header X-S $limit_conn_status always; }", main: "worker_processes 2;")
        let held = try (0..<2).map { _ in
            let client = try proxy.client()
            try client.send(RawClient.text("GET", "/held?k=a"))
            return client
        }
        _ = try upstream.waitForRequests(2)
        let refused = try proxy.get("/x?k=a")
        #expect(refused.status == 503)
        #expect(refused["X-S"] == "REJECTED")
        #expect(try proxy.get("/x?k=b")["X-S"] == "PASSED")
        #expect(try proxy.get("/x").status == 200)
        #expect(proxy.errorLog.contains("limiting connections by zone \"c\", client: "))
        release.fire()
        for client in held { #expect(try client.response().text == "done") }
        // Idle connections do not count.
        #expect(try proxy.get("/x?k=a").status == 200)
    }

    @Test func whoeverEndsInWhateverWayCountsNoLonger() throws {
        let release = Signal()
        let upstream = try holding(release)
        let proxy = try proxy("location / { limit_conn c 1; proxy_pass http://\(upstream.endpoint); proxy_read_timeout 300ms; }")
        for n in 1...2 {
            // By a reset of the client, then by a timeout.
            let client = try proxy.client()
            try client.send(RawClient.text("GET", "/held?k=a"))
            _ = try upstream.waitForRequests(n)
            #expect(try proxy.get("/x?k=a").status == 503)
            if n == 1 { client.reset() } else { #expect(try client.response().status == 504) }
            _ = try proxy.waitForLines(2 * n)
        }
        release.fire()
        #expect(try proxy.get("/x?k=a").status == 200)
    }

    @Test func aReloadKeepsCountingThoseWhoAreThere() throws {
        let release = Signal()
        let upstream = try holding(release)
        let proxy = try proxy("location / { limit_conn c 1; proxy_pass http://\(upstream.endpoint); } location /v { return 200 old; }")
        let client = try proxy.client()
        try client.send(RawClient.text("GET", "/held?k=a"))
        _ = try upstream.waitForRequests(1)
        try proxy.reload(proxy.configuration.replacing("old", with: "new")) { try proxy.get("/v").text == "new" }
        #expect(try proxy.get("/x?k=a").status == 503)
        release.fire()
        #expect(try client.response().text == "done")
        #expect(try proxy.get("/x?k=a").status == 200)
    }

    /// 444 is nginx's word for closing the connection, and not only in `return`.
    @Test func whoIsRefusedMayGetNoAnswerAtAll() throws {
        let proxy = try proxy("location / { limit_req zone=r; limit_req_status 444; } location /files/ { try_files /none =444; }")
        #expect(try proxy.get("/x?k=a").status == 404)
        for path in ["/x?k=a", "/files/x"] { #expect(try proxy.raw(RawClient.text("GET", path)).text == "", "\(path)") }
        #expect(try proxy.waitForLines(3).suffix(2).allSatisfy { $0.contains(" 444 0 ") })
    }
}
