// The rules that hold for every run of the engine, whatever happened in it: each request ends once and is logged once, counters
// balance, nothing is left over, and both sides' books agree.
// Called by `EngineRun` when the workers have stopped. It reads and changes nothing.

import AdminAPI
import Engine
import Simulation

extension EngineRun {
    /// What does not add up, in words.
    func audit() -> [String] {
        let ledger = Ledger(
            clients: clients, upstreams: upstreams, attemptsMax: scenario.attemptsMax,
            attemptsWithBodyMax: scenario.attemptsWithBodyMax)
        // A tunnel has no framing: when it breaks, nobody can tell how much was to come.
        let books = ledger.problems.filter { line in
            scenario.isPerfect || !clients.flatMap(\.records).contains { $0.status == 101 && line.contains(" \($0.id):") }
        }
        return books + proxy.leftovers() + proxy.unbalanced() + badLog() + imperfections() + unanswered() + cutByStop() + strays()
            + proxy.badReceipts() + staleRequests()
    }

    private func badLog() -> [String] {
        if scenario.mayLoseLines && proxy.lostLines > 0 { return [] }
        var problems: [String] = []
        let begun = proxy.workers.reduce(0) { $0 + $1.counters.values.requests }
        let lines = proxy.accessLines
        if lines.count != Int(begun) { problems.append("\(begun) requests began and \(lines.count) are in the access log") }
        var statuses: [Substring: [Substring]] = [:]
        for line in lines {
            let words = line.split(separator: " ")
            if words.count >= 2, words[0] != "-" { statuses[words[0], default: []].append(words[1]) }
        }
        for client in clients {
            for record in client.records {
                let logged = statuses[Substring(record.id)] ?? []
                if logged.count > 1 { problems.append("\(record.id) is logged \(logged.count) times") }
                let wasSeen = upstreams.contains { !$0.seen(record.id).isEmpty }
                if logged.isEmpty, wasSeen || record.outcome == .whole { problems.append("\(record.id) is not logged") }
                if record.outcome == .whole, let one = logged.first, one != "\(record.status)" {
                    problems.append("\(record.id) is logged with \(one), its client saw \(record.status)")
                }
            }
        }
        return problems
    }

    /// A request that begins after a change was acknowledged is served by it or a later one, and by a variant and a server that have weight in it.
    private func staleRequests() -> [String] {
        var problems: [String] = []
        var lines: [Substring: [Substring]] = [:]
        for line in proxy.accessLines {
            let words = line.split(separator: " ")
            if words.count >= 6 { lines[words[0]] = words }
        }
        for record in clients.flatMap(\.records) {
            guard let words = lines[Substring(record.id)], let revision = UInt64(words[3]) else { continue }
            if let last = acknowledged.last(where: { $0.atNs < record.startedNs }), revision < last.revision {
                problems.append("\(record.id) began after revision \(last.revision) was acknowledged and was served by \(revision)")
            }
            guard words[4] != "-", let state = try? proxy.controller.revision(revision).state else { continue }
            let variant = String(words[4])
            if !state.splits.values.contains(where: { ($0.weights[variant] ?? 0) > 0 }) {
                problems.append("\(record.id) got variant \(variant), which has no weight in revision \(revision)")
            }
            let servers = state.upstreams[variant]?.servers.filter { !$0.down && !$0.drain && $0.weight > 0 }.map(\.server) ?? []
            for address in words[5...].map({ $0.hasSuffix(",") ? String($0.dropLast()) : String($0) }) where address != variant && address != "-" {
                if !servers.contains(address) { problems.append("\(record.id) went to \(address), which revision \(revision) does not offer") }
            }
        }
        return problems
    }

    private func imperfections() -> [String] {
        if !scenario.isPerfect { return [] }
        return clients.flatMap(\.records).filter { record in
            if record.outcome == .whole, record.status == 101 { return record.tunnelBytes != tunnels[record.id] }
            return record.outcome != .whole || record.head?.field("x-upstream") == nil
        }.map { "\($0.id) ended \($0.outcome) with \($0.status)" }
    }

    private func unanswered() -> [String] {
        if !scenario.answersAll { return [] }
        return clients.flatMap(\.records).filter { record in
            record.outcome != .whole && !([.cut, .reset].contains(record.outcome) && record.head != nil)
        }.map { "\($0.id) got no answer: \($0.outcome) with \($0.status)" }
    }

