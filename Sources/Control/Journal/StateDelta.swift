// What makes one state of another, as little as possible: the journal writes it, so that a changed weight costs some hundred bytes however
// many servers there are. Made and applied by Journal; pure values.

import AdminAPI

struct StateDelta: Equatable {
    /// New ones, and those of which too much changed, as a whole.
    var upstreams: [String: UpstreamState] = [:]
    var patches: [String: UpstreamPatch] = [:]
    var splits: [String: SplitState] = [:]
    var removedUpstreams: [String] = []
    var removedSplits: [String] = []
    var certificates: [String: CertificateState] = [:]
    var removedCertificates: [String] = []

    init() {}

    init(from old: ProxyState, to new: ProxyState) {
        if old.upstreams != new.upstreams {
            for (name, pool) in new.upstreams {
                guard let before = old.upstreams[name] else {
                    upstreams[name] = pool
                    continue
                }
                if before == pool { continue }
                if let patch = UpstreamPatch(from: before, to: pool) { patches[name] = patch } else { upstreams[name] = pool }
            }
            removedUpstreams = old.upstreams.keys.filter { new.upstreams[$0] == nil }.sorted()
        }
        splits = new.splits.filter { old.splits[$0.key] != $0.value }
        removedSplits = old.splits.keys.filter { new.splits[$0] == nil }.sorted()
        certificates = new.certificates.filter { old.certificates[$0.key] != $0.value }
        removedCertificates = old.certificates.keys.filter { new.certificates[$0] == nil }.sorted()
    }

    /// The state this makes of `old`, with which it shares what did not change; nil: it was not made for that one.
    func applied(to old: ProxyState) -> ProxyState? {
        var new = old
        for name in removedUpstreams where new.upstreams.removeValue(forKey: name) == nil { return nil }
        for name in removedSplits where new.splits.removeValue(forKey: name) == nil { return nil }
        for name in removedCertificates where new.certificates.removeValue(forKey: name) == nil { return nil }
        for (name, certificate) in certificates { new.certificates[name] = certificate }
        for (name, pool) in upstreams { new.upstreams[name] = pool }
        for (name, split) in splits { new.splits[name] = split }
        for (name, patch) in patches {
            guard let patched = old.upstreams[name].flatMap({ patch.applied(to: $0) }) else { return nil }
            new.upstreams[name] = patched
        }
        return new
    }
}

/// The difference of two states of one upstream, server by server.
struct UpstreamPatch: Equatable {
    /// The fields of the pool, without servers; nil: they are as before.
    var pool: UpstreamState?
    /// In place of those with their id; those with a new id behind all others.
    var servers: [ServerState] = []
    /// The ids of those taken away. One may come back in `servers`, at the end.
    var gone: [Int] = []

    init(pool: UpstreamState?, servers: [ServerState], gone: [Int]) {
        self.pool = pool
        self.servers = servers
        self.gone = gone
    }

    /// Nil: the whole upstream is no longer than its patch, or ids are not unique.
    init?(from old: UpstreamState, to new: UpstreamState) {
        var bare = new
        bare.servers = []
        var bareBefore = old
        bareBefore.servers = []
        pool = bare == bareBefore ? nil : bare
        var next = 0
        for server in old.servers {
            if next < new.servers.count, new.servers[next].id == server.id {
                if new.servers[next] != server { servers.append(new.servers[next]) }
                next += 1
            } else {
                gone.append(server.id)
            }
        }
        servers += new.servers[next...]
        if servers.count + gone.count / 8 > new.servers.count / 2 + 1 { return nil }
        if applied(to: old) != new { return nil }
    }

    func applied(to old: UpstreamState) -> UpstreamState? {
        let gone = Set(self.gone)
        var places: [Int: Int] = [:]
        for (i, server) in servers.enumerated() where places.updateValue(i, forKey: server.id) != nil { return nil }
        var new = old
        if let pool {
            new = pool
            new.servers = old.servers
        }
        if !gone.isEmpty { new.servers.removeAll { gone.contains($0.id) } }
        if new.servers.count + self.gone.count != old.servers.count { return nil }
        if servers.isEmpty { return new }
        var isPlaced = [Bool](repeating: false, count: servers.count)
        for i in new.servers.indices {
            guard let place = places[new.servers[i].id] else { continue }
            new.servers[i] = servers[place]
            isPlaced[place] = true
        }
        for (i, server) in servers.enumerated() where !isPlaced[i] { new.servers.append(server) }
        return new
    }
}
