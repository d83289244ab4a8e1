// What the configuration says of pools and splits, merged with what was changed at run time: at the start and at reloads.
// Called by the controller's init and the supervisor.

import AdminAPI
import Engine

/// The file beside what runs.
struct FileMerge {
    let merged: ProxyState
    let conflicts: [MergeConflict]
    /// What the next file is compared with: this one, but as it was before wherever a conflict is not settled.
    let nextBase: ProxyState
    let prefersFile: Bool

    init(base: ProxyState, file: ProxyState, running: ProxyState, preferringFile: Bool) {
        (merged, conflicts) = merge(base: base, file: file, running: running, preferringFile: preferringFile)
        nextBase = preferringFile ? file : mergeBase(file: file, base: base, conflicts: conflicts)
        prefersFile = preferringFile
    }

    var whoseValueStays: String { prefersFile ? "the file's value is taken" : "the running value stays" }
}

/// A start that could not be written to the journal.
struct Unkept {
    /// Nil: there was nothing to be told but the file.
    var revision: Revision?
    var fileState: ProxyState
}

extension ProxyState {
    /// Rules that stand in a health check are those of a block of the file when they say the same, as after an export: no conflict.
    fileprivate mutating func takeNames(of file: BuiltConfiguration) {
        for (name, upstream) in upstreams {
            guard let theirs = file.state.upstreams[name]?.healthChecks, theirs.count == upstream.healthChecks.count else { continue }
            for (i, check) in upstream.healthChecks.enumerated() {
                guard let rules = check.rules, let block = theirs[i].match.flatMap({ file.routes.matches[$0] }),
                    block.lines == rules.lines.map(\.words)
                else { continue }
                upstreams[name]?.healthChecks[i].rules = nil
                upstreams[name]?.healthChecks[i].match = theirs[i].match
            }
        }
    }
}

extension Controller {
    // MARK: Start

    /// What the journal remembers, merged with the file. A journal that cannot be written to, as on a full disk, keeps nobody from serving.
    func restore(_ built: BuiltConfiguration, _ replay: Replay?) throws(Problem) {
        guard let replay, let remembered = replay.current, let last = journal.history.current else {
            fileState = built.state
            return try begin(built.state.numbered(after: ProxyState()), .start, summary: "start")
        }
        let certificates = certificatesThatStay(remembered, built.routes, preferringFile: false)
        var running = remembered
        running.certificates = certificates.staying
        running.takeNames(of: built)
        let file = FileMerge(base: replay.fileState ?? remembered, file: built.state, running: running, preferringFile: false)
        current = last.revision.number
        state = remembered
        fileState = file.nextBase
        if file.merged == remembered {
            let snapshot = try buildFirst(state, publication(current))
            if replay.fileState != fileState { keepIfPossible(Unkept(revision: nil, fileState: fileState)) }
            present(state, snapshot)
            enter(snapshot, acceptedNs: clock.monotonicNs(), last.revision)
        } else {
            try begin(file.merged, .reload, summary: AdminAPI.summary(from: remembered, to: file.merged))
        }
        _ = announce(file) + announce(certificates)
    }

    func certificatesThatStay(_ state: ProxyState, _ routes: Routes, preferringFile: Bool) -> CertificateMerge {
        CertificateMerge(
            state.certificates, over: routes.certificates, pools.certificates, nowMs: clock.realtimeMs(), preferringFile: preferringFile)
    }

    /// A revision that runs whether or not it can be kept: nobody has been told of it.
    private func begin(_ first: ProxyState, _ kind: Revision.Kind, summary: String) throws(Problem) {
        let acceptedNs = clock.monotonicNs()
        let number = journal.nextNumber
        let snapshot = try buildFirst(first, publication(number, isNew: true))
        let revision = Revision(
            number: number, kind: kind, atMs: clock.realtimeMs(), who: "configuration", reason: "", summary: summary,
            previous: current == 0 ? nil : current)
        state = first
        keepIfPossible(Unkept(revision: revision, fileState: fileState))
        present(first, snapshot)
        enter(snapshot, acceptedNs: acceptedNs, revision)
        events.emit(.revision, revision: number, subject: "", text: summary)
    }

