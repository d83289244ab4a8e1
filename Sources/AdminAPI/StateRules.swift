// What a state must keep to, wherever it comes from: names, bounds, addresses, and what fields mean together.
// Called before a change is accepted. It decides on the state alone: whether names resolve and variables exist is found later.

public enum StateRules {
    /// The whole state. Looks at names in sorted order, so that of several problems the same one is told each time.
    /// - Throws: the first problem, with the pointer of its field in the JSON of a state.
    public static func check(_ state: ProxyState) throws(Problem) {
        try checkCount(state.upstreams.count, "upstreams", StateBounds.upstreamsMax, ["upstreams"])
        try checkCount(state.splits.count, "splits", StateBounds.splitsMax, ["splits"])
        for (name, upstream) in state.upstreams.sorted(by: { $0.key < $1.key }) {
            let pointer = JSONPointer(["upstreams", name])
            try check(name: name, at: pointer)
            try check(upstream: upstream, at: pointer)
        }
        for (name, split) in state.splits.sorted(by: { $0.key < $1.key }) {
            let pointer = JSONPointer(["splits", name])
            try check(name: name, at: pointer)
            if state.upstreams[name] != nil {
                let detail = "found \"\(name)\" as a split and as an upstream, expected each name once"
                throw Problem(.nameInUse, detail, hint: "both are named in proxy_pass; rename one", pointer: pointer.text)
            }
            try check(split: split, among: state.upstreams, at: pointer)
        }
    }

    /// A name of an upstream or a split: 1 to 64 of `A-Z a-z 0-9 _ . -`, the first a letter, a digit or `_`.
    /// - Parameter pointer: nil: the name is not in the body.
    /// - Throws: `bad-name`.
    public static func check(name: String, at pointer: JSONPointer? = nil) throws(Problem) {
        func bad(_ found: String) -> Problem {
            let expected =
                "1 to \(StateBounds.nameBytesMax) letters, digits, \"_\", \".\" or \"-\", first a letter, a digit or \"_\""
            return Problem(.badName, "found \(found), expected \(expected)", pointer: pointer?.text)
        }
        if name.isEmpty { throw bad("an empty name") }
        if name.utf8.count > StateBounds.nameBytesMax { throw bad("a name of \(name.utf8.count) bytes") }
        for scalar in name.unicodeScalars {
            switch scalar {
            case "a"..."z", "A"..."Z", "0"..."9", "_", ".", "-": continue
            default: throw bad("\"\(shortened(String(scalar)))\" in \"\(shortened(name))\"")
            }
        }
        if name.hasPrefix(".") || name.hasPrefix("-") { throw bad("\"\(name.prefix(1))\" at the beginning of \"\(name)\"") }
    }

    // MARK: Upstreams

    /// - Parameter pointer: of the upstream in the body.
    public static func check(upstream: UpstreamState, at pointer: JSONPointer = .root) throws(Problem) {
        do { try checkRelative(upstream) } catch { throw error.below(pointer) }
    }

    private static func checkRelative(_ upstream: UpstreamState) throws(Problem) {
        let method: BalanceMethod
        do { method = try BalanceMethod(upstream.balance) } catch { throw error.below("balance") }
        if let sticky = upstream.sticky {
            do { try check(sticky: sticky) } catch { throw error.below("sticky") }
        }
        if let keepalive = upstream.keepalive { try checkRange(keepalive, StateBounds.keepalive, "keepalive") }
        try checkRange(upstream.keepaliveRequests, StateBounds.keepaliveRequests, "keepalive_requests")
        try checkSpan(upstream.keepaliveTimeMs, "keepalive_time")
        try checkSpan(upstream.keepaliveTimeoutMs, "keepalive_timeout")
        try checkGuards(upstream)
        try checkHealthChecks(upstream.healthChecks)
        try checkServers(upstream.servers, method)
    }

