// Owns what keeping costs: bytes a change, memory of a long history, time of a start. And that equal states share their memory.

import AdminAPI
import Testing

@testable import Control

@Suite("journal: cost")
struct JournalCostTests {
    /// Two pools of 10,000 servers and a split.
    static let large: ProxyState = {
        var state = ProxyState()
        for (n, name) in ["blue", "green"].enumerated() {
            state.upstreams[name] = Story.pool((0..<10_000).map { Story.server($0, "10.\(n).\($0 / 250).\($0 % 250):8080") })
        }
        state.splits["app"] = SplitState(weights: ["blue": 100, "green": 0])
        return state
    }()

    private func place(_ state: ProxyState?, _ name: String) -> UInt? {
        state?.upstreams[name]?.servers.withUnsafeBufferPointer { UInt(bitPattern: $0.baseAddress) }
    }

    @Test func aChangeInFrontOfManyServersIsShort() throws {
        let disk = MemoryDisk()
        let journal = try Journal.open(disk).journal
        var state = Self.large
        try journal.append(Story.revision(1, .start), state: state, fileState: state)
        var number: UInt64 = 1
        func bytes(_ change: (inout ProxyState) -> Void) throws -> Int {
            change(&state)
            number += 1
            let before = disk.bytes("journal")?.count ?? 0
            try journal.append(Story.revision(number), state: state)
            return (disk.bytes("journal")?.count ?? 0) - before
        }
        let start = disk.bytes("journal")?.count ?? 0
        let weight = try bytes { $0.splits["app"]?.weights["green"] = 5 }
        let server = try bytes { $0.upstreams["blue"]?.servers[5000].drain = true }
        let added = try bytes {
            $0.upstreams["blue"]?.servers.append(Story.server(10_000, "10.9.9.9:1"))
            $0.upstreams["blue"]?.nextServerID = 10_001
        }
        let removed = try bytes { $0.upstreams["green"]?.servers.remove(at: 17) }
        let reload = try bytes { _ in }
        #expect([weight, server, added, removed, reload].allSatisfy { $0 < 1000 }, "\([weight, server, added, removed, reload])")
        #expect(start < 3_500_000, "\(start)")
        let (again, replay) = try Journal.open(disk)
        #expect(replay.current == state)
        #expect(again.history.entries == journal.history.entries)
        // What did not change is there once.
        for history in [journal.history, again.history] {
            #expect(history.entryCount < 10_000 * 2 + 10_000 * 3 + 100)
            #expect(place(history.state(of: 1), "green") == place(history.state(of: 4), "green"))
            #expect(place(history.state(of: 1), "blue") == place(history.state(of: 2), "blue"))
            #expect(place(history.state(of: 3), "blue") != place(history.state(of: 2), "blue"))
            #expect(place(history.entry(1)?.fileState, "blue") == place(history.state(of: 1), "blue"))
        }
    }

    @Test func aRestoredStateSharesWithTheOneItHas() throws {
        let disk = MemoryDisk()
        let journal = try Journal.open(disk).journal
        var state = Story.chapters[0].state
        try journal.append(Story.revision(1), state: state)
        state.upstreams["blue"]?.servers[0].weight = 7
        try journal.append(Story.revision(2), state: state)
        try journal.append(Story.revision(3, .undo, restores: 1), state: Story.told(1).state ?? ProxyState())
        let again = try Journal.open(disk).journal
        for history in [journal.history, again.history] {
            #expect(place(history.state(of: 3), "blue") == place(history.state(of: 1), "blue"))
            #expect(history.entryCount == 3 * 3 + 4 + 4 + 1)
        }
    }

