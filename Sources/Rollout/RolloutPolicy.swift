// How a rollout goes: steps, times, tests, guards. A plain value: PolicyRules.swift says what it must keep to, +JSON how it is
// written. Read from a file or a request, carried by the machine. It decides nothing.

import AdminAPI

/// A named policy. Every default is usable as it stands.
public struct RolloutPolicy: Sendable, Equatable {
    public enum Strategy: String, Sendable, CaseIterable {
        /// All at once, then the bake time.
        case blueGreen = "blue-green"
        /// A growing share, judged at each step.
        case canary
        /// A growing share in equal steps, one for each batch of replicas; see `rollingSteps`.
        case rolling
        /// A fixed share until an operator promotes or aborts.
        case ab
    }
    /// What to do at the end of a step when nothing can be said yet.
    public enum Inconclusive: String, Sendable, CaseIterable {
        /// Wait until something can.
        case hold
        /// As hold, and ask for health requests to both variants meanwhile.
        case probe
        /// Go on where traffic was too little; evidence that leans against the new variant holds all the same.
        case goOn = "go_on"
    }
    /// What to do when a rollback is due and the variant to go back to is sick itself.
    public enum SickWayBack: String, Sendable, CaseIterable {
        case freeze
        case rollBack = "roll_back"
    }

    public var name: String
    public var strategy = Strategy.canary
    /// The new variant's share at each step, in percent, rising.
    public var steps = [5, 25, 50, 100]
    /// How long a step is looked at before it may end.
    public var intervalMs: Int64 = 60_000
    /// How much of a step's beginning tests and the latency guard leave out: cold caches are no verdict.
    public var warmUpMs: Int64 = 10_000
    /// Fewest requests of each variant in a step, warm-up left out, for a verdict.
    public var samplesMin = 200
    /// The probability with which the tests together ever fail a new variant that is no worse than the smallest effects below.
    public var alpha = 0.01
    /// The smallest rise of the error ratio worth a failure: 0.002 is 0.2 % of requests.
    public var errorRiseMin = 0.002
    /// The smallest rise of p95 and p99 worth a failure: both must be exceeded.
    public var latencyRiseMinMs = 20
    public var latencyRiseMinRatio = 0.2
    /// What counts as an error.
    public var errorClasses: [ErrorClass] = [.connect, .timeout, .reset, .invalidAnswer, .status5xx, .grpcStatus]
    public var whenInconclusive = Inconclusive.hold
    /// Those of `steps` that an operator must approve before they begin.
    public var approvalSteps: [Int] = []
    public var guards = GuardPolicy()
    /// How long guards stand after the new variant has everything.
    public var bakeMs: Int64 = 300_000
    /// false: what calls for a rollback freezes and notifies instead.
    public var rollsBackByItself = true
    public var whenWayBackSick = SickWayBack.freeze
    /// Mirrored traffic is compared before anyone is served; nil: not.
    public var shadow: ShadowGate?
    /// Health requests to every server of both variants, besides those of the upstreams themselves; nil: none. What is asked for
    /// when a step is probed, too.
    public var checks: CheckPolicy?
    public var dependencies: [DependencyPolicy] = []
    /// Who is told of what happens, by a POST of JSON with a member "text".
    public var notify: [String] = []

    public init(name: String) { self.name = name }

    /// Equal steps for replicas replaced `parallelism` at a time: 3 replicas, 1 at a time: 33, 66, 100.
    public static func rollingSteps(replicas: Int, parallelism: Int = 1) -> [Int] {
        let replicas = min(max(replicas, 1), 100)
        var steps: [Int] = []
        var done = 0
        while done < replicas {
            done = min(done + max(parallelism, 1), replicas)
            steps.append(done * 100 / replicas)
        }
        return steps
    }
}

/// Raw limits over the last seconds that act at once. nil switches one off.
///
/// A limit counts as exceeded when it is by more than chance explains: by `deviations` standard deviations of what a variant
/// just at the limit would show. 0: to the letter. Limits on errors ask moreover that the new variant be worse than the old
/// one at the same time (half as much again, and beyond chance): else neither's release is the cause.
public struct GuardPolicy: Sendable, Equatable {
    public var windowMs: Int64 = 15_000
    /// Fewest requests of a variant in the window.
    public var samplesMin = 20
    /// Fewest errors.
    public var errorsMin = 5
    public var deviations = 3.0
    /// Health checks of the new variant failed in a row.
    public var checksFailedMax: Int? = 3
    public var errorRatioMax: Double? = 0.01
    /// Of the error ratio over the old variant's: 0.01 is one percent of requests.
    public var errorRiseMax: Double? = 0.01
    /// Of p95 over the old variant's.
    public var latencyRiseMaxMs: Int? = 200
    public var latencyRiseMaxRatio: Double? = 0.5
    /// A rise by a ratio must be so long at least: 1 ms and 2 ms are both quick.
    public var latencyRiseFloorMs = 10
    /// Of the share of requests that are answered at all, below the old variant's.
    public var throughputDropMax: Double? = 0.05
    /// Checks of a dependency's address failed in a row.
    public var dependencyFailsMax: Int? = 3
    public var metrics: [MetricLimit] = []

    public init() {}
}

/// A figure from outside, such as resident memory.
public struct MetricLimit: Sendable, Equatable {
    public var name: String
    public var max: Double
    /// Readings over the limit in a row.
    public var breaches = 3
    /// nil: readings come from elsewhere.
    public var source: MetricSource?
    public var intervalMs: Int64 = 5_000

    public init(name: String, max: Double) {
        self.name = name
        self.max = max
    }
}

/// Answers of mirrored requests must be the old variant's.
public struct ShadowGate: Sendable, Equatable {
    /// Fewest requests compared.
    public var comparedMin = 500
    /// Share of answers that may differ beyond the noise, which is what differs between old and old.
    public var differsMax = 0.01
    /// How long to wait for so many; then the answer is inconclusive.
    public var timeMaxMs: Int64 = 600_000
    /// Percent of the safe requests that are sent twice, and percent of these that go to the old variant again, for the noise.
    public var share = 100
    public var noise = 20
    /// Fields of answers that are compared besides status and body.
    public var headers: [String] = []

    public init() {}

    /// What the split is to do while the gate stands.
    public func state(to variant: String) -> ShadowState {
        var state = ShadowState(to: variant)
        state.share = share
        state.noise = noise
        state.headers = headers
        return state
    }
}
