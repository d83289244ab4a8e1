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
    /// What `proxy_pass` names directly, without an `upstream`.
    package var isImplicit = false
    /// One of the peers is drained.
    package var hasDrained = false
    package var sticky = StickySettings()
    /// `sticky` is set.
    package var isSticky = false
    /// Which peers are ejected, and when all are used again.
    package var health = HealthPolicy()
    package var limits = UpstreamLimits()
    /// Where there are many peers.
    fileprivate(set) var index = PeerIndex()
    package init(name: ByteView, peers: Frozen<PeerSettings>, algorithm: Algorithm, hashKey: Template) {
        self.name = name
        self.peers = peers
        self.algorithm = algorithm
        self.hashKey = hashKey
    }
}

/// What an upstream takes at once, over all workers: `retry_budget`, `circuit_breaker` and `queue`.
package struct UpstreamLimits: BitwiseCopyable {
    package var hasRetryBudget = false
    package var retryBudget = RetryBudget()
    /// Exchanges that hold a peer, and exchanges that wait for a connection to be made.
    package var activeMax = Int.max
    package var pendingMax = Int.max
    /// Exchanges that wait for a peer that can take them; 0: none does.
    package var queueMax = 0
    package var queueTimeoutMs: Int64 = 60_000
    package init() {}

    var areSet: Bool { countsActive || pendingMax != .max || queueMax > 0 }

    /// Something depends on the number of active exchanges.
    package var countsActive: Bool { hasRetryBudget || activeMax != .max }
}

/// One upstream of a snapshot with everything a worker builds its balancer from. A revision that does not change an upstream has the
/// very object of the revision before, and workers keep what they have for it: counters, idle connections, positions.
package final class UpstreamDefinition: Sendable {
    package let settings: Ref<UpstreamSettings>
    package let peers: [PeerSpec]
    /// The points of `hash ... consistent`, shared by the workers.
    package let ring: HashRing?
    /// What the peers share with each other, and with those of other snapshots.
    package let counters: PoolCounters
    package let line: WaitingLine
    /// Keeps alive what `settings` points to.
    private let arena: Arena

    /// `peers` are in the order of `settings.peers`, which lie in `arena`.
    package init(settings: UpstreamSettings, peers: [PeerSpec], counters: PoolCounters, line: WaitingLine, arena: Arena) {
        precondition(settings.peers.count == peers.count)
        var settings = settings
        settings.index = PeerIndex(settings.peers, arena: arena)
        self.settings = arena.freeze(settings)
        self.peers = peers
        self.counters = counters
        self.line = line
        ring = settings.algorithm == .hashConsistent ? HashRing(peers: peers) : nil
        self.arena = arena
    }
}

/// Finds one of many peers by its address. The connections of an upstream look for their peers when it has changed.
struct PeerIndex: BitwiseCopyable {
    /// Fewer peers are looked through.
    private static let peersMin = 16
    /// At least twice as many as peers; -1: free.
    private var places = Frozen<Int32>.empty

    init() {}

    init(_ peers: Frozen<PeerSettings>, arena: Arena) {
        if peers.count < Self.peersMin { return }
        var size = 2 * Self.peersMin
        while size < 2 * peers.count { size *= 2 }
        places = arena.freeze([Int32](repeating: -1, count: size))
        for i in 0..<peers.count {
            let place = place(of: peers[i].address.bytes, among: peers)
            // Of several with one address, the first.
            if place.value < 0 { place.value = Int32(i) }
        }
    }

    func find(_ address: ByteView, among peers: Frozen<PeerSettings>) -> Int32? {
        if places.isEmpty { return (0..<peers.count).first { peers[$0].address.bytes == address }.map { Int32($0) } }
        let found = place(of: address, among: peers).value
        return found < 0 ? nil : found
    }

    /// Where the address is, or the free place for it.
    private func place(of address: ByteView, among peers: Frozen<PeerSettings>) -> Ref<Int32> {
        // FNV-1a, its upper half mixed in, since the lower bits of a product know little of the upper ones.
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in address.buffer { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        var next = Int(truncatingIfNeeded: hash ^ hash >> 32) & (places.count - 1)
        while places[next].value >= 0, !(peers[Int(places[next].value)].address.bytes == address) { next = (next + 1) & (places.count - 1) }
        return places[next]
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
