// Listening to people: pause, resume, approve, promote, abort, and which of them make sense now.
// Called by `handle`. What is asked for at the wrong time changes nothing.

extension RolloutMachine {
    /// Why a verb cannot be obeyed now, in one sentence; nil: it can.
    public func refusal(of verb: OperatorVerb) -> String? {
        let standing = "the rollout is \(phase.rawValue)"
        if phase.isEnd || phase == .rollingBack { return standing }
        switch verb {
        case .pause: return phase == .paused || startedAtMs == nil || phase == .shadowing ? standing : nil
        case .resume: return phase == .paused || phase == .frozen ? nil : standing
        case .approve: return phase == .waitingForApproval ? nil : standing
        case .promote: return startedAtMs == nil || phase == .baking ? standing : nil
        case .abort: return nil
        }
    }

    mutating func operate(_ verb: OperatorVerb, _ who: String, _ out: inout Actions) {
        guard refusal(of: verb) == nil else { return }
        switch verb {
        case .pause:
            phase = .paused
            dropRetry()
            say(.paused, "held at \(percent) %", who: who, &out)
        case .resume: resume(who, &out)
        case .approve:
            phase = percent == 0 ? .pending : .running
            say(.approved, "\(policy.steps[min(step + 1, policy.steps.count - 1)]) % is approved", who: who, &out)
            beginNextStep(isApproved: true, &out)
        case .promote:
            phase = percent == 0 ? .pending : .running
            beginTests()
            say(.promoted, "\(plan.new) is to have everything", who: who, &out)
            // In place of a step that is on its way: the later switch wins.
            begin(.promote, step: policy.steps.count - 1, percent: 100, &out)
        case .abort: abort(who, &out)
        }
    }

    /// Ends where it is: whoever set the weights knows better.
    mutating func overridden(_ why: String, _ who: String, _ out: inout Actions) {
        phase = .aborted
        pending = nil
        finding = Finding(.asked, why)
        say(.aborted, "ended at \(percent) %: \(why)", finding: .asked, who: who, &out)
    }

    /// An operator's word stands above a verdict: what has been weighed already holds nothing up a second time.
    private mutating func beginTests() {
        errorTest = ErrorTest()
        p95Test = LatencyTest(share: p95Test.share)
        p99Test = LatencyTest(share: p99Test.share)
        block = Observations()
    }

    /// Goes on with the present step from its beginning; what was seen before does not count against it, in guards or in tests.
    private mutating func resume(_ who: String, _ out: inout Actions) {
        phase = percent == 0 ? .pending : percent == 100 ? .baking : .running
        finding = nil
        window.clear()
        beginTests()
        beginLooking(out.nowMs)
        say(.resumed, "goes on at \(percent) %", who: who, &out)
        if percent == 0 { beginOrShadow(&out) }
    }

    private mutating func abort(_ who: String, _ out: inout Actions) {
        let asked = Finding(.asked, who.isEmpty ? "an operator aborted it" : "\(who) aborted it")
        isAborting = true
        if percent == 0 && pending == nil {
            phase = .aborted
            finding = asked
            return say(.aborted, "\(plan.old) serves on: \(asked.text)", finding: .asked, who: who, &out)
        }
        goBack(asked, who: who, &out)
    }
}
