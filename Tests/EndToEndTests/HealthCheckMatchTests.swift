// Owns rules of health checks that are given through the admin API: what they ask for, their export, and what a reload makes of them.

import Foundation
import TestSupport
import Testing

@Suite("health checks: rules in JSON", .ownThread, .enabled(if: !Harness.isNginx))
struct HealthCheckMatchTests {
    @Test func rulesAreObeyedExportedAndKept() throws {
        let answer = Locked("all is well")
        let a = try Upstream { request, c in
            if request.target == "/health" { try c.answer("200 OK", ["X-State: \(answer.current)"], body: "{\"status\": \"\(answer.current)\"}") } else { try c.answer(body: "a") }
        }
        let server = "server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://u; } }"
        let proxy = try Proxy(http: "upstream u { server \(a.endpoint); } \(server)", main: "state state;")
        var admin = try Admin(proxy, folder: "state")
        let check = #"{"uri": "/health", "interval": "20ms", "timeout": "10s", "match": {"status": "200 !204", "header": ["X-State ~ is well$", "! X-Other"], "body": ["~ \"status\": ?\"all is well\""]}}"#
        try admin.write("PUT", "/upstreams/u", "{\"panic_threshold\": 0, \"servers\": [{\"server\": \"\(a.endpoint)\"}], \"health_checks\": [\(check)]}")
        func wait(for state: String) throws -> JSONValue {
            var health = JSONValue(parsing: "{}")
            try Harness.wait(for: "the server to be \(state): \(health)") {
                health = try admin.get("/status")["upstreams"]["u"]["servers"][0]["health"]
                return health["state"].text == state && health["checks"].int ?? 0 > 0
            }
            return health
        }
        _ = try wait(for: "up")
        answer.with { $0 = "nothing is right" }
        #expect(try wait(for: "unhealthy")["why"].text == "health check \"/health\": expected field \"x-state\" ~ is well$, found \"nothing is right\"")
        answer.with { $0 = "all is well" }
        _ = try wait(for: "up")
        // A restart knows them from the journal.
        try proxy.stop()
        try proxy.start()
        admin = try Admin(proxy, folder: "state")
        _ = try wait(for: "up")
        // The export is a file that says the same: a reload finds nothing to settle.
        let exported = try admin.ask("GET", "/export").text
        #expect(exported.contains("match u_match {") && exported.contains("match=u_match"))
        try proxy.configure(Proxy.wrapped("\(exported)\n\(server)", "state state;"))
        let plan = try admin.ask("POST", "/reload?dry_run=1").json
        #expect(plan["warnings"].list.isEmpty, "\(plan)")
        #expect(try admin.ask("POST", "/reload").status == 200)
        #expect(try admin.get("/upstreams/u")["health_checks"][0]["match"].text == "u_match")
        #expect(!proxy.errorLog.contains("the running value stays"))
        answer.with { $0 = "nothing is right" }
        _ = try wait(for: "unhealthy")
        // What a file cannot say is refused with the place.
        let refused = try admin.ask("PUT", "/upstreams/u", #"{"servers": [{"server": "127.0.0.1:1"}], "health_checks": [{"match": {"body": ["~ ("]}}]}"#)
        #expect(refused.status == 422 && refused.json["pointer"].text == "/health_checks/0/match/body/0", "\(refused.text)")
    }
}
