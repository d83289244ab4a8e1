// Every figure that /metrics tells: its name, what it is, its labels. The manual's table is held against this one.
// `Metrics+Text` writes them. Values of labels are names of the state and words of ours: nothing that a client sends.

public enum Metrics {
    public static let mediaType = "text/plain; version=0.0.4; charset=utf-8"
    /// Servers whose own figures are told, of all upstreams together: some kilobytes each.
    public static let serversMax = 5000

    /// In the order they are written.
    public static let all: [MetricFamily] = process + upstreams + servers + health + splits + rollouts + certificates

    // MARK: The process

    static let build = MetricFamily("switchback_build_info", .gauge, ["version"], "Always 1.")
    static let started = MetricFamily("switchback_start_time_seconds", .gauge, "When the process started, in seconds since 1970.")
    static let workers = MetricFamily("switchback_workers", .gauge, "Worker threads.")
    static let revision = MetricFamily("switchback_revision", .gauge, "The revision that runs.")
    static let journalFails = MetricFamily("switchback_journal_failing", .gauge, "1: the journal cannot be written, changes are refused.")
    static let connections = MetricFamily("switchback_connections", .gauge, "Open connections of clients.")
    static let active = MetricFamily("switchback_requests_active", .gauge, "Requests in flight.")
    static let begun = MetricFamily("switchback_requests_started_total", .counter, "Requests that have begun; one that was held and moved to a later revision again there.")
    static let ended = MetricFamily("switchback_requests_total", .counter, ["outcome"], "Requests that have ended, by how.")
    private static let process = [build, started, workers, revision, journalFails, connections, active, begun, ended]

    // MARK: Upstreams

    static let panic = MetricFamily("switchback_upstream_panic", .gauge, ofUpstream, "1: too few servers are healthy, all are used.")
    static let panics = MetricFamily("switchback_upstream_panics_total", .counter, ofUpstream, "How often a panic began.")
    static let ejections = MetricFamily("switchback_upstream_ejections_total", .counter, ofUpstream, "Servers ejected as outliers.")
    static let retries = MetricFamily(
        "switchback_upstream_retries_active", .gauge, ofUpstream, "Requests tried at a further server now, where a retry budget bounds them.")
    static let retriesRefused = MetricFamily(
        "switchback_upstream_retries_refused_total", .counter, ofUpstream, "Requests not tried at a further server: the retry budget was spent.")
    static let requestsRefused = MetricFamily(
        "switchback_upstream_requests_refused_total", .counter, ofUpstream, "Requests that the circuit breaker refused.")
    static let queued = MetricFamily("switchback_upstream_queue_requests", .gauge, ofUpstream, "Requests that wait for a server.")
    static let queueMax = MetricFamily("switchback_upstream_queue_requests_max", .gauge, ofUpstream, "How many may wait.")
    static let queueOverflows = MetricFamily(
        "switchback_upstream_queue_overflows_total", .counter, ofUpstream, "Requests refused because the queue was full.")
    static let queueTimeouts = MetricFamily(
        "switchback_upstream_queue_timeouts_total", .counter, ofUpstream, "Requests refused because they had waited too long.")
    private static let ofUpstream = ["upstream"]
    private static let upstreams = [
        panic, panics, ejections, retries, retriesRefused, requestsRefused, queued, queueMax, queueOverflows, queueTimeouts,
    ]

    // MARK: Servers

