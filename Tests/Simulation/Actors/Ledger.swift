// Compares what clients and upstreams wrote down: every request and every answer must be accounted for on both sides.
// Called by a test when the run is over. It knows no proxy; it counts.

package struct Ledger {
    package private(set) var sent = 0
    package private(set) var received = 0
    package private(set) var wholeAnswers = 0
    /// What does not add up, in words.
    package private(set) var problems: [String] = []

    /// - Parameters:
    ///   - attemptsMax: how often upstreams together may see one request without a body.
    ///   - attemptsWithBodyMax: the same for methods other than GET, HEAD, OPTIONS, PUT and DELETE.
    package init(clients: [HTTPClient], upstreams: [HTTPUpstream], attemptsMax: Int = 1, attemptsWithBodyMax: Int = 1) {
        var seen: [String: [UpstreamRecord]] = [:]
        for upstream in upstreams {
            for record in upstream.records { seen[record.id, default: []].append(record) }
            for reason in upstream.bad { problems.append("\(upstream.name) got what is no request: \(reason)") }
            received += upstream.records.count
        }
        for client in clients {
            if client.unasked > 0 { problems.append("\(client.name) got \(client.unasked) answers nobody asked for") }
            for record in client.records {
                check(record, of: client, seen[record.id] ?? [], attemptsMax, attemptsWithBodyMax)
                seen[record.id] = nil
            }
        }
        for id in seen.keys.sorted() where !id.isEmpty { problems.append("nobody sent \(id), but an upstream saw it") }
    }

    private mutating func check(
        _ record: ClientRecord, of client: HTTPClient, _ seen: [UpstreamRecord], _ attemptsMax: Int, _ attemptsWithBodyMax: Int
    ) {
        let who = "\(client.name) \(record.id)"
        if record.connection >= 0 { sent += 1 }
        if record.outcome == .waiting { problems.append("\(who): no outcome") }
        if case .bad(let reason) = record.outcome { problems.append("\(who): the answer is malformed: \(reason)") }

        let repeatable = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"].contains(record.method)
        let most = repeatable ? attemptsMax : attemptsWithBodyMax
        if seen.count > most { problems.append("\(who): upstreams saw it \(seen.count) times, \(most) allowed") }
        for one in seen where one.isWhole && one.body != record.sentBody {
            problems.append("\(who): \(record.sentBody.count) body bytes sent, \(one.body.count) others received")
        }

        guard record.outcome == .whole else { return }
        wholeAnswers += 1
        guard let head = record.head, head.field("x-upstream") != nil else { return }
        guard let answerer = seen.last(where: { _ in head.field("x-id") == record.id }) else {
            return problems.append("\(who): got the answer to \(head.field("x-id") ?? "nothing")")
        }
        if head.status == 101 {
            if record.tunnelBytes != answerer.tunnelBytes {
                let (into, back) = (answerer.tunnelBytes.count, record.tunnelBytes.count)
                problems.append("\(who): \(into) bytes into the tunnel's far end, \(back) back")
            }
        } else if record.method == "HEAD" {
            if !record.body.isEmpty { problems.append("\(who): \(record.body.count) body bytes in an answer to HEAD") }
        } else if !seen.contains(where: { $0.answerBody == record.meantBody }) {
            problems.append("\(who): \(record.body.count) body bytes taken as whole, \(answerer.answerBody.count) were meant")
        }
        if seen.allSatisfy({ $0.outcome == .cut }) { problems.append("\(who): an answer that was cut came as a whole one") }
    }
}
