// Who gets which variant of a split. Made once a revision, read by all workers without a lock, a reference count or a copy.
// Called by the exchange when its route leads to a split. It knows neither upstreams nor cookies: names, weights and keys only.

/// A variant that is to be chosen at all.
struct SplitArm: BitwiseCopyable {
    /// The hash of the names of split and variant.
    var seed: UInt64
    var weight: UInt64
    /// The weights of this arm and all later ones.
    var weightFromHere: UInt64
    var index: Int
}

/// The choice among the variants of one split, by key or in turn. What is chosen follows from names, weights and key alone:
/// it is the same on every machine, in every worker and after a restart, and whatever the order of the variants.
public final class SplitChoice: @unchecked Sendable {
    private let arms: Table<SplitArm>
    private let logs = Log2.shared

    /// - Parameters:
    ///   - name: of the split: the same key falls independently in splits of different names.
    ///   - variants: their names, each once, and weights: shares of their sum. 0 (or less) is never chosen; more than 2^31 - 1
    ///     counts as that.
    public init(name: [UInt8], variants: [(name: [UInt8], weight: Int)]) {
        let split = SplitHash.add(name.span, to: SplitHash.start)
        // In the order of names: it breaks ties and nests the turns.
        let order = variants.indices.filter { variants[$0].weight > 0 }
            .sorted { variants[$0].name.lexicographicallyPrecedes(variants[$1].name) }
        var arms: [SplitArm] = []
        var left: UInt64 = 0
        for i in order.reversed() {
            let (name, shares) = variants[i]
            let weight = UInt64(min(shares, Int(Int32.max)))
            left += weight
            let seed = SplitHash.add(name.span, to: split)
            arms.append(SplitArm(seed: seed, weight: weight, weightFromHere: left, index: i))
        }
        self.arms = Table(arms.reversed())
    }

    /// What workers read; whoever keeps a view keeps its `SplitChoice` alive.
    public var view: SplitView { SplitView(arms: arms.view, logs: logs.view) }

    /// As in `SplitView`, for whoever holds this object anyway.
    public func variant(forKey key: Span<UInt8>) -> Int { view.variant(forKey: key) }

    /// As in `SplitView`, for whoever holds this object anyway.
    public func variant(atTurn turn: UInt64) -> Int { view.variant(atTurn: turn) }
}

/// A `SplitChoice` as the workers read it.
@safe public struct SplitView: @unchecked Sendable, BitwiseCopyable {
    let arms: TableView<SplitArm>
    let logs: Log2View

    /// The variant of the user `key`, as an index into the variants the choice was made from; -1 when none has weight.
    ///
    /// Weighted rendezvous hashing: each variant draws for each key a number u in (0, 1) from the hash of the split's name, its
    /// own name and the key, and the greatest weight / -log2(u) wins. So each gets its share of the keys, and a variant whose
    /// weight rises wins users and loses none, all others lose users to it alone; the same the other way round. About 40 ns.
    public func variant(forKey key: Span<UInt8>) -> Int {
        if arms.count < 2 { return arms.count == 0 ? -1 : arms[0].index }
        let hash = SplitHash.add(key, to: SplitHash.start)
        var best = arms[0]
        var bestRarity = logs.rarity(mix64(hash ^ best.seed))
        for i in 1..<arms.count {
            let arm = arms[i]
            let rarity = logs.rarity(mix64(hash ^ arm.seed))
            let (mine, its) = (arm.weight.multipliedFullWidth(by: bestRarity), best.weight.multipliedFullWidth(by: rarity))
            if mine.high > its.high || mine.high == its.high && mine.low > its.low { (best, bestRarity) = (arm, rarity) }
        }
        return best.index
    }

    /// The variant of the request that takes turn number `turn`, from 0, for a split without keys; -1 when none has weight.
    ///
    /// The first variant by name takes its turns as evenly spaced among all turns as whole numbers allow, the second takes
    /// those left in the same way, and so on. Any run of turns as long as the sum of the weights holds each variant exactly
    /// `weight` times; 1 of 10 is every tenth.
    public func variant(atTurn turn: UInt64) -> Int {
        if arms.count < 2 { return arms.count == 0 ? -1 : arms[0].index }
        var turn = turn % arms[0].weightFromHere
        for i in 0..<arms.count - 1 {
            let arm = arms[i]
            // Turns the arm has taken before this one, and what is left over of its next.
            let taken = arm.weightFromHere.dividingFullWidth(turn.multipliedFullWidth(by: arm.weight))
            if taken.remainder + arm.weight >= arm.weightFromHere { return arm.index }
            turn -= taken.quotient
        }
        return arms[arms.count - 1].index
    }
}
