// Hundreds of simulated rollouts, good and bad, as a table in Markdown: false alarms, rollbacks, how long they took, who saw it.
// Run by Benchmarks/rollout. Seeded: the figures are the same on every machine.
import Rollout
import RolloutSimulation

@main
struct RolloutTable {
    static let faults: [SimulatedFault] = [
        SimulatedFault("healthy"),
        .make("healthy, base errors 0.9 %") { $0.baseErrors = 0.009 },
        .make("+2 % errors") { $0.errors = 0.02 },
        .make("+5 % errors") { $0.errors = 0.05 },
        .make("300 ms slower") { $0.slowerMs = 300 },
        .make("dies after a minute") { $0.diesAfterMs = 60_000 },
        .make("hangs after a minute") { $0.hangsAfterMs = 60_000 },
        .make("both answer 30 % errors for 90 s") {
            $0.commonErrors = 0.3
            $0.commonAfterMs = 80_000
        },
        .make("both answer errors only for 90 s") {
            $0.commonErrors = 1
            $0.commonAfterMs = 80_000
        },
    ]

    static func main() {
        let arguments = CommandLine.arguments.dropFirst()
        let runs = arguments.first.flatMap { Int($0) } ?? 200
        let firstSeed = arguments.dropFirst().first.flatMap { UInt64($0) } ?? 10_001
        let policy = RolloutPolicy(name: "default")
        print(
            """
            \(runs) simulated rollouts a row: 200 requests/s of 4,000 users, base errors 0.2 %, base p95 about 140 ms, load and
            latency wandering by a fifth. Steps \(policy.steps.map(String.init).joined(separator: ", ")) %, every \
            \(policy.intervalMs / 1000) s, warm-up \(policy.warmUpMs / 1000) s, bake time \(policy.bakeMs / 1000) s, health checks
            every 5 s, a look every 200 ms. Times are from the first faulty request to the switch back.

            | release | rolled back | went through | frozen | median s | p95 s | users who saw it, median | p95 | by |
            | --- | --- | --- | --- | --- | --- | --- | --- | --- |
            """)
        for fault in faults { row(fault, runs, firstSeed, policy) }
        // What the sequential tests do by themselves.
        var alone = policy
        alone.guards.errorRatioMax = nil
        alone.guards.errorRiseMax = nil
        alone.guards.latencyRiseMaxMs = nil
        alone.guards.latencyRiseMaxRatio = nil
        alone.guards.throughputDropMax = nil
        for var fault in faults.prefix(5) {
            fault.name += ", tests alone"
            row(fault, runs, firstSeed, alone)
        }
    }

    static func row(_ fault: SimulatedFault, _ runs: Int, _ firstSeed: UInt64, _ policy: RolloutPolicy) {
        var outcomes: [SimulatedOutcome] = []
        for run in 0..<max(runs, 1) {
            outcomes.append(SimulatedRollout.run(fault, seed: firstSeed &+ UInt64(run), policy: policy))
        }
        let back = outcomes.filter { $0.rollbacks > 0 }
        let times = back.compactMap(\.rollbackAfterMs).map { $0 / 1000 }.sorted()
        let users = back.map { Double($0.usersHit) }.sorted()
        var reasons: [String: Int] = [:]
        for outcome in back { reasons[outcome.finding?.kind.rawValue ?? "?", default: 0] += 1 }
        let by = reasons.sorted { ($1.value, $0.key) < ($0.value, $1.key) }.map { "\($0.key) \($0.value)" }.joined(
            separator: ", ")
        let cells: [String] = [
            fault.name, "\(back.count)", "\(outcomes.count { $0.phase == .succeeded })", "\(outcomes.count { $0.freezes > 0 })",
            quantile(times, 0.5), quantile(times, 0.95), quantile(users, 0.5, digits: 0), quantile(users, 0.95, digits: 0),
            by.isEmpty ? "-" : by,
        ]
        print("| " + cells.joined(separator: " | ") + " |")
    }

    /// Of sorted values; `-` for none.
    static func quantile(_ values: [Double], _ share: Double, digits: Int = 1) -> String {
        guard !values.isEmpty else { return "-" }
        let value = values[min(Int(share * Double(values.count)), values.count - 1)]
        if digits == 0 { return "\(Int(value + 0.5))" }
        let tenths = Int(value * 10 + 0.5)
        return "\(tenths / 10).\(tenths % 10)"
    }
}
