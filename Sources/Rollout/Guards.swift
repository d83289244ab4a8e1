// The raw limits of a rollout: what is seen of both variants in the last seconds against the policy's numbers.
// Called by the machine after every event. It decides nothing but whether a limit is exceeded, and whether by both.

/// What guards look at.
struct GuardView {
    var policy: RolloutPolicy
    /// Both variants in the window, the new one's latencies without those of a warm-up.
    var seen: Observations
    /// The old variant while it still had traffic: what the new one is compared with once it has all.
    var baseline: Observation
    var checks: FailureRun
    var dependencies: [String: FailureRun]
    var metrics: [String: FailureRun]
    var metricValues: [String: Double]
    /// Shares of answered requests are looked at: the window has had the present weights long enough.
    var isSettled: Bool
}

extension GuardView {
    private var guards: GuardPolicy { policy.guards }

    /// What is exceeded by the new variant alone comes first, then what is common; nil: nothing is exceeded.
    func finding() -> Finding? {
        let findings = [
            checksFinding(), dependencyFinding(), metricFinding(), errorFinding(), errorRiseFinding(), latencyFinding(),
            throughputFinding(),
        ].compactMap(\.self).map { isTroubleShared && !$0.isCommon ? $0.asCommon() : $0 }
        return findings.first { !$0.isCommon } ?? findings.first
    }

    /// The old variant answers too many errors as well, and the new one not more: whatever else the new one shows has that cause.
    private var isTroubleShared: Bool {
        guard let limit = guards.errorRatioMax, isEnough(seen.old) else { return false }
        let old = Errors(seen.old, policy)
        guard old.count >= UInt64(guards.errorsMin), old.exceeds(limit, guards.deviations) else { return false }
        return !Errors(seen.new, policy).isWorse(than: old)
    }

    // MARK: Looks

    private func checksFinding() -> Finding? {
        guard let max = guards.checksFailedMax else { return nil }
        return Self.judged(
            checks, max,
            Finding(
                .checksFailed, "\(checks.new) health checks of the new variant failed in a row (limit \(max))",
                [
                    Figure("new.checks_failed", Double(checks.new)), Figure("old.checks_failed", Double(checks.old)),
                    Figure("limit", Double(max)),
                ]))
    }

    private func dependencyFinding() -> Finding? {
        guard let max = guards.dependencyFailsMax else { return nil }
        for (name, run) in dependencies.sorted(by: { $0.key < $1.key }) {
            let found = Self.judged(
                run, max,
                Finding(
                    .dependencyDown, "the dependency \"\(name)\" failed \(run.new) checks in a row (limit \(max))",
                    [Figure("new.checks_failed", Double(run.new)), Figure("old.checks_failed", Double(run.old))]))
            if let found { return found }
        }
        return nil
    }

    private func metricFinding() -> Finding? {
        for limit in guards.metrics {
            guard let run = metrics[limit.name] else { continue }
            let value = metricValues[limit.name] ?? 0
            let found = Self.judged(
                run, limit.breaches,
                Finding(
                    .metricOverLimit,
                    "\(limit.name) of the new variant is \(value), over the limit of \(limit.max), \(run.new) times in a row",
                    [Figure("new.value", value), Figure("limit", limit.max)]))
            if let found { return found }
        }
        return nil
    }

    private static func judged(_ run: FailureRun, _ max: Int, _ finding: @autoclosure () -> Finding) -> Finding? {
        switch run.standing(max) {
        case .good: nil
        case .alone: finding()
        case .common: finding().asCommon()
        }
    }

    // MARK: Errors

    private struct Errors {
        var count: UInt64
        var requests: UInt64
        var ratio: Double { Wording.ratio(count, of: requests) }
        var words: String { Wording.share(count, of: requests) }

        init(_ seen: Observation, _ policy: RolloutPolicy) {
            requests = seen.finished
            count = min(seen.errors.sum(policy.errorClasses), requests)
        }

