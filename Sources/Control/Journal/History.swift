// Owns the revisions that are kept, with their states, in memory. Filled by Journal, read by the controller and its routes.
// It knows no file.

import AdminAPI

/// The newest revisions. States share what is equal, so a thousand of them cost little more than what changed between them.
package struct History: Sendable {
    package struct Entry: Sendable, Equatable {
        package let revision: Revision
        package let state: ProxyState
        /// The pools and splits of the configuration as it was last loaded when this revision was current; nil: it never was.
        package fileprivate(set) var fileState: ProxyState?

        package init(_ revision: Revision, state: ProxyState, fileState: ProxyState?) {
            self.revision = revision
            self.state = state
            self.fileState = fileState
        }
    }

    /// Oldest first; the numbers grow, and may leave gaps.
    package private(set) var entries: [Entry] = []
    /// Servers in all states, those in a shared array once, and the names of pools and splits.
    package private(set) var entryCount = 0
    private let revisionsMax: Int
    private let entriesMax: Int
    /// By the place of an array of servers in memory: how many states hold it, and its count. The states keep the places taken.
    private var arrays: [UInt: (users: Int, servers: Int)] = [:]

    package init(limits: ControlLimits = ControlLimits()) {
        revisionsMax = max(2, limits.revisionsKept)
        entriesMax = limits.entriesKept
    }

    /// The current revision; nil before the first.
    package var current: Entry? { entries.last }
    package var count: Int { entries.count }

    package func entry(_ number: UInt64) -> Entry? {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].revision.number < number { low = middle + 1 } else { high = middle }
        }
        return low < entries.count && entries[low].revision.number == number ? entries[low] : nil
    }

    /// Nil: there is none of this number, or it is not kept any more.
    package func revision(_ number: UInt64) -> Revision? { entry(number)?.revision }
    package func state(of number: UInt64) -> ProxyState? { entry(number)?.state }

    /// At most `limit` revisions, newest first.
    package func newestFirst(limit: Int = .max) -> [Revision] { entries.suffix(max(0, limit)).reversed().map(\.revision) }

    /// Takes a revision, whose number is greater than all before, and forgets the oldest ones that are too many. At least two stay.
    package mutating func append(_ entry: Entry) {
        let last = entries.last
        precondition(last.map { $0.revision.number < entry.revision.number } ?? true, "the numbers of revisions grow")
        var models = [last?.state].compactMap { $0 }
        if let restored = entry.revision.restores.flatMap({ state(of: $0) }) { models.append(restored) }
        let running = Self.shared(entry.state, with: models)
        let inFile = entry.fileState.map { Self.shared($0, with: [last?.fileState, running].compactMap { $0 }) }
        let kept = Entry(entry.revision, state: running, fileState: inFile)
        tally(kept, 1)
        entries.append(kept)
        forget()
    }

    /// The configuration was loaded, and the current revision is what it was.
    package mutating func setFileState(_ fileState: ProxyState) {
        guard let last = entries.last else { return }
        tally(last, -1)
        entries[entries.count - 1].fileState = Self.shared(fileState, with: [last.fileState, last.state].compactMap { $0 })
        tally(entries[entries.count - 1], 1)
        forget()
    }

    private mutating func forget() {
        var first = 0
        while entries.count - first > 2, entries.count - first > revisionsMax || entryCount > entriesMax {
            tally(entries[first], -1)
            first += 1
        }
        entries.removeFirst(first)
    }

    /// The same state, in the memory of the models where it equals them.
    private static func shared(_ state: ProxyState, with models: [ProxyState]) -> ProxyState {
        var result = state
        for model in models where model.upstreams == state.upstreams {
            result.upstreams = model.upstreams
            return result
        }
        for (name, pool) in state.upstreams {
            let equals = models.compactMap { $0.upstreams[name] }.filter { $0 == pool }
            // What shares already is left alone, or each state would have a table of names of its own.
            if equals.isEmpty || equals.contains(where: { place(of: $0) == place(of: pool) }) { continue }
            result.upstreams[name] = equals[0]
        }
        return result
    }

    /// Where its servers are in memory, for as long as this array is held.
    private static func place(of pool: UpstreamState) -> UInt {
        pool.servers.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
    }

    private mutating func tally(_ entry: Entry, _ step: Int) {
        tally(entry.state, step)
        if let fileState = entry.fileState { tally(fileState, step) }
    }

    private mutating func tally(_ state: ProxyState, _ step: Int) {
        entryCount += step * (state.upstreams.count + state.splits.count)
        for pool in state.upstreams.values where !pool.servers.isEmpty {
            let place = Self.place(of: pool)
            let users = (arrays[place]?.users ?? 0) + step
            if step > 0, users == 1 { entryCount += pool.servers.count }
            if users == 0 { entryCount -= pool.servers.count }
            arrays[place] = users == 0 ? nil : (users, pool.servers.count)
        }
    }
}