    /// After a graceful stop whatever had reached an upstream is finished.
    private func cutByStop() -> [String] {
        guard stoppedAtNs != nil, scenario.isPerfectWhenStopped else { return [] }
        return clients.flatMap(\.records).filter { record in
            record.outcome != .whole && upstreams.contains { !$0.seen(record.id).isEmpty }
        }.map { "\($0.id) was in flight and ended \($0.outcome) with \($0.status)" }
    }

    /// A request that begins after a change is served by the new peers and by no others.
    private func strays() -> [String] {
        var problems: [String] = []
        for record in clients.flatMap(\.records) where record.connection >= 0 {
            guard let change = changes.last(where: { $0.atNs < record.startedNs }) else { continue }
            for (i, upstream) in upstreams.enumerated() where !upstream.seen(record.id).isEmpty {
                // A later change may have come before the request arrived.
                let mine = change.peers.contains(i) || changes.contains { $0.atNs >= record.startedNs && $0.peers.contains(i) }
                if mine { continue }
                problems.append("\(record.id) began after the change to \(change.peers) and went to \(upstream.name)")
            }
        }
        return problems
    }
}

// What must hold whoever the peers are.
extension SimulatedProxy {
    func leftovers() -> [String] {
        var problems: [String] = []
        for (i, worker) in workers.enumerated() {
            var accounts = worker.accounts
            // The timer of worker_shutdown_timeout lives as long as its worker.
            if process.shutdownTimeoutMs != nil { accounts.timers -= 1 }
            if accounts != WorkerAccounts() { problems.append("worker \(i) has left \(accounts)") }
        }
        for row in rows where row.counters.active != 0 {
            problems.append("\(row.name) counts \(row.counters.active) active")
        }
        for row in rows {
            let pool = row.counters.pool
            let counts = [pool.active, pool.pending, pool.retries]
            if counts != [0, 0, 0] { problems.append("the upstream of \(row.name) counts \(counts) active, pending and tried again") }
        }
        for row in rows where row.counters.tunnels != 0 { problems.append("\(row.name) counts \(row.counters.tunnels) tunnels") }
        let zones = publisher.current.root.limitZones
        // Requests leave their traces in zones of rates; connections leave none.
        for i in 0..<zones.count where zones[i].isOfConnections && zones[i].keyCount != 0 {
            problems.append("zone \(i) still counts connections of \(zones[i].keyCount) keys")
        }
        return problems
    }

    func unbalanced() -> [String] {
        var problems: [String] = []
        for (i, worker) in workers.enumerated() {
            let counters = worker.counters.values
            let ended = counters.completed + counters.abortedByClient + counters.failed
            if counters.requests != ended {
                problems.append(
                    "worker \(i) began \(counters.requests) requests and ended \(counters.completed)"
                        + " + \(counters.abortedByClient) + \(counters.failed)")
            }
            let statuses = (0..<6).reduce(0) { $0 + counters.statuses[$1] }
            if statuses != ended { problems.append("worker \(i) counts \(statuses) statuses of \(ended) requests") }
            if counters.acceptedConnections != counters.closedConnections {
                problems.append(
                    "worker \(i) accepted \(counters.acceptedConnections) connections and closed \(counters.closedConnections)")
            }
        }
        return problems
    }

    /// The receipts of all revisions balance, and together they are the workers' own counts.
    func badReceipts() -> [String] {
        var problems: [String] = []
        var total = RequestAccount()
        var closed: UInt64 = 0
        for revision in controller.revisions(limit: .max) {
            guard let receipt = try? controller.receipt(revision.number) else {
                problems.append("revision \(revision.number) has no receipt")
                continue
            }
            if !receipt.balances { problems.append("the receipt of revision \(revision.number) does not balance: \(receipt)") }
            if receipt.after.inFlight + receipt.carried.inFlight > 0 { problems.append("at the end revision \(revision.number) has \(receipt)") }
            total.started += receipt.after.started
            total.completed += receipt.after.completed
            total.abortedByClient += receipt.after.abortedByClient
            total.failedByUpstream += receipt.after.failedByUpstream
            total.failedByProxy += receipt.after.failedByProxy
            total.moved += receipt.after.moved
            closed += receipt.closedByClient + receipt.closedByProxy
        }
        let begun = workers.reduce(0) { $0 + $1.counters.values.requests }
        if total.started - total.moved != begun { problems.append("\(begun) requests began, the receipts count \(total)") }
        let gone = workers.reduce(0) { $0 + $1.counters.values.closedConnections }
        if closed != gone { problems.append("\(gone) connections were closed, the receipts count \(closed)") }
        return problems
    }
}
