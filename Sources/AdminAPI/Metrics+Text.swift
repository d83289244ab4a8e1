// The text of /metrics, made of the status and of what rollouts come to: each family once, samples sorted by name.
// Called by the admin server.

extension Metrics {
    /// - Parameter serversMax: further servers are left out, and counted.
    public static func text(_ status: Status, _ rollouts: RolloutTotals, serversMax: Int = serversMax) -> [UInt8] {
        var w = MetricsWriter()
        w.add(status)
        let upstreams = status.upstreams.sorted { $0.name < $1.name }.map { ($0, MetricLabels(["upstream": $0.name])) }
        w.add(upstreams: upstreams)
        let listed = ListedServer.list(status.upstreams, most: serversMax)
        w.add(listed.servers, leftOut: listed.leftOut)
        w.add(healthOf: upstreams, listed.servers)
        w.add(splits: status.splits.sorted { $0.name < $1.name })
        w.add(rollouts)
        let certificates = status.certificates.sorted { $0.name < $1.name }.map { ($0, MetricLabels(["certificate": $0.name])) }
        w.begin(expiry)
        for (one, labels) in certificates { w.sample(labels, ms: one.notAfterMs) }
        w.begin(left)
        for (one, labels) in certificates { w.sample(labels, Int(clamping: one.secondsLeft)) }
        return w.bytes
    }
}

/// A server with its labels. One that an upstream lists twice is one: it has the same counters.
private struct ListedServer {
    var server: ServerStatus
    var labels: MetricLabels

    static func list(_ upstreams: [UpstreamStatus], most: Int) -> (servers: [ListedServer], leftOut: Int) {
        var all: [ListedServer] = []
        var leftOut = 0
        for upstream in upstreams.sorted(by: { $0.name < $1.name }) {
            var places: [String: Int] = [:]
            for server in upstream.servers {
                if let place = places[server.server] {
                    if place >= 0 { all[place].server.weight += server.weight }
                } else if all.count < most {
                    places[server.server] = all.count
                    all.append(ListedServer(server: server, labels: MetricLabels(["upstream": upstream.name, "server": server.server])))
                } else {
                    places[server.server] = -1
                    leftOut += 1
                }
            }
        }
        return (all, leftOut)
    }
}

extension MetricsWriter {
    fileprivate mutating func one(_ family: MetricFamily, _ value: Int) {
        begin(family)
        sample(nil, value)
    }

    fileprivate mutating func each<Element>(
        _ family: MetricFamily, _ elements: [(Element, MetricLabels)], _ value: (Element) -> Int?
    ) {
        begin(family)
        for (element, labels) in elements { if let value = value(element) { sample(labels, value) } }
    }

    fileprivate mutating func add(_ status: Status) {
        begin(Metrics.build)
        sample(MetricLabels(["version": status.version]), 1)
        begin(Metrics.started)
        sample(nil, ms: status.startedAtMs)
        one(Metrics.workers, status.workers)
        one(Metrics.revision, Int(clamping: status.revision))
        one(Metrics.journalFails, ["on", "off"].contains(status.journal) ? 0 : 1)
        one(Metrics.connections, Int(clamping: status.connections))
        let requests = status.requests
        one(Metrics.active, Int(clamping: requests.inFlight))
        one(Metrics.begun, Int(clamping: requests.started))
        begin(Metrics.ended)
        let outcomes = [
            ("aborted_by_client", requests.abortedByClient), ("completed", requests.completed), ("failed_by_proxy", requests.failedByProxy),
            ("failed_by_upstream", requests.failedByUpstream), ("moved", requests.moved),
        ]
        for (outcome, count) in outcomes { sample(MetricLabels(["outcome": outcome]), count) }
    }

