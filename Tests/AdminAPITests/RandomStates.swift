// States drawn from a seed, for properties that hold of all states.

import TestChance

@testable import AdminAPI

extension SeededNumbers {
    mutating func one<Value>(of values: [Value]) -> Value { values[below(values.count)] }
}

extension SeededNumbers {
    /// Few names, so that two states often speak of the same things; some are upstreams in one and splits in another.
    private static let names = ["a", "b", "c", "d", "e"]
    private static let addresses = ["10.0.0.1:80", "10.0.0.2:80", "h:8080", "[::1]:9000", "unix:/run/a", "10.0.0.3:81"]

    /// A state that is good in itself.
    mutating func proxyState() -> ProxyState {
        var state = ProxyState()
        for name in Self.names where !once(in: 4) { state.upstreams[name] = upstream() }
        for name in Self.names + ["x", "y"] where state.upstreams[name] == nil && once(in: 2) && !state.upstreams.isEmpty {
            state.splits[name] = split(of: state.upstreams.keys.sorted())
        }
        return state.numbered(after: ProxyState())
    }

    /// `state` with some changes, good in itself and numbered after it.
    mutating func changed(_ old: ProxyState) -> ProxyState {
        var state = old
        for _ in 0..<Int.random(in: 0...4, using: &self) { change(&state) }
        // What the changes left inconsistent goes.
        for (name, split) in state.splits {
            state.splits[name]?.weights = split.weights.filter { state.upstreams[$0.key] != nil }
            if state.splits[name]?.weights.values.contains(where: { $0 > 0 }) != true || state.upstreams[name] != nil {
                state.splits[name] = nil
            }
            if let to = state.splits[name]?.shadow?.to, state.splits[name]?.weights[to] == nil { state.splits[name]?.shadow = nil }
        }
        return state.numbered(after: old)
    }

    private mutating func change(_ state: inout ProxyState) {
        let name = one(of: Self.names)
        switch Int.random(in: 0..<7, using: &self) {
        case 0: state.upstreams[name] = upstream()
        case 1: state.upstreams[name] = nil
        case 2 where !state.upstreams.isEmpty && state.upstreams[name] == nil:
            state.splits[name] = split(of: state.upstreams.keys.sorted())
        case 3: state.splits[name] = nil
        case 4:
            for (split, value) in state.splits.sorted(by: { $0.key < $1.key }) where once(in: 2) {
                for variant in value.weights.keys.sorted() where once(in: 2) {
                    state.splits[split]?.weights[variant] = once(in: 4) ? nil : Int.random(in: 0...3, using: &self)
                }
            }
        default:
            for (name, value) in state.upstreams.sorted(by: { $0.key < $1.key }) where once(in: 2) {
                state.upstreams[name] = changed(value)
            }
        }
    }

    private mutating func changed(_ old: UpstreamState) -> UpstreamState {
        var upstream = old
        switch Int.random(in: 0..<6, using: &self) {
        case 0: upstream.servers.shuffle(using: &self)
        case 1 where upstream.servers.count > 1:
            upstream.servers.remove(at: Int.random(in: 0..<upstream.servers.count, using: &self))
        case 2:
            let address = one(of: Self.addresses)
            if !upstream.servers.contains(where: { $0.server == address }) {
                upstream.servers.insert(server(address), at: Int.random(in: 0...upstream.servers.count, using: &self))
            }
        case 3:
            upstream.keepalive = once(in: 2) ? nil : Int.random(in: 0...2, using: &self)
            upstream.keepaliveIsLocal = upstream.keepalive == 2
        case 4: upstream.balance = one(of: ["round_robin", "least_conn", "hash $uri consistent", "hash \"a b;{}\\\\$x\""])
        default:
            let i = Int.random(in: 0..<upstream.servers.count, using: &self)
            let (id, address) = (upstream.servers[i].id, upstream.servers[i].server)
            upstream.servers[i] = server(address)
            upstream.servers[i].id = id
        }
        return good(upstream)
    }

