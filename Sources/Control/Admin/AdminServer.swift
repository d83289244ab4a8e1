// Answers the requests of the admin API: from method and path to a call of the controller, and its answer as JSON.
// The duty of the control thread: called at the end of each of its turns. It decides nothing about states.

import AdminAPI
import Engine

final class AdminServer: WorkerDuty {
    let controller: Controller
    private let inbox: AdminInbox
    /// Owns the thread this runs in.
    unowned let supervisor: Supervisor

    init(_ controller: Controller, inbox: AdminInbox, supervisor: Supervisor) {
        self.controller = controller
        self.inbox = inbox
        self.supervisor = supervisor
    }

    func turn(nowMs: Int64) -> Int64? {
        for request in inbox.takeAll() { request.reply.answer(answer(request)) }
        return nil
    }

    private func answer(_ request: AdminRequest) -> AdminAnswer {
        do throws(Problem) { return try route(request) } catch {
            return AdminAnswer(status: UInt16(error.status), contentType: "application/problem+json", body: Array(error.json.text().utf8))
        }
    }

    private func route(_ request: AdminRequest) throws(Problem) -> AdminAnswer {
        let segments = request.path.split(separator: "/").map(String.init)
        let author = Author(who: "somebody")
        switch (request.method, segments.first ?? "", segments.count) {
        case ("GET", "upstreams", 1):
            let (state, revision) = controller.running
            return Self.ok(state.json, revision: revision)
        case ("PUT", "upstreams", 1):
            let write = try StateWrite(decoding: try JSON.parse(request.body))
            return Self.accepted(
                try controller.change(.replaceAll(upstreams: write.upstreams, splits: write.splits), by: author))
        case ("PATCH", "splits", 2):
            let patch = try WeightsPatch(decoding: try JSON.parse(request.body))
            return Self.accepted(try controller.change(.setWeights(split: segments[1], patch.weights), by: author))
        case ("POST", "undo", 1): return Self.accepted(try controller.undo(by: author))
        case ("GET", "receipts", 2): return Self.ok(try controller.receipt(UInt64(segments[1]) ?? 0).json)
        case ("GET", "status", 1): return Self.ok(controller.status.json)
        default: throw Problem(.notFound, "there is nothing at \(request.path)")
        }
    }

    private static func ok(_ json: JSON, revision: UInt64? = nil) -> AdminAnswer {
        AdminAnswer(status: 200, lines: revision.map { ["ETag: \"\($0)\""] } ?? [], body: Array(json.text().utf8))
    }

    private static func accepted(_ accepted: Accepted) -> AdminAnswer { ok(accepted.json, revision: accepted.revision) }
}
