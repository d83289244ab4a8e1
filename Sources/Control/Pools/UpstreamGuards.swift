// From the words of `outlier_detection`, `panic_threshold`, `retry_budget`, `circuit_breaker` and `queue` to what the engine goes by.
// Used by `PoolBuilder`.

import AdminAPI
import Balancing
import Engine

enum UpstreamGuards {
    /// - Throws: a problem with a pointer into the upstream's state.
    static func settings(of state: UpstreamState) throws(Problem) -> (HealthPolicy, UpstreamLimits) {
        var health = HealthPolicy()
        var limits = UpstreamLimits()
        if let percent = state.panicThreshold { health.panicPercent = percent }
        if let words = try read(OutlierDetection.self, state.outlierDetection) { health.outliers = policy(words) }
        if let words = try read(RetryBudgetWords.self, state.retryBudget) {
            limits.hasRetryBudget = true
            limits.retryBudget.percent = words.percent
            limits.retryBudget.least = words.least
        }
        if let words = try read(CircuitBreakerWords.self, state.circuitBreaker) {
            limits.activeMax = words.requestsMax ?? .max
            limits.pendingMax = words.pendingMax ?? .max
        }
        if let words = try read(QueueWords.self, state.queue) {
            limits.queueMax = words.size
            limits.queueTimeoutMs = words.timeoutMs
        }
        return (health, limits)
    }

    private static func read<Words: UpstreamGuard>(_ type: Words.Type, _ text: String?) throws(Problem) -> Words? {
        guard let text else { return nil }
        do { return try Words(text) } catch {
            var problem = error
            problem.pointer = "/" + Words.name
            throw problem
        }
    }

    private static func policy(_ words: OutlierDetection) -> OutlierPolicy {
        var policy = OutlierPolicy()
        policy.consecutiveErrors = words.consecutiveErrors
        policy.errorPercent = words.errorRatio
        policy.latencyPercent = words.latency
        policy.intervalMs = words.intervalMs
        policy.requestsMin = words.requestsMin
        policy.ejectionMs = words.ejectionMs
        policy.ejectionMsMax = words.ejectionMsMax
        policy.ejectedPercentMax = words.ejectedPercentMax
        return policy
    }
}
