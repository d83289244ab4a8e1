// What is told of the certificates that clients are shown, and what a write that replaces one carries. Keys are read and never written.
// Kept by the journal (`CertificateState`), answered by /certificates and /status, shown by proxyctl.

/// A certificate that was put at run time, as history and journal know it: the pair itself is kept apart.
public struct CertificateState: Sendable, Equatable {
    /// SHA-256 of the certificate, hexadecimal.
    public var fingerprint: String
    /// SHA-256 of the fingerprints of all certificates of the chain: by this the pair is found.
    public var chain: String
    /// The chain that the file had when this was put: when the file has another one, it was changed too.
    public var replaces: String
    /// Milliseconds since 1970.
    public var notAfterMs: Int64

    public init(fingerprint: String, chain: String, replaces: String, notAfterMs: Int64) {
        self.fingerprint = fingerprint
        self.chain = chain
        self.replaces = replaces
        self.notAfterMs = notAfterMs
    }

    var shortFingerprint: String { String(fingerprint.prefix(12)) }
    var lastDay: String { String(Timestamp.text(ms: notAfterMs).prefix(10)) }
    var briefText: String { json.text(pretty: false) }
}

/// One certificate that servers of the configuration show.
public struct CertificateInfo: Sendable, Equatable {
    public enum Source: String, Sendable, CaseIterable { case file, runTime = "run-time" }
    /// Servers of one block that show it.
    public struct Server: Sendable, Equatable {
        public var names: [String]
        public var listen: [String]
        public init(names: [String], listen: [String]) {
            self.names = names
            self.listen = listen
        }
    }
    /// One certificate of its chain.
    public struct Link: Sendable, Equatable {
        public var subject: String
        public var issuer: String
        public var serial: String
        public var fingerprint: String
        public var notBeforeMs: Int64
        public var notAfterMs: Int64
        public init(subject: String, issuer: String, serial: String, fingerprint: String, notBeforeMs: Int64, notAfterMs: Int64) {
            self.subject = subject
            self.issuer = issuer
            self.serial = serial
            self.fingerprint = fingerprint
            self.notBeforeMs = notBeforeMs
            self.notAfterMs = notAfterMs
        }
    }
    public var name: String
    public var source = Source.file
    /// The path of `ssl_certificate`.
    public var file = ""
    /// Its own first; never empty in what the server tells.
    public var chain: [Link]
    public var names: [String] = []
    public var keyType = ""
    /// Rounded down; below 0: it has expired.
    public var daysLeft = 0
    public var servers: [Server] = []
    public var warnings: [String] = []

    public init(name: String, chain: [Link]) {
        self.name = name
        self.chain = chain
    }

    /// Whole days from one moment to another, rounded down.
    public static func days(from: Int64, to: Int64) -> Int {
        let dayMs: Int64 = 86_400_000
        let ms = to - from
        return Int(ms >= 0 ? ms / dayMs : -((dayMs - 1 - ms) / dayMs))
    }
}

/// What /status says of one.
public struct CertificateStatus: Sendable, Equatable {
    public var name: String
    public var notAfterMs: Int64
    public var daysLeft: Int
    public var secondsLeft: Int64
    public var source: CertificateInfo.Source

    public init(name: String, notAfterMs: Int64, nowMs: Int64, source: CertificateInfo.Source) {
        self.name = name
        self.notAfterMs = notAfterMs
        self.source = source
        daysLeft = CertificateInfo.days(from: nowMs, to: notAfterMs)
        secondsLeft = (notAfterMs - nowMs) / 1000
    }
}

/// PUT /certificates/{name}.
public struct CertificateWrite: Sendable, Equatable {
    public var reason: String?
    /// PEM, its own certificate first.
    public var certificate: String
    /// PEM.
    public var key: String

    public init(reason: String? = nil, certificate: String, key: String) {
        self.reason = reason
        self.certificate = certificate
        self.key = key
    }
}
