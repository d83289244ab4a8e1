// The steps that replace the replicas of one upstream, a batch at a time, so that each batch can be undone by itself.
// Called by StepBuilder. With `stop-first` a replica leaves, is replaced and returns; with `start-first` its successor comes first.
import AdminAPI

extension StepBuilder {
    mutating func addReplacement(_ service: ServicePlan) throws(Problem) {
        guard case .replicas(let upstream, let replicas, let rolling) = service.kind else { return }
        let at = JSONPointer(["services", service.name])
        guard let servers = facts.servers[upstream] else {
            throw Problem(.notFound, "the proxy has no upstream \(upstream)", pointer: at.appending("upstream").text)
        }
        guard let start = service.start, let health = service.health else {
            throw Problem(.missingField, "found no start and health of replicas that are to be replaced", pointer: at.text)
        }
        if rolling.order == .stopFirst, rolling.parallelism >= replicas.count {
            throw Problem(
                .outOfRange,
                "found \(rolling.parallelism) at a time of \(replicas.count) replicas: nobody would be left to serve",
                hint: "order: start-first brings the new one first.",
                pointer: at.appending("rolling").appending("parallelism").text)
        }
        let first = (steps.compactMap(\.batch).max() ?? -1) + 1
        let count = (replicas.count + rolling.parallelism - 1) / rolling.parallelism
        for batch in 0..<count {
            let some = replicas[(batch * rolling.parallelism)..<min(replicas.count, (batch + 1) * rolling.parallelism)]
            let begin = steps.count
            var builder = Replacement(service: service, upstream: upstream, start: start, health: health, rolling: rolling)
            for replica in some { builder.pairs.append(try pair(replica, upstream, servers, at)) }
            try rolling.order == .stopFirst ? addStopFirst(builder) : addStartFirst(builder)
            if rolling.delayMs > 0, batch < count - 1 {
                steps.append(DeployStep(.replace, service: service.name, "pause before the next", .pause(ms: rolling.delayMs)))
            }
            for i in begin..<steps.count { steps[i].batch = first + batch }
        }
    }

    /// Where the replica runs, and where its successor will.
    private func pair(
        _ replica: ReplicaPlan, _ upstream: String, _ servers: [String], _ at: JSONPointer
    ) throws(Problem) -> (old: Place, new: Place) {
        let places = replica.slots.enumerated().map { i, slot in
            Place(replica: replica.name, slot: i, server: slot.server, upstream: upstream, env: slot.env)
        }
        let present = places.filter { servers.contains($0.server) }
        guard let old = present.first, present.count == 1 else {
            throw Problem(
                .notFound,
                present.isEmpty
                    ? "the upstream \(upstream) has no server \(replica.slots.map(\.server).joined(separator: " or "))"
                    : "the upstream \(upstream) has both servers of \(replica.name)",
                pointer: at.appending("replicas").appending(replica.name).text)
        }
        return (old, places.first { $0.slot != old.slot } ?? old)
    }

    private func step(_ r: Replacement, _ title: String, _ work: Work, undo: [Work] = [], carriesTraffic: Bool = false)
        -> DeployStep
    {
        var step = DeployStep(.replace, service: r.service.name, title, work)
        step.undo = undo
        step.carriesTraffic = carriesTraffic
        return step
    }

    private func idle(_ r: Replacement, _ place: Place) -> Work {
        var work = IdleWork(upstreams: [r.upstream], timeoutMs: r.service.drainTimeoutMs)
        work.servers = [place.server]
        return .idle(work)
    }

    private func server(_ r: Replacement, _ change: ServerWork.Change, _ place: Place) -> Work {
        .server(ServerWork(change, place.server, of: r.upstream))
    }

    private func health(_ r: Replacement, _ places: [Place], commit: String? = nil) throws(Problem) -> Work {
        .probe(try probeWork(r.health, r.service, places, .health, commit: commit))
    }

