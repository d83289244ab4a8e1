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
    package init(address: SocketAddress, names: ServerNames, defaultServer: Int32) {
        self.address = address
        self.names = names
        self.defaultServer = defaultServer
    }
}

/// One peer of an upstream.
package struct PeerSettings: BitwiseCopyable {
    package var address: SocketAddress
    /// As the configuration names the server.
    package var name: ByteView
    package init(address: SocketAddress, name: ByteView) {
        self.address = address
        self.name = name
    }
}

/// One `upstream {}`, or what `proxy_pass` names directly.
package struct UpstreamSettings: BitwiseCopyable {
    package var name: ByteView
    package var peers: Frozen<PeerSettings>
    package var algorithm: Algorithm
    package var hashKey: Template
    package var keepalive = 32
    /// Idle connections serve only the location that opened them (nginx's default pool of an upstream without `keepalive`).
    package var keepaliveIsLocal = true
    package var keepaliveRequests: UInt32 = 1000
    package var keepaliveTimeMs: Int64 = 3_600_000
    package var keepaliveTimeoutMs: Int64 = 60_000
    package init(name: ByteView, peers: Frozen<PeerSettings>, algorithm: Algorithm, hashKey: Template) {
        self.name = name
        self.peers = peers
        self.algorithm = algorithm
        self.hashKey = hashKey
    }
}

/// What hot code reaches through a `Ref`.
package struct SnapshotRoot: BitwiseCopyable {
    package var listens = Frozen<ListenSettings>.empty
    package var servers = Frozen<ServerSettings>.empty
    package var locations = Frozen<LocationSettings>.empty
    package var upstreams = Frozen<UpstreamSettings>.empty
    /// Upstream names, for `proxy_pass http://$name`.
    package var upstreamNames = NameTable.empty
    package var maps = Frozen<MapSettings>.empty
    package var splitClients = Frozen<SplitClientsSettings>.empty
    package var regexes = Frozen<RegularExpression>.empty
    /// Slots for the values of `set` and of maps in each exchange.
    package var valueSlots = 0
    /// Names of the groups of expressions that are used as variables, to their slots.
    package var captureSlots = NameTable.empty
    /// Whether any template reads the sent or the received response head after it has gone: it is kept only then.
    package var keepsSentHead = false
    package var keepsUpstreamHead = false
    /// The error log of the main level.
    package var processLog = ErrorLogTarget()
    package var logFiles = Frozen<LogFile>.empty
    package init() {}
}

package final class Snapshot: Sendable {
    /// Counts accepted changes from 1.
    package let revision: UInt64
    package let root: Ref<SnapshotRoot>
    /// What each worker builds its balancers from, in the order of `root.upstreams`.
    package let upstreams: [UpstreamPeers]
    /// Keeps alive what `root` points to.
    private let arena: Arena
    private let owned: [any Sendable]

    package init(revision: UInt64, root: SnapshotRoot, upstreams: [UpstreamPeers], arena: Arena, owned: [any Sendable]) {
        self.revision = revision
        self.root = arena.freeze(root)
        self.upstreams = upstreams
        self.arena = arena
        self.owned = owned
    }
}

/// What a balancer is made from.
package struct UpstreamPeers: Sendable {
    package var algorithm: Algorithm
    package var peers: [PeerSpec]
    package init(algorithm: Algorithm, peers: [PeerSpec]) {
        self.algorithm = algorithm
        self.peers = peers
    }
}

/// Where the newest snapshot is found by every worker.
package final class SnapshotPublisher: Sendable {
    private let newest: Mutex<Snapshot>
    private let revision: Atomic<UInt64>

    package init(_ first: Snapshot) {
        newest = Mutex(first)
        revision = Atomic(first.revision)
    }

    package func publish(_ snapshot: Snapshot) {
        newest.withLock { $0 = snapshot }
        revision.store(snapshot.revision, ordering: .releasing)
    }

    /// One load: what a worker compares when an exchange begins.
    @inline(__always)
    var publishedRevision: UInt64 { revision.load(ordering: .acquiring) }

    package var current: Snapshot { newest.withLock { $0 } }
}
