// The one source of chance in the simulation: SplitMix64, replayed from a seed.
// Used by the world, the network and the actors. It never reads a clock or the system's random numbers.

/// Sebastiano Vigna's SplitMix64: small, fast, and the same on every machine.
package struct SplitMix64: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// True with the probability `p`. A probability of 0 draws nothing, so that a fault left off changes no other choice.
    package mutating func chance(_ p: Double) -> Bool {
        p > 0 && Double(next() >> 11) * 0x1p-53 < p
    }

    /// A number of `range`; a range of one number draws nothing.
    package mutating func pick(_ range: ClosedRange<Int>) -> Int {
        let width = UInt64(range.upperBound - range.lowerBound)
        return width == 0 ? range.lowerBound : range.lowerBound + Int(next() % (width + 1))
    }

    /// A number of `range`; a range of one number draws nothing.
    package mutating func pick(_ range: ClosedRange<UInt64>) -> UInt64 {
        let width = range.upperBound - range.lowerBound
        return width == 0 ? range.lowerBound : range.lowerBound + next() % (width + 1)
    }

    /// `count` bytes.
    package mutating func bytes(_ count: Int) -> [UInt8] {
        var out = [UInt8](repeating: 0, count: (count + 7) & ~7)
        out.withUnsafeMutableBytes { raw in
            for offset in stride(from: 0, to: raw.count, by: 8) {
                raw.storeBytes(of: next(), toByteOffset: offset, as: UInt64.self)
            }
        }
        out.removeLast(out.count - count)
        return out
    }
}
