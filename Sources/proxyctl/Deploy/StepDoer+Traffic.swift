// The half of StepDoer that speaks to the proxy: weights, servers, what is in flight, rollouts.
// Every write is one that can be repeated: it looks first whether it was made already, and writes on condition of what it saw.

import AdminAPI
import CLinux
import Deploy

extension StepDoer {
    /// Lost races that are tried again.
    private static let racesMax = 5

    private func state() throws(Failure) -> (json: JSON, names: RunningNames) {
        let answer = try client.send(AdminRequest("GET", ["upstreams"])).orProblem()
        let json = try answer.json
        return (json, RunningNames(json, revision: answer.revision))
    }

    private func request(_ method: String, _ segments: [String], readAt revision: UInt64? = nil) -> AdminRequest {
        var request = AdminRequest(method, segments)
        request.query.append(("reason", record.mark + (record.reason.isEmpty ? "" : ": " + record.reason)))
        if let revision { request.fields.append(("If-Match", "\"\(revision)\"")) }
        return request
    }

    // MARK: Weights

    func weights(_ work: WeightsWork) throws(Failure) -> DeployEvent {
        var races = 0
        while true {
            let (json, names) = try state()
            if let why = stranger(work, names) { return .failed(why, isFinal: true) }
            let next = Self.changed(json, work)
            if next == json { return .succeeded(names.revision.map { .members(["revision": .integer(Int64($0))]) }) }
            var request = request("PUT", ["upstreams"], readAt: names.revision)
            request.body = next.bytes(pretty: false)
            do throws(Failure) {
                let written = WriteAnswer(try client.send(request).orProblem().json, status: 200)
                return .succeeded(.members(["revision": written.revision.map { .integer(Int64($0)) }]))
            } catch {
                races += 1
                // Somebody was faster, or nobody knows whether it was taken: look again.
                let isWorthALook = error.status == .lostRace || error.status == .unreachable
                if !isWorthALook || races > Self.racesMax { throw error }
            }
        }
    }

    /// What somebody else has done to the splits; nil: nothing.
    private func stranger(_ work: WeightsWork, _ names: RunningNames) -> String? {
        for (split, wanted) in work.splits.sorted(by: { $0.key < $1.key }) {
            guard let now = names.splits[split] else { return "there is no split \(split) any more" }
            if now == wanted || now == work.expects[split] { continue }
            let words = now.sorted { $0.key < $1.key }.map { "\($0.key) \($0.value)" }.joined(separator: ", ")
            return "somebody else has moved traffic: \(split) has \(words)"
        }
        return nil
    }

    /// The whole state with other weights, and with the servers of some upstreams no longer drained.
    static func changed(_ json: JSON, _ work: WeightsWork) -> JSON {
        json.mapping("splits") { split, value in
            guard let weights = work.splits[split] else { return value }
            let members = weights.sorted { $0.key < $1.key }.map { JSON.Member($0.key, .integer(Int64($0.value))) }
            return value.setting("weights", .object(members))
        }
        .mapping("upstreams") { name, value in
            guard work.opens.contains(name), let servers = value["servers"]?.array else { return value }
            return value.setting("servers", .array(servers.map { $0["drain"]?.bool == true ? $0.setting("drain", false) : $0 }))
        }
    }

    // MARK: Servers

    func server(_ work: ServerWork) throws(Failure) -> DeployEvent {
        let (json, _) = try state()
        guard let servers = json["upstreams"]?[work.upstream]?["servers"]?.array else {
            return .failed("there is no upstream \(work.upstream) any more", isFinal: true)
        }
        let there = servers.first { $0["server"]?.string == work.server }
        let segments = ["upstreams", work.upstream, "servers"]
        var request: AdminRequest
        switch (work.change, there) {
        case (.remove, nil): return .succeeded(nil)
        case (.remove, _): request = self.request("DELETE", segments + [work.server])
        case (.down, nil), (.up, nil): return .failed("\(work.upstream) has no server \(work.server)", isFinal: true)
        case (.add, nil), (.addDown, nil):
            // Like its siblings in all but the address.
            let like = (servers.first?.object ?? []).filter { !["id", "server", "down", "drain", "backup"].contains($0.name) }
            request = self.request("POST", segments)
            let server = JSON.object(like).setting("server", .string(work.server))
            request.body = (work.change == .add ? server : server.setting("down", true)).bytes(pretty: false)
        case (.down, let there?), (.addDown, let there?), (.up, let there?), (.add, let there?):
            let isDown = work.change == .down || work.change == .addDown
            if there["down"]?.bool ?? false == isDown, isDown || there["drain"]?.bool != true { return .succeeded(nil) }
            request = self.request("PATCH", segments + [work.server])
            request.body = (isDown ? JSON.members(["down": true]) : .members(["down": false, "drain": false])).bytes(
                pretty: false)
        }
        _ = try client.send(request).orProblem()
        return .succeeded(nil)
    }

