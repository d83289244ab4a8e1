// Owns what rollouts look at besides the traffic, and whom they tell: health addresses, dependencies, metrics, probes, receivers.

import Foundation
import TestSupport
import Testing

@Suite("rollouts: outside", .ownThread, .serialized, .enabled(if: !Harness.isNginx))
struct RolloutOutsideTests {
    private func policy(_ more: String, guards: String = "") -> String {
        "{\"steps\": [50, 100], \"interval\": \"60s\", \"warm_up\": \"0s\", \"guards\": {\"window\": \"5s\"\(guards)}, \(more)}"
    }

    @Test func aSickHealthAddressLeadsBackWithoutARequest() throws {
        let it = try Releases()
        let admin = try it.admin()
        try it.start(admin, policy: policy("\"checks\": {\"uri\": \"/health\", \"interval\": \"100ms\"}"))
        try it.green.behave(.init(health: false))
        let end = try it.wait(admin, for: RolloutTests.ends)
        #expect(end["phase"].text == "rolled_back", "\(end)")
        #expect(end["finding"]["kind"].text == "checks_failed")
        #expect(try admin.weights() == ["blue": 100, "green": 0])
    }

    @Test func anUpstreamsOwnHealthCheckIsEnough() throws {
        let it = try Releases()
        let text = it.proxy.configuration.replacing("keepalive 64;", with: "keepalive 64; health_check uri=/health interval=1s;")
        let proxy = try Proxy(text.replacing("listen 127.0.0.1:\(it.proxy.port)", with: "listen 127.0.0.1:%PORT%"))
        let admin = try Admin(proxy, folder: "state")
        try Harness.wait(for: "green to be checked") { try admin.get("/status").description.contains("unchecked") == false }
        try it.start(admin, policy: policy("\"bake\": \"1m\""))
        try it.green.behave(.init(health: false))
        let end = try it.wait(admin, for: RolloutTests.ends)
        #expect(end["phase"].text == "rolled_back", "\(end)")
        #expect(end["finding"]["kind"].text == "checks_failed")
    }

    @Test func aDependencyOfOneVariantLeadsBackAndOneOfBothFreezes() throws {
        let it = try Releases()
        let admin = try it.admin()
        let dependency = "\"dependencies\": [{\"name\": \"db\", \"uri\": \"/health/db\", \"interval\": \"100ms\"}]"
        try it.start(admin, policy: policy(dependency))
        try it.green.behave(.init(health: false))
        var end = try it.wait(admin, for: RolloutTests.ends)
        #expect(end["phase"].text == "rolled_back", "\(end)")
        #expect(end["finding"]["kind"].text == "dependency_down")
        try it.green.behave(.init())
        let number = try it.start(admin, policy: policy(dependency))
        try it.green.behave(.init(health: false))
        try it.blue.behave(.init(health: false))
        end = try it.wait(admin, number, for: RolloutTests.ends)
        #expect(["frozen", "rolled_back"].contains(end["phase"].text ?? ""))
    }

    @Test func metricsOverTheirLimitLeadBack() throws {
        let it = try Releases(main: "rollout_commands commands;")
        try FileManager.default.createDirectory(atPath: it.proxy.path("commands"), withIntermediateDirectories: true)
        try Programs.write("#!/bin/sh\n[ $1 = green ] && echo 9 || echo 1\n", to: it.proxy.path("commands/jobs"), mode: "755")
        let admin = try it.admin()
        let source = try Upstream { request, connection in
            try connection.answer(body: request.target.contains("query") ? "{\"status\": \"success\", \"data\": {\"resultType\": \"vector\", \"result\": [{\"metric\": {}, \"value\": [1, \"7.5\"]}]}}" : "7.5\n")
        }
        let url = "http://\(source.endpoint)"
        for (i, metric) in [
            "\"command\": [\"jobs\", \"$variant\"]", "\"rss\": \"\(it.green.pidFile)\"", "\"url\": \"\(url)/m\"",
            "\"prometheus\": {\"url\": \"\(url)\", \"query\": \"up{v=\\\"x\\\"}\"}",
        ].enumerated() {
            let limit = "{\"name\": \"m\", \"max\": 5, \"interval\": \"100ms\", \(metric)}"
            let number = try it.start(admin, policy: policy("\"bake\": \"1m\"", guards: ", \"metrics\": [\(limit)]"))
            #expect(number == i + 1)
            let end = try it.wait(admin, number, for: RolloutTests.ends)
            #expect(end["phase"].text == "rolled_back", "\(metric): \(end)")
            #expect(end["finding"]["kind"].text == "metric_over_limit")
        }
        #expect(source.requests.contains { $0.target == "/api/v1/query?query=up%7Bv%3D%22x%22%7D" })
    }

    @Test func aQuietServiceIsProbed() throws {
        let it = try Releases()
        let admin = try it.admin()
        try it.start(
            admin,
            policy: "{\"steps\": [50, 100], \"interval\": \"1s\", \"warm_up\": \"0s\", \"samples_min\": 15, \"inconclusive\": \"probe\", \"bake\": \"1s\"}")
        let end = try it.wait(admin, for: RolloutTests.ends)
        #expect(end["phase"].text == "succeeded", "\(end)")
        #expect(try it.green.requestCount >= 15)
        #expect(try it.blue.requestCount >= 15)
    }

    @Test func receiversAreToldAndAskedAgain() throws {
        let it = try Releases()
        let admin = try it.admin()
        let refusals = Locked(1)
        let receiver = try Upstream { _, connection in
            let refuses = refusals.with { n in
                n -= 1
                return n >= 0
            }
            try connection.answer(refuses ? "503 Later" : "200 OK", body: "ok")
        }
        let load = it.load()
        try load.waitForAnswers(20)
        try it.start(
            admin,
            policy: "{\"steps\": [50, 100], \"interval\": \"1s\", \"samples_min\": 5, \"inconclusive\": \"go_on\", \"bake\": \"0s\", \"notify\": [\"http://\(receiver.endpoint)/hook\", \"http://127.0.0.1:1/\"]}")
        _ = try it.wait(admin, for: RolloutTests.ends)
        try Harness.wait(for: "the end to be told: \(receiver.requests.map(\.text))") {
            receiver.requests.contains { $0.text.contains("\"kind\":\"succeeded\"") }
        }
        let texts = receiver.requests.map(\.text)
        #expect(receiver.requests.allSatisfy { $0.method == "POST" && $0.target == "/hook" && $0["Content-Type"] == "application/json" })
        for kind in ["started", "step", "succeeded"] { #expect(texts.contains { $0.contains("\"kind\":\"\(kind)\"") }) }
        #expect(texts.allSatisfy { $0.contains("\"text\":\"rollout 1 of app: ") })
        // What was refused came again; the one who is not there holds nothing up.
        #expect(texts.filter { $0 == texts[0] }.count == 2)
        let result = try load.finish()
        #expect(result.count(200) == result.sent)
    }
}
