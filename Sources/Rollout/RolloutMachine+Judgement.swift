// Looking, and going back: guards and tests after every event, verdicts of steps, freezes, the rollback.
// Called by `handle`. Nothing here goes forward.

extension RolloutMachine {
    /// Guards, then tests. A variant that serves nobody yet fails instead of being rolled back.
    mutating func judge(_ out: inout Actions) {
        guard startedAtMs != nil, !phase.isEnd, phase != .rollingBack else { return }
        window.forget(beforeMs: out.nowMs - window.lengthMs)
        guard let found = guardFinding(out.nowMs) ?? testFinding() else { return }
        if found.isCommon { return freeze(found, &out) }
        if percent == 0 && pending == nil { return fail(found, &out) }
        rollBack(found, &out)
    }

    private func guardFinding(_ nowMs: Int64) -> Finding? {
        // Requests that wait long for their answers, as by long polling, have not ended when a step is young.
        let slowUs = max(window.sum.old.latency.quantileUs(0.99) ?? 0, baseline.latency.quantileUs(0.99) ?? 0)
        let settledMs = 2 * window.lengthMs + Int64(clamping: slowUs / 1000)
        return GuardView(
            policy: policy, seen: window.sum, baseline: baseline, checks: checks, dependencies: dependencies, metrics: metrics,
            metricValues: metricValues, isSettled: percent > 0 && nowMs - stepAtMs >= settledMs
        ).finding()
    }

    /// The tests share alpha: half for errors, a quarter for each quantile.
    private func tests() -> [Verdict] {
        [
            errorTest.verdict(policy, alpha: policy.alpha / 2), p95Test.verdict(policy, alpha: policy.alpha / 4),
            p99Test.verdict(policy, alpha: policy.alpha / 4),
        ]
    }

    private func testFinding() -> Finding? {
        for case .fail(let finding) in tests() { return finding }
        return nil
    }

    /// What is to be said of the present step when its time is over.
    func stepVerdict(_ nowMs: Int64) -> Verdict {
        for verdict in tests() where verdict != .pass { return verdict }
        if isWayBackSick { return .inconclusive("the way back is sick") }
        if checks.new > 0 { return .inconclusive("the last health check of \(plan.new) failed") }
        if policy.whenInconclusive != .goOn, let unread = unreadMetric(nowMs) { return .inconclusive(unread) }
        let least = UInt64(policy.samplesMin)
        for side in Side.allCases where stepSeen[side].finished < least {
            if policy.whenInconclusive == .goOn { continue }
            let name = side == .new ? plan.new : plan.old
            return .inconclusive("\(stepSeen[side].finished) requests to \(name) after the warm-up, \(least) are needed")
        }
        return .pass
    }

    /// A metric that nobody can read guards nothing. The first look is due when the rollout begins, so one that was never read is given the
    /// time of a slow look; one that was may miss two looks. A step that is shorter than that is not held by it.
    private func unreadMetric(_ nowMs: Int64) -> String? {
        guard let startedAtMs else { return nil }
        for metric in policy.guards.metrics where metric.source != nil {
            let readMs = metricReadMs[metric.name]
            let forMs = nowMs - (readMs ?? startedAtMs)
            if forMs > (readMs == nil ? Self.unreadMs : max(3 * metric.intervalMs, Self.unreadMs)) {
                return "\(metric.name) has not been read for \(forMs / 1000) s"
            }
        }
        return nil
    }

    private static let unreadMs: Int64 = 10_000

    // MARK: The way back

    /// A way back that is sick is told as soon as it is, and when it is well again.
    mutating func tellOfWayBack(_ out: inout Actions) {
        guard startedAtMs != nil, isWayBackSick != isToldSick else { return }
        isToldSick = isWayBackSick
        if isWayBackSick {
            say(.wayBackSick, "\(plan.old) is sick: there is no good way back now", finding: .wayBackSick, &out)
        } else {
            say(.wayBackWell, "\(plan.old) is well: the way back is open", &out)
        }
    }

    // MARK: Freezing and rolling back

    mutating func freeze(_ finding: Finding, _ out: inout Actions) {
        // Told once; and again when it turns out not to be common.
        if phase == .frozen && self.finding?.isCommon == finding.isCommon { return }
        phase = .frozen
        dropRetry()
        self.finding = finding
        say(.frozen, "held at \(percent) %: \(finding.text)", figures: finding.figures, finding: finding.kind, &out)
    }

    mutating func rollBack(_ finding: Finding, _ out: inout Actions) {
        var finding = finding
        if plan.isWayBack {
            finding.text += "; this is a way back itself, and is not rolled back"
            return freeze(finding, &out)
        }
        if !policy.rollsBackByItself {
            finding.text += "; the policy leaves rolling back to people"
            return freeze(finding, &out)
        }
        if isWayBackSick {
            finding.text += "; \(plan.old), the way back, is sick"
            if policy.whenWayBackSick == .freeze { return freeze(finding, &out) }
        }
        goBack(finding, &out)
    }

    /// One switch to the old variant, whatever else is on its way.
    mutating func goBack(_ finding: Finding, who: String = "", _ out: inout Actions) {
        phase = .rollingBack
        self.finding = finding
        begin(.rollback, step: step, percent: 0, &out)
        say(.rollingBack, "back to \(plan.old): \(finding.text)", figures: finding.figures, finding: finding.kind, who: who, &out)
    }

    mutating func endRollback(_ out: inout Actions) {
        phase = isAborting ? .aborted : .rolledBack
        say(
            isAborting ? .aborted : .rolledBack, "\(plan.old) has everything again: \(finding?.text ?? "")",
            figures: finding?.figures ?? [],
            finding: finding?.kind, &out)
    }
}
