// An admin server with a rollout on it: requests to both variants are counted as a worker would, time passes as the test says.
// Used by the Rollout*Tests.

import AdminAPI
import Bytes
import Rollout
import Testing

@testable import Control
@testable import Engine

final class RolloutDesk {
    static let pools = """
        upstream blue { server 127.0.0.1:3001; }
        upstream green { server 127.0.0.1:3003; }
        upstream spare { server 127.0.0.1:3004; }
        split app { blue 1; green 0; }
        """
    /// Ten seconds a step, without long waits.
    static let policy = #"{"name": "quick", "steps": [10, 50, 100], "interval": "10s", "warm_up": "1s", "samples_min": 50, "bake": "5s"}"#

    let desk: AdminDesk
    private let arena = Arena(blockBytes: 1024)

    init(
        _ pools: String = RolloutDesk.pools, journal: Journal = .none(), replay: Replay? = nil, rollouts: RolloutStore = RolloutStore(),
        commands: String? = nil, epochMs: Int64 = 1_700_000_000_000
    ) throws {
        desk = try AdminDesk(pools, journal: journal, replay: replay, epochMs: epochMs, rollouts: rollouts, commands: commands)
    }

    var live: LiveRollout? { desk.server.rollouts.live.first }

    @discardableResult
    func start(_ policy: String = RolloutDesk.policy, to: String = "green", query: String = "") -> Asked {
        desk.ask("POST", "/rollouts" + query, #"{"split": "app", "to": "\#(to)", "policy": \#(policy), "reason": "release 42"}"#)
    }

    func show(_ number: Int = 1) -> JSON { desk.ask("GET", "/rollouts/\(number)").json }
    func phase(_ number: Int = 1) -> String { show(number)["phase"]?.string ?? "" }
    var weights: [String: Int64] {
        let members = desk.ask("GET", "/splits/app").json["weights"]?.object ?? []
        return Dictionary(members.map { ($0.name, $0.value.integer ?? -1) }) { first, _ in first }
    }

    /// As workers count them.
    func count(_ side: Side, _ requests: Int, us: UInt64 = 5_000, errors: Int = 0, _ kind: VariantTally = .status5xx, unanswered: Int = 0) {
        guard let live else { return }
        let view = live.watch.view(of: live.watch.variants, in: arena)
        for i in 0..<requests + unanswered {
            guard let row = view.row(side == .old ? 0 : 1, worker: i % 2) else { return }
            row.add(.started)
            if i >= requests { continue }
            if i < errors { row.add(kind) }
            row.add(us: us + UInt64(i % 7) * 100)
            row.add(.finished)
        }
    }

    /// Seconds of traffic in quarters: so many requests a second altogether, shared by the weights.
    func pass(seconds: Double, rate: Int = 200, errors: (old: Int, new: Int) = (0, 0), us: (old: UInt64, new: UInt64) = (5_000, 5_000)) {
        for _ in 0..<Int(seconds * 4) {
            let percent = live?.machine.percent ?? 0
            let new = rate * percent / 400
            count(.new, new, us: us.new, errors: percent > 0 ? errors.new : 0)
            count(.old, rate / 4 - new, us: us.old, errors: errors.old)
            desk.turn(after: 250)
        }
    }
}
