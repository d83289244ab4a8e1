// The shared counters of upstreams and their peers, by name and address, so that a reload does not forget failures, health and active requests.
// Owned by the supervisor; asked while a configuration is built.

import Balancing
import Engine
import Synchronization

package final class PeerCounterRegistry: Sendable {
    /// One upstream: what its peers share, and their counters by address.
    private struct Pool {
        let counters = PoolCounters()
        let line = WaitingLine()
        var peers: [String: Entry] = [:]
    }

    private struct Entry {
        var counters: PeerCounters
        /// The question that they were the answer to last, and how many times it named the server.
        var asked: UInt64
        var copies = 1
    }

    /// By upstream. Counters of peers that nobody else has count as gone. Not held weakly: that would make each of the many copies
    /// of a reference slower.
    private struct Tables {
        var pools: [String: Pool] = [:]
        var count = 0
        var asked: UInt64 = 0
        /// How many are too many to leave those that are gone among them.
        var countMax = countMin
        static var countMin: Int { 2048 }
    }
    private let tables = Mutex(Tables())

    package init() {}

    package func counters(upstream: String, server: String) -> PeerCounters { counters(upstream: upstream, servers: [server]).peers[0] }

    /// One for each of the servers, in their order, and what they share.
    ///
    /// - Parameter nowMs: of the engine's clock, when the upstream serves: then a server that is new in it begins slowly.
    package func counters(
        upstream: String, servers: [String], nowMs: Int64? = nil
    ) -> (peers: [PeerCounters], pool: PoolCounters, line: WaitingLine) {
        tables.withLock { tables in
            // Taken out, so that it is changed in place.
            var pool = tables.pools.removeValue(forKey: upstream) ?? Pool()
            tables.count -= pool.peers.count
            let serves = nowMs != nil && Self.hasLive(&pool.peers)
            var fresh = PeerCounterMaker(expecting: servers.count, pool: pool.counters)
            pool.peers.reserveCapacity(pool.peers.count + servers.count)
            tables.asked += 1
            let asked = tables.asked
            let newSinceMs = serves ? nowMs : nil
            let counters = servers.map { server in
                if let one = Self.kept(&pool.peers[server], or: &fresh, newSinceMs: newSinceMs, asked) { return one }
                // A server that is listed twice is two peers, as for nginx.
                let copy = (pool.peers[server]?.copies ?? 1) + 1
                pool.peers[server]?.copies = copy
                return Self.kept(&pool.peers["\(server) \(copy)"], or: &fresh, newSinceMs: newSinceMs, asked) ?? fresh.make()
            }
            tables.count += pool.peers.count
            tables.pools[upstream] = pool
            if tables.count > tables.countMax { Self.sweep(&tables) }
            return (counters, pool.counters, pool.line)
        }
    }

    private static func hasLive(_ peers: inout [String: Entry]) -> Bool {
        for place in peers.indices where !isKnownUniquelyReferenced(&peers.values[place].counters) { return true }
        return false
    }

    /// Nil: they are an answer to this question already.
    private static func kept(_ entry: inout Entry?, or fresh: inout PeerCounterMaker, newSinceMs: Int64?, _ asked: UInt64) -> PeerCounters? {
        if entry?.asked == asked { return nil }
        if var known = entry.take(), !isKnownUniquelyReferenced(&known.counters) {
            known.asked = asked
            known.copies = 1
            entry = known
            return known.counters
        }
        let made = fresh.make()
        if let newSinceMs { made.rise(nowMs: newSinceMs) }
        entry = Entry(counters: made, asked: asked)
        return made
    }

    private static func sweep(_ tables: inout Tables) {
        tables.count = 0
        for name in Array(tables.pools.keys) {
            guard var pool = tables.pools.removeValue(forKey: name) else { continue }
            var gone: [String] = []
            for place in pool.peers.indices where isKnownUniquelyReferenced(&pool.peers.values[place].counters) { gone.append(pool.peers[place].key) }
            for server in gone { pool.peers[server] = nil }
            if !pool.peers.isEmpty { tables.pools[name] = pool }
            tables.count += pool.peers.count
        }
        tables.countMax = max(Tables.countMin, 2 * tables.count)
    }
}
