// Seeded chance for simulated rollouts: the same numbers from the same seed, on every machine.
// Called by the simulated service. No other source of chance is used.
import Rollout

/// SplitMix64.
struct Chance {
    private var state: UInt64

    init(seed: UInt64) { state = seed &* 0x2545_F491_4F6C_DD1D &+ 0x9E37_79B9_7F4A_7C15 }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return Self.mixed(state)
    }

    static func mixed(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// From 0 to below 1.
    mutating func share() -> Double { Double(next() >> 11) * 0x1p-53 }

    mutating func happens(_ probability: Double) -> Bool { share() < probability }

    /// The time until the next of events that come independently, `mean` apart.
    mutating func gap(mean: Double) -> Double { -mean * Numerics.ln(1 - share()) }

    /// About normal, mean 0 and deviation 1: the sum of twelve shares.
    mutating func normal() -> Double {
        var sum = -6.0
        for _ in 0..<12 { sum += share() }
        return sum
    }
}