    /// By the rules.
    private func good(_ bad: UpstreamState) -> UpstreamState {
        var upstream = bad
        if (try? StateRules.check(upstream: upstream)) == nil {
            for i in upstream.servers.indices { (upstream.servers[i].backup, upstream.servers[i].slowStartMs) = (false, 0) }
        }
        return upstream
    }

    private mutating func upstream() -> UpstreamState {
        var upstream = UpstreamState()
        for address in Self.addresses.shuffled(using: &self).prefix(Int.random(in: 1...4, using: &self)) {
            upstream.servers.append(server(address))
        }
        if once(in: 3) { upstream.sticky = "cookie srv expires=1h \"path=/a b\"" }
        if once(in: 3) { upstream.keepalive = 16 }
        if once(in: 3) {
            var check = HealthCheck()
            check.uri = one(of: ["/health", "/\"a;b{}"])
            check.intervalMs = one(of: [5000, 1500, 60_000])
            check.mandatory = one(of: [nil, true, false])
            upstream.healthChecks = [check]
        }
        if once(in: 5) { upstream.queue = "10 timeout=1s" }
        if once(in: 5) { upstream.retryBudget = "20% min=3" }
        if once(in: 5) { upstream.circuitBreaker = "max_requests=\(Int.random(in: 1...3, using: &self))" }
        if once(in: 5) { upstream.outlierDetection = "latency=300%" }
        if once(in: 5) { upstream.panicThreshold = Int.random(in: 0...100, using: &self) }
        if upstream.keepalive != nil { upstream.keepaliveIsLocal = once(in: 2) }
        if once(in: 3) { upstream.keepaliveRequests = 10 }
        if once(in: 3) { upstream.keepaliveTimeMs = 1500 }
        if once(in: 3) { upstream.keepaliveTimeoutMs = 90_000 }
        return good(upstream)
    }

    private mutating func server(_ address: String) -> ServerState {
        var server = ServerState(server: address)
        server.weight = Int.random(in: 0...3, using: &self)
        if once(in: 4) { server.slowStartMs = 30_000 }
        server.maxConns = once(in: 2) ? 0 : 100
        server.maxFails = once(in: 2) ? 1 : 0
        server.failTimeoutMs = once(in: 2) ? 10_000 : 61_000
        server.backup = once(in: 4)
        server.down = once(in: 4)
        server.drain = once(in: 4)
        return server
    }

    private mutating func split(of upstreams: [String]) -> SplitState {
        var split = SplitState(weights: [:])
        for name in upstreams where once(in: 2) { split.weights[name] = Int.random(in: 0...3, using: &self) }
        split.weights[one(of: upstreams)] = 5
        if once(in: 2) { split.key = ["$cookie_sid", "${remote_addr}x"] }
        if once(in: 3) { split.force = "$arg_variant" }
        if once(in: 3) { split.assign = AssignState(cookie: "sid", maxAgeSeconds: 2_592_000) }
        if once(in: 4), let to = split.weights.keys.min() {
            split.shadow = ShadowState(to: to)
            split.shadow?.share = Int.random(in: 0...100, using: &self)
        }
        return split
    }
}

/// What is wrong with a state that must hold together; empty: nothing.
func faults(of state: ProxyState) -> [String] {
    var faults: [String] = []
    for (name, upstream) in state.upstreams {
        if upstream.servers.isEmpty { faults.append("\(name): no servers") }
        if Set(upstream.serverNames).count != upstream.servers.count { faults.append("\(name): an address twice") }
        if Set(upstream.servers.map(\.id)).count != upstream.servers.count { faults.append("\(name): an id twice") }
        if upstream.servers.contains(where: { $0.id < 0 || $0.id >= upstream.nextServerID }) {
            faults.append("\(name): a bad id")
        }
        if state.splits[name] != nil { faults.append("\(name): upstream and split") }
    }
    for (name, split) in state.splits {
        if !split.weights.values.contains(where: { $0 > 0 }) { faults.append("\(name): no weight") }
        for variant in split.weights.keys where state.upstreams[variant] == nil { faults.append("\(name): no \(variant)") }
    }
    do throws(Problem) { try StateRules.check(state) } catch { faults.append("\(error.detail) at \(error.pointer ?? "")") }
    return faults.sorted()
}
