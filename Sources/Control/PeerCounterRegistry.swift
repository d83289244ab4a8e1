// The shared counters of peers by upstream and address, so that a reload does not forget failures and active requests.
// Owned by the supervisor; asked while a configuration is built.

import Balancing
import Synchronization

package final class PeerCounterRegistry: Sendable {
    private struct Entry {
        weak var counters: PeerCounters?
    }
    private let entries = Mutex<[String: Entry]>([:])

    package init() {}

    package func counters(upstream: String, server: String) -> PeerCounters {
        let key = upstream + "\u{0}" + server
        return entries.withLock { table in
            if let known = table[key]?.counters { return known }
            let fresh = PeerCounters()
            table[key] = Entry(counters: fresh)
            if table.count > 1024, table.count.isMultiple(of: 1024) { table = table.filter { $0.value.counters != nil } }
            return fresh
        }
    }
}