    // MARK: What is in flight

    private func inFlight(_ upstreams: [String], _ servers: [String] = []) throws(Failure) -> Int {
        let status = try client.send(AdminRequest("GET", ["status"])).orProblem().decoded(Status.self)
        return status.upstreams.filter { upstreams.contains($0.name) }.flatMap(\.servers)
            .filter { servers.isEmpty || servers.contains($0.server) }.reduce(0) { $0 + $1.inFlight }
    }

    func idle(_ work: IdleWork) throws(Failure) -> DeployEvent {
        if work.isDraining {
            for upstream in work.upstreams {
                if let why = try drain(upstream, work.timeoutMs) { return .failed(why, isFinal: true) }
            }
        }
        let left = try waitIdle(work.upstreams, work.servers, work.timeoutMs)
        return left == 0 ? .succeeded(nil) : .succeeded(.members(["in_flight": .integer(Int64(left))]))
    }

    /// Why it must not be drained: somebody may have switched back to it. Nil: it is.
    private func drain(_ upstream: String, _ timeoutMs: Int64) throws(Failure) -> String? {
        var races = 0
        while true {
            let (_, names) = try state()
            if let why = serving([upstream], names) { return why }
            var request = request("POST", ["upstreams", upstream, "drain"], readAt: names.revision)
            request.query.append(("timeout", "\(timeoutMs)ms"))
            do throws(Failure) {
                _ = try client.send(request).orProblem()
                return nil
            } catch {
                races += 1
                if error.status != .lostRace || races > Self.racesMax { throw error }
            }
        }
    }

    /// How many requests are in flight there after all.
    private func waitIdle(_ upstreams: [String], _ servers: [String], _ timeoutMs: Int64) throws(Failure) -> Int {
        let endMs = Clock.monotonicMs + timeoutMs
        var pauseMs: Int32 = 2
        while true {
            let count = try inFlight(upstreams, servers)
            if count == 0 || Clock.monotonicMs >= endMs || isInterrupted() { return count }
            clinux_sleep_ms(pauseMs)
            pauseMs = min(pauseMs * 2, 100)
        }
    }

    /// Why what stands behind these upstreams must not be ended; nil: it may. Requests in flight are waited for.
    func busy(_ upstreams: [String], _ graceMs: Int64) throws(Failure) -> String? {
        let (_, names) = try state()
        if let why = serving(upstreams, names) { return why }
        _ = try waitIdle(upstreams.filter { names.upstreams[$0] != nil }, [], graceMs)
        return nil
    }

    /// Which split sends requests to one of these upstreams; nil: none.
    private func serving(_ upstreams: [String], _ names: RunningNames) -> String? {
        for (split, weights) in names.splits.sorted(by: { $0.key < $1.key }) {
            for upstream in upstreams where weights[upstream, default: 0] > 0 {
                return "\(upstream) has traffic of \(split): it is left running"
            }
        }
        return nil
    }

    // MARK: Rollouts

    private static let pollMs: Int32 = 200
    /// How long a proxy may be away while a rollout runs.
    private static let awayMaxMs: Int64 = 60_000

    func rollout(_ work: RolloutWork) throws(Failure) -> DeployEvent {
        if work.isUndo { return try undoRollout(work) }
        var found = try findRollout(work)
        if found == nil {
            var request = request("POST", ["rollouts"])
            request.query = []
            request.body = JSON.members([
                "policy": work.policy, "reason": .string(record.mark), "split": .string(work.split), "to": .string(work.to),
            ]).bytes(pretty: false)
            found = Rollout(try client.send(request).orProblem().json)
        }
        guard let number = found?.number else { throw Failure(.refused, "the proxy names no rollout") }
        var told = 0
        while true {
            let json = try rollout(number)
            let entries = json["entries"]?.array ?? []
            for entry in entries.dropFirst(told) { tell(RolloutText.line(entry) + Self.hint(entry, number)) }
            told = max(told, entries.count)
            let rollout = Rollout(json)
            switch rollout.state {
            case "succeeded": return .succeeded(.members(["rollout": .integer(number)]))
            case "rolled_back", "aborted", "failed":
                return .failed(
                    "rollout \(number) ended: \(rollout.state)" + (rollout.why.isEmpty ? "" : ", \(rollout.why)"), isFinal: true)
            default: break
            }
            if isInterrupted() { return Self.interrupted }
            clinux_sleep_ms(Self.pollMs)
        }
    }

