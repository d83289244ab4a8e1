// What rollouts ask of others and tell others: health addresses, dependencies, metrics, probes, receivers of news. Nothing here waits:
// threads do, and what they find is picked up in the next turn. Owned by Rollouts, on the control thread.

import AdminAPI
import Engine
import Rollout
import Synchronization

final class RolloutOutside {
    /// What threads have found.
    private struct Found {
        var events: [(rollout: UInt64, event: RolloutEvent)] = []
        var probes: [(rollout: UInt64, side: Side, seen: Observation)] = []
        /// Looks that have come to their end.
        var done: [LookKey] = []
        var warnings: [String] = []
        /// Looks that could not be made the last time: that is told once.
        var troubled: Set<LookKey> = []
    }

    private final class Inbox: Sendable {
        let found = Mutex(Found())
        let wake: @Sendable () -> Void
        init(wake: @escaping @Sendable () -> Void) { self.wake = wake }

        func put(_ change: (inout Found) -> Void) {
            found.withLock { found in
                change(&found)
                if found.warnings.count > ControlLimits.rolloutWarningsMax { found.warnings.removeLast() }
            }
            wake()
        }
    }

    private struct LookKey: Hashable, Sendable {
        var rollout: UInt64
        var look: String
    }

    private struct Schedule {
        var dueMs: Int64
        var isBusy = false
    }

    private let inbox: Inbox
    private let lookers = ErrandThreads(threadsMax: ControlLimits.rolloutLookersMax, jobsMax: ControlLimits.rolloutLooksMax)
    private let mail: RolloutMail
    private var schedules: [LookKey: Schedule] = [:]
    private var probing: Set<UInt64> = []
    /// Of `rollout_commands`; nil: no program is run.
    let commands: String?

    /// - Parameter wake: of the control thread; called from threads.
    init(commands: String? = nil, wake: @escaping @Sendable () -> Void) {
        self.commands = commands
        let inbox = Inbox(wake: wake)
        self.inbox = inbox
        mail = RolloutMail { text in inbox.put { $0.warnings.append(text) } }
    }

    // MARK: What was found

    func takeEvents() -> [(rollout: UInt64, event: RolloutEvent)] {
        let (events, done) = inbox.found.withLock { found in
            defer { (found.events, found.done) = ([], []) }
            return (found.events, found.done)
        }
        for key in done { schedules[key]?.isBusy = false }
        return events
    }

    func takeProbes() -> [(rollout: UInt64, side: Side, seen: Observation)] {
        let probes = inbox.found.withLock { found in
            defer { found.probes = [] }
            return found.probes
        }
        for probe in probes { probing.remove(probe.rollout) }
        return probes
    }

    func takeWarnings() -> [String] {
        inbox.found.withLock { found in
            defer { found.warnings = [] }
            return found.warnings
        }
    }

    func forget(_ rollout: UInt64) {
        schedules = schedules.filter { $0.key.rollout != rollout }
        probing.remove(rollout)
        inbox.found.withLock { found in found.troubled = found.troubled.filter { $0.rollout != rollout } }
    }

    // MARK: Looks

    /// Begins the looks of a rollout that are due.
    func look(_ plan: RolloutPlan, _ controller: Controller, nowMs: Int64) {
        let policy = plan.policy
        if let check = policy.checks {
            for side in Side.allCases where isDue(plan, "check \(side.rawValue)", check.intervalMs, nowMs) {
                look(plan, "check \(side.rawValue)", OutsideLook.address(check, of: plan.name(side), controller)) { result in
                    result.map { .check(side, isGood: $0 > 0) }
                }
            }
        }
        for dependency in policy.dependencies {
            let (check, name) = (dependency.check, dependency.name)
            let isShared = !check.isPath && !check.target.contains("$variant")
            for side in isShared ? [Side.new] : Side.allCases where isDue(plan, "dependency \(name) \(side.rawValue)", check.intervalMs, nowMs) {
                look(plan, "dependency \(name) \(side.rawValue)", OutsideLook.address(check, of: plan.name(side), controller)) { result in
                    result.map { .dependency(name, isShared ? nil : side, isGood: $0 > 0) }
                }
            }
        }
        for metric in policy.guards.metrics {
            guard let source = metric.source else { continue }
            let name = metric.name
            for side in source.isPerVariant ? Side.allCases : [.new] where isDue(plan, "metric \(name) \(side.rawValue)", metric.intervalMs, nowMs) {
                look(plan, "metric \(name) \(side.rawValue)", .metric(source.with(variant: plan.name(side)), commands)) { result in
                    result.map { .metric(name, side, value: $0) }
                }
            }
        }
    }

