// The clocks of proxyctl: one that only goes on, for times between two moments, and the one on the wall, for journals. And chance.
// Used by what waits, by what records, and by what needs a name that nobody else has.

import CLinux

enum Clock {
    static var monotonicMs: Int64 { Int64(clinux_monotonic_ns() / 1_000_000) }
    static var wallMs: Int64 { clinux_realtime_ns() / 1_000_000 }
}

enum Chance {
    /// What tells a deploy from all others, also from those of other state folders: eight hexadecimal digits.
    static func id() -> String {
        let digits = String(UInt32.random(in: .min ... .max), radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }
}
