// The rollouts of the process: starts them, ticks them, carries out what their machines ask for, keeps those that have ended.
// Owned by the admin server; called in turns of the control thread. Whether a variant is good is decided in the module Rollout.

import AdminAPI
import Engine
import Rollout

/// A rollout that is over.
struct EndedRollout {
    let number: UInt64
    let split: String
    /// As lists have it.
    let summary: JSON
    /// Kept here when there is no folder.
    let record: RolloutRecord?
}

final class Rollouts {
    let controller: Controller
    let clock: ControlClock
    let store: RolloutStore
    let outside: RolloutOutside
    private(set) var live: [LiveRollout] = []
    private(set) var ended: [EndedRollout] = []
    private(set) var policies: [String: RolloutPolicy] = [:]
    private(set) var counts = RolloutCounts()
    private var lastNumber: UInt64 = 0
    private var hasBegun = false
    private var dueMs: Int64 = 0
    /// The log is to be told.
    private var hasWarned = false
    /// As last said.
    private var storeTrouble = ""

    init(_ controller: Controller, store: RolloutStore, clock: ControlClock, outside: RolloutOutside) {
        self.controller = controller
        self.store = store
        self.clock = clock
        self.outside = outside
    }

    /// Of the wall when the first of those that live began or was taken up. From there on it goes at its own pace: a step of the wall clock
    /// ends no bake time, and stops none.
    private var nowMs: Int64 { monotonicMs + aheadMs }
    private var monotonicMs: Int64 { Int64(clock.monotonicNs() / 1_000_000) }
    private var aheadMs: Int64 = 0
    /// - Parameter lastMs: when those that are taken up had an event last. For a wall clock that is behind that, time would stand still.
    private func setClock(after lastMs: Int64 = .min) {
        if live.isEmpty { aheadMs = max(clock.realtimeMs(), lastMs) - monotonicMs }
    }

    func takeHasWarned() -> Bool {
        defer { hasWarned = false }
        return hasWarned
    }

    func warn(_ text: String) {
        controller.events.warn(text)
        hasWarned = true
    }

    // MARK: The turn

    /// What an earlier process left; once, before anything is asked.
    func begin() {
        if hasBegun { return }
        hasBegun = true
        policies = store.policies()
        defer { for warning in store.takeWarnings() { warn(warning) } }
        guard let numbers = store.numbers() else { return }
        lastNumber = numbers.upperBound
        let left = numbers.compactMap(load)
        setClock(after: left.map(\.machine.lastMs).max() ?? .min)
        for rollout in left { takeUp(rollout) }
    }

    /// - Returns: when to be called again at the latest, of the monotonic clock.
    func turn(nowMs monotonicMs: Int64) -> Int64? {
        for one in controller.takeOverrides() {
            let reason = one.reason.isEmpty ? "" : " (\(one.reason))"
            live(one.rollout).map { feed(.overridden(why: "revision \(one.revision) sets the weights otherwise\(reason)", who: one.who), $0) }
        }
        for (number, event) in outside.takeEvents() { live(number).map { feed(event, $0) } }
        for (number, side, seen) in outside.takeProbes() { live(number)?.add(probe: seen, of: side) }
        for warning in outside.takeWarnings() { warn(warning) }
        if live.isEmpty { return nil }
        if monotonicMs >= dueMs {
            dueMs = monotonicMs + ControlLimits.rolloutTickMs
            for rollout in live { tick(rollout, monotonicMs) }
        }
        return live.isEmpty ? nil : dueMs
    }

    private func tick(_ rollout: LiveRollout, _ monotonicMs: Int64) {
        if endedByOthers(rollout) { return }
        if rollout.isHealthDue(monotonicMs) {
            let condition = controller.condition(of: rollout.plan.old)
            if let news = rollout.news(ofWayBack: condition?.canServe ?? false) { feed(news, rollout) }
            lookAtChecks(rollout)
            lookAtShadow(rollout)
        }
        feed(.tick(rollout.observe()), rollout)
        if !rollout.machine.phase.isEnd { outside.look(rollout.plan, controller, nowMs: monotonicMs) }
    }

