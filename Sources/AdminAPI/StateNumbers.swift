// Which id each server has: an id stays with its address, and none is given twice.
// Called for every change, and by the merge. It changes nothing but ids.

extension ProxyState {
    /// The state with ids for its servers. A server keeps the id that its address has in the same upstream of `old`; any other
    /// keeps the id it brings if `old` never gave that, or gets the next new one.
    /// `old`: numbered itself. Numbering the result once more after `old` changes nothing.
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
        if let old, let upstream = numberedAlike(old) { return upstream }
        let oldIDs = old.map { $0.servers.map(\.id) } ?? []
        let places = old.map { self.places(in: $0) } ?? []
        let neverGiven = max(oldIDs.reduce(0) { max($0, min($1, Self.nextServerIDMax) + 1) }, old?.nextServerID ?? 0)
        var upstream = self
        var taken: Set<Int> = []
        taken.reserveCapacity(servers.count)
        var next = max(neverGiven, nextServerID)
        for i in servers.indices {
            let brought = servers[i].id
            let kept = places.isEmpty ? nil : places[i].map { oldIDs[$0] }
            let id = kept ?? (brought >= neverGiven && brought < Self.nextServerIDMax ? brought : -1)
            upstream.servers[i].id = id >= 0 && taken.insert(id).inserted ? id : -1
            next = max(next, min(upstream.servers[i].id, Self.nextServerIDMax) + 1)
        }
        next = min(next, Self.nextServerIDMax)
        for i in servers.indices where upstream.servers[i].id < 0 {
            upstream.servers[i].id = next
            next += 1
        }
        upstream.nextServerID = next
        return upstream
    }

    /// As `numbered`, where the servers are those of `old` in their order, which most often stand as they were numbered; nil: they do not.
    private func numberedAlike(_ old: UpstreamState) -> UpstreamState? {
        guard hasAddresses(of: old) else { return nil }
        var upstream = self
        var last = -1
        for i in servers.indices {
            let id = old.servers[i].id
            if id <= last { return nil }
            upstream.servers[i].id = id
            last = id
        }
        if last >= Self.nextServerIDMax { return nil }
        upstream.nextServerID = min(max(last + 1, old.nextServerID, nextServerID), Self.nextServerIDMax)
        return upstream
    }
}
