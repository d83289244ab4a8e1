// What the health board keeps of an upstream: its gates, its servers, and what each check of each server last found.
// Changed by the board alone, under its lock. The numbers of checks are the roster's.

import AdminAPI
import Balancing
import Engine
import Health

/// One `health_check` of an upstream, ready to be made. Shared by its servers; not changed.
final class Gate: Sendable {
    let check: HealthCheck
    let name: String
    /// Nil: what is usual.
    let match: CheckMatch?
    let rules: MatchRules
    let timing: CheckTiming

    /// Nil: no location speaks TLS to the upstream. Then nobody is verified.
    let tls: CheckTLS?

    init(_ check: HealthCheck, _ match: CheckMatch?, _ tls: CheckTLS?) {
        self.check = check
        self.tls = tls
        name = check.gate
        self.match = match
        rules = match?.rules ?? (check.kind.isHTTP ? .usual : MatchRules())
        timing = CheckTiming(intervalMs: check.intervalMs, jitterMs: check.jitterMs, fails: check.fails, passes: check.passes)
    }

    func isLike(_ other: Gate) -> Bool { check == other.check && rules == other.rules && hasSameTLS(other) }

    private func hasSameTLS(_ other: Gate) -> Bool {
        guard let tls, let others = other.tls else { return tls == nil && other.tls == nil }
        return tls.isLike(others)
    }
}

/// One gate at one server.
struct WatchedGate {
    var gate: Gate
    /// Nil: nobody asks, since the server is down.
    var handle: CheckHandle?
    /// Of the last failure; nil after a pass.
    var why: String?
    var lastAtMs: Int64?
}

/// One address of an upstream.
final class WatchedServer: @unchecked Sendable {
    let upstream: String
    /// As the configuration names it.
    let name: String
    /// Of the address, by which it is found again; a second one of it has a number behind it.
    let text: String
    /// `sockaddr`.
    let address: [UInt8]
    let counters: PeerCounters
    var isDown = false
    var isDrained = false
    var gates: [WatchedGate] = []
    var verdict = CheckSum.Verdict.unknown
    var changedAtMs: Int64?

    init(upstream: String, name: String, text: String, address: [UInt8], counters: PeerCounters) {
        self.upstream = upstream
        self.name = name
        self.text = text
        self.address = address
        self.counters = counters
    }

    /// What is wrong with it, in words; nil: nothing.
    func why(_ roster: CheckRoster) -> String? {
        for state in [CheckStanding.State.failing, .waiting] {
            for gate in gates {
                guard let handle = gate.handle, let standing = roster.standing(handle), standing.state == state else { continue }
                return "health check \"\(gate.gate.name)\": " + (gate.why ?? (standing.checks == 0 ? "not passed yet" : "not passed often enough yet"))
            }
        }
        return nil
    }
}

struct WatchedUpstream {
    var definition: UpstreamDefinition
    var gates: [Gate]
    var servers: [WatchedServer] = []
    /// Places by `text`.
    var places: [String: Int] = [:]

    /// Whether the definition has the same servers in the same order, and as many of them are down and drained.
    func follows(_ definition: UpstreamDefinition) -> Bool {
        if definition.peers.count != servers.count { return false }
        for i in servers.indices {
            let peer = definition.peers[i]
            if peer.counters !== servers[i].counters || peer.isDown != servers[i].isDown || peer.isDrained != servers[i].isDrained { return false }
        }
        return true
    }

    /// `roster` has the figures.
    func health(_ name: String, _ roster: CheckRoster) -> UpstreamHealth {
        var health = UpstreamHealth(name: name)
        health.gates = gateHealth(roster)
        for server in servers {
            let one = Self.health(server, roster)
            if !server.isDown { health.total += 1 }
            if one.state == .up { health.healthy += 1 }
            health.servers.append(one)
        }
        return health
    }

    /// The gates, over all servers that are asked. It allocates nothing for each of them.
    func gateHealth(_ roster: CheckRoster) -> [GateHealth] {
        gates.indices.map { place in
            var gate = GateHealth(name: gates[place].name)
            var least = Int.max
            var worst: WatchedServer?
            for server in servers where !server.isDown && place < server.gates.count {
                guard let standing = server.gates[place].handle.flatMap({ roster.standing($0) }) else { continue }
                switch standing.state {
                case .assumed, .waiting: gate.checking += 1
                case .passing: gate.passing += 1
                case .failing: gate.failing += 1
                }
                least = min(least, standing.failsInRow)
                if standing.failsInRow > gate.failedInRow {
                    gate.failedInRow = standing.failsInRow
                    worst = server
                }
            }
            gate.why = worst?.gates[place].why
            gate.failedRounds = least == .max ? 0 : least
            return gate
        }
    }

    static func health(_ server: WatchedServer, _ roster: CheckRoster) -> ServerHealth {
        var one = ServerHealth(server: server.name)
        one.changedAtMs = server.changedAtMs
        for watched in server.gates {
            var gate = ServerGate(name: watched.gate.name)
            gate.why = watched.why
            gate.lastAtMs = watched.lastAtMs
            if let handle = watched.handle, let standing = roster.standing(handle) {
                gate.state = standing.state == .failing ? .failing : standing.state == .passing ? .passing : .checking
                gate.failedInRow = standing.failsInRow
                gate.lastPassed = standing.lastPassed
                one.checks += standing.checks
                one.fails += standing.failures
                one.unhealthy += standing.falls
                if let passed = standing.lastPassed { one.lastPassed = (one.lastPassed ?? true) && passed }
            }
            one.gates.append(gate)
        }
        switch server.verdict {
        case .unhealthy: one.state = .unhealthy
        case .checking: one.state = .checking
        case .up, .unknown: one.state = server.isDrained ? .draining : .up
        }
        if server.isDown { one.state = .down }
        if one.state == .unhealthy || one.state == .checking { one.why = server.why(roster) }
        return one
    }
}
