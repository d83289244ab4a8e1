// Answers `upstream_health` locations: whether a pool is well, as a status and as JSON.
// Called by routing. What is known is Control's: here it is asked and sent.

import Bytes
import HTTPMessage

/// `upstream_health` of a location.
package struct UpstreamHealthSettings: BitwiseCopyable, Sendable {
    /// Of what leads to the upstream.
    package var slot: Int32 = -1
    /// With fewer healthy servers it is not well.
    package var healthyMin: Int32 = 1
    package init() {}
}

/// Who knows how upstreams are. Asked in workers' threads: it must not wait for anything but a short lock.
package protocol HealthReporter: AnyObject, Sendable {
    /// Whether so many servers of the upstream can be had, and what there is to tell of it, as JSON. `nowMs`: of the engine's clock.
    func report(_ upstream: UpstreamDefinition, healthyMin: Int, nowMs: Int64) -> (isHealthy: Bool, body: [UInt8])
}

extension Worker {
    func answerUpstreamHealth(_ x: Ref<Exchange>) {
        guard x.method == .get || x.method == .head else { return answerError(x, 405) }
        let settings = x.location.upstreamHealth
        let target = x.root.targets[Int(settings.slot)].value
        guard let reporter = parameters.health, !target.isSplit, let pinned = adopted.last(where: { $0.pinned.serial == x.pinned.serial })
        else { return answerError(x, 404) }
        let (isHealthy, body) = reporter.report(pinned.upstreams[target.index].definition, healthyMin: Int(settings.healthyMin), nowMs: nowMs)
        var head = AnswerHead(status: isHealthy ? 200 : 503)
        head.contentType = ByteView("application/json")
        x.keptLines = ByteView("Cache-Control: no-store\r\n")
        body.withUnsafeBufferPointer { bytes in
            answer(x, head, text: bytes.baseAddress.map { ByteView($0, bytes.count) } ?? .empty)
        }
    }
}
