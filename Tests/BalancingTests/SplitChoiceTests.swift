@testable import Balancing
import Testing

/// Who gets which variant, by key.
@Suite struct SplitChoiceTests {
    static func split(_ name: String, _ variants: [(String, Int)]) -> SplitChoice {
        SplitChoice(name: Array(name.utf8), variants: variants.map { (Array($0.0.utf8), $0.1) })
    }

    /// The variants of the users 0..<count.
    static func choices(_ split: SplitChoice, _ count: Int) -> [Int] {
        (0..<count).map { i in
            let key = Array("user\(i)".utf8)
            return split.variant(forKey: key.span)
        }
    }

    /// A split's weights in the order of the names a, b, c...
    struct Weights: Sendable, CustomTestStringConvertible {
        var list: [Int]
        var testDescription: String { list.map(String.init).joined(separator: ":") }
        var variants: [(String, Int)] { list.enumerated().map { (String("abcdefgh".dropFirst($0).prefix(1)), $1) } }
        init(_ list: Int...) { self.list = list }
    }

    @Test(arguments: [
        Weights(1, 99), Weights(5, 95), Weights(50, 50), Weights(1, 2, 3), Weights(20, 0, 30, 50),
        Weights(1, 1, 1, 1, 1, 1, 1, 1), Weights(999_999, 1_000_000), Weights(1, 1_000),
    ])
    func eachGetsItsShare(_ weights: Weights) {
        let keys = 200_000
        var counts = [Int](repeating: 0, count: weights.list.count)
        for choice in Self.choices(Self.split("app", weights.variants), keys) { counts[choice] += 1 }
        let total = Double(weights.list.reduce(0, +))
        for (count, weight) in zip(counts, weights.list) {
            let share = Double(weight) / total
            let sigma = (Double(keys) * share * (1 - share)).squareRoot()
            #expect(abs(Double(count) - Double(keys) * share) <= 3 * sigma, "\(count) of weight \(weight)")
            if weight == 0 { #expect(count == 0) }
        }
    }

    /// Both ways: up, only the raised variant wins users; down, only it loses some.
    @Test(arguments: [
        (Weights(90, 10), 1, [15, 50, 90, 1_000_000]), (Weights(0, 100), 0, [1, 2, 5, 10, 100]),
        (Weights(10, 20, 30, 40, 50), 2, [31, 60, 500]), (Weights(1, 1, 1, 1, 0), 4, [1, 2, 3]),
    ])
    func aRaisedVariantTakesUsersAndNobodyElseDoes(_ weights: Weights, _ raised: Int, _ steps: [Int]) {
        var weights = weights
        var before = Self.choices(Self.split("app", weights.variants), 100_000)
        for step in steps {
            weights.list[raised] = step
            let after = Self.choices(Self.split("app", weights.variants), 100_000)
            let moved = zip(before, after).filter { $0 != $1 }
            #expect(!moved.isEmpty)
            #expect(moved.allSatisfy { $0.1 == raised })
            before = after
        }
    }

    @Test func onlySharesCount() {
        let expected = Self.choices(Self.split("app", [("a", 3), ("b", 7), ("c", 20)]), 20_000)
        for factor in [2, 10, 33_333] {
            let scaled = Self.split("app", [("a", 3 * factor), ("b", 7 * factor), ("c", 20 * factor)])
            #expect(Self.choices(scaled, 20_000) == expected)
        }
    }

    @Test func theOrderOfVariantsDoesNot() {
        let (sorted, mixed) = (Self.split("app", [("a", 3), ("b", 0), ("c", 20), ("d", 9)]), [2, 3, 0, 1])
        let other = Self.split("app", [("c", 20), ("d", 9), ("a", 3), ("b", 0)])
        #expect(Self.choices(other, 20_000).map { mixed[$0] } == Self.choices(sorted, 20_000))
        #expect((0..<64).allSatisfy { mixed[other.variant(atTurn: $0)] == sorted.variant(atTurn: $0) })
    }

    /// The users of one split's variant are spread over the variants of another.
    @Test func splitsAreIndependent() {
        let variants = [("a", 1), ("b", 1)]
        let one = Self.choices(Self.split("one", variants), 40_000)
        let other = Self.choices(Self.split("other", variants), 40_000)
        var both = [0, 0, 0, 0]
        for (x, y) in zip(one, other) { both[2 * x + y] += 1 }
        for count in both { #expect(abs(count - 10_000) < 3 * 87) }
    }

    @Test func fewVariantsAndOddKeys() {
        #expect(Self.split("app", []).variant(forKey: Span()) == -1)
        #expect(Self.split("app", [("a", 0), ("b", -3)]).variant(forKey: Span()) == -1)
        #expect(Self.split("app", []).variant(atTurn: 7) == -1)
        #expect(Self.split("app", [("a", 0), ("b", 1)]).variant(forKey: Span()) == 1)
        #expect(Self.split("app", [("a", 0), ("b", 1)]).variant(atTurn: .max) == 1)
        let extreme = Self.split("app", (0..<64).map { ("v\($0)", Int.max) })
        var counts = [Int](repeating: 0, count: 64)
        for choice in Self.choices(extreme, 6_400) { counts[choice] += 1 }
        #expect(counts.allSatisfy { $0 > 50 && $0 < 150 })
        #expect((0..<64).contains(extreme.variant(atTurn: .max)))
    }

    /// What an independent model with exact logarithms chose. These may never change: a release that changes them gives users
    /// another variant than the one they have seen.
    @Test(arguments: [
        (
            "app", [("blue", 90), ("green", 10)],
            "0000000000000000000000000000000000010000000000000000000001000000000000000000000000000000100000000000"
        ),
        (
            "checkout", [("blue", 1), ("green", 2), ("teal", 3)],
            "0222211121121121212112202111022200012111202022212122122220222120220012102102021102212221112222212122"
        ),
    ])
    func choicesAreFixed(_ name: String, _ variants: [(String, Int)], _ expected: String) {
        #expect(Self.choices(Self.split(name, variants), 100).map(String.init).joined() == expected)
    }

    @Test func oddKeysAreFixed() {
        let split = Self.split("", [("a", 1_000_000), ("b", 1), ("c", 0), ("d", 500_000), ("e", 7)])
        let keys: [[UInt8]] = [
            [], Array("127.0.0.1".utf8), Array("12345678".utf8), Array("0123456789abcdef".utf8),
            Array("a-rather-long-session-identifier-of-a-browser".utf8), Array(repeating: 0, count: 8),
            Array(repeating: 0, count: 9), Array(repeating: 255, count: 17),
        ]
        #expect(keys.map { split.variant(forKey: $0.span) } == [0, 0, 0, 0, 3, 3, 3, 0])
    }

    @Test(arguments: [("", "a", 0xfbb5_eeb7_7ffc_b459 as UInt64), ("user0", "blue", 0x4237_f27f_0e98_8c95)])
    func theHashIsFixed(_ key: String, _ variant: String, _ expected: UInt64) {
        let (name, variant, key) = (Array("app".utf8), Array("blue".utf8), Array(key.utf8))
        let seed = SplitHash.add(variant.span, to: SplitHash.add(name.span, to: SplitHash.start))
        #expect(mix64(SplitHash.add(key.span, to: SplitHash.start) ^ seed) == expected)
    }

    /// Digit by digit, by squaring: slow and exact.
    static func exactRarity(_ hash: UInt64) -> UInt64 {
        let zeros = UInt64(hash.leadingZeroBitCount)
        var x = hash << zeros
        var digits: UInt64 = 0
        for _ in 0..<63 {
            let square = x.multipliedFullWidth(by: x)
            digits = digits << 1 | square.high >> 63
            x = square.high >> 63 == 1 ? square.high : square.high << 1 | square.low >> 63
        }
        return max(zeros << 57 + (1 << 63 - digits) >> 6, 1)
    }

    @Test func logarithmsAreAsPreciseAsSaid() {
        let log = Log2.shared.view
        #expect(log.rarity(0) == 64 << 57 - 1 || log.rarity(0) == 64 << 57)
        #expect(log.rarity(1 << 63) == 1 << 57)
        #expect(log.rarity(.max) == 1)
        var random = RandomSequence(state: 5)
        var worst: UInt64 = 0
        var hashes: [UInt64] = [1, 2, 3, .max, .max - 1, .max - 1000, 1 << 63, 1 << 63 - 1, 1 << 63 + 1]
        for i in 0..<127 { hashes += [0, 1, .max].map { (UInt64(129 + i) << 56) &+ $0 } }
        for i in 0..<30_000 { hashes.append(random.next() >> UInt64(i % 64)) }
        for hash in hashes where hash != 0 {
            let (rarity, expected) = (log.rarity(hash), Self.exactRarity(hash))
            worst = max(worst, rarity > expected ? rarity - expected : expected - rarity)
        }
        #expect(worst < 8)
    }
}

/// Who gets which variant, in turn.
@Suite struct SplitTurnsTests {
    typealias Weights = SplitChoiceTests.Weights

    @Test func oneOfTenIsEveryTenth() {
        for variants in [[("blue", 90), ("green", 10)], [("a-green", 10), ("blue", 90)]] {
            let split = SplitChoiceTests.split("app", variants)
            let rare = variants[0].1 == 10 ? 0 : 1
            let turns = (0..<1_000 as Range<UInt64>).filter { split.variant(atTurn: $0) == rare }
            #expect(turns.count == 100)
            #expect(zip(turns, turns.dropFirst()).allSatisfy { $1 - $0 == 10 })
        }
    }

    /// Exact over any run as long as the sum, and near the ideal share all along.
    @Test(arguments: [
        Weights(1, 1), Weights(1, 99), Weights(37, 63), Weights(1, 2, 3), Weights(5, 0, 5), Weights(7, 11, 13, 17, 19),
        Weights(1, 1, 1, 997), Weights(3, 1, 4, 1, 5, 9, 2, 6),
    ])
    func countsAreExactAndEven(_ weights: Weights) {
        let split = SplitChoiceTests.split("app", weights.variants)
        let total = weights.list.reduce(0, +)
        let arms = weights.list.filter { $0 > 0 }.count
        var chosen: [Int] = []
        var counts = [Int](repeating: 0, count: weights.list.count)
        var furthest = 0.0
        for turn in 0..<(3 * total) {
            chosen.append(split.variant(atTurn: UInt64(turn)))
            counts[chosen[turn]] += 1
            for (count, weight) in zip(counts, weights.list) {
                furthest = max(furthest, abs(Double(count) - Double(weight * (turn + 1)) / Double(total)))
            }
        }
        #expect(furthest <= Double(arms - 1))
        for first in stride(from: 0, to: 2 * total, by: max(1, total / 7)) {
            var counts = [Int](repeating: 0, count: weights.list.count)
            for choice in chosen[first..<(first + total)] { counts[choice] += 1 }
            #expect(counts == weights.list)
        }
    }

    @Test func threadsShareTheTurns() async {
        let turns = SplitTurns()
        let split = SplitChoiceTests.split("app", [("a", 1), ("b", 3)])
        let counts = await withTaskGroup(of: [Int].self) { group in
            for _ in 0..<4 {
                group.addTask {
                    var counts = [0, 0]
                    for _ in 0..<10_000 { counts[split.variant(atTurn: turns.next())] += 1 }
                    return counts
                }
            }
            return await group.reduce(into: [0, 0]) { sum, more in sum = [sum[0] + more[0], sum[1] + more[1]] }
        }
        #expect(counts == [10_000, 30_000])
        #expect(turns.count == 40_000)
    }
}
