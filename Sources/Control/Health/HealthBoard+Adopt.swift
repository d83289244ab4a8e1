// The health board follows the pools: which servers are asked from now on, what stays known of those that stay.
// Called by the controller before a snapshot is shown, so that no request reaches a new server before its first pass.

import AdminAPI
import Balancing
import Engine
import Health

/// What the board is told of a change.
struct PoolChange {
    let state: ProxyState
    let matches: [String: CheckMatch]
    var tls: [String: [CheckTLS]] = [:]
    let definitions: [UpstreamDefinition]
    /// Those that serve until now; nil: nothing does, this is the start.
    let before: [UpstreamDefinition]?
    let nowMs: Int64
}

extension HealthBoard {
    /// - Returns: the counters of servers that nobody asks any more, to be set free when the change is shown: until then they may still be
    ///   picked, and are not to be picked for well.
    func adopt(_ change: PoolChange) -> [PeerCounters] {
        let hasChecks = change.state.upstreams.values.contains { !$0.healthChecks.isEmpty }
        let (needsWake, freed) = tables.withLock { tables -> (Bool, [PeerCounters]) in
            if !hasChecks, tables.upstreams.isEmpty { return (false, []) }
            for name in Array(tables.upstreams.keys) where change.state.upstreams[name]?.healthChecks.isEmpty != false {
                Self.drop(name, &tables)
            }
            for definition in change.definitions where !definition.settings.isImplicit {
                let name = definition.settings.name.string
                guard let upstream = change.state.upstreams[name], !upstream.healthChecks.isEmpty else { continue }
                Self.watch(name, upstream, definition, change, &tables)
            }
            if change.before == nil { tables.saved = SavedHealth() }
            defer { tables.freed = [] }
            return (!tables.upstreams.isEmpty, tables.freed)
        }
        if needsWake { wakeProber() }
        return freed
    }

    /// Nobody asks its servers any more.
    private static func drop(_ name: String, _ tables: inout Tables) {
        guard let upstream = tables.upstreams.removeValue(forKey: name) else { return }
        for server in upstream.servers { release(server, &tables) }
        tables.isUnsaved = true
    }

    private static func release(_ server: WatchedServer, _ tables: inout Tables) {
        for gate in server.gates { take(gate.handle, off: &tables) }
        server.gates = []
        tables.freed.append(server.counters)
    }

    private static func take(_ handle: CheckHandle?, off tables: inout Tables) {
        guard let handle else { return }
        tables.roster.remove(handle)
        tables.owners[Int(handle.index)] = nil
    }

    private static func watch(
        _ name: String, _ upstream: UpstreamState, _ definition: UpstreamDefinition, _ change: PoolChange, _ tables: inout Tables
    ) {
        let known = tables.upstreams[name]
        var gates = upstream.healthChecks.map { check in
            Gate(check, match(of: check, change, known), CheckTLS.choose(change.tls, name, check.kind, change.state))
        }
        if let known {
            // The same gate goes on with the expressions it has.
            gates = gates.map { gate in known.gates.first { $0.isLike(gate) } ?? gate }
            if known.definition === definition, known.gates.elementsEqual(gates, by: ===) { return }
        }
        tables.isUnsaved = true
        if var known, known.follows(definition), known.gates.elementsEqual(gates, by: ===) {
            // The servers are the same, and asked the same.
            known.definition = definition
            tables.upstreams[name] = known
            return
        }
        var next = WatchedUpstream(definition: definition, gates: gates)
        let serving = known == nil ? Self.serving(name, change.before) : []
        var copies: [String: Int] = [:]
        for i in definition.peers.indices {
            let spec = definition.peers[i]
            var text = definition.settings.peers[i].address.text.string
            // A server that is listed twice is two peers.
            if next.places[text] != nil {
                copies[text, default: 1] += 1
                text += " \(copies[text] ?? 2)"
            }
            let old = known?.places[text].map { known?.servers[$0] } ?? nil
            let server = old.flatMap { $0.counters === spec.counters ? $0 : nil } ?? WatchedServer(
                upstream: name, name: definition.settings.peers[i].name.string, text: text,
                address: Array(definition.settings.peers[i].address.bytes.buffer), counters: spec.counters)
            let isOld = server === old || serving.contains(ObjectIdentifier(spec.counters))
            let comesBack = server.isDown && !spec.isDown
            (server.isDown, server.isDrained) = (spec.isDown, spec.isDrained)
            next.places[text] = next.servers.count
            next.servers.append(server)
            setGates(server, gates, isNew: change.before != nil && (!isOld || comesBack), isStart: change.before == nil, change.nowMs, &tables)
        }
        for server in known?.servers ?? [] where next.places[server.text].map({ next.servers[$0] !== server }) ?? true {
            release(server, &tables)
        }
        tables.upstreams[name] = next
        for server in next.servers { _ = settle(server, tables.roster, nowMs: change.nowMs, atMs: 0) }
    }

