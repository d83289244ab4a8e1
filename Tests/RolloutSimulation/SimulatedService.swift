// A service of two variants under load, simulated: users, requests, errors, latencies, health checks, faults of a release.
// Asked tick by tick by `SimulatedRollout`. It knows nothing of verdicts.
import Rollout

/// What is wrong with the new version, or with both.
public struct SimulatedFault: Sendable {
    public var name: String
    /// Added to the error ratio of the new version.
    public var errors = 0.0
    /// Added to every latency of the new version.
    public var slowerMs = 0.0
    /// So long after the first request to it, the new version refuses connections, health checks as well.
    public var diesAfterMs: Double?
    /// So long after the first request to it, the new version answers nothing any more; health checks still pass.
    public var hangsAfterMs: Double?
    /// From the first request on, and so long after it, both versions answer this share of requests with errors.
    public var commonErrors = 0.0
    public var commonAfterMs = 0.0
    public var commonMs = 90_000.0
    /// Of both versions, without any fault.
    public var baseErrors = 0.002

    public init(_ name: String) { self.name = name }

    public static func make(_ name: String, _ set: (inout SimulatedFault) -> Void) -> SimulatedFault {
        var fault = SimulatedFault(name)
        set(&fault)
        return fault
    }

    public var isCommon: Bool { commonErrors > 0 }
    public var isHealthy: Bool { errors == 0 && slowerMs == 0 && diesAfterMs == nil && hangsAfterMs == nil && !isCommon }
}

/// About 200 requests a second of 4,000 users, who stay with their variant while its share grows.
struct SimulatedService {
    var requestsPerSecond = 200.0
    var users: UInt64 = 4_000
    /// Of latency without any fault: log-normal.
    var medianMs = 60.0
    var spread = 0.5
    /// How long the proxy waits for an answer.
    var timeoutMs = 10_000.0

    let fault: SimulatedFault
    var chance: Chance
    let salt: UInt64
    /// When the first request went to the new version.
    var firstNewMs: Double?
    /// When the fault first showed in an answer, or swallowed one.
    var causeMs: Double?
    var usersHit: Set<UInt64> = []
    var faultyRequests = 0
    private var nextRequestMs = 0.0
    /// What ends in later ticks, by tick.
    private var ending: [Int: Observations] = [:]

    init(fault: SimulatedFault, seed: UInt64) {
        self.fault = fault
        chance = Chance(seed: seed)
        salt = chance.next()
    }

    /// What both variants did in the tick that ends at `toMs`.
    mutating func tick(_ index: Int, toMs: Double, tickMs: Double, newPercent: Int) -> Observations {
        var started = Observations()
        while nextRequestMs < toMs {
            let atMs = nextRequestMs
            // Load and latency wander, for both alike: over minutes, by a fifth.
            let swing = Self.swing(atMs / 240_000)
            nextRequestMs += chance.gap(mean: 1000 / (requestsPerSecond * (1 + 0.2 * swing)))
            let user = chance.next() % users
            let side: Side = Chance.mixed(user ^ salt) % 100 < UInt64(newPercent) ? .new : .old
            started[side].started += 1
            answer(side, user, atMs, slowness: 1 + 0.2 * Self.swing(atMs / 170_000 + 0.3), tickMs)
        }
        var seen = ending.removeValue(forKey: index) ?? Observations()
        seen.add(started)
        return seen
    }

    /// -1 to 1 and back within one turn.
    private static func swing(_ turns: Double) -> Double {
        let part = turns - Double(Int(turns))
        return part < 0.5 ? 4 * part - 1 : 3 - 4 * part
    }

    private mutating func answer(_ side: Side, _ user: UInt64, _ atMs: Double, slowness: Double, _ tickMs: Double) {
        if side == .new, firstNewMs == nil { firstNewMs = atMs }
        var latencyMs = medianMs * slowness * Numerics.exp(spread * chance.normal())
        var error: ErrorClass? = chance.happens(fault.baseErrors) ? .status5xx : nil
        var isFaulty = false
        if let firstNewMs, atMs >= firstNewMs + fault.commonAfterMs, atMs < firstNewMs + fault.commonAfterMs + fault.commonMs,
            chance.happens(fault.commonErrors)
        {
            error = .status5xx
            isFaulty = true
        }
        if side == .new {
            let ageMs = atMs - (firstNewMs ?? atMs)
            if fault.slowerMs > 0 {
                latencyMs += fault.slowerMs
                isFaulty = true
            }
            if chance.happens(fault.errors) {
                error = .status5xx
                isFaulty = true
            }
            if let after = fault.diesAfterMs, ageMs >= after {
                error = .connect
                latencyMs = 1
                isFaulty = true
            } else if let after = fault.hangsAfterMs, ageMs >= after {
                error = .timeout
                latencyMs = timeoutMs
                isFaulty = true
            }
        }
        if isFaulty {
            if causeMs == nil { causeMs = atMs }
            if side == .new {
                usersHit.insert(user)
                faultyRequests += 1
            }
        }
        let index = Int((atMs + latencyMs) / tickMs) + 1
        ending[index, default: Observations()][side].finished += 1
        if let error {
            ending[index, default: Observations()][side].errors[error] += 1
        } else {
            ending[index, default: Observations()][side].latency.add(us: UInt64(latencyMs * 1000))
        }
    }

    /// A health check at this time.
    mutating func check(_ side: Side, atMs: Double) -> Bool {
        guard let firstNewMs else { return true }
        let ageMs = atMs - firstNewMs
        if fault.isCommon, ageMs >= fault.commonAfterMs, ageMs < fault.commonAfterMs + fault.commonMs {
            return !chance.happens(fault.commonErrors)
        }
        return side == .old || ageMs < fault.diesAfterMs ?? .infinity
    }
}
