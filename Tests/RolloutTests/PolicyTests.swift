import AdminAPI
import Testing

@testable import Rollout

@Suite("rollout: policy")
struct PolicyTests {
    @Test func defaultsAreGood() throws {
        for strategy in RolloutPolicy.Strategy.allCases {
            let policy = try RolloutPolicy(json: .members(["name": "p", "strategy": .string(strategy.rawValue)]))
            try policy.check()
            #expect(policy.strategy == strategy)
        }
        try shortPolicy().check()
        #expect(try RolloutPolicy(json: .members(["name": "default"])) == RolloutPolicy(name: "default"))
    }

    static let wrong: [(String, String, @Sendable (inout RolloutPolicy) -> Void)] = [
        ("/name", "found an empty name", { $0.name = "" }),
        ("/steps", "found 0 steps", { $0.steps = [] }),
        ("/steps/1", "found 0, expected a whole number from 1 to 100", { $0.steps = [5, 0, 100] }),
        ("/steps/2", "found 25 after 50, expected percentages that rise", { $0.steps = [5, 50, 25, 100] }),
        ("/steps/1", "found 50 at the end, expected 100", { $0.steps = [5, 50] }),
        ("/steps", "expected [100]", { $0.strategy = .blueGreen }),
        ("/steps", "expected one percentage below 100", { $0.strategy = .ab }),
        ("/interval", "found 0s, expected a time from 100ms to 30d", { $0.intervalMs = 0 }),
        ("/warm_up", "found a warm-up of 1m, expected less than the interval of 1m", { $0.warmUpMs = 60_000 }),
        ("/samples_min", "found 0", { $0.samplesMin = 0 }),
        ("/alpha", "found 0.5, expected a number from 1e-09 to 0.2", { $0.alpha = 0.5 }),
        ("/alpha", "found nan", { $0.alpha = .nan }),
        ("/error_rise_min", "found -0.1", { $0.errorRiseMin = -0.1 }),
        ("/latency_rise_min", "found -1", { $0.latencyRiseMinMs = -1 }),
        ("/latency_rise_min_ratio", "found 1000.0", { $0.latencyRiseMinRatio = 1_000 }),
        ("/errors", "found an empty list", { $0.errorClasses = [] }),
        ("/errors/1", "found \"reset\" a second time", { $0.errorClasses = [.reset, .reset] }),
        ("/approval_steps/0", "found 30, expected some of the steps 5, 25, 50, 100", { $0.approvalSteps = [30] }),
        ("/guards/window", "found 10ms", { $0.guards.windowMs = 10 }),
        ("/guards/checks_failed_max", "found 0", { $0.guards.checksFailedMax = 0 }),
        ("/guards/error_ratio_max", "found 1.5", { $0.guards.errorRatioMax = 1.5 }),
        (
            "/guards/metrics/1/name", "found \"rss\" a second time",
            { $0.guards.metrics = [.init(name: "rss", max: 1), .init(name: "rss", max: 2)] }
        ),
        ("/guards/metrics/0/max", "found inf", { $0.guards.metrics = [.init(name: "rss", max: .infinity)] }),
        ("/bake", "expected a time from 0s to 30d", { $0.bakeMs = -1 }),
        (
            "/shadow/differs_max", "found 2.0",
            {
                $0.shadow = ShadowGate()
                $0.shadow?.differsMax = 2
            }
        ),
    ]

    @Test(arguments: wrong.indices) func namesTheField(index: Int) {
        let (pointer, words, set) = Self.wrong[index]
        var policy = RolloutPolicy(name: "p")
        set(&policy)
        let found = problem { () throws(Problem) in try policy.check() }
        #expect(found?.pointer == pointer)
        #expect(found?.detail.contains(words) == true, "\(found?.detail ?? "nothing")")
    }

    static let unreadable: [(String, String, String)] = [
        ("[]", "", "found a list, expected a rollout policy"),
        ("{}", "/name", "found no \"name\""),
        ("{\"name\":\"p\",\"step\":[5]}", "/step", "found \"step\" in a rollout policy, expected one of"),
        ("{\"name\":\"p\",\"steps\":[5,\"x\"]}", "/steps/1", "expected a percentage"),
        ("{\"name\":\"p\",\"interval\":\"60q\"}", "/interval", "found the string \"60q\", expected a time"),
        ("{\"name\":\"p\",\"strategy\":\"fast\"}", "/strategy", "expected one of blue-green, canary, rolling, ab"),
        ("{\"name\":\"p\",\"errors\":[\"connect\",\"x\"]}", "/errors/1", "expected one of connect, timeout"),
        ("{\"name\":\"p\",\"guards\":{\"error_max\":1}}", "/guards/error_max", "expected one of"),
        ("{\"name\":\"p\",\"guards\":{\"metrics\":[{\"name\":\"rss\"}]}}", "/guards/metrics/0/max", "found no \"max\""),
        ("{\"name\":\"p\",\"rollback\":\"yes\"}", "/rollback", "expected true or false"),
    ]

    @Test(arguments: unreadable) func namesTheMember(text: String, pointer: String, words: String) {
        let found = problem { () throws(Problem) in try RolloutPolicy(body: Array(text.utf8)) }
        #expect(found?.pointer == pointer)
        #expect(found?.detail.contains(words) == true, "\(found?.detail ?? "nothing")")
    }

    @Test func readsWhatItWrote() throws {
        var policy = RolloutPolicy(name: "full")
        policy.strategy = .rolling
        policy.steps = RolloutPolicy.rollingSteps(replicas: 3)
        policy.approvalSteps = [66]
        policy.errorClasses = [.timeout, .status4xx]
        policy.whenInconclusive = .goOn
        policy.whenWayBackSick = .rollBack
        policy.rollsBackByItself = false
        policy.shadow = ShadowGate()
        policy.guards.checksFailedMax = nil
        policy.guards.latencyRiseMaxMs = nil
        policy.guards.metrics = [MetricLimit(name: "rss", max: 2.5e9)]
        try policy.check()
        #expect(policy.steps == [33, 66, 100])
        #expect(try RolloutPolicy(body: policy.json.bytes()) == policy)
    }
}
