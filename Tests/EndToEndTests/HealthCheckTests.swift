// Owns active health checks: who gets requests and who does not, at starts, changes, reloads and restarts, over every kind of check.
// With real servers, over requests, the admin API and logs. Intervals are short; nothing is awaited by time.

import Foundation
import TestSupport
import Testing

/// A server whose health can be changed while it runs. Requests for `/health...` are checks.
final class CheckedServer: Sendable {
    let upstream: Upstream
    let status: Locked<String>

    init(_ name: String, status: String = "200 OK", at endpoint: Endpoint? = nil) throws {
        let answer = Locked(status)
        self.status = answer
        upstream = try Upstream(at: endpoint) { request, c in
            if request.target.hasPrefix("/health") { try c.answer(answer.current, body: name) } else { try c.answer(body: name) }
        }
    }

    var endpoint: Endpoint { upstream.endpoint }
    var checks: Int { upstream.requests.count { $0.target.hasPrefix("/health") } }
    var served: Int { upstream.requests.count { !$0.target.hasPrefix("/health") } }
    func set(_ text: String) { status.with { $0 = text } }

    /// Waits until so many more checks have come.
    func waitForChecks(_ count: Int = 1) throws {
        let before = checks
        try Harness.wait(for: "\(count) checks of \(endpoint)") { checks >= before + count }
    }

    /// Waits until what has been sent so far is counted: connections are accepted in their order, so one that comes now is the last.
    func waitForLast() throws {
        _ = try RawClient(endpoint).request("GET", "/last", ["Host: a", "Connection: close"])
        try upstream.waitForOpenConnections(0)
    }
}

@Suite("health checks", .ownThread, .enabled(if: !Harness.isNginx))
struct HealthCheckTests {
    private func proxy(_ upstream: String, _ http: String = "", main: String = "", location: String = "") throws -> Proxy {
        try Proxy(server: "location / { proxy_pass http://u; } \(location)", http: "\(http) upstream u { \(upstream) }", main: main)
    }

    private func state(_ admin: Admin, _ server: Int) throws -> String? { try health(admin, server)["state"].text }
    private func health(_ admin: Admin, _ server: Int) throws -> JSONValue { try admin.get("/status")["upstreams"]["u"]["servers"][server]["health"] }

    private func waitFor(_ wanted: String, _ server: Int, _ admin: Admin) throws {
        try Harness.wait(for: "server \(server) to be \(wanted)") { try state(admin, server) == wanted }
    }

    private func texts(_ proxy: Proxy, _ count: Int = 20) throws -> Set<String> { Set(try (0..<count).map { _ in try proxy.get().text }) }

