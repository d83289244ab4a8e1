// The state of the running proxy at one moment, and the events of its life.
// Answered by /status and /events; shown by proxyctl status and proxyctl events.

public struct Status: Sendable, Equatable {
    public var version = ""
    public var revision: UInt64 = 0
    public var processID: Int32 = 0
    public var startedAtMs: Int64 = 0
    public var nowMs: Int64 = 0
    public var workers = 0
    public var connections: UInt64 = 0
    /// Since the start.
    public var requests = RequestAccount()
    public var upstreams: [UpstreamStatus] = []
    public var splits: [SplitStatus] = []
    public var certificates: [CertificateStatus] = []
    /// `on`, `off`, or why the journal cannot be written.
    public var journal = "off"
    public init() {}
}

public struct UpstreamStatus: Sendable, Equatable {
    public var name: String
    public var servers: [ServerStatus] = []
    /// So many servers are sick that all are used; how often that began, and how often a server was ejected.
    public var isPanicking = false
    public var panics = 0
    public var ejections = 0
    /// Requests that were not tried at a further server, and those refused because too many were active or waited for a connection.
    public var retriesRefused = 0
    public var requestsRefused = 0
    /// Requests that are tried at a further server now, where a budget bounds them.
    public var retries = 0
    /// Nil: there is none.
    public var queue: QueueStatus?
    /// Nil: it has no health checks. Its servers' stands with the servers.
    public var health: UpstreamHealth?
    public init(name: String) { self.name = name }
}

/// Requests that wait for a server. Names in JSON are those of NGINX Plus's API.
public struct QueueStatus: Sendable, Equatable {
    public var size = 0
    public var sizeMax = 0
    /// Refused because the queue was full, and because they had waited too long.
    public var overflows = 0
    public var timeouts = 0
    public init() {}
}

public struct ServerStatus: Sendable, Equatable {
    public var id: Int
    public var server: String
    public var weight: Int
    public var backup = false
    /// `up`, `failed` (out after failures), `ejected` (as an outlier), `unhealthy` and `unchecked` (by its health checks), `down`,
    /// `drain`, `busy` (at max_conns), `starting` (slowly).
    public var state = "up"
    public var inFlight = 0
    /// Tries given to it, those that failed, and its answers 5xx, since its counters were made.
    public var requests = 0
    public var failures = 0
    public var errors = 0
    /// Its answers by class, 1xx to 5xx, since then.
    public var answers = [0, 0, 0, 0, 0]
    /// Nil: it has no health checks.
    public var health: ServerHealth?
    public init(id: Int, server: String, weight: Int) {
        self.id = id
        self.server = server
        self.weight = weight
    }
}

public struct SplitStatus: Sendable, Equatable {
    public var name: String
    public var weights: [String: Int]
    public var isHeld = false
    public var holding = 0
    /// What shadows came to since the process began; nil: there were none.
    public var shadow: ShadowStatus?
    public init(name: String, weights: [String: Int]) {
        self.name = name
        self.weights = weights
    }
}

/// Answers to requests that were sent twice, compared with what the client got.
public struct ShadowStatus: Sendable, Equatable {
    /// Of the variant that is tried.
    public var compared: UInt64 = 0
    public var differing: UInt64 = 0
    /// Of the client's own variant: the noise.
    public var comparedOld: UInt64 = 0
    public var differingOld: UInt64 = 0
    public init() {}
}

/// One line of /events.
public struct Event: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case revision, drainBegan = "drain-began", drained, held, released, serverFailed = "server-failed", serverRecovered = "server-recovered"
        case reloadRefused = "reload-refused", conflict, certificateExpires = "certificate-expires", health, rollout
    }
    /// Counts from 1 in a process; `Last-Event-ID` takes up from it.
    public var id: UInt64
    public var kind: Kind
    public var atMs: Int64
    public var revision: UInt64
    /// An upstream, a split, a server or a certificate, by the kind; empty: the proxy.
    public var subject: String
    public var text: String
    /// Of a change of health alone.
    public var health: HealthEvent?
    public init(id: UInt64, kind: Kind, atMs: Int64, revision: UInt64, subject: String, text: String) {
        self.id = id
        self.kind = kind
        self.atMs = atMs
        self.revision = revision
        self.subject = subject
        self.text = text
    }
}