    /// A proxy that is started again goes on with its rollouts: it is waited for.
    private func rollout(_ number: Int64) throws(Failure) -> JSON {
        let endMs = Clock.monotonicMs + Self.awayMaxMs
        while true {
            do throws(Failure) {
                return try client.send(AdminRequest("GET", ["rollouts", String(number)])).orProblem().json
            } catch {
                if error.status != .unreachable || Clock.monotonicMs >= endMs || isInterrupted() { throw error }
                clinux_sleep_ms(Self.pollMs)
            }
        }
    }

    /// What an entry that waits for people asks of them.
    private static func hint(_ entry: JSON, _ number: Int64) -> String {
        switch entry["kind"]?.string {
        case "approval_asked": "\n`proxyctl rollout approve \(number)` lets it begin"
        case "frozen": "\n`proxyctl rollout resume \(number)`, `promote \(number)` or `abort \(number)` decides"
        default: ""
        }
    }

    /// The one that this deploy has started.
    private func findRollout(_ work: RolloutWork) throws(Failure) -> Rollout? {
        let json = try client.send(AdminRequest("GET", ["rollouts"])).orProblem().json
        return (json.array ?? json["rollouts"]?.array ?? []).map(Rollout.init).first { isOurs($0, work) }
    }

    /// The proxy keeps the rollouts of other state folders, too, where deploys have the same names and numbers.
    private func isOurs(_ rollout: Rollout, _ work: RolloutWork) -> Bool {
        guard rollout.split == work.split, rollout.reason == record.mark else { return false }
        return !record.id.isEmpty || rollout.to == work.to && (rollout.startedAtMs ?? .min) >= startedAtMs
    }

    private func undoRollout(_ work: RolloutWork) throws(Failure) -> DeployEvent {
        // It may have ended at any step: what it gave goes back, and nothing that somebody else has set since.
        var left: [String: [String: Int]] = [:]
        if var rollout = try findRollout(work), let number = rollout.number {
            if !rollout.hasEnded {
                _ = try client.send(request("POST", ["rollouts", String(number), "abort"])).orProblem()
            }
            let endMs = Clock.monotonicMs + 60_000
            while !rollout.hasEnded, Clock.monotonicMs < endMs {
                clinux_sleep_ms(20)
                rollout = Rollout(try client.send(AdminRequest("GET", ["rollouts", String(number)])).orProblem().json)
            }
            if !rollout.hasEnded { return .failed("rollout \(number) does not end", isFinal: true) }
            left[work.split] = rollout.weights(work.before)
        }
        return try weights(WeightsWork(splits: [work.split: work.before], expects: left, opens: []))
    }
}

/// What a rollout's answer says, as far as a deploy wants to know.
private struct Rollout {
    let number: Int64?
    let split: String
    let from: String
    let to: String
    /// Of `to`, as far as it got; none after a way back.
    let percent: Int
    let startedAtMs: Int64?
    let state: String
    let reason: String
    let why: String

    init(_ json: JSON) {
        number = json["number"]?.integer
        split = json["split"]?.string ?? ""
        from = json["old"]?.string ?? ""
        to = json["new"]?.string ?? ""
        percent = min(max(Int(clamping: json["percent"]?.integer ?? 0), 0), 100)
        startedAtMs = json["started"]?.string.flatMap(Timestamp.ms)
        state = json["state"]?.string ?? json["phase"]?.string ?? ""
        reason = json["reason"]?.string ?? ""
        why = Words.printable(json["why"]?.string ?? json["finding"]?["text"]?.string ?? "")
    }

    var hasEnded: Bool { ["succeeded", "rolled_back", "aborted", "failed"].contains(state) }

    /// What it has made of the weights that were there before it.
    func weights(_ before: [String: Int]) -> [String: Int] {
        var weights = before
        weights[from] = 100 - percent
        weights[to] = percent
        return weights
    }
}

extension JSON {
    /// With another value for the member `name`, which need not be there.
    func setting(_ name: String, _ value: JSON) -> JSON {
        guard case .object(var members) = self else { return self }
        if let i = members.firstIndex(where: { $0.name == name }) {
            members[i].value = value
        } else {
            members.append(Member(name, value))
        }
        return .object(members)
    }

    /// With each member of the object `name` made anew.
    func mapping(_ name: String, _ make: (String, JSON) -> JSON) -> JSON {
        guard let members = self[name]?.object else { return self }
        return setting(name, .object(members.map { Member($0.name, make($0.name, $0.value)) }))
    }
}