    @Test func theOldestAreForgotten() throws {
        var limits = ControlLimits()
        limits.revisionsKept = 10
        var history = History(limits: limits)
        for n in 1...25 { history.append(History.Entry(Story.revision(UInt64(n)), state: Story.chapters[0].state, fileState: nil)) }
        #expect(history.newestFirst().map(\.number) == Array((16...25).reversed()))
        #expect(history.state(of: 15) == nil)
        #expect(history.entry(16)?.revision.number == 16)
        #expect(history.entryCount == 10 * 3 + 5)
    }

    @Test func aHistoryOfLargeStatesIsShorter() {
        var limits = ControlLimits()
        limits.entriesKept = 1000
        var history = History(limits: limits)
        for n in 1...50 {
            let state = ProxyState(upstreams: ["p": Story.pool((0..<100).map { Story.server($0, "h:\($0)", weight: n) })])
            history.append(History.Entry(Story.revision(UInt64(n)), state: state, fileState: nil))
            #expect(history.entryCount <= 1000)
        }
        #expect(history.count == 9)
        // Two stay, whatever they hold: there is something to undo.
        for n in UInt64(51)...53 { history.append(History.Entry(Story.revision(n), state: Self.large, fileState: nil)) }
        var other = Self.large
        other.upstreams["blue"]?.servers[0].weight = 2
        history.append(History.Entry(Story.revision(54), state: other, fileState: nil))
        #expect(history.newestFirst().map(\.number) == [54, 53])
    }

    /// 10,000 changes: with the ordinary limits the journal stays small; and a start stays short even where nothing was ever compacted.
    @Test(arguments: [ControlLimits().compactionBytesMin, .max])
    func aStormOfChanges(compactionBytesMin: Int) throws {
        var limits = ControlLimits()
        limits.compactionBytesMin = compactionBytesMin
        let disk = MemoryDisk()
        let journal = try Journal.open(disk, limits: limits).journal
        var state = Story.chapters[0].state
        var largest = 0
        for n in 1...10_000 {
            state.splits["app"]?.weights["green"] = n
            state.upstreams["blue"]?.servers[n % 4].weight = n
            try journal.append(Story.revision(UInt64(n)), state: state)
            largest = max(largest, journal.size)
        }
        if compactionBytesMin < .max { #expect(largest < 5 << 20, "\(largest)") }
        // Bytes stand for time here: a change is written as its difference, never as a whole state.
        #expect(journal.size < 10_000 * 512, "\(journal.size)")
        let again = try Journal.open(disk).journal
        #expect(again.history.count == 1000)
        #expect(again.history.entries == journal.history.entries)
        #expect(again.history.current?.state == state)
    }

    @Test func changesThatSortAndReplace() throws {
        let old = Story.pool((0..<6).map { Story.server($0, "h:\($0)") })
        func patched(_ ids: [Int], weight: Int = 1) -> UpstreamState { Story.pool(ids.map { Story.server($0, "h:\($0)", weight: weight) }) }
        for new in [
            patched([]), patched([0, 1, 2, 3, 4, 5]), patched([5, 4, 3, 2, 1, 0]), patched([1, 2, 3, 4, 5, 0]), patched([0, 2, 4]),
            patched([6, 0, 1]), patched([3], weight: 2), patched([0, 1, 2, 3, 4, 5], weight: 3), patched([0, 0, 1]), patched([-1, -1]),
        ] {
            let change = StateDelta(from: ProxyState(upstreams: ["p": old]), to: ProxyState(upstreams: ["p": new]))
            #expect(change.applied(to: ProxyState(upstreams: ["p": old])) == ProxyState(upstreams: ["p": new]))
            #expect(try StateDelta(json: JSON.parse(change.json.text(pretty: false))) == change)
            let back = StateDelta(from: ProxyState(upstreams: ["p": new]), to: ProxyState(upstreams: ["p": old]))
            #expect(back.applied(to: ProxyState(upstreams: ["p": new])) == ProxyState(upstreams: ["p": old]))
        }
        #expect(UpstreamPatch(from: old, to: patched([1, 2, 3, 4, 5, 0]))?.gone == [0])
    }
}
