// Routes and handlers of the admin API: rollouts, what operators say to them, and policies.
// Called by the dispatch. `Rollouts` decides; here its values become answers.

import AdminAPI
import Rollout

extension RolloutStart: AdminBody {}
extension ReplayRequest: AdminBody {}
extension PolicyWrite: AdminBody {}

extension AdminRoute {
    static let rollouts: [AdminRoute] = [
        AdminRoute(
            APIOperation("GET", "/rollouts", id: "getRollouts", "Rollouts that live and that have ended, newest first.", answer: .json("RolloutList"))
        ) { (s, c) throws(Problem) in s.getRollouts(c) },
        AdminRoute(
            APIOperation(
                "POST", "/rollouts", id: "startRollout", "Moves a split to one of its variants step by step, judges it and goes back by itself.",
                body: "RolloutStart", answer: .json("Rollout"), statuses: [201, 200])
        ) { (s, c) throws(Problem) in try s.startRollout(c) },
        AdminRoute(
            APIOperation("GET", "/rollouts/{n}", id: "getRollout", "One rollout with its figures and what it has said.", answer: .json("Rollout"))
        ) { (s, c) throws(Problem) in try s.getRollout(c) },
        AdminRoute(
            APIOperation(
                "GET", "/rollouts/{n}/record", id: "getRecord", "Everything that a rollout has seen and said, for a replay.", answer: .json("Record"))
        ) { (s, c) throws(Problem) in try s.getRecord(c) },
        AdminRoute(
            APIOperation(
                "POST", "/rollouts/{n}/replay", id: "replayRollout", "What another policy would have done on the figures of the record.",
                body: "ReplayRequest", answer: .json("Replay"))
        ) { (s, c) throws(Problem) in try s.replayRollout(c) },
        verb(.pause, "Stays at the present share; guards stand."), verb(.resume, "Goes on with the present step from its beginning."),
        verb(.approve, "Lets the next step begin."), verb(.promote, "Gives the new variant everything now; guards stand."),
        verb(.abort, "Gives the old variant everything now."),
    ]

    private static func verb(_ verb: OperatorVerb, _ summary: String) -> AdminRoute {
        AdminRoute(
            APIOperation(
                "POST", "/rollouts/{n}/\(verb.rawValue)", id: "\(verb.rawValue)Rollout", summary, body: "ReasonOnly", isBodyOptional: true,
                answer: .json("Rollout"))
        ) { (s, c) throws(Problem) in try s.operate(c, verb) }
    }

    static let policies: [AdminRoute] = [
        AdminRoute(APIOperation("GET", "/policies", id: "getPolicies", "Policies of rollouts that are kept by name.", answer: .json("PolicyList"))) {
            (s, c) throws(Problem) in s.getPolicies(c)
        },
        AdminRoute(APIOperation("GET", "/policies/{name}", id: "getPolicy", "One policy, all its fields.", answer: .json("Policy"))) {
            (s, c) throws(Problem) in try s.getPolicy(c)
        },
        AdminRoute(
            APIOperation(
                "PUT", "/policies/{name}", id: "putPolicy", "Keeps a policy by a name; rollouts that live keep theirs.", body: "PolicyWrite",
                answer: .json("Policy"), statuses: [200, 201])
        ) { (s, c) throws(Problem) in try s.putPolicy(c) },
        AdminRoute(
            APIOperation(
                "DELETE", "/policies/{name}", id: "deletePolicy", "Forgets a policy; rollouts that live keep theirs.", body: "ReasonOnly",
                isBodyOptional: true, answer: .json("Policy"))
        ) { (s, c) throws(Problem) in try s.deletePolicy(c) },
    ]
}

extension AdminServer {
    // MARK: Questions

    func getRollouts(_ call: AdminCall) -> AdminOutcome {
        let live = rollouts.live.map { RolloutAnswers.summary($0.machine, $0.facts) }
        let all = (rollouts.ended.map(\.summary) + live).sorted { ($0["number"]?.integer ?? 0) > ($1["number"]?.integer ?? 0) }
        return call.json(.members(["rollouts": .array(all)]))
    }

    func getRollout(_ call: AdminCall) throws(Problem) -> AdminOutcome { call.json(try whole(try number(call))) }

    private func whole(_ number: UInt64) throws(Problem) -> JSON {
        if let rollout = rollouts.live(number) { return RolloutAnswers.whole(rollout) }
        guard let ended = rollouts.ended.first(where: { $0.number == number }) else { throw noRollout(number) }
        return RolloutAnswers.whole(ended, rollouts.record(number))
    }

    private func number(_ call: AdminCall) throws(Problem) -> UInt64 {
        guard let n = UInt64(call[0]), call[0].utf8.first != UInt8(ascii: "+") else {
            throw Problem(.notFound, "found \(AdminText.shown(call[0])), expected the number of a rollout", hint: "see /rollouts")
        }
        return n
    }

