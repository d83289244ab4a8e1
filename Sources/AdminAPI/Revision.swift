// The history of changes: what a revision is, how two states differ, what a change would do.
// Kept by the journal, answered by /revisions and ?dry_run=1, shown by proxyctl.

/// One accepted change.
public struct Revision: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        /// The configuration as it was read at the first start.
        case start
        /// A write of the admin API.
        case change
        /// The configuration was read anew (HUP), or differed at a restart.
        case reload
        case undo, restore
    }
    public var number: UInt64
    public var kind: Kind
    /// Milliseconds since 1970, UTC.
    public var atMs: Int64
    /// The user of the unix socket's peer, the name of a token, or an address.
    public var who: String
    public var reason: String
    /// One line that says what changed: `split app: green 5 -> 50`.
    public var summary: String
    /// The revision whose state this one has, for undo and restore.
    public var restores: UInt64?
    /// What an undo of this revision goes back to; nil: there is nothing before it.
    public var previous: UInt64?

    public init(
        number: UInt64, kind: Kind, atMs: Int64, who: String, reason: String, summary: String, restores: UInt64? = nil, previous: UInt64? = nil
    ) {
        self.number = number
        self.kind = kind
        self.atMs = atMs
        self.who = who
        self.reason = reason
        self.summary = summary
        self.restores = restores
        self.previous = previous
    }
}

/// One difference between two states.
public struct StateDifference: Sendable, Equatable {
    public enum Kind: String, Sendable { case added, removed, changed }
    public var kind: Kind
    /// RFC 6901, in the JSON of the whole state; servers are named by their address: `/upstreams/blue/servers/127.0.0.1:3001/weight`.
    public var pointer: String
    /// As JSON text; nil where there is none on that side.
    public var from: String?
    public var to: String?
    public init(_ kind: Kind, _ pointer: String, from: String? = nil, to: String? = nil) {
        self.kind = kind
        self.pointer = pointer
        self.from = from
        self.to = to
    }
}

/// A field that both the file and the running proxy changed, and not to the same. The running value stays.
public struct MergeConflict: Sendable, Equatable {
    public var pointer: String
    public var was: String?
    public var inFile: String?
    public var running: String?
    public init(pointer: String, was: String?, inFile: String?, running: String?) {
        self.pointer = pointer
        self.was = was
        self.inFile = inFile
        self.running = running
    }
}

/// What `?dry_run=1` answers.
public struct Plan: Sendable, Equatable {
    /// The revision the plan was made against.
    public var revision: UInt64
    public var differences: [StateDifference] = []
    /// Servers that would serve afterwards, with their condition now.
    public var servers: [PlannedServer] = []
    /// Requests in flight on servers that would take no new ones.
    public var inFlightOnLeaving = 0
    /// Tunnels among them.
    public var longLivedOnLeaving = 0
    /// The share of users that would get another variant, by split, in percent.
    public var usersThatMove: [String: Double] = [:]
    public var warnings: [String] = []
    public init(revision: UInt64) { self.revision = revision }
}

public struct PlannedServer: Sendable, Equatable {
    public var upstream: String
    public var server: String
    /// `up`, `failed`, `down`, `drain`, `unknown` (new).
    public var state: String
    public init(upstream: String, server: String, state: String) {
        self.upstream = upstream
        self.server = server
        self.state = state
    }
}
