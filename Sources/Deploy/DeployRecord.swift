// What is known of one deploy from its beginning: number, versions, services, steps. The first line of its journal.
// Made by proxyctl of a plan and of what runs; everything later is told by entries.
import AdminAPI

public struct DeployRecord: Sendable, Equatable {
    public enum Kind: String, Sendable, CaseIterable {
        case deploy, rollback
        /// The way back was given up.
        case finish
    }
    public var number: Int
    /// Random: a deploy of another state folder may have the same name and number. Empty: of an older journal.
    public var id = ""
    public var kind = Kind.deploy
    /// The plan's.
    public var name = ""
    /// The environments; empty where there are none.
    public var to = ""
    public var from = ""
    public var commit = ""
    public var commitBefore = ""
    public var services: [String] = []
    public var who = ""
    public var reason = ""
    public var steps: [DeployStep] = []
    public var approvalTimeoutMs: Int64 = 3_600_000
    public var failureAction = RollingPlan.FailureAction.rollback
    public var failureRatioMax = 0.0
    /// Batches in all, of which a share may fail.
    public var batches = 0
    /// The old version was left running.
    public var keepsOld = true

    public init(number: Int) { self.number = number }

    /// As it stands in the proxy's history, and by which a change of it is found again.
    public var mark: String { "\(kind.rawValue) \(name) \(number)" + (id.isEmpty ? "" : " (id \(id))") }
}

/// What runs, as far as steps depend on it. Gathered by proxyctl.
public struct DeployFacts: Sendable, Equatable {
    public var number = 1
    /// Absolute: where the plan lies, and its state folder.
    public var folder = ""
    public var stateFolder = ""
    public var to = ""
    public var commit = ""
    public var commitBefore = ""
    /// The same by service, where services were not always deployed together.
    public var commits: [String: String] = [:]
    public var commitsBefore: [String: String] = [:]
    /// Of the caller.
    public var variables: [String: String] = [:]
    /// Weights by variant, by split.
    public var splits: [String: [String: Int]] = [:]
    /// Servers that are there, by upstream.
    public var servers: [String: [String]] = [:]
    /// What links lead to, by service; empty: there is none yet.
    public var links: [String: String] = [:]
    /// What they led to before the deploy that is rolled back.
    public var linksBack: [String: String] = [:]
    /// Services with an older version that somebody may still want to go back to.
    public var waysBack: Set<String> = []
    public var isRollback = false

    public init() {}
}
