// The zones of limit_req and limit_conn by name, so that a reload does not forget who has had his share, nor who is there.
// Owned by the supervisor; asked while a configuration is built.

import Engine
import Synchronization

package final class LimitZoneRegistry: Sendable {
    /// A zone is the same one as long as all of this is.
    struct Form: Hashable, Sendable {
        var name: String
        var isOfConnections: Bool
        var key: String
        var bytes: Int
    }
    private let zones = Mutex<[Form: LimitZone]>([:])

    package init() {}

    /// The zone of this form, which is a new one unless one is in use.
    func zone(_ form: Form) -> LimitZone {
        zones.withLock { zones in
            for place in zones.indices where zones[place].key == form && !isKnownUniquelyReferenced(&zones.values[place]) {
                return zones.values[place]
            }
            // Those that nobody else has count as gone.
            var gone: [Form] = []
            for place in zones.indices where isKnownUniquelyReferenced(&zones.values[place]) { gone.append(zones[place].key) }
            for form in gone { zones[form] = nil }
            let fresh = LimitZone(bytes: form.bytes)
            zones[form] = fresh
            return fresh
        }
    }
}
