// Owns how the status of the running proxy reads, and the rates between two of them.
// Called by the verb `status`. Pure: what time it is, the server says.

import AdminAPI

enum StatusText {
    static func style(_ state: String) -> Style {
        switch state {
        case "up": .green
        case "failed", "down", "unhealthy", "ejected": .red
        case "drain", "busy", "unchecked", "starting": .yellow
        default: .plain
        }
    }

    /// With `previous`, an earlier status of the same process, there are rates.
    static func lines(_ status: Status, since previous: Status? = nil, isColoured: Bool) -> [String] {
        var lines = head(status)
        if !status.splits.isEmpty { lines += [""] + splits(status).lines(isColoured: isColoured) }
        if !status.upstreams.isEmpty {
            lines += [""] + upstreams(status, Rates(from: previous, to: status)).lines(isColoured: isColoured)
        }
        let sick = health(status)
        if !sick.isEmpty { lines += [""] + sick }
        return lines
    }

    private static func head(_ status: Status) -> [String] {
        let workers = "\(status.workers) worker" + (status.workers == 1 ? "" : "s")
        let up =
            status.startedAtMs > 0 && status.nowMs >= status.startedAtMs
            ? ", up " + Words.span(ms: status.nowMs - status.startedAtMs) : ""
        let requests = status.requests
        var lines = [
            "Switchback \(Words.printable(status.version)), process \(status.processID), \(workers)\(up), "
                + "journal \(Words.printable(status.journal))",
            "Revision \(status.revision). Connections \(status.connections), requests \(requests.started): "
                + "\(requests.completed) completed, \(requests.inFlight) in flight",
        ]
        var ends: [String] = []
        if requests.abortedByClient > 0 { ends.append("\(requests.abortedByClient) aborted by clients") }
        if requests.failedByUpstream > 0 { ends.append("\(requests.failedByUpstream) failed by upstreams") }
        if requests.failedByProxy > 0 { ends.append("\(requests.failedByProxy) failed by the proxy") }
        if !ends.isEmpty { lines[1] += ", " + ends.joined(separator: ", ") }
        return lines
    }

    /// Servers that their health checks do not find well, and why: the first of each upstream.
    private static func health(_ status: Status) -> [String] {
        let shownMax = 10
        var lines: [String] = []
        for upstream in status.upstreams.sorted(by: { $0.name < $1.name }) {
            let sick = upstream.servers.compactMap { server in server.health.flatMap { $0.why == nil ? nil : ($0, server.server) } }
            for (health, server) in sick.prefix(shownMax) {
                let since = health.changedAtMs.map { $0 <= status.nowMs ? " for \(Words.span(ms: status.nowMs - $0))" : "" } ?? ""
                lines.append("\(Words.printable(upstream.name)) \(Words.printable(server)) is \(health.state.rawValue)\(since): \(Words.printable(health.why ?? ""))")
            }
            if sick.count > shownMax { lines.append("\(Words.printable(upstream.name)): and \(sick.count - shownMax) more") }
        }
        return lines
    }

    private static func splits(_ status: Status) -> Table {
        var table = Table([.left("SPLIT"), .left("VARIANT"), .right("WEIGHT"), .right("SHARE"), .left("")])
        for split in status.splits.sorted(by: { $0.name < $1.name }) {
            let weights = split.weights.sorted { $0.key < $1.key }
            let total = weights.reduce(0) { $0 &+ $1.value }
            for (i, weight) in weights.enumerated() {
                let held = i == 0 && split.isHeld ? "held, \(split.holding) waiting" : ""
                table.rows.append([
                    Cell(i == 0 ? split.name : ""), Cell(weight.key), Cell(weight.value, weight.value == 0 ? .dim : .bold),
                    Cell(Words.percent(weight.value, of: total)), Cell(held, .yellow),
                ])
            }
        }
        return table
    }

    private static func upstreams(_ status: Status, _ rates: Rates?) -> Table {
        var columns: [Column] = [
            .left("UPSTREAM"), .left("SERVER"), .right("WEIGHT"), .left("STATE"), .right("IN FLIGHT"), .right("REQUESTS"),
            .right("FAILURES"),
            .right("5XX"),
        ]
        if rates != nil { columns += [.right("REQ/S"), .right("ERR/S")] }
        var table = Table(columns)
        for upstream in status.upstreams.sorted(by: { $0.name < $1.name }) {
            if upstream.servers.isEmpty { table.rows.append([Cell(upstream.name), Cell("no servers", .red)]) }
            for (i, server) in upstream.servers.enumerated() {
                var row = [
                    Cell(i == 0 ? upstream.name : ""), Cell(server.server), Cell(server.weight),
                    Cell(server.state + (server.backup ? ", backup" : ""), style(server.state)), Cell(server.inFlight),
                    Cell(server.requests),
                    Cell(server.failures, server.failures > 0 ? .red : .plain),
                    Cell(server.errors, server.errors > 0 ? .red : .plain),
                ]
                if let rates {
                    let rate = rates.of(server, in: upstream.name)
                    let isBad = (rate?.errors ?? 0) > 0
                    row.append(Cell(rate.map { Words.fixed($0.requests, 1) } ?? "-"))
                    row.append(Cell(rate.map { Words.fixed($0.errors, 1) } ?? "-", isBad ? .red : .plain))
                }
                table.rows.append(row)
            }
        }
        return table
    }
}

/// What grew between two statuses, a second.
struct Rates {
    private let before: [String: ServerStatus]
    private let seconds: Double

    /// Nil where they cannot be compared: there is one only, or another process, or no time between them.
    init?(from previous: Status?, to status: Status) {
        guard let previous, previous.processID == status.processID, previous.startedAtMs == status.startedAtMs,
            status.nowMs > previous.nowMs
        else { return nil }
        seconds = Double(status.nowMs &- previous.nowMs) / 1000
        let servers = previous.upstreams.flatMap { upstream in upstream.servers.map { ("\(upstream.name) \($0.server)", $0) } }
        before = Dictionary(servers) { first, _ in first }
    }

    /// Failures and answers 5xx are errors. Nil for a server that was not there, or whose counters were made anew.
    func of(_ server: ServerStatus, in upstream: String) -> (requests: Double, errors: Double)? {
        guard let old = before["\(upstream) \(server.server)"], server.requests >= old.requests else { return nil }
        let errors = max(0, server.failures &- old.failures &+ server.errors &- old.errors)
        return (Double(server.requests &- old.requests) / seconds, Double(errors) / seconds)
    }
}
