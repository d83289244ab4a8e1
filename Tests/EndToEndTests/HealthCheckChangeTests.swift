// Owns what health checks do to servers over reloads, changes, restarts and panics, and how they are told of.
// With real servers, over requests, the admin API and logs. Intervals are short; nothing is awaited by time.

import Foundation
import TestSupport
import Testing

@Suite("health checks over time", .ownThread, .enabled(if: !Harness.isNginx))
struct HealthCheckChangeTests {
    private func proxy(_ upstream: String, _ http: String = "", main: String = "", location: String = "") throws -> Proxy {
        try Proxy(server: "location / { proxy_pass http://u; } \(location)", http: "\(http) upstream u { \(upstream) }", main: main)
    }

    private func state(_ admin: Admin, _ server: Int) throws -> String? { try health(admin, server)["state"].text }
    private func health(_ admin: Admin, _ server: Int) throws -> JSONValue { try admin.get("/status")["upstreams"]["u"]["servers"][server]["health"] }

    private func waitFor(_ wanted: String, _ server: Int, _ admin: Admin) throws {
        try Harness.wait(for: "server \(server) to be \(wanted)") { try state(admin, server) == wanted }
    }

    private func texts(_ proxy: Proxy, _ count: Int = 20) throws -> Set<String> { Set(try (0..<count).map { _ in try proxy.get().text }) }

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
        try a.waitForLast()
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
