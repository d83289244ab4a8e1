// Certificates that are replaced while the proxy runs: changes like any other, with their history and their way back.
// Called by the admin server. The pair is durable before the change is, and shown by every handshake that begins after the answer.

import AdminAPI
import Engine

extension Controller {
    // MARK: Questions

    /// Those that servers show, sorted by name, and the revision.
    package var shownCertificates: (list: [CertificateInfo], revision: UInt64) {
        changing.withLock { _ in (routes.certificates.entries.map(info), current) }
    }

    /// - Throws: `not-found`.
    package func shownCertificate(_ name: String) throws(Problem) -> (certificate: CertificateInfo, revision: UInt64) {
        try changing.withLock { (_) throws(Problem) in (info(try routes.certificates.expect(name)), current) }
    }

    var hasCertificates: Bool { changing.withLock { _ in !routes.certificates.entries.isEmpty } }

    var certificateStatus: [CertificateStatus] {
        let nowMs = clock.realtimeMs()
        return routes.certificates.entries.map { entry in
            CertificateStatus(name: entry.name, notAfterMs: shown(entry).first.notAfterMs, nowMs: nowMs, source: source(entry))
        }
    }

    private func source(_ entry: CertificateTable.Entry) -> CertificateInfo.Source { state.certificates[entry.name] == nil ? .file : .runTime }

    /// What clients are shown for the file's.
    private func shown(_ entry: CertificateTable.Entry) -> TLSCertificateChain {
        state.certificates[entry.name].flatMap { pools.certificates.pair($0.chain)?.chain } ?? entry.chain
    }

    private func info(_ entry: CertificateTable.Entry) -> CertificateInfo {
        let chain = shown(entry)
        let nowMs = clock.realtimeMs()
        var info = CertificateInfo(
            name: entry.name,
            chain: chain.certificates.map { one in
                CertificateInfo.Link(
                    subject: one.subject, issuer: one.issuer, serial: one.serial, fingerprint: one.fingerprint, notBeforeMs: one.notBeforeMs,
                    notAfterMs: one.notAfterMs)
            })
        info.source = source(entry)
        info.file = entry.path
        info.names = chain.first.names
        info.keyType = chain.first.keyType
        info.daysLeft = CertificateInfo.days(from: nowMs, to: chain.first.notAfterMs)
        info.servers = entry.servers
        info.warnings = entry.remarks(on: chain, nowMs: nowMs)
        return info
    }

    // MARK: Changes

    /// Shows another pair instead of the file's.
    /// - Returns: what was accepted, and what is odd about the pair.
    /// - Throws: `not-found`, `bad-certificate`: it has expired, the key is another's, OpenSSL refuses it; nothing has changed then.
    package func putCertificate(
        _ name: String, _ body: CertificateWrite, by author: Author, ifMatch: UInt64? = nil
    ) throws(Problem) -> (accepted: Accepted, warnings: [String]) {
        try exclusively(ifMatch) { () throws(Problem) in
            let wanted = try wanted(name, body)
            let isNew = wanted.pair.map { pools.certificates.offer($0) } ?? false
            do throws(Problem) {
                if let pair = wanted.pair, wanted.state != state {
                    // What OpenSSL refuses needs no room on the disk.
                    try pools.tryBuild(wanted.state, over: routes)
                    try journaled { () throws(JournalFailure) in try pools.certificates.keep(pair.chain.digest) }
                }
                let accepted = try accept(wanted.state, .change, author)
                return (accepted, wanted.warnings)
            } catch {
                if isNew, let pair = wanted.pair { pools.certificates.withdraw(pair.chain.digest) }
                throw error
            }
        }
    }

    package func planCertificate(_ name: String, _ body: CertificateWrite, ifMatch: UInt64? = nil) throws(Problem) -> Plan {
        try exclusively(ifMatch) { () throws(Problem) in
            let wanted = try wanted(name, body)
            let isNew = wanted.pair.map { pools.certificates.offer($0) } ?? false
            defer { if isNew, let pair = wanted.pair { pools.certificates.withdraw(pair.chain.digest) } }
            var plan = try planned(wanted.state, over: routes)
            plan.warnings += wanted.warnings
            return plan
        }
    }

    /// Back to the file's, as the last reload found it.
    package func deleteCertificate(_ name: String, by author: Author, ifMatch: UInt64? = nil) throws(Problem) -> (accepted: Accepted, warnings: [String]) {
        try exclusively(ifMatch) { () throws(Problem) in
            let entry = try routes.certificates.expect(name)
            let next = try StateChange.deleteCertificate(entry.name).applied(to: state)
            return (try accept(next, .change, author), entry.remarks(on: entry.chain, nowMs: clock.realtimeMs()))
        }
    }

    package func planDeleteCertificate(_ name: String, ifMatch: UInt64? = nil) throws(Problem) -> Plan {
        try exclusively(ifMatch) { () throws(Problem) in
            let entry = try routes.certificates.expect(name)
            var plan = try planned(try StateChange.deleteCertificate(entry.name).applied(to: state), over: routes)
            plan.warnings += entry.remarks(on: entry.chain, nowMs: clock.realtimeMs())
            return plan
        }
    }

