// Owns what becomes of sick servers without a check: ejections, panic, slow starts; and what an upstream takes at once: queue,
// circuit breaker, retry budget. With real processes, over the status of the admin API.

import Foundation
import TestSupport
import Testing

@Suite("passive health", .ownThread, .enabled(if: !Harness.isNginx))
struct PassiveHealthTests {
    private func proxy(_ upstream: String, _ more: String = "", workers: Int = 1) throws -> Proxy {
        try Proxy(
            server: "location / { proxy_pass http://u; \(more) }", http: "upstream u { \(upstream) }", main: "worker_processes \(workers);")
    }

    private func status(_ proxy: Proxy) throws -> JSONValue { try Admin(proxy).get("/status")["upstreams"]["u"] }

    private func state(_ proxy: Proxy, _ server: Int) throws -> String? { try status(proxy)["servers"][server]["state"].text }

    @Test func errorsOneBehindTheOtherEjectAServer() throws {
        let bad = try Upstream { _, c in try c.answer("500 Internal Server Error", body: "bad") }
        let good = try Upstream(saying: "good")
        let proxy = try proxy(
            "server \(bad.endpoint); server \(good.endpoint); outlier_detection consecutive_5xx=3 base_ejection_time=1s;")
        let texts = try (0..<20).map { _ in try proxy.get().text }
        #expect(texts.count { $0 == "bad" } == 3)
        #expect(try state(proxy, 0) == "ejected")
        #expect(try status(proxy)["ejections"].int == 1)
        #expect(proxy.errorLog.contains("too many errors one behind the other: ejected for a while is the upstream server"))
        try Harness.wait(for: "the end of the ejection") { try proxy.get().text == "bad" }
    }

