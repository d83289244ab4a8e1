// What `upstream_health` answers: how many servers of a pool can be had, and what is wrong with the others. Bounded, however many there are.
// Called by workers; it reads shared cells and the board.

import AdminAPI
import Balancing
import Engine

extension HealthBoard: HealthReporter {
    package func report(_ upstream: UpstreamDefinition, healthyMin: Int, nowMs: Int64) -> (isHealthy: Bool, body: [UInt8]) {
        var (healthy, total) = (0, 0)
        var well: [Int] = []
        var sick: [(place: Int, condition: String)] = []
        for i in upstream.peers.indices {
            let condition = Self.condition(upstream.peers[i], nowMs)
            if !upstream.peers[i].isDown { total += 1 }
            if condition == "up" {
                healthy += 1
                if well.count < ControlLimits.healthServersShown { well.append(i) }
            } else if sick.count < ControlLimits.healthServersShown {
                sick.append((i, condition))
            }
        }
        let name = upstream.settings.name.string
        let peers = upstream.settings.peers
        let (gates, whys) = known(name, of: sick.map { peers[$0.place].address.text.string })
        var servers = zip(sick, whys).map { one, why in
            JSON.members(["server": .string(peers[one.place].name.string), "state": .string(one.condition), "why": why.map { .string($0) }])
        }
        for place in well.prefix(ControlLimits.healthServersShown - servers.count) {
            servers.append(.members(["server": .string(peers[place].name.string), "state": "up"]))
        }
        let isHealthy = healthy >= healthyMin
        let body = JSON.members([
            "gates": gates.map { .array($0.map(\.json)) }, "healthy": .integer(Int64(healthy)), "servers": .array(servers),
            "state": isHealthy ? "healthy" : "unhealthy", "total": .integer(Int64(total)), "upstream": .string(name),
        ])
        return (isHealthy, body.bytes())
    }

    /// The gates of an upstream, and what is wrong with those of its servers that have these addresses.
    private func known(_ upstream: String, of addresses: [String]) -> (gates: [GateHealth]?, whys: [String?]) {
        tables.withLock { tables in
            guard let known = tables.upstreams[upstream] else { return (nil, addresses.map { _ in nil }) }
            let whys = addresses.map { address in known.places[address].flatMap { known.servers[$0].why(tables.roster) } }
            return (known.gateHealth(tables.roster), whys)
        }
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
