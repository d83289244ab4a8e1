// Owns what the health board makes of changes of pools and of results: what stays known, who waits, what others are told.
// No server is asked: the tests play the prober.

import AdminAPI
import Balancing
import Engine
import Health
import Testing

@testable import Control

@Suite("the health board")
struct HealthBoardTests {
    /// Pools that change as a controller changes them.
    final class Pools {
        let board = HealthBoard(clock: ControlClock(monotonicNs: { 1_000_000 }, realtimeMs: { 1_700_000_000_000 }))
        let system = PlayedSystem()
        let counters = PeerCounterRegistry()
        let builder: PoolBuilder
        let events = EventLog(clock: .system)
        private(set) var shown: Snapshot?
        private var routes: Routes
        var nowMs: Int64 = 1000

        init() throws {
            builder = PoolBuilder(system: system, counters: counters)
            routes = try build("match fine { status 200; }").result.routes
            board.open(HealthBoard.Live(tell: { _, _ in }, events: events, revision: { 7 }))
        }

        func show(_ upstreams: [String: UpstreamState], running: Bool = true) throws {
            let state = ProxyState(upstreams: upstreams).numbered(after: ProxyState())
            let snapshot = try builder.build(state, over: routes, PoolBuilder.Publication(revision: 1, serial: 1, nowMs: nowMs))
            let freed = board.adopt(
                PoolChange(
                    state: state, matches: routes.matches, definitions: snapshot.upstreams, before: running ? shown?.upstreams ?? [] : nil, nowMs: nowMs))
            shown = snapshot
            for counters in freed { counters.setHealth(.unwatched, nowMs: nowMs) }
        }

        func health(_ server: Int) -> PeerHealth { shown?.upstreams[0].peers[server].counters.health ?? .unwatched }

        /// Makes all checks that are due by `atMs`; servers whose names are given fail them.
        @discardableResult
        func check(atMs: Int64, failing: Set<String> = [], gate: String? = nil) -> [String] {
            var made: [String] = []
            nowMs = atMs
            while let job = board.takeDue(atMs) {
                made.append(job.name)
                let fails = failing.contains(job.name) && (gate == nil || job.gate.name == gate)
                board.finish(job.handle, fails ? "no" : nil, nowMs: atMs, random: 1)
            }
            return made.sorted()
        }
    }

    private func upstream(_ servers: Int..., change: (inout UpstreamState) -> Void = { _ in }) -> UpstreamState {
        var upstream = UpstreamState(servers: servers.map { ServerState(server: "10.0.0.\($0):80") })
        var check = HealthCheck()
        check.uri = "/health"
        upstream.healthChecks = [check]
        change(&upstream)
        return upstream
    }

    @Test func atAStartServersAreTakenForWell() throws {
        let pools = try Pools()
        try pools.show(["u": upstream(1, 2)], running: false)
        #expect(pools.health(0) == .unwatched && pools.board.isWatching)
        let made = pools.check(atMs: 6000, failing: ["10.0.0.2:80"])
        #expect(made == ["10.0.0.1:80", "10.0.0.2:80"])
        #expect(pools.health(0) == .healthy && pools.health(1) == .unhealthy)
        let health = try #require(pools.board.health(of: "u"))
        #expect((health.healthy, health.total, health.failedInRow, health.failedRounds) == (1, 2, 1, 0))
        #expect(health.servers.map(\.state) == [.up, .unhealthy])
        #expect(health.servers[1].why == "health check \"/health\": no" && health.servers[1].changedAtMs == 1_700_000_000_000)
        #expect(pools.board.health(of: "v") == nil)
        #expect(pools.events.after(0).map(\.kind) == [.health])
    }

    @Test func newServersWaitAndOldOnesStayAsTheyAre() throws {
        let pools = try Pools()
        try pools.show(["u": upstream(1, 2)], running: false)
        pools.check(atMs: 6000, failing: ["10.0.0.2:80"])
        try pools.show(["u": upstream(3, 2, 1)])
        #expect([0, 1, 2].map(pools.health) == [.unchecked, .unhealthy, .healthy])
        // The new one is asked at once.
        #expect(pools.check(atMs: 6000) == ["10.0.0.3:80"])
        #expect(pools.health(0) == .healthy)
        // One that leaves is forgotten, and comes back as a new one.
        try pools.show(["u": upstream(3, 1)])
        try pools.show(["u": upstream(3, 1, 2)])
        #expect(pools.health(2) == .unchecked)
        // Down: nobody asks. Up again: it must pass first.
        try pools.show(["u": upstream(3, 1) { $0.servers[0].down = true }])
        #expect(pools.check(atMs: 60_000) == ["10.0.0.1:80"])
        #expect(pools.board.health(of: "u")?.servers[0].state == .down)
        try pools.show(["u": upstream(3, 1)])
        #expect(pools.health(0) == .unchecked)
    }

    @Test func withoutChecksNothingIsKnown() throws {
        let pools = try Pools()
        try pools.show(["u": upstream(1)], running: false)
        pools.check(atMs: 6000, failing: ["10.0.0.1:80"])
        #expect(pools.health(0) == .unhealthy)
        try pools.show(["u": upstream(1) { $0.healthChecks = [] }])
        #expect(pools.health(0) == .unwatched && !pools.board.isWatching)
        #expect(pools.check(atMs: 100_000) == [])
        // A check that comes later: those who serve already go on until they fail.
        try pools.show(["u": upstream(1) { $0.healthChecks[0].mandatory = true }])
        #expect(pools.health(0) == .unwatched)
    }

