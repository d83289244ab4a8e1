// What is known of the health of every server, in one place: told by the prober, adopted with each change of pools, asked by all.
// Its lock is held for short work only. Workers see nothing of it but the shared cells of their peers.

import AdminAPI
import Balancing
import CLinux
import Engine
import Health
import Synchronization

/// A check that is to be made now.
struct CheckJob: Sendable {
    let handle: CheckHandle
    let gate: Gate
    /// As the configuration names the server.
    let name: String
    let address: [UInt8]
}

/// A server became well or sick.
struct HealthChange: Sendable {
    var upstream: String
    var server: String
    /// Its address, where the name is another.
    var address: String
    var state: ServerHealth.State
    var why: String

    init(_ server: WatchedServer, _ state: ServerHealth.State, _ why: String) {
        upstream = server.upstream
        self.server = server.name
        address = server.text
        self.state = state
        self.why = why
    }

    var event: HealthEvent { HealthEvent(upstream: upstream, server: server, state: state.rawValue, why: why) }

    /// One line, for logs and events.
    var text: String {
        let whose = server + (address == server ? "" : " (\(address))")
        return "server \(whose) of upstream \"\(upstream)\" is \(state == .up ? "healthy" : "unhealthy"): \(why)"
    }
}

package final class HealthBoard: @unchecked Sendable {
    struct Tables {
        var roster = CheckRoster(runningMax: ControlLimits.healthChecksAtOnce)
        var upstreams: [String: WatchedUpstream] = [:]
        /// By the index of a handle: whose check it is, and which of its gates.
        var owners: [(server: WatchedServer, gate: Int)?] = []
        /// What an earlier process knew, until the first pools are there.
        var saved = SavedHealth()
        /// Something changed that is not in the file yet.
        var isUnsaved = false
        /// Counters that the change under way leaves to themselves.
        var freed: [PeerCounters] = []
        var live: Live?
    }
    /// What is there once the proxy runs.
    struct Live {
        let tell: @Sendable (LogLevel, String) -> Void
        let events: EventLog
        let revision: @Sendable () -> UInt64
    }
    let tables = Mutex(Tables())
    let clock: ControlClock
    /// Woken when checks were added; nil: nobody makes any.
    private let wake = Mutex<(@Sendable () -> Void)?>(nil)

    package init(clock: ControlClock = .system) { self.clock = clock }

    var nowMs: Int64 { Int64(clock.monotonicNs() / 1_000_000) }

    // MARK: Questions

    /// What is known of the upstream's servers. Nil: it has no health checks.
    package func health(of upstream: String) -> UpstreamHealth? {
        tables.withLock { tables in tables.upstreams[upstream]?.health(upstream, tables.roster) }
    }

    /// Whether anybody is asked.
    var isWatching: Bool { tables.withLock { !$0.upstreams.isEmpty } }

    // MARK: Life

    /// From here on changes are told.
    func open(_ live: Live) { tables.withLock { $0.live = live } }

    func onChecks(_ wake: (@Sendable () -> Void)?) { self.wake.withLock { $0 = wake } }

    func wakeProber() { wake.withLock { $0 }?() }

    // MARK: For the prober

    /// A check whose time has come.
    func takeDue(_ nowMs: Int64) -> CheckJob? {
        tables.withLock { tables in
            guard let handle = tables.roster.takeDue(nowMs) else { return nil }
            guard let (server, place) = tables.owners[Int(handle.index)] else { return nil }
            return CheckJob(handle: handle, gate: server.gates[place].gate, name: server.name, address: server.address)
        }
    }

    /// When the next check is due; nil: none is, or enough are under way.
    var dueMs: Int64? { tables.withLock { $0.roster.dueMs } }

    /// A check has ended.
    /// - Parameter objection: why the server is not well; nil: it is.
    func finish(_ handle: CheckHandle, _ objection: String?, nowMs: Int64, random: UInt64) {
        let change = tables.withLock { tables -> HealthChange? in
            guard let hasChanged = tables.roster.finish(handle, passed: objection == nil, nowMs: nowMs, random: random),
                let (server, place) = tables.owners[Int(handle.index)]
            else { return nil }
            server.gates[place].why = objection
            server.gates[place].lastAtMs = clock.realtimeMs()
            if !hasChanged { return nil }
            tables.isUnsaved = true
            return Self.settle(server, tables.roster, nowMs: nowMs, atMs: clock.realtimeMs())
        }
        if let change { announce(change) }
    }

    /// A check could not be made for want of what the proxy needs for it: it tells nothing of the server.
    func postpone(_ handle: CheckHandle, nowMs: Int64) { tables.withLock { $0.roster.postpone(handle, nowMs: nowMs) } }

    /// Tells the workers what the checks of a server come to.
    /// - Returns: what is to be told; nil: nothing that anybody would want to know.
    static func settle(_ server: WatchedServer, _ roster: CheckRoster, nowMs: Int64, atMs: Int64) -> HealthChange? {
        var sum = CheckSum()
        for gate in server.gates { if let standing = gate.handle.flatMap({ roster.standing($0) }) { sum.add(standing) } }
        let before = server.verdict
        server.verdict = sum.verdict
        server.counters.setHealth(cell(sum), nowMs: nowMs)
        if before == sum.verdict { return nil }
        if before != .unknown || sum.verdict != .up { server.changedAtMs = atMs }
        switch sum.verdict {
        case .unknown, .checking: return nil
        case .up:
            if before == .unknown { return nil }
            let why = before == .checking ? "it has passed its health checks" : "it passes its health checks again"
            return HealthChange(server, .up, why)
        case .unhealthy:
            return HealthChange(server, .unhealthy, server.why(roster) ?? "")
        }
    }

    private static func cell(_ sum: CheckSum) -> PeerHealth {
        if sum.isBarred { return .unchecked }
        switch sum.verdict {
        case .unhealthy: return .unhealthy
        case .up: return .healthy
        case .unknown, .checking: return .unwatched
        }
    }

    private func announce(_ change: HealthChange) {
        guard let live = tables.withLock({ $0.live }) else { return }
        live.tell(change.state == .up ? .notice : .warn, change.text)
        live.events.emit(.health, revision: live.revision(), subject: change.server, text: change.text, health: change.event)
    }
}
