// Owns the promise that /metrics is the text format 0.0.4, and that names that dashboards know stay.

import TestSupport
import Testing

@testable import AdminAPI

@Suite("metrics")
struct MetricsTests {
    /// Dashboards and alarms know these: a name may come, none may go.
    private static let golden = """
        switchback_build_info{version} gauge
        switchback_certificate_expiry_time_seconds{certificate} gauge
        switchback_certificate_left_seconds{certificate} gauge
        switchback_connections gauge
        switchback_health_check_failed_rounds{upstream,check} gauge
        switchback_health_check_servers{upstream,check,state} gauge
        switchback_journal_failing gauge
        switchback_requests_active gauge
        switchback_requests_started_total counter
        switchback_requests_total{outcome} counter
        switchback_revision gauge
        switchback_rollout_findings_total{finding} counter
        switchback_rollout_share_percent{split,variant} gauge
        switchback_rollout_verdicts_total{verdict} counter
        switchback_rollouts{phase} gauge
        switchback_server_answers_total{upstream,server,class} counter
        switchback_server_checks_failed_total{upstream,server} counter
        switchback_server_checks_total{upstream,server} counter
        switchback_server_failures_total{upstream,server} counter
        switchback_server_requests_active{upstream,server} gauge
        switchback_server_requests_total{upstream,server} counter
        switchback_server_state{upstream,server,state} gauge
        switchback_server_unhealthy_total{upstream,server} counter
        switchback_server_up{upstream,server} gauge
        switchback_server_weight{upstream,server} gauge
        switchback_servers_left_out gauge
        switchback_split_held{split} gauge
        switchback_split_requests_holding{split} gauge
        switchback_split_weight{split,variant} gauge
        switchback_start_time_seconds gauge
        switchback_upstream_ejections_total{upstream} counter
        switchback_upstream_panic{upstream} gauge
        switchback_upstream_panics_total{upstream} counter
        switchback_upstream_queue_overflows_total{upstream} counter
        switchback_upstream_queue_requests{upstream} gauge
        switchback_upstream_queue_requests_max{upstream} gauge
        switchback_upstream_queue_timeouts_total{upstream} counter
        switchback_upstream_requests_refused_total{upstream} counter
        switchback_upstream_retries_active{upstream} gauge
        switchback_upstream_retries_refused_total{upstream} counter
        switchback_upstream_servers_checked{upstream} gauge
        switchback_upstream_servers_healthy{upstream} gauge
        switchback_workers gauge
        """

    /// Everything set.
    static var status: Status {
        var status = Status()
        status.version = "1.2"
        status.revision = 42
        status.startedAtMs = 1_700_000_000_050
        status.workers = 4
        status.connections = 900
        (status.requests.started, status.requests.completed, status.requests.abortedByClient) = (10, 4, 1)
        (status.requests.failedByUpstream, status.requests.failedByProxy, status.requests.moved, status.requests.inFlight) = (1, 1, 1, 2)
        var server = ServerStatus(id: 1, server: "127.0.0.1:3001", weight: 5)
        (server.inFlight, server.requests, server.failures, server.answers) = (3, 20, 2, [1, 10, 2, 3, 4])
        var health = ServerHealth(server: server.server)
        (health.checks, health.fails, health.unhealthy) = (30, 6, 2)
        server.health = health
        var sick = ServerStatus(id: 2, server: "127.0.0.1:3002", weight: 1)
        sick.state = "unhealthy"
        var upstream = UpstreamStatus(name: "blue")
        upstream.servers = [server, sick]
        (upstream.isPanicking, upstream.panics, upstream.ejections, upstream.retries) = (true, 2, 3, 4)
        (upstream.retriesRefused, upstream.requestsRefused) = (5, 6)
        var queue = QueueStatus()
        (queue.size, queue.sizeMax, queue.overflows, queue.timeouts) = (7, 8, 9, 10)
        upstream.queue = queue
        var gates = UpstreamHealth(name: "blue")
        (gates.healthy, gates.total) = (1, 2)
        var gate = GateHealth(name: "/health")
        (gate.passing, gate.failing, gate.failedRounds) = (1, 1, 3)
        gates.gates = [gate]
        upstream.health = gates
        status.upstreams = [UpstreamStatus(name: "zero"), upstream]
        var split = SplitStatus(name: "app", weights: ["green": 10, "blue": 90])
        (split.isHeld, split.holding) = (true, 12)
        status.splits = [split]
        status.certificates = [
            CertificateStatus(name: "site", notAfterMs: 1_700_000_100_000, nowMs: 1_700_000_000_000, source: .file)
        ]
        status.journal = "no space left"
        return status
    }

