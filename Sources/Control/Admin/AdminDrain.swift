// One drain under way: how much is still in flight in an upstream, and who waits for its end.
// Begun by the handler, looked after by `AdminLive`. Closing long-lived connections is the workers' business.

import AdminAPI
import Balancing
import Engine

final class AdminDrain {
    let upstream: String
    let accepted: Accepted
    /// When those who wait are answered, whatever is in flight.
    var deadlineMs: Int64
    var replies: [AdminReply] = []
    var isOver = false
    /// Of its servers, even when they are taken away meanwhile.
    private let counters: [PeerCounters]

    init(_ upstream: String, _ accepted: Accepted, _ definitions: [UpstreamDefinition], deadlineMs: Int64) {
        self.upstream = upstream
        self.accepted = accepted
        self.deadlineMs = deadlineMs
        counters = definitions.filter { $0.settings.name.string == upstream }.flatMap { $0.peers.map(\.counters) }
    }

    var inFlight: Int { counters.reduce(0) { $0 + max(0, $1.active) } }

    /// A worker that has not taken the revision may still begin something there.
    func isDone(_ controller: Controller) -> Bool { inFlight == 0 && controller.progress(accepted.revision)?.isVisible ?? true }

    /// To all who wait: 200 when nothing is in flight, else 202, for it goes on.
    func answer() {
        for reply in replies { reply.answer(answer(isWaiting: true)) }
        replies = []
    }

    func answer(isWaiting: Bool) -> AdminAnswer {
        let inFlight = inFlight
        let json = accepted.json.merging(.members(["drained": .bool(inFlight == 0), "in_flight": .integer(Int64(inFlight))]))
        return AdminServer.json(json, status: isWaiting && inFlight == 0 ? 200 : 202, revision: accepted.revision)
    }
}