    private static func checkServers(_ servers: [ServerState], _ method: BalanceMethod) throws(Problem) {
        try checkCount(servers.count, "servers", StateBounds.serversMax, ["servers"])
        if servers.allSatisfy(\.backup) {
            let found = servers.isEmpty ? "no servers" : "backup servers only"
            throw Problem(.noServers, "found \(found), expected at least one that is no backup", pointer: "/servers")
        }
        var keys: [UInt64] = []
        keys.reserveCapacity(servers.count)
        // Of thousands of servers none is copied.
        let list = servers.span
        for i in list.indices {
            do throws(Problem) {
                if list[i].ipv4 != 0 { keys.append(list[i].ipv4) } else if case .ipv4(let key) = try addressKey(list[i]) { keys.append(key) }
                try checkNumbers(list[i].weight, list[i].maxConns, list[i].maxFails)
                try checkTimes(failTimeoutMs: list[i].failTimeoutMs, slowStartMs: list[i].slowStartMs)
                if list[i].backup, !method.takesBackup {
                    let detail = "found a backup server with \"\(method.name)\", expected none"
                    throw Problem(
                        .badBalance, detail, hint: "only round_robin and least_conn have backup servers", pointer: "/backup")
                }
                if list[i].slowStartMs > 0, !method.takesBackup {
                    let detail = "found slow_start with \"\(method.name)\", expected none"
                    throw Problem(
                        .badBalance, detail, hint: "only with round_robin and least_conn servers start slowly", pointer: "/slow_start")
                }
            } catch { throw error.below(String(i)).below("servers") }
        }
        // Numbers alone, as there are most often, are compared as such.
        if keys.count < servers.count || !ServerAddress.areDistinct(&keys) { try checkDistinct(servers) }
    }

    private static func checkDistinct(_ servers: [ServerState]) throws(Problem) {
        var seen: [AddressKey: Int] = [:]
        seen.reserveCapacity(servers.count)
        for (i, server) in servers.enumerated() {
            guard let other = seen.updateValue(i, forKey: try addressKey(server)) else { continue }
            let found = "\"\(shortened(server.server))\", which is \"\(shortened(servers[other].server))\" of /servers/\(other)"
            throw Problem(
                .duplicateServer, "found \(found), expected each server once", hint: "a larger weight gives a server more requests",
                pointer: JSONPointer(["servers", String(i), "server"]).text)
        }
    }

    /// One server by itself: its address and the ranges of its fields.
    public static func check(server: ServerState, at pointer: JSONPointer = .root) throws(Problem) {
        do {
            _ = try addressKey(server)
            try checkNumbers(server.weight, server.maxConns, server.maxFails)
            try checkTimes(failTimeoutMs: server.failTimeoutMs, slowStartMs: server.slowStartMs)
        } catch { throw error.below(pointer) }
    }

    /// The normal form of an address, for telling whether there are two of it.
    private enum AddressKey: Hashable {
        case ipv4(UInt64)
        case other(String)
    }

    private static func addressKey(_ server: ServerState) throws(Problem) -> AddressKey {
        if server.ipv4 != 0 { return .ipv4(server.ipv4) }
        let text: String
        do { text = try ServerAddress(server.server).normalized } catch { throw error.below("server") }
        let number = ServerAddress.number(text)
        return number == 0 ? .other(text) : .ipv4(number)
    }

    private static func checkNumbers(_ weight: Int, _ maxConns: Int, _ maxFails: Int) throws(Problem) {
        try checkRange(weight, StateBounds.weight, "weight")
        try checkRange(maxConns, StateBounds.count, "max_conns")
        try checkRange(maxFails, StateBounds.count, "max_fails")
    }

    private static func checkTimes(failTimeoutMs: Int64, slowStartMs: Int64) throws(Problem) {
        try checkSpan(failTimeoutMs, "fail_timeout")
        if failTimeoutMs % 1000 != 0 {
            throw Problem(.badTime, "found \(NginxTime.text(ms: failTimeoutMs)), expected whole seconds", pointer: "/fail_timeout")
        }
        try checkSpan(slowStartMs, "slow_start")
        if slowStartMs % 1000 != 0 {
            throw Problem(.badTime, "found \(NginxTime.text(ms: slowStartMs)), expected whole seconds", pointer: "/slow_start")
        }
    }

    // MARK: Splits

