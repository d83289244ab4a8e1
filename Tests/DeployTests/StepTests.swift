// Tests which steps a plan becomes, in which order, with what undoes them, and what is refused before anything is begun.

import AdminAPI
import Deploy
import Testing

@Suite("deploy steps")
struct StepTests {
    static func plan(_ text: String) throws(Problem) -> DeployPlan {
        try DeployPlan(decoding: try Expansion.document(try JSON.parse(text), [:]))
    }

    static func facts(_ change: (inout DeployFacts) -> Void = { _ in }) -> DeployFacts {
        var facts = DeployFacts()
        facts.number = 7
        facts.folder = "/srv"
        facts.stateFolder = "/srv/.deploy"
        facts.to = "green"
        facts.commit = "v2"
        facts.commitBefore = "v1"
        facts.splits = ["app": ["blue": 100, "green": 0], "web": ["web_blue": 1, "web_green": 0]]
        facts.servers = ["pool": ["h:1", "h:2", "h:3"]]
        change(&facts)
        return facts
    }

    static let shop = #"""
        {"name": "shop", "approve": ["switch"],
         "environments": {"blue": {"env": {"PORT": 3001}}, "green": {"env": {"PORT": 3002}}},
         "services": {
          "api": {"split": "app", "directory": "rel/${DEPLOY_TO}", "check": "true", "backup": "b", "build": "make", "migrate": {"run": "m", "undo": "u"},
                  "start": {"process": "exec api"}, "health": {"url": "http://h:${PORT}/health"},
                  "verify": {"url": "http://p/", "body": "${DEPLOY_COMMIT}"}, "bake": {"url": "http://h:${PORT}/"}},
          "web": {"split": "web", "variants": {"blue": "web_blue", "green": "web_green"}, "stop": {"run": "halt", "old": "stop"},
                  "start": {"run": "boot"}, "health": {"run": "curl x"}},
          "site": {"link": "current", "directory": "site-${DEPLOY_COMMIT}", "build": "cp"}}}
        """#

    @Test func stagesComeInOrderAndServicesTogether() throws {
        var builder = try StepBuilder(try Self.plan(Self.shop), [], Self.facts())
        let steps = try builder.build()
        #expect(builder.from == "blue")
        #expect(
            steps.map { "\($0.stage.rawValue) \($0.service)" } == [
                "check api", "backup api", "build api", "build site", "migrate api", "start api", "start api", "health api",
                "start web",
                "start web", "health web", "switch ", "switch site", "verify api", "bake api", "drain api", "drain web",
                "stop web",
            ])
        let change = try #require(steps.first { $0.stage == .switch })
        #expect(change.needsApproval)
        #expect(steps.filter(\.needsApproval).count == 1)
        let next = ["app": ["blue": 0, "green": 100], "web": ["web_blue": 0, "web_green": 100]]
        let before = ["app": ["blue": 100, "green": 0], "web": ["web_blue": 1, "web_green": 0]]
        #expect(change.work == .weights(WeightsWork(splits: next, expects: before, opens: ["green", "web_green"])))
        #expect(change.undo == [.weights(WeightsWork(splits: before, expects: next, opens: []))])
        #expect(
            steps.filter { $0.carriesTraffic }.map(\.title) == ["switch app and web to green", "switch site to /srv/site-v2"])
    }

    /// Somebody may have switched back to it.
    @Test func theOldVersionIsStoppedOnlyWithoutTraffic() throws {
        var builder = try StepBuilder(try Self.plan(Self.shop), [], Self.facts())
        guard case .end(let end)? = try builder.build().first(where: { $0.stage == .stop })?.work else { return #expect(Bool(false)) }
        #expect(end.idleUpstreams == ["web_blue"])
    }

    /// What was taken out is put in again only if it was brought back.
    @Test(arguments: ["stop-first", "start-first"])
    func aReplicaThatDoesNotComeBackStaysOut(order: String) throws {
        var builder = try StepBuilder(try Self.plan(Self.replicas(order, parallelism: 2)), [], Self.facts())
        let steps = try builder.build()
        let out = steps.filter { step in
            if case .server(let work) = step.work { work.change == .down } else { false }
        }
        #expect(out.count == 3)
        for step in out {
            guard case .server(let work) = step.work, let needed = step.undoNeeds else { return #expect(Bool(false), "\(step.title)") }
            let name = ["h:1": "a", "h:2": "b", "h:3": "c"][work.server] ?? ""
            #expect(steps[needed].title.hasPrefix("stop \(name)"))
        }
    }

    @Test func commandsKnowWhatTheyAreFor() throws {
        var builder = try StepBuilder(try Self.plan(Self.shop), ["api"], Self.facts())
        let steps = try builder.build()
        guard case .command(let build)? = steps.first(where: { $0.stage == .build })?.work else { return #expect(Bool(false)) }
        #expect(build.builds == "v2" && build.builtFile == "/srv/rel/green/.build-hash")
        #expect(build.env["PORT"] == "3002" && build.env["DEPLOY_COMMIT"] == "v2" && build.env["DEPLOY_FROM"] == "blue")
        #expect(build.env["DEPLOY_DIRECTORY"] == "/srv/rel/green" && build.env["DEPLOY_STAGE"] == "build")
        guard case .process(let start)? = steps.last(where: { $0.stage == .start })?.work else { return #expect(Bool(false)) }
        #expect(start.pidFile == "/srv/.deploy/pids/api-green.pid" && start.logFile == "/srv/.deploy/logs/api-green.log")
        guard case .probe(let health)? = steps.first(where: { $0.stage == .health })?.work else { return #expect(Bool(false)) }
        #expect(health.pidFiles == [start.pidFile])
        guard case .request(let check)? = health.checks.first else { return #expect(Bool(false)) }
        #expect(check.url == "http://h:3002/health")
    }

    @Test func everyStepIsReadBackAsItWasWritten() throws {
        var builder = try StepBuilder(try Self.plan(Self.shop), [], Self.facts())
        var rolling = try StepBuilder(try Self.plan(Self.replicas("start-first")), [], Self.facts())
        var canary = try StepBuilder(try Self.plan(Self.canary), [], Self.facts())
        for step in try builder.build() + rolling.build() + canary.build() {
            #expect(try DeployStep(body: step.json.bytes()) == step)
        }
    }

    static let canary = #"""
        {"environments": {"blue": {}, "green": {}}, "services": {"a": {"split": "app", "rollout": {"name": "slow"}, "shadow": {"compared_min": 9}}}}
        """#

    @Test func aRolloutTakesThePlaceOfTheSwitch() throws {
        var builder = try StepBuilder(try Self.plan(Self.canary), [], Self.facts())
        let steps = try builder.build()
        #expect(steps.map(\.stage) == [.rollout, .drain])
        guard case .rollout(let work) = steps[0].work else { return #expect(Bool(false)) }
        #expect(
            work.to == "green" && work.policy["shadow"]?["compared_min"]?.integer == 9 && work.policy["name"]?.string == "slow")
    }

    @Test(
        arguments: [
            ("green serves already", ["blue": 0, "green": 1], "green"),
            ("blue and green both serve", ["blue": 1, "green": 1], "green"),
            ("no split app", nil, "green"), ("has no variant green", ["blue": 1], "green"),
            ("no environment \"red\"", ["blue": 1, "green": 0], "red"),
        ] as [(String, [String: Int]?, String)])
    func whatRunsMustFit(words: String, weights: [String: Int]?, to: String) throws {
        let plan = try Self.plan(Self.shop)
        let facts = Self.facts {
            $0.splits["app"] = weights
            $0.to = to
        }
        let problem = #expect(throws: Problem.self) {
            var builder = try StepBuilder(plan, ["api"], facts)
            _ = try builder.build()
        }
        #expect(problem?.detail.contains(words) == true, "\(problem?.detail ?? "")")
    }

    @Test func aContractingMigrationWaitsUntilNobodyCanGoBack() throws {
        let text = Self.shop.replacing(#""undo": "u""#, with: #""phase": "contract""#)
        let plan = try Self.plan(text)
        let facts = Self.facts { $0.waysBack = ["api"] }
        let problem = #expect(throws: Problem.self) {
            var builder = try StepBuilder(plan, [], facts)
            _ = try builder.build()
        }
        #expect(problem?.pointer == "/services/api/migrate/phase")
        var builder = try StepBuilder(plan, [], Self.facts())
        #expect(try builder.build().contains { $0.title == "migrate api (contract)" })
    }

    static func replicas(_ order: String, parallelism: Int = 1, action: String = "rollback") -> String {
        let replicas =
            order == "stop-first"
            ? #"{"a": "h:1", "b": "h:2", "c": "h:3"}"# : #"{"a": ["h:1", "h:11"], "b": ["h:2", "h:12"], "c": ["h:3", "h:13"]}"#
        return #"""
            {"services": {"s": {"upstream": "pool", "start": {"process": "x"}, "health": {"url": "http://h/"}, "replicas": \#(replicas),
             "rolling": {"order": "\#(order)", "parallelism": \#(parallelism), "failure_action": "\#(action)", "monitor": "1s"}}}}
            """#
    }

    @Test func replicasAreReplacedABatchAtATime() throws {
        var builder = try StepBuilder(try Self.plan(Self.replicas("stop-first", parallelism: 2)), [], Self.facts())
        let steps = try builder.build()
        #expect(
            steps.filter { $0.batch == 0 }.map(\.title) == [
                "take a out", "take b out", "wait for the last requests of a", "wait for the last requests of b", "stop a",
                "stop b", "start a",
                "start b", "wait until a and b is well", "put a in", "put b in", "watch a and b", "pause before the next",
            ])
        #expect(steps.filter { $0.batch == 1 }.map(\.title).first == "take c out")
        let stop = try #require(steps.first { $0.title == "stop a" })
        guard case .process(let old)? = stop.undo.first else { return #expect(Bool(false)) }
        #expect(old.env["DEPLOY_COMMIT"] == "v1", "the old version comes back, not the new one")
        #expect(throws: Problem.self) {
            var builder = try StepBuilder(try Self.plan(Self.replicas("stop-first", parallelism: 3)), [], Self.facts())
            _ = try builder.build()
        }
    }

    @Test func aSuccessorTakesTheFreeAddress() throws {
        let facts = Self.facts { $0.servers = ["pool": ["h:11", "h:2", "h:3"]] }
        var builder = try StepBuilder(try Self.plan(Self.replicas("start-first")), [], facts)
        let titles = try builder.build().filter { $0.batch == 0 }.map(\.title)
        #expect(
            titles == [
                "end what is left at h:1", "start a at h:1", "wait until a is well", "put h:1 in", "watch a", "take h:11 out",
                "wait for the last requests of h:11", "stop a at h:11", "forget h:11", "pause before the next",
            ])
        #expect(throws: Problem.self) {
            let both = Self.facts { $0.servers = ["pool": ["h:11", "h:1", "h:2", "h:3"]] }
            var builder = try StepBuilder(try Self.plan(Self.replicas("start-first")), [], both)
            _ = try builder.build()
        }
    }

    /// Who is put back does not run yet.
    @Test func aServerThatComesBackIsDownAtFirst() throws {
        var builder = try StepBuilder(try Self.plan(Self.replicas("start-first")), [], Self.facts())
        let forget = try #require(try builder.build().first { $0.title == "forget h:1" })
        #expect(forget.undo == [.server(ServerWork(.addDown, "h:1", of: "pool"))])
    }

    @Test func aRollbackSwitchesToWhatIsWell() throws {
        let facts = Self.facts {
            $0.isRollback = true
            $0.linksBack = ["site": "/srv/site-v1"]
            $0.links = ["site": "/srv/site-v2"]
        }
        var builder = try StepBuilder(try Self.plan(Self.shop), [], facts)
        let steps = try builder.build()
        #expect(
            steps.map { "\($0.stage.rawValue) \($0.service)" } == [
                "health api", "start web", "start web", "health web", "switch ", "switch site", "verify api", "drain api",
                "drain web",
            ])
        #expect(steps[5].work == .link(LinkWork(link: "/srv/current", target: "/srv/site-v1", expects: "/srv/site-v2")))
    }
}
