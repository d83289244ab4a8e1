// The way of a request from any worker to the control thread.
// Filled by workers; emptied by the admin server at the end of each turn of the control thread.

import Engine
import Synchronization

final class AdminInbox: AdminGateway {
    private let waiting = Mutex<[AdminRequest]>([])
    /// Of the control thread.
    private let mailbox: Mailbox

    init(waking mailbox: Mailbox) { self.mailbox = mailbox }

    func receive(_ request: AdminRequest) {
        let isFull = waiting.withLock { queue in
            if queue.count >= ControlLimits.adminRequestsMax { return true }
            queue.append(request)
            return false
        }
        if isFull {
            let problem = AdminAnswer(status: 503, contentType: "text/plain", lines: ["Retry-After: 1"], body: Array("too many requests wait\n".utf8))
            return request.reply.answer(problem)
        }
        // From the control thread itself it is found at the end of this very turn.
        if request.reply.isIn(mailbox) { return }
        mailbox.post(.wake)
    }

    func takeAll() -> [AdminRequest] {
        waiting.withLock { queue in
            defer { queue = [] }
            return queue
        }
    }
}