    /// The state with the pair; no pair: it is the file's own.
    private func wanted(_ name: String, _ body: CertificateWrite) throws(Problem) -> (state: ProxyState, pair: CertificatePair?, warnings: [String]) {
        let entry = try routes.certificates.expect(name)
        let nowMs = clock.realtimeMs()
        let pair = try CertificatePair(body, nowMs: nowMs)
        let warnings = entry.remarks(on: pair.chain, nowMs: nowMs)
        if pair.chain.digest == entry.chain.digest {
            return (try StateChange.deleteCertificate(entry.name).applied(to: state), nil, warnings)
        }
        // The same once more is no change, even if the file was changed in between.
        if let running = state.certificates[entry.name], running.chain == pair.chain.digest { return (state, nil, warnings) }
        return (try StateChange.putCertificate(entry.name, pair.state(replacing: entry.chain)).applied(to: state), pair, warnings)
    }

    // MARK: Other ways to a state

    /// A state of the history as it can be now: a certificate that has expired meanwhile does not come back.
    func withLivingCertificates(_ goal: ProxyState) throws(Problem) -> ProxyState {
        if goal.certificates == state.certificates { return goal }
        var living = goal
        let nowMs = clock.realtimeMs()
        for (name, one) in goal.certificates where state.certificates[name] != one {
            if routes.certificates.entry(named: name)?.name != name {
                living.certificates[name] = nil
            } else if one.notAfterMs <= nowMs {
                living.certificates[name] = state.certificates[name]
                events.warn("certificate \"\(name)\": the one of \(one.fingerprint.prefix(12)) has expired meanwhile and does not come back")
            } else if pools.certificates.pair(one.chain) == nil {
                throw Problem(.badCertificate, "the pair of certificate \"\(name)\" with the fingerprint \(one.fingerprint) cannot be read any more")
            }
        }
        return living
    }

    /// Files no revision has any more.
    func forgetCertificates() {
        let kept = Set(journal.history.entries.flatMap { $0.state.certificates.values.map(\.chain) })
        pools.certificates.forget(except: kept, running: Set(state.certificates.values.map(\.chain)))
    }

    /// Removes files that a crash left behind.
    /// - Parameter paths: of all files of pairs.
    package func sweepCertificates(_ paths: [String]) {
        changing.withLock { _ in
            let kept = Set(journal.history.entries.flatMap { $0.state.certificates.values.map(\.chain) })
            pools.certificates.sweep(paths.compactMap { $0.split(separator: "/").last.map(String.init) }, except: kept)
        }
    }

    // MARK: Expiry

    /// Warns of certificates that expire soon, each time once.
    /// - Parameter isFresh: everything is said again, as at a start.
    package func watchCertificates(isFresh: Bool = false) {
        changing.withLock { _ in lookAtCertificates(isFresh: isFresh) }
    }

    func lookAtCertificates(isFresh: Bool) {
        let nowMs = clock.realtimeMs()
        for entry in routes.certificates.entries {
            guard let text = certificateWatch.remark(on: entry.name, entry.path, shown(entry), nowMs: nowMs, isFresh: isFresh) else { continue }
            events.emit(.certificateExpires, revision: current, subject: entry.name, text: text)
            events.warn(text)
        }
    }
}

/// What of the certificates that were put at run time stays, when the configuration is read anew.
struct CertificateMerge {
    private(set) var staying: [String: CertificateState] = [:]
    /// For the log and the plan.
    private(set) var notes: [(name: String, text: String)] = []
    private(set) var conflicts: [(name: String, text: String)] = []

    /// - Parameters:
    ///   - running: of the state that runs, or that the journal remembers.
    ///   - table: of the file as it is now.
    init(_ running: [String: CertificateState], over table: CertificateTable, _ store: CertificateStore, nowMs: Int64, preferringFile: Bool) {
        for (name, one) in running.sorted(by: { $0.key < $1.key }) {
            guard let entry = table.entry(named: name), entry.name == name else {
                notes.append((name, "certificate \"\(name)\": the configuration names it no more; the one that was put at run time is dropped"))
                continue
            }
            let file = entry.chain
            if file.digest == one.chain { continue }
            if store.pair(one.chain) == nil {
                notes.append((name, "certificate \"\(name)\": the pair that was put at run time cannot be read; the file's is shown"))
            } else if one.notAfterMs <= nowMs, file.first.notAfterMs > nowMs {
                notes.append((name, "certificate \"\(name)\": the one that was put at run time has expired; the file's is shown"))
            } else if file.digest == one.replaces {
                staying[name] = one
            } else {
                let whose = preferringFile ? "the file's is shown" : "the one that was put at run time is shown on"
                conflicts.append((name, "certificate \"\(name)\": the file was changed since another one was put at run time; \(whose)"))
                if !preferringFile { staying[name] = one }
            }
        }
    }
}
