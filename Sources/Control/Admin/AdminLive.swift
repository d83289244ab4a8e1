// What the admin server owes after a turn: readers of events, answers that wait for a revision or for a drain.
// Owned by the admin server, looked after at the end of each turn of the control thread. Every list here is bounded.

import AdminAPI
import Engine

/// An answer that waits for something.
struct AdminWait {
    enum Goal: Equatable {
        /// Every worker serves by the revision.
        case visible(UInt64)
        /// Its figures will not change.
        case final(UInt64)
    }
    var reply: AdminReply
    var goal: Goal
    var deadlineMs: Int64
}

struct AdminLive {
    /// Of the monotonic clock, at the beginning of the turn.
    var nowMs: Int64 = 0
    private let events: EventLog
    private var readers: [AdminReply] = []
    /// The newest event that all readers have been sent.
    private var lastSent: UInt64
    private var commentAtMs: Int64 = 0
    private var waits: [AdminWait] = []
    private var drains: [AdminDrain] = []
    private var pollAtMs: Int64 = 0
    private var probeAtMs: Int64 = 0
    private var watch = ServerWatch()

    init(_ events: EventLog) {
        self.events = events
        lastSent = events.lastID
    }

    /// What waits, for the bound and for tests.
    var count: Int { waits.count + drains.reduce(0) { $0 + $1.replies.count } }
    var readerCount: Int { readers.count }

    /// - Throws: `busy`, when too many answers wait already.
    func expectRoom() throws(Problem) {
        if count >= ControlLimits.adminWaitsMax {
            throw Problem(.busy, "\(count) answers wait already, expected fewer than \(ControlLimits.adminWaitsMax)", hint: "ask without wait")
        }
    }

    mutating func add(_ wait: AdminWait) {
        waits.append(wait)
        pollAtMs = min(pollAtMs, nowMs + ControlLimits.adminPollMs)
    }

    /// The client of this one is not there any more.
    mutating func forget(_ reply: AdminReply) {
        readers.removeAll { $0 == reply }
        waits.removeAll { $0.reply == reply }
        for drain in drains { drain.replies.removeAll { $0 == reply } }
    }

    // MARK: The turn

    /// Returns when to be called again at the latest.
    mutating func turn(_ controller: Controller, _ inbox: AdminInbox) -> Int64? {
        if controller.isStopped { leave(inbox) }
        if !readers.isEmpty { watch.look(controller, nowMs: nowMs) }
        tellReaders()
        if nowMs >= pollAtMs {
            for wait in waits where wait.deadlineMs <= nowMs || Self.isReached(wait.goal, controller) { answer(wait, controller) }
            waits.removeAll { $0.deadlineMs <= nowMs || Self.isReached($0.goal, controller) }
            lookAfterDrains(controller)
            pollAtMs = nowMs + (waits.contains { if case .visible = $0.goal { true } else { false } }
                ? ControlLimits.adminPollMs : ControlLimits.adminSlowPollMs)
        }
        probe()
        var due: Int64?
        func by(_ ms: Int64) { due = min(due ?? ms, ms) }
        if !readers.isEmpty { by(min(commentAtMs, watch.dueMs)) }
        if !waits.isEmpty || !drains.isEmpty { by(pollAtMs) }
        return due
    }

    static func isReached(_ goal: AdminWait.Goal, _ controller: Controller) -> Bool {
        switch goal {
        case .visible(let number): controller.progress(number)?.isVisible ?? true
        case .final(let number): controller.progress(number)?.isFinal ?? true
        }
    }

    private func answer(_ wait: AdminWait, _ controller: Controller) {
        let number: UInt64 = switch wait.goal { case .visible(let n), .final(let n): n }
        do throws(Problem) {
            wait.reply.answer(AdminServer.json(try controller.receipt(number).json))
        } catch {
            wait.reply.answer(AdminServer.refusal(error))
        }
    }

