// Tests what `proxyctl rollout` and `proxyctl policy` ask of the server and print.

import AdminAPI
import Foundation
import TestSupport
import Testing

@testable import proxyctl

@Suite("rollout", .serialized)
struct RolloutTests {
    private static func rollout(_ number: Int64, _ phase: String, percent: Int64 = 25) -> JSON {
        .members([
            "entries": [
                .members([
                    "at": "2026-11-21T14:05:00.000Z", "at_ms": 1, "kind": "rolling_back", "percent": 25, "phase": "rolling_back",
                    "text": "back to blue: too many errors", "figures": [.members(["name": "new.error_ratio", "value": .number(0.05)])], "who": "ann",
                ])
            ],
            "figures": .members(["new": figures(7), "old": figures(0)]),
            "finding": .members(["kind": "error_ratio", "text": "7 of 140 requests (5 %) are errors"]), "new": "green",
            "number": .integer(number), "old": "blue", "percent": .integer(percent), "phase": .string(phase), "policy": "canary", "reason": "release 42",
            "split": "app", "started": "2026-11-21T14:00:00.000Z", "step": 1, "steps": [5, 25, 100], "strategy": "canary", "who": "ann",
        ])
    }

    private static func figures(_ errors: Int64) -> JSON {
        .members([
            "error_ratio": .number(Double(errors) / 140), "errors": .integer(errors), "errors_by_class": .object([]), "finished": 140,
            "p50_ms": .number(4.5), "p95_ms": .number(12), "p99_ms": .number(40), "started": 141, "window": "15s",
        ])
    }

    private static let upstreams = JSON.members([
        "revision": 1, "splits": .members(["app": .members(["weights": .members(["blue": 100, "green": 0])])]), "upstreams": .object([]),
    ])

    @Test func startPutsTogetherWhatIsAskedFor() throws {
        let kept = JSON.members(["interval": "1m", "name": "slow", "steps": [5, 100], "warm_up": "10s"])
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Self.upstreams)], "GET /policies/slow": [.json(kept)],
            "POST /rollouts?reason=release%2042": [.json(Self.rollout(3, "running"))], "POST /rollouts": [.json(Self.rollout(3, "running"))],
            "POST /rollouts?force=1": [.json(Self.rollout(3, "running"))],
        ])
        let plain = try admin.run("rollout", "start", "green", "--reason", "release 42")
        #expect(plain.status == 0 && plain.output.hasPrefix("Rollout 3 of app: blue to green; it is running; green has 25 %.\n"), "\(plain)")
        #expect(admin.write?.text == #"{"split":"app","to":"green"}"#)
        _ = try admin.run("rollout", "start", "green", "--steps", "10,50%,100", "--interval", "30s")
        #expect(admin.write?.text == #"{"policy":{"interval":"30s","name":"unnamed","steps":[10,50,100]},"split":"app","to":"green"}"#)
        _ = try admin.run("rollout", "start", "green", "--policy", "slow")
        #expect(admin.write?.text == #"{"policy":"slow","split":"app","to":"green"}"#)
        // What depends on what was changed is left to the defaults.
        _ = try admin.run("rollout", "start", "green", "--policy", "slow", "--interval", "5s", "--force")
        #expect(admin.write?.text == #"{"policy":{"interval":"5s","name":"slow","steps":[5,100]},"split":"app","to":"green"}"#)
        #expect(try admin.run("rollout", "start", "green", "--steps", "a,b").status == 2)
        #expect(try admin.run("rollout", "start", "green", "--interval", "soon").status == 2)
    }

    @Test func whichRolloutIsMeant() throws {
        let two = JSON.members(["rollouts": [Self.rollout(4, "running"), Self.rollout(3, "paused")]])
        let several = try FakeAdmin(["GET /rollouts": [.json(two)]])
        let asked = try several.run("rollout", "pause")
        #expect(asked.status == 2 && asked.errors.contains("several rollouts live:"), "\(asked)")
        let one = try FakeAdmin([
            "GET /rollouts": [.json(.members(["rollouts": [Self.rollout(4, "running"), Self.rollout(3, "succeeded")]]))],
            "POST /rollouts/4/abort?reason=bad": [.json(Self.rollout(4, "aborted", percent: 0))],
        ])
        #expect(try one.run("rollout", "abort", "--reason", "bad").output == "Rollout 4 was aborted: 7 of 140 requests (5 %) are errors.\n")
        let none = try FakeAdmin(["GET /rollouts": [.json(.members(["rollouts": []]))]])
        #expect(try none.run("rollout", "abort").status == 2)
        #expect(try none.run("rollout", "list").output == "There has been no rollout.\n")
    }

    @Test func whatIsShown() throws {
        let admin = try FakeAdmin([
            "GET /rollouts": [.json(.members(["rollouts": [Self.rollout(4, "rolled_back")]]))], "GET /rollouts/4": [.json(Self.rollout(4, "rolled_back"))],
        ])
        let status = try admin.run("rollout", "status")
        for line in [
            "state    rolled back\n", "share    25 % of 5 [25] 100, by the policy canary\n", "started  2026-11-21 14:00:00 by ann: release 42\n",
            "blue          140       0  0.00 %  4.50 ms  12.0 ms  40.0 ms  in the last 15s\n",
            "2026-11-21 14:05:00  rolling back: back to blue: too many errors (ann)\n",
        ] { #expect(status.output.contains(line), "\(line)\(status.output)") }
        #expect(try admin.run("rollout", "show", "4").output.contains("    new.error_ratio 0.05\n"))
        let watched = try admin.run("rollout", "status", "4", "--watch")
        #expect(watched.status == 1 && watched.errors.contains("rollout 4 was rolled back: 7 of 140"), "\(watched)")
    }

    @Test func policiesFromFiles() throws {
        let problem = Problem(.outOfRange, "found 20 after 50, expected percentages that rise", pointer: "/steps/1")
        let admin = try FakeAdmin([
            "PUT /policies/p": [.json(JSON.members(["name": "p"]))], "PUT /policies/q": [.problem(problem)], "DELETE /policies/p": [.json(.object([]))],
        ])
        try "name: p\nsteps: [50, 100]\ninterval: 30s\n".write(toFile: admin.directory + "/p.yaml", atomically: false, encoding: .utf8)
        #expect(try admin.run("policy", "put", "p.yaml").output == "The policy p is kept.\n")
        #expect(admin.write?.text == #"{"steps":[50,100],"interval":"30s"}"#)
        try "steps:\n- 50\n- 20\n".write(toFile: admin.directory + "/q.yaml", atomically: false, encoding: .utf8)
        let wrong = try admin.run("policy", "put", "q.yaml", "--name", "q")
        #expect(wrong.status == 2 && wrong.errors.contains("q.yaml:3:3: found 20 after 50"), "\(wrong)")
        #expect(try admin.run("policy", "put", "q.yaml").errors.contains("has no \"name\""))
        #expect(try admin.run("policy", "delete", "p").output == "The policy p is forgotten.\n")
    }
}