    /// What the upstreams' own health checks say, where the policy has none.
    private func lookAtChecks(_ rollout: LiveRollout) {
        if rollout.plan.policy.checks != nil { return }
        for side in Side.allCases {
            guard let known = controller.health.health(of: rollout.plan.name(side)), !known.isUndecided else { continue }
            for event in rollout.news(ofFailedRounds: known.failedRounds, side) { feed(event, rollout) }
        }
    }

    /// A reload, or whatever else does not ask: weights that are not the rollout's own stand.
    private func endedByOthers(_ rollout: LiveRollout) -> Bool {
        let (state, revision) = controller.running
        guard let split = state.splits[rollout.plan.split] else {
            feed(.overridden(why: "there is no split \(rollout.plan.split) any more, as of revision \(revision)", who: ""), rollout)
            return true
        }
        if rollout.isOwn(split.weights) { return false }
        feed(.overridden(why: "the weights of the split are others, as of revision \(revision)", who: ""), rollout)
        return true
    }

    func live(_ number: UInt64) -> LiveRollout? { live.first { $0.number == number } }

    // MARK: Events and actions

    func feed(_ event: RolloutEvent, _ rollout: LiveRollout) {
        if rollout.machine.phase.isEnd { return }
        var events = [event]
        while !events.isEmpty {
            let event = events.removeFirst()
            perform(rollout.take(event, atMs: nowMs), rollout, &events)
        }
        if rollout.machine.phase.isEnd { end(rollout) }
    }

    private func perform(_ actions: [RolloutAction], _ rollout: LiveRollout, _ events: inout [RolloutEvent]) {
        let isDecision = actions.contains { if case .wake = $0 { false } else { true } }
        // What is to be done is written before it is done: after a crash it is done again, under the same id.
        write(rollout, isDecision: isDecision)
        settleShadow(rollout)
        for action in actions {
            switch action {
            case .setShare(let percent, let id):
                events.append(set(percent, id, "rollout \(rollout.number): \(percent == 100 ? "all" : "step \(percent) %")", rollout))
            case .rollBack(let percent, let id, let finding):
                events.append(set(percent, id, "rollout \(rollout.number): back to \(rollout.plan.old): \(finding.text)", rollout))
            case .probe: outside.probe(rollout.plan, controller)
            case .notify(let entry): tell(entry, rollout)
            case .record(let entry):
                // A fixed share is looked at, not judged.
                if rollout.plan.policy.strategy != .ab || entry.kind != .verdict { counts.add(entry) }
            case .wake: break
            }
        }
    }

    private func set(_ percent: Int, _ id: Int, _ reason: String, _ rollout: LiveRollout) -> RolloutEvent {
        let author = Author(
            who: "rollout \(rollout.number)", reason: String(reason.prefix(ControlLimits.adminReasonBytesMax / 4)), rollout: rollout.number)
        do throws(Problem) {
            let change = StateChange.setWeights(split: rollout.plan.split, LiveRollout.weights(percent: percent, rollout.plan))
            return .switched(id: id, revision: try controller.change(change, by: author).revision)
        } catch {
            return .refused(id: id, why: error.detail)
        }
    }

    private func tell(_ entry: RolloutEntry, _ rollout: LiveRollout) {
        let text = "rollout \(rollout.number) of \(rollout.plan.split): \(entry.text)"
        controller.events.emit(.rollout, revision: controller.running.revision, subject: rollout.plan.split, text: text)
        switch entry.kind {
        case .failed, .frozen, .rollingBack, .rolledBack, .refused, .wayBackSick: warn(text)
        default: break
        }
        outside.notify(entry, rollout.plan, text)
    }

    private func write(_ rollout: LiveRollout, isDecision: Bool) {
        do throws(JournalFailure) {
            try rollout.write(to: store, nowMs: nowMs, isDecision: isDecision)
            storeTrouble = ""
        } catch {
            // A rollback must not wait for a full disk.
            if storeTrouble != error.description { warn("rollout \(rollout.number): \(error.description)") }
            storeTrouble = error.description
        }
    }

    private func end(_ rollout: LiveRollout) {
        write(rollout, isDecision: true)
        live.removeAll { $0 === rollout }
        controller.unclaim(rollout.plan.split)
        outside.forget(rollout.number)
        ended.append(EndedRollout(
            number: rollout.number, split: rollout.plan.split, summary: RolloutAnswers.summary(rollout.machine, rollout.facts),
            record: store.keeps ? nil : rollout.record))
        forgetOld()
    }

