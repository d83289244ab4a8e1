// Owns the shadow gate of rollouts: a release is asked what clients ask before it serves anybody, and one that answers otherwise never does.

import Foundation
import TestSupport
import Testing

@Suite("rollouts behind a shadow gate", .ownThread, .enabled(if: !Harness.isNginx))
struct RolloutShadowTests {
    private let blue: Upstream
    private let green: Upstream
    private let proxy: Proxy
    /// What green says of `/page`.
    private let page = Locked("page")

    init() throws {
        blue = try Upstream { r, c in try c.answer("200 OK", ["X-Variant: blue"], body: r.target) }
        let page = page
        green = try Upstream { r, c in try c.answer("200 OK", ["X-Variant: green"], body: "/" + page.current + r.target.dropFirst(5)) }
        proxy = try Proxy(
            http: """
                upstream blue { server \(blue.endpoint); }
                upstream green { server \(green.endpoint); }
                split app { blue 100; green 0; }
                server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://app; } }
                """, main: "state state; worker_processes 2;")
    }

    private func load() -> Load {
        Load(proxy.endpoint, connections: 2) { RawClient.text("GET", "/page?\($0)", ["X-Request-Id: \($0)"]) }
    }

    private func start(_ admin: Admin, gate: String) throws -> AdminAnswer {
        let policy = """
            {"name": "shadowed", "steps": [100], "interval": "1s", "warm_up": "0s", "samples_min": 10, "inconclusive": "hold", "bake": "1s",
             "guards": {"latency_rise_floor": "1s"}, "latency_rise_min": "1s", "shadow": \(gate)}
            """
        return try admin.ask("POST", "/rollouts", "{\"split\": \"app\", \"to\": \"green\", \"policy\": \(policy)}")
    }

    private func end(_ admin: Admin) throws -> JSONValue {
        var last = JSONValue(parsing: "{}")
        try Harness.wait(for: "the end of \(last)") {
            last = try admin.get("/rollouts/1")
            return RolloutTests.ends.contains(last["phase"].text ?? "")
        }
        return last
    }

    private func kinds(_ rollout: JSONValue) -> [String] { rollout["entries"].list.compactMap { $0["kind"].text } }

    @Test func whatAnswersAlikeGoesOn() throws {
        let admin = try Admin(proxy, folder: "state")
        let load = load()
        #expect(try start(admin, gate: "{\"compared_min\": 200}").status == 201)
        let end = try end(admin)
        let result = try load.finish()
        #expect(end["phase"].text == "succeeded", "\(end)")
        #expect(kinds(end).contains("shadow_passed"))
        #expect(result.count(200) == result.sent && result.failures == [])
        // What was mirrored is the shadow's alone: the clients' requests are each counted once, at one of both.
        let split = try admin.get("/splits/app")
        #expect(split["shadow"]["to"].text == nil, "\(split)")
        let compared = try admin.get("/status")["splits"]["app"]["shadow"]["compared"].int ?? 0
        #expect(compared >= 200)
        #expect(blue.requestCount + green.requestCount > result.sent)
    }

    @Test func whatAnswersOtherwiseServesNobody() throws {
        page.with { $0 = "pale" }
        let admin = try Admin(proxy, folder: "state")
        let load = load()
        #expect(try start(admin, gate: "{\"compared_min\": 200, \"noise\": 50}").status == 201)
        let end = try end(admin)
        try load.waitForAnswers(50)
        let result = try load.finish()
        #expect(end["phase"].text == "failed" && end["finding"]["kind"].text == "shadow_differs", "\(end)")
        #expect(result.count(200) == result.sent && result.failures == [])
        #expect(result.bodies.keys.allSatisfy { $0.hasPrefix("/page") }, "only blue has answered")
        #expect(try admin.weights() == ["blue": 100, "green": 0])
        #expect(try admin.get("/splits/app")["shadow"]["to"].text == nil)
    }

    @Test func theGateStandsOverARestart() throws {
        let admin = try Admin(proxy, folder: "state")
        #expect(try start(admin, gate: "{\"compared_min\": 100}").status == 201)
        #expect(try admin.get("/rollouts/1")["phase"].text == "shadowing")
        #expect(try admin.get("/splits/app")["shadow"]["to"].text == "green")
        try proxy.stop(SIGKILL)
        try proxy.start()
        let again = try Admin(proxy, folder: "state")
        #expect(try again.get("/rollouts/1")["phase"].text == "shadowing")
        let load = load()
        let end = try end(again)
        let result = try load.finish()
        #expect(end["phase"].text == "succeeded" && result.count(200) == result.sent, "\(end)")
        #expect(try again.get("/splits/app")["shadow"]["to"].text == nil)
    }

    @Test func aShadowOfAnOperatorIsNotTakenOver() throws {
        let admin = try Admin(proxy, folder: "state")
        try admin.write("PUT", "/splits/app", "{\"weights\": {\"blue\": 100, \"green\": 0}, \"shadow\": {\"to\": \"green\", \"share\": 10}}")
        let refused = try start(admin, gate: "{}")
        #expect(refused.status == 409 && refused.text.contains("mirrored to green already"), "\(refused.text)")
        let wrong = try start(admin, gate: "{\"headers\": [\"a b\"]}")
        #expect(wrong.status == 422 && wrong.text.contains("/policy/shadow/headers/0"), "\(wrong.status) \(wrong.text)")
    }
}
