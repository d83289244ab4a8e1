// Tests the arithmetic of shares.

import AdminAPI
import Testing

@testable import proxyctl

@Suite("shares of a split")
struct WeightTests {
    static let shares: [(String, Share?)] = [
        ("0", Share(part: 0, total: 100)), ("10", Share(part: 10, total: 100)), ("100", Share(part: 100, total: 100)),
        ("10%", Share(part: 10, total: 100)), ("12.5", Share(part: 125, total: 1000)), ("0.25", Share(part: 25, total: 10_000)),
        ("10.0", Share(part: 10, total: 100)), ("99.90%", Share(part: 999, total: 1000)), ("007", Share(part: 7, total: 100)),
        ("101", nil), ("100.1", nil), ("-1", nil), ("+1", nil), ("", nil), ("%", nil), ("1.", nil), (".5", nil), ("1.234", nil),
        ("a", nil),
        ("1e1", nil), ("1.2.3", nil), ("10 ", nil), ("9999999999999999999999", nil), ("١", nil),
    ]

    @Test(arguments: shares)
    func read(text: String, share: Share?) { #expect(Share.parse(text) == share) }

    struct Case: Sendable {
        var share: String
        var variant = "green"
        var weights: [String: Int]
        var expected: [String: Int]?
    }

    static let cases: [Case] = [
        Case(share: "10", weights: ["blue": 90, "green": 10], expected: ["blue": 90, "green": 10]),
        Case(share: "50", weights: ["blue": 95, "green": 5], expected: ["blue": 50, "green": 50]),
        Case(share: "100", weights: ["blue": 95, "green": 5], expected: ["blue": 0, "green": 100]),
        Case(share: "0", weights: ["blue": 0, "green": 100], expected: ["blue": 100, "green": 0]),
        // Proportion is kept, whatever the unit was.
        Case(share: "10", weights: ["a": 2, "b": 1, "green": 7], expected: ["a": 60, "b": 30, "green": 10]),
        // Largest remainders: 33.33, 33.33, 33.33 and the heavier or the first by name has the rest.
        Case(share: "0", weights: ["a": 1, "b": 1, "c": 1, "green": 1], expected: ["a": 34, "b": 33, "c": 33, "green": 0]),
        Case(share: "1", weights: ["a": 1, "b": 5, "green": 0], expected: ["a": 16, "b": 83, "green": 1]),
        Case(share: "0.25", weights: ["blue": 1, "green": 0], expected: ["blue": 9975, "green": 25]),
        // Nobody else has anything.
        Case(share: "30", weights: ["b": 0, "a": 0, "green": 5], expected: ["a": 70, "b": 0, "green": 30]),
        Case(share: "100", weights: ["green": 1], expected: ["green": 100]),
        Case(share: "30", weights: ["green": 1], expected: nil),
        // A server may say anything.
        Case(
            share: "50", weights: ["a": .max, "b": .max, "c": -5, "green": 1], expected: ["a": 25, "b": 25, "c": 0, "green": 50]),
    ]

    @Test(arguments: cases)
    func given(_ row: Case) throws {
        let share = try #require(Share.parse(row.share))
        #expect(WeightShares.giving(share, to: row.variant, in: row.weights) == row.expected)
    }

    @Test func sumsAreAlwaysWhole() throws {
        // Every combination of a few weights, and every tenth of a percent.
        let sizes = [0, 1, 2, 3, 7, 999_983]
        for a in sizes {
            for b in sizes {
                for c in sizes {
                    for part in stride(from: 0, through: 1000, by: 37) {
                        let share = Share(part: part, total: 1000)
                        let weights = WeightShares.giving(share, to: "green", in: ["a": a, "b": b, "c": c, "green": 1]) ?? [:]
                        var isWhole = weights.values.reduce(0, +) == 1000 && weights["green"] == part
                        isWhole = isWhole && weights.values.allSatisfy { $0 >= 0 }
                        // Nobody is more than one away from the exact share.
                        let sum = a + b + c
                        for (name, weight) in [("a", a), ("b", b), ("c", c)] where sum > 0 {
                            let exact = (1000 - part) * weight
                            isWhole = isWhole && abs((weights[name] ?? -9) * sum - exact) < sum
                        }
                        if !isWhole { Issue.record("\(a) \(b) \(c), \(part) of 1000: \(weights)") }
                    }
                }
            }
        }
    }

    @Test func namesAreFound() throws {
        let json = try JSON.parse(Fixture.state)
        let names = RunningNames(json)
        #expect(names.revision == 42)
        #expect(try names.split(with: "green", named: nil).name == "app")
        #expect(try names.split(with: "green", named: "app").weights == ["blue": 90, "green": 10])
        #expect(throws: Failure.self) { try names.split(with: "green", named: "api") }
        #expect(throws: Failure.self) { try names.split(with: "purple", named: nil) }
        #expect(throws: Failure.self) { try names.split(named: nil) }
        #expect(try names.split(named: "x") == "x")
        // Not what it should be, and no reason to fall over.
        #expect(RunningNames(.array([])).splits.isEmpty)
    }
}
