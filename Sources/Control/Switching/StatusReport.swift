// The condition of servers at this moment, from their shared counters: for /status and for plans.
// Called by the controller. It reads and decides nothing.

import AdminAPI
import Balancing
import Engine

enum StatusReport {
    /// `nowMs`: of the monotonic clock, which the counters' times are of.
    static func upstreams(_ state: ProxyState, _ definitions: [UpstreamDefinition], _ board: HealthBoard, nowMs: Int64) -> [UpstreamStatus] {
        let byName = Dictionary(definitions.map { ($0.settings.name.string, $0) }) { first, _ in first }
        return state.upstreams.sorted { $0.key < $1.key }.map { name, upstream in
            var status = UpstreamStatus(name: name)
            status.servers = servers(upstream, byName[name], nowMs: nowMs)
            if let definition = byName[name] { fill(&status, definition) }
            if !upstream.healthChecks.isEmpty, let health = board.health(of: name) { fill(&status, health) }
            return status
        }
    }

    private static func fill(_ status: inout UpstreamStatus, _ health: UpstreamHealth) {
        status.health = health
        status.health?.servers = []
        let byServer = health.byServer
        for i in status.servers.indices { status.servers[i].health = byServer[status.servers[i].server] }
    }

    private static func fill(_ status: inout UpstreamStatus, _ definition: UpstreamDefinition) {
        let counters = definition.counters
        status.isPanicking = counters.isPanicking
        status.panics = counters.panics
        status.ejections = counters.ejections
        status.retries = counters.retries
        status.retriesRefused = counters.retriesRefused
        status.requestsRefused = counters.activeRefused + counters.pendingRefused
        let most = definition.settings.limits.queueMax
        if most == 0 { return }
        var queue = QueueStatus()
        queue.size = definition.line.count
        queue.sizeMax = most
        queue.overflows = definition.line.overflows
        queue.timeouts = definition.line.timeouts
        status.queue = queue
    }

    static func servers(_ upstream: UpstreamState, _ definition: UpstreamDefinition?, nowMs: Int64) -> [ServerStatus] {
        var peers: [String: [PeerSpec]] = [:]
        var lost: Set<String> = []
        if let definition {
            for (i, peer) in definition.peers.enumerated() {
                let settings = definition.settings.peers[i]
                peers[settings.name.string, default: []].append(peer)
                if settings.isStandIn { lost.insert(settings.name.string) }
            }
        }
        return upstream.servers.map { server in
            var status = ServerStatus(id: server.id, server: server.server, weight: server.weight)
            status.backup = server.backup
            let mine = peers[server.server] ?? []
            for peer in mine {
                status.inFlight += peer.counters.active
                status.requests += peer.counters.requests
                status.failures += peer.counters.failures
                status.errors += peer.counters.errors
                for place in status.answers.indices { status.answers[place] += peer.counters.answers(place + 1) }
            }
            status.state = lost.contains(server.server) ? "down" : condition(server, mine, nowMs: nowMs)
            return status
        }
    }

    /// Of several addresses of a name, one that serves is enough.
    static func condition(_ server: ServerState, _ peers: [PeerSpec], nowMs: Int64) -> String {
        if server.down { return "down" }
        if server.drain { return "drain" }
        if peers.isEmpty { return "unknown" }
        if peers.allSatisfy({ $0.counters.health == .unchecked }) { return "unchecked" }
        if peers.allSatisfy({ $0.counters.health == .unhealthy }) { return "unhealthy" }
        if peers.allSatisfy({ $0.counters.ejectedUntilMs(nowMs: nowMs) != nil }) { return "ejected" }
        if peers.allSatisfy({ $0.isOut(nowMs: nowMs) }) { return "failed" }
        if server.maxConns > 0, peers.allSatisfy({ $0.counters.active >= server.maxConns }) { return "busy" }
        if peers.allSatisfy({ $0.counters.risenThousandths(slowStartMs: server.slowStartMs, nowMs: nowMs) < 1000 }) { return "starting" }
        return "up"
    }
}

extension PeerSpec {
    /// For whatever reason of health.
    func isOut(nowMs: Int64) -> Bool {
        isFailed(nowMs: nowMs) || counters.health == .unhealthy || counters.health == .unchecked || counters.ejectedUntilMs(nowMs: nowMs) != nil
    }

    /// Out of service after failures.
    func isFailed(nowMs: Int64) -> Bool {
        maxFails > 0 && counters.fails >= maxFails && nowMs <= counters.checkedMs + failTimeoutMs
    }
}
