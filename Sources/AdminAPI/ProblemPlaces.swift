// Where in the body that asked for a change stands what a problem of the whole state is about.
// Called by the controller, for what is found when the new state is built.

extension StateChange {
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
        case .putSplit(let name, _), .setWeights(let name, _), .setShadow(let name, _): return below("splits", name)
        case .addServer(let name, _), .patchServer(let name, _, _):
            guard let rest = below("upstreams", name), rest.first == "servers", rest.count > 2, let i = Int(rest[rest.startIndex + 1]),
                let servers = next.upstreams[name]?.servers, servers.indices.contains(i)
            else { return nil }
            let before = old.upstreams[name]?.servers ?? []
            // The server that the body is about is the one that is not as it was.
            return before.indices.contains(i) && before[i] == servers[i] ? nil : rest.dropFirst(2)
        case .deleteUpstream, .removeServer, .drainUpstream, .deleteSplit, .putCertificate, .deleteCertificate: return nil
        }
    }
}
