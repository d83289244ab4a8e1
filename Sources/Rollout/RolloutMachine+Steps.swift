// Going forward: start, shadow gate, steps, approvals, bake time; and the switches that this takes.
// Called by `handle`. Whether a variant is good is not decided here.

extension RolloutMachine {
    mutating func start(_ out: inout Actions) {
        guard phase == .pending, startedAtMs == nil else { return }
        startedAtMs = out.nowMs
        say(.started, "\(plan.split): \(plan.old) to \(plan.new) by the policy \(policy.name)", &out)
        beginOrShadow(&out)
    }

    /// The first step, behind the shadow gate if there is one.
    mutating func beginOrShadow(_ out: inout Actions) {
        if policy.shadow == nil || isShadowPassed { return beginNextStep(&out) }
        phase = .shadowing
        shadowAtMs = out.nowMs
    }

    /// Time-driven progress. At most one step an event.
    mutating func advance(_ out: inout Actions) {
        if let retryAtMs = pending?.retryAtMs, out.nowMs >= retryAtMs {
            pending?.retryAtMs = nil
            ask(&out)
        }
        switch phase {
        case .shadowing: judgeShadow(&out)
        case .running where pending == nil && out.nowMs >= nextLookMs, .inconclusive where pending == nil: endStep(&out)
        case .baking where out.nowMs - stepAtMs >= policy.bakeMs: succeed(&out)
        default: break
        }
    }

    // MARK: Shadow

    private mutating func judgeShadow(_ out: inout Actions) {
        guard let gate = policy.shadow else { return }
        let differing = Wording.ratio(shadow.differing, of: shadow.compared)
        let noise = Wording.ratio(shadow.differingOld, of: shadow.comparedOld)
        let figures = [
            Figure("compared", Double(shadow.compared)), Figure("new.differing_ratio", differing),
            Figure("old.differing_ratio", noise), Figure("limit", gate.differsMax),
        ]
        let words =
            "\(Wording.share(shadow.differing, of: shadow.compared)) answered otherwise, \(Wording.percent(noise)) of it noise"
        guard shadow.compared >= UInt64(gate.comparedMin) else {
            if out.nowMs - shadowAtMs >= gate.timeMaxMs {
                shadowAtMs = out.nowMs
                if policy.whenInconclusive == .goOn { return passShadow(words, figures, &out) }
                say(
                    .inconclusive, "too few requests were mirrored: \(shadow.compared) of \(gate.comparedMin)", figures: figures,
                    &out)
            }
            return
        }
        if differing - noise <= gate.differsMax { return passShadow(words, figures, &out) }
        fail(Finding(.shadowDiffers, "\(words) (limit \(Wording.percent(gate.differsMax)))", figures), &out)
    }

    private mutating func passShadow(_ words: String, _ figures: [Figure], _ out: inout Actions) {
        phase = .pending
        isShadowPassed = true
        say(.shadowPassed, words, figures: figures, &out)
        beginNextStep(&out)
    }

    // MARK: Steps

    /// The step behind the present one, or its approval. Nothing while a switch is on its way.
    mutating func beginNextStep(isApproved: Bool = false, _ out: inout Actions) {
        let next = step + 1
        guard pending == nil, policy.steps.indices.contains(next) else { return }
        let wanted = policy.steps[next]
        if !isApproved, policy.approvalSteps.contains(wanted) {
            phase = .waitingForApproval
            return say(.approvalAsked, "\(wanted) % for \(plan.new) waits to be approved", &out)
        }
        begin(.step, step: next, percent: wanted, &out)
    }

    mutating func begin(_ kind: PendingSwitch.Kind, step: Int, percent: Int, _ out: inout Actions) {
        pending = PendingSwitch(id: nextID, kind: kind, step: step, percent: percent)
        nextID += 1
        ask(&out)
    }

    /// Asks for what is pending, unless it waits after a refusal.
    func ask(_ out: inout Actions) {
        guard let pending, pending.retryAtMs == nil else { return }
        if pending.kind == .rollback, let finding {
            out.list.append(.rollBack(percent: pending.percent, id: pending.id, because: finding))
        } else {
            out.list.append(.setShare(percent: pending.percent, id: pending.id))
        }
    }