    fileprivate mutating func add(upstreams: [(UpstreamStatus, MetricLabels)]) {
        each(Metrics.panic, upstreams) { $0.isPanicking ? 1 : 0 }
        each(Metrics.panics, upstreams) { $0.panics }
        each(Metrics.ejections, upstreams) { $0.ejections }
        each(Metrics.retries, upstreams) { $0.retries }
        each(Metrics.retriesRefused, upstreams) { $0.retriesRefused }
        each(Metrics.requestsRefused, upstreams) { $0.requestsRefused }
        each(Metrics.queued, upstreams) { $0.queue?.size }
        each(Metrics.queueMax, upstreams) { $0.queue?.sizeMax }
        each(Metrics.queueOverflows, upstreams) { $0.queue?.overflows }
        each(Metrics.queueTimeouts, upstreams) { $0.queue?.timeouts }
    }

    fileprivate mutating func add(_ listed: [ListedServer], leftOut: Int) {
        let servers = listed.map { ($0.server, $0.labels) }
        each(Metrics.serverRequests, servers) { $0.requests }
        begin(Metrics.serverAnswers)
        for (server, labels) in servers {
            for (name, count) in zip(ServerStatus.classes, server.answers) { sample(labels.with("class", name), count) }
        }
        each(Metrics.serverFailures, servers) { $0.failures }
        each(Metrics.serverActive, servers) { max(0, $0.inFlight) }
        each(Metrics.serverWeight, servers) { $0.weight }
        each(Metrics.serverUp, servers) { ["up", "starting"].contains($0.state) && $0.weight > 0 ? 1 : 0 }
        begin(Metrics.serverState)
        for (server, labels) in servers { sample(labels.with("state", server.state), 1) }
        one(Metrics.serversLeftOut, leftOut)
    }

    fileprivate mutating func add(healthOf upstreams: [(UpstreamStatus, MetricLabels)], _ listed: [ListedServer]) {
        each(Metrics.healthy, upstreams) { $0.health?.healthy }
        each(Metrics.checked, upstreams) { $0.health?.total }
        let gates = upstreams.flatMap { upstream, labels in
            (upstream.health?.gates ?? []).map { ($0, labels.with("check", $0.name)) }
        }
        begin(Metrics.gateServers)
        for (gate, labels) in gates {
            sample(labels.with("state", "checking"), gate.checking)
            sample(labels.with("state", "failing"), gate.failing)
            sample(labels.with("state", "passing"), gate.passing)
        }
        each(Metrics.gateRounds, gates) { $0.failedRounds }
        let servers = listed.map { ($0.server, $0.labels) }
        each(Metrics.checks, servers) { $0.health?.checks }
        each(Metrics.checksFailed, servers) { $0.health?.fails }
        each(Metrics.falls, servers) { $0.health?.unhealthy }
    }

    fileprivate mutating func add(splits: [SplitStatus]) {
        begin(Metrics.weight)
        for split in splits {
            for (variant, weight) in split.weights.sorted(by: { $0.key < $1.key }) {
                sample(MetricLabels(["split": split.name, "variant": variant]), weight)
            }
        }
        let labelled = splits.map { ($0, MetricLabels(["split": $0.name])) }
        each(Metrics.held, labelled) { $0.isHeld ? 1 : 0 }
        each(Metrics.holding, labelled) { $0.holding }
    }

    fileprivate mutating func add(_ rollouts: RolloutTotals) {
        for (family, counts) in [
            (Metrics.byPhase, rollouts.phases), (Metrics.verdicts, rollouts.verdicts), (Metrics.findings, rollouts.findings),
        ] {
            begin(family)
            let label = family.labels.first ?? ""
            for (word, count) in counts.sorted(by: { $0.key < $1.key }) { sample(MetricLabels([label: word]), count) }
        }
        begin(Metrics.share)
        for share in rollouts.shares.sorted(by: { ($0.split, $0.variant) < ($1.split, $1.variant) }) {
            sample(MetricLabels(["split": share.split, "variant": share.variant]), share.percent)
        }
    }
}
