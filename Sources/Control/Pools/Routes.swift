// What the configuration file alone decides: listeners, servers, locations, maps, logs. Shared by all snapshots until the next reload.
// Made by `SnapshotBuilder`; `PoolBuilder` lays upstreams and splits over it.

import Bytes
import Engine

package final class Routes: @unchecked Sendable {
    /// Without targets, splits and names: those are a snapshot's own.
    let root: SnapshotRoot
    /// The names in `proxy_pass`, by the slot a location has for each.
    let slots: [String]
    /// What `proxy_pass` names directly, such as `127.0.0.1:3001`: pools that nobody can change but the file.
    let implicit: [(name: String, definition: UpstreamDefinition)]
    /// What a template of a key may use.
    let variables: VariableNames
    /// Of each `admin_token_file`.
    let tokens: [[(name: String, token: String)]]
    let certificates: CertificateTable
    /// `match` blocks by their names.
    let matches: [String: CheckMatch]
    /// How locations speak TLS, by what they pass to.
    let checkTLS: [String: [CheckTLS]]
    /// Keep alive what `root` points to.
    private let arena: Arena
    private let owned: [any Sendable]

    init(
        root: SnapshotRoot, slots: [String], implicit: [(name: String, definition: UpstreamDefinition)], variables: VariableNames,
        tokens: [[(name: String, token: String)]] = [], certificates: CertificateTable, matches: [String: CheckMatch] = [:],
        checkTLS: [String: [CheckTLS]] = [:], arena: Arena, owned: [any Sendable]
    ) {
        self.root = root
        self.slots = slots
        self.implicit = implicit
        self.variables = variables
        self.tokens = tokens
        self.certificates = certificates
        self.matches = matches
        self.checkTLS = checkTLS
        self.arena = arena
        self.owned = owned
    }

    /// Names of upstreams and splits that locations lead to: they cannot be removed.
    package var usedNames: [String] {
        let direct = Set(implicit.map(\.name))
        return slots.filter { !direct.contains($0) }
    }
}
