// What a deploy file says, as plain values: services, their stages, times, who is told. DeployPlan+JSON reads it.
// StepBuilder makes the steps of one deploy of it. It decides nothing and knows no file.
import AdminAPI

public struct DeployPlan: Sendable, Equatable {
    public var name = "deploy"
    /// The folder of journal, lock, logs and pid files.
    public var state = ".deploy"
    /// Says what is deployed: prints one word, such as a commit.
    public var commit: CommandPlan?
    public var env: [String: Text] = [:]
    /// In the order they were written in.
    public var environments: [EnvironmentPlan] = []
    public var services: [ServicePlan] = []
    /// Stages in front of which a person is asked.
    public var approvals: [Stage] = []
    public var approvalTimeoutMs: Int64 = 3_600_000
    public var notify: NotifyPlan?

    public init() {}

    public func service(_ name: String) -> ServicePlan? { services.first { $0.name == name } }
}

/// Blue, or green.
public struct EnvironmentPlan: Sendable, Equatable {
    public var name: String
    public var env: [String: Text] = [:]

    public init(name: String) { self.name = name }
}

/// How a service takes its traffic.
public enum ServiceKind: Sendable, Equatable {
    /// Two environments are variants of a split: name of the variant by environment, where it is not the same.
    case split(String, variants: [String: String])
    /// Replicas of one upstream are replaced one after the other.
    case replicas(upstream: String, [ReplicaPlan], RollingPlan)
    /// A symbolic link names the directory that is served.
    case site(link: Text)
}

public struct ServicePlan: Sendable, Equatable {
    public var name: String
    public var kind: ServiceKind
    public var env: [String: Text] = [:]
    public var directory: Text?
    public var check: [CommandPlan] = []
    public var backup: CommandPlan?
    public var build: CommandPlan?
    public var migrate: MigrationPlan?
    public var start: StartPlan?
    public var stop = StopPlan()
    public var health: ProbePlan?
    /// The policy of a rollout, or its name; nil: all at once.
    public var rollout: JSON?
    /// The gate in front of the switch.
    public var shadow: JSON?
    public var verify: ProbePlan?
    public var bake: ProbePlan?
    public var drainTimeoutMs: Int64 = 30_000

    public init(name: String, kind: ServiceKind) {
        self.name = name
        self.kind = kind
    }
}

public struct CommandPlan: Sendable, Equatable {
    /// For `sh -c`.
    public var run: String
    public var timeoutMs: Int64 = 600_000
    public var env: [String: Text] = [:]
    /// Where it runs; nil: in the service's directory, if that is there, or the plan's.
    public var directory: Text?

    public init(run: String) { self.run = run }
}

public struct MigrationPlan: Sendable, Equatable {
    public enum Phase: String, Sendable, CaseIterable {
        /// Adds what the new version needs; the old one runs on with it.
        case expand
        case move
        /// Takes away what only older versions need: whoever goes back to one of them finds it gone.
        case contract
    }
    public var command: CommandPlan
    public var phase = Phase.expand
    public var undo: String?
    /// May be run again after it was cut off, as tools do that know what they have done.
    public var isRepeatable = false

    public init(command: CommandPlan) { self.command = command }
}

public struct StartPlan: Sendable, Equatable {
    /// A command that starts something and ends, or a process that is to run on, with its pid in a file of ours.
    public var command: CommandPlan
    public var isProcess: Bool
    /// Empty: in the state folder.
    public var pidFile: Text?
    public var logFile: Text?

    public init(command: CommandPlan, isProcess: Bool) {
        self.command = command
        self.isProcess = isProcess
    }
}

public struct StopPlan: Sendable, Equatable {
    /// Nil: signals to the process of `start`.
    public var command: CommandPlan?
    /// Whether the old version is kept running as the way back.
    public var keepsOld = true
    public var signal = "TERM"
    public var graceMs: Int64 = 30_000

    public init() {}
}

/// Something that is asked again and again: a request, or a command that ends well.
public struct ProbePlan: Sendable, Equatable {
    public var request: RequestPlan?
    public var command: CommandPlan?
    public var rhythm: Rhythm

    public init(rhythm: Rhythm) { self.rhythm = rhythm }
}

public struct RequestPlan: Sendable, Equatable {
    public var url: Text
    /// The Host field; nil: that of the URL.
    public var host: Text?
    public var timeoutMs: Int64 = 2000
    public var statuses = StatusRange(200...299)
    /// Fields of the answer with what they must hold.
    public var headers: [String: Text] = [:]
    /// A part of its body.
    public var body: Text?

    public init(url: Text) { self.url = url }
}

public struct StatusRange: Sendable, Equatable {
    public var range: ClosedRange<Int>
    public init(_ range: ClosedRange<Int>) { self.range = range }
}

/// When a probe is repeated, and when enough is enough.
public struct Rhythm: Sendable, Equatable {
    /// Failures in a row that are one too many.
    public var tries = 1
    public var intervalMs: Int64 = 0
    /// How many must succeed.
    public var passes = 1
    /// They must go on succeeding for so long.
    public var durationMs: Int64 = 0
    /// So long from its beginning failures don't count.
    public var startPeriodMs: Int64 = 0

    public init(tries: Int = 1, intervalMs: Int64 = 0, passes: Int = 1, durationMs: Int64 = 0, startPeriodMs: Int64 = 0) {
        self.tries = tries
        self.intervalMs = intervalMs
        self.passes = passes
        self.durationMs = durationMs
        self.startPeriodMs = startPeriodMs
    }
}

public struct ReplicaPlan: Sendable, Equatable {
    public var name: String
    /// Where it listens. Two for `start-first`: the new one takes the address that the old one does not have.
    public var slots: [SlotPlan]

    public init(name: String, slots: [SlotPlan]) {
        self.name = name
        self.slots = slots
    }
}

public struct SlotPlan: Sendable, Equatable {
    public var server: String
    public var env: [String: Text] = [:]

    public init(server: String) { self.server = server }
}

public struct RollingPlan: Sendable, Equatable {
    public enum Order: String, Sendable, CaseIterable {
        case startFirst = "start-first"
        case stopFirst = "stop-first"
    }
    public enum FailureAction: String, Sendable, CaseIterable { case rollback, pause, `continue` }
    public var parallelism = 1
    public var order = Order.stopFirst
    public var delayMs: Int64 = 10_000
    /// How long a new replica is looked at before the next batch.
    public var monitorMs: Int64 = 5000
    public var failureAction = FailureAction.rollback
    /// With `continue`: above this share of the replicas everything is rolled back after all.
    public var failureRatioMax = 0.0

    public init() {}
}

/// Who is told, and of what.
public struct NotifyPlan: Sendable, Equatable {
    public enum Moment: String, Sendable, CaseIterable { case start, step, approval, success, failure, rollback }
    public var url: Text
    public var headers: [String: Text] = [:]
    public var moments: [Moment] = Moment.allCases
    public var tries = 4
    public var timeoutMs: Int64 = 5000
    /// Before the second try; doubled for each further one.
    public var pauseMs: Int64 = 1000

    public init(url: Text) { self.url = url }
}
