// Which splits rollouts move: who may write them besides, and who has. Owned by the controller; filled by the rollouts.
// It knows no rollout but by its number.

import AdminAPI
import Engine

/// What rollouts that live have of splits.
struct SplitClaims {
    /// Numbers of rollouts, by split.
    private(set) var owners: [String: UInt64] = [:]
    /// Who counts the requests of splits.
    private(set) var watches: [String: SplitWatch] = [:]
    /// Writes that went over a rollout and end it.
    private var overrides: [Override] = []

    struct Override: Sendable, Equatable {
        var rollout: UInt64
        var revision: UInt64
        var who: String
        var reason: String
    }

    mutating func claim(_ split: String, _ rollout: UInt64, _ watch: SplitWatch) {
        owners[split] = rollout
        watches[split] = watch
    }

    mutating func release(_ split: String) {
        owners[split] = nil
        watches[split] = nil
    }

    private func touched(_ from: ProxyState, _ to: ProxyState) -> [(split: String, rollout: UInt64)] {
        owners.sorted { $0.key < $1.key }.filter { from.splits[$0.key] != to.splits[$0.key] }.map { ($0.key, $0.value) }
    }

    /// The rollouts that a change goes over.
    /// - Throws: `rollout-live`, unless the author insists.
    func overridden(from: ProxyState, to: ProxyState, _ author: Author, _ revision: UInt64) throws(Problem) -> [Override] {
        if owners.isEmpty { return [] }
        let touched = touched(from, to).filter { $0.rollout != author.rollout }
        if let first = touched.first, !author.overrides {
            throw Problem(
                .rolloutLive, "the rollout \(first.rollout) moves the weights of split \(first.split)",
                hint: "abort or promote it; or write with ?force=1 (proxyctl: --force), which ends it where it is", revision: revision)
        }
        return touched.map { Override(rollout: $0.rollout, revision: 0, who: author.who, reason: author.reason) }
    }

    func warnings(from: ProxyState, to: ProxyState) -> [String] {
        touched(from, to).map { "split \($0.split): the rollout \($0.rollout) moves its weights; only with force=1, which ends the rollout" }
    }

    mutating func note(_ overridden: [Override], _ accepted: Accepted) {
        for one in overridden {
            var one = one
            one.revision = accepted.revision
            overrides.append(one)
        }
    }

    mutating func takeOverrides() -> [Override] {
        defer { overrides = [] }
        return overrides
    }
}

extension Controller {
    /// From here on only the rollout writes the split, and its requests are counted. Publishes a snapshot of the same revision.
    func claim(_ split: String, for rollout: UInt64, _ watch: SplitWatch) throws(Problem) {
        try exclusively(nil) { () throws(Problem) in
            _ = try state.split(named: split)
            claims.claim(split, rollout, watch)
            do throws(Problem) { show(try pools.build(state, over: routes, publication(current))) } catch {
                claims.release(split)
                throw error
            }
        }
    }

    /// The split is everybody's again.
    func unclaim(_ split: String) {
        changing.withLock { _ in
            claims.release(split)
            if let snapshot = try? pools.build(state, over: routes, publication(current)) { show(snapshot) }
        }
    }

    func takeOverrides() -> [SplitClaims.Override] { changing.withLock { _ in claims.takeOverrides() } }

    /// What is known of an upstream's servers from the requests to them. Nil: there is none of that name.
    func condition(of upstream: String) -> UpstreamCondition? {
        changing.withLock { _ in
            guard let one = state.upstreams[upstream] else { return nil }
            let definition = (publisher?.current ?? firstSnapshot)?.upstreams.first { $0.settings.name.string == upstream }
            return UpstreamCondition(StatusReport.servers(one, definition, nowMs: nowMs))
        }
    }
}

/// Whether an upstream can serve.
struct UpstreamCondition: Sendable, Equatable {
    var canServe: Bool
    /// One sentence; empty: all is well.
    var words: String

    init(canServe: Bool, words: String = "") {
        self.canServe = canServe
        self.words = words
    }

    init(_ servers: [ServerStatus]) {
        let serving: Set = ["up", "busy", "starting", "unknown"]
        // A server alone is asked whatever became of the requests before.
        let isAlone = servers.count == 1
        let good = servers.filter { serving.contains($0.state) || (isAlone && ["failed", "ejected"].contains($0.state)) }
        canServe = !good.isEmpty
        let sick = servers.filter { !serving.contains($0.state) }
        words = servers.isEmpty ? "it has no servers" : sick.map { "\($0.server) is \($0.state)" }.joined(separator: ", ")
    }
}