    private func buildFirst(_ state: ProxyState, _ publication: PoolBuilder.Publication) throws(Problem) -> Snapshot {
        var publication = publication
        publication.isStart = true
        return try pools.build(state, over: routes, publication)
    }

    private func keepIfPossible(_ start: Unkept) {
        unkept = start
        do throws(Problem) { try keep(start) } catch {
            events.warn("\(error.detail): the proxy serves by what the journal holds and the configuration says; changes are refused while this lasts")
        }
    }

    private func keep(_ start: Unkept) throws(Problem) {
        try journaled { () throws(JournalFailure) in
            if let revision = start.revision {
                try journal.append(revision, state: state, fileState: start.fileState)
            } else {
                try journal.append(fileState: start.fileState)
            }
        }
        unkept = nil
    }

    /// What a start could not write comes before any other change.
    func keepFirst() throws(Problem) {
        guard let unkept else { return }
        try keep(unkept)
        events.warn("the journal can be written again: changes are accepted")
    }

    // MARK: Reload

    /// The configuration was read anew: its routes take over, and its pools and splits are merged with what was changed at run time.
    package func reload(_ built: BuiltConfiguration, by author: Author, preferringFile: Bool = false) throws(Problem) -> Accepted {
        try exclusively(nil) { () throws(Problem) in
            let certificates = certificatesThatStay(state, built.routes, preferringFile: preferringFile)
            var running = state
            running.certificates = certificates.staying
            running.takeNames(of: built)
            let file = FileMerge(base: fileState, file: built.state, running: running, preferringFile: preferringFile)
            let (before, names) = (routes, pools.names)
            routes = built.routes
            // Other names are asked for anew.
            pools.names = HostNames(built.addresses)
            do throws(Problem) {
                var accepted = try commit(file.merged, .reload, author, summary: reloadSummary(file.merged), fileState: file.nextBase)
                accepted.warnings = announce(file) + announce(certificates)
                lookAtCertificates(isFresh: true)
                return accepted
            } catch {
                (routes, pools.names) = (before, names)
                throw error
            }
        }
    }

    package func planReload(_ built: BuiltConfiguration, preferringFile: Bool, ifMatch: UInt64? = nil) throws(Problem) -> Plan {
        try exclusively(ifMatch) { () throws(Problem) in
            let certificates = certificatesThatStay(state, built.routes, preferringFile: preferringFile)
            var running = state
            running.certificates = certificates.staying
            running.takeNames(of: built)
            let file = FileMerge(base: fileState, file: built.state, running: running, preferringFile: preferringFile)
            var plan = try planned(file.merged, over: built.routes)
            plan.warnings += (certificates.conflicts + certificates.notes).map(\.text)
            plan.warnings += file.conflicts.map { "\($0.pointer): both the file and the running proxy changed it; \(file.whoseValueStays)" }
            return plan
        }
    }

    private func reloadSummary(_ merged: ProxyState) -> String {
        let changes = AdminAPI.summary(from: state, to: merged)
        return "configuration read anew" + (changes == noChange ? "" : ": " + changes)
    }

    /// - Returns: what was told.
    private func announce(_ certificates: CertificateMerge) -> [String] {
        for (name, text) in certificates.conflicts {
            events.emit(.conflict, revision: current, subject: name, text: text)
            events.warn(text)
        }
        for (_, text) in certificates.notes { events.warn(text) }
        return (certificates.conflicts + certificates.notes).map(\.text)
    }

    private func announce(_ file: FileMerge) -> [String] {
        file.conflicts.map { conflict in
            let text =
                "\(conflict.pointer): the file says \(conflict.inFile ?? "nothing"), the running proxy \(conflict.running ?? "nothing") "
                + "(it was \(conflict.was ?? "nothing")); \(file.whoseValueStays)"
            events.emit(.conflict, revision: current, subject: conflict.pointer, text: text)
            events.warn(text)
            return text
        }
    }
}
