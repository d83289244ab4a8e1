// What PATCH of one server may change: each field that was named. Plain values; `StateChange` applies them.
// Decoded from a body by the JSON codec, made by proxyctl.

/// nil: the field stays as it is.
public struct ServerPatch: Sendable, Equatable {
    public var server: String?
    public var weight: Int?
    public var maxConns: Int?
    public var maxFails: Int?
    public var failTimeoutMs: Int64?
    public var backup: Bool?
    public var down: Bool?
    public var drain: Bool?

    public init() {}
}

extension ServerState {
    /// The server with the fields that `patch` names; the id stays.
    func patched(_ patch: ServerPatch) -> ServerState {
        var server = self
        server.server = patch.server ?? self.server
        server.weight = patch.weight ?? weight
        server.maxConns = patch.maxConns ?? maxConns
        server.maxFails = patch.maxFails ?? maxFails
        server.failTimeoutMs = patch.failTimeoutMs ?? failTimeoutMs
        server.backup = patch.backup ?? backup
        server.down = patch.down ?? down
        server.drain = patch.drain ?? drain
        return server
    }
}
