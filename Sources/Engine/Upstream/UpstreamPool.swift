// A worker's state of one upstream: its balancer and its idle connections, newest first, found by peer.
// Asked by Upstream/Connect.swift; filled when an exchange is done with a connection. Pools carry over to a new snapshot by name and address.

import Balancing
import Bytes

/// Idle connections and the balancer of one upstream in one worker.
struct UpstreamPool: BitwiseCopyable {
    let settings: Ref<UpstreamSettings>
    let balancer: UnsafeMutablePointer<Balancer>
    /// Shared by all workers.
    let counters: PoolView
    let line: Unmanaged<WaitingLine>
    /// Ejects outliers or has limits: the others are spared the questions.
    let isGuarded: Bool
    /// Exchanges of this worker in the line.
    var waiting = 0
    /// As this worker has last said it.
    var saidPanic = false
    /// The current snapshot has it: idle connections wait here and nowhere else.
    var isCurrent = true
    var newest = Handle.none
    var oldest = Handle.none
    var count = 0
    /// A slot for each peer: its newest connection that is idle or shared.
    var byPeer: Frozen<Handle>
    /// HTTP/2 connections that are shared, idle or not.
    var sharedCount = 0
}

/// What a worker keeps for an upstream, over all the snapshots in which the upstream is the same.
final class WorkerUpstream {
    let definition: UpstreamDefinition
    let pool: Ref<UpstreamPool>
    private let balancer = UnsafeMutablePointer<Balancer>.allocate(capacity: 1)
    private let arena = Arena(blockBytes: 512)

    /// `before`: the upstream of this name until now, whose peers keep their turn.
    init(_ definition: UpstreamDefinition, after before: WorkerUpstream? = nil) {
        self.definition = definition
        let settings = definition.settings
        if let before {
            balancer.initialize(
                to: Balancer(
                    settings.algorithm, peers: definition.peers, ring: definition.ring, health: settings.health,
                    continuing: before.balancer.pointee))
        } else {
            balancer.initialize(to: Balancer(settings.algorithm, peers: definition.peers, ring: definition.ring, health: settings.health))
        }
        let slots = arena.freeze([Handle](repeating: .none, count: settings.peers.count))
        pool = arena.freeze(
            UpstreamPool(
                settings: settings, balancer: balancer, counters: definition.counters.view, line: .passUnretained(definition.line),
                isGuarded: settings.health.outliers != nil || settings.limits.areSet, byPeer: slots))
    }

    deinit {
        balancer.deinitialize(count: 1)
        balancer.deallocate()
    }
}

extension Worker {
    /// Puts a connection among the idle ones; the oldest goes when there are too many.
    func park(_ u: Ref<UpstreamConnection>, in pool: Ref<UpstreamPool>) {
        if pool.count >= pool.settings.keepalive, let oldest = upstreams.find(pool.oldest) {
            unpark(oldest)
            closeUpstream(oldest)
        }
        u.phase = .idle
        u.exchange = nil
        if u.session == nil { link(u, in: pool) }
        u.newer = .none
        u.older = pool.newest
        if let next = upstreams.find(pool.newest) { next.newer = u.handle }
        pool.newest = u.handle
        if pool.oldest == .none { pool.oldest = u.handle }
        pool.count += 1
        timers.set(u.timer, at: nowMs + pool.settings.keepaliveTimeoutMs)
    }

    /// Puts a connection among those of its peer.
    private func link(_ u: Ref<UpstreamConnection>, in pool: Ref<UpstreamPool>) {
        let peer = pool.byPeer[Int(u.peer)]
        u.pool = pool
        u.previousOfPeer = .none
        u.nextOfPeer = peer.value
        if let next = upstreams.find(peer.value) { next.previousOfPeer = u.handle }
        peer.value = u.handle
    }

    private func unlink(_ u: Ref<UpstreamConnection>, from pool: Ref<UpstreamPool>) {
        if let next = upstreams.find(u.nextOfPeer) { next.previousOfPeer = u.previousOfPeer }
        if let previous = upstreams.find(u.previousOfPeer) {
            previous.nextOfPeer = u.nextOfPeer
        } else {
            pool.byPeer[Int(u.peer)].value = u.nextOfPeer
        }
        u.pool = nil
    }

    /// From now on requests to the peer may share the connection.
    func join(_ u: Ref<UpstreamConnection>, _ pool: Ref<UpstreamPool>, peer: Int32) {
        u.peer = peer
        u.address = pool.settings.peers[Int(peer)].address
        link(u, in: pool)
        pool.sharedCount += 1
    }

    /// No further request finds the connection.
    func leavePool(_ u: Ref<UpstreamConnection>) {
        guard u.session != nil, let pool = u.pool else { return }
        unpark(u)
        unlink(u, from: pool)
        pool.sharedCount -= 1
    }

    /// The shared connections of a pool that has been changed or removed go on with its heir, or take no new requests.
    func retireShared(of pool: Ref<UpstreamPool>, heir: Ref<UpstreamPool>?) {
        if pool.sharedCount == 0 { return }
        for i in 0..<pool.byPeer.count {
            var next = pool.byPeer[i].value
            while let u = upstreams.find(next) {
                next = u.nextOfPeer
                guard let session = u.session else { continue }
                leavePool(u)
                if let heir, heir.settings.keepalive > 0, let peer = findPeer(u.address, in: heir) {
                    join(u, heir, peer: peer)
                } else {
                    session.isLeaving = true
                }
                if session.streamCount == 0 { sessionIsIdle(session) }
            }
        }
    }

    /// Takes a connection out of the idle ones.
    func unpark(_ u: Ref<UpstreamConnection>) {
        guard u.phase == .idle, let pool = u.pool else { return }
        if let newer = upstreams.find(u.newer) { newer.older = u.older } else { pool.newest = u.older }
        if let older = upstreams.find(u.older) { older.newer = u.newer } else { pool.oldest = u.newer }
        pool.count -= 1
        if u.session == nil { unlink(u, from: pool) }
        u.phase = .busy
        timers.cancel(u.timer)
    }

    /// The newest idle connection to `peer`, opened for `tag` where idle connections are a location's own.
    /// `identity`: what its TLS must depend on; empty: it speaks none.
    func takeIdle(_ pool: Ref<UpstreamPool>, peer: Int32, tag: Int32, identity: ByteView) -> Ref<UpstreamConnection>? {
        var next = pool.byPeer[Int(peer)].value
        while let u = upstreams.find(next) {
            if u.session == nil, !pool.settings.keepaliveIsLocal || u.tag == tag, hasIdentity(u, identity) {
                unpark(u)
                return u
            }
            next = u.nextOfPeer
        }
        return nil
    }
}
