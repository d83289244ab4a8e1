// The time, for the control side: of the system, or of a simulation.
// Handed to the controller and to what it owns.

import CLinux

/// Where the time comes from: a simulation has its own.
package struct ControlClock: Sendable {
    package var monotonicNs: @Sendable () -> UInt64
    package var realtimeMs: @Sendable () -> Int64
    package init(monotonicNs: @escaping @Sendable () -> UInt64, realtimeMs: @escaping @Sendable () -> Int64) {
        self.monotonicNs = monotonicNs
        self.realtimeMs = realtimeMs
    }
}

extension ControlClock {
    package static var system: ControlClock {
        ControlClock(monotonicNs: { clinux_monotonic_ns() }, realtimeMs: { clinux_realtime_ns() / 1_000_000 })
    }
}
