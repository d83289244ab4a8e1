// The JSON of a rollout's state: written after every event, it goes on after a restart as if nothing had happened.
// Called by the controller. A state that is read back is equal to the one that was written.
import AdminAPI

extension RolloutMachine: JSONCodable {
    /// Moments that arithmetic with times of policies cannot carry out of range.
    static let timeRange: ClosedRange<Int64> = -(1 << 52)...(1 << 52)

    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "the state of a rollout")
        let plan: RolloutPlan = try fields.value("plan")
        do { try plan.policy.check() } catch {
            throw Problem(error.kind, error.detail, pointer: "/plan/policy" + (error.pointer ?? ""))
        }
        self.init(plan: plan)
        let moment = { (name: String) throws(Problem) -> Int64 in try fields.integer(name, in: Self.timeRange) }
        phase = try fields.word("phase")
        step = try fields.int("step", in: -1...plan.policy.steps.count - 1)
        percent = try fields.int("percent", in: 0...100)
        try fields.setOptional(&finding, "finding") { (name) throws(Problem) in try fields.value(name) }
        try fields.setOptional(&startedAtMs, "started_at_ms", moment)
        stepAtMs = try moment("step_at_ms")
        try fields.setOptional(&revision, "revision", fields.count)
        try fields.set(&lastMs, "last_ms", moment)
        try fields.set(&lastTickMs, "last_tick_ms", moment)
        try fields.setOptional(&pending, "pending") { (name) throws(Problem) in try fields.value(name) }
        nextID = try fields.int("next_id", in: 1...1 << 40)
        isAborting = try fields.bool("aborting")
        isToldSick = try fields.bool("told_sick")
        isWayBackBad = try fields.bool("way_back_bad")
        isShadowPassed = try fields.bool("shadow_passed")
        nextLookMs = try moment("next_look_ms")
        shadow = try fields.value("shadow")
        shadowAtMs = try moment("shadow_at_ms")
        try decodeLooks(fields, moment)
    }

    private mutating func decodeLooks(_ fields: Fields, _ moment: (String) throws(Problem) -> Int64) throws(Problem) {
        let pieces = try fields.list("window") { (json, pointer) throws(Problem) in
            try ObservationWindow.Piece(json: json, at: pointer)
        }
        window = ObservationWindow(lengthMs: policy.guards.windowMs, pieces: pieces)
        baseline = try fields.value("baseline")
        baselineAtMs = try moment("baseline_at_ms")
        checks = try fields.value("checks")
        dependencies = try fields.dictionary("dependencies")
        metrics = try fields.dictionary("metrics")
        metricValues = try fields.dictionary("metric_values", Reading.self).mapValues(\.value)
        try fields.set(&metricReadMs, "metric_read_ms") { (name) throws(Problem) in
            try fields.dictionary(name, Moment.self).mapValues(\.ms)
        }
        errorTest = try fields.value("error_test")
        p95Test = try fields.value("p95_test")
        p99Test = try fields.value("p99_test")
        block = try fields.value("block")
        blockAtMs = try moment("block_at_ms")
        stepSeen = try fields.value("step_seen")
    }

    public var json: JSON {
        .members([
            "aborting": .bool(isAborting), "baseline": baseline.json, "baseline_at_ms": .integer(baselineAtMs),
            "block": block.json,
            "block_at_ms": .integer(blockAtMs), "checks": checks.json,
            "dependencies": .object(dependencies.sorted { $0.key < $1.key }.map { .init($0.key, $0.value.json) }),
            "error_test": errorTest.json, "finding": finding?.json, "last_ms": lastMs == .min ? nil : .integer(lastMs),
            "last_tick_ms": lastTickMs == .min ? nil : .integer(lastTickMs),
            "metric_read_ms": .object(metricReadMs.sorted { $0.key < $1.key }.map { .init($0.key, .integer($0.value)) }),
            "metric_values": .object(metricValues.sorted { $0.key < $1.key }.map { .init($0.key, .figure($0.value)) }),
            "metrics": .object(metrics.sorted { $0.key < $1.key }.map { .init($0.key, $0.value.json) }),
            "next_id": .whole(nextID), "next_look_ms": .integer(nextLookMs), "p95_test": p95Test.json, "p99_test": p99Test.json,
            "pending": pending?.json, "percent": .whole(percent), "phase": .string(phase.rawValue), "plan": plan.json,
            "revision": revision.map { .tally($0) }, "shadow": shadow.json, "shadow_at_ms": .integer(shadowAtMs),
            "shadow_passed": .bool(isShadowPassed), "started_at_ms": startedAtMs.map { .integer($0) }, "step": .whole(step),
            "step_at_ms": .integer(stepAtMs), "step_seen": stepSeen.json, "told_sick": .bool(isToldSick),
            "way_back_bad": .bool(isWayBackBad), "window": .array(window.pieces.map(\.json)),
        ])
    }
}

