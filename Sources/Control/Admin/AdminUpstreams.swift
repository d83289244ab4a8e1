// Handlers of the admin API: all pools, one pool, its servers, and its drain.
// Called by the table of routes. The controller decides; here its values become answers.

import AdminAPI

extension AdminServer {
    /// Does a write, or tells what it would do.
    func write(_ call: AdminCall, _ change: StateChange, creates: Bool = false) throws(Problem) -> AdminOutcome {
        if call.isDryRun { return call.plan(try controller.plan(change, ifMatch: call.ifMatch)) }
        let accepted = try controller.change(change, by: call.author, ifMatch: call.ifMatch)
        return call.accepted(accepted, status: creates && accepted.changed ? 201 : 200)
    }

    // MARK: Pools

    func getState(_ call: AdminCall) -> AdminOutcome {
        let (state, revision) = controller.running
        return call.json(state.json.merging(.members(["revision": .integer(Int64(clamping: revision))])), revision: revision)
    }

    func putState(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let body = try call.body(StateWrite.self)
        return try write(call, .replaceAll(upstreams: body.upstreams, splits: body.splits))
    }

    func getUpstream(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let (state, revision) = controller.running
        return call.json(withHealth(try state.upstream(named: call[0]).json, of: call[0]), revision: revision)
    }

    func putUpstream(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let body = try call.body(UpstreamWrite.self)
        let isNew = controller.running.state.upstreams[call[0]] == nil
        return try write(call, .putUpstream(call[0], body.upstream), creates: isNew)
    }

    func deleteUpstream(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        return try write(call, .deleteUpstream(call[0]))
    }

    func drainUpstream(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        let timeoutMs = try call.timeoutMs()
        let isWaiting = try call.flag("wait")
        if call.isDryRun { return call.plan(try controller.plan(.drainUpstream(call[0]), ifMatch: call.ifMatch)) }
        if isWaiting { try live.expectRoom() }
        let accepted = try controller.drain(call[0], durationMs: timeoutMs, by: call.author, ifMatch: call.ifMatch)
        call.note(accepted)
        let drain = AdminDrain(call[0], accepted, controller.definitions, deadlineMs: live.nowMs + timeoutMs)
        live.begin(drain, isWaiting ? call.request.reply : nil)
        return isWaiting ? .later : .answer(drain.answer(isWaiting: false))
    }

    // MARK: Servers

    func getServers(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let (state, revision) = controller.running
        let servers = try state.upstream(named: call[0]).servers
        return call.json(
            withHealth(.members(["revision": .integer(Int64(clamping: revision)), "servers": .array(servers.map(\.json))]), of: call[0]), revision: revision)
    }

    func addServer(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try write(call, .addServer(upstream: call[0], try call.body(ServerWrite.self).server), creates: true)
    }

    func getServer(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let (state, revision) = controller.running
        let server = try state.server(ServerKey(segment: call[1]), of: call[0])
        let health = controller.health.health(of: call[0])?.byServer[server.server]
        return call.json(server.json.merging(.members(["health": health?.json])), revision: revision)
    }

    /// Servers that are asked after their health tell how they are: the writes pass it over.
    private func withHealth(_ json: JSON, of upstream: String) -> JSON {
        guard let known = controller.health.health(of: upstream)?.byServer else { return json }
        let servers = (json["servers"]?.array ?? []).map { server in
            server.merging(.members(["health": known[server["server"]?.string ?? ""]?.json]))
        }
        return json.merging(.members(["servers": .array(servers)]))
    }

    func patchServer(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try write(call, .patchServer(upstream: call[0], ServerKey(segment: call[1]), try call.body(ServerPatch.self)))
    }

    func deleteServer(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        return try write(call, .removeServer(upstream: call[0], ServerKey(segment: call[1])))
    }
}
