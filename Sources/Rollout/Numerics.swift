// The little mathematics that verdicts need, in Swift alone: no C library, so that a verdict is the same bits on every machine.
// Called by the tests and bounds of this module. Pure functions of doubles.

/// Logarithm, exponential and the logarithm of the gamma function.
public enum Numerics {
    private static let ln2High = 0x1.62e42fee00000p-1
    private static let ln2Low = 0x1.a39ef35793c76p-33

    /// The natural logarithm, off by less than 4e-16 times the greater of 1 and the result.
    ///
    /// x = 2^e m with m in [0.70, 1.42); ln m = 2 artanh t, t = (m - 1) / (m + 1), |t| < 0.172, by its series to t^23.
    /// - Parameter x: 0 or less counts as the least positive normal number, so that no result is infinite.
    public static func ln(_ x: Double) -> Double {
        let x = max(x, .leastNormalMagnitude)
        if !x.isFinite { return x }
        var exponent = Double(x.exponent)
        var m = x.significand
        if m > 1.4142135623730951 {
            m *= 0.5
            exponent += 1
        }
        let t = (m - 1) / (m + 1)
        let square = t * t
        var sum = 1.0 / 23
        var odd = 21.0
        while odd > 0 {
            sum = sum * square + 1 / odd
            odd -= 2
        }
        return exponent * ln2High + (exponent * ln2Low + 2 * t * sum)
    }

    /// e to the power of `x`, off by less than 4e-16 of itself, for x in -700...700; beyond, as at the ends.
    ///
    /// x = k ln 2 + r with |r| < 0.35; e^r by its series to r^14.
    public static func exp(_ x: Double) -> Double {
        if x.isNaN { return x }
        let x = min(max(x, -700), 700)
        let k = Int(x / (ln2High + ln2Low) + (x < 0 ? -0.5 : 0.5))
        let r = (x - Double(k) * ln2High) - Double(k) * ln2Low
        var sum = 1.0
        var n = 14.0
        while n > 0 {
            sum = 1 + sum * r / n
            n -= 1
        }
        return sum * Double(bitPattern: UInt64(k + 1023) << 52)
    }

    /// The square root, off by less than 4e-16 of itself; 0 for 0 and less. The standard library's own may call C.
    ///
    /// Halving the exponent gives a guess that is off by less than 7 %; each step of Newton's squares that.
    static func squareRoot(_ x: Double) -> Double {
        guard x >= .leastNormalMagnitude, x.isFinite else { return x > 1 ? x : 0 }
        var root = Double(bitPattern: (x.bitPattern >> 1) + 0x1FF8_0000_0000_0000)
        for _ in 0..<5 { root = 0.5 * (root + x / root) }
        return root
    }

    /// ln(e^a + e^b) without leaving the range of doubles.
    static func lnSum(_ a: Double, _ b: Double) -> Double {
        let (low, high) = a < b ? (a, b) : (b, a)
        return high - low > 40 ? high : high + ln(1 + exp(low - high))
    }

    /// The logarithm of the gamma function for x > 0, off by less than 1e-12 times the greater of 1 and the result.
    /// Stirling's series at x + n, n such that it is at least 12.
    static func lnGamma(_ x: Double) -> Double {
        var x = max(x, 1e-9)
        var product = 1.0
        while x < 12 {
            product *= x
            x += 1
        }
        let inverse = 1 / x
        let square = inverse * inverse
        let series = inverse * (1.0 / 12 - square * (1.0 / 360 - square * (1.0 / 1260 - square * (1.0 / 1680 - square / 1188))))
        return (x - 0.5) * ln(x) - x + 0.9189385332046727 + series - ln(product)
    }
}
