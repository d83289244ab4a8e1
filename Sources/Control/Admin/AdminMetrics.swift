// The route and handler of the admin API that tells figures to Prometheus.
// Called by the dispatch. The text is made in the module AdminAPI; here is gathered what it is made of.

import AdminAPI
import Engine
import Rollout

extension AdminRoute {
    static let metrics: [AdminRoute] = [
        AdminRoute(APIOperation("GET", "/metrics", id: "getMetrics", "Figures for Prometheus, in its text format 0.0.4.", answer: .text)) {
            (s, c) throws(Problem) in s.getMetrics(c)
        }
    ]
}

extension AdminServer {
    func getMetrics(_ call: AdminCall) -> AdminOutcome {
        .answer(AdminAnswer(
            status: 200, contentType: Metrics.mediaType, lines: ["Cache-Control: no-store"], body: Metrics.text(wholeStatus, rollouts.totals)))
    }

    /// With what the process is.
    var wholeStatus: Status {
        var status = controller.status
        status.version = "\(Product.version)"
        status.processID = processID
        status.startedAtMs = startedAtMs
        return status
    }
}

/// What rollouts of this process found, counted as they say it.
struct RolloutCounts {
    private(set) var verdicts: [String: Int] = ["passed": 0, "inconclusive": 0, "failed": 0]
    private(set) var findings = Dictionary(uniqueKeysWithValues: Finding.Kind.allCases.map { ($0.rawValue, 0) })

    mutating func add(_ entry: RolloutEntry) {
        switch entry.kind {
        case .verdict: verdicts["passed", default: 0] += 1
        case .inconclusive: verdicts["inconclusive", default: 0] += 1
        // An operator's word is no verdict.
        case .frozen, .failed, .rollingBack:
            guard let finding = entry.finding, finding != .asked else { return }
            verdicts["failed", default: 0] += 1
            findings[finding.rawValue, default: 0] += 1
        default: break
        }
    }
}

extension Rollouts {
    var totals: RolloutTotals {
        var totals = RolloutTotals()
        totals.phases = Dictionary(uniqueKeysWithValues: RolloutPhase.allCases.map { ($0.rawValue, 0) })
        for phase in live.map(\.machine.phase.rawValue) + ended.compactMap({ $0.summary["phase"]?.string }) { totals.phases[phase]? += 1 }
        totals.verdicts = counts.verdicts
        totals.findings = counts.findings
        totals.shares = live.map { RolloutTotals.Share(split: $0.plan.split, variant: $0.plan.new, percent: $0.machine.percent) }
        return totals
    }
}
