// The shared counters of peers by upstream and address, so that a reload does not forget failures and active requests.
// Owned by the supervisor; asked while a configuration is built.

import Balancing
import Synchronization

package final class PeerCounterRegistry: Sendable {
    /// By upstream, then by address. Counters that nobody else has count as gone. Not held weakly: that would make each of the
    /// many copies of a reference slower.
    private struct Tables {
        var upstreams: [String: [String: PeerCounters]] = [:]
        var count = 0
        /// How many are too many to leave those that are gone among them.
        var countMax = countMin
        static var countMin: Int { 2048 }
    }
    private let tables = Mutex(Tables())

    package init() {}

    package func counters(upstream: String, server: String) -> PeerCounters { counters(upstream: upstream, servers: [server])[0] }

    /// One for each of the servers, in their order.
    package func counters(upstream: String, servers: [String]) -> [PeerCounters] {
        tables.withLock { tables in
            // Taken out, so that it is changed in place.
            var table = tables.upstreams.removeValue(forKey: upstream) ?? [:]
            tables.count -= table.count
            var fresh = PeerCounterMaker(expecting: servers.count)
            table.reserveCapacity(table.count + servers.count)
            let counters = servers.map { server in Self.kept(&table[server], or: &fresh) }
            tables.upstreams[upstream] = table
            tables.count += table.count
            if tables.count > tables.countMax { Self.sweep(&tables) }
            return counters
        }
    }

    private static func kept(_ entry: inout PeerCounters?, or fresh: inout PeerCounterMaker) -> PeerCounters {
        if !isKnownUniquelyReferenced(&entry), let known = entry { return known }
        let made = fresh.make()
        entry = made
        return made
    }

    private static func sweep(_ tables: inout Tables) {
        tables.count = 0
        for name in Array(tables.upstreams.keys) {
            guard var table = tables.upstreams.removeValue(forKey: name) else { continue }
            var gone: [String] = []
            for place in table.indices where isKnownUniquelyReferenced(&table.values[place]) { gone.append(table[place].key) }
            for server in gone { table[server] = nil }
            if !table.isEmpty { tables.upstreams[name] = table }
            tables.count += table.count
        }
        tables.countMax = max(Tables.countMin, 2 * tables.count)
    }
}
