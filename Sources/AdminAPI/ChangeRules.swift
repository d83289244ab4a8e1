// Whether what a change makes keeps to the rules, told by pointers into the body that asked for it.
// Called by the controller. Only what the change touches is judged: what ran before may go on.

extension StateChange {
    /// - Parameters:
    ///   - next: the state with the change.
    ///   - old: the state without.
    /// - Throws: the first problem, its pointer in the body of this change's request; no pointer when it is not in that body.
    public func check(_ next: ProxyState, after old: ProxyState) throws(Problem) {
        switch self {
        case .replaceAll, .replaceState:
            do { try StateRules.check(next) } catch { throw located(error, next, after: old) }
        case .putUpstream(let name, let upstream):
            try StateRules.check(name: name)
            try Self.checkCount(next.upstreams.count, "upstreams", StateBounds.upstreamsMax)
            try StateRules.check(upstream: upstream)
        case .addServer(let name, let server):
            try StateRules.check(server: server)
            try checkServers(of: name, next, after: old)
        case .patchServer(let name, _, _), .removeServer(let name, _):
            try checkServers(of: name, next, after: old)
        case .putSplit(let name, let split):
            try StateRules.check(name: name)
            try Self.checkCount(next.splits.count, "splits", StateBounds.splitsMax)
            try StateRules.check(split: split, among: next.upstreams)
        // Nothing that a rule is about can come of these.
        case .deleteUpstream, .drainUpstream, .deleteSplit, .setWeights: break
        }
    }

    private static func checkCount(_ count: Int, _ what: String, _ most: Int) throws(Problem) {
        if count > most { throw Problem(.outOfRange, "found \(count) \(what), expected at most \(most)", hint: "delete some first") }
    }

    /// What was wrong before, as a configuration may name a server twice, is no reason to refuse a change of another server.
    private func checkServers(of name: String, _ next: ProxyState, after old: ProxyState) throws(Problem) {
        guard let upstream = next.upstreams[name] else { return }
        do { try StateRules.check(upstream: upstream, at: JSONPointer(["upstreams", name])) } catch {
            let problem = error
            if let before = old.upstreams[name] {
                do throws(Problem) { try StateRules.check(upstream: before) } catch { if error.kind == problem.kind { return } }
            }
            throw located(problem, next, after: old)
        }
    }

    /// The problem as seen from the body of this change's request: without a pointer when it is about something else.
    /// - Parameter problem: its pointer is in the JSON of a whole state.
    public func located(_ problem: Problem, _ next: ProxyState, after old: ProxyState) -> Problem {
        guard let pointer = problem.pointer, let tokens = JSONPointer(pointer)?.tokens else { return problem }
        var found = problem
        found.pointer = place(tokens, next, after: old).map { JSONPointer(Array($0)).text }
        return found
    }

    private func place(_ tokens: [String], _ next: ProxyState, after old: ProxyState) -> ArraySlice<String>? {
        func below(_ kind: String, _ name: String) -> ArraySlice<String>? {
            tokens.count > 2 && tokens[0] == kind && tokens[1] == name ? tokens[2...] : nil
        }
        switch self {
        case .replaceAll(_, let splits): return tokens.first == "splits" && splits == nil ? nil : tokens[...]
        case .replaceState: return nil
        case .putUpstream(let name, _): return below("upstreams", name)
        case .putSplit(let name, _), .setWeights(let name, _): return below("splits", name)
        case .addServer(let name, _), .patchServer(let name, _, _):
            guard let rest = below("upstreams", name), rest.first == "servers", rest.count > 2, let i = Int(rest[rest.startIndex + 1]),
                let servers = next.upstreams[name]?.servers, servers.indices.contains(i)
            else { return nil }
            let before = old.upstreams[name]?.servers ?? []
            // The server that the body is about is the one that is not as it was.
            return before.indices.contains(i) && before[i] == servers[i] ? nil : rest.dropFirst(2)
        case .deleteUpstream, .removeServer, .drainUpstream, .deleteSplit: return nil
        }
    }
}
