// What a write of the admin API wants changed, and the state that comes of it, or why not.
// Called by the controller for writes and for plans. What a change brings is judged by `StateRules`, its place in the state here.

public enum StateChange: Sendable, Equatable {
    /// `splits` nil: they stay.
    case replaceAll(upstreams: [String: UpstreamState], splits: [String: SplitState]?)
    case putUpstream(String, UpstreamState)
    case deleteUpstream(String)
    case addServer(upstream: String, ServerState)
    case patchServer(upstream: String, ServerKey, ServerPatch)
    case removeServer(upstream: String, ServerKey)
    /// All servers of the upstream.
    case drainUpstream(String)
    case putSplit(String, SplitState)
    case deleteSplit(String)
    /// Variants that are not named keep their weight.
    case setWeights(split: String, [String: Int])
    /// Nil: its requests are sent once.
    case setShadow(split: String, ShadowState?)
    /// Shown instead of the file's. Its pair is known already, and good.
    case putCertificate(String, CertificateState)
    /// Back to the file's; nothing where nothing was put.
    case deleteCertificate(String)
    /// Undo, restore, reload: a state that was good once or has been checked.
    case replaceState(ProxyState)
}

extension StateChange {
    /// `state` with the change, its servers numbered after those of `state`.
    /// What the change brings is checked by `StateRules`; the state of `replaceState` alone is taken as it is.
    /// - Throws: `notFound` and what exists instead; `nameInUse`, `unknownVariant`, `allWeightsZero`, `noServers`,
    ///   `duplicateServer`, and what `StateRules` refuses. Pointers are into the body of this change's request.
    public func applied(to state: ProxyState) throws(Problem) -> ProxyState {
        var next = state
        switch self {
        case .replaceAll(let upstreams, let splits):
            next = try replaced(state, upstreams, splits)
        case .putUpstream(let name, let upstream):
            if state.splits[name] != nil { throw nameTaken(name, by: "split") }
            try StateRules.check(name: name)
            try StateRules.check(upstream: upstream)
            next.upstreams[name] = upstream
            try checkCount(next.upstreams.count, "upstreams", StateBounds.upstreamsMax)
        case .deleteUpstream(let name):
            guard next.upstreams.removeValue(forKey: name) != nil else { throw state.noUpstream(name) }
            let users = state.splits(using: name)
            if !users.isEmpty { throw variantInUse(name, by: users) }
        case .addServer(let name, let server):
            next.upstreams[name] = try upstream(name, of: state).adding(server, to: name)
        case .patchServer(let name, let key, let patch):
            next.upstreams[name] = try upstream(name, of: state).patching(key, patch, in: name)
        case .removeServer(let name, let key):
            next.upstreams[name] = try upstream(name, of: state).removing(key, from: name)
        case .drainUpstream(let name):
            var upstream = try upstream(name, of: state)
            for i in upstream.servers.indices { upstream.servers[i].drain = true }
            next.upstreams[name] = upstream
        case .putSplit(let name, let split):
            if state.upstreams[name] != nil { throw nameTaken(name, by: "upstream") }
            try StateRules.check(name: name)
            try StateRules.check(split: split, among: state.upstreams)
            next.splits[name] = split
            try checkCount(next.splits.count, "splits", StateBounds.splitsMax)
        case .deleteSplit(let name):
            guard next.splits.removeValue(forKey: name) != nil else { throw state.noSplit(name) }
        case .setWeights(let name, let weights):
            next.splits[name] = try weighted(name, weights, in: state)
        case .setShadow(let name, let shadow):
            guard var split = state.splits[name] else { throw state.noSplit(name) }
            split.shadow = shadow
            try StateRules.check(split: split, among: state.upstreams)
            next.splits[name] = split
        case .putCertificate(let name, let certificate): next.certificates[name] = certificate
        case .deleteCertificate(let name): next.certificates[name] = nil
        case .replaceState(let other):
            next = other
        }
        return hasServers ? next.numbered(after: state) : next
    }

    /// Whether servers may come or go; they have their numbers where they stay.
    private var hasServers: Bool {
        switch self {
        case .putSplit, .deleteSplit, .setWeights, .setShadow, .putCertificate, .deleteCertificate: false
        default: true
        }
    }

    private func upstream(_ name: String, of state: ProxyState) throws(Problem) -> UpstreamState {
        guard let upstream = state.upstreams[name] else { throw state.noUpstream(name) }
        return upstream
    }

    private func replaced(
        _ state: ProxyState, _ upstreams: [String: UpstreamState], _ splits: [String: SplitState]?
    ) throws(Problem) -> ProxyState {
        let next = ProxyState(upstreams: upstreams, splits: splits ?? state.splits, certificates: state.certificates)
        if splits != nil {
            try StateRules.check(next)
            return next
        }
        // Splits that stay are not in the body: what is wrong with them is wrong with the upstreams.
        try StateRules.check(ProxyState(upstreams: upstreams))
        for (name, split) in next.splits.sorted(by: { $0.key < $1.key }) {
            if upstreams[name] != nil { throw nameTaken(name, by: "split", at: JSONPointer(["upstreams", name]).text) }
            if let variant = split.weights.keys.sorted().first(where: { upstreams[$0] == nil }) {
                throw variantInUse(variant, by: next.splits(using: variant), at: "/upstreams")
            }
        }
        return next
    }

