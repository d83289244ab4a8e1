// One revision of everything the workers serve by: listeners' server tables, routes, upstreams, maps, logs.
// Built by Control, published to all workers, immutable; it dies with the last exchange that began under it.

import Balancing
import Bytes
import Synchronization

/// One `server {}`.
package struct ServerSettings: BitwiseCopyable {
    /// `$server_name`: the first name.
    package var name = ByteView.empty
    /// Settings that hold before a location is chosen, and where none matches.
    package var settings: Ref<LocationSettings>
    package var rewrite = Frozen<RewriteStep>.empty
    package var locations: LocationTree
    package var namedLocations: NameTable
    package var headerBufferBytes = 1024
    package var largeHeaderBuffers = 4
    package var largeHeaderBytes = 8192
    package var clientHeaderTimeoutMs: Int64 = 60_000
    package var ignoreInvalidHeaders = true
    package var underscoresInHeaders = false
    package var mergeSlashes = true
    package var maxHeaders = Limits.headerFieldsMax
    /// `http2 on`.
    package var speaksHTTP2 = false
    package var tls = TLSServerSettings()
    /// Streams one client may have open, and what it may send of a body before anyone reads it.
    package var http2StreamsMax = 128
    package var http2PrereadBytes = 65_536
    /// It has nothing but the admin API: what is refused before it has a location is refused in its words.
    package var isAdmin = false

    package init(settings: Ref<LocationSettings>, locations: LocationTree, namedLocations: NameTable) {
        self.settings = settings
        self.locations = locations
        self.namedLocations = namedLocations
    }
}

/// One address listened on, with the servers behind it.
package struct ListenSettings: BitwiseCopyable {
    package var address: SocketAddress
    package var names: ServerNames
    package var defaultServer: Int32
    package var isTLS = false
    package var acceptsProxyProtocol = false
    /// `listen ... http2`: for every server of the address, whatever `http2` says.
    package var speaksHTTP2 = false
    package init(address: SocketAddress, names: ServerNames, defaultServer: Int32) {
        self.address = address
        self.names = names
        self.defaultServer = defaultServer
    }
}

/// What hot code reaches through a `Ref`.
package struct SnapshotRoot: BitwiseCopyable {
    package var listens = Frozen<ListenSettings>.empty
    package var servers = Frozen<ServerSettings>.empty
    package var locations = Frozen<LocationSettings>.empty
    /// What the names in `proxy_pass` lead to, by the slot a location has for its name.
    package var targets = Frozen<Target>.empty
    /// The codes of targets by name, for `proxy_pass http://$name`.
    package var targetNames = NameTable.empty
    package var splits = Frozen<SplitEntry>.empty
    package var maps = Frozen<MapSettings>.empty
    package var splitClients = Frozen<SplitClientsSettings>.empty
    package var regexes = Frozen<RegularExpression>.empty
    package var limitZones = Frozen<LimitZoneSettings>.empty
    /// Slots for the values of `set` and of maps in each exchange.
    package var valueSlots = 0
    /// Codes of the variables that the configuration defines, by name.
    package var userVariables = NameTable.empty
    /// Names of the groups of expressions that are used as variables, to their slots.
    package var captureSlots = NameTable.empty
    /// Whether any template reads the sent or the received response head after it has gone: it is kept only then.
    package var keepsSentHead = false
    /// Some template tells the name of a body's file: those files have one.
    package var namesBodyFiles = false
    package var keepsUpstreamHead = false
    /// The error log of the main level.
    package var processLog = ErrorLogTarget()
    package var logFiles = Frozen<LogFile>.empty
    package var certificateCaches = Frozen<CertificateCacheSettings>.empty
    package var charsets = Charsets()
    package init() {}
}

package final class Snapshot: Sendable {
    /// Counts accepted changes from 1: what a user calls the revision.
    package let revision: UInt64
    /// Counts publications: a hold makes a new snapshot of the same revision.
    package let serial: UInt64
    package let root: Ref<SnapshotRoot>
    /// In the order that `Target` and `SplitEntry` count in. Shared with the snapshots in which they are the same.
    package let upstreams: [UpstreamDefinition]
    /// One for each worker, by its number. Snapshots of one revision share them.
    package let accounts: [RevisionAccount]
    /// Keeps alive what `root` points to.
    private let arena: Arena
    private let owned: [any Sendable]

    package init(
        revision: UInt64, serial: UInt64, root: SnapshotRoot, upstreams: [UpstreamDefinition], accounts: [RevisionAccount] = [], arena: Arena,
        owned: [any Sendable]
    ) {
        self.revision = revision
        self.serial = serial
        self.root = arena.freeze(root)
        self.upstreams = upstreams
        self.accounts = accounts
        self.arena = arena
        self.owned = owned
    }
}

/// Where the newest snapshot is found by every worker.
package final class SnapshotPublisher: Sendable {
    private let newest: Mutex<Snapshot>
    private let serial: Atomic<UInt64>

    package init(_ first: Snapshot) {
        newest = Mutex(first)
        serial = Atomic(first.serial)
    }

    /// From here on no exchange begins under an older snapshot, on any worker.
    package func publish(_ snapshot: Snapshot) {
        newest.withLock { $0 = snapshot }
        serial.store(snapshot.serial, ordering: .releasing)
    }

    /// One load: what a worker compares when an exchange begins.
    @inline(__always)
    var publishedSerial: UInt64 { serial.load(ordering: .acquiring) }

    package var current: Snapshot { newest.withLock { $0 } }
}

extension Ref where T == SnapshotRoot {
    /// Places of locations, slots of values and indices in templates mean the same in both.
    func hasRoutes(of other: Ref<SnapshotRoot>) -> Bool {
        self == other || !self.locations.isEmpty && self.locations.isSame(as: other.locations)
    }
}
