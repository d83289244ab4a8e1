// States that tests of changes, differences and merges begin with.

@testable import AdminAPI

func server(_ address: String, id: Int = -1, _ change: (inout ServerState) -> Void = { _ in }) -> ServerState {
    var server = ServerState(server: address)
    server.id = id
    change(&server)
    return server
}

/// Servers numbered in their order.
func upstream(_ addresses: String..., change: (inout UpstreamState) -> Void = { _ in }) -> UpstreamState {
    var upstream = UpstreamState(servers: addresses.map { server($0) })
    change(&upstream)
    return upstream.numbered(after: nil)
}

/// `blue` with two servers, `green` with one, and the split `app` of both, 90 to 10.
let sampleState = ProxyState(
    upstreams: ["blue": upstream("127.0.0.1:3001", "127.0.0.1:3002"), "green": upstream("127.0.0.1:4001")],
    splits: ["app": SplitState(weights: ["blue": 90, "green": 10], key: ["$cookie_sid"])])

/// The sample, changed and numbered.
func sample(_ change: (inout ProxyState) -> Void) -> ProxyState {
    var state = sampleState
    change(&state)
    return state.numbered(after: sampleState)
}

extension ProxyState {
    /// For tests that reach into objects of the sample.
    subscript(upstream name: String) -> UpstreamState {
        get { upstreams[name] ?? UpstreamState() }
        set { upstreams[name] = newValue }
    }
    subscript(split name: String) -> SplitState {
        get { splits[name] ?? SplitState(weights: [:]) }
        set { splits[name] = newValue }
    }
}

/// Equal but for ids and what is to come of them.
func withoutIDs(_ state: ProxyState) -> ProxyState {
    var state = state
    for name in state.upstreams.keys {
        state[upstream: name].nextServerID = 0
        for i in state[upstream: name].servers.indices { state[upstream: name].servers[i].id = -1 }
    }
    return state
}
