// Tests how a plan is read: what it means, which problems it has and where, and what variables become.

import AdminAPI
import Deploy
import Testing

@Suite("deploy plan")
struct PlanTests {
    static let two = #"""
        {"name": "shop", "environments": {"blue": {"env": {"PORT": 3001}}, "green": {"env": {"PORT": 3002}}},
         "services": {"api": {"split": "app", "start": {"process": "exec ./api"}, "health": {"url": "http://127.0.0.1:${PORT}/health"}}}}
        """#

    private func read(_ text: String, _ variables: [String: String] = [:]) throws(Problem) -> DeployPlan {
        try DeployPlan(decoding: try Expansion.document(try JSON.parse(text), variables))
    }

    @Test func defaultsAreThoseOfTheManual() throws {
        let plan = try read(Self.two)
        let service = try #require(plan.service("api"))
        #expect(plan.environments.map(\.name) == ["blue", "green"])
        #expect(service.kind == .split("app", variants: [:]))
        #expect(service.health?.rhythm == Rhythm(tries: 5, intervalMs: 2000))
        #expect(service.stop.keepsOld && service.stop.graceMs == 30_000 && service.stop.signal == "TERM")
        #expect(service.start?.isProcess == true)
        #expect(plan.state == ".deploy")
    }

    @Test(
        arguments: [
            (#"{}"#, "/services", "found no \"services\""),
            (#"{"services": {}}"#, "/services", "found 0 services"),
            (#"{"service": {}}"#, "/service", "found \"service\" in a deploy plan"),
            (#"{"services": {"a": {}}}"#, "/services/a", "expected one of split, upstream and link"),
            (#"{"services": {"a": {"split": "x", "link": "y"}}}"#, "/services/a", "found 2"),
            (#"{"services": {"a": {"split": "x"}}}"#, "/environments", "no two environments"),
            (#"{"services": {"../a": {"split": "x"}}}"#, "/services/..~1a", "found \"../a\""),
            (#"{"services": {"a": {"link": "x"}}}"#, "/services/a", "found no \"directory\""),
            (
                #"{"services": {"a": {"link": "x", "directory": "y", "build": {"run": "x", "timeout": "fast"}}}}"#,
                "/services/a/build/timeout", "found"
            ),
            (
                #"{"services": {"a": {"link": "x", "directory": "y", "build": {"run": "x", "tme": 1}}}}"#,
                "/services/a/build/tme", "found \"tme\""
            ),
            (
                #"{"services": {"a": {"link": "x", "directory": "y", "check": ["x", {"rum": "y"}]}}}"#, "/services/a/check/1/rum",
                "found \"rum\""
            ),
            (
                #"{"services": {"a": {"link": "x", "directory": "y", "verify": {"tries": 0, "url": "http://x"}}}}"#,
                "/services/a/verify/tries", "found"
            ),
            (
                #"{"services": {"a": {"link": "x", "directory": "y", "verify": {"url": "http://x", "status": "2xx"}}}}"#,
                "/services/a/verify/status", ""
            ),
            (
                #"{"services": {"a": {"link": "x", "directory": "y", "rollout": {}}}}"#, "/services/a/rollout",
                "a rollout needs a split"
            ),
            (
                #"{"services": {"a": {"link": "x", "directory": "y", "stop": {"old": "burn"}}}}"#, "/services/a/stop/old",
                "expected keep or stop"
            ),
            (#"{"services": {"a": {"upstream": "x"}}}"#, "/services/a", "found no replicas"),
            (
                #"{"services": {"a": {"upstream": "x", "replicas": {"one": ["a:1", "a:2"]}}}}"#, "/services/a/replicas/one",
                "found 2 addresses"
            ),
            (#"{"services": {"a": {"split": "x", "start": "y"}}}"#, "/services/a", "found a start and no health"),
            (#"{"approve": ["party"], "services": {}}"#, "/approve/0", "found no stage"),
            (#"{"notify": {"on": ["start"]}, "services": {}}"#, "/notify", "found no \"url\""),
            (#"{"environments": {"blue": 1}, "services": {}}"#, "/environments/blue", "found the number 1"),
            (#"{"environments": {"blue": {"env": {"A": []}}}, "services": {}}"#, "/environments/blue/env/A", "expected a string"),
        ])
    func problemsHaveTheirPlace(text: String, pointer: String, start: String) {
        do throws(Problem) {
            _ = try read(text)
            Issue.record("taken: \(text)")
        } catch {
            #expect(error.pointer == pointer, "\(error.detail)")
            #expect(error.detail.contains(start), "\(error.detail)")
        }
    }

    @Test func variablesComeFromOutsideUnlessThePlanSetsThem() throws {
        let text = #"""
            {"state": "${DIR:-.deploy}/x", "env": {"PORT": "${BASE:-30}01"},
             "services": {"a": {"link": "l", "directory": "${PORT}/${DEPLOY_COMMIT}",
              "verify": {"url": "http://h:${PORT}", "tries": "${TRIES:-4}", "interval": "${EVERY:-2s}"}, "build": "echo ${PORT:-none} $HOME"}}}
            """#
        let plan = try read(text, ["PORT": "9", "EVERY": "20ms", "TRIES": "7"])
        let service = try #require(plan.service("a"))
        #expect(plan.state == ".deploy/x")
        #expect(plan.env["PORT"]?.raw == "3001")
        // The plan's own name is left for its step, and commands are left for their shell.
        #expect(service.directory?.raw == "${PORT}/${DEPLOY_COMMIT}")
        #expect(service.build?.run == "echo ${PORT:-none} $HOME")
        #expect(service.verify?.rhythm.tries == 7)
        #expect(service.verify?.rhythm.intervalMs == 20)
        #expect(try read(text).service("a")?.verify?.rhythm.intervalMs == 2000)
    }

    @Test func textsAreFilledInOrRefused() throws {
        #expect(try Expansion.text(Text("a${X}b${Y:-c}$d$"), ["X": "1"]) == "a1bc$d$")
        for text in ["${X", "${}", "${X Y}", "${X:d}", "${NOBODY}"] {
            #expect(throws: Problem.self, "\(text)") { try Expansion.text(Text(text, at: JSONPointer(["p"])), ["X": "1"]) }
        }
    }
}