    @Test func aSlowServerIsEjected() throws {
        let slow = try Upstream { _, c in
            usleep(120_000)
            try c.answer(body: "slow")
        }
        let quick = try (0..<2).map { _ in try Upstream(saying: "quick") }
        let servers = ([slow] + quick).map { "server \($0.endpoint);" }.joined()
        let proxy = try proxy("\(servers) outlier_detection latency=300% interval=200ms min_requests=5;")
        try Harness.wait(for: "the ejection") {
            _ = try proxy.get()
            return try state(proxy, 0) == "ejected"
        }
        #expect(proxy.errorLog.contains("slower than its siblings"))
        for _ in 0..<10 { #expect(try proxy.get().text == "quick") }
    }

    @Test func inAPanicAllAreUsedAgain() throws {
        let bad = try (0..<3).map { _ in try Upstream { _, c in try c.answer("503 Service Unavailable", body: "bad") } }
        let good = try Upstream(saying: "good")
        let servers = (bad + [good]).map { "server \($0.endpoint);" }.joined()
        let proxy = try proxy("\(servers) outlier_detection consecutive_5xx=2 max_ejection_percent=100%;")
        try Harness.wait(for: "the panic") {
            _ = try proxy.get()
            return try status(proxy)["panic"].bool == true
        }
        #expect(try status(proxy)["ejections"].int == 3)
        #expect(try status(proxy)["panics"].int == 1)
        let texts = try (0..<8).map { _ in try proxy.get().text }
        #expect(texts.count { $0 == "bad" } == 6)
        #expect(proxy.errorLog.contains("panic: too few servers are healthy, all are used again, in upstream \"u\""))
    }

    @Test(arguments: ["", "least_conn;"])
    func aNewServerStartsSlowly(_ method: String) throws {
        let old = try Upstream(saying: "old")
        let new = try Upstream(saying: "new")
        let proxy = try proxy("\(method) server \(old.endpoint) slow_start=1h;")
        let admin = try Admin(proxy)
        try admin.write("POST", "/upstreams/u/servers", "{\"server\": \"\(new.endpoint)\", \"slow_start\": \"1h\"}")
        for _ in 0..<100 { _ = try proxy.get() }
        #expect(new.requestCount <= 1)
        #expect(try state(proxy, 1) == "starting")
        try admin.write("PATCH", "/upstreams/u/servers/1", "{\"slow_start\": 0}")
        for _ in 0..<10 { _ = try proxy.get() }
        #expect(new.requestCount >= 5)
    }

    /// A server that answers when it is told to.
    private func gated() throws -> (Upstream, Signal) {
        let gate = Signal()
        return (try Upstream { _, c in
            _ = gate.wait()
            try c.answer(body: "done")
        }, gate)
    }

    @Test(arguments: [1, 2])
    func requestsWaitInLine(_ workers: Int) throws {
        let busy = Locked((now: 0, most: 0))
        let upstream = try Upstream { request, c in
            busy.with {
                $0.now += 1
                $0.most = max($0.most, $0.now)
            }
            usleep(5_000)
            busy.with { $0.now -= 1 }
            try c.answer(body: request.target)
        }
        let proxy = try proxy("server \(upstream.endpoint) max_conns=1; queue 100 timeout=20s;", workers: workers)
        let clients = try (0..<20).map { _ in try proxy.client() }
        for (i, client) in clients.enumerated() { try client.send(RawClient.text("GET", "/\(i)")) }
        for (i, client) in clients.enumerated() {
            let response = try client.response(to: "GET")
            #expect(response.status == 200 && response.text == "/\(i)")
        }
        #expect(busy.current.most == 1)
        #expect(upstream.requestCount == 20)
        #expect(try status(proxy)["queue"]["size"].int == 0)
        #expect(try status(proxy)["queue"]["overflows"].int == 0)
    }

    @Test func theLineIsBoundedAndEndsInTime() throws {
        let (upstream, gate) = try gated()
        let proxy = try proxy("server \(upstream.endpoint) max_conns=1; queue 2 timeout=300ms;")
        let first = try proxy.client()
        try first.send(RawClient.text("GET", "/1"))
        try Harness.wait(for: "the first request") { upstream.requestCount == 1 }
        let waiting = try (0..<2).map { _ in try proxy.client() }
        for client in waiting { try client.send(RawClient.text("GET", "/2")) }
        try Harness.wait(for: "two in line") { try status(proxy)["queue"]["size"].int == 2 }
        #expect(try proxy.get().status == 502)
        for client in waiting { #expect(try client.response(to: "GET").status == 502) }
        let queue = try status(proxy)["queue"]
        #expect(queue["overflows"].int == 1 && queue["timeouts"].int == 2 && queue["size"].int == 0 && queue["max_size"].int == 2)
        #expect(proxy.errorLog.contains("upstream queue is full \"u\""))
        gate.fire()
        #expect(try first.response(to: "GET").status == 200)
    }

    @Test func whoLeavesTheLineIsForgotten() throws {
        let (upstream, gate) = try gated()
        let proxy = try proxy("server \(upstream.endpoint) max_conns=1; queue 2;", "proxy_ignore_client_abort off;")
        let first = try proxy.client()
        try first.send(RawClient.text("GET", "/1"))
        try Harness.wait(for: "the first request") { upstream.requestCount == 1 }
        let gone = try proxy.client()
        try gone.send(RawClient.text("GET", "/2"))
        try Harness.wait(for: "one in line") { try status(proxy)["queue"]["size"].int == 1 }
        gone.close()
        try Harness.wait(for: "an empty line") { try status(proxy)["queue"]["size"].int == 0 }
        gate.fire()
        #expect(try first.response(to: "GET").status == 200)
        #expect(try proxy.get().status == 200)
        #expect(upstream.requestCount == 2)
    }

    @Test func theCircuitBreakerRefusesAtOnce() throws {
        let (upstream, gate) = try gated()
        let proxy = try proxy("server \(upstream.endpoint); circuit_breaker max_requests=2;")
        let clients = try (0..<2).map { _ in try proxy.client() }
        for client in clients { try client.send(RawClient.text("GET", "/")) }
        try Harness.wait(for: "two active") { upstream.requestCount == 2 }
        #expect(try proxy.get().status == 503)
        #expect(try status(proxy)["requests_refused"].int == 1)
        #expect(proxy.errorLog.contains("circuit breaker: too many requests are active in upstream \"u\""))
        gate.fire()
        for client in clients { #expect(try client.response(to: "GET").status == 200) }
        #expect(try proxy.get().status == 200)
    }

    @Test func theRetryBudgetBoundsFurtherTries() throws {
        let bad = try Upstream { _, c in c.close() }
        let (slow, gate) = try gated()
        let proxy = try proxy("server \(bad.endpoint) weight=100 max_fails=0; server \(slow.endpoint); retry_budget 0% min=2;")
        let clients = try (0..<2).map { _ in try proxy.client() }
        for client in clients { try client.send(RawClient.text("GET", "/")) }
        try Harness.wait(for: "two further tries") { slow.requestCount == 2 }
        #expect(try proxy.get().status == 502)
        #expect(try status(proxy)["retries_refused"].int == 1)
        #expect(proxy.errorLog.contains("the retry budget is spent"))
        gate.fire()
        for client in clients { #expect(try client.response(to: "GET").status == 200) }
        #expect(try proxy.get().status == 200)
    }
}