    private func noRollout(_ number: UInt64) -> Problem { Problem(.notFound, "there is no rollout \(number), or it is not kept any more", hint: "see /rollouts") }

    private func record(_ call: AdminCall) throws(Problem) -> RolloutRecord {
        let number = try number(call)
        guard let record = rollouts.record(number) else { throw noRollout(number) }
        return record
    }

    func getRecord(_ call: AdminCall) throws(Problem) -> AdminOutcome { call.json(try record(call).json) }

    func replayRollout(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let record = try record(call)
        let policy = try policy(try call.body(ReplayRequest.self).policy)
        return call.json(RolloutAnswers.replay(try record.replay(policy), policy))
    }

    // MARK: Writes

    private func policy(_ reference: PolicyReference) throws(Problem) -> RolloutPolicy {
        switch reference {
        case .inline(let policy): return policy
        case .named(let name):
            guard let policy = rollouts.policies[name] else { throw noPolicy(name, pointer: "/policy") }
            return policy
        }
    }

    func startRollout(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let body = try call.body(RolloutStart.self)
        try controller.expect(call.ifMatch)
        let policy = try policy(body.policy)
        let wanted = try rollouts.plan(body, policy, overrides: call.isForced)
        if call.isDryRun {
            let first = StateChange.setWeights(
                split: wanted.plan.split, LiveRollout.weights(percent: policy.steps.first ?? 0, wanted.plan))
            var plan = try controller.plan(first)
            plan.warnings += wanted.warnings
            return call.plan(plan)
        }
        let facts = RolloutFacts(who: call.who, reason: call.reason, atMs: clock.realtimeMs(), weights: wanted.weights)
        let number = try rollouts.start(wanted.plan, facts).number
        call.note(revision: controller.running.revision)
        let warnings = JSON.array(wanted.warnings.map { .string($0) })
        return call.json(try whole(number).merging(.members(["warnings": warnings])), status: 201)
    }

    func operate(_ call: AdminCall, _ verb: OperatorVerb) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        try controller.expect(call.ifMatch)
        let number = try number(call)
        guard let rollout = rollouts.live(number) else {
            _ = try whole(number)
            throw Problem(.conflict, "the rollout \(number) is over")
        }
        if let refusal = rollout.machine.refusal(of: verb) { throw Problem(.conflict, "\(verb.rawValue): \(refusal)") }
        if call.isDryRun { return call.plan(Plan(revision: controller.running.revision)) }
        rollouts.feed(.operate(verb, who: call.reason.isEmpty ? call.who : "\(call.who) (\(call.reason))"), rollout)
        call.note(revision: controller.running.revision)
        return call.json(try whole(number))
    }

    // MARK: Policies

    private func noPolicy(_ name: String, pointer: String? = nil) -> Problem {
        let names = rollouts.policies.keys.sorted().prefix(20).joined(separator: ", ")
        return Problem(
            .notFound, "there is no policy \(AdminText.shown(name))", hint: names.isEmpty ? "there are none: PUT one to /policies" : "there are \(names)",
            pointer: pointer)
    }

    func getPolicies(_ call: AdminCall) -> AdminOutcome {
        call.json(.members(["policies": .array(rollouts.policies.sorted { $0.key < $1.key }.map(\.value.json))]))
    }

    func getPolicy(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        guard let policy = rollouts.policies[call[0]] else { throw noPolicy(call[0]) }
        return call.json(policy.json)
    }

    func putPolicy(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        if call.request.body.count > ControlLimits.policyBytesMax {
            throw Problem(.tooLarge, "found \(call.request.body.count) bytes, expected at most \(ControlLimits.policyBytesMax)")
        }
        let policy = try call.body(PolicyWrite.self).policy(named: call[0])
        try rollouts.expectPossible(policy)
        try controller.expect(call.ifMatch)
        let isNew = rollouts.policies[call[0]] == nil
        if isNew, rollouts.policies.count >= ControlLimits.policiesMax {
            throw Problem(.outOfRange, "there are \(rollouts.policies.count) policies already, expected fewer than \(ControlLimits.policiesMax)")
        }
        if call.isDryRun { return call.plan(Plan(revision: controller.running.revision)) }
        try rollouts.put(policy, named: call[0])
        return call.json(policy.json, status: isNew ? 201 : 200)
    }

    func deletePolicy(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        try controller.expect(call.ifMatch)
        guard let policy = rollouts.policies[call[0]] else { throw noPolicy(call[0]) }
        if call.isDryRun { return call.plan(Plan(revision: controller.running.revision)) }
        try rollouts.put(nil, named: call[0])
        return call.json(policy.json)
    }
}