    @Test func aResultThatComesTooLateIsNobodys() throws {
        let pools = try Pools()
        try pools.show(["u": upstream(1, 2)], running: false)
        let job = try #require(pools.board.takeDue(6000))
        try pools.show(["u": upstream(3)])
        pools.board.finish(job.handle, "no", nowMs: 6000, random: 0)
        #expect(pools.health(0) == .unchecked)
        #expect(pools.check(atMs: 6000) == ["10.0.0.3:80"])
    }

    @Test func gatesComeAndGo() throws {
        let pools = try Pools()
        func two(_ state: inout UpstreamState) {
            var check = HealthCheck()
            check.name = "db"
            state.healthChecks.append(check)
        }
        try pools.show(["u": upstream(1, change: two)], running: false)
        pools.check(atMs: 6000, failing: ["10.0.0.1:80"], gate: "db")
        #expect(pools.health(0) == .unhealthy)
        #expect(pools.board.health(of: "u")?.gates.map(\.name) == ["/health", "db"])
        #expect(pools.board.health(of: "u")?.gates.map(\.failing) == [0, 1])
        // Other numbers, the same gate: what it has found stays.
        try pools.show(["u": upstream(1) { two(&$0); $0.healthChecks[1].fails = 3 }])
        #expect(pools.health(0) == .unhealthy)
        try pools.show(["u": upstream(1)])
        #expect(pools.health(0) == .healthy)
        // A new gate holds nobody back who serves.
        try pools.show(["u": upstream(1, change: two)])
        #expect(pools.health(0) == .healthy)
        #expect(pools.check(atMs: 60_000).count == 2)
    }

    @Test func aServerThatIsListedTwiceIsTwo() throws {
        let pools = try Pools()
        let pair = upstream(1, 1)
        let state = ProxyState(upstreams: ["u": pair])
        let snapshot = try pools.builder.build(state, over: try build("").result.routes, PoolBuilder.Publication(revision: 1, serial: 1))
        _ = pools.board.adopt(PoolChange(state: state, matches: [:], definitions: snapshot.upstreams, before: [], nowMs: 0))
        #expect(snapshot.upstreams[0].peers.map(\.counters.health) == [.unchecked, .unchecked])
        #expect(pools.check(atMs: 1).count == 2)
        #expect(snapshot.upstreams[0].peers.map(\.counters.health) == [.healthy, .healthy])
    }

    /// A weight changes in a pool of ten thousand: nothing is built anew, and nobody is forgotten.
    @Test func tenThousandServersAreFollowed() throws {
        let pools = try Pools()
        var large = upstream()
        large.servers = (0..<10_000).map { ServerState(server: "10.\($0 / 2500).\($0 / 250 % 10).\($0 % 250):80") }
        try pools.show(["u": large], running: false)
        #expect(pools.board.tables.withLock { $0.roster.count } == 10_000)
        let failing = large.servers[77].server
        var all = 0
        // No more are under way at once than may be.
        while true {
            let made = pools.check(atMs: 6000, failing: [failing]).count
            if made == 0 { break }
            all += made
        }
        #expect(all == 10_000)
        #expect(pools.board.health(of: "u")?.healthy == 9999)
        large.servers[5].weight = 9
        try pools.show(["u": large])
        large.servers.remove(at: 5)
        try pools.show(["u": large])
        #expect(pools.board.health(of: "u")?.healthy == 9998 && pools.health(76) == .unhealthy)
        #expect(pools.board.tables.withLock { $0.roster.count } == 9999)
    }

    @Test func savedHealthIsReadAndGrowsOld() throws {
        let text = #"{"saved_at":"2023-11-14T22:13:00Z","upstreams":{"u":{"10.0.0.1:80":{"/health":""},"10.0.0.2:80":{"/health":"no"}}}}"#
        for (nowMs, isKnown) in [(Int64(1_700_000_000_000), true), (1_700_000_000_000 + 3_600_000, false)] {
            let saved = SavedHealth(Array(text.utf8), nowMs: nowMs)
            #expect((saved?.find("u", "10.0.0.2:80", "/health")?.why == "no") == isKnown)
        }
        for bad in ["", "{", "[]", "{}", #"{"saved_at":"2023-11-14T22:13:00Z","upstreams":[1]}"#, #"{"saved_at":3}"#] {
            _ = SavedHealth(Array(bad.utf8), nowMs: 1_700_000_000_000)
        }
        let pools = try Pools()
        pools.board.remember(Array(text.utf8))
        try pools.show(["u": upstream(1, 2, 3) { $0.healthChecks[0].mandatory = true }], running: false)
        #expect([0, 1, 2].map(pools.health) == [.healthy, .unhealthy, .unchecked])
        #expect(pools.board.health(of: "u")?.servers[1].why == "health check \"/health\": no")
    }

    @Test func theReportOfAPoolIsBounded() throws {
        let pools = try Pools()
        var large = upstream()
        large.servers = (0..<300).map { ServerState(server: "10.0.\($0 / 250).\($0 % 250):80") }
        try pools.show(["u": large], running: false)
        pools.check(atMs: 6000, failing: ["10.0.1.0:80"])
        let definition = try #require(pools.shown?.upstreams[0])
        let (isHealthy, body) = pools.board.report(definition, healthyMin: 300, nowMs: 6000)
        let json = try JSON.parse(body)
        #expect(!isHealthy && json["healthy"]?.integer == 299 && json["total"]?.integer == 300 && json["state"]?.string == "unhealthy")
        #expect(json["servers"]?.array?.count == ControlLimits.healthServersShown)
        #expect(json["servers"]?.array?.first?["server"]?.string == "10.0.1.0:80")
        #expect(pools.board.report(definition, healthyMin: 299, nowMs: 6000).isHealthy)
    }
}