    /// The old version again, and well.
    private func restart(_ r: Replacement, _ place: Place) throws(Problem) -> [Work] {
        [
            try startWork(r.start, r.service, place, commitBefore(r.service)),
            try health(r, [place], commit: commitBefore(r.service)),
        ]
    }

    private mutating func addStopFirst(_ r: Replacement) throws(Problem) {
        let out = steps.count
        for (old, _) in r.pairs {
            steps.append(step(r, "take \(old.replica) out", server(r, .down, old), undo: [server(r, .up, old)]))
        }
        for (old, _) in r.pairs { steps.append(step(r, "wait for the last requests of \(old.replica)", idle(r, old))) }
        for (i, (old, _)) in r.pairs.enumerated() {
            steps[out + i].undoNeeds = steps.count
            steps.append(step(r, "stop \(old.replica)", .end(try endWork(r.service, old)), undo: try restart(r, old)))
        }
        for (_, new) in r.pairs {
            let work = try startWork(r.start, r.service, new, commit(r.service))
            steps.append(step(r, "start \(new.replica)", work, undo: [.end(try endWork(r.service, new))]))
        }
        steps.append(step(r, "wait until \(r.names) is well", try health(r, r.pairs.map(\.new))))
        for (_, new) in r.pairs {
            let undo = [server(r, .down, new), idle(r, new)]
            steps.append(step(r, "put \(new.replica) in", server(r, .up, new), undo: undo, carriesTraffic: true))
        }
        try addMonitor(r)
    }

    private mutating func addStartFirst(_ r: Replacement) throws(Problem) {
        for (_, new) in r.pairs {
            let end = try endWork(r.service, new)
            steps.append(step(r, "end what is left at \(new.server)", .end(end)))
            let work = try startWork(r.start, r.service, new, commit(r.service))
            steps.append(step(r, "start \(new.replica) at \(new.server)", work, undo: [.end(end)]))
        }
        steps.append(step(r, "wait until \(r.names) is well", try health(r, r.pairs.map(\.new))))
        for (_, new) in r.pairs {
            let undo = [server(r, .down, new), idle(r, new), server(r, .remove, new)]
            steps.append(step(r, "put \(new.server) in", server(r, .add, new), undo: undo, carriesTraffic: true))
        }
        try addMonitor(r)
        var out: [Int] = []
        for (old, _) in r.pairs {
            out.append(steps.count)
            steps.append(step(r, "take \(old.server) out", server(r, .down, old), undo: [server(r, .up, old)]))
            steps.append(step(r, "wait for the last requests of \(old.server)", idle(r, old)))
        }
        for (i, (old, _)) in r.pairs.enumerated() {
            steps[out[i]].undoNeeds = steps.count
            steps.append(
                step(r, "stop \(old.replica) at \(old.server)", .end(try endWork(r.service, old)), undo: try restart(r, old)))
            // It does not run yet.
            steps.append(step(r, "forget \(old.server)", server(r, .remove, old), undo: [server(r, .addDown, old)]))
        }
    }

    private mutating func addMonitor(_ r: Replacement) throws(Problem) {
        guard r.rolling.monitorMs > 0 else { return }
        var probe = r.health
        let interval = min(max(probe.rhythm.intervalMs, 1), max(r.rolling.monitorMs / 3, 1))
        probe.rhythm = Rhythm(tries: 2, intervalMs: interval, durationMs: r.rolling.monitorMs)
        steps.append(step(r, "watch \(r.names)", .probe(try probeWork(probe, r.service, r.pairs.map(\.new), .health))))
    }
}

/// What one batch is about.
private struct Replacement {
    let service: ServicePlan
    let upstream: String
    let start: StartPlan
    let health: ProbePlan
    let rolling: RollingPlan
    var pairs: [(old: Place, new: Place)] = []

    init(service: ServicePlan, upstream: String, start: StartPlan, health: ProbePlan, rolling: RollingPlan) {
        self.service = service
        self.upstream = upstream
        self.start = start
        self.health = health
        self.rolling = rolling
    }

    var names: String { pairs.map(\.new.replica).joined(separator: " and ") }
}
