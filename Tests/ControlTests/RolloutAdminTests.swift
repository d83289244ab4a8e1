import AdminAPI
import Rollout
import Testing

@testable import Control
@testable import Engine

/// The schemas of rollouts against the codecs, and the workers' rows against the histograms they become.
@Suite("Rollouts in the admin API")
struct RolloutAdminTests {
    private func words(_ schema: JSON?) -> Set<String> { Set(schema?["enum"]?.array?.compactMap(\.string) ?? []) }
    private func property(_ schema: String, _ name: String) -> JSON? { OpenAPISchemas.all[schema]?["properties"]?[name] }
    private func names(_ schema: String) -> Set<String> { Set(OpenAPISchemas.all[schema]?["properties"]?.object?.map(\.name) ?? []) }

    private var full: RolloutPolicy {
        get throws {
            let text = #"""
                {"name": "p", "shadow": {}, "checks": {"uri": "/health"}, "notify": ["https://a.test/x"],
                 "dependencies": [{"name": "db", "url": "http://127.0.0.1:1/db"}, {"name": "c", "uri": "/c"}],
                 "guards": {"metrics": [{"name": "a", "max": 1, "rss": "/p"}, {"name": "b", "max": 1, "command": ["x", "$variant"]},
                   {"name": "c", "max": 1, "url": "http://a/b"}, {"name": "d", "max": 1.5, "prometheus": {"url": "http://a", "query": "q"}}]}}
                """#
            return try RolloutPolicy(json: try JSON.parse(text))
        }
    }

    @Test func policiesAreAsTheSchemaHasThem() throws {
        let policy = try full
        try policy.check()
        #expect(SchemaCheck.faults(of: policy.json, by: "Policy") == [])
        #expect(names("Policy") == Set(policy.json.object?.map(\.name) ?? []))
        #expect(names("Guards") == Set(policy.guards.json.object?.map(\.name) ?? []))
        #expect(names("PolicyWrite") == names("Policy").union(["reason"]))
        #expect(names("Metric") == Set(policy.guards.metrics.flatMap { $0.json.object?.map(\.name) ?? [] }))
        #expect(names("Dependency") == Set(policy.dependencies.flatMap { $0.json.object?.map(\.name) ?? [] }))
        #expect(names("ShadowGate") == Set(policy.shadow?.json.object?.map(\.name) ?? []))
        for metric in policy.guards.metrics { #expect(SchemaCheck.faults(of: metric.json, by: "Metric") == []) }
        for one in policy.dependencies { #expect(SchemaCheck.faults(of: one.json, by: "Dependency") == []) }
        #expect(try RolloutPolicy(json: policy.json) == policy)
    }

    @Test func theWordsOfTheSchemaAreThoseOfTheCodecs() {
        #expect(words(property("Policy", "strategy")) == Set(RolloutPolicy.Strategy.allCases.map(\.rawValue)))
        #expect(words(property("Policy", "inconclusive")) == Set(RolloutPolicy.Inconclusive.allCases.map(\.rawValue)))
        #expect(words(property("Policy", "sick_way_back")) == Set(RolloutPolicy.SickWayBack.allCases.map(\.rawValue)))
        #expect(words(property("Policy", "errors")?["items"]) == Set(ErrorClass.allCases.map(\.rawValue)))
        #expect(words(property("Rollout", "phase")) == Set(RolloutPhase.allCases.map(\.rawValue)))
    }

    @Test func defaultsAreThoseOfTheCodecs() throws {
        let policy = try RolloutPolicy(json: .members(["name": "p"])).json
        for (schema, json) in [("Policy", policy), ("Guards", policy["guards"] ?? .null)] {
            for property in OpenAPISchemas.all[schema]?["properties"]?.object ?? [] {
                guard let value = property.value["default"] else { continue }
                #expect(json[property.name] == value, "\(schema) \(property.name)")
            }
        }
    }

    // MARK: Rows

    @Test func theWorkersBucketsAreThoseOfTheHistogram() {
        #expect(LatencyBuckets.count == LatencyHistogram.bucketCount)
        var us: UInt64 = 0
        while us < 1 << 29 {
            #expect(LatencyBuckets.bucket(ofUs: us) == LatencyHistogram.bucket(ofUs: us), "\(us)")
            us += us / 37 + 1
        }
        #expect(LatencyBuckets.bucket(ofUs: .max) == LatencyHistogram.bucket(ofUs: .max))
    }

    @Test func whatWorkersCountIsWhatIsSeen() throws {
        let it = try RolloutDesk()
        it.start()
        it.count(.new, 100, us: 10_000, errors: 3, .timeout, unanswered: 2)
        it.count(.new, 10, us: 10_000, errors: 1, .status4xx)
        it.count(.old, 50, us: 40_000, errors: 2, .grpcStatus)
        let seen = try #require(it.live?.observe())
        #expect(seen.new.started == 112)
        #expect(seen.new.finished == 110)
        #expect(seen.new.errors[.timeout] == 3)
        #expect(seen.new.errors[.status4xx] == 1)
        #expect(seen.old.errors[.grpcStatus] == 2 && seen.new.errors[.grpcStatus] == 0)
        #expect(seen.new.latency.total == 110)
        #expect(seen.old.finished == 50)
        #expect((38_000...42_000).contains(seen.old.latency.quantileUs(0.5) ?? 0))
        #expect(it.live?.observe().isEmpty == true)
    }
}
