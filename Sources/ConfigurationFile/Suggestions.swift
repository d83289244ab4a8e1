// Which known name was probably meant by a misspelt one. Called when a diagnostic is made, never in a good configuration.

/// The name of `names` nearest to `name`, or nil when none is near enough for a typing error: one change for up to five
/// bytes, two for up to eight, then three. A change is a byte more, less, other, or two neighbours swapped
/// (Damerau-Levenshtein, each byte changed once). Of equally near names the first in byte order.
public func nearestName(to name: String, among names: some Sequence<String>) -> String? {
    let wanted = Array(name.utf8)
    let changesMax = wanted.count <= 5 ? 1 : wanted.count <= 8 ? 2 : 3
    if wanted.isEmpty || wanted.count > 128 { return nil }
    var best: (name: String, changes: Int)?
    for candidate in names {
        if abs(candidate.utf8.count - wanted.count) > changesMax { continue }
        let bytes = Array(candidate.utf8)
        let changes = changeCount(wanted, bytes)
        // A name of which nothing is left is not a misspelling of it.
        if changes > changesMax || changes >= min(wanted.count, bytes.count) { continue }
        if let best, (best.changes, best.name) <= (changes, candidate) { continue }
        best = (candidate, changes)
    }
    return best?.name
}

/// The least number of changes from `a` to `b`, by three rows of the usual table.
private func changeCount(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var beforeLast = [Int](repeating: 0, count: b.count + 1)
    var last = Array(0...b.count)
    for i in 1...max(a.count, 1) where i <= a.count {
        var row = [i] + [Int](repeating: 0, count: b.count)
        for j in 1...max(b.count, 1) where j <= b.count {
            let replaced = last[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
            row[j] = min(last[j] + 1, row[j - 1] + 1, replaced)
            if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] { row[j] = min(row[j], beforeLast[j - 2] + 1) }
        }
        beforeLast = last
        last = row
    }
    return last[b.count]
}