/// A bare number.
private struct Reading: JSONCodable {
    let value: Double
    var json: JSON { .figure(value) }

    init(decoding json: JSON) throws(Problem) {
        guard let value = json.number else { throw Problem(.wrongType, "found no number, expected one", pointer: "") }
        self.value = value
    }
}

/// A bare moment.
private struct Moment: JSONCodable {
    let ms: Int64
    var json: JSON { .integer(ms) }

    init(decoding json: JSON) throws(Problem) {
        guard let ms = json.integer, RolloutMachine.timeRange.contains(ms) else {
            throw Problem(.outOfRange, "found no moment, expected milliseconds", pointer: "")
        }
        self.ms = ms
    }
}

extension RolloutMachine.PendingSwitch: JSONCodable {
    init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a pending switch")
        self.init(
            id: try fields.int("id"), kind: try fields.word("kind"), step: try fields.int("step", in: -1...100),
            percent: try fields.int("percent", in: 0...100), refusals: try fields.int("refusals"))
        try fields.setOptional(&retryAtMs, "retry_at_ms") { (name) throws(Problem) in
            try fields.integer(name, in: RolloutMachine.timeRange)
        }
    }

    var json: JSON {
        .members([
            "id": .whole(id), "kind": .string(kind.rawValue), "percent": .whole(percent), "refusals": .whole(refusals),
            "retry_at_ms": retryAtMs.map { .integer($0) }, "step": .whole(step),
        ])
    }
}

extension ObservationWindow.Piece: JSONCodable {
    init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a piece of a window")
        self.init(fromMs: try fields.integer("from_ms", in: RolloutMachine.timeRange), seen: try fields.value("seen"))
    }

    var json: JSON { .members(["from_ms": .integer(fromMs), "seen": seen.json]) }
}

extension FailureRun: JSONCodable {
    init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "failures in a row")
        self.init(
            old: try fields.int("old", in: 0...Self.most), new: try fields.int("new", in: 0...Self.most),
            newAlone: try fields.int("new_alone", in: 0...Self.most))
    }

    var json: JSON { .members(["new": .whole(new), "new_alone": .whole(newAlone), "old": .whole(old)]) }
}

extension ProportionBets: JSONCodable {
    init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "bets")
        self.init(prior: 0.5)
        lnStakes = try fields.list("ln_stakes") { (json, pointer) throws(Problem) in try Reading(json: json, at: pointer).value }
        guard lnStakes.count == Self.effects.count else {
            throw Problem(.outOfRange, "found \(lnStakes.count) stakes, expected \(Self.effects.count)", pointer: "/ln_stakes")
        }
        reserve = try fields.number("reserve")
        blocks = try fields.int("blocks")
        oldEvents = try fields.number("old_events")
        oldTrials = max(try fields.number("old_trials"), 1)
    }

    var json: JSON {
        .members([
            "blocks": .whole(blocks), "ln_stakes": .array(lnStakes.map { .figure($0) }), "old_events": .figure(oldEvents),
            "old_trials": .figure(oldTrials), "reserve": .figure(reserve),
        ])
    }
}

extension ErrorTest: JSONCodable {
    init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "an error test")
        self.init()
        bets = try fields.value("bets")
        oldErrors = try fields.count("old_errors")
        oldRequests = try fields.count("old_requests")
        newErrors = try fields.count("new_errors")
        newRequests = try fields.count("new_requests")
    }

    var json: JSON {
        .members([
            "bets": bets.json, "new_errors": .tally(newErrors), "new_requests": .tally(newRequests),
            "old_errors": .tally(oldErrors),
            "old_requests": .tally(oldRequests),
        ])
    }
}

extension LatencyTest: JSONCodable {
    init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a latency test")
        let share = try fields.number("share")
        guard (0.5...0.9999).contains(share) else {
            throw Problem(.outOfRange, "found the share \(share), expected one from 0.5 to 0.9999", pointer: "/share")
        }
        self.init(share: share)
        bets = try fields.value("bets")
        reference = try fields.value("reference")
        old = try fields.value("old")
        new = try fields.value("new")
    }

    var json: JSON {
        .members(["bets": bets.json, "new": new.json, "old": old.json, "reference": reference.json, "share": .figure(share)])
    }
}