    /// - Parameters:
    ///   - upstreams: those of the state the split is to be in.
    ///   - pointer: of the split in the body.
    public static func check(
        split: SplitState, among upstreams: [String: UpstreamState], at pointer: JSONPointer = .root
    ) throws(Problem) {
        do {
            try checkWeights(split.weights, among: upstreams)
            try checkTexts(split)
            if let shadow = split.shadow { try check(shadow, of: split.weights) }
        } catch { throw error.below(pointer) }
    }

    private static func checkWeights(_ weights: [String: Int], among upstreams: [String: UpstreamState]) throws(Problem) {
        try checkCount(weights.count, "variants", StateBounds.variantsMax, ["weights"])
        for (variant, weight) in weights.sorted(by: { $0.key < $1.key }) {
            do throws(Problem) {
                if upstreams[variant] == nil {
                    let names = upstreams.keys.sorted()
                    let near = nearestField(to: variant, among: names).map { "did you mean \"\($0)\"?" }
                    let detail = "found \"\(shortened(variant))\", expected the name of an upstream"
                    throw Problem(
                        .unknownVariant, detail, hint: near ?? "add the upstream first", pointer: JSONPointer([variant]).text)
                }
                try checkRange(weight, StateBounds.weight, variant)
            } catch { throw error.below("weights") }
        }
        if !weights.values.contains(where: { $0 > 0 }) {
            let found = weights.isEmpty ? "no variants" : "no weight above 0"
            throw Problem(
                .allWeightsZero, "found \(found), expected at least one", hint: "to let requests wait, hold the split",
                pointer: "/weights")
        }
    }

    private static func checkTexts(_ split: SplitState) throws(Problem) {
        try checkCount(split.key.count, "templates", StateBounds.keysMax, ["key"])
        for (i, key) in split.key.enumerated() { try check(template: key, at: JSONPointer(["key", String(i)])) }
        if let force = split.force { try check(template: force, at: JSONPointer(["force"])) }
        guard let assign = split.assign else { return }
        try check(cookieName: assign.cookie, at: JSONPointer(["assign", "cookie"]))
        if !StateBounds.maxAgeSeconds.contains(assign.maxAgeSeconds) {
            let detail = "found \(assign.maxAgeSeconds) seconds, expected 1 to \(StateBounds.maxAgeSeconds.upperBound)"
            throw Problem(.outOfRange, detail, pointer: "/assign/max_age")
        }
    }

    /// A token as of RFC 6265 section 4.1.1, of at most 64 bytes.
    /// - Throws: `bad-name`.
    public static func check(cookieName name: String, at pointer: JSONPointer = .root) throws(Problem) {
        let marks = "!#$%&'*+-.^_`|~".utf8
        let isToken = name.utf8.allSatisfy { byte in
            let lower = byte | 0x20
            return lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z")
                || byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
                || marks.contains(byte)
        }
        if name.isEmpty || !isToken || name.utf8.count > StateBounds.nameBytesMax {
            let expected =
                "the name of a cookie: 1 to \(StateBounds.nameBytesMax) letters, digits or marks such as \"_\" and \"-\""
            throw Problem(.badName, "found \"\(shortened(name))\", expected \(expected)", pointer: pointer.text)
        }
    }

    // MARK: Ranges

    private static func checkCount(_ count: Int, _ what: String, _ most: Int, _ tokens: [String]) throws(Problem) {
        if count > most {
            throw Problem(.outOfRange, "found \(count) \(what), expected at most \(most)", pointer: JSONPointer(tokens).text)
        }
    }

    private static func checkRange(_ value: Int, _ range: ClosedRange<Int>, _ field: String) throws(Problem) {
        if !range.contains(value) {
            throw Problem(
                .outOfRange, "found the number \(value), expected a whole number \(range.worded)",
                pointer: JSONPointer([field]).text)
        }
    }

    private static func checkSpan(_ ms: Int64, _ field: String) throws(Problem) {
        if !StateBounds.timeMs.contains(ms) {
            let most = NginxTime.text(ms: StateBounds.timeMs.upperBound)
            throw Problem(.outOfRange, "found \(ms) milliseconds, expected 0 to \(most)", pointer: JSONPointer([field]).text)
        }
    }
}
