// The state machine of a rollout: an event and a time go in, actions come out. Everything it knows is in this value.
// Driven by the controller; +Steps goes forward, +Judgement looks and goes back, +Operator listens, +JSON survives a restart.

/// One rollout.
///
/// Rules that no policy changes: a rollback is one switch; nothing is rolled back twice; when both variants have the same
/// fault, nothing moves; an operator's word stands above a verdict, guards stand above everything but a freeze.
public struct RolloutMachine: Sendable, Equatable {
    /// A switch that is asked for and not acknowledged.
    struct PendingSwitch: Sendable, Equatable {
        enum Kind: String, Sendable, CaseIterable { case step, promote, rollback }
        var id: Int
        var kind: Kind
        /// The step it leads to.
        var step: Int
        var percent: Int
        var refusals = 0
        /// When to ask again after a refusal.
        var retryAtMs: Int64?
    }

    public let plan: RolloutPlan
    public internal(set) var phase = RolloutPhase.pending
    /// The index of the policy's step that was acknowledged last; -1: none.
    public internal(set) var step = -1
    /// The new variant's acknowledged share.
    public internal(set) var percent = 0
    /// Why it froze, rolls back or ended.
    public internal(set) var finding: Finding?
    public internal(set) var startedAtMs: Int64?
    /// The moment of the last event; `.min`: there was none.
    public internal(set) var lastMs: Int64 = .min
    /// When the present weights were acknowledged, or the step was resumed.
    public internal(set) var stepAtMs: Int64 = 0
    /// The revision that the last acknowledged switch made.
    public internal(set) var revision: UInt64?
    /// What the last `wayBack` event said.
    public internal(set) var isWayBackBad = false
    /// The old variant could not take everything now.
    public var isWayBackSick: Bool { isWayBackBad || checks.old >= policy.guards.checksFailedMax ?? .max }

    /// Health checks of this side that failed in a row.
    public func checksFailed(_ side: Side) -> Int { side == .old ? checks.old : checks.new }

    /// What guards look at: both variants over the last seconds.
    public var seen: Observations { window.sum }
    /// When the present step is judged next, the bake time ends, or a refused switch is asked for again; nil: nothing is due.
    public var dueMs: Int64? {
        if let retryAtMs = pending?.retryAtMs { return retryAtMs }
        switch phase {
        case .running where pending == nil: return nextLookMs
        case .baking: return stepAtMs + policy.bakeMs
        default: return nil
        }
    }
    /// The share that is asked for and not acknowledged.
    public var wantedPercent: Int? { pending?.percent }

    var lastTickMs: Int64 = .min
    var pending: PendingSwitch?
    var nextID = 1
    /// Whether an operator's abort, not a finding, leads back.
    var isAborting = false
    var isToldSick = false
    var isShadowPassed = false

    // What is looked at.
    var window: ObservationWindow
    var baseline = Observation()
    var baselineAtMs: Int64 = 0
    var checks = FailureRun()
    var dependencies: [String: FailureRun] = [:]
    var metrics: [String: FailureRun] = [:]
    var metricValues: [String: Double] = [:]
    /// When each was last read of the new variant.
    var metricReadMs: [String: Int64] = [:]
    var shadow = ShadowCounts()
    var shadowAtMs: Int64 = 0

    // The tests, over all steps; and both variants in this step without its warm-up.
    var errorTest = ErrorTest()
    var p95Test = LatencyTest(share: 0.95)
    var p99Test = LatencyTest(share: 0.99)
    var block = Observations()
    var blockAtMs: Int64 = 0
    var stepSeen = Observations()
    /// When the next verdict of a fixed share is written, or the next probes are asked for.
    var nextLookMs: Int64 = 0

    /// - Parameter plan: its policy has been checked.
    public init(plan: RolloutPlan) {
        self.plan = plan
        window = ObservationWindow(lengthMs: plan.policy.guards.windowMs)
    }

    var policy: RolloutPolicy { plan.policy }

    /// How many names of dependencies are told apart; further ones are passed over.
    static let dependenciesMax = 64

    // MARK: Driving

    /// - Parameter atMs: milliseconds of a clock that goes on over restarts, as since 1970. If it goes back, time stands still.
    /// - Returns: what is to be done, in this order.
    public mutating func handle(_ event: RolloutEvent, atMs: Int64) -> [RolloutAction] {
        var out = Actions(nowMs: max(atMs, lastMs))
        lastMs = out.nowMs
        if phase.isEnd { return [] }
        take(event, &out)
        tellOfWayBack(&out)
        judge(&out)
        advance(&out)
        wake(&out)
        return out.list
    }

    /// After a restart: what was asked for and not acknowledged is asked for again, under the same id.
    public mutating func resumeAfterRestart(atMs: Int64) -> [RolloutAction] {
        var out = Actions(nowMs: max(atMs, lastMs))
        lastMs = out.nowMs
        if phase.isEnd { return [] }
        ask(&out)
        wake(&out)
        return out.list
    }

