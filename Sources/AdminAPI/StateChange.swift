// What a write of the admin API wants changed, and the state that comes of it, or why not.
// Called by the controller for writes and for plans. `StateRules` judges the fields of an object; here is judged what
// objects say of each other.

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
    /// Undo, restore, reload: a state that was good once or has been checked.
    case replaceState(ProxyState)
}

extension StateChange {
    /// `state` with the change, its servers numbered after those of `state`.
    /// - Throws: `notFound` and what exists instead; `nameInUse`, `unknownVariant`, `allWeightsZero`, `noServers`,
    ///   `duplicateServer`. Pointers are into the body of this change's request.
    public func applied(to state: ProxyState) throws(Problem) -> ProxyState {
        var next = state
        switch self {
        case .replaceAll(let upstreams, let splits):
            next = try replaced(state, upstreams, splits)
        case .putUpstream(let name, let upstream):
            if state.splits[name] != nil { throw nameTaken(name, by: "split") }
            next.upstreams[name] = upstream
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
            try checkVariants(of: split, name, in: state, at: "")
            next.splits[name] = split
        case .deleteSplit(let name):
            guard next.splits.removeValue(forKey: name) != nil else { throw state.noSplit(name) }
        case .setWeights(let name, let weights):
            next.splits[name] = try weighted(name, weights, in: state)
        case .replaceState(let other):
            next = other
        }
        return next.numbered(after: state)
    }

    private func upstream(_ name: String, of state: ProxyState) throws(Problem) -> UpstreamState {
        guard let upstream = state.upstreams[name] else { throw state.noUpstream(name) }
        return upstream
    }

    private func replaced(
        _ state: ProxyState, _ upstreams: [String: UpstreamState], _ splits: [String: SplitState]?
    ) throws(Problem) -> ProxyState {
        let next = ProxyState(upstreams: upstreams, splits: splits ?? state.splits)
        for (name, split) in next.splits.sorted(by: { $0.key < $1.key }) {
            if upstreams[name] != nil { throw nameTaken(name, by: "split", at: JSONPointer(["upstreams", name]).text) }
            if splits != nil {
                try checkVariants(of: split, name, in: next, at: JSONPointer(["splits", name]).text)
            } else if let variant = split.weights.keys.sorted().first(where: { upstreams[$0] == nil }) {
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
                        + (isUpstream ? "; PUT the split to add one" : ""),
                    pointer: JSONPointer(["weights", variant]).text)
            }
            split.weights[variant] = weight
        }
        try checkVariants(of: split, name, in: state, at: "")
        return split
    }

    /// `place`: the pointer to the split in the body.
    private func checkVariants(of split: SplitState, _ name: String, in state: ProxyState, at place: String) throws(Problem) {
        for variant in split.weights.keys.sorted() where state.upstreams[variant] == nil {
            throw Problem(
                .unknownVariant, "the variant \(Naming.quoted(variant)) of the split \(Naming.quoted(name)) is no upstream",
                hint: Naming.listed("upstream", Naming.nearest(to: variant, state.upstreams.keys)),
                pointer: place + JSONPointer(["weights", variant]).text)
        }
        if split.weights.values.allSatisfy({ $0 <= 0 }) {
            throw Problem(
                .allWeightsZero,
                "no variant of the split \(Naming.quoted(name)) would have weight, so no request could go anywhere",
                hint: "give one variant a weight above 0", pointer: place + "/weights")
        }
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
        return upstream
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
        return upstream
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
        return upstream
    }

    private func duplicate(_ server: ServerState, in name: String) -> Problem {
        Problem(
            .duplicateServer,
            "the upstream \(Naming.quoted(name)) has \(Naming.quoted(server.server)) already, with the id \(server.id)",
            hint: "PATCH that one", pointer: "/server")
    }
}
