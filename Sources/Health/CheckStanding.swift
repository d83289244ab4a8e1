// What is known of one server by one check: how often it passed and failed, and whether that makes it well or sick.
// Kept by `CheckRoster`, told by Control. It has no clock: whoever tells it a result tells it the time.

/// What the results of one check come to at one server.
public struct CheckStanding: Sendable, Equatable, BitwiseCopyable {
    public enum State: UInt8, Sendable, BitwiseCopyable {
        /// Not asked yet, and taken for well.
        case assumed
        /// Not well before it has passed.
        case waiting
        case passing
        case failing
    }

    public private(set) var state: State
    /// It was well once: what has never been so gets nothing even when all are used.
    public private(set) var hasPassed: Bool
    /// Failures do not count before, until the first pass.
    public private(set) var startEndsMs: Int64
    public private(set) var checks = 0
    public private(set) var failures = 0
    /// How often it became sick.
    public private(set) var falls = 0
    public private(set) var passesInRow = 0
    /// Those that count.
    public private(set) var failsInRow = 0
    /// Nil: none has ended.
    public private(set) var lastPassed: Bool?

    /// - Parameter startEndsMs: on the clock of `note`.
    public init(_ state: State, startEndsMs: Int64 = .min) {
        self.state = state
        self.startEndsMs = startEndsMs
        hasPassed = state != .waiting
    }

    /// Counts a result.
    /// - Returns: whether the state is another now.
    public mutating func note(passed: Bool, nowMs: Int64, _ timing: CheckTiming) -> Bool {
        checks += 1
        lastPassed = passed
        let before = state
        if passed {
            failsInRow = 0
            passesInRow += 1
            startEndsMs = .min
            if state == .assumed || passesInRow >= timing.passes {
                state = .passing
                hasPassed = true
            }
            return state != before
        }
        failures += 1
        passesInRow = 0
        if nowMs < startEndsMs { return false }
        failsInRow += 1
        if state != .failing, failsInRow >= timing.fails {
            state = .failing
            falls += 1
        }
        return state != before
    }

    /// Whether failures do not count yet.
    public func isStarting(_ nowMs: Int64) -> Bool { nowMs < startEndsMs }
}

/// What several checks of one server come to: it is well when it passes all of them.
public struct CheckSum: Sendable, Equatable, BitwiseCopyable {
    private(set) var waiting = 0
    private(set) var failing = 0
    private(set) var passing = 0
    private(set) var isNew = false

    public init() {}

    public mutating func add(_ standing: CheckStanding) {
        switch standing.state {
        case .assumed: break
        case .waiting: waiting += 1
        case .passing: passing += 1
        case .failing: failing += 1
        }
        if !standing.hasPassed { isNew = true }
    }

    public enum Verdict: UInt8, Sendable, BitwiseCopyable {
        /// No result is there.
        case unknown
        case up
        /// Not sick as far as is known, but one check has not passed yet.
        case checking
        case unhealthy
    }

    public var verdict: Verdict { failing > 0 ? .unhealthy : waiting > 0 ? .checking : passing > 0 ? .up : .unknown }

    /// It has to pass a check for the first time before it gets anything, in a panic, too.
    public var isBarred: Bool { isNew }
}
