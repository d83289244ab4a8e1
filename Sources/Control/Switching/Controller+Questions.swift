// What can be asked of the controller: state, history, receipts, status. Nothing here changes anything.
// Called by the admin server. Each question gets in between two changes.

import AdminAPI
import Engine

extension Controller {
    /// The state that runs, and its revision.
    package var running: (state: ProxyState, revision: UInt64) { changing.withLock { _ in (state, current) } }

    package var runtimeNames: Set<String> { changing.withLock { _ in state.names } }

    package func revisions(limit: Int) -> [Revision] { changing.withLock { _ in journal.history.newestFirst(limit: limit) } }

    package func revision(_ number: UInt64) throws(Problem) -> (revision: Revision, state: ProxyState) {
        try changing.withLock { (_) throws(Problem) in
            guard let entry = journal.history.entry(number) else { throw gone(number) }
            return (entry.revision, entry.state)
        }
    }

    package func receipt(_ number: UInt64) throws(Problem) -> Receipt {
        try changing.withLock { (_) throws(Problem) in
            guard let receipt = ledger.receipt(number, workers: workers.map(\.counters)) else { throw gone(number) }
            return receipt
        }
    }

    /// Whether every worker serves by the revision, and whether its figures are final: cheap enough to be asked often. Nil: it is not kept.
    package func progress(_ number: UInt64) -> (isVisible: Bool, isFinal: Bool)? { changing.withLock { _ in ledger.progress(number) } }

    /// The list of an `admin_token_file`, by its place. Nil: there is none, as after a reload that took it away.
    package func tokens(at place: Int) -> [(name: String, token: String)]? {
        changing.withLock { _ in routes.tokens.indices.contains(place) ? routes.tokens[place] : nil }
    }

    /// The definitions of the named upstreams that run.
    package var definitions: [UpstreamDefinition] {
        changing.withLock { _ in (publisher?.current ?? firstSnapshot)?.upstreams.filter { state.upstreams[$0.settings.name.string] != nil } ?? [] }
    }

    /// What shadows of a split came to since the process began.
    package func shadowTally(of split: String) -> ShadowTally { changing.withLock { _ in pools.shadow(split) } }
    /// Where what concerns the process is logged.
    var processLog: ErrorLogTarget { changing.withLock { _ in routes.root.processLog } }

    package var isStopped: Bool { changing.withLock { _ in isStopping } }
    package var workerTotal: Int { workerCount }

    package var status: Status {
        changing.withLock { _ in
            var status = Status()
            status.revision = current
            status.nowMs = clock.realtimeMs()
            status.workers = workerCount
            status.journal = journal.condition + (unkept == nil ? "" : "; changes are refused while this lasts")
            ledger.fill(&status)
            status.upstreams = StatusReport.upstreams(state, publisher?.current.upstreams ?? [], health, nowMs: nowMs)
            status.certificates = certificateStatus
            status.splits = state.splits.sorted { $0.key < $1.key }.map { name, split in
                var one = SplitStatus(name: name, weights: split.weights)
                one.isHeld = holds[name] != nil
                one.holding = pools.holding(name)
                let tally = pools.shadow(name)
                if split.shadow != nil || tally != ShadowTally() { one.shadow = ShadowStatus(tally) }
                return one
            }
            return status
        }
    }
}

extension ShadowStatus {
    init(_ tally: ShadowTally) {
        self.init()
        compared = tally.compared
        differing = tally.differing
        comparedOld = tally.comparedOld
        differingOld = tally.differingOld
    }
}