    private func weighted(_ name: String, _ weights: [String: Int], in state: ProxyState) throws(Problem) -> SplitState {
        guard var split = state.splits[name] else { throw state.noSplit(name) }
        for (variant, weight) in weights.sorted(by: { $0.key < $1.key }) {
            guard split.weights[variant] != nil else {
                let isUpstream = state.upstreams[variant] != nil
                throw Problem(
                    .unknownVariant, "the split \(Naming.quoted(name)) has no variant \(Naming.quoted(variant))",
                    hint: Naming.listed("variant", Naming.nearest(to: variant, split.weights.keys))
                        + (isUpstream ? "; PUT the split to add one" : ""), pointer: JSONPointer(["weights", variant]).text)
            }
            split.weights[variant] = weight
        }
        try StateRules.check(split: split, among: state.upstreams)
        return split
    }

    private func checkCount(_ count: Int, _ what: String, _ most: Int) throws(Problem) {
        if count > most { throw Problem(.outOfRange, "there would be \(count) \(what), more than the limit of \(most)") }
    }

    /// `kind`: of what has the name already.
    private func nameTaken(_ name: String, by kind: String, at pointer: String? = nil) -> Problem {
        Problem(
            .nameInUse, "\(Naming.quoted(name)) is the name of \(kind == "upstream" ? "an" : "a") \(kind)",
            hint: "upstreams and splits share their names: choose another", pointer: pointer)
    }

    private func variantInUse(_ name: String, by splits: [String], at pointer: String? = nil) -> Problem {
        let users = "the split\(splits.count == 1 ? "" : "s") \(Naming.enumerated(splits))"
        return Problem(
            .nameInUse, "the upstream \(Naming.quoted(name)) is a variant of \(users)", hint: "take it out of \(users) first",
            pointer: pointer)
    }
}

extension UpstreamState {
    fileprivate func adding(_ server: ServerState, to name: String) throws(Problem) -> UpstreamState {
        if let present = index(of: .address(server.server)) { throw duplicate(servers[present], in: name) }
        var upstream = self
        upstream.servers.append(server)
        return try judged(upstream, body: servers.count)
    }

    fileprivate func patching(_ key: ServerKey, _ patch: ServerPatch, in name: String) throws(Problem) -> UpstreamState {
        guard let i = index(of: key) else { throw noServer(key, in: name) }
        if let address = patch.server {
            let wanted = normalisedAddress(address)
            for (j, other) in servers.enumerated() where j != i && normalisedAddress(other.server) == wanted {
                throw duplicate(other, in: name)
            }
        }
        var upstream = self
        patch.apply(to: &upstream.servers[i])
        return try judged(upstream, body: i)
    }

    fileprivate func removing(_ key: ServerKey, from name: String) throws(Problem) -> UpstreamState {
        guard let i = index(of: key) else { throw noServer(key, in: name) }
        if servers.count == 1 {
            throw Problem(
                .noServers, "\(Naming.quoted(servers[i].server)) is the last server of the upstream \(Naming.quoted(name))",
                hint: "add another server first, set this one to drain, or delete the upstream")
        }
        var upstream = self
        upstream.servers.remove(at: i)
        return try judged(upstream, body: nil)
    }

    /// `next` if the rules take it. A configuration may hold what they refuse, such as an address twice: what comes of such an
    /// upstream is judged server by server, so that it can be drained and mended.
    /// `body`: the index of the server that the body is about.
    private func judged(_ next: UpstreamState, body: Int?) throws(Problem) -> UpstreamState {
        if let body { try StateRules.check(server: next.servers[body]) }
        do { try StateRules.check(upstream: next) } catch {
            var problem = error
            if problem.kind == self.problem?.kind, next.servers.contains(where: { !$0.backup }) { return next }
            let place = body.map { JSONPointer(["servers", String($0)]).text + "/" }
            let isInBody = place.map { problem.pointer?.hasPrefix($0) == true } ?? false
            problem.pointer = isInBody ? problem.pointer.map { String($0.dropFirst((place?.count ?? 1) - 1)) } : nil
            throw problem
        }
        return next
    }

    private var problem: Problem? {
        do throws(Problem) { try StateRules.check(upstream: self) } catch { return error }
        return nil
    }

    private func duplicate(_ server: ServerState, in name: String) -> Problem {
        Problem(
            .duplicateServer,
            "the upstream \(Naming.quoted(name)) has \(Naming.quoted(server.server)) already, with the id \(server.id)",
            hint: "PATCH that one", pointer: "/server")
    }
}
