import Foundation
import Testing

@testable import Rollout

@Suite("rollout: numerics")
struct NumericsTests {
    @Test func logarithmsAreThoseOfTheLibrary() {
        var x = 1e-300
        while x < 1e300 {
            let expected = Foundation.log(x)
            #expect(abs(Numerics.ln(x) - expected) <= 4e-16 * max(1, abs(expected)), "\(x)")
            x *= 1.37
        }
        for i in 1..<2000 {
            let x = Double(i) / 1000
            #expect(abs(Numerics.ln(x) - Foundation.log(x)) <= 4e-16 * max(1, abs(Foundation.log(x))), "\(x)")
        }
        #expect(Numerics.ln(0) < -700 && Numerics.ln(-1) < -700)
    }

    @Test func exponentialsAreThoseOfTheLibrary() {
        var x = -700.0
        while x < 700 {
            #expect(abs(Numerics.exp(x) / Foundation.exp(x) - 1) <= 4e-16, "\(x)")
            x += 0.3719
        }
        #expect(Numerics.exp(1e9) == Numerics.exp(700) && Numerics.exp(-.infinity) == Numerics.exp(-700))
        #expect(abs(Numerics.lnSum(-3, 2) - Foundation.log(Foundation.exp(-3) + Foundation.exp(2))) < 1e-14)
        #expect(Numerics.lnSum(-1000, 5) == 5)
    }

    @Test func gammaIsThatOfTheLibrary() {
        for x in [0.25, 0.5, 1, 1.5, 2, 3.7, 10, 11.9, 12, 100, 12345.5, 1e7] {
            let expected: Double = Foundation.lgamma(x)
            #expect(abs(Numerics.lnGamma(x) - expected) <= 1e-12 * max(1, abs(expected)), "\(x)")
        }
    }
}
