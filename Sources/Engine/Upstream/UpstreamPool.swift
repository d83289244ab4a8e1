// A worker's state of one upstream: its balancer and its idle connections, newest first, found by peer.
// Asked by Upstream/Connect.swift; filled when an exchange is done with a connection. Pools carry over to a new snapshot by name and address.

import Balancing
import Bytes

/// Idle connections and the balancer of one upstream in one worker.
struct UpstreamPool: BitwiseCopyable {
    let settings: Ref<UpstreamSettings>
    let balancer: UnsafeMutablePointer<Balancer>
    /// The current snapshot has it: idle connections wait here and nowhere else.
    var isCurrent = true
    var newest = Handle.none
    var oldest = Handle.none
    var count = 0
    /// A slot for each peer: its newest idle connection.
    var byPeer: Frozen<Handle>
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
                to: Balancer(settings.algorithm, peers: definition.peers, ring: definition.ring, continuing: before.balancer.pointee))
        } else {
            balancer.initialize(to: Balancer(settings.algorithm, peers: definition.peers, ring: definition.ring))
        }
        let slots = arena.freeze([Handle](repeating: .none, count: settings.peers.count))
        pool = arena.freeze(UpstreamPool(settings: settings, balancer: balancer, byPeer: slots))
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
        let peer = pool.byPeer[Int(u.peer)]
        u.phase = .idle
        u.exchange = nil
        u.pool = pool
        u.newer = .none
        u.older = pool.newest
        if let next = upstreams.find(pool.newest) { next.newer = u.handle }
        pool.newest = u.handle
        if pool.oldest == .none { pool.oldest = u.handle }
        u.previousOfPeer = .none
        u.nextOfPeer = peer.value
        if let next = upstreams.find(peer.value) { next.previousOfPeer = u.handle }
        peer.value = u.handle
        pool.count += 1
        timers.set(u.timer, at: nowMs + pool.settings.keepaliveTimeoutMs)
    }

    /// Takes a connection out of the idle ones.
    func unpark(_ u: Ref<UpstreamConnection>) {
        guard u.phase == .idle, let pool = u.pool else { return }
        if let newer = upstreams.find(u.newer) { newer.older = u.older } else { pool.newest = u.older }
        if let older = upstreams.find(u.older) { older.newer = u.newer } else { pool.oldest = u.newer }
        if let next = upstreams.find(u.nextOfPeer) { next.previousOfPeer = u.previousOfPeer }
        if let previous = upstreams.find(u.previousOfPeer) {
            previous.nextOfPeer = u.nextOfPeer
        } else {
            pool.byPeer[Int(u.peer)].value = u.nextOfPeer
        }
        pool.count -= 1
        u.pool = nil
        u.phase = .busy
        timers.cancel(u.timer)
    }

    /// The newest idle connection to `peer`, opened for `tag` where idle connections are a location's own.
    /// `identity`: what its TLS must depend on; empty: it speaks none.
    func takeIdle(_ pool: Ref<UpstreamPool>, peer: Int32, tag: Int32, identity: ByteView) -> Ref<UpstreamConnection>? {
        var next = pool.byPeer[Int(peer)].value
        while let u = upstreams.find(next) {
            if !pool.settings.keepaliveIsLocal || u.tag == tag, hasIdentity(u, identity) {
                unpark(u)
                return u
            }
            next = u.nextOfPeer
        }
        return nil
    }
}
