// A worker's hold on a snapshot: the snapshot, this worker's balancers and idle connections for it, and who still uses it.
// Adopted when an exchange begins or the mailbox says so; dropped when its last exchange has ended.

import Balancing
import Bytes
import HTTPMessage

/// What an exchange pins.
struct PinnedSnapshot: BitwiseCopyable {
    let root: Ref<SnapshotRoot>
    let revision: UInt64
    let balancers: UnsafeMutablePointer<Balancer>
    let pools: Frozen<UpstreamPool>
    /// Exchanges that began under it and have not ended.
    var pins = 0
}

/// Owns what a `PinnedSnapshot` points to.
final class AdoptedSnapshot {
    let snapshot: Snapshot
    let pinned: Ref<PinnedSnapshot>
    private let arena = Arena()
    private let balancers: UnsafeMutablePointer<Balancer>

    init(_ snapshot: Snapshot) {
        self.snapshot = snapshot
        let upstreams = snapshot.root.upstreams
        balancers = .allocate(capacity: max(1, upstreams.count))
        var pools: [UpstreamPool] = []
        for i in 0..<upstreams.count {
            let peers = snapshot.upstreams[i]
            (balancers + i).initialize(to: Balancer(peers.algorithm, peers: peers.peers, ring: peers.ring))
            let slots = arena.freeze([Handle](repeating: .none, count: upstreams[i].peers.count))
            pools.append(UpstreamPool(settings: upstreams[i], byPeer: slots))
        }
        pinned = arena.freeze(
            PinnedSnapshot(root: snapshot.root, revision: snapshot.revision, balancers: balancers, pools: arena.freeze(pools)))
    }

    deinit {
        balancers.deinitialize(count: snapshot.upstreams.count)
        balancers.deallocate()
    }
}

extension Worker {
    /// Takes the newest snapshot if it is not the current one: one atomic load when it is.
    @inline(__always)
    func adoptIfPublished() {
        if publisher.publishedRevision != current.revision { adoptPublished() }
    }

    func adoptPublished() {
        let snapshot = publisher.current
        if snapshot.revision == current.revision { return }
        let fresh = AdoptedSnapshot(snapshot)
        let old = current
        adopted.append(fresh)
        current = fresh.pinned
        carryIdleConnections(from: old, to: fresh.pinned)
        for i in listeners.indices { listeners[i].settings = listenSettings(for: listeners[i].address) }
        counters.adopted(revision: snapshot.revision)
    }

    /// Idle connections to peers that stay go on serving; the others close.
    private func carryIdleConnections(from old: Ref<PinnedSnapshot>, to fresh: Ref<PinnedSnapshot>) {
        for i in 0..<old.pools.count {
            let pool = old.pools[i]
            let heir = findPool(named: pool.settings.name, in: fresh)
            while let u = upstreams.find(pool.oldest) {
                unpark(u)
                if let heir, heir.settings.keepalive > 0, let peer = findPeer(u.address, in: heir) {
                    u.peer = peer
                    u.address = heir.settings.peers[Int(peer)].address
                    park(u, in: heir)
                } else {
                    closeUpstream(u)
                }
            }
        }
    }

    func findPool(named name: ByteView, in pinned: Ref<PinnedSnapshot>) -> Ref<UpstreamPool>? {
        (0..<pinned.pools.count).lazy.map { pinned.pools[$0] }.first { $0.settings.name == name }
    }

    func findPeer(_ address: SocketAddress, in pool: Ref<UpstreamPool>) -> Int32? {
        (0..<pool.settings.peers.count).first { pool.settings.peers[$0].address.bytes == address.bytes }.map { Int32($0) }
    }

    func unpin(_ pinned: Ref<PinnedSnapshot>) { pinned.pins -= 1 }

    func dropUnusedSnapshots() {
        guard adopted.contains(where: { $0.pinned != current && $0.pinned.pins == 0 }) else { return }
        // Waiting log lines name files that the snapshot owns.
        flushAllLogs()
        adopted.removeAll { $0.pinned != current && $0.pinned.pins == 0 }
    }
}
