// What happened lately, for /events: a ring of the newest events, and a way to be told of new ones.
// Written by the controller and the watchers of drains and servers; read by the admin server.

import AdminAPI
import Engine
import Synchronization

package final class EventLog: Sendable {
    private struct Ring {
        var events: [Event] = []
        var lastID: UInt64 = 0
        var warnings: [String] = []
        var wake: (@Sendable () -> Void)?
    }
    /// Events kept for those who come back with Last-Event-ID.
    package static let keptMax = 1000
    private let ring = Mutex(Ring())
    private let clock: ControlClock

    package init(clock: ControlClock) { self.clock = clock }

    /// `wake` is called after each event, from whatever thread.
    package func onEvent(_ wake: @escaping @Sendable () -> Void) { ring.withLock { $0.wake = wake } }

    package func emit(_ kind: Event.Kind, revision: UInt64, subject: String, text: String, health: HealthEvent? = nil) {
        let wake = ring.withLock { ring in
            ring.lastID += 1
            var event = Event(id: ring.lastID, kind: kind, atMs: clock.realtimeMs(), revision: revision, subject: subject, text: text)
            event.health = health
            ring.events.append(event)
            if ring.events.count > Self.keptMax * 2 { ring.events.removeFirst(ring.events.count - Self.keptMax) }
            return ring.wake
        }
        wake?()
    }

    /// Events after `id`, oldest first.
    package func after(_ id: UInt64) -> [Event] { ring.withLock { $0.events.filter { $0.id > id } } }

    package var lastID: UInt64 { ring.withLock { $0.lastID } }

    /// A line for the error log.
    package func warn(_ text: String) { ring.withLock { if $0.warnings.count < Self.keptMax { $0.warnings.append(text) } } }

    package func takeWarnings() -> [String] {
        ring.withLock { ring in
            defer { ring.warnings = [] }
            return ring.warnings
        }
    }
}