        func figures(_ side: String) -> [Figure] {
            [
                Figure("\(side).errors", Double(count)), Figure("\(side).requests", Double(requests)),
                Figure("\(side).error_ratio", ratio),
            ]
        }

        /// More than a variant with this ratio shows by chance.
        func exceeds(_ limit: Double, _ deviations: Double) -> Bool {
            let expected = Double(requests) * limit
            return Double(count) > expected + deviations * Numerics.squareRoot(expected * (1 - limit))
        }

        /// Half as much again as the other's, and by more than chance: five deviations, since this is looked at all the time and
        /// few errors stray further than a normal distribution has it.
        func isWorse(than other: Errors) -> Bool {
            ratio > 1.5 * other.ratio && ratio - other.ratio > 5 * deviation(from: other)
        }

        /// The standard deviation of the difference of two ratios that are alike.
        func deviation(from other: Errors) -> Double {
            let p = Wording.ratio(count &+ other.count, of: requests &+ other.requests)
            return Numerics.squareRoot(p * (1 - p) * (1 / Double(max(requests, 1)) + 1 / Double(max(other.requests, 1))))
        }
    }

    private func isEnough(_ seen: Observation) -> Bool { seen.finished >= UInt64(guards.samplesMin) }

    /// The ratio by itself; and the new variant must be worse than the old one. If it is not, and the old one is over the limit
    /// as well, the cause is common. Once the old variant is idle, its past stands for it.
    private func errorFinding() -> Finding? {
        guard let limit = guards.errorRatioMax, isEnough(seen.new) else { return nil }
        let new = Errors(seen.new, policy)
        guard new.count >= UInt64(guards.errorsMin), new.exceeds(limit, guards.deviations) else { return nil }
        var finding = Finding(
            .errorRatio, "\(new.words) of the new variant are errors (limit \(Wording.percent(limit)))",
            new.figures("new") + [Figure("limit", limit)])
        guard let reference else { return checks.old > 0 ? finding.asCommon() : finding }
        let old = Errors(reference, policy)
        finding.figures += old.figures("old")
        guard hasCompany else {
            if !new.isWorse(than: old) { return nil }
            return checks.old > 0 ? finding.asCommon() : finding
        }
        if new.isWorse(than: old) { return finding }
        return old.exceeds(limit, guards.deviations) ? finding.asCommon() : nil
    }

    private func errorRiseFinding() -> Finding? {
        guard let limit = guards.errorRiseMax, isEnough(seen.new), let reference else { return nil }
        let (new, old) = (Errors(seen.new, policy), Errors(reference, policy))
        guard new.count >= UInt64(guards.errorsMin), new.isWorse(than: old),
            new.ratio - old.ratio > limit + guards.deviations * new.deviation(from: old)
        else { return nil }
        let finding = Finding(
            .errorRise,
            "\(new.words) of the new variant are errors, \(Wording.percent(new.ratio - old.ratio)) more than the old one's"
                + " \(old.words) (limit \(Wording.percent(limit)))",
            new.figures("new") + old.figures("old") + [Figure("limit", limit)])
        return hasCompany || checks.old == 0 ? finding : finding.asCommon()
    }

    // MARK: What the new variant is compared with

    /// The old variant has traffic at the same time.
    private var hasCompany: Bool { isEnough(seen.old) }

    private var reference: Observation? {
        if isEnough(seen.old) { return seen.old }
        return isEnough(baseline) ? baseline : nil
    }

    // MARK: Latency

    /// p95 of the two, each at the end of what chance explains that favours the new one.
    private static func slower(_ new: Observation, _ old: Observation, _ guards: GuardPolicy) -> (newUs: UInt64, oldUs: UInt64)? {
        func share(_ histogram: LatencyHistogram, _ sign: Double) -> Double {
            0.95 + sign * guards.deviations * Numerics.squareRoot(0.95 * 0.05 / Double(max(histogram.total, 1)))
        }
        let (ours, theirs) = (new.latency, old.latency)
        guard let new = ours.edgesUs(ofRank: ours.rank(share(ours, -1)))?.lower,
            let old = theirs.edgesUs(ofRank: theirs.rank(share(theirs, 1)))?.upper, new > old
        else { return nil }
        return (new, old)
    }

