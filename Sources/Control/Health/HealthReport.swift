// What `upstream_health` answers: how many servers of a pool can be had, and what is wrong with the others. Bounded, however many there are.
// Called by workers; it reads shared cells and the board.

import AdminAPI
import Balancing
import Engine

extension HealthBoard: HealthReporter {
    package func report(_ upstream: UpstreamDefinition, healthyMin: Int, nowMs: Int64) -> (isHealthy: Bool, body: [UInt8]) {
        let name = upstream.settings.name.string
        let known = health(of: name)
        let checked = known?.byServer ?? [:]
        var (healthy, total) = (0, 0)
        var well: [JSON] = []
        var sick: [JSON] = []
        for i in upstream.peers.indices {
            let peer = upstream.peers[i]
            let server = upstream.settings.peers[i].name.string
            let condition = Self.condition(peer, nowMs)
            let isHad = condition == "up"
            if !peer.isDown { total += 1 }
            if isHad { healthy += 1 }
            if (isHad ? well : sick).count >= ControlLimits.healthServersShown { continue }
            let one = JSON.members([
                "server": .string(server), "state": .string(condition), "why": isHad ? nil : checked[server]?.why.map { .string($0) },
            ])
            if isHad { well.append(one) } else { sick.append(one) }
        }
        let isHealthy = healthy >= healthyMin
        let shown = (sick + well).prefix(ControlLimits.healthServersShown)
        let body = JSON.members([
            "gates": known.map { .array($0.gates.map(\.json)) }, "healthy": .integer(Int64(healthy)), "servers": .array(Array(shown)),
            "state": isHealthy ? "healthy" : "unhealthy", "total": .integer(Int64(total)), "upstream": .string(name),
        ])
        return (isHealthy, body.bytes())
    }

    /// `up`: it takes new requests.
    private static func condition(_ peer: PeerSpec, _ nowMs: Int64) -> String {
        if peer.isDown { return "down" }
        if peer.isDrained || peer.weight == 0 { return "drain" }
        switch peer.counters.health {
        case .unchecked: return "unchecked"
        case .unhealthy: return "unhealthy"
        case .healthy, .unwatched: break
        }
        if peer.counters.ejectedUntilMs(nowMs: nowMs) != nil { return "ejected" }
        return peer.isFailed(nowMs: nowMs) ? "failed" : "up"
    }
}
