// The one place where pools and splits change while the proxy runs: transactions, history, undo. Each accepted change is journaled,
// then published, then acknowledged. Called by the admin server, by reloads and by tests; one caller at a time gets in.

import AdminAPI
import CLinux
import Engine
import Synchronization

/// A worker as the controller sees it.
package struct WorkerLink: Sendable {
    package let mailbox: Mailbox
    package let counters: WorkerCounters
    package init(mailbox: Mailbox, counters: WorkerCounters) {
        self.mailbox = mailbox
        self.counters = counters
    }
}

/// Who asks for a change, and why.
package struct Author: Sendable, Equatable {
    package var who: String
    package var reason: String
    /// Also where a rollout moves the weights, which ends the rollout.
    package var overrides = false
    /// The rollout that asks itself.
    package var rollout: UInt64?
    package init(who: String, reason: String = "", overrides: Bool = false, rollout: UInt64? = nil) {
        self.who = who
        self.reason = reason
        self.overrides = overrides
        self.rollout = rollout
    }
}

package final class Controller: @unchecked Sendable {
    let changing = Mutex(())
    let pools: PoolBuilder
    let clock: ControlClock
    package let events: EventLog
    /// Who is asked after its health, and what is known of it.
    package let health: HealthBoard
    let journal: Journal
    var routes: Routes
    /// What runs, and what the pools and splits of the next file are compared with beside it.
    var state = ProxyState()
    var fileState = ProxyState()
    var current: UInt64 = 0
    private var serial: UInt64 = 0
    /// What a start could not write to the journal, and runs all the same. Nothing else is accepted before it is kept.
    var unkept: Unkept?
    var holds: [String: HoldSettings] = [:]
    /// Of the rollouts that live.
    var claims = SplitClaims()
    private(set) var ledger = Ledger()
    var certificateWatch = CertificateWatch()
    private(set) var publisher: SnapshotPublisher?
    private(set) var workers: [WorkerLink] = []
    let workerCount: Int
    /// The control thread answers first and wakes then.
    private var wakesLater = false
    private var owesWake = false
    private(set) var isStopping = false

    /// Builds the first snapshot: what the journal remembers, merged with what the file says. Nothing runs yet.
    /// - Parameter replay: what the journal gave back when it was opened.
    package init(
        _ built: BuiltConfiguration, journal: Journal, replay: Replay?, pools: PoolBuilder, clock: ControlClock, workers: Int,
        health: HealthBoard? = nil
    ) throws(Problem) {
        self.pools = pools
        self.clock = clock
        self.journal = journal
        routes = built.routes
        workerCount = workers
        events = EventLog(clock: clock)
        self.health = health ?? HealthBoard(clock: clock)
        pools.names = HostNames(built.addresses)
        try restore(built, replay)
    }

    /// The snapshot that workers start with.
    package var first: Snapshot? { changing.withLock { _ in firstSnapshot } }
    private(set) var firstSnapshot: Snapshot?

    /// The workers run from here on.
    package func attach(_ publisher: SnapshotPublisher, _ workers: [WorkerLink]) {
        changing.withLock { _ in
            self.publisher = publisher
            self.workers = workers
        }
    }

    package func stop() { changing.withLock { _ in isStopping = true } }

    // MARK: Changes

    /// - Parameter ifMatch: the revision that must be current, else the race is lost.
    /// - Throws: why it is refused; nothing has changed then.
    package func change(_ change: StateChange, by author: Author, ifMatch: UInt64? = nil) throws(Problem) -> Accepted {
        try exclusively(ifMatch) { () throws(Problem) in
            let next = try change.applied(to: state)
            return try located(change, next) { () throws(Problem) in try accept(next, .change, author) }
        }
    }

    /// What `change` would do.
    package func plan(_ change: StateChange, ifMatch: UInt64? = nil) throws(Problem) -> Plan {
        try exclusively(ifMatch) { () throws(Problem) in
            let next = try change.applied(to: state)
            return try located(change, next) { () throws(Problem) in try planned(next, over: routes) }
        }
    }

    /// What going to `next` would do. It is built as if it were to run, and forgotten.
    func planned(_ next: ProxyState, over routes: Routes) throws(Problem) -> Plan {
        try pools.tryBuild(next, over: routes)
        var plan = Planner(from: state, to: next, revision: current, pools: publisher?.current.upstreams ?? [], nowMs: nowMs).plan()
        plan.warnings += claims.warnings(from: state, to: next)
        return plan
    }

    var nowMs: Int64 { Int64(clock.monotonicNs() / 1_000_000) }

    /// Back to the state before the current revision; again: before that.
    package func undo(by author: Author, ifMatch: UInt64? = nil) throws(Problem) -> Accepted {
        try exclusively(ifMatch) { () throws(Problem) in
            try keepFirst()
            let goal = try undoGoal()
            return try accept(try withLivingCertificates(goal.state), .undo, author, previous: goal.revision.previous, restores: goal.revision.number)
        }
    }

    package func planUndo(ifMatch: UInt64? = nil) throws(Problem) -> Plan {
        try exclusively(ifMatch) { () throws(Problem) in
            try planned(try withLivingCertificates(try undoGoal().state).numbered(after: state), over: routes)
        }
    }

    /// The one before, and if that has the same pools and splits, as before a reload of other things, the one before that.
    private func undoGoal() throws(Problem) -> History.Entry {
        var number = current
        while true {
            guard let last = journal.history.revision(number) else { throw gone(number) }
            guard let target = last.previous else {
                throw Problem(.nothingToUndo, "before revision \(number) there are no other pools and splits", revision: current)
            }
            guard let goal = journal.history.entry(target) else { throw gone(target) }
            if goal.state.numbered(after: state) != state || target >= number { return goal }
            number = target
        }
    }

    package func restore(_ number: UInt64, by author: Author, ifMatch: UInt64? = nil) throws(Problem) -> Accepted {
        try exclusively(ifMatch) { () throws(Problem) in
            guard let goal = journal.history.entry(number) else { throw gone(number) }
            return try accept(try withLivingCertificates(goal.state), .restore, author, restores: number)
        }
    }

    package func planRestore(_ number: UInt64, ifMatch: UInt64? = nil) throws(Problem) -> Plan {
        try exclusively(ifMatch) { () throws(Problem) in
            guard let goal = journal.history.entry(number) else { throw gone(number) }
            return try planned(try withLivingCertificates(goal.state).numbered(after: state), over: routes)
        }
    }

    func gone(_ number: UInt64) -> Problem {
        let kept = journal.history.entries.first?.revision.number ?? current
        return Problem(
            .goneRevision, "revision \(number) is not kept", hint: "kept are \(kept) to \(current); see /revisions", revision: current)
    }

    /// A problem of the whole state as one of the body that asked for the change.
    private func located<T>(_ change: StateChange, _ next: ProxyState, _ body: () throws(Problem) -> T) throws(Problem) -> T {
        do { return try body() } catch { throw change.located(error, next, after: state) }
    }

    func exclusively<T>(_ ifMatch: UInt64?, _ body: () throws(Problem) -> T) throws(Problem) -> T {
        try changing.withLock { (_) throws(Problem) in
            if isStopping { throw Problem(.stopping, "the server is stopping") }
            if let ifMatch, ifMatch != current {
                throw Problem(
                    .lostRace, "the revision is \(current), not \(ifMatch)", hint: "read the state again and decide anew", revision: current)
            }
            return try body()
        }
    }

    /// A state that is like the one that runs makes no revision.
    func accept(
        _ goal: ProxyState, _ kind: Revision.Kind, _ author: Author, previous: UInt64?? = nil, restores: UInt64? = nil
    ) throws(Problem) -> Accepted {
        // A change has numbered its servers already.
        let next = kind == .change ? goal : goal.numbered(after: state)
        if next == state {
            return Accepted(revision: current, previous: current, changed: false, summary: noChange, reason: author.reason)
        }
        let overridden = try claims.overridden(from: state, to: next, author, current)
        let accepted = try commit(next, kind, author, previous: previous ?? current, restores: restores)
        claims.note(overridden, accepted)
        return accepted
    }

    @discardableResult
    func commit(
        _ next: ProxyState, _ kind: Revision.Kind, _ author: Author, summary: String? = nil, previous: UInt64?? = nil,
        fileState: ProxyState? = nil, restores: UInt64? = nil
    ) throws(Problem) -> Accepted {
        try keepFirst()
        let acceptedNs = clock.monotonicNs()
        let before = current
        let number = journal.nextNumber
        let snapshot = try pools.prepare(next, over: routes, publication(number, isNew: true))
        // Where nothing is to be kept, nothing stands between the change and the workers.
        if journal.isOff { present(next, snapshot) }
        let said = summary ?? AdminAPI.summary(from: state, to: next)
        let revision = Revision(
            number: number, kind: kind, atMs: clock.realtimeMs(), who: author.who, reason: author.reason, summary: said, restores: restores,
            previous: previous ?? (before == 0 ? nil : before))
        do throws(Problem) {
            try journaled { () throws(JournalFailure) in try journal.append(revision, state: next, fileState: fileState) }
        } catch {
            pools.drop()
            throw error
        }
        pools.keep(next)
        if !journal.isOff { present(next, snapshot) }
        enter(snapshot, acceptedNs: acceptedNs, revision)
        let hasOtherCertificates = state.certificates != next.certificates
        state = next
        if hasOtherCertificates {
            forgetCertificates()
            if kind != .reload { lookAtCertificates(isFresh: false) }
        }
        for name in holds.keys where next.splits[name] == nil { holds[name] = nil }
        if let fileState { self.fileState = fileState }
        events.emit(.revision, revision: number, subject: "", text: said)
        return Accepted(revision: number, previous: before, changed: true, summary: said, reason: author.reason)
    }

    func enter(_ snapshot: Snapshot, acceptedNs: UInt64, _ revision: Revision) {
        current = revision.number
        for warning in pools.takeWarnings() { events.warn(warning) }
        ledger.open(revision, snapshot.accounts, acceptedNs: acceptedNs)
    }

    /// Shows another state. A server that must pass a check first is told to the workers before it is shown to them.
    func present(_ next: ProxyState, _ snapshot: Snapshot) {
        let freed = health.adopt(
            PoolChange(
                state: next, matches: routes.matches, tls: routes.checkTLS, definitions: snapshot.upstreams, before: publisher?.current.upstreams,
                nowMs: nowMs))
        forgetFailures(ofWhatComes: next, snapshot)
        show(snapshot)
        for counters in freed { counters.setHealth(.unwatched, nowMs: nowMs) }
    }

    /// What failed where nobody is sent was another release, or the same one before it was mended: a variant that gets its first share, and a
    /// server that is taken into service, begin without that. Else a rollout would count the answers of backups against the variant, and a
    /// replica that died and was replaced would be out for its `fail_timeout`.
    private func forgetFailures(ofWhatComes next: ProxyState, _ snapshot: Snapshot) {
        guard let before = publisher?.current.upstreams else { return }
        var coming = Set<String>()
        for (name, split) in next.splits {
            for (variant, weight) in split.weights where weight > 0 && state.splits[name]?.weights[variant] ?? 0 == 0 { coming.insert(variant) }
        }
        let same = Set(before.map { ObjectIdentifier($0) })
        for definition in snapshot.upstreams where !definition.settings.isImplicit {
            let isSame = same.contains(ObjectIdentifier(definition))
            if isSame, coming.isEmpty { continue }
            let name = definition.settings.name.string
            let all = coming.contains(name)
            if isSame, !all { continue }
            let out = all ? [] : Set((state.upstreams[name]?.servers ?? []).filter { !$0.isInService }.map(\.server))
            if !all, out.isEmpty { continue }
            let servers = Set((next.upstreams[name]?.servers ?? []).filter { $0.isInService && out.contains($0.server) }.map(\.server))
            for i in definition.peers.indices where all || servers.contains(definition.settings.peers[i].name.string) {
                definition.peers[i].counters.forgetFailures()
            }
        }
    }

    /// From here on no exchange begins under an older snapshot. A worker that sleeps is woken, or it would hold the old one for ever.
    func show(_ snapshot: Snapshot) {
        guard let publisher else {
            firstSnapshot = snapshot
            return
        }
        publisher.publish(snapshot)
        // A worker that shares this processor has requests to begin under it, and what is left here is paperwork.
        sched_yield()
        owesWake = true
        if !wakesLater { wakeWorkers() }
    }

    /// Until `wakeNow` no worker that sleeps is woken. It serves by the newest snapshot as soon as it begins anything, woken or not.
    func wakeLater() { changing.withLock { _ in wakesLater = true } }

    func wakeNow() {
        changing.withLock { _ in
            wakesLater = false
            wakeWorkers()
        }
    }

    private func wakeWorkers() {
        if !owesWake { return }
        owesWake = false
        for worker in workers { worker.mailbox.post(.adoptSnapshot) }
    }

    func publication(_ revision: UInt64, isNew: Bool = false) -> PoolBuilder.Publication {
        serial += 1
        let accounts = isNew ? nil : ledger.accounts(of: revision)
        var publication = PoolBuilder.Publication(
            revision: revision, serial: serial, accounts: accounts ?? (0..<workerCount).map { _ in RevisionAccount() }, holds: holds,
            nowMs: publisher == nil ? nil : nowMs)
        publication.watches = claims.watches
        return publication
    }

    func journaled(_ body: () throws(JournalFailure) -> Void) throws(Problem) {
        do throws(JournalFailure) { try body() } catch {
            throw Problem(
                .journalFailed, error.description, hint: "nothing has changed; make room or repair the folder of `state`, then try again",
                revision: current)
        }
        for warning in journal.takeWarnings() { events.warn(warning) }
    }

    /// - Throws: `lost-race` when the revision is another; `stopping`.
    package func expect(_ ifMatch: UInt64?) throws(Problem) { try exclusively(ifMatch) { () throws(Problem) in } }
}

extension ServerState {
    /// New requests may be sent to it.
    fileprivate var isInService: Bool { !down && !drain && weight > 0 }
}
