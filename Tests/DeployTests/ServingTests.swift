// Plays deploys of replicas in a little world where anything may fail, and looks at each moment whether somebody serves.

import AdminAPI
import Deploy
import TestChance
import Testing

@Suite("somebody serves")
struct ServingTests {
    struct Case: Sendable, CustomTestStringConvertible {
        var order: String
        var replicas: Int
        var parallelism: Int
        var action: String
        var testDescription: String { "\(order), \(replicas) by \(parallelism), \(action)" }
    }

    static let cases: [Case] = ["stop-first", "start-first"].flatMap { order in
        [(1, 1), (2, 1), (3, 1), (3, 2), (4, 2)].filter { order == "start-first" || $0.1 < $0.0 }.flatMap { size in
            ["rollback", "pause", "continue"].map { Case(order: order, replicas: size.0, parallelism: size.1, action: $0) }
        }
    }

    /// Servers of the upstream, and what runs behind which address.
    final class World {
        /// Whether each takes requests.
        var servers: [String: Bool] = [:]
        /// Versions by pid file.
        var processes: [String: String] = [:]
        var chance: SeededNumbers
        let failsOneIn: Int
        /// In all.
        var least = Int.max

        init(_ some: Case, seed: UInt64) {
            chance = SeededNumbers(state: seed)
            failsOneIn = [4, 12, 40][Int(seed % 3)]
            for i in 1...some.replicas {
                servers["h:\(i)"] = true
                processes[Self.file("h:\(i)")] = "v1"
            }
        }

        static func file(_ server: String) -> String {
            let number = Int(server.dropFirst(2)) ?? 0
            return "/srv/.deploy/pids/s-r\(number % 10).\(number / 10).pid"
        }

        var serving: [String] { servers.filter { $0.value && processes[Self.file($0.key)] != nil }.keys.sorted() }

        /// What fails may have been done all the same.
        func perform(_ work: Work) -> DeployEvent {
            let fails = Int.random(in: 0..<failsOneIn, using: &chance) == 0
            if fails, Bool.random(using: &chance) { return .failed("no", isFinal: true) }
            let event = effect(work)
            least = min(least, serving.count)
            return fails ? .failed("no, but", isFinal: true) : event
        }

        private func effect(_ work: Work) -> DeployEvent {
            switch work {
            case .server(let work):
                switch work.change {
                case .add: servers[work.server] = true
                case .addDown: servers[work.server] = false
                case .remove: servers[work.server] = nil
                case .down, .up:
                    if servers[work.server] == nil { return .failed("no server", isFinal: true) }
                    servers[work.server] = work.change == .up
                }
            case .process(let work): processes[work.pidFile] = work.env["DEPLOY_COMMIT"]
            case .end(let work): if let file = work.pidFile { processes[file] = nil }
            case .probe(let work): if work.pidFiles.contains(where: { processes[$0] == nil }) { return .failed("gone", isFinal: true) }
            default: break
            }
            return .succeeded(nil)
        }

        func run(_ machine: inout DeployMachine, _ first: DeployEvent) {
            var (events, nowMs) = ([first], Int64(1000))
            while let event = events.first {
                events.removeFirst()
                for action in machine.handle(event, atMs: nowMs) {
                    switch action {
                    case .perform(let step): events.append(perform(machine.record.steps[step].work))
                    case .undo(let step, let part): events.append(perform(machine.record.steps[step].undo[part]))
                    case .wake(let atMs):
                        nowMs = atMs
                        events.append(.tick)
                    case .record, .inspect, .ask: break
                    }
                }
            }
        }
    }

    static func record(_ some: Case) throws -> DeployRecord {
        let replicas = (1...some.replicas).map { i in
            "\"r\(i)\": " + (some.order == "stop-first" ? "\"h:\(i)\"" : "[\"h:\(i)\", \"h:1\(i)\"]")
        }.joined(separator: ", ")
        let text = #"""
            {"services": {"s": {"upstream": "pool", "start": {"process": "x"}, "health": {"url": "http://h/"}, "replicas": {\#(replicas)},
             "verify": {"url": "http://h/"}, "rolling": {"order": "\#(some.order)", "parallelism": \#(some.parallelism)}}}}
            """#
        let facts = StepTests.facts { $0.servers = ["pool": (1...some.replicas).map { "h:\($0)" }] }
        var builder = try StepBuilder(try StepTests.plan(text), [], facts)
        var record = DeployRecord(number: 1)
        record.steps = try builder.build()
        record.batches = Set(record.steps.compactMap(\.batch)).count
        record.failureAction = try #require(RollingPlan.FailureAction(rawValue: some.action))
        record.failureRatioMax = 0.7
        return record
    }

    @Test(arguments: cases) func whateverFails(some: Case) throws {
        let record = try Self.record(some)
        var outcomes: [DeployOutcome: Int] = [:]
        for seed in UInt64(0)..<600 {
            let world = World(some, seed: seed)
            let before = (world.servers, world.processes)
            var machine = DeployMachine(record)
            world.run(&machine, .start)
            for _ in 0..<5 where machine.phase == .paused {
                world.run(&machine, Bool.random(using: &world.chance) ? .start : .abort("no"))
            }
            #expect(world.least >= 1, "nobody served, seed \(seed)")
            guard case .ended(let outcome) = machine.phase else { continue }
            outcomes[outcome, default: 0] += 1
            switch outcome {
            case .undone:
                #expect(world.servers == before.0 && world.processes == before.1, "not as before, seed \(seed): \(world.servers) \(world.processes)")
            case .done:
                #expect(world.serving.count == some.replicas && Set(world.processes.values) == ["v2"], "not done, seed \(seed)")
            case .incomplete: #expect(world.serving.count == some.replicas, "some are missing, seed \(seed)")
            case .stuck: #expect(!machine.leftovers.isEmpty, "nothing is said to be left, seed \(seed)")
            }
        }
        #expect(outcomes.count >= 3, "\(outcomes)")
    }
}