    static var rollouts: RolloutTotals {
        var totals = RolloutTotals()
        totals.phases = ["running": 1, "succeeded": 0]
        totals.verdicts = ["passed": 3]
        totals.findings = ["error_test": 2]
        totals.shares = [.init(split: "app", variant: "green", percent: 10)]
        return totals
    }

    private func parsed(_ status: Status, _ rollouts: RolloutTotals = rollouts, serversMax: Int = 100) throws -> MetricsText {
        try MetricsText(String(decoding: Metrics.text(status, rollouts, serversMax: serversMax), as: UTF8.self))
    }

    @Test func theNamesAreThoseThatDashboardsKnow() {
        let told = Metrics.all.map { $0.name + ($0.labels.isEmpty ? "" : "{\($0.labels.joined(separator: ","))}") + " " + $0.kind.rawValue }
        #expect(told.sorted() == Self.golden.split(separator: "\n").map(String.init).sorted())
        for family in Metrics.all {
            #expect(family.name.hasPrefix("switchback_") && family.help.hasSuffix(".") && !family.help.contains("\n") && !family.help.contains("\\"))
            #expect(family.name.hasSuffix("_total") == (family.kind == .counter), "\(family.name)")
        }
    }

    @Test func everyFamilyIsWrittenOnceWithItsLabels() throws {
        let text = try parsed(Self.status)
        #expect(text.names == Metrics.all.map(\.name))
        for family in Metrics.all {
            let told = try #require(text.families[family.name])
            #expect(told.help == family.help && told.type == family.kind.rawValue)
            #expect(!told.samples.isEmpty, "\(family.name)")
            for sample in told.samples { #expect(sample.labels.map(\.name) == family.labels, "\(family.name)") }
        }
        // Without anything to tell, the families are there all the same.
        #expect(try parsed(Status(), RolloutTotals()).names == Metrics.all.map(\.name))
    }

    @Test func theFiguresAreThoseOfTheStatus() throws {
        let text = try parsed(Self.status)
        #expect(text.value("switchback_build_info", ["version": "1.2"]) == 1)
        #expect(text.value("switchback_start_time_seconds") == 1_700_000_000.05)
        #expect(text.value("switchback_workers") == 4 && text.value("switchback_revision") == 42 && text.value("switchback_connections") == 900)
        #expect(text.value("switchback_journal_failing") == 1)
        #expect(text.value("switchback_requests_active") == 2 && text.value("switchback_requests_started_total") == 10)
        let ended = text.families["switchback_requests_total"]?.samples.reduce(0) { $0 + $1.value }
        #expect(ended == 8, "what has begun has ended or is active")
        #expect(text.value("switchback_upstream_panic", ["upstream": "blue"]) == 1 && text.value("switchback_upstream_panic", ["upstream": "zero"]) == 0)
        for (name, value) in [
            ("panics_total", 2.0), ("ejections_total", 3), ("retries_active", 4), ("retries_refused_total", 5), ("requests_refused_total", 6),
            ("queue_requests", 7), ("queue_requests_max", 8), ("queue_overflows_total", 9), ("queue_timeouts_total", 10), ("servers_healthy", 1),
            ("servers_checked", 2),
        ] {
            #expect(text.value("switchback_upstream_\(name)", ["upstream": "blue"]) == value, "\(name)")
        }
        // Without a queue there is no figure of one.
        #expect(text.value("switchback_upstream_queue_requests", ["upstream": "zero"]) == nil)
        for (name, value) in [
            ("requests_total", 20.0), ("failures_total", 2), ("requests_active", 3), ("weight", 5), ("up", 1), ("checks_total", 30),
            ("checks_failed_total", 6), ("unhealthy_total", 2),
        ] {
            #expect(text.value("switchback_server_\(name)", ["upstream": "blue", "server": "127.0.0.1:3001"]) == value, "\(name)")
        }
        for (name, value) in zip(["1xx", "2xx", "3xx", "4xx", "5xx"], [1.0, 10, 2, 3, 4]) {
            #expect(text.value("switchback_server_answers_total", ["server": "127.0.0.1:3001", "class": name]) == value)
        }
        #expect(text.value("switchback_server_up", ["server": "127.0.0.1:3002"]) == 0)
        #expect(text.value("switchback_server_state", ["server": "127.0.0.1:3002", "state": "unhealthy"]) == 1)
        #expect(text.value("switchback_server_checks_total", ["server": "127.0.0.1:3002"]) == nil)
        #expect(text.value("switchback_health_check_servers", ["upstream": "blue", "check": "/health", "state": "failing"]) == 1)
        #expect(text.value("switchback_health_check_failed_rounds", ["check": "/health"]) == 3)
        #expect(text.value("switchback_split_weight", ["split": "app", "variant": "green"]) == 10)
        #expect(text.value("switchback_split_held", ["split": "app"]) == 1 && text.value("switchback_split_requests_holding", ["split": "app"]) == 12)
        #expect(text.value("switchback_rollouts", ["phase": "running"]) == 1 && text.value("switchback_rollouts", ["phase": "succeeded"]) == 0)
        #expect(text.value("switchback_rollout_verdicts_total", ["verdict": "passed"]) == 3)
        #expect(text.value("switchback_rollout_findings_total", ["finding": "error_test"]) == 2)
        #expect(text.value("switchback_rollout_share_percent", ["split": "app", "variant": "green"]) == 10)
        #expect(text.value("switchback_certificate_expiry_time_seconds", ["certificate": "site"]) == 1_700_000_100)
        #expect(text.value("switchback_certificate_left_seconds", ["certificate": "site"]) == 100)
    }

    @Test func anyNameIsAValueOfALabel() throws {
        var status = Self.status
        let odd = "a\\b\"c\nd{}, =é"
        status.upstreams[1].name = odd
        status.upstreams[1].servers[0].server = odd
        status.splits[0] = SplitStatus(name: odd, weights: [odd: 1])
        let text = try parsed(status)
        #expect(text.value("switchback_server_weight", ["upstream": odd, "server": odd]) == 5)
        #expect(text.value("switchback_split_weight", ["split": odd, "variant": odd]) == 1)
    }

    @Test func aServerThatIsListedTwiceIsOne() throws {
        var status = Self.status
        status.upstreams[1].servers.append(status.upstreams[1].servers[0])
        let text = try parsed(status)
        #expect(text.value("switchback_server_requests_total", ["server": "127.0.0.1:3001"]) == 20)
        #expect(text.value("switchback_server_weight", ["server": "127.0.0.1:3001"]) == 10)
    }

    @Test func furtherServersAreCountedAndLeftOut() throws {
        var status = Self.status
        status.upstreams[1].servers = (0..<50).map { ServerStatus(id: $0, server: "10.0.0.\($0):80", weight: 1) }
        status.upstreams[0].servers = (0..<3).map { ServerStatus(id: $0, server: "10.0.1.\($0):80", weight: 1) }
        let text = try parsed(status, serversMax: 20)
        #expect(text.families["switchback_server_up"]?.samples.count == 20)
        #expect(text.value("switchback_servers_left_out") == 33)
        #expect(text.families["switchback_upstream_panic"]?.samples.count == 2, "figures of upstreams stay")
        #expect(try parsed(status).value("switchback_servers_left_out") == 0)
    }

    @Test func timesAreSeconds() throws {
        for (ms, text) in [(Int64(0), "0"), (1, "0.001"), (1010, "1.010"), (-1500, "-1.500"), (.min, "-9223372036854775.808"), (60_000, "60")] {
            var w = MetricsWriter()
            w.begin(Metrics.started)
            w.sample(nil, ms: ms)
            #expect(String(decoding: w.bytes, as: UTF8.self).hasSuffix("\nswitchback_start_time_seconds \(text)\n"))
        }
    }
}
