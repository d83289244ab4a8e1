// Owns a start whose journal cannot be written to: the proxy serves, says so, and refuses changes until there is room.

import AdminAPI
import CLinux
import ConfigurationFile
import Testing

@testable import Control
@testable import Engine

@Suite("A start on a full disk")
struct FullDiskTests {
    private static let pools = "upstream blue { server 127.0.0.1:3001; } upstream green { server 127.0.0.1:3002; }"
    private static let before = pools + " split app { blue 90; green 10; }"
    private static let after = pools + " split app { blue 90; green 30; }"

    private let author = Author(who: "ada")

    private func fill(_ disk: MemoryDisk) { disk.fault = { _, call in call == "write" || call == "open" ? ENOSPC : nil } }

    private func weights(_ controller: Controller) -> [String: Int]? { controller.running.state.splits["app"]?.weights }

    private func expectRefusal(_ controller: Controller) {
        let (state, revision) = controller.running
        do throws(Problem) {
            _ = try controller.change(.setWeights(split: "app", ["green": 70]), by: author)
            Issue.record("a change was accepted")
        } catch {
            #expect(error.kind == .journalFailed && error.status == 507)
            #expect(error.detail.contains("No space left"), "\(error.detail)")
        }
        #expect(throws: Problem.self) { try controller.undo(by: author) }
        #expect(controller.running.state == state && controller.running.revision == revision)
    }

    @Test func whatTheJournalHoldsAndTheFileSaysIsServed() throws {
        let disk = MemoryDisk()
        var running = try controllerOnDisk(Self.before, disk)
        _ = try running.change(.setWeights(split: "app", ["blue": 50]), by: author)
        fill(disk)
        running = try controllerOnDisk(Self.after, disk)
        #expect(weights(running) == ["blue": 50, "green": 30])
        #expect(running.first?.revision == 3)
        #expect(running.status.journal.contains("No space left") && running.status.journal.hasSuffix("changes are refused while this lasts"))
        let warnings = running.events.takeWarnings()
        #expect(warnings.contains { $0.contains("No space left") && $0.contains("changes are refused while this lasts") }, "\(warnings)")
        expectRefusal(running)
        // A hold is nobody's to remember.
        try running.hold("app", HoldSettings(timeoutMs: 1000, heldMax: 1))

        disk.fault = nil
        #expect(try running.change(.setWeights(split: "app", ["green": 70]), by: author).revision == 4)
        #expect(running.status.journal == "on")
        #expect(running.events.takeWarnings().contains { $0.contains("can be written again") })
        #expect(running.revisions(limit: 10).map(\.number) == [4, 3, 2, 1])
        #expect(try running.undo(by: author).revision == 5)
        #expect(weights(running) == ["blue": 50, "green": 30])
        // And a restart knows it all.
        let again = try controllerOnDisk(Self.after, disk)
        #expect(again.running.revision == 5 && weights(again) == ["blue": 50, "green": 30])
    }

    @Test func aStartThatChangesNothingButTheFileIsServed() throws {
        let disk = MemoryDisk()
        var running = try controllerOnDisk(Self.before, disk)
        _ = try running.change(.setWeights(split: "app", ["green": 30]), by: author)
        fill(disk)
        running = try controllerOnDisk(Self.after, disk)
        #expect(running.running.revision == 2)
        expectRefusal(running)
        disk.fault = nil
        #expect(try running.change(.setWeights(split: "app", ["green": 70]), by: author).revision == 3)
        #expect(weights(try controllerOnDisk(Self.after, disk)) == ["blue": 90, "green": 70])
    }

    @Test func theVeryFirstStartIsServed() throws {
        let disk = MemoryDisk()
        fill(disk)
        let running = try controllerOnDisk(Self.before, disk)
        #expect(weights(running) == ["blue": 90, "green": 10])
        #expect(running.first?.revision == 1)
        expectRefusal(running)
        disk.fault = nil
        #expect(try running.change(.setWeights(split: "app", ["green": 70]), by: author).revision == 2)
        #expect(try running.undo(by: author).revision == 3)
        #expect(weights(try controllerOnDisk(Self.before, disk)) == ["blue": 90, "green": 10])
    }

    /// Of what was refused nothing is left: what runs is taken over as it is, with its counters and idle connections.
    @Test func whatWasRefusedLeavesNothingBehind() throws {
        let disk = MemoryDisk()
        // No location names the second one.
        let running = try controllerOnDisk(Self.before + " split spare { blue 1; }", disk)
        let definitions = running.definitions.map { ObjectIdentifier($0) }
        func waiting() throws -> UInt {
            let snapshot = try #require(running.first)
            return withExtendedLifetime(snapshot) { UInt(bitPattern: snapshot.root.splits[1].settings.value.holding) }
        }
        let before = try waiting()
        fill(disk)
        var patch = ServerPatch()
        patch.weight = 7
        for change in [StateChange.patchServer(upstream: "blue", .id(0), patch), .deleteSplit("spare"), .setWeights(split: "spare", ["blue": 9])] {
            #expect(throws: Problem.self) { try running.change(change, by: author) }
        }
        try running.hold("app", HoldSettings(timeoutMs: 1000, heldMax: 1))
        #expect(running.definitions.map { ObjectIdentifier($0) } == definitions)
        #expect(try waiting() == before, "the split is the same, with its turns and who waits for it")
    }
}