    private mutating func take(_ event: RolloutEvent, _ out: inout Actions) {
        switch event {
        case .start: start(&out)
        case .tick(let seen): tick(seen, out.nowMs)
        case .check(let side, let isGood): checks.take(side, isGood: isGood)
        case .dependency(let name, let side, let isGood):
            guard dependencies[name] != nil || dependencies.count < Self.dependenciesMax else { return }
            // A shared one fails for both: the old one first, so that it is nobody's alone.
            for side in side.map({ [$0] }) ?? [.old, .new] {
                dependencies[name, default: FailureRun()].take(side, isGood: isGood)
            }
        case .metric(let name, let side, let value):
            guard let limit = policy.guards.metrics.first(where: { $0.name == name }), value.isFinite else { return }
            metrics[name, default: FailureRun()].take(side, isGood: value <= limit.max)
            if side == .new {
                metricValues[name] = value
                metricReadMs[name] = out.nowMs
            }
        case .wayBack(let isGood): isWayBackBad = !isGood
        case .shadow(let counts): if phase == .shadowing { shadow.add(counts) }
        case .switched(let id, let revision): switched(id, revision, &out)
        case .refused(let id, let why): refused(id, why, &out)
        case .operate(let verb, let who): operate(verb, who, &out)
        case .overridden(let why, let who): overridden(why, who, &out)
        }
    }

    /// What came since the last tick, into everything that looks at it.
    private mutating func tick(_ seen: Observations, _ nowMs: Int64) {
        let fromMs = lastTickMs == .min ? nowMs : lastTickMs
        let isCold = percent > 0 && fromMs < stepAtMs + policy.warmUpMs
        lastTickMs = nowMs
        var windowed = seen
        if isCold { windowed.new.latency = LatencyHistogram() }
        window.add(windowed, atMs: nowMs)
        keepBaseline(nowMs)
        guard percent > 0, percent < 100, !isCold, phase != .rollingBack else { return }
        stepSeen.add(seen)
        if block.isEmpty { blockAtMs = fromMs }
        block.add(seen)
        // A block ends by its time and its requests, never by how they ended.
        guard nowMs - blockAtMs >= Self.blockMs, block.old.finished > 0, block.new.finished > 0 else { return }
        errorTest.take(block, policy)
        p95Test.take(block, policy)
        p99Test.take(block, policy)
        block = Observations()
    }

    /// Shorter blocks tell no more.
    static let blockMs: Int64 = 900

    /// What is usual for the old variant: its window now and then, unless that is unusual itself.
    private mutating func keepBaseline(_ nowMs: Int64) {
        let old = window.sum.old
        guard percent < 100, phase != .rollingBack, old.finished >= max(UInt64(policy.guards.samplesMin), 100),
            baseline.isEmpty || nowMs - baselineAtMs >= window.lengthMs
        else { return }
        if !baseline.isEmpty {
            let ratio = Wording.ratio(old.errors.sum(policy.errorClasses), of: old.finished)
            if ratio > policy.guards.errorRatioMax ?? 1 || GuardView.isSlow(old, against: baseline, policy) { return }
        }
        baseline = old
        baselineAtMs = nowMs
    }

    private func wake(_ out: inout Actions) {
        if phase.isEnd { return }
        var at: [Int64] = []
        if let retryAtMs = pending?.retryAtMs { at.append(retryAtMs) }
        switch phase {
        case .running where pending == nil: at.append(nextLookMs)
        case .inconclusive where policy.whenInconclusive == .probe: at.append(nextLookMs)
        case .baking: at.append(stepAtMs + policy.bakeMs)
        case .shadowing: if let shadow = policy.shadow { at.append(shadowAtMs + shadow.timeMaxMs) }
        default: break
        }
        if let next = at.min(), next > out.nowMs { out.list.append(.wake(atMs: next)) }
    }
}

/// The actions of one event.
struct Actions {
    let nowMs: Int64
    var list: [RolloutAction] = []

    init(nowMs: Int64) { self.nowMs = nowMs }
}

extension RolloutMachine {
    /// Writes an entry, and tells people of it.
    mutating func say(
        _ kind: RolloutEntry.Kind, _ text: String, figures: [Figure] = [], finding: Finding.Kind? = nil, who: String = "",
        tells: Bool = true, _ out: inout Actions
    ) {
        var entry = RolloutEntry(
            atMs: out.nowMs, kind: kind, phase: phase, percent: percent, text: text, figures: figures, finding: finding)
        entry.who = who
        switch kind {
        case .step, .rolledBack, .aborted, .baking: entry.revision = revision
        default: break
        }
        out.list.append(.record(entry))
        if tells { out.list.append(.notify(entry)) }
    }
}
