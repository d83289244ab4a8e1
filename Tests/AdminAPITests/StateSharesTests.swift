import AdminAPI
import Foundation
import TestChance
import Testing

@Suite struct StateSharesTests {
    private static let names = ["blue", "green", "red"]

    private static func state(_ weights: [Int], key: [String] = ["$k"]) -> ProxyState {
        ProxyState(splits: ["app": SplitState(weights: Dictionary(uniqueKeysWithValues: zip(names, weights)), key: key)])
    }

    struct Row: Sendable {
        var from: [Int]
        var to: [Int]
        var percentage: Double?
        init(_ from: [Int], _ to: [Int], _ percentage: Double?) {
            self.from = from
            self.to = to
            self.percentage = percentage
        }
    }

    @Test(arguments: [
        Row([90, 10], [50, 50], 40), Row([90, 10], [9, 1], nil), Row([100, 0], [0, 100], 100), Row([100, 0], [95, 5], 5),
        Row([1, 1], [1, 1, 1], 33.33), Row([50, 50], [33, 33, 34], 34), Row([1, 1, 2], [1, 1], 50), Row([1], [5], nil),
        Row([0, 0], [1, 1], nil),
        // Three shares change: some of those that leave the third go to the second, and some of the second's to the first.
        Row([10, 20, 30], [20, 20, 10], 34.76), Row([-5, .max], [1, 0], 100),
    ])
    func thoseMoveForWhomTheHashDecidesOtherwise(_ row: Row) {
        #expect(usersThatMove(from: Self.state(row.from), to: Self.state(row.to))["app"] == row.percentage)
        #expect(usersThatMove(from: Self.state(row.to), to: Self.state(row.from))["app"] == row.percentage)
    }

    @Test func itIsWhatHappensToUsersThatAreDrawn() {
        var dice = SeededNumbers(state: 4)
        for (before, after) in [([10, 20, 30], [20, 20, 10]), ([1, 5, 2], [7, 3, 2]), ([90, 10, 0], [50, 25, 25])] {
            let drawn = 40_000
            var moved = 0
            for _ in 0..<drawn {
                let rarities = Self.names.map { _ in -log(Double.random(in: .leastNormalMagnitude..<1, using: &dice)) }
                func winner(_ weights: [Int]) -> Int? {
                    weights.indices.max { Double(weights[$0]) / rarities[$0] < Double(weights[$1]) / rarities[$1] }
                }
                if winner(before) != winner(after) { moved += 1 }
            }
            let told = usersThatMove(from: Self.state(before), to: Self.state(after))["app"] ?? 0
            #expect(abs(Double(moved) / Double(drawn) * 100 - told) < 1)
        }
    }

    @Test func withoutAKeyRequestsMoveAndWithAnotherAllDrawAnew() {
        #expect(usersThatMove(from: Self.state([10, 20, 30], key: []), to: Self.state([20, 20, 10], key: []))["app"] == 30)
        #expect(usersThatMove(from: Self.state([90, 10]), to: Self.state([90, 10], key: ["$other"]))["app"] == 18)
        #expect(usersThatMove(from: Self.state([90, 10]), to: Self.state([90, 10], key: []))["app"] == 18)
        #expect(usersThatMove(from: Self.state([100]), to: Self.state([100], key: ["$other"])) == [:])
        #expect(usersThatMove(from: ProxyState(), to: Self.state([1])) == [:])
        #expect(usersThatMove(from: Self.state([1]), to: ProxyState()) == [:])
    }
}