    private func forgetOld() {
        let most = store.keeps ? ControlLimits.rolloutsKept : ControlLimits.rolloutsKeptInMemory
        while ended.count > most { store.remove(ended.removeFirst().number) }
        keepNumbers()
    }

    private func keepNumbers() {
        guard let first = (ended.map(\.number) + live.map(\.number)).min() else { return }
        do throws(JournalFailure) { try store.keep(numbers: first...max(first, lastNumber)) } catch { warn(error.description) }
    }

    // MARK: Starts

    /// - Throws: why it cannot start; nothing has changed then.
    func start(_ plan: RolloutPlan, _ facts: RolloutFacts) throws(Problem) -> LiveRollout {
        setClock()
        var plan = plan
        plan.number = lastNumber + 1
        let rollout = LiveRollout(
            RolloutMachine(plan: plan), RolloutRecord(plan: plan), facts, workers: controller.workerTotal)
        do throws(JournalFailure) {
            try rollout.write(to: store, nowMs: nowMs, isDecision: true)
            let first = (ended.map(\.number) + live.map(\.number)).min() ?? plan.number
            try store.keep(numbers: first...plan.number)
        } catch {
            store.remove(plan.number)
            throw Problem(.journalFailed, error.description, hint: "nothing has changed; make room or repair the folder of `state`")
        }
        do throws(Problem) { try controller.claim(plan.split, for: plan.number, rollout.watch) } catch {
            // Else it would begin by itself at the next start.
            store.remove(plan.number)
            throw error
        }
        lastNumber = plan.number
        live.append(rollout)
        dueMs = 0
        feed(.start, rollout)
        return rollout
    }

    /// One that lives yet.
    private func load(_ number: UInt64) -> LiveRollout? {
        guard let state = store.state(number) else { return nil }
        let machine: RolloutMachine
        do throws(Problem) {
            guard let json = state["machine"] else { throw Problem(.missingField, "it has no machine") }
            machine = try RolloutMachine(json: json)
        } catch {
            warn("the state of rollout \(number) cannot be read, so it is over: \(error.detail)")
            return nil
        }
        let facts = RolloutFacts(state["facts"] ?? .null)
        if machine.phase.isEnd {
            ended.append(EndedRollout(
                number: number, split: machine.plan.split, summary: RolloutAnswers.summary(machine, facts), record: nil))
            return nil
        }
        return LiveRollout(machine, store.record(number) ?? RolloutRecord(plan: machine.plan), facts, workers: controller.workerTotal)
    }

    private func takeUp(_ rollout: LiveRollout) {
        let (machine, number) = (rollout.machine, rollout.number)
        live.append(rollout)
        do throws(Problem) { try controller.claim(machine.plan.split, for: number, rollout.watch) } catch {
            return feed(.overridden(why: error.detail, who: ""), rollout)
        }
        if endedByOthers(rollout) { return }
        controller.events.emit(
            .rollout, revision: controller.running.revision, subject: machine.plan.split,
            text: "rollout \(number) of \(machine.plan.split) goes on after a restart: \(machine.phase.rawValue) at \(machine.percent) %")
        if machine.startedAtMs == nil { return feed(.start, rollout) }
        var events: [RolloutEvent] = []
        perform(rollout.resume(atMs: nowMs), rollout, &events)
        for event in events { feed(event, rollout) }
    }

    // MARK: Policies

    /// - Throws: `journal-failed`; nothing has changed then.
    func put(_ policy: RolloutPolicy?, named name: String) throws(Problem) {
        var next = policies
        next[name] = policy
        do throws(JournalFailure) { try store.keep(policies: next) } catch {
            throw Problem(.journalFailed, error.description, hint: "nothing has changed; make room or repair the folder of `state`")
        }
        policies = next
    }

    /// The record of a rollout, live or not.
    func record(_ number: UInt64) -> RolloutRecord? {
        if let rollout = live(number) { return rollout.record }
        guard let one = ended.first(where: { $0.number == number }) else { return nil }
        return one.record ?? store.record(number)
    }
}
