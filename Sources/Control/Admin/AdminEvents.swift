// Handler of the admin API: the stream of events.
// Called by the table of routes. What follows the beginning of the answer is sent by `AdminLive`.

import AdminAPI
import Engine

extension AdminServer {
    func getEvents(_ call: AdminCall) throws(Problem) -> AdminOutcome {
        var after = try AdminText.eventID(call.request.field("last-event-id"))
        if after == nil, call.word("after") != nil { after = UInt64(try call.number("after", 0...(.max), default: 0)) }
        if call.request.method == "HEAD" {
            return .answer(AdminAnswer(status: 200, contentType: "text/event-stream", lines: ["Cache-Control: no-store"]))
        }
        if controller.isStopped { throw Problem(.stopping, "the server is stopping") }
        return .answer(try live.subscribe(call.request.reply, after: after))
    }
}
