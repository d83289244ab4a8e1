// How many users a change of weights moves from one variant to another.
// Called for plans. It knows how `SplitChoice` chooses, and chooses nothing.

/// The percentage of users that get another variant, by split, to two digits. Told of splits that both states
/// have, where it is above 0.
///
/// With the same key on both sides a user moves if weighted rendezvous hashing decides otherwise: variant i keeps
/// 1 / sum over j of max(w[j] / w[i], v[j] / v[i]) of all users, w and v being the weights before and after. With two variants,
/// or where one changes against all others, the users that move are the sum of the shares gained; else they may be more.
/// With another key every user draws anew. A split without a key has no users but requests: told is the share of those that
/// go elsewhere.
public func usersThatMove(from: ProxyState, to: ProxyState) -> [String: Double] {
    var percentages: [String: Double] = [:]
    for (name, new) in to.splits {
        guard let old = from.splits[name] else { continue }
        // Not `rounded()`: it would want the C library's mathematics linked.
        let hundredths = Int(movedShare(from: old, to: new) * 10_000 + 0.5)
        if hundredths > 0 { percentages[name] = Double(hundredths) / 100 }
    }
    return percentages
}

private func movedShare(from old: SplitState, to new: SplitState) -> Double {
    let before = shares(of: old)
    let after = shares(of: new)
    if before.isEmpty || after.isEmpty { return 0 }
    if old.key != new.key {
        return 1 - before.reduce(0) { $0 + $1.value * (after[$1.key] ?? 0) }
    }
    if old.key.isEmpty {
        return after.reduce(0) { $0 + max(0, $1.value - (before[$1.key] ?? 0)) }
    }
    let variants = Set(before.keys).union(after.keys).sorted()
    var kept = 0.0
    for variant in variants {
        guard let mineBefore = before[variant], let mineAfter = after[variant] else { continue }
        kept += 1 / variants.reduce(0) { $0 + max((before[$1] ?? 0) / mineBefore, (after[$1] ?? 0) / mineAfter) }
    }
    return max(0, 1 - kept)
}

/// Of variants that have weight.
private func shares(of split: SplitState) -> [String: Double] {
    let weights = split.weights.mapValues { Double($0) }.filter { $0.value > 0 }
    let sum = weights.values.reduce(0, +)
    return weights.mapValues { $0 / sum }
}
