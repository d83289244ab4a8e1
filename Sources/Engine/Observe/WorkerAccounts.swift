// What a worker holds at this moment. Read by the simulation, which proves that a worker at its end holds nothing.
// It counts what others own and changes nothing.

package struct WorkerAccounts: Equatable, Sendable {
    package var clients = 0
    package var upstreams = 0
    package var exchanges = 0
    package var inner = 0
    package var shadowPairs = 0
    /// Bodies that are being dropped.
    package var discards = 0
    /// PROXY headers of open connections.
    package var proxied = 0
    /// Timers made and not freed, the worker's own five left out.
    package var timers = 0
    /// Bytes of buffers and regions lent out.
    package var lentBytes = 0
    /// Answers under way that pass filters, and states of zlib lent to them.
    package var filters = 0
    package var lentStates = 0
    /// Exchanges that the current snapshot counts.
    package var pins = 0
    /// Requests that wait because their split is held.
    package var held = 0
    /// Requests that wait in line for a peer.
    package var queued = 0
    /// Snapshots held besides the current one.
    package var oldSnapshots = 0
    package init() {}
}

extension Worker {
    package var accounts: WorkerAccounts {
        var accounts = WorkerAccounts()
        accounts.clients = clients.count
        accounts.upstreams = upstreams.count
        accounts.exchanges = exchanges.count
        accounts.inner = inner.slab.count
        accounts.shadowPairs = shadowPairs.count
        accounts.discards = discards.count
        accounts.proxied = proxied.count
        accounts.timers = timers.count - 5
        accounts.lentBytes = buffers.lentBytes
        accounts.filters = filterChains.count
        accounts.lentStates = filterHub?.lentCount ?? 0
        accounts.pins = current.pins
        accounts.held = held.count
        accounts.queued = queued.count
        accounts.oldSnapshots = adopted.count - 1
        return accounts
    }
}