    private func isDue(_ plan: RolloutPlan, _ look: String, _ intervalMs: Int64, _ nowMs: Int64) -> Bool {
        let key = LookKey(rollout: plan.number, look: look)
        guard let schedule = schedules[key] else {
            schedules[key] = Schedule(dueMs: nowMs + intervalMs)
            return true
        }
        if schedule.isBusy || nowMs < schedule.dueMs { return false }
        // One that was late is not made up for.
        schedules[key]?.dueMs = max(schedule.dueMs + intervalMs, nowMs)
        return true
    }

    /// - Parameter event: of what was read; nil where nothing could be.
    private func look(
        _ plan: RolloutPlan, _ name: String, _ what: OutsideLook, _ event: @escaping @Sendable (Double?) -> RolloutEvent?
    ) {
        let key = LookKey(rollout: plan.number, look: name)
        let inbox = inbox
        let isBegun = lookers.run {
            var trouble: String?
            let value = what.read(&trouble)
            let event = event(value)
            inbox.put { found in
                if let event { found.events.append((key.rollout, event)) }
                if let trouble {
                    if found.troubled.insert(key).inserted { found.warnings.append("rollout \(key.rollout): \(name): \(trouble)") }
                } else {
                    found.troubled.remove(key)
                }
                found.done.append(key)
            }
        }
        schedules[key]?.isBusy = isBegun
    }

    // MARK: Probes

    /// A few health requests to both variants, counted like any others.
    func probe(_ plan: RolloutPlan, _ controller: Controller) {
        if probing.contains(plan.number) { return }
        let path = plan.policy.checks?.target ?? "/"
        let timeoutMs = plan.policy.checks?.timeoutMs ?? CheckPolicy(path).timeoutMs
        for side in Side.allCases {
            let servers = controller.serverAddresses(of: plan.name(side))
            let inbox = inbox
            let number = plan.number
            let isBegun = lookers.run {
                let seen = OutsideLook.probe(servers, path, timeoutMs: timeoutMs)
                inbox.put { $0.probes.append((number, side, seen)) }
            }
            if isBegun { probing.insert(number) }
        }
    }

    // MARK: News

    func notify(_ entry: RolloutEntry, _ plan: RolloutPlan, _ text: String) {
        let body = JSON.members([
            "at": .string(Timestamp.text(ms: entry.atMs)), "kind": .string(entry.kind.rawValue), "new": .string(plan.new), "old": .string(plan.old),
            "percent": .integer(Int64(entry.percent)), "phase": .string(entry.phase.rawValue), "rollout": .integer(Int64(clamping: plan.number)),
            "split": .string(plan.split), "text": .string(text),
        ]).bytes(pretty: false)
        for receiver in plan.policy.notify { mail.send(body, to: receiver) }
    }
}

extension RolloutPlan {
    func name(_ side: Side) -> String { side == .old ? old : new }
}

extension MetricSource {
    private var texts: [String] {
        switch self {
        case .residentMemory(let file): [file]
        case .command(let words): words
        case .url(let url): [url]
        case .prometheus(let url, let query): [url, query]
        }
    }

    /// It tells the variants apart.
    var isPerVariant: Bool { texts.contains { $0.contains("$variant") } }

    func with(variant: String) -> MetricSource {
        func put(_ text: String) -> String { text.replacing("$variant", with: variant) }
        switch self {
        case .residentMemory(let file): return .residentMemory(pidFile: put(file))
        case .command(let words): return .command(words.map(put))
        case .url(let url): return .url(put(url))
        case .prometheus(let url, let query): return .prometheus(url: put(url), query: put(query))
        }
    }
}