    static let serverRequests = MetricFamily("switchback_server_requests_total", .counter, ofServer, "Tries given to a server.")
    static let serverAnswers = MetricFamily(
        "switchback_server_answers_total", .counter, ofServer + ["class"], "Answers of a server by the class of their status.")
    static let serverFailures = MetricFamily("switchback_server_failures_total", .counter, ofServer, "Tries that failed: what max_fails counts.")
    static let serverActive = MetricFamily("switchback_server_requests_active", .gauge, ofServer, "Requests in flight at a server.")
    static let serverWeight = MetricFamily("switchback_server_weight", .gauge, ofServer, "Its share among its siblings.")
    static let serverUp = MetricFamily("switchback_server_up", .gauge, ofServer, "1: it takes new requests.")
    static let serverState = MetricFamily(
        "switchback_server_state", .gauge, ofServer + ["state"],
        "Always 1; the state is up, starting, busy, failed, ejected, unhealthy, unchecked, drain, down or unknown.")
    static let serversLeftOut = MetricFamily(
        "switchback_servers_left_out", .gauge, "Servers whose own figures are not told: there are too many.")
    private static let ofServer = ["upstream", "server"]
    private static let servers = [
        serverRequests, serverAnswers, serverFailures, serverActive, serverWeight, serverUp, serverState, serversLeftOut,
    ]

    // MARK: Health checks

    static let healthy = MetricFamily("switchback_upstream_servers_healthy", .gauge, ofUpstream, "Servers that pass all health checks.")
    static let checked = MetricFamily("switchback_upstream_servers_checked", .gauge, ofUpstream, "Servers that are asked.")
    static let gateServers = MetricFamily(
        "switchback_health_check_servers", .gauge, ["upstream", "check", "state"], "Servers by what a check says of them: passing, failing or checking.")
    static let gateRounds = MetricFamily(
        "switchback_health_check_failed_rounds", .gauge, ["upstream", "check"], "Rounds in a row in which no server passed.")
    static let checks = MetricFamily("switchback_server_checks_total", .counter, ofServer, "Health checks made.")
    static let checksFailed = MetricFamily("switchback_server_checks_failed_total", .counter, ofServer, "Health checks that failed.")
    static let falls = MetricFamily("switchback_server_unhealthy_total", .counter, ofServer, "How often a server became unhealthy.")
    private static let health = [healthy, checked, gateServers, gateRounds, checks, checksFailed, falls]

    // MARK: Splits and rollouts

    static let weight = MetricFamily("switchback_split_weight", .gauge, ["split", "variant"], "The weight of a variant.")
    static let held = MetricFamily("switchback_split_held", .gauge, ["split"], "1: new requests wait.")
    static let holding = MetricFamily("switchback_split_requests_holding", .gauge, ["split"], "Requests that wait.")
    private static let splits = [weight, held, holding]

    static let byPhase = MetricFamily("switchback_rollouts", .gauge, ["phase"], "Rollouts that are kept, by their phase.")
    static let verdicts = MetricFamily(
        "switchback_rollout_verdicts_total", .counter, ["verdict"], "What was found of steps since the process started: passed, inconclusive or failed.")
    static let findings = MetricFamily(
        "switchback_rollout_findings_total", .counter, ["finding"], "Why rollouts froze, failed or went back since the process started.")
    static let share = MetricFamily("switchback_rollout_share_percent", .gauge, ["split", "variant"], "What the new variant of a live rollout has.")
    private static let rollouts = [byPhase, verdicts, findings, share]

    // MARK: Certificates

    static let expiry = MetricFamily(
        "switchback_certificate_expiry_time_seconds", .gauge, ["certificate"], "The last moment of a certificate, in seconds since 1970.")
    static let left = MetricFamily(
        "switchback_certificate_left_seconds", .gauge, ["certificate"], "How long a certificate is still good; below 0: it has expired.")
    private static let certificates = [expiry, left]
}

extension MetricFamily {
    fileprivate init(_ name: String, _ kind: Kind, _ help: String) { self.init(name, kind, [], help) }
}

/// What rollouts come to, for /metrics.
public struct RolloutTotals: Sendable, Equatable {
    /// A live one: what the new variant has.
    public struct Share: Sendable, Equatable {
        public var split: String
        public var variant: String
        public var percent: Int
        public init(split: String, variant: String, percent: Int) {
            self.split = split
            self.variant = variant
            self.percent = percent
        }
    }
    /// By the words of phases, verdicts and findings; those at 0 among them.
    public var phases: [String: Int] = [:]
    public var verdicts: [String: Int] = [:]
    public var findings: [String: Int] = [:]
    public var shares: [Share] = []
    public init() {}
}
