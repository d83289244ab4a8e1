// What can be changed while the proxy runs: the named upstreams with their servers, the splits among them, certificates.
// Read from the configuration, replaced through the admin API, kept by the journal. Plain values; they decide nothing.

/// All pools and splits of one revision. Names are unique across `upstreams` and `splits` together.
public struct ProxyState: Sendable, Equatable {
    /// By name. Order means nothing; whatever lists them sorts by name.
    public var upstreams: [String: UpstreamState]
    public var splits: [String: SplitState]
    /// Those that were replaced at run time, by the name of the certificate; all others are the files'.
    public var certificates: [String: CertificateState]

    public init(
        upstreams: [String: UpstreamState] = [:], splits: [String: SplitState] = [:], certificates: [String: CertificateState] = [:]
    ) {
        self.upstreams = upstreams
        self.splits = splits
        self.certificates = certificates
    }
}

/// One `upstream NAME {}`.
public struct UpstreamState: Sendable, Equatable {
    /// The balancing directive as the configuration writes it: `round_robin`, `least_conn`, `ip_hash`, `random`, `random two least_conn`,
    /// `hash $uri`, `hash $uri consistent`.
    public var balance = "round_robin"
    /// Idle connections each worker keeps; nil: the default, kept for each location apart.
    public var keepalive: Int?
    public var keepaliveIsLocal = false
    public var keepaliveRequests = 1000
    public var keepaliveTimeMs: Int64 = 3_600_000
    public var keepaliveTimeoutMs: Int64 = 60_000
    /// `sticky cookie ...` as the configuration writes it behind the word `sticky`; nil: none.
    public var sticky: String?
    /// The words of these directives; nil: they do not stand.
    public var circuitBreaker: String?
    public var outlierDetection: String?
    public var queue: String?
    public var retryBudget: String?
    /// In percent; nil: the default.
    public var panicThreshold: Int?
    /// Each `health_check`, in order; a server is well when it passes all of them. None: nobody asks.
    public var healthChecks: [HealthCheck] = []
    public var servers: [ServerState]
    /// The id the next new server is given. Ids are never used twice in an upstream.
    public var nextServerID = 0

    public init(servers: [ServerState] = []) { self.servers = servers }
}

/// One `server` of an upstream. Field names in JSON are those of NGINX Plus's API.
public struct ServerState: Sendable, Equatable {
    /// Unique in its upstream and stable over changes: given when a server of this address first appears.
    public var id = -1
    /// `host:port`, `[IPv6]:port` or `unix:/path`, as configured.
    public var server: String { didSet { ipv4 = ServerAddress.number(server) } }
    /// What `server` says, if that is an IPv4 address and a port in their normal form: the address, shifted by 16, and the port. 0: it
    /// is something else. Of thousands of servers, whose texts lie all over the memory, the numbers are compared.
    public private(set) var ipv4: UInt64
    /// 0: takes no new requests, whoever asks, until it has weight again.
    public var weight = 1
    public var maxConns = 0
    public var maxFails = 1
    public var failTimeoutMs: Int64 = 10_000
    /// For so long its share grows when it is new or has recovered.
    public var slowStartMs: Int64 = 0
    public var backup = false
    public var down = false
    /// Only requests stuck to it by session.
    public var drain = false

    public init(server: String) {
        self.server = server
        ipv4 = ServerAddress.number(server)
    }

    public static func == (a: ServerState, b: ServerState) -> Bool { a.id == b.id && a.hasText(of: b) && a.isAlike(b) }

    func hasText(of other: borrowing ServerState) -> Bool { ipv4 == other.ipv4 && (ipv4 != 0 || server == other.server) }

    /// Besides the id and the address.
    func isAlike(_ other: borrowing ServerState) -> Bool {
        weight == other.weight && maxConns == other.maxConns && maxFails == other.maxFails && failTimeoutMs == other.failTimeoutMs
            && slowStartMs == other.slowStartMs && backup == other.backup && down == other.down && drain == other.drain
    }
}

/// One `split NAME {}`: a named, weighted choice among upstreams.
public struct SplitState: Sendable, Equatable {
    /// Shares of their sum by the variant's name, which is the name of an upstream.
    public var weights: [String: Int]
    /// Templates; the first that is not empty names the user. None: every request for itself.
    public var key: [String]
    /// A template whose value, when it is the name of a variant, decides.
    public var force: String?
    /// Gives a visitor without a key one.
    public var assign: AssignState?
    /// Safe requests are sent to another variant as well, and the answers compared.
    public var shadow: ShadowState?

    public init(
        weights: [String: Int], key: [String] = [], force: String? = nil, assign: AssignState? = nil, shadow: ShadowState? = nil
    ) {
        self.weights = weights
        self.key = key
        self.force = force
        self.assign = assign
        self.shadow = shadow
    }
}

/// `shadow VARIANT share=100% noise=20% header=NAME`.
public struct ShadowState: Sendable, Equatable {
    /// The variant that is tried; it may have no weight.
    public var to: String
    /// Percent of the safe requests (GET, HEAD, OPTIONS) for other variants that are sent twice.
    public var share = 100
    /// Percent of these that go to the variant that answered the client again: what differs there is noise.
    public var noise = 20
    /// Names of fields that are compared besides status and body.
    public var headers: [String] = []
    public init(to: String) { self.to = to }
}

/// `assign cookie=NAME max_age=30d`.
public struct AssignState: Sendable, Equatable {
    public var cookie: String
    public var maxAgeSeconds: Int64
    public init(cookie: String, maxAgeSeconds: Int64) {
        self.cookie = cookie
        self.maxAgeSeconds = maxAgeSeconds
    }
}