    mutating func switched(_ id: Int, _ revision: UInt64, _ out: inout Actions) {
        guard let done = pending, done.id == id else { return }
        pending = nil
        self.revision = revision
        percent = done.percent
        if done.kind == .rollback { return endRollback(&out) }
        step = done.step
        beginLooking(out.nowMs)
        // A freeze or a pause that came meanwhile stands.
        if phase != .frozen && phase != .paused { phase = percent == 100 ? .baking : .running }
        say(.step, "\(plan.new) has \(percent) %", &out)
        if phase == .baking {
            say(.baking, "guards stand for \(policy.bakeMs / 1000) s more", tells: false, &out)
        }
    }

    /// A step's time begins, or begins anew.
    mutating func beginLooking(_ nowMs: Int64) {
        stepAtMs = nowMs
        nextLookMs = nowMs + policy.intervalMs
        stepSeen = Observations()
        block = Observations()
    }

    /// Who is held gets no larger share: a switch forward that waits to be asked for again is asked for no more.
    mutating func dropRetry() { if let waiting = pending, waiting.retryAtMs != nil, waiting.kind != .rollback { pending = nil } }

    /// A switch that is refused is asked for again: a step's a few times, a rollback's until it succeeds.
    mutating func refused(_ id: Int, _ why: String, _ out: inout Actions) {
        guard var asked = pending, asked.id == id else { return }
        asked.refusals += 1
        asked.retryAtMs = out.nowMs + Self.retryMs
        pending = asked
        let isHeld = phase == .frozen || phase == .paused
        if isHeld { dropRetry() }
        if isHeld || asked.kind == .rollback || asked.refusals < Self.refusalsMax {
            // Told at once and then once a minute.
            say(.refused, "\(asked.percent) % was refused: \(why)", tells: asked.refusals % 60 == 1, &out)
            return
        }
        pending = nil
        let finding = Finding(.switchRefused, "\(asked.percent) % was refused \(asked.refusals) times: \(why)")
        if percent == 0 { fail(finding, &out) } else { freeze(finding, &out) }
    }

    static let retryMs: Int64 = 1_000
    static let refusalsMax = 5

    // MARK: The end of a step

    private mutating func endStep(_ out: inout Actions) {
        let verdict = stepVerdict(out.nowMs)
        let figures = errorTest.figures + p95Test.figures(alpha: policy.alpha / 4) + p99Test.figures(alpha: policy.alpha / 4)
        if policy.strategy == .ab {
            nextLookMs = out.nowMs + policy.intervalMs
            return say(.verdict, "at \(percent) %: \(Self.words(verdict))", figures: figures, tells: false, &out)
        }
        switch verdict {
        case .pass:
            phase = .running
            say(.verdict, "\(percent) % passed: \(Self.words(verdict))", figures: figures, tells: false, &out)
            beginNextStep(&out)
        // Tests that fail are acted upon as they do.
        case .fail: break
        case .inconclusive(let why):
            if phase != .inconclusive {
                phase = .inconclusive
                nextLookMs = out.nowMs
                say(.inconclusive, "\(percent) % is held: \(why)", figures: figures, &out)
            }
            guard policy.whenInconclusive == .probe, out.nowMs >= nextLookMs else { return }
            nextLookMs = out.nowMs + max(policy.intervalMs / 4, 1_000)
            out.list.append(.probe)
        }
    }

    private static func words(_ verdict: Verdict) -> String {
        switch verdict {
        case .pass: "no difference that counts"
        case .fail(let finding): finding.text
        case .inconclusive(let why): why
        }
    }

    private mutating func succeed(_ out: inout Actions) {
        phase = .succeeded
        finding = nil
        say(.succeeded, "\(plan.new) has everything, and nothing was found against it", &out)
    }

    /// Ends before anybody was served by the new variant.
    mutating func fail(_ finding: Finding, _ out: inout Actions) {
        phase = .failed
        pending = nil
        self.finding = finding
        say(.failed, "\(plan.old) serves on: \(finding.text)", figures: finding.figures, finding: finding.kind, &out)
    }
}