    @Test func aServerThatFailsItsCheckGetsNothingUntilItPasses() throws {
        let (a, b) = (try CheckedServer("a"), try CheckedServer("b"))
        let proxy = try proxy("server \(a.endpoint); server \(b.endpoint); panic_threshold 0; health_check uri=/health interval=30ms timeout=10s fails=2 passes=2;")
        let admin = try Admin(proxy)
        #expect(try texts(proxy) == ["a", "b"])
        try b.waitForChecks(2)
        b.set("503 Service Unavailable")
        try waitFor("unhealthy", 1, admin)
        #expect(try texts(proxy) == ["a"])
        let sick = try health(admin, 1)
        #expect(sick["why"].text == "health check \"/health\": expected status 200-399, found 503")
        #expect(sick["unhealthy"].int == 1 && sick["last_passed"].bool == false && sick["fails"].int ?? 0 >= 2)
        #expect(try admin.get("/upstreams/u")["servers"][1]["health"]["state"].text == "unhealthy")
        #expect(try admin.get("/upstreams/u/servers/1")["health"]["state"].text == "unhealthy")
        #expect(try admin.get("/status")["upstreams"]["u"]["health"]["healthy"].int == 1)
        #expect(proxy.errorLog.contains("[warn]"))
        #expect(
            proxy.errorLog.contains(
                "server \(b.endpoint) of upstream \"u\" is unhealthy: health check \"/health\": expected status 200-399, found 503"))
        b.set("200 OK")
        try waitFor("up", 1, admin)
        #expect(try texts(proxy) == ["a", "b"])
        #expect(proxy.errorLog.contains("server \(b.endpoint) of upstream \"u\" is healthy: it passes its health checks again"))
        // A server that is gone is sick as well.
        b.upstream.stop()
        try waitFor("unhealthy", 1, admin)
        #expect(try health(admin, 1)["why"].text?.contains("connect() failed (111: Connection refused)") == true)
        #expect(try texts(proxy) == ["a"])
        let request = try #require(a.upstream.requests.first { $0.target == "/health" })
        #expect(request["Host"] == "\(a.endpoint)" && request["User-Agent"]?.hasPrefix("switchback/") == true)
    }

    /// No request fails while a server that is not ready yet joins, fails its checks for a while, and passes.
    @Test func aNewServerGetsNothingBeforeItsFirstPass() throws {
        let old = try CheckedServer("old")
        let new = try CheckedServer("new", status: "503 Service Unavailable")
        let proxy = try proxy("server \(old.endpoint); health_check uri=/health interval=20ms timeout=10s;")
        let admin = try Admin(proxy)
        let load = Load(proxy.endpoint, connections: 4)
        try load.waitForAnswers(20)
        try admin.write("POST", "/upstreams/u/servers", "{\"server\": \"\(new.endpoint)\"}")
        try new.waitForChecks(4)
        try load.waitForAnswers(50)
        #expect(new.served == 0)
        #expect(try admin.get("/status")["upstreams"]["u"]["servers"][1]["state"].text == "unchecked")
        new.set("200 OK")
        try Harness.wait(for: "requests at the new server") { new.served > 10 }
        let result = try load.finish()
        #expect(result.failures == [] && result.count(200) == result.sent)
        #expect(Set(result.bodies.keys) == ["old", "new"])
    }

    @Test func mandatoryChecksHoldForTheServersOfTheFileToo() throws {
        let a = try CheckedServer("a", status: "500 Internal Server Error")
        let proxy = try proxy("server \(a.endpoint); health_check uri=/health interval=20ms timeout=10s mandatory;")
        try a.waitForChecks(3)
        #expect(try proxy.get().status == 502)
        #expect(a.served == 0)
        a.set("204 No Content")
        try Harness.wait(for: "the first answer") { try proxy.get().status == 200 }
    }

    @Test func failuresOfTheStartDoNotCount() throws {
        let a = try CheckedServer("a", status: "503 Service Unavailable")
        let b = try CheckedServer("b")
        let check = "health_check uri=/health interval=20ms timeout=10s start_period=1h"
        let proxy = try proxy("server \(a.endpoint); server \(b.endpoint); \(check);")
        let admin = try Admin(proxy)
        try a.waitForChecks(5)
        #expect(try state(admin, 0) == "up" && texts(proxy) == ["a", "b"])
        // It has started once it has passed.
        a.set("200 OK")
        try Harness.wait(for: "a pass") { try health(admin, 0)["last_passed"].bool == true }
        a.set("503 Service Unavailable")
        try waitFor("unhealthy", 0, admin)
        // A new one waits all the while.
        let new = try CheckedServer("new", status: "503 Service Unavailable")
        try admin.write("POST", "/upstreams/u/servers", "{\"server\": \"\(new.endpoint)\"}")
        try new.waitForChecks(4)
        #expect(try state(admin, 2) == "checking" && texts(proxy) == ["b"])
        new.set("200 OK")
        try waitFor("up", 2, admin)
    }

    @Test func severalGatesMustAllBePassed() throws {
        let answers = Locked(["/health/db": "200 OK", "/health/redis": "200 OK"])
        let a = try Upstream { request, c in try c.answer(answers.current[request.target] ?? "200 OK", body: "a") }
        let b = try CheckedServer("b")
        let proxy = try proxy(
            "server \(a.endpoint); server \(b.endpoint); panic_threshold 0; health_check uri=/health/db interval=20ms timeout=10s; health_check name=cache uri=/health/redis interval=20ms timeout=10s;")
        let admin = try Admin(proxy)
        answers.with { $0["/health/redis"] = "500 Oh" }
        try waitFor("unhealthy", 0, admin)
        try Harness.wait(for: "the other gate") { try health(admin, 0)["gates"][0]["state"].text == "passing" }
        let sick = try health(admin, 0)
        #expect(sick["why"].text == "health check \"cache\": expected status 200-399, found 500")
        #expect(sick["gates"].list.map { $0["name"].text } == ["/health/db", "cache"])
        #expect(sick["gates"].list.map { $0["state"].text } == ["passing", "failing"])
        let pool = try admin.get("/status")["upstreams"]["u"]["health"]
        #expect(pool["gates"][1]["failing"].int == 1 && pool["gates"][1]["failed_rounds"].int == 0 && pool["failed_in_row"].int ?? 0 >= 1)
        #expect(try texts(proxy) == ["b"])
        // Without the gate it is well.
        try admin.write(
            "PUT", "/upstreams/u",
            "{\"servers\": [{\"server\": \"\(a.endpoint)\"}, {\"server\": \"\(b.endpoint)\"}], \"health_checks\": [{\"uri\": \"/health/db\", \"interval\": \"20ms\", \"timeout\": \"10s\"}]}")
        #expect(try texts(proxy) == ["a", "b"])
        #expect(try state(admin, 0) == "up")
    }

    @Test func whatAMatchSaysDecides() throws {
        let body = Locked("status: ok")
        let type = Locked("text/plain")
        let a = try Upstream { request, c in
            request.target == "/health"
                ? try c.answerChunked([String(body.current.prefix(4)), String(body.current.dropFirst(4))], ["Content-Type: \(type.current)"])
                : try c.answer(body: "a")
        }
        let b = try CheckedServer("b")
        let proxy = try proxy(
            "server \(a.endpoint); panic_threshold 0; health_check uri=/health interval=20ms timeout=10s match=fine;",
            "match fine { status 200-299 !204; header Content-Type = text/plain; header ! X-Broken; body ~ \"ok\"; body !~ maintenance; }")
        let admin = try Admin(proxy)
        try Harness.wait(for: "a pass") { try health(admin, 0)["last_passed"].bool == true }
        type.with { $0 = "text/html" }
        try waitFor("unhealthy", 0, admin)
        #expect(try health(admin, 0)["why"].text == "health check \"/health\": expected field \"content-type\" = text/plain, found \"text/html\"")
        type.with { $0 = "text/plain" }
        try waitFor("up", 0, admin)
        body.with { $0 = "ok, but maintenance" }
        try waitFor("unhealthy", 0, admin)
        #expect(try health(admin, 0)["why"].text == "health check \"/health\": expected a body !~ maintenance, found \"ok, but maintenance\"")
        // A pool that is made at run time has the same matches, and those alone.
        let refused = try admin.ask("PUT", "/upstreams/v", "{\"servers\": [{\"server\": \"\(b.endpoint)\"}], \"health_checks\": [{\"match\": \"fin\"}]}")
        #expect(refused.status == 422 && refused.json["type"].text == "/problems/bad-check" && refused.json["pointer"].text == "/health_checks/0/match")
        #expect(refused.json["hint"].text == "the configuration has fine")
    }

    @Test func plainConnections() throws {
        let greeting = Locked("+PONG\r\n")
        let a = try Upstream(raw: nil) { c in
            // The other gate says nothing.
            if (try? c.stream.read(exactly: 6)) != nil { try? c.send(greeting.current) }
        }
        let proxy = try proxy(
            "server \(a.endpoint); panic_threshold 0; health_check type=tcp interval=20ms timeout=10s match=redis; health_check type=tcp interval=20ms timeout=10s name=port;",
            "match redis { send \"PING\\r\\n\"; expect +PONG; }")
        let admin = try Admin(proxy)
        try Harness.wait(for: "passes") { try health(admin, 0)["gates"].list.allSatisfy { $0["state"].text == "passing" } }
        greeting.with { $0 = "-LOADING\r\n" }
        try waitFor("unhealthy", 0, admin)
        #expect(try health(admin, 0)["why"].text == "health check \"tcp\": expected to be told = +PONG, found \"-LOADING??\"")
        #expect(try health(admin, 0)["gates"][1]["state"].text == "passing")
        a.stop()
        try Harness.wait(for: "the port to be closed") { try health(admin, 0)["gates"][1]["state"].text == "failing" }
    }

    @Test func aServerThatSaysNothingFailsInTime() throws {
        let a = try Upstream(raw: nil) { c in c.hold() }
        let proxy = try proxy("server \(a.endpoint); panic_threshold 0; health_check interval=50ms timeout=60ms fails=2;")
        let admin = try Admin(proxy)
        try waitFor("unhealthy", 0, admin)
        #expect(try health(admin, 0)["why"].text == "health check \"/\": timed out after 60ms while waiting for the answer")
        #expect(try proxy.get().status == 502)
    }

    @Test func overTLS() throws {
        let peer = try TLSPeer(try OpenSSL.ec.get())
        let plain = try CheckedServer("plain")
        let proxy = try proxy(
            "server \(peer.endpoint); server \(plain.endpoint); panic_threshold 0; health_check type=https uri=/health/me host=app.example interval=20ms timeout=10s match=word;",
            "match word { body ~ \"app.example.*/health/me\"; }")
        let admin = try Admin(proxy)
        try Harness.wait(for: "a pass") { try health(admin, 0)["last_passed"].bool == true }
        try waitFor("unhealthy", 1, admin)
        #expect(try health(admin, 1)["why"].text?.contains("SSL") == true)
    }

    private func grpcServer(_ message: Locked<[UInt8]>, _ status: Locked<String>, _ asked: Locked<[UInt8]>) throws -> Upstream {
        try Upstream(http2: nil) { peer in
            while true {
                let r = try peer.request()
                asked.with { $0 = r.body }
                let head = HTTP2Peer.headers(r.stream, [(":status", "200"), ("content-type", "application/grpc")])
                let end = HTTP2Peer.headers(r.stream, [("grpc-status", status.current)], end: true)
                guard r.path == "/grpc.health.v1.Health/Check" else {
                    try peer.send(head, end)
                    continue
                }
                try peer.send(head, HTTP2Peer.Frame(type: HTTP2Peer.Frame.data, flags: 0, stream: r.stream, payload: message.current), end)
            }
        }
    }

    @Test func grpc() throws {
        let message = Locked<[UInt8]>([0, 0, 0, 0, 2, 8, 1])
        let status = Locked("0")
        let asked = Locked<[UInt8]>([])
        let a = try grpcServer(message, status, asked)
        let proxy = try Proxy(
            server: "http2 on; location / { grpc_pass grpc://u; }",
            http: "upstream u { server \(a.endpoint); panic_threshold 0; health_check type=grpc grpc_service=shop.Cart interval=20ms timeout=10s; health_check type=grpc name=twelve grpc_status=12 interval=20ms timeout=10s; }")
        let admin = try Admin(proxy)
        try Harness.wait(for: "a pass") { try health(admin, 0)["gates"][0]["state"].text == "passing" }
        try Harness.wait(for: "a failure of the other gate") {
            try health(admin, 0)["gates"][1]["why"].text == "expected grpc-status 12, found 0"
        }
        message.with { $0[6] = 2 }
        try Harness.wait(for: "a failure") { try health(admin, 0)["gates"][0]["state"].text == "failing" }
        #expect(try health(admin, 0)["gates"][0]["why"].text == "expected SERVING, found NOT_SERVING")
        status.with { $0 = "12" }
        try Harness.wait(for: "the other gate") { try health(admin, 0)["gates"][1]["state"].text == "passing" }
        try Harness.wait(for: "the service to be asked for") { asked.current.contains(0x0A) && String(decoding: asked.current, as: UTF8.self).contains("shop.Cart") }
    }

    /// One that never stops talking keeps nobody else from being asked.
    @Test func aServerThatTalksForEverDelaysNoOtherCheck() throws {
        let talker = try Upstream(raw: nil) { c in
            let talk = String(repeating: "HTTP/1.1 100 Continue\r\n\r\n", count: 4000)
            while (try? c.send(talk)) != nil {}
        }
        let other = try CheckedServer("other")
        let proxy = try proxy(
            "server \(talker.endpoint); health_check uri=/health interval=20ms timeout=60s;",
            "upstream other { server \(other.endpoint); health_check uri=/health interval=20ms; }",
            location: "location /other { proxy_pass http://other; }")
        let admin = try Admin(proxy)
        try waitFor("unhealthy", 0, admin)
        #expect(try health(admin, 0)["why"].text?.hasSuffix("the answer does not end within 1 MiB") == true)
        try other.waitForChecks(3)
    }
}
