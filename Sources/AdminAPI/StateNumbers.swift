// Which id each server has: an id stays with its address, and none is given twice.
// Called for every change, and by the merge. It changes nothing but ids.

extension ProxyState {
    /// The state with ids for its servers. In an upstream that `old` has, a server keeps the id that its address has there,
    /// and every other server gets a new one. In an upstream that `old` does not have, servers keep the ids they bring.
    /// `old`: numbered itself.
    public func numbered(after old: ProxyState) -> ProxyState {
        var state = self
        for (name, upstream) in upstreams where upstream != old.upstreams[name] {
            state.upstreams[name] = upstream.numbered(after: old.upstreams[name])
        }
        return state
    }
}

extension UpstreamState {
    /// Far beyond what changes can count to, and exact in every reader of JSON.
    private static let nextServerIDMax = 1 << 52

    func numbered(after old: UpstreamState?) -> UpstreamState {
        let known = old ?? self
        let idByName = Dictionary(zip(known.serverNames, known.servers.map(\.id)), uniquingKeysWith: { first, _ in first })
        var upstream = self
        var next = max(nextServerID, known.nextServerID, 0)
        for id in idByName.values where id < Self.nextServerIDMax { next = max(next, id + 1) }
        next = min(next, Self.nextServerIDMax)
        var taken: Set<Int> = []
        for (i, name) in serverNames.enumerated() {
            var id = idByName[name] ?? -1
            if id < 0 || !taken.insert(id).inserted {
                id = next
                next += 1
            }
            upstream.servers[i].id = id
        }
        upstream.nextServerID = next
        return upstream
    }
}
