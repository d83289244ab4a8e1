// What of TLS lasts over reloads: caches of sessions by name, and the keys of tickets that nobody gave.
// Owned by the supervisor; asked while a configuration is built.

import Engine
import Synchronization

package final class TLSRegistry: Sendable {
    private struct Entry {
        var cache: TLSSessionCache
        var bytes: Int
    }

    private struct StatusEntry {
        var cache: StatusCache
        var bytes: Int
    }

    private let caches = Mutex<[String: Entry]>([:])
    private let statuses = Mutex<[String: StatusEntry]>([:])
    /// Of all servers that do not name files; nil: there was no memory.
    let tickets = TLSTicketKeys()

    package init() {}

    /// The cache of this name, which has been there before if its size is the same. Nil: there is no memory for it.
    func cache(_ name: String, bytes: Int) -> TLSSessionCache? {
        caches.withLock { caches in
            if let known = caches[name], known.bytes == bytes { return known.cache }
            // Those that no configuration uses any more.
            var gone: [String] = []
            for place in caches.indices where isKnownUniquelyReferenced(&caches.values[place].cache) { gone.append(caches[place].key) }
            for name in gone { caches[name] = nil }
            guard let made = TLSSessionCache(bytes: bytes) else { return nil }
            caches[name] = Entry(cache: made, bytes: bytes)
            return made
        }
    }

    /// The same for what responders said of certificates.
    func statusCache(_ name: String, bytes: Int) -> StatusCache {
        statuses.withLock { statuses in
            if let known = statuses[name], known.bytes == bytes { return known.cache }
            var gone: [String] = []
            for place in statuses.indices where isKnownUniquelyReferenced(&statuses.values[place].cache) { gone.append(statuses[place].key) }
            for name in gone { statuses[name] = nil }
            let made = StatusCache(bytes: bytes)
            statuses[name] = StatusEntry(cache: made, bytes: bytes)
            return made
        }
    }
}
