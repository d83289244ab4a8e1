// The way of a request from any worker to the control thread.
// Filled by workers; emptied by the admin server at the end of each turn of the control thread.

import AdminAPI
import Engine
import Synchronization

final class AdminInbox: AdminGateway {
    private struct Waiting {
        var requests: [AdminRequest] = []
        var bytes = 0
        var gone: [AdminReply] = []
    }
    private let waiting = Mutex(Waiting())
    /// Of the control thread.
    private let mailbox: Mailbox

    init(waking mailbox: Mailbox) { self.mailbox = mailbox }

    func receive(_ request: AdminRequest) {
        let isFull = waiting.withLock { waiting in
            let bytes = waiting.bytes + request.body.count
            if waiting.requests.count >= ControlLimits.adminRequestsMax || bytes > ControlLimits.adminBytesMax { return true }
            waiting.requests.append(request)
            waiting.bytes = bytes
            return false
        }
        if isFull { return request.reply.answer(AdminServer.refusal(Problem(.busy, "too many requests wait for the control thread"))) }
        wake(request.reply)
    }

    /// An exchange that parts of an answer were sent to is over.
    func gone(_ reply: AdminReply) {
        let isNew = waiting.withLock { waiting in
            // What is left out here is told again when the next part is sent.
            if waiting.gone.count >= ControlLimits.adminRequestsMax { return false }
            waiting.gone.append(reply)
            return true
        }
        if isNew { wake(reply) }
    }

    /// From the control thread itself it is found at the end of this very turn.
    private func wake(_ reply: AdminReply) { if !isOwn(reply) { mailbox.post(.wake) } }

    /// Something else waits for a turn.
    func wakeUp() { mailbox.post(.wake) }

    /// Whether the request came through the control thread's own socket.
    func isOwn(_ reply: AdminReply) -> Bool { reply.isIn(mailbox) }

    func takeAll() -> [AdminRequest] {
        waiting.withLock { waiting in
            defer { (waiting.requests, waiting.bytes) = ([], 0) }
            return waiting.requests
        }
    }

    func takeGone() -> [AdminReply] {
        waiting.withLock { waiting in
            defer { waiting.gone = [] }
            return waiting.gone
        }
    }
}
