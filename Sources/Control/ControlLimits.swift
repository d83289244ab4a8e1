// Every number that bounds Control: how much of the past is kept and how large the journal grows.
// Read by the journal and the controller; tests make them small.

package struct ControlLimits: Sendable {
    // MARK: History
    /// Revisions kept with their states, the current one among them.
    package var revisionsKept = 1000
    /// Servers and names of pools and splits that the kept states may hold, what several of them share counted once.
    /// About 100 bytes each.
    package var entriesKept = 2_000_000

    // MARK: Journal
    /// A journal smaller than this is not compacted, whatever part of it is of use.
    package var compactionBytesMin = 4 << 20
    /// The journal is compacted when it is so many times as large as it was after the last compaction ...
    package var compactionFactor = 4
    /// ... or when it has grown by this.
    package var compactionGrowthBytesMax = 64 << 20
    /// ... or by so many records: they bound the time of a start.
    package var compactionRecordsMax = 10_000
    /// After a compaction that failed, the next is tried when the journal has grown by this.
    package var compactionRetryBytes = 1 << 20
    /// At a start the journal is compacted when more than this follows what the last compaction wrote.
    package var compactionAtOpenBytes = 256 << 10
    /// One record. A longer one is damage.
    package var recordBytesMax = 1 << 30

    // MARK: The admin API
    /// The control thread's slice of a processor: what it does between two waits takes about as long.
    static let controlSliceNs: UInt64 = 200_000
    /// Connections to admin.sock.
    static let adminConnectionsMax = 512
    /// Requests that wait for the control thread.
    static let adminRequestsMax = 1024
    /// What a token of `admin_token_file` has at least.
    static let tokenBytesMin = 16

    /// Bytes of bodies among them.
    static let adminBytesMax = 64 << 20
    static let adminSegmentsMax = 16
    static let adminReasonBytesMax = 1000
    /// Names of users that are remembered.
    static let adminUserNamesMax = 1024
    /// Answers that wait for a revision or for a drain, how long they do, and how long they may.
    static let adminWaitsMax = 1024
    static let adminWaitMs: Int64 = 30_000
    static let adminWaitMsMax: Int64 = 3_600_000
    /// How often is looked whether a revision is visible; whether anything else has come to its end.
    static let adminPollMs: Int64 = 2
    static let adminSlowPollMs: Int64 = 20
    /// How often is asked whether those who wait are still there.
    static let adminProbeMs: Int64 = 1000
    static let eventReadersMax = 256
    /// After this time without an event a comment shows that the stream lives.
    static let eventCommentMs: Int64 = 15_000
    /// Of earlier events to one who comes back: well below what may wait for a slow reader.
    static let eventBacklogBytesMax = 512 << 10
    /// How often servers are looked at while somebody reads events, and how many of them at once.
    static let serverWatchMs: Int64 = 250
    static let serversWatchedPerRound = 20_000
    /// Signs of a path that the audit log keeps.
    static let auditPathMax = 1024

    // MARK: Responders of OCSP
    /// Questions that wait for a thread; more are answered with a failure at once.
    static let responderJobsMax = 1024
    static let responderThreadsMax = 4
    static let responderTimeoutNs: UInt64 = 60_000_000_000
    /// An answer with its head; they have two to four kilobytes.
    static let responderBytesMax = 64 << 10

    // MARK: Certificates
    /// How often is looked whether one is about to expire.
    static let certificateWatchMs: Int64 = 3_600_000

    // MARK: Rollouts
    /// How often a rollout that lives is looked at. A guard acts within this and the time of a change.
    static let rolloutTickMs: Int64 = 250
    static let rolloutHealthMs: Int64 = 1_000
    /// Ticks without a request are one line of the record for so long.
    static let rolloutQuietMs: Int64 = 10_000
    /// Between decisions the state of a rollout is written so often.
    static let rolloutStateMs: Int64 = 5_000
    static let rolloutsLiveMax = 64
    /// Those that have ended, with their records: on the disk, or without a folder in memory.
    static let rolloutsKept = 100
    static let rolloutsKeptInMemory = 16
    static let rolloutFileBytesMax = 64 << 20
    static let policiesMax = 256
    /// Threads that look at addresses, files and programs, and looks that wait for one.
    static let rolloutLookersMax = 8
    static let rolloutLooksMax = 1024
    /// Threads that tell receivers, one each, and messages that wait for one; how long it has, and the pauses before each time it is told.
    static let rolloutMessengersMax = 8
    static let rolloutReceiversMax = 256
    static let rolloutMessagesMax = 64
    static let rolloutMessageTimeoutNs: UInt64 = 10_000_000_000
    static let rolloutMessagePausesMs: [Int32] = [0, 500, 2_000, 8_000]
    static let rolloutMetricTimeoutNs: UInt64 = 5_000_000_000
    /// Warnings of threads that wait for the control thread's turn.
    static let rolloutWarningsMax = 256
    /// Servers of a variant that a health check asks.
    static let rolloutServersAsked = 16
    /// Failed rounds of health checks that are told at once.
    static let rolloutRoundsToldMax = 1000
    /// Health requests to each variant when a step is probed.
    static let rolloutProbeRequests = 20
    /// Of a policy, as JSON.
    static let policyBytesMax = 64 << 10

    // MARK: Receipts
    /// Revisions whose accounts are kept for receipts.
    static let receiptsKept = 1000
    /// How often an account that does not balance is read again, a millisecond apart: its workers may be in the middle of writing.
    static let receiptReadings = 50

    // MARK: Health checks
    /// Under way at once: each has a descriptor.
    static let healthChecksAtOnce = 512
    /// Of an answer, what is read of its head, and what is looked at of its body.
    static let healthHeadBytesMax = 32 << 10
    static let healthBodyBytesMax = 256 << 10
    /// All that is read for one check.
    static let healthAnswerBytesMax = 1 << 20
    /// What is known is written this long after it changed, and in any case as often as this, so that its age tells something.
    static let healthSaveMs: Int64 = 1000
    static let healthRefreshMs: Int64 = 60_000
    /// A file that is older is worth nothing.
    static let healthFileStaleMs: Int64 = 600_000
    static let healthFileBytesMax = 32 << 20
    static let healthEntriesKept = 200_000
    /// Servers that one answer of `upstream_health` names, the sick ones first.
    static let healthServersShown = 100

    // MARK: Pools
    /// Host names whose addresses are remembered until the next reload.
    static let resolvedNamesMax = 100_000

    package init() {}
}
