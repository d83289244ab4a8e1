// Owns the arithmetic of shares: what the weights of a split become when one variant is to have a percentage.
// Called by the verbs `weight` and `switch`. Pure.

/// A part of the whole: 10 of 100, or 125 of 1000 for 12.5 percent.
struct Share: Equatable {
    var part: Int
    var total: Int

    static let all = Share(part: 100, total: 100)

    /// Reads `10`, `10%`, `12.5`, `0.25`: at most two digits behind the point, from 0 to 100.
    static func parse(_ text: String) -> Share? {
        var rest = Substring(text)
        if rest.hasSuffix("%") { rest = rest.dropLast() }
        let halves = rest.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard let whole = halves.first, !whole.isEmpty, whole.utf8.count <= 3, isDigits(whole) else { return nil }
        var fraction = halves.count > 1 ? halves[1] : ""
        guard halves.count == 1 || !fraction.isEmpty, isDigits(fraction) else { return nil }
        while fraction.hasSuffix("0") { fraction = fraction.dropLast() }
        guard fraction.utf8.count <= 2 else { return nil }
        let scale = [1, 10, 100][fraction.utf8.count]
        guard let part = Int(whole + fraction), part <= 100 * scale else { return nil }
        return Share(part: part, total: 100 * scale)
    }

    private static func isDigits(_ text: Substring) -> Bool { text.utf8.allSatisfy { (0x30...0x39).contains($0) } }
}

enum WeightShares {
    static let weightMax = 1_000_000

    /// `weights` with `share` for `variant`, whose sum is the share's total. The others share the rest in proportion to what
    /// they have (largest remainder; of equal ones the heavier first, then by name). If none has anything, the first other
    /// one by name gets it. Nil: there is no other variant, and the share is not all.
    static func giving(_ share: Share, to variant: String, in weights: [String: Int]) -> [String: Int]? {
        let others = weights.filter { $0.key != variant }.mapValues { min(max($0, 0), weightMax) }
        var result = others.mapValues { _ in 0 }
        result[variant] = share.part
        let rest = share.total - share.part
        if rest == 0 { return result }
        guard let first = others.keys.min() else { return nil }
        let sum = others.values.reduce(0, +)
        if sum == 0 {
            result[first] = rest
            return result
        }
        var left = rest
        for (name, weight) in others {
            result[name] = rest * weight / sum
            left -= rest * weight / sum
        }
        let order = others.keys.sorted { a, b in
            let (x, y) = (others[a] ?? 0, others[b] ?? 0)
            let (remainderX, remainderY) = (rest * x % sum, rest * y % sum)
            if remainderX != remainderY { return remainderX > remainderY }
            return x != y ? x > y : a < b
        }
        for name in order.prefix(left) { result[name, default: 0] += 1 }
        return result
    }
}
