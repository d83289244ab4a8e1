// The account of a change: what became of the requests around it. The sums balance, or the receipt says so.
// Put together by Control from the accounts that the workers keep; answered by /receipts, shown by proxyctl.

/// What became of the requests that began under one revision (or several, summed).
public struct RequestAccount: Sendable, Equatable {
    public var started: UInt64 = 0
    /// The whole answer went to the client, whatever its status.
    public var completed: UInt64 = 0
    public var abortedByClient: UInt64 = 0
    /// Answered 502 or 504 in the upstream's stead, or cut because the upstream broke off.
    public var failedByUpstream: UInt64 = 0
    /// Refused or cut for a reason of ours: no descriptors, no memory, a hold's bound, a stop, a drain's end.
    public var failedByProxy: UInt64 = 0
    /// Held requests that went on under a later revision, where they count as started again.
    public var moved: UInt64 = 0
    public var inFlight: UInt64 = 0
    public init() {}

    /// Every request started has ended, moved or is in flight.
    public var balances: Bool {
        // Figures may come from anywhere: a sum that overflows is no reason to stop.
        started == completed &+ abortedByClient &+ failedByUpstream &+ failedByProxy &+ moved &+ inFlight
    }
}

public struct Receipt: Sendable, Equatable {
    public var revision: UInt64
    public var reason = ""
    public var who = ""
    /// When the change was accepted, milliseconds since 1970.
    public var atMs: Int64 = 0
    /// Requests of the revision before, from its beginning on.
    public var before = RequestAccount()
    /// Requests of this revision, to this moment or to its end.
    public var after = RequestAccount()
    /// In flight when the workers took this revision, and what became of them since.
    public var carried = RequestAccount()
    /// Tunnels (upgraded connections) in flight then: they go on.
    public var tunnelsCarried: UInt64 = 0
    /// Under this revision: requests that waited in a hold, and tries beyond the first.
    public var held: UInt64 = 0
    public var retried: UInt64 = 0
    /// Requests made within requests (mirrors, parts of pages), which count in none of the accounts, and mirrored ones that were not made
    /// because too many were under way.
    public var inner: UInt64 = 0
    public var mirrorsDropped: UInt64 = 0
    /// Client connections that ended under this revision, by who ended them.
    public var closedByClient: UInt64 = 0
    public var closedByProxy: UInt64 = 0
    /// Long-lived connections closed by a drain.
    public var closedByDrain: UInt64 = 0
    /// Microseconds from acceptance until each worker served by it; nil: not all do yet.
    public var visibleAfterUs: Int64?
    public var workers = 0
    /// Milliseconds until the last request of an earlier revision had ended; nil: some are in flight.
    public var slowestDrainMs: Int64?
    /// A later revision has taken over, and nothing of this one or before is in flight: the figures are final.
    public var isFinal = false
    public init(revision: UInt64) { self.revision = revision }

    public var balances: Bool { before.balances && after.balances && carried.balances }
}
