// The hash functions of the keyed algorithms and the steps of the random ones: nginx's results, bit for bit.
// Used by `Balancer` and `HashRing`. Keys come from clients: nothing here may depend on them for its safety or its cost a byte.

/// CRC-32 (IEEE 802.3, reflected), continued piece by piece from `start`.
struct CRC32: ~Copyable {
    static var start: UInt32 { .max }
    private var table: Table<UInt32>

    init() {
        table = Table(256, filledWith: 0)
        for byte in 0..<256 {
            var remainder = UInt32(byte)
            for _ in 0..<8 { remainder = remainder & 1 != 0 ? remainder >> 1 ^ 0xEDB8_8320 : remainder >> 1 }
            table[byte] = remainder
        }
    }

    @inline(__always)
    func add(_ byte: UInt8, to state: UInt32) -> UInt32 { table[Int((state ^ UInt32(byte)) & 0xFF)] ^ state >> 8 }

    func add(_ bytes: Span<UInt8>, to state: UInt32) -> UInt32 {
        var result = state
        for i in bytes.indices { result = add(bytes[i], to: result) }
        return result
    }

    /// Adds the four bytes of `value`, least significant first.
    func add(littleEndian value: UInt32, to state: UInt32) -> UInt32 {
        var result = state
        for shift: UInt32 in [0, 8, 16, 24] { result = add(UInt8(truncatingIfNeeded: value >> shift), to: result) }
        return result
    }

    /// Adds the decimal digits of `value`.
    func add(decimal value: UInt32, to state: UInt32) -> UInt32 {
        var divisor: UInt32 = 1
        while value / divisor >= 10 { divisor *= 10 }
        var result = state
        while divisor > 0 {
            result = add(UInt8(0x30 + value / divisor % 10), to: result)
            divisor /= 10
        }
        return result
    }

    func finish(_ state: UInt32) -> UInt32 { ~state }
}

extension Balancer {
    /// The hash `ip_hash` derives from a client's address: three bytes of an IPv4 address (so a /24 shares a peer), all of an
    /// IPv6 address, three zeros for other families, which have no bytes. `previous` is the result of the round before.
    public static func ipHash(_ address: Span<UInt8>, previous: UInt32 = 89) -> UInt32 {
        var hash = previous
        let isOther = address.count != 4 && address.count != 16
        let count = address.count == 16 ? 16 : 3
        for i in 0..<count { hash = (hash &* 113 &+ (isOther ? 0 : UInt32(address[i]))) % 6271 }
        return hash
    }
}

/// Spreads each bit of `value` over all bits of the result, one to one (the last step of SplitMix64).
@inline(__always)
func mix64(_ value: UInt64) -> UInt64 {
    var z = value
    z = (z ^ (z &>> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z &>> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z &>> 31)
}

/// A sequence of random numbers that a seed determines (SplitMix64).
struct RandomSequence: BitwiseCopyable {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        return mix64(state)
    }

    /// A number below `bound`, each as likely to within `bound` / 2^64.
    mutating func next(below bound: Int) -> Int { Int(next().multipliedFullWidth(by: UInt64(bound)).high) }
}
