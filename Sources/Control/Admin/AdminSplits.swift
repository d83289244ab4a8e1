// Handlers of the admin API: splits, their weights, holds and releases.
// Called by the table of routes. The controller decides; here its values become answers.

import AdminAPI
import Engine

extension AdminServer {
    func getSplit(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let (state, revision) = controller.running
        return call.json(try state.split(named: call[0]).json, revision: revision)
    }

    func putSplit(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let body = try call.body(SplitWrite.self)
        let isNew = controller.running.state.splits[call[0]] == nil
        return try write(call, .putSplit(call[0], body.split), creates: isNew)
    }

    func setWeights(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try write(call, .setWeights(split: call[0], try call.body(WeightsPatch.self).weights))
    }

    func deleteSplit(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        return try write(call, .deleteSplit(call[0]))
    }

    func holdSplit(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        let heldMax = try call.number("max", 0...1_000_000, default: 1000)
        // The bound is on each worker's own queue.
        let each = (heldMax + controller.workerTotal - 1) / max(1, controller.workerTotal)
        let settings = HoldSettings(timeoutMs: try call.timeoutMs(), heldMax: each)
        if call.isDryRun { return call.plan(try controller.planHold(call[0], ifMatch: call.ifMatch)) }
        let revision = try controller.hold(call[0], settings, ifMatch: call.ifMatch)
        return accepted(call, revision, changed: true, "new requests of split \(call[0]) wait")
    }

    func releaseSplit(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        let rate = try call.number("rate", 1...1_000_000, default: 1000)
        if call.isDryRun { return call.plan(try controller.planHold(call[0], ifMatch: call.ifMatch)) }
        let (changed, revision) = try controller.release(call[0], rate: rate, ifMatch: call.ifMatch)
        return accepted(call, revision, changed: changed, changed ? "requests of split \(call[0]) go on" : "no request of split \(call[0]) waits")
    }

    /// Holds are no part of the state: the revision stays.
    private func accepted(_ call: AdminCall, _ revision: UInt64, changed: Bool, _ summary: String) -> AdminOutcome {
        call.accepted(Accepted(revision: revision, previous: revision, changed: changed, summary: summary, reason: call.reason))
    }
}
