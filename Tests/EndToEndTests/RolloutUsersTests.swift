// Owns what users may expect of a release that comes step by step: whoever has seen it stays on it, groups can be chosen, a person
// may be asked, a variant that hangs is left, and sick replicas get nothing. Real applications in processes of their own.

import Foundation
import TestSupport
import Testing

/// Users who come again and again, each with a cookie, and what each was answered in turn.
private final class Visitors: Sendable {
    private let answers = Locked<[Int: [String]]>([:])
    private let isEnding = Locked(false)
    private let group = DispatchGroup()

    init(_ proxy: Proxy, count: Int, threads: Int = 4) {
        for thread in 0..<threads {
            group.enter()
            onThread { [self] in
                defer { group.leave() }
                guard let client = try? proxy.client() else { return }
                var user = thread
                while !isEnding.current {
                    let text = (try? client.request("GET", "/", ["Cookie: user=u\(user)"]).text) ?? "failed"
                    answers.with { [user] in $0[user, default: []].append(text) }
                    if text == "failed" { return }
                    user = (user + threads) % count
                }
            }
        }
    }

    var current: [Int: [String]] { answers.current }

    func waitForRounds(_ count: Int) throws {
        let before = current.mapValues(\.count)
        try Harness.wait(for: "\(count) more answers for each of \(before.count) users") {
            current.allSatisfy { $0.value.count >= before[$0.key, default: 0] + count }
        }
    }

    func finish() -> [Int: [String]] {
        isEnding.with { $0 = true }
        group.wait()
        return current
    }
}

@Suite("rollouts: users", .ownThread, .serialized, .enabled(if: !Harness.isNginx))
struct RolloutUsersTests {
    @Test func whoHasSeenTheNewVersionStaysOnIt() throws {
        let it = try Releases(split: "blue 1; green 0; key $cookie_user;")
        let admin = try it.admin()
        let visitors = Visitors(it.proxy, count: 60)
        try Harness.wait(for: "60 users") { visitors.current.count == 60 }
        try it.start(admin)
        let end = try it.wait(admin, for: RolloutTests.ends)
        #expect(end["phase"].text == "succeeded", "\(end)")
        try visitors.waitForRounds(2)
        let seen = visitors.finish()
        #expect(!seen.values.joined().contains("failed"))
        for (user, answers) in seen {
            let old = answers.prefix { $0 == "blue" }
            #expect(old.count > 0 && answers.count > old.count, "user \(user) has seen one after the other")
            #expect(answers.dropFirst(old.count).allSatisfy { $0 == "green" }, "user \(user) went back: \(answers)")
        }
        // Not all of them at once.
        #expect(Set(seen.values.map { $0.prefix { $0 == "blue" }.count }).count > 2)
    }

