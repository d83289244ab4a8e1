// What an upstream is: its peers, how it chooses among them, what its idle connections may be. Immutable.
// Made by Control, shared by all snapshots in which it is the same; each worker keeps a pool and a balancer for it.

import Balancing
import Bytes

/// One peer of an upstream.
package struct PeerSettings: BitwiseCopyable {
    package var address: SocketAddress
    /// As the configuration names the server.
    package var name: ByteView
    /// Takes nothing new but requests that are stuck to it.
    package var isDrained: Bool
    /// Its name in cookies, where sessions stick.
    package var stickyID = ByteView.empty
    package init(address: SocketAddress, name: ByteView, isDrained: Bool = false) {
        self.address = address
        self.name = name
        self.isDrained = isDrained
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
    /// One of the peers is drained.
    package var hasDrained = false
    package var sticky = StickySettings()
    /// `sticky` is set.
    package var isSticky = false
    package init(name: ByteView, peers: Frozen<PeerSettings>, algorithm: Algorithm, hashKey: Template) {
        self.name = name
        self.peers = peers
        self.algorithm = algorithm
        self.hashKey = hashKey
    }
}

/// One upstream of a snapshot with everything a worker builds its balancer from. A revision that does not change an upstream has the
/// very object of the revision before, and workers keep what they have for it: counters, idle connections, positions.
package final class UpstreamDefinition: Sendable {
    package let settings: Ref<UpstreamSettings>
    package let peers: [PeerSpec]
    /// The points of `hash ... consistent`, shared by the workers.
    package let ring: HashRing?
    /// Keeps alive what `settings` points to.
    private let arena: Arena

    /// `peers` are in the order of `settings.peers`, which lie in `arena`.
    package init(settings: UpstreamSettings, peers: [PeerSpec], arena: Arena) {
        precondition(settings.peers.count == peers.count)
        self.settings = arena.freeze(settings)
        self.peers = peers
        ring = settings.algorithm == .hashConsistent ? HashRing(peers: peers) : nil
        self.arena = arena
    }
}

/// What a name in `proxy_pass` leads to, as one number, so that a `NameTable` can hold it.
package struct Target: BitwiseCopyable, Equatable {
    package let code: Int32
    package init(code: Int32) { self.code = code }
    package static let none = Target(code: -1)
    /// By its place in the snapshot's upstreams.
    package static func upstream(_ index: Int) -> Target { Target(code: Int32(index) << 1) }
    /// By its place in `SnapshotRoot.splits`.
    package static func split(_ index: Int) -> Target { Target(code: Int32(index) << 1 | 1) }
    @inline(__always) var isSplit: Bool { code & 1 == 1 }
    @inline(__always) var index: Int { Int(code >> 1) }
}
