// The arithmetic behind who gets which variant: a hash of names and keys, and a logarithm, in integers alone.
// Used by `SplitChoice`. Any change here moves users from one variant to another: the tests hold it fixed with golden values.

enum SplitHash {
    /// The first 64 bits of the golden ratio's fraction.
    static var start: UInt64 { 0x9E37_79B9_7F4A_7C15 }

    /// `state` with `bytes` worked in: for every eight bytes, as a little-endian number, the last ones filled up with zeros,
    /// `state = mix64(state ^ number)`, and in the end the same with the count. Not a secret: whoever may choose his key may
    /// choose his variant.
    static func add(_ bytes: Span<UInt8>, to state: UInt64) -> UInt64 {
        var state = state
        var i = 0
        let raw = unsafe bytes.bytes
        while i &+ 8 <= bytes.count {
            let word = unsafe raw.unsafeLoadUnaligned(fromUncheckedByteOffset: i, as: UInt64.self)
            state = mix64(state ^ UInt64(littleEndian: word))
            i &+= 8
        }
        if i < bytes.count {
            var word: UInt64 = 0
            var shift: UInt64 = 0
            while i < bytes.count {
                word |= UInt64(bytes[i]) &<< shift
                shift &+= 8
                i &+= 1
            }
            state = mix64(state ^ word)
        }
        return mix64(state ^ UInt64(bytes.count))
    }
}

/// One of the 128 parts of [1, 2): the part begins at c = 1 + its index / 128.
struct Log2Part: BitwiseCopyable {
    /// 2^64 / c, rounded down.
    var reciprocal: UInt64
    /// log2(c) * 2^63, rounded down.
    var log: UInt64
}

/// Binary logarithms of 64-bit numbers, the same bits on every machine. Computed once in a process.
final class Log2: @unchecked Sendable {
    static let shared = Log2()
    private let parts: Table<Log2Part>

    var view: Log2View { Log2View(parts: parts.view) }

    private init() {
        var parts = Table(128, filledWith: Log2Part(reciprocal: .max, log: 0))
        for i in 1..<128 {
            let c = UInt64(128 + i) << 56
            parts[i].reciprocal = c.dividingFullWidth((1 << 63, 0)).quotient
            // Squaring doubles the logarithm: the bit that leaves the unit is its next digit.
            var x = c
            for _ in 0..<63 {
                let square = x.multipliedFullWidth(by: x)
                let digit = square.high >> 63
                parts[i].log = parts[i].log << 1 | digit
                x = digit == 1 ? square.high : square.high << 1 | square.low >> 63
            }
        }
        self.parts = parts
    }
}

struct Log2View: BitwiseCopyable {
    let parts: TableView<Log2Part>

    /// How rare a `hash` so great is: -log2(hash / 2^64) * 2^57, off by less than 8; 1 to 2^63. 0 counts as 1.
    ///
    /// With hash = 2^e c (1 + r), c the beginning of a 128th, log2(1 + r) is the series r - r^2/2 + ... - r^6/6 + r^7/7 over
    /// ln 2; r < 2^-7, so what follows it is below 2^-58.
    @inline(__always)
    func rarity(_ hash: UInt64) -> UInt64 {
        let hash = hash | (hash == 0 ? 1 : 0)
        let zeros = UInt64(truncatingIfNeeded: hash.leadingZeroBitCount)
        let mantissa = hash &<< zeros
        let part = parts[Int(truncatingIfNeeded: mantissa &>> 56 & 127)]
        // r * 2^71, and the series' terms over ln 2, each a power of 2^-7 smaller, times 2^63.
        let r = high(mantissa &<< 8, part.reciprocal)
        var sum: UInt64 = 0x3D8_E13B &- high(r, 0x6_985D)
        sum = 0x2_4EED_8A1D &- high(r, sum)
        sum = 0x171_5476_52B8 &- high(r, sum)
        sum = 0xF638_4EE1_D01F &- high(r, sum)
        sum = 0xB8_AA3B_295C_17F0 &- high(r, sum)
        sum = 0xB8AA_3B29_5C17_F0BB &- high(r, sum)
        let fraction = min(part.log &+ high(r, sum) &>> 7, 1 &<< 63)
        return max(zeros &<< 57 &+ ((1 &<< 63) &- fraction) &>> 6, 1)
    }

    /// The upper half of the product.
    @inline(__always)
    private func high(_ a: UInt64, _ b: UInt64) -> UInt64 { a.multipliedFullWidth(by: b).high }
}
