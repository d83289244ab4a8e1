// What the next merge begins with, so that a conflict is told until it is settled.
// Called by the controller behind each merge whose running values stay. Plain values; it decides nothing.

/// `file`, the base of the next merge, but as `base` wherever this merge of both with a running state found a conflict and let the
/// running value stay. Merged again, the same conflicts are found, until one side says what the other does or `base` did.
/// It need not hold together as a state.
/// - Parameter conflicts: sorted by pointer, as `merge` returns them.
public func mergeBase(file: ProxyState, base: ProxyState, conflicts: [MergeConflict]) -> ProxyState {
    var state = file
    for conflict in conflicts {
        let path = (JSONPointer(conflict.pointer)?.tokens ?? [])[...]
        guard path.count > 1, let name = path.dropFirst().first else { continue }
        let rest = path.dropFirst(2)
        if path.first == "splits" {
            guard !rest.isEmpty, let old = base.splits[name] else {
                state.splits[name] = base.splits[name]
                continue
            }
            state.splits[name]?.takeBack(rest, from: old)
        } else {
            guard !rest.isEmpty, let old = base.upstreams[name] else {
                state.upstreams[name] = base.upstreams[name]
                continue
            }
            state.upstreams[name]?.takeBack(rest, from: old)
        }
    }
    return state
}

extension SplitState {
    fileprivate mutating func takeBack(_ path: ArraySlice<String>, from old: SplitState) {
        switch path.first {
        case "key": key = old.key
        case "force": force = old.force
        case "assign": assign = old.assign
        case "shadow": shadow = old.shadow
        default: if let variant = path.last { weights[variant] = old.weights[variant] }
        }
    }
}

extension UpstreamState {
    fileprivate mutating func takeBack(_ path: ArraySlice<String>, from old: UpstreamState) {
        switch path.first {
        case "balance": balance = old.balance
        case "keepalive": keepalive = old.keepalive
        case "keepalive_local": keepaliveIsLocal = old.keepaliveIsLocal
        case "keepalive_requests": keepaliveRequests = old.keepaliveRequests
        case "keepalive_time": keepaliveTimeMs = old.keepaliveTimeMs
        case "keepalive_timeout": keepaliveTimeoutMs = old.keepaliveTimeoutMs
        case "sticky": sticky = old.sticky
        case "circuit_breaker": circuitBreaker = old.circuitBreaker
        case "outlier_detection": outlierDetection = old.outlierDetection
        case "panic_threshold": panicThreshold = old.panicThreshold
        case "health_checks": healthChecks = old.healthChecks
        case "queue": queue = old.queue
        case "retry_budget": retryBudget = old.retryBudget
        default: takeBackServer(path.dropFirst(), from: old)
        }
    }

    private mutating func takeBackServer(_ path: ArraySlice<String>, from old: UpstreamState) {
        guard let name = path.first else { return takeBackOrder(from: old) }
        let oldNames = ServerNames(old.servers)
        let names = ServerNames(servers)
        guard let oldPlace = oldNames[name] else {
            if let place = names[name] { servers.remove(at: place) }
            return
        }
        guard let place = names[name] else {
            // Behind what it follows there.
            let before = oldNames.list[..<oldPlace].reversed().lazy.compactMap { names[$0] }.first
            servers.insert(old.servers[oldPlace], at: before.map { $0 + 1 } ?? 0)
            return
        }
        if path.count == 1 { servers[place] = old.servers[oldPlace] } else { servers[place].takeBack(path.last, from: old.servers[oldPlace]) }
    }

    /// Those that both have stand as they stood.
    private mutating func takeBackOrder(from old: UpstreamState) {
        let names = ServerNames(servers)
        let kept = ServerNames(old.servers).list.compactMap { names[$0] }
        let places = kept.sorted()
        let before = servers
        for (place, from) in zip(places, kept) { servers[place] = before[from] }
    }
}

extension ServerState {
    fileprivate mutating func takeBack(_ field: String?, from old: ServerState) {
        switch field {
        case "weight": weight = old.weight
        case "max_conns": maxConns = old.maxConns
        case "max_fails": maxFails = old.maxFails
        case "fail_timeout": failTimeoutMs = old.failTimeoutMs
        case "slow_start": slowStartMs = old.slowStartMs
        case "backup": backup = old.backup
        case "down": down = old.down
        case "drain": drain = old.drain
        default: break
        }
    }
}