    /// A worker that stops does not wait for those who wait here. Who asks on admin.sock is answered to the end.
    private mutating func leave(_ inbox: AdminInbox) {
        for reader in readers { reader.end() }
        readers = []
        for i in waits.indices where !inbox.isOwn(waits[i].reply) { waits[i].deadlineMs = nowMs }
        for drain in drains where drain.replies.contains(where: { !inbox.isOwn($0) }) { drain.deadlineMs = nowMs }
        pollAtMs = nowMs
    }

    /// A part without bytes goes nowhere; where the client is gone the worker says so.
    private mutating func probe() {
        if nowMs < probeAtMs { return }
        probeAtMs = nowMs + ControlLimits.adminProbeMs
        for wait in waits { wait.reply.data([]) }
        for drain in drains { for reply in drain.replies { reply.data([]) } }
    }

    // MARK: Events

    /// The beginning of the answer to one who reads events: those after `id` that are still there; nil: none but new ones.
    mutating func subscribe(_ reply: AdminReply, after id: UInt64?) throws(Problem) -> AdminAnswer {
        if readers.count >= ControlLimits.eventReadersMax {
            throw Problem(.busy, "\(readers.count) read events already, expected fewer than \(ControlLimits.eventReadersMax)")
        }
        if readers.isEmpty {
            lastSent = events.lastID
            commentAtMs = nowMs + ControlLimits.eventCommentMs
        }
        readers.append(reply)
        var body = Array("retry: 1000\n\n".utf8)
        if let id {
            // An id that has not been given is of another process: all that is kept is new.
            let first = id > events.lastID ? 0 : id
            var pieces: [[UInt8]] = []
            var left = ControlLimits.eventBacklogBytesMax
            for event in events.after(first).reversed() where event.id <= lastSent {
                let bytes = Self.bytes(of: event)
                left -= bytes.count
                if left < 0 { break }
                pieces.append(bytes)
            }
            body += pieces.reversed().joined()
        }
        return AdminAnswer(
            status: 200, contentType: "text/event-stream", lines: ["Cache-Control: no-store", "X-Accel-Buffering: no"], body: body, isOpen: true)
    }

    static func bytes(of event: Event) -> [UInt8] {
        Array("id: \(event.id)\nevent: \(event.kind.rawValue)\ndata: ".utf8) + event.json.bytes(pretty: false) + Array("\n\n".utf8)
    }

    private mutating func tellReaders() {
        let newest = events.lastID
        if readers.isEmpty {
            lastSent = newest
            return
        }
        if newest > lastSent {
            let bytes = events.after(lastSent).filter { $0.id <= newest }.flatMap(Self.bytes)
            lastSent = newest
            for reader in readers { reader.data(bytes) }
        }
        if nowMs >= commentAtMs {
            commentAtMs = nowMs + ControlLimits.eventCommentMs
            for reader in readers { reader.data(Array(":\n\n".utf8)) }
        }
    }

    // MARK: Drains

    /// Looks after the drain until nothing is in flight. `reply`: of one who waits for it.
    mutating func begin(_ drain: AdminDrain, _ reply: AdminReply?) {
        if drains.count >= ControlLimits.adminWaitsMax { drains.removeFirst() }
        if let reply { drain.replies.append(reply) }
        drains.append(drain)
        pollAtMs = nowMs
    }

    private mutating func lookAfterDrains(_ controller: Controller) {
        for drain in drains {
            if drain.isDone(controller) {
                events.emit(.drained, revision: controller.running.revision, subject: drain.upstream, text: "nothing is in flight in upstream \(drain.upstream)")
                drain.answer()
                drain.isOver = true
            } else if drain.deadlineMs <= nowMs {
                drain.answer()
                // It may have been taken back meanwhile; then nobody looks at it for ever.
                drain.isOver = nowMs - drain.deadlineMs > ControlLimits.adminWaitMsMax
            }
        }
        drains.removeAll(where: \.isOver)
    }
}
