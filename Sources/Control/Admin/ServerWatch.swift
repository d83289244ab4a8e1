// Notices servers that fail and recover, for those who read events: compares what the counters say with what they said before.
// Called in turns of the control thread while somebody reads events. Its work in one round is bounded.

import AdminAPI
import Balancing
import Engine

struct ServerWatch {
    /// Those out of service, by their counters, which are held so that their places in memory are not given away.
    private var failed: [ObjectIdentifier: PeerCounters] = [:]
    private var definitions: [UpstreamDefinition] = []
    /// Where the next round goes on: an upstream, and a peer of it.
    private var place = (upstream: 0, peer: 0)
    private var seen: Set<ObjectIdentifier> = []
    /// The first pass only learns how things are.
    private var hasBaseline = false
    private(set) var dueMs: Int64 = 0

    mutating func look(_ controller: Controller, nowMs: Int64) {
        if nowMs < dueMs { return }
        // Nobody was reading meanwhile.
        if nowMs > dueMs + ControlLimits.serverWatchMs * 8 { hasBaseline = false }
        dueMs = nowMs + ControlLimits.serverWatchMs
        var left = ControlLimits.serversWatchedPerRound
        while left > 0 {
            if place == (0, 0) {
                definitions = controller.definitions
                seen = []
            }
            guard place.upstream < definitions.count else { return endPass() }
            let definition = definitions[place.upstream]
            // A server alone is never left alone, whatever it does.
            if definition.peers.count == 1 { place.peer = 1 }
            while place.peer < definition.peers.count, left > 0 {
                compare(definition, place.peer, controller, nowMs)
                place.peer += 1
                left -= 1
            }
            if place.peer == definition.peers.count { place = (place.upstream + 1, 0) }
            left -= 1
        }
    }

    private mutating func endPass() {
        failed = failed.filter { seen.contains($0.key) }
        place = (0, 0)
        hasBaseline = true
        definitions = []
    }

    private mutating func compare(_ definition: UpstreamDefinition, _ i: Int, _ controller: Controller, _ nowMs: Int64) {
        let peer = definition.peers[i]
        let key = ObjectIdentifier(peer.counters)
        let isFailed = peer.isOut(nowMs: nowMs)
        if isFailed { seen.insert(key) }
        if isFailed == (failed[key] != nil) { return }
        failed[key] = isFailed ? peer.counters : nil
        if !hasBaseline { return }
        let upstream = definition.settings.name.string
        let server = definition.settings.peers[i].name.string
        controller.events.emit(
            isFailed ? .serverFailed : .serverRecovered, revision: controller.running.revision, subject: server,
            text: "server \(server) of upstream \(upstream) " + (isFailed ? Self.why(peer, nowMs) : "is tried again"))
    }

    private static func why(_ peer: PeerSpec, _ nowMs: Int64) -> String {
        switch peer.counters.health {
        case .unchecked: return "has not passed its first health check"
        case .unhealthy: return "is unhealthy"
        case .healthy, .unwatched: break
        }
        if let untilMs = peer.counters.ejectedUntilMs(nowMs: nowMs) { return "does worse than its siblings and is ejected for \((untilMs - nowMs + 999) / 1000) s" }
        return "failed \(peer.counters.fails) times and is left alone"
    }
}
