// What a change would do, told before it is done: `?dry_run=1`.
// Called by the controller with the state that runs and the state that would.

import AdminAPI
import Balancing
import Engine

struct Planner {
    let from: ProxyState
    let to: ProxyState
    let revision: UInt64
    /// The definitions that run, for the counters of their peers.
    let pools: [UpstreamDefinition]
    let nowMs: Int64

    func plan() -> Plan {
        var plan = Plan(revision: revision)
        plan.differences = differences(from: from, to: to)
        plan.usersThatMove = AdminAPI.usersThatMove(from: from, to: to)
        let definitions = Dictionary(pools.map { ($0.settings.name.string, $0) }) { first, _ in first }
        for (name, upstream) in to.upstreams.sorted(by: { $0.key < $1.key }) {
            let servers = StatusReport.servers(upstream, definitions[name], nowMs: nowMs)
            plan.servers += servers.map { PlannedServer(upstream: name, server: $0.server, state: $0.state) }
            if from.upstreams[name] != upstream, !servers.contains(where: { $0.state == "up" && $0.weight > 0 }) {
                let isNew = servers.contains { $0.state == "unknown" }
                plan.warnings.append(
                    isNew ? "upstream \(name): no server of it has served a request yet" : "upstream \(name): no server of it would take new requests")
            }
        }
        for name in from.upstreams.keys {
            let staying = Set((to.upstreams[name]?.servers ?? []).filter { !$0.down && !$0.drain && $0.weight > 0 }.map(\.server))
            guard let definition = definitions[name] else { continue }
            for (i, peer) in definition.peers.enumerated() where !staying.contains(definition.settings.peers[i].name.string) {
                plan.inFlightOnLeaving += peer.counters.active
                plan.longLivedOnLeaving += peer.counters.tunnels
            }
        }
        for (name, split) in to.splits where from.splits[name] != split { warn(of: split, name, &plan) }
        return plan
    }

    private func warn(of split: SplitState, _ name: String, _ plan: inout Plan) {
        for variant in split.weights.keys.sorted() where (split.weights[variant] ?? 0) > 0 {
            let sick = plan.servers.filter { $0.upstream == variant }
            if !sick.isEmpty, sick.allSatisfy({ $0.state == "failed" || $0.state == "down" || $0.state == "drain" }) {
                plan.warnings.append("split \(name): variant \(variant) has no healthy server")
            }
        }
    }
}
