// How TLS is spoken to servers that are asked after their health: as the location does that passes requests to them, with what it trusts.
// Gathered while a configuration is built, kept by `Routes`; the health board chooses, the prober's thread speaks by it.

import AdminAPI
import Engine

/// What one location says of TLS to what it passes to.
final class CheckTLS: Sendable {
    let context: TLSContext
    /// Of everything the context was made of.
    private let digest: [UInt8]
    /// The name that a server must be; nil: it has variables, which a check does not know.
    let name: String?
    let asksForName: Bool
    let verifies: Bool
    private let isGRPC: Bool
    /// The location has a health check of its own.
    private let hasChecks: Bool

    init(_ context: TLSContext, digest: [UInt8], _ draft: UpstreamTLSDraft, target: String, isGRPC: Bool, hasChecks: Bool) {
        self.context = context
        self.digest = digest
        if let said = draft.name { name = said.hasVariables ? nil : Self.withoutPort(said.text) } else { name = Self.withoutPort(target) }
        asksForName = draft.asksForName
        verifies = draft.key.verifies
        self.isGRPC = isGRPC
        self.hasChecks = hasChecks
    }

    static func withoutPort(_ name: String) -> String {
        if name.hasSuffix("]") { return name }
        guard let colon = name.lastIndex(of: ":") else { return name }
        return String(name[..<colon])
    }

    func isLike(_ other: CheckTLS) -> Bool {
        digest == other.digest && name == other.name && asksForName == other.asksForName && verifies == other.verifies
    }

    /// Of the locations that lead to an upstream, by its name or by a split: one with checks of its own, one of the check's own protocol,
    /// one that verifies, the first. Nil: none speaks TLS there.
    static func choose(_ byTarget: [String: [CheckTLS]], _ upstream: String, _ kind: HealthCheck.Kind, _ state: ProxyState) -> CheckTLS? {
        if !kind.usesTLS || byTarget.isEmpty { return nil }
        let splits = state.splits.filter { $0.value.weights[upstream] != nil }.keys.sorted()
        let known = ([upstream] + splits).flatMap { byTarget[$0] ?? [] }
        func rank(_ tls: CheckTLS) -> Int { (tls.hasChecks ? 4 : 0) + (tls.isGRPC == kind.isGRPC ? 2 : 0) + (tls.verifies ? 1 : 0) }
        let best = known.map(rank).max()
        return known.first { rank($0) == best }
    }
}
