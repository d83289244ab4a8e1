import TestChance
import Testing

@testable import AdminAPI

@Suite struct StateMergeTests {
    typealias Change = @Sendable (inout ProxyState) -> Void

    struct Row: Sendable, CustomTestStringConvertible {
        var testDescription: String
        var file: Change
        var running: Change
        /// The state if the running values win, as the summary of what is other than in the sample.
        var merged: String
        /// If those of the file do; nil: the same.
        var mergedByFile: String?
        /// `pointer was | in file | running`.
        var conflicts: [String] = []
    }

    static let rows: [Row] = [
        Row(
            testDescription: "each side changes another field of a server",
            file: { $0[upstream: "blue"].servers[0].weight = 5 }, running: { $0[upstream: "blue"].servers[0].drain = true },
            merged: "upstream blue: server 127.0.0.1:3001 drain and weight 1 -> 5"),
        Row(
            testDescription: "both change a field to the same",
            file: { $0[upstream: "blue"].servers[0].weight = 5 }, running: { $0[upstream: "blue"].servers[0].weight = 5 },
            merged: "upstream blue: server 127.0.0.1:3001 weight 1 -> 5"),
        Row(
            testDescription: "both change a field",
            file: { $0[upstream: "blue"].keepalive = 5 }, running: { $0[upstream: "blue"].keepalive = 6 },
            merged: "upstream blue: keepalive none -> 6", mergedByFile: "upstream blue: keepalive none -> 5",
            conflicts: ["/upstreams/blue/keepalive - | 5 | 6"]),
        Row(
            testDescription: "an API's weights, and a key from the file",
            file: { $0[split: "app"].key = ["$remote_addr"] }, running: { $0[split: "app"].weights = ["blue": 50, "green": 50] },
            merged: "split app: key [\"$cookie_sid\"] -> [\"$remote_addr\"], blue 90 -> 50, green 10 -> 50"),
        Row(
            testDescription: "both change weights",
            file: { $0[split: "app"].weights = ["blue": 80, "green": 10] },
            running: { $0[split: "app"].weights = ["blue": 50, "green": 50] },
            merged: "split app: blue 90 -> 50, green 10 -> 50", mergedByFile: "split app: blue 90 -> 80, green 10 -> 50",
            conflicts: ["/splits/app/weights/blue 90 | 80 | 50"]),
        Row(
            testDescription: "servers come on both sides, behind what they follow",
            file: { $0[upstream: "blue"].servers.insert(server("f"), at: 1) },
            running: { $0[upstream: "blue"].servers.append(server("r")) },
            merged: "upstream blue: +f:80, +r:80"),
        Row(
            testDescription: "a server removed by one side, another by the other",
            file: { $0[upstream: "blue"].servers = [server("a"), $0[upstream: "blue"].servers[1]] },
            running: { $0[upstream: "blue"].servers.removeLast() },
            merged: "upstream blue: +a:80, -127.0.0.1:3001, -127.0.0.1:3002"),
        Row(
            testDescription: "a server removed by the file and changed by the API",
            file: { $0[upstream: "blue"].servers.removeFirst() }, running: { $0[upstream: "blue"].servers[0].drain = true },
            merged: "upstream blue: server 127.0.0.1:3001 drain", mergedByFile: "upstream blue: -127.0.0.1:3001",
            conflicts: [
                #"/upstreams/blue/servers/127.0.0.1:3001 {"server":"127.0.0.1:3001"} | - | {"drain":true,"server":"127.0.0.1:3001"}"#
            ]),
        Row(
            testDescription: "no server would be left",
            file: { $0[upstream: "blue"].servers.removeFirst() }, running: { $0[upstream: "blue"].servers.removeLast() },
            merged: "upstream blue: -127.0.0.1:3002", mergedByFile: "upstream blue: -127.0.0.1:3001",
            conflicts: [
                #"/upstreams/blue {"servers":[{"server":"127.0.0.1:3001"},{"server":"127.0.0.1:3002"}]}"#
                    + #" | {"servers":[{"server":"127.0.0.1:3002"}]} | {"servers":[{"server":"127.0.0.1:3001"}]}"#
            ]),
        Row(
            testDescription: "no weight would be left",
            file: { $0[split: "app"].weights["blue"] = 0 }, running: { $0[split: "app"].weights["green"] = 0 },
            merged: "split app: green 10 -> 0", mergedByFile: "split app: blue 90 -> 0",
            conflicts: [
                #"/splits/app {"key":["$cookie_sid"],"weights":{"blue":90,"green":10}} | "#
                    + #"{"key":["$cookie_sid"],"weights":{"blue":0,"green":10}} | {"key":["$cookie_sid"],"weights":{"blue":90,"green":0}}"#
            ]),
        Row(
            testDescription: "both add an upstream, alike but for ids and spelling",
            file: { $0.upstreams["red"] = upstream("R:80") },
            running: { $0.upstreams["red"] = upstream("r") { $0.servers[0].id = 4 } },
            merged: "+upstream red"),
        Row(
            testDescription: "both add an upstream, differently",
            file: { $0.upstreams["red"] = upstream("a") }, running: { $0.upstreams["red"] = upstream("b") },
            merged: "+upstream red",
            conflicts: [#"/upstreams/red - | {"servers":[{"server":"a"}]} | {"servers":[{"server":"b"}]}"#]),
        Row(
            testDescription: "the file removes an upstream that the API makes a variant",
            file: {
                $0.splits = [:]
                $0.upstreams["green"] = nil
            }, running: { $0.splits["api"] = SplitState(weights: ["green": 1]) },
            merged: "+split api; -split app",
            conflicts: [
                #"/upstreams/green {"servers":[{"server":"127.0.0.1:4001"}]} | - | {"servers":[{"server":"127.0.0.1:4001"}]}"#
            ]),
        Row(
            testDescription: "the API removes an upstream that the file makes a variant",
            file: { $0.splits["api"] = SplitState(weights: ["green": 1]) },
            running: {
                $0.splits = [:]
                $0.upstreams["green"] = nil
            },
            merged: "+split api; -split app",
            conflicts: [
                #"/upstreams/green {"servers":[{"server":"127.0.0.1:4001"}]} | {"servers":[{"server":"127.0.0.1:4001"}]} | -"#
            ]),
        Row(
            testDescription: "one name for an upstream of the file and a split of the API",
            file: {
                $0.upstreams["red"] = upstream("a")
                $0[split: "app"].weights["red"] = 1
            }, running: { $0.splits["red"] = SplitState(weights: ["blue": 1]) },
            merged: "+split red", mergedByFile: "split app: +red 1; +upstream red",
            conflicts: [
                #"/splits/app {"key":["$cookie_sid"],"weights":{"blue":90,"green":10}} | "#
                    + #"{"key":["$cookie_sid"],"weights":{"blue":90,"green":10,"red":1}} | {"key":["$cookie_sid"],"weights":{"blue":90,"green":10}}"#,
                #"/splits/red - | - | {"weights":{"blue":1}}"#, #"/upstreams/red - | {"servers":[{"server":"a"}]} | -"#,
            ]),
        Row(
            testDescription: "the file turns the servers round, the API adds one",
            file: { $0[upstream: "blue"].servers.reverse() }, running: { $0[upstream: "blue"].servers.append(server("c")) },
            merged: "upstream blue: servers reordered, +c:80"),
    ]

    @Test(arguments: rows)
    func merges(_ row: Row) {
        let (file, running) = (sample(row.file), sample(row.running))
        for preferringFile in [false, true] {
            let (merged, conflicts) = merge(base: sampleState, file: file, running: running, preferringFile: preferringFile)
            let line = summary(from: sampleState, to: merged)
            #expect(line == (preferringFile ? row.mergedByFile : nil) ?? row.merged)
            let told = conflicts.map { "\($0.pointer) \($0.was ?? "-") | \($0.inFile ?? "-") | \($0.running ?? "-")" }
            // Where the file's names win, what the API wanted falls without a word about the split of the file.
            #expect(told == row.conflicts || preferringFile && told == row.conflicts.filter { !$0.hasPrefix("/splits/app") })
            #expect(faults(of: merged) == [])
        }
    }

    @Test func serversStandBehindWhatTheyFollow() {
        func order(_ base: [String], _ file: [String], _ running: [String], _ preferringFile: Bool = false) -> String {
            let states = [base, file, running].map { ProxyState(upstreams: ["u": UpstreamState(servers: $0.map { server($0) })]) }
            let (merged, conflicts) = merge(base: states[0], file: states[1], running: states[2], preferringFile: preferringFile)
            return (merged[upstream: "u"].servers.map(\.server) + conflicts.map(\.pointer)).joined(separator: " ")
        }
        #expect(order(["a", "b"], ["f", "a", "b"], ["a", "b", "r"]) == "f a b r")
        #expect(order(["a", "b"], ["a", "f", "b"], ["a", "r", "b"]) == "a f r b")
        #expect(order(["a", "b"], ["a", "f", "b"], ["a", "r", "b"], true) == "a r f b")
        #expect(order(["a", "b"], ["b", "f"], ["a", "b"]) == "b f")
        #expect(order(["a", "b"], ["a", "f"], ["b", "a", "r"]) == "a f r")
        #expect(order(["a", "b", "c"], ["c", "b", "a"], ["a", "b", "c", "r"]) == "c r b a")
        #expect(order(["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"]) == "b a c /upstreams/u/servers")
        #expect(order(["a", "b", "c"], ["c", "b", "a"], ["b", "a", "c"], true) == "c b a /upstreams/u/servers")
    }

    @Test func idsAreThoseOfTheRunningState() {
        var running = sample { $0[upstream: "blue"].servers.append(server("r")) }
        running[upstream: "blue"].nextServerID = 9
        // The file knows no ids.
        let file = withoutIDs(sample { $0[upstream: "blue"].servers.append(server("f")) })
        let (merged, _) = merge(base: withoutIDs(sampleState), file: file, running: running)
        #expect(
            merged[upstream: "blue"].servers.map { "\($0.server) \($0.id)" } == [
                "127.0.0.1:3001 0", "127.0.0.1:3002 1", "f 9", "r 2",
            ])
        #expect(merged[upstream: "green"] == running[upstream: "green"])
    }

    @Test func aSideThatChangedNothingYields() {
        var dice = SeededNumbers(state: 1)
        for _ in 0..<150 {
            let base = dice.proxyState()
            let side = dice.once(in: 3) ? dice.proxyState().numbered(after: base) : dice.changed(base)
            for preferringFile in [false, true] {
                let running = merge(base: base, file: base, running: side, preferringFile: preferringFile)
                #expect(running.merged == side)
                #expect(running.conflicts == [])
                let file = merge(base: base, file: side, running: base, preferringFile: preferringFile)
                #expect(file.merged == side)
                #expect(file.conflicts == [])
                let both = merge(base: base, file: side, running: side, preferringFile: preferringFile)
                #expect(both.merged == side)
                #expect(both.conflicts == [])
            }
        }
    }

    @Test func whateverTheSidesDidTheMergedStateHoldsTogether() {
        var dice = SeededNumbers(state: 2)
        var conflictCount = 0
        for round in 0..<600 {
            let base = dice.proxyState()
            let file = dice.once(in: 5) ? dice.proxyState().numbered(after: base) : dice.changed(base)
            let running = dice.once(in: 5) ? dice.proxyState().numbered(after: base) : dice.changed(base)
            let (merged, conflicts) = merge(base: base, file: file, running: running)
            #expect(faults(of: merged) == [], "round \(round)")
            #expect(Set(conflicts.map(\.pointer)).count == conflicts.count)
            conflictCount += conflicts.count
            // The two sides in each other's place, the same side winning: the same state, but for ids and the order of servers.
            let mirrored = merge(base: base, file: running, running: file, preferringFile: true)
            #expect(faults(of: mirrored.merged) == [])
            #expect(inOrderOfNames(mirrored.merged) == inOrderOfNames(merged), "round \(round)")
            #expect(mirrored.conflicts.map(\.pointer) == conflicts.map(\.pointer))
            // The merge has settled: what it made, merged with the running state again, stays.
            if conflicts.isEmpty {
                let byFile = merge(base: base, file: file, running: running, preferringFile: true)
                #expect(inOrderOfNames(byFile.merged) == inOrderOfNames(merged), "round \(round)")
                #expect(merge(base: file, file: file, running: merged).merged == merged)
            }
        }
        #expect(conflictCount > 200)
    }

    /// Until it is settled a conflict is told by each merge, and the file's value can still be had.
    @Test(arguments: rows)
    func conflictsAreToldUntilTheyAreSettled(_ row: Row) {
        let (file, running) = (sample(row.file), sample(row.running))
        toldAgain(base: sampleState, file: file, running: running, "\(row.testDescription)")
    }

    @Test func conflictsOfWhateverTheSidesDidAreToldUntilTheyAreSettled() {
        var dice = SeededNumbers(state: 3)
        for round in 0..<600 {
            let base = dice.proxyState()
            let file = dice.once(in: 5) ? dice.proxyState().numbered(after: base) : dice.changed(base)
            let running = dice.once(in: 5) ? dice.proxyState().numbered(after: base) : dice.changed(base)
            toldAgain(base: base, file: file, running: running, "round \(round)")
        }
    }

    private func toldAgain(base: ProxyState, file: ProxyState, running: ProxyState, _ name: String) {
        let (merged, conflicts) = merge(base: base, file: file, running: running)
        var kept = mergeBase(file: file, base: base, conflicts: conflicts)
        if conflicts.isEmpty { #expect(kept == file) }
        // An upstream that the running proxy had removed and a split of the file brought back: there is nothing left to settle.
        let told = conflicts.map(\.pointer).filter { pointer in
            !merged.upstreams.keys.contains { pointer == "/upstreams/\($0)" && running.upstreams[$0] == nil }
        }
        // The same file read twice more.
        for _ in 0..<2 {
            let again = merge(base: kept, file: file, running: merged)
            #expect(again.merged == merged, "\(name)")
            #expect(again.conflicts.map(\.pointer) == told, "\(name)")
            kept = mergeBase(file: file, base: kept, conflicts: again.conflicts)
        }
        // The file's values are taken then as they would have been at first.
        let byFile = merge(base: kept, file: file, running: merged, preferringFile: true)
        let atFirst = merge(base: base, file: file, running: running, preferringFile: true)
        #expect(inOrderOfNames(byFile.merged) == inOrderOfNames(atFirst.merged), "\(name)")
        // A file that says what runs has settled them all.
        let settled = merge(base: kept, file: merged, running: merged)
        #expect(settled.merged == merged && settled.conflicts == [], "\(name)")
    }

    private func inOrderOfNames(_ state: ProxyState) -> ProxyState {
        var state = withoutIDs(state)
        for name in state.upstreams.keys { state[upstream: name].servers.sort { $0.server < $1.server } }
        return state
    }

    @Test func badStatesComeToAnEnd() {
        // A split of nothing, upstreams of nothing, a name twice: no reader makes them, and the merge must not hang on them.
        let bad = ProxyState(
            upstreams: ["a": UpstreamState()],
            splits: ["a": SplitState(weights: ["x": 0, "a": -1]), "b": SplitState(weights: [:])])
        let states = [ProxyState(), bad, sampleState]
        for base in states {
            for file in states {
                for running in states {
                    for preferringFile in [false, true] {
                        _ = merge(base: base, file: file, running: running, preferringFile: preferringFile)
                    }
                }
            }
        }
    }
}
