// What goes into a rollout and what comes out: events, actions, entries of its record.
// The controller makes the events and carries the actions out; the machine does neither.

/// What is rolled out, and how.
public struct RolloutPlan: Sendable, Equatable {
    /// Of this rollout, for people: `rollout show 7`.
    public var number: UInt64
    /// The split whose weights move.
    public var split: String
    /// Its variants: the one that serves, which is the way back, and the one that is to serve.
    public var old: String
    public var new: String
    public var policy: RolloutPolicy
    /// This rollout itself leads back from one that failed: it is never rolled back by itself, but frozen.
    public var isWayBack = false

    public init(number: UInt64, split: String, old: String, new: String, policy: RolloutPolicy) {
        self.number = number
        self.split = split
        self.old = old
        self.new = new
        self.policy = policy
    }
}

/// What happened. Counts are what came since the event before of the same kind.
public enum RolloutEvent: Sendable, Equatable {
    /// Begin. Ticks before it teach the machine what is usual for the old variant.
    case start
    /// Time has passed; what both variants did since the last tick. Once a second, or more often to act sooner.
    case tick(Observations)
    /// A health check of one variant.
    case check(Side, isGood: Bool)
    /// A check of a dependency's address as one variant sees it; nil: one that both share.
    case dependency(String, Side?, isGood: Bool)
    /// A reading of a metric that the policy limits.
    case metric(String, Side, value: Double)
    /// Whether the old variant could take everything now.
    case wayBack(isGood: Bool)
    /// Mirrored requests compared.
    case shadow(ShadowCounts)
    /// The action with this id is done and acknowledged.
    case switched(id: Int, revision: UInt64)
    /// The action with this id was refused; nothing has changed.
    case refused(id: Int, why: String)
    case operate(OperatorVerb, who: String)
    /// Somebody set the weights by another way, and they stand: the rollout is over.
    case overridden(why: String, who: String)
}

/// What an operator may say.
public enum OperatorVerb: String, Sendable, CaseIterable {
    case pause, resume, approve
    /// All traffic to the new variant now.
    case promote
    /// All traffic back to the old variant now.
    case abort
}

/// Mirrored requests, whose answers nobody saw.
public struct ShadowCounts: Sendable, Equatable {
    /// Answers of the new variant compared with the old one's.
    public var compared: UInt64 = 0
    public var differing: UInt64 = 0
    /// Answers of the old variant compared with another one of the old: the noise.
    public var comparedOld: UInt64 = 0
    public var differingOld: UInt64 = 0

    public init() {}

    mutating func add(_ other: ShadowCounts) {
        compared &+= other.compared
        differing &+= other.differing
        comparedOld &+= other.comparedOld
        differingOld &+= other.differingOld
    }
}

/// What is to be done, in the order given.
public enum RolloutAction: Sendable, Equatable {
    /// Give the new variant this share of the split, the old one the rest, as one change. Answer with `switched` or `refused`.
    case setShare(percent: Int, id: Int)
    /// The same, at once and before anything else: back to the old variant.
    case rollBack(percent: Int, id: Int, because: Finding)
    /// Send some health requests to both variants and count them in the next tick.
    case probe
    /// Tell people.
    case notify(RolloutEntry)
    /// Keep in the record.
    case record(RolloutEntry)
    /// Give the machine an event (an empty tick will do) not later than this.
    case wake(atMs: Int64)
}

/// Where a rollout stands.
public enum RolloutPhase: String, Sendable, CaseIterable {
    /// Not begun, or the first switch is not acknowledged.
    case pending
    /// Mirrored traffic is being compared; nobody is served by the new variant.
    case shadowing
    /// At a step (`step`), being judged.
    case running
    /// The next step waits for an operator.
    case waitingForApproval = "waiting_for_approval"
    case paused
    /// The step's time is over, and nothing can be said of it yet.
    case inconclusive
    /// Held by the machine: the cause is common, the way back is sick, or rolling back is not its to decide.
    case frozen
    /// The new variant has everything, guards stand.
    case baking
    case rollingBack = "rolling_back"
    case succeeded
    case rolledBack = "rolled_back"
    case aborted
    /// Ended before anybody was served by the new variant.
    case failed

    /// Nothing happens any more.
    public var isEnd: Bool {
        switch self {
        case .succeeded, .rolledBack, .aborted, .failed: true
        default: false
        }
    }
}

/// A line of a rollout's record, and what people are told.
public struct RolloutEntry: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case started, step, verdict, baking, succeeded, aborted, failed, frozen, paused, resumed, approved, promoted, refused
        case shadowPassed = "shadow_passed"
        case approvalAsked = "approval_asked"
        case inconclusive
        case rollingBack = "rolling_back"
        case rolledBack = "rolled_back"
        case wayBackSick = "way_back_sick"
        case wayBackWell = "way_back_well"
    }
    public var atMs: Int64
    public var kind: Kind
    public var phase: RolloutPhase
    /// The new variant's share when this was written.
    public var percent: Int
    /// One sentence.
    public var text: String
    /// What was seen, and compared with what.
    public var figures: [Figure]
    /// The reason of a rollback, a freeze, a failure.
    public var finding: Finding.Kind?
    /// The operator; empty: the machine itself.
    public var who = ""
    /// Acknowledged by the switch that this is about.
    public var revision: UInt64?
}
