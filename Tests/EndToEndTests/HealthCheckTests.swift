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
        #expect(try health(admin, 0)["gates"][1]["why"].text == "expected grpc-status 12, found 0")
        message.with { $0[6] = 2 }
        try Harness.wait(for: "a failure") { try health(admin, 0)["gates"][0]["state"].text == "failing" }
        #expect(try health(admin, 0)["gates"][0]["why"].text == "expected SERVING, found NOT_SERVING")
        status.with { $0 = "12" }
        try Harness.wait(for: "the other gate") { try health(admin, 0)["gates"][1]["state"].text == "passing" }
        try Harness.wait(for: "the service to be asked for") { asked.current.contains(0x0A) && String(decoding: asked.current, as: UTF8.self).contains("shop.Cart") }
    }

    // MARK: Changes

    @Test func whatIsKnownOutlivesReloadsAndChanges() throws {
        let (a, b) = (try CheckedServer("a"), try CheckedServer("b", status: "503 Service Unavailable"))
        let servers = "server \(a.endpoint); server \(b.endpoint); panic_threshold 0;"
        let proxy = try proxy("\(servers) health_check uri=/health interval=20ms timeout=10s;")
        let admin = try Admin(proxy)
        try waitFor("unhealthy", 1, admin)
        let text = proxy.configuration.replacingOccurrences(of: "interval=20ms", with: "interval=1h mandatory")
        try proxy.reload(text) { try admin.get("/upstreams/u")["health_checks"][0]["interval"].text == "1h" }
        // Nobody has been asked since.
        #expect(try state(admin, 0) == "up" && state(admin, 1) == "unhealthy" && texts(proxy) == ["a"])
        #expect(try health(admin, 1)["checks"].int ?? 0 > 0)
        // Without a check nobody knows better.
        try proxy.reload(proxy.configuration.replacingOccurrences(of: "health_check uri=/health interval=1h mandatory timeout=10s;", with: "")) {
            try admin.get("/status")["upstreams"]["u"]["health"].isNull
        }
        #expect(try texts(proxy) == ["a", "b"])
    }

    @Test func whatIsKnownOutlivesARestart() throws {
        let (a, b) = (try CheckedServer("a"), try CheckedServer("b"))
        let proxy = try proxy(
            "server \(a.endpoint); server \(b.endpoint); panic_threshold 0; health_check uri=/health interval=20ms timeout=10s mandatory;", main: "state state;")
        let admin = try Admin(proxy, folder: "state")
        for i in 0...1 { try waitFor("up", i, admin) }
        b.set("503 Service Unavailable")
        try waitFor("unhealthy", 1, admin)
        try proxy.stop()
        let saved = proxy.read("state/health")
        #expect(saved.contains("expected status 200-399, found 503"))
        // From here on nobody is asked for an hour: what is known is what was.
        try proxy.configure(proxy.configuration.replacingOccurrences(of: "interval=20ms", with: "interval=1h"))
        let checks = a.checks
        try proxy.start()
        #expect(try texts(proxy) == ["a"])
        let again = try Admin(proxy, folder: "state")
        #expect(try state(again, 0) == "up" && state(again, 1) == "unhealthy")
        #expect(a.checks == checks)
        b.set("200 OK")
        // What is old is worth nothing: all are asked at once.
        try proxy.stop()
        let old = saved.replacingOccurrences(of: #""saved_at":"20"#, with: #""saved_at":"19"#)
        #expect(old != saved)
        try proxy.write("state/health", old)
        try proxy.start()
        try Harness.wait(for: "both") { try texts(proxy) == ["a", "b"] }
        #expect(a.checks == checks + 1)
    }

    @Test func aRecoveredServerStartsSlowly() throws {
        let (a, b) = (try CheckedServer("a"), try CheckedServer("b", status: "503 Service Unavailable"))
        let proxy = try proxy("server \(a.endpoint) slow_start=1h; server \(b.endpoint) slow_start=1h; panic_threshold 0; health_check uri=/health interval=20ms timeout=10s;")
        let admin = try Admin(proxy)
        try waitFor("unhealthy", 1, admin)
        b.set("200 OK")
        try waitFor("up", 1, admin)
        for _ in 0..<100 { _ = try proxy.get() }
        #expect(b.served <= 2)
        #expect(try admin.get("/status")["upstreams"]["u"]["servers"][1]["state"].text == "starting")
    }

    @Test func tooFewHealthyServersAreNotLeftAlone() throws {
        let servers = try (0..<3).map { try CheckedServer("\($0)") }
        let backup = try CheckedServer("backup", status: "503 Service Unavailable")
        let lines = servers.map { "server \($0.endpoint);" }.joined() + "server \(backup.endpoint) backup;"
        let proxy = try proxy("\(lines) health_check uri=/health interval=20ms timeout=10s;")
        let admin = try Admin(proxy)
        try waitFor("unhealthy", 3, admin)
        for server in servers[..<2] { server.set("503 Service Unavailable") }
        for i in 0..<2 { try waitFor("unhealthy", i, admin) }
        try Harness.wait(for: "the panic") { try texts(proxy) == ["0", "1", "2"] }
        #expect(try admin.get("/status")["upstreams"]["u"]["panic"].bool == true)
        // A healthy backup is better than a panic.
        backup.set("200 OK")
        try waitFor("up", 3, admin)
        try Harness.wait(for: "calm") { try texts(proxy) == ["2"] }
        servers[2].set("503 Service Unavailable")
        try Harness.wait(for: "the backup") { try texts(proxy) == ["backup"] }
    }

    /// NGINX Plus has the line where requests are passed on.
    @Test func aLocationMayNameTheCheck() throws {
        let (a, b) = (try CheckedServer("a"), try CheckedServer("b", status: "503 Service Unavailable"))
        let proxy = try Proxy(
            server: "location / { proxy_pass http://u; health_check uri=/health interval=20ms timeout=10s; }",
            http: "upstream u { server \(a.endpoint); server \(b.endpoint); panic_threshold 0; }")
        try waitFor("unhealthy", 1, try Admin(proxy))
        #expect(try texts(proxy) == ["a"])
    }

    @Test func theManualsExampleDoesWhatItSays() throws {
        let manual = try String(contentsOfFile: Harness.packageDirectory + "/Sources/Switchback/Switchback.docc/Health.md", encoding: .utf8)
        let example = try #require(manual.components(separatedBy: "```nginx\n").dropFirst().first?.components(separatedBy: "```").first)
        let database = Locked("{\"status\": \"ok\"}")
        func server(_ name: String, _ database: Locked<String>) throws -> Upstream {
            try Upstream { r, c in
                if r.target == "/api/health/db" { return try c.answer("200 OK", ["Content-Type: application/json"], body: database.current) }
                try c.answer(body: name)
            }
        }
        let (a, b) = (try server("a", Locked("{\"status\": \"ok\"}")), try server("b", database))
        let proxy = try Proxy(
            "worker_processes 1; events { } http { access_log off;\n\(example)}",
            replacing: [
                ("127.0.0.1:3001", "\(a.endpoint)"), ("127.0.0.1:3002", "\(b.endpoint)"), ("listen 8080", "listen 127.0.0.1:%PORT%"),
                ("interval=5s timeout=2s", "interval=20ms timeout=10s"), ("interval=10s", "interval=20ms timeout=10s"),
            ])
        func gates() throws -> JSONValue { JSONValue(parsing: try proxy.get("/health/app").text)["gates"] }
        try Harness.wait(for: "passes") { try gates().list.count == 2 && gates().list.allSatisfy { $0["passing"].int == 2 } }
        database.with { $0 = "{\"status\": \"bad\"}" }
        try Harness.wait(for: "the failure") { try gates()[1]["failing"].int == 1 }
        #expect(try gates()[1]["name"].text == "database")
        #expect(try texts(proxy) == ["a"])
        #expect(try proxy.get("/health/app").status == 200)
    }

    // MARK: Telling

    @Test func aLocationTellsHowAPoolIs() throws {
        let (a, b) = (try CheckedServer("a"), try CheckedServer("b"))
        let proxy = try proxy(
            "server \(a.endpoint); server \(b.endpoint); health_check uri=/health interval=20ms timeout=10s;",
            location: "location = /health/u { upstream_health u; } location = /health/both { upstream_health u healthy=2; }")
        let admin = try Admin(proxy)
        try Harness.wait(for: "passes") { try state(admin, 0) == "up" && health(admin, 1)["last_passed"].bool == true }
        let good = try proxy.get("/health/both")
        #expect(good.status == 200 && good["Content-Type"] == "application/json" && good["Cache-Control"] == "no-store")
        b.set("500 No")
        try waitFor("unhealthy", 1, admin)
        #expect(try proxy.get("/health/u").status == 200)
        let bad = try proxy.get("/health/both")
        let json = JSONValue(parsing: bad.text)
        #expect(bad.status == 503 && json["state"].text == "unhealthy" && json["healthy"].int == 1 && json["total"].int == 2)
        #expect(json["servers"][0]["server"].text == "\(b.endpoint)" && json["servers"][0]["state"].text == "unhealthy")
        #expect(json["servers"][0]["why"].text == "health check \"/health\": expected status 200-399, found 500")
        let head = try proxy.get("/health/both", method: "HEAD")
        #expect(head.status == 503 && head.body.isEmpty && head["Content-Length"] == "\(bad.body.count)")
        #expect(try proxy.get("/health/u", method: "POST", body: "x").status == 405)
    }

    @Test func eventsTellOfEachChange() throws {
        let a = try CheckedServer("a")
        let proxy = try proxy("server \(a.endpoint); health_check uri=/health interval=20ms timeout=10s;")
        let admin = try Admin(proxy)
        try a.waitForChecks()
        a.set("503 Service Unavailable")
        try waitFor("unhealthy", 0, admin)
        a.set("200 OK")
        try waitFor("up", 0, admin)
        let reader = try RawClient(.unix(proxy.path("admin.sock")), timeoutMs: 10_000)
        try reader.send(RawClient.text("GET", "/events?after=0"))
        var lines = ""
        try Harness.wait(for: "both events: \(lines)") {
            lines += String(decoding: try reader.stream.read(), as: UTF8.self)
            return lines.components(separatedBy: "event: health").count >= 3
        }
        let events = lines.components(separatedBy: "\n").filter { $0.hasPrefix("data: ") && $0.contains("\"kind\":\"health\"") }
            .map { JSONValue(parsing: String($0.dropFirst(6))) }
        #expect(events.map { $0["state"].text } == ["unhealthy", "up"])
        #expect(events.first?["upstream"].text == "u" && events.first?["server"].text == "\(a.endpoint)")
        #expect(events.first?["why"].text == "health check \"/health\": expected status 200-399, found 503")
    }
}
