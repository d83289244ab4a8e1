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
    /// Connections to admin.sock.
    static let adminConnectionsMax = 512
    /// Requests that wait for the control thread.
    static let adminRequestsMax = 1024
    /// What a token of `admin_token_file` has at least.
    static let tokenBytesMin = 16

    // MARK: Receipts
    /// Revisions whose accounts are kept for receipts.
    static let receiptsKept = 1000
    /// How often an account that does not balance is read again, a millisecond apart: its workers may be in the middle of writing.
    static let receiptReadings = 50

    // MARK: Pools
    /// Host names whose addresses are remembered until the next reload.
    static let resolvedNamesMax = 100_000

    package init() {}
}
