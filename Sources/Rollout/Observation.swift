// What was seen of the two variants of a rollout over the same time: counts and latencies, without any judgement.
// Made by the controller from what workers counted; merged, subtracted and judged here.

/// The two arms of a rollout.
public enum Side: String, Sendable, CaseIterable {
    /// The variant that served before: the way back.
    case old
    /// The variant that is rolled out.
    case new
}

/// Why a request counts as an error.
public enum ErrorClass: String, Sendable, CaseIterable {
    /// No connection: refused, unreachable, name not found.
    case connect
    /// No answer in time.
    case timeout
    /// Closed or reset before the answer was whole.
    case reset
    /// An answer that is no HTTP.
    case invalidAnswer = "invalid_answer"
    case status5xx = "status_5xx"
    /// Counted apart: most services answer some of them whatever the version.
    case status4xx = "status_4xx"
    /// A call of gRPC whose status is the server's fault, where the variant is reached by `grpc_pass`.
    case grpcStatus = "grpc_status"

    /// The counter of this class in an `ErrorCounts`.
    public var index: Int {
        switch self {
        case .connect: 0
        case .timeout: 1
        case .reset: 2
        case .invalidAnswer: 3
        case .status5xx: 4
        case .status4xx: 5
        case .grpcStatus: 6
        }
    }
}

/// Errors by class.
public struct ErrorCounts: Sendable, Equatable {
    private var counts = SIMD8<UInt64>(repeating: 0)

    public init() {}

    public subscript(_ kind: ErrorClass) -> UInt64 {
        get { counts[kind.index] }
        set { counts[kind.index] = newValue }
    }

    mutating func add(_ other: ErrorCounts) { counts &+= other.counts }
    mutating func subtract(_ other: ErrorCounts) { counts &-= pointwiseMin(counts, other.counts) }

    /// The sum over these classes.
    func sum(_ classes: [ErrorClass]) -> UInt64 { classes.reduce(0) { $0 &+ self[$1] } }
}

/// One variant over some time. Requests that their client gave up are in none of the figures but `started`.
public struct Observation: Sendable, Equatable {
    /// Requests sent to the variant.
    public var started: UInt64 = 0
    /// Requests that ended, by an answer or by a fault of the variant.
    public var finished: UInt64 = 0
    /// Those among `finished` that are errors.
    public var errors = ErrorCounts()
    /// Of answers, from the head sent to the last byte received.
    public var latency = LatencyHistogram()

    public init() {}

    public mutating func add(_ other: Observation) {
        started &+= other.started
        finished &+= other.finished
        errors.add(other.errors)
        latency.add(other.latency)
    }

    mutating func subtract(_ other: Observation) {
        started &-= min(started, other.started)
        finished &-= min(finished, other.finished)
        errors.subtract(other.errors)
        latency.subtract(other.latency)
    }

    public var isEmpty: Bool { self == Observation() }
}

/// Both variants over the same time.
public struct Observations: Sendable, Equatable {
    public var old: Observation
    public var new: Observation

    public init(old: Observation = Observation(), new: Observation = Observation()) {
        self.old = old
        self.new = new
    }

    public subscript(_ side: Side) -> Observation {
        get { side == .old ? old : new }
        set { if side == .old { old = newValue } else { new = newValue } }
    }

    public mutating func add(_ other: Observations) {
        old.add(other.old)
        new.add(other.new)
    }

    mutating func subtract(_ other: Observations) {
        old.subtract(other.old)
        new.subtract(other.new)
    }

    public var isEmpty: Bool { old.isEmpty && new.isEmpty }
}