    @Test func aStepWaitsForAPersonWithTheFiguresOfBoth() throws {
        let it = try Releases()
        let admin = try it.admin()
        let load = it.load()
        try load.waitForAnswers(50)
        try it.start(
            admin,
            policy: "{\"steps\": [10, 50, 100], \"approval_steps\": [50], \"interval\": \"1s\", \"warm_up\": \"0s\", \"samples_min\": 10, \"bake\": \"1s\", \"latency_rise_min\": \"10s\", \"guards\": {\"latency_rise_floor\": \"10s\", \"latency_rise_max\": null, \"throughput_drop_max\": null}}")
        let asked = try it.wait(admin, for: RolloutTests.ends.union(["waiting_for_approval"]))
        #expect(asked["phase"].text == "waiting_for_approval", "\(asked)")
        #expect(try admin.weights() == ["blue": 90, "green": 10])
        for side in ["old", "new"] { #expect((asked["figures"][side]["finished"].int ?? 0) >= 10, "\(asked["figures"])") }
        let approved = try Proxyctl(it.proxy, ["rollout", "approve"], admin: "unix:state/admin.sock").result()
        #expect(approved.status == 0, "\(approved.all)")
        let end = try it.wait(admin, for: RolloutTests.ends)
        #expect(end["phase"].text == "succeeded", "\(end)")
        let verdicts = end["entries"].list.filter { $0["kind"].text == "verdict" }
        #expect(verdicts.count >= 2)
        for verdict in verdicts where verdict["percent"].int ?? 100 < 100 {
            let names = Set(verdict["figures"].list.compactMap { $0["name"].text })
            #expect(names.isSuperset(of: ["old.requests", "old.errors", "old.p95_ms", "new.requests", "new.errors", "new.p95_ms"]), "\(names)")
        }
        let result = try load.finish()
        #expect(result.count(200) == result.sent)
    }

    /// By header, by cookie, by user, by share.
    @Test func groupsAreChosen() throws {
        let it = try Releases(
            split: "blue 1; green 0; key $cookie_user $remote_addr; force $forced;",
            http: """
                map $cookie_user $of_user { default $http_x_variant; ~^staff- green; }
                map $cookie_beta $forced { default $of_user; yes green; }
                """)
        let admin = try it.admin()
        func who(_ fields: String...) throws -> String { try it.proxy.get("/", fields).text }
        #expect(try who() == "blue")
        #expect(try who("X-Variant: green") == "green")
        #expect(try who("X-Variant: purple") == "blue")
        #expect(try who("Cookie: beta=yes") == "green")
        #expect(try who("Cookie: user=staff-ann") == "green")
        #expect(try who("Cookie: user=ann") == "blue")
        let number = try it.start(admin, policy: "{\"strategy\": \"ab\", \"steps\": [25], \"interval\": \"1s\"}")
        try Harness.wait(for: "a quarter") { try admin.weights() == ["blue": 75, "green": 25] }
        let client = try it.proxy.client()
        func greens() throws -> Set<Int> {
            Set(try (0..<200).filter { try client.request("GET", "/", ["Cookie: user=u\($0)"]).text == "green" })
        }
        let first = try greens()
        // 50, give or take four standard deviations; it follows from the names.
        #expect((25...75).contains(first.count), "\(first.count)")
        #expect(try greens() == first, "the same users")
        #expect(try it.wait(admin, number, for: ["running", "inconclusive"])["percent"].int == 25)
        #expect(try admin.ask("POST", "/rollouts/\(number)/promote").status == 200)
        #expect(try greens().count == 200)
    }

    /// Requests come whether the ones before are answered or not; those that hang have neither errors nor latencies to show.
    @Test func aReleaseThatHangsIsTakenBack() throws {
        let it = try Releases()
        let admin = try it.admin()
        let load = it.load()
        try load.waitForAnswers(100)
        // How long answers take on a busy machine is not looked at.
        let policy = """
            {"steps": [50, 100], "interval": "60s", "warm_up": "0s", "latency_rise_min": "10s",
             "guards": {"window": "1s", "samples_min": 10, "latency_rise_max": null, "latency_rise_max_ratio": null}}
            """
        let number = try it.start(admin, policy: policy)
        // The guard looks at windows that had the present weights from their beginning: two of them.
        let begun = DispatchTime.now().uptimeNanoseconds
        try Harness.wait(for: "the figures to settle") { DispatchTime.now().uptimeNanoseconds - begun > 4_000_000_000 }
        try it.green.behave(.init(slowMs: 60_000))
        var waiting: [RawClient] = []
        var end = try admin.get("/rollouts/\(number)")
        try Harness.wait(for: "the way back: \(end["figures"])", withinMs: 30_000) {
            if waiting.count < 400 {
                let client = try it.proxy.client()
                try client.send(RawClient.text())
                waiting.append(client)
            }
            end = try admin.get("/rollouts/\(number)")
            return RolloutTests.ends.contains(end["phase"].text ?? "")
        }
        #expect(end["phase"].text == "rolled_back", "\(end)")
        #expect(end["finding"]["kind"].text == "throughput_drop", "\(end["finding"])")
        #expect(end["finding"]["figures"].list.contains { $0["name"].text == "new.finished" })
        #expect(try admin.weights() == ["blue": 100, "green": 0])
        // What hangs there ends with it.
        it.green.die()
        let result = try load.finish()
        #expect(result.failures == [])
        #expect(result.count(502) <= 4 && result.count(200) + result.count(502) == result.sent, "\(result.statuses)")
    }

    @Test func onlyHealthyReplicasGetTraffic() throws {
        let replicas = try ["one", "two", "three"].map { try PythonApp($0) }
        let servers = replicas.map { "server \($0.endpoint);" }.joined(separator: " ")
        let proxy = try Proxy(
            http: "upstream app { \(servers) keepalive 16; health_check uri=/health interval=1s fails=1 mandatory; } "
                + "server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection \"\"; } }")
        try Harness.wait(for: "the first checks") { (try? proxy.get().status) == 200 }
        let load = Load(proxy.endpoint, connections: 4)
        try Harness.wait(for: "all three: \(load.current.bodies)") { load.current.bodies.count == 3 }
        try replicas[1].behave(.init(health: false))
        let admin = try Admin(proxy)
        func state() throws -> String? { try admin.get("/status")["upstreams"]["app"]["servers"][1]["health"]["state"].text }
        try Harness.wait(for: "two to be sick") { try state() == "unhealthy" }
        try load.waitForAnswers(20)
        let count = try replicas[1].requestCount
        try load.waitForAnswers(200)
        #expect(try replicas[1].requestCount == count, "the sick one gets nothing")
        try replicas[1].behave(.init())
        try Harness.wait(for: "two again") { try replicas[1].requestCount > count }
        let result = try load.finish()
        #expect(result.failures == [] && result.count(200) == result.sent, "\(result.statuses)")
    }
}
