// One step of a deploy: what is done, and what undoes it, with everything filled in, so that a journal can be taken up without its plan.
// Made by StepBuilder, ordered by DeployMachine, done by proxyctl. +JSON writes it.
import AdminAPI

public struct DeployStep: Sendable, Equatable {
    public var stage: Stage
    /// Empty: of all services together.
    public var service = ""
    /// One line for people: `switch app to green`.
    public var title: String
    public var work: Work
    /// In this order; repeatable, and right whether the step was done, begun or refused.
    public var undo: [Work] = []
    /// After a crash in its middle, when nobody can tell whether it was done: whether it may simply be done again.
    public var isRepeatable = true
    /// A person is asked first.
    public var needsApproval = false
    /// While this is not undone, nothing before it may be: requests still go where it has sent them.
    public var carriesTraffic = false
    /// Undone only if the undoing of that step, a later one, was not in vain: what it cannot bring back gets no requests.
    public var undoNeeds: Int?
    /// Of a rolling update: which batch.
    public var batch: Int?

    public init(_ stage: Stage, service: String = "", _ title: String, _ work: Work) {
        self.stage = stage
        self.service = service
        self.title = title
        self.work = work
    }
}

public enum Work: Sendable, Equatable {
    case command(CommandWork)
    case process(ProcessWork)
    case end(EndWork)
    case probe(ProbeWork)
    /// Weights by split, all in one change.
    case weights(WeightsWork)
    case server(ServerWork)
    /// Waits until nothing is in flight. It never fails: what is still in flight then is told.
    case idle(IdleWork)
    case link(LinkWork)
    case rollout(RolloutWork)
    case pause(ms: Int64)
}

/// A command that runs to its end.
public struct CommandWork: Sendable, Equatable {
    public var run: String
    public var env: [String: String]
    public var directory: String
    public var timeoutMs: Int64
    /// A build: the file that holds what was built last, and what is to be built. Skipped where they are the same.
    public var builtFile: String?
    public var builds: String?

    public init(run: String, env: [String: String], directory: String, timeoutMs: Int64) {
        self.run = run
        self.env = env
        self.directory = directory
        self.timeoutMs = timeoutMs
    }
}

/// A process that runs on.
public struct ProcessWork: Sendable, Equatable {
    public var run: String
    public var env: [String: String]
    public var directory: String
    public var pidFile: String
    public var logFile: String

    public init(run: String, env: [String: String], directory: String, pidFile: String, logFile: String) {
        self.run = run
        self.env = env
        self.directory = directory
        self.pidFile = pidFile
        self.logFile = logFile
    }
}

/// Ends what `start` began: a command, or signals to the process of a pid file. What does not run has ended.
public struct EndWork: Sendable, Equatable {
    public var command: CommandWork?
    public var pidFile: String?
    public var signal = "TERM"
    public var graceMs: Int64 = 30_000
    /// Refuse while one of these upstreams takes requests of a split, or has some in flight.
    public var idleUpstreams: [String] = []

    public init() {}
}

public struct ProbeWork: Sendable, Equatable {
    public var checks: [Check]
    public var rhythm: Rhythm
    /// Processes without which waiting is in vain.
    public var pidFiles: [String] = []

    public init(checks: [Check], rhythm: Rhythm) {
        self.checks = checks
        self.rhythm = rhythm
    }
}

public enum Check: Sendable, Equatable {
    case request(RequestCheck)
    case command(CommandWork)
}

public struct RequestCheck: Sendable, Equatable {
    public var url: String
    public var host: String?
    public var timeoutMs: Int64
    public var statuses: StatusRange
    public var headers: [String: String]
    public var body: String?

    public init(url: String, host: String?, timeoutMs: Int64, statuses: StatusRange, headers: [String: String], body: String?) {
        self.url = url
        self.host = host
        self.timeoutMs = timeoutMs
        self.statuses = statuses
        self.headers = headers
        self.body = body
    }
}

public struct WeightsWork: Sendable, Equatable {
    public var splits: [String: [String: Int]]
    /// What they must be until then, if they are not what they are to become: others may move traffic too.
    public var expects: [String: [String: Int]]
    /// Upstreams whose servers are no longer drained from then on.
    public var opens: [String]

    public init(splits: [String: [String: Int]], expects: [String: [String: Int]], opens: [String]) {
        self.splits = splits
        self.expects = expects
        self.opens = opens
    }
}

public struct ServerWork: Sendable, Equatable {
    public enum Change: String, Sendable, CaseIterable {
        case add, remove, down, up
        /// Added, and down from its first moment on.
        case addDown = "add_down"
    }
    public var upstream: String
    public var server: String
    public var change: Change

    public init(_ change: Change, _ server: String, of upstream: String) {
        self.upstream = upstream
        self.server = server
        self.change = change
    }
}

public struct IdleWork: Sendable, Equatable {
    public var upstreams: [String]
    /// Of the upstreams; empty: all.
    public var servers: [String] = []
    public var timeoutMs: Int64
    /// Long-lived connections are closed on the way.
    public var isDraining = false

    public init(upstreams: [String], timeoutMs: Int64) {
        self.upstreams = upstreams
        self.timeoutMs = timeoutMs
    }
}

public struct LinkWork: Sendable, Equatable {
    public var link: String
    /// Empty: there is to be no link.
    public var target: String
    /// Where it must lead until then, if not there.
    public var expects: String

    public init(link: String, target: String, expects: String) {
        self.link = link
        self.target = target
        self.expects = expects
    }
}

public struct RolloutWork: Sendable, Equatable {
    public var split: String
    public var to: String
    /// A name, or a policy.
    public var policy: JSON
    /// What the weights were, for the way back after it has ended.
    public var before: [String: Int]
    /// Undo: end it if it is live, and give the weights back.
    public var isUndo = false

    public init(split: String, to: String, policy: JSON, before: [String: Int]) {
        self.split = split
        self.to = to
        self.policy = policy
        self.before = before
    }
}

extension Work {
    /// How often it is tried.
    public var rhythm: Rhythm {
        if case .probe(let probe) = self { probe.rhythm } else { Rhythm() }
    }
}
