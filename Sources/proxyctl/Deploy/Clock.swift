// The clocks of proxyctl: one that only goes on, for times between two moments, and the one on the wall, for journals.
// Used by what waits and by what records.

import CLinux

enum Clock {
    static var monotonicMs: Int64 { Int64(clinux_monotonic_ns() / 1_000_000) }
    static var wallMs: Int64 { clinux_realtime_ns() / 1_000_000 }
}
