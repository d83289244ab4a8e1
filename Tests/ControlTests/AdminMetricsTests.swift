// Owns the route /metrics: who may read it, and that what the status knows is in it.
import AdminAPI
import Testing

@testable import Balancing
@testable import Control
@testable import Engine

@Suite("The admin API: metrics")
struct AdminMetricsTests {
    private func line(_ asked: Asked, _ start: String) -> String? { asked.text.split(separator: "\n").first { $0.hasPrefix(start) }.map(String.init) }

    @Test func figuresAreToldToWhoeverMayRead() throws {
        let desk = try AdminDesk()
        let asked = desk.ask("GET", "/metrics", writes: false)
        #expect(asked.status == 200 && asked.answer.contentType == "text/plain; version=0.0.4; charset=utf-8")
        #expect(asked.line("Cache-Control") == "no-store")
        #expect(line(asked, "switchback_workers") == "switchback_workers 2")
        #expect(line(asked, "switchback_server_weight{upstream=\"blue\",server=\"127.0.0.1:3002\"}")?.hasSuffix(" 2") == true)
        #expect(line(asked, "switchback_split_weight{split=\"app\",variant=\"green\"}")?.hasSuffix(" 10") == true)
        #expect(line(asked, "switchback_build_info{version=\"\(Product.version)\"}") != nil)
        #expect(desk.ask("HEAD", "/metrics").status == 200)
        #expect(desk.ask("GET", "/metrics?x=1").problem == "bad-query")
        #expect(desk.ask("GET", "/").json["links"]?["getMetrics"]?.string == "metrics")
    }

    @Test func rolloutsCountByPhaseAndWhatWasFound() throws {
        let it = try RolloutDesk()
        let started = it.start(#"{"name": "short", "steps": [10, 100], "interval": "2s", "warm_up": "0s", "samples_min": 10, "bake": "10s"}"#)
        #expect(started.status == 201)
        it.pass(seconds: 1)
        var asked = it.desk.ask("GET", "/metrics")
        #expect(line(asked, "switchback_rollouts{phase=\"running\"}") == "switchback_rollouts{phase=\"running\"} 1")
        #expect(line(asked, "switchback_rollout_share_percent{") == "switchback_rollout_share_percent{split=\"app\",variant=\"green\"} 10")
        #expect(line(asked, "switchback_rollout_verdicts_total{verdict=\"passed\"}")?.hasSuffix(" 0") == true)
        it.pass(seconds: 1.5)
        asked = it.desk.ask("GET", "/metrics")
        #expect(line(asked, "switchback_rollout_verdicts_total{verdict=\"passed\"}")?.hasSuffix(" 1") == true)
        #expect(line(asked, "switchback_rollout_verdicts_total{verdict=\"failed\"}")?.hasSuffix(" 0") == true)
        it.count(.new, 100, errors: 50)
        it.desk.turn(after: 250)
        asked = it.desk.ask("GET", "/metrics")
        #expect(line(asked, "switchback_rollouts{phase=\"rolled_back\"}")?.hasSuffix(" 1") == true, "\(it.phase())")
        #expect(line(asked, "switchback_rollout_verdicts_total{verdict=\"failed\"}")?.hasSuffix(" 1") == true)
        let findings = asked.text.split(separator: "\n").filter { $0.hasPrefix("switchback_rollout_findings_total{") && !$0.hasSuffix(" 0") }
        #expect(findings.count == 1 && findings[0].hasSuffix(" 1"), "\(findings)")
        #expect(line(asked, "switchback_rollout_share_percent{") == nil)
    }
}
