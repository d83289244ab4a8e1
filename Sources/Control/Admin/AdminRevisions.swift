// Handlers of the admin API: the history, undo, restore, differences, receipts, the export, the reload.
// Called by the table of routes. The controller decides; here its values become answers.

import AdminAPI
import Engine

extension AdminServer {
    func undo(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        if call.isDryRun { return call.plan(try controller.planUndo(ifMatch: call.ifMatch)) }
        return call.accepted(try controller.undo(by: call.author, ifMatch: call.ifMatch))
    }

    func restoreRevision(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        let number = try call.number(at: 0)
        if call.isDryRun { return call.plan(try controller.planRestore(number, ifMatch: call.ifMatch)) }
        return call.accepted(try controller.restore(number, by: call.author, ifMatch: call.ifMatch))
    }

    func getRevisions(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let limit = try call.number("limit", 1...10_000, default: 50)
        let revisions = controller.revisions(limit: limit)
        let current = revisions.first?.number ?? 0
        return call.json(
            .members(["revision": .integer(Int64(clamping: current)), "revisions": .array(revisions.map(\.json))]), revision: current)
    }

    /// What was is not what If-Match asks of: no ETag.
    func getRevision(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let (revision, state) = try controller.revision(try call.number(at: 0))
        return call.json(revision.json(with: state))
    }

    func diffRevisions(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let (a, b) = (try call.number(at: 0), try call.number(at: 1))
        let from = try controller.revision(a).state
        let to = try controller.revision(b).state
        return call.json(.members([
            "differences": .array(differences(from: from, to: to).map(\.json)), "from": .integer(Int64(clamping: a)),
            "to": .integer(Int64(clamping: b)),
        ]))
    }

    func getReceipt(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        let number = try call.number(at: 0)
        let timeoutMs = try call.timeoutMs()
        let goal: AdminWait.Goal
        switch call.word("wait") {
        case nil, "0", "false": return call.json(try controller.receipt(number).json)
        case "1", "true": goal = .visible(number)
        case "final": goal = .final(number)
        case let text?: throw Problem(.badQuery, "found wait=\(AdminText.shown(text)), expected 1 or final")
        }
        let wait = AdminWait(reply: call.request.reply, goal: goal, deadlineMs: live.nowMs + timeoutMs)
        if timeoutMs == 0 || AdminLive.isReached(goal, controller) { return call.json(try controller.receipt(number).json) }
        try live.expectRoom()
        live.add(wait)
        return .later
    }

    func export(_ call: AdminCall) -> AdminOutcome {
        let (state, revision) = controller.running
        return .answer(AdminAnswer(
            status: 200, contentType: "text/plain; charset=utf-8", lines: ["Cache-Control: no-store", "ETag: \"\(revision)\""],
            body: Array(exported(state).utf8)))
    }

    func reload(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        try call.takeReason()
        let prefersFile: Bool
        switch call.word("prefer") {
        case nil, "running": prefersFile = false
        case "file": prefersFile = true
        case let text?: throw Problem(.badQuery, "found prefer=\(AdminText.shown(text)), expected running or file")
        }
        if call.isDryRun { return call.plan(try owner.planReload(preferringFile: prefersFile, ifMatch: call.ifMatch)) }
        let accepted = try owner.reloadConfiguration(by: call.author, preferringFile: prefersFile, ifMatch: call.ifMatch)
        call.note(accepted)
        return call.json(accepted.json.merging(.members(["warnings": .array(accepted.warnings.map { .string($0) })])), revision: accepted.revision)
    }

    func getStatus(_ call: AdminCall) -> AdminOutcome {
        let status = wholeStatus
        return call.json(status.json, revision: status.revision)
    }
}
