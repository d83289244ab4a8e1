// Owns what holds of changes in any order, on a disk that fails now and then and a machine that loses its power: nothing acknowledged is lost,
// nothing refused leaves a trace, and undo goes back step by step.

import AdminAPI
import CLinux
import Engine
import TestChance
import Testing

@testable import Control

@Suite("Changes in any order")
struct WhateverChangesTests {
    private final class World {
        var chance: SeededNumbers
        var disk = MemoryDisk()
        var controller: Controller
        var file = 0
        /// What undo goes back to, the newest last, which runs.
        var stack: [ProxyState]
        var revision: UInt64
        private let author = Author(who: "ada")
        var undone = 0
        var log: [String] = []

        init(seed: UInt64) throws {
            chance = SeededNumbers(state: seed)
            controller = try controllerOnDisk(Self.text(0), disk)
            stack = [controller.running.state]
            revision = controller.running.revision
        }

        /// What differs has two values, and so there are no conflicts, whose settling is another story.
        static func text(_ file: Int) -> String {
            "upstream blue { server 127.0.0.1:3001; server 127.0.0.1:3003; \(file % 2 == 1 ? "panic_threshold 20%;" : "") } "
                + "upstream green { server 127.0.0.1:3002; \(file % 3 == 2 ? "keepalive 9;" : "") } split app { blue 90; green 10; }"
        }

        var text: String { Self.text(file) }

        func isSame(_ a: ProxyState, _ b: ProxyState) -> Bool { differences(from: a, to: b).isEmpty }

        /// - Parameter pushes: what undo goes back to from here.
        func ask(_ words: String, isUndo: Bool = false, _ body: (Controller) throws -> Accepted) {
            let (before, asked) = (controller.running, controller.definitions.map { ObjectIdentifier($0) })
            let failsAt = disk.steps + 1 + chance.below(6)
            if chance.below(3) == 0 { disk.fault = { step, _ in step == failsAt ? ENOSPC : nil } }
            defer { disk.fault = nil }
            do {
                let accepted = try body(controller)
                let now = controller.running
                #expect(now.revision == accepted.revision && accepted.changed == (now.revision != before.revision), "\(words)")
                #expect(accepted.changed || now.state == before.state, "\(words)")
                log.append("\(words): \(accepted.revision) \(accepted.summary)")
                if !accepted.changed { return }
                #expect(now.revision > before.revision, "\(words)")
                revision = now.revision
                if isUndo {
                    while let top = stack.last, isSame(top, before.state) { stack.removeLast() }
                    undone += 1
                    #expect(stack.last.map { isSame($0, now.state) } == true, "\(words) goes elsewhere")
                } else {
                    stack.append(now.state)
                }
            } catch {
                log.append("\(words) refused: \((error as? Problem)?.detail ?? "")")
                let now = controller.running
                #expect(now.state == before.state && now.revision == before.revision, "\(words): \(error)")
                if isUndo, let problem = error as? Problem, problem.kind == .nothingToUndo {
                    #expect(stack.allSatisfy { isSame($0, before.state) }, "there is something to undo")
                }
                #expect(controller.definitions.map { ObjectIdentifier($0) } == asked, "\(words)")
            }
        }

        func restart(afterPowerLoss: Bool) throws {
            let before = controller.running
            if afterPowerLoss {
                let left: [MemoryDisk.Left] = [.old, .new, .part(chance.below(200)), .zeros]
                disk = disk.rebooted(left[chance.below(4)], pending: chance.below(disk.pendingCount + 1))
            }
            let hasOtherFile = chance.below(3) == 0
            if hasOtherFile { file += 1 }
            log.append("restart loss \(afterPowerLoss) other \(hasOtherFile)")
            controller = try controllerOnDisk(text, disk)
            let now = controller.running
            if hasOtherFile {
                if now.revision != before.revision { stack.append(now.state) } else { #expect(now.state == before.state) }
            } else {
                #expect(now.state == before.state && now.revision == before.revision, "a restart: \(log.suffix(20))")
            }
            revision = now.revision
        }

        func something() throws {
            let weights = ["blue": chance.below(4), "green": 1 + chance.below(3)]
            let extra = "extra\(chance.below(3))"
            switch chance.below(16) {
            case 0...2: ask("weights") { try $0.change(.setWeights(split: "app", weights), by: self.author) }
            case 3, 4:
                var patch = ServerPatch()
                patch.weight = 1 + chance.below(3)
                if chance.below(4) == 0 { patch.drain = chance.below(2) == 0 }
                let server = ServerKey.address("127.0.0.1:300\(1 + chance.below(3))")
                ask("patch") { try $0.change(.patchServer(upstream: "blue", server, patch), by: self.author) }
            case 5: ask("add") { try $0.change(.addServer(upstream: "blue", ServerState(server: "127.0.0.1:3009")), by: self.author) }
            case 6: ask("remove") { try $0.change(.removeServer(upstream: "blue", .address("127.0.0.1:3009")), by: self.author) }
            case 7:
                let upstream = UpstreamState(servers: (0...chance.below(3)).map { ServerState(server: "127.0.0.1:40\(10 + $0)") })
                ask("upstream") { try $0.change(.putUpstream(extra, upstream), by: self.author) }
            case 8: ask("less") { try $0.change(.deleteUpstream(extra), by: self.author) }
            case 9: ask("split") { try $0.change(.putSplit("spare", SplitState(weights: [extra: 1])), by: self.author) }
            case 10: ask("no split") { try $0.change(.deleteSplit("spare"), by: self.author) }
            case 11, 12: ask("undo", isUndo: true) { try $0.undo(by: self.author) }
            case 13:
                let number = UInt64(1 + chance.below(Int(revision)))
                ask("restore") { try $0.restore(number, by: self.author) }
            case 14:
                let next = file + chance.below(2)
                let prefersFile = chance.below(3) == 0
                let built = try builtPools(Self.text(next))
                let before = revision
                ask("reload") { try $0.reload(built, by: author, preferringFile: prefersFile) }
                if revision != before { file = next }
            default: try restart(afterPowerLoss: chance.below(2) == 0)
            }
        }
    }

    @Test(arguments: [UInt64(1), 2, 3, 4]) func nothingIsLostAndNothingRefusedStays(seed: UInt64) throws {
        var undone = 0
        for round in UInt64(0)..<6 {
            let world = try World(seed: seed * 1000 + round)
            for _ in 0..<60 { try world.something() }
            try world.restart(afterPowerLoss: true)
            undone += world.undone
        }
        #expect(undone > 10)
    }
}