    /// Rules that stand in a check itself have been read before, when the pools were built.
    private static func match(of check: HealthCheck, _ change: PoolChange, _ known: WatchedUpstream?) -> CheckMatch? {
        guard let rules = check.rules else { return check.match.flatMap { change.matches[$0] } }
        if let same = known?.gates.first(where: { $0.check.rules == rules }) { return same.match }
        return try? MatchReader.read(rules)
    }

    /// The counters of those that get requests now.
    private static func serving(_ name: String, _ before: [UpstreamDefinition]?) -> Set<ObjectIdentifier> {
        guard let old = before?.first(where: { !$0.settings.isImplicit && $0.settings.name.string == name }) else { return [] }
        return Set(old.peers.filter { !$0.isDown }.map { ObjectIdentifier($0.counters) })
    }

    /// The checks of one server: those it has already go on.
    private static func setGates(
        _ server: WatchedServer, _ gates: [Gate], isNew: Bool, isStart: Bool, _ nowMs: Int64, _ tables: inout Tables
    ) {
        var old = Dictionary(server.gates.map { ($0.gate.name, $0) }) { first, _ in first }
        server.gates = gates.map { gate in
            guard !server.isDown, var kept = old[gate.name], let handle = kept.handle else { return WatchedGate(gate: gate) }
            old[gate.name] = nil
            kept.gate = gate
            tables.roster.change(handle, gate.timing, nowMs: nowMs)
            return kept
        }
        for gone in old.values { take(gone.handle, off: &tables) }
        for i in server.gates.indices {
            if server.isDown {
                continue
            } else if let handle = server.gates[i].handle {
                tables.owners[Int(handle.index)] = (server, i)
            } else {
                let handle = add(server, i, isNew: isNew, isStart: isStart, nowMs, &tables)
                server.gates[i].handle = handle
                while tables.owners.count <= Int(handle.index) { tables.owners.append(nil) }
                tables.owners[Int(handle.index)] = (server, i)
            }
        }
    }

    private static func add(
        _ server: WatchedServer, _ place: Int, isNew: Bool, isStart: Bool, _ nowMs: Int64, _ tables: inout Tables
    ) -> CheckHandle {
        let gate = server.gates[place].gate
        let startEndsMs = isNew || isStart ? nowMs + gate.check.startPeriodMs : .min
        let spread = gate.timing.spread(Self.seed(server.upstream, server.text, gate.name))
        if isStart, let saved = tables.saved.find(server.upstream, server.text, gate.name) {
            server.gates[place].why = saved.why
            let state: CheckStanding.State = saved.isFailing ? .failing : .passing
            return tables.roster.add(gate.timing, CheckStanding(state, startEndsMs: .min), dueMs: nowMs + spread)
        }
        let waits = isNew ? gate.check.mandatory ?? true : isStart && gate.check.mandatory == true
        let standing = CheckStanding(waits ? .waiting : .assumed, startEndsMs: startEndsMs)
        return tables.roster.add(gate.timing, standing, dueMs: nowMs + (waits ? 0 : spread))
    }

    /// FNV-1a.
    private static func seed(_ texts: String...) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for text in texts { for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 } }
        return hash
    }
}