    /// The limit that is exceeded.
    private static func latencyLimit(_ new: Observation, _ old: Observation, _ guards: GuardPolicy) -> String? {
        guard let (newUs, oldUs) = slower(new, old, guards) else { return nil }
        let riseUs = newUs - oldUs
        if let limit = guards.latencyRiseMaxMs, riseUs > UInt64(limit) * 1000 { return "\(limit) ms" }
        if let limit = guards.latencyRiseMaxRatio, riseUs >= UInt64(guards.latencyRiseFloorMs) * 1000,
            Double(newUs) > Double(oldUs) * (1 + limit)
        {
            return Wording.percent(limit)
        }
        return nil
    }

    /// The old variant is as slow against its own past.
    static func isSlow(_ seen: Observation, against baseline: Observation, _ policy: RolloutPolicy) -> Bool {
        let least = UInt64(policy.guards.samplesMin)
        guard seen.latency.total >= least, baseline.latency.total >= least else { return false }
        return latencyLimit(seen, baseline, policy.guards) != nil
    }

    private func latencyFinding() -> Finding? {
        let least = UInt64(guards.samplesMin)
        guard seen.new.latency.total >= least else { return nil }
        if let reference, reference.latency.total >= least, let limit = Self.latencyLimit(seen.new, reference, guards) {
            let finding = latencyFinding(against: reference, limit)
            return hasCompany || checks.old == 0 ? finding : finding.asCommon()
        }
        // Alike, and both slower than before.
        guard hasCompany, Self.isSlow(seen.old, against: baseline, policy),
            let limit = Self.latencyLimit(seen.new, baseline, guards)
        else { return nil }
        return latencyFinding(against: baseline, limit).asCommon()
    }

    private func latencyFinding(against old: Observation, _ limit: String) -> Finding {
        let newUs = seen.new.latency.quantileUs(0.95) ?? 0
        let oldUs = old.latency.quantileUs(0.95) ?? 0
        return Finding(
            .latencyRise,
            "p95 of the new variant is \(Wording.ms(us: newUs)), of the old one \(Wording.ms(us: oldUs)) (limit +\(limit))",
            [
                Figure("new.p95_ms", Double(newUs) / 1000), Figure("new.answers", Double(seen.new.latency.total)),
                Figure("old.p95_ms", Double(oldUs) / 1000), Figure("old.answers", Double(old.latency.total)),
            ])
    }

    // MARK: Throughput

    /// The share of requests that end at all, whatever the load is: a variant that hangs has neither errors nor latencies yet.
    private func throughputFinding() -> Finding? {
        guard let limit = guards.throughputDropMax, isSettled, let reference,
            seen.new.started >= UInt64(guards.samplesMin), reference.started >= UInt64(guards.samplesMin)
        else { return nil }
        let new = Wording.ratio(seen.new.finished, of: seen.new.started)
        let old = Wording.ratio(reference.finished, of: reference.started)
        // Requests in flight at the window's two ends differ by chance, about as a count of twice as many does.
        let trials = Double(seen.new.started)
        let inFlight = trials * Double(reference.latency.quantileUs(0.95) ?? 0) / (1000 * Double(guards.windowMs))
        guard old - new > limit + guards.deviations * Numerics.squareRoot(2 * inFlight + 1) / trials else { return nil }
        let finding = Finding(
            .throughputDrop,
            "the new variant ended \(Wording.percent(new)) of the requests it was sent, the old one \(Wording.percent(old))"
                + " (limit -\(Wording.percent(limit)))",
            [
                Figure("new.started", Double(seen.new.started)), Figure("new.finished", Double(seen.new.finished)),
                Figure("old.started", Double(reference.started)), Figure("old.finished", Double(reference.finished)),
            ])
        return hasCompany || checks.old == 0 ? finding : finding.asCommon()
    }
}
