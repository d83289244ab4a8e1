// What a path names in a state, or the problem that says what there is instead.
// Called by the admin server for the answers to GET, and by the controller.

extension ProxyState {
    public func upstream(named name: String) throws(Problem) -> UpstreamState {
        guard let upstream = upstreams[name] else { throw noUpstream(name) }
        return upstream
    }

    public func split(named name: String) throws(Problem) -> SplitState {
        guard let split = splits[name] else { throw noSplit(name) }
        return split
    }

    public func server(_ key: ServerKey, of name: String) throws(Problem) -> ServerState {
        let upstream = try upstream(named: name)
        guard let i = upstream.index(of: key) else { throw upstream.noServer(key, in: name) }
        return upstream.servers[i]
    }
}
