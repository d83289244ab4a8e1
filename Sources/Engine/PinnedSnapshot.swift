// A worker's hold on a snapshot: the snapshot, this worker's pools for it, its account, and who still uses it.
// Adopted when an exchange begins or the mailbox says so; dropped when its last exchange has ended.

import Balancing
import Bytes
import HTTPMessage

/// What an exchange pins.
struct PinnedSnapshot: BitwiseCopyable {
    let root: Ref<SnapshotRoot>
    let revision: UInt64
    let serial: UInt64
    /// In the order of the snapshot's upstreams.
    let pools: Frozen<Ref<UpstreamPool>>
    let account: Account
    /// Exchanges that began under it and have not ended.
    var pins = 0
}

/// Owns what a `PinnedSnapshot` points to.
final class AdoptedSnapshot {
    let snapshot: Snapshot
    let pinned: Ref<PinnedSnapshot>
    let upstreams: [WorkerUpstream]
    private let account: RevisionAccount
    private let arena = Arena(blockBytes: 512)

    /// Upstreams that `before` has too are taken over as they are. `number`: the worker's.
    init(_ snapshot: Snapshot, number: Int, after before: AdoptedSnapshot? = nil) {
        self.snapshot = snapshot
        upstreams = Self.upstreams(of: snapshot, after: before)
        account = snapshot.accounts.indices.contains(number) ? snapshot.accounts[number] : RevisionAccount()
        pinned = arena.freeze(
            PinnedSnapshot(
                root: snapshot.root, revision: snapshot.revision, serial: snapshot.serial, pools: arena.freeze(upstreams.map(\.pool)),
                account: account.account))
    }

    private static func upstreams(of snapshot: Snapshot, after before: AdoptedSnapshot?) -> [WorkerUpstream] {
        guard let before else { return snapshot.upstreams.map { WorkerUpstream($0) } }
        var known: [ObjectIdentifier: WorkerUpstream]?
        return snapshot.upstreams.enumerated().map { i, definition in
            if i < before.upstreams.count, before.upstreams[i].definition === definition { return before.upstreams[i] }
            if known == nil { known = Dictionary(before.upstreams.map { (ObjectIdentifier($0.definition), $0) }) { first, _ in first } }
            if let same = known?[ObjectIdentifier(definition)] { return same }
            return WorkerUpstream(definition, after: before.upstreams.first { $0.definition.settings.name == definition.settings.name })
        }
    }
}

extension Worker {
    /// Takes the newest snapshot if it is not the current one: one atomic load when it is.
    @inline(__always)
    func adoptIfPublished() {
        if publisher.publishedSerial != current.serial { adoptPublished() }
    }

    func adoptPublished() {
        let snapshot = publisher.current
        guard snapshot.serial != current.serial, let before = adopted.last else { return }
        let fresh = AdoptedSnapshot(snapshot, number: parameters.number, after: before)
        let isNewRevision = fresh.pinned.revision != current.revision
        adopted.append(fresh)
        current = fresh.pinned
        hasUnusedSnapshot = hasUnusedSnapshot || before.pinned.pins == 0
        retireUpstreams(of: before, for: fresh)
        for i in listeners.indices { listeners[i].settings = listenSettings(for: listeners[i].address) }
        if isNewRevision { openAccount(current.account) }
        if held.count > 0 { reviewHolds() }
        counters.adopted(revision: snapshot.revision)
    }

    /// Upstreams that were changed or removed hand their idle connections to their heirs; those to peers that are gone close.
    private func retireUpstreams(of before: AdoptedSnapshot, for fresh: AdoptedSnapshot) {
        for upstream in before.upstreams { upstream.pool.isCurrent = false }
        for upstream in fresh.upstreams { upstream.pool.isCurrent = true }
        for upstream in before.upstreams where !upstream.pool.isCurrent {
            let pool = upstream.pool
            let heir = currentPool(named: pool.settings.name)
            retireShared(of: pool, heir: heir)
            while let u = upstreams.find(pool.oldest) {
                unpark(u)
                if let heir, heir.settings.keepalive > 0, let peer = findPeer(u.address, in: heir) {
                    u.peer = peer
                    u.address = heir.settings.peers[Int(peer)].address
                    park(u, in: heir)
                } else {
                    counts.idleUpstreamsClosed += 1
                    closeUpstream(u)
                }
            }
        }
    }

    /// The pool that serves this upstream now: itself, unless its upstream was changed since.
    func currentPool(for pool: Ref<UpstreamPool>) -> Ref<UpstreamPool>? { pool.isCurrent ? pool : currentPool(named: pool.settings.name) }

    private func currentPool(named name: ByteView) -> Ref<UpstreamPool>? {
        guard let code = current.root.targetNames.find(name), code >= 0, !Target(code: code).isSplit else { return nil }
        let pool = current.pools[Target(code: code).index].value
        return pool.settings.name == name ? pool : nil
    }

    func findPeer(_ address: SocketAddress, in pool: Ref<UpstreamPool>) -> Int32? {
        pool.settings.index.find(address.bytes, among: pool.settings.peers)
    }

    func unpin(_ pinned: Ref<PinnedSnapshot>) {
        pinned.pins -= 1
        if pinned.pins == 0, pinned != current { hasUnusedSnapshot = true }
    }

    func dropUnusedSnapshots() {
        hasUnusedSnapshot = false
        // Waiting log lines name files that the snapshot owns.
        flushAllLogs()
        adopted.removeAll { $0.pinned != current && $0.pinned.pins == 0 }
        dropUnusedCertificateCaches()
    }
}
