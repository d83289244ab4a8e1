// One request of the admin API taken apart: who asks, the names in its path, its query, its conditions, its body.
// Made by the dispatch, read by handlers. It changes nothing.

import AdminAPI
import ConfigurationFile
import Engine

/// How a handler ends.
enum AdminOutcome {
    case answer(AdminAnswer)
    /// The answer comes later, through the call's reply.
    case later
}

final class AdminCall {
    let request: AdminRequest
    let route: AdminRoute
    /// What stands for the names in braces.
    let names: [String]
    let who: String
    /// The revision that must be current.
    let ifMatch: UInt64?
    /// Nothing is to change: what would is to be told.
    let isDryRun: Bool
    /// Rollouts that stand in the way end.
    let isForced: Bool
    private let query: [String: String]
    /// What the audit log tells of the write, besides.
    private(set) var reason = ""
    private(set) var revision: UInt64?
    /// The body's values: to take a large one apart again is not the time of whoever waits for the answer.
    private var parsed: JSON?

    var operation: APIOperation { route.operation }

    init(_ request: AdminRequest, _ route: AdminRoute, names: [String], who: String) throws(Problem) {
        self.request = request
        self.route = route
        self.names = names
        self.who = who
        query = try AdminText.query(request.query, known: route.queryNames)
        reason = query["reason"] ?? ""
        if reason.utf8.count > ControlLimits.adminReasonBytesMax {
            throw Problem(.badQuery, "found a reason of \(reason.utf8.count) bytes, expected at most \(ControlLimits.adminReasonBytesMax)")
        }
        ifMatch = route.operation.isWrite ? try AdminText.revision(ofCondition: request.field("if-match")) : nil
        isDryRun = try AdminText.flag(query["dry_run"], "dry_run")
        isForced = try AdminText.flag(query["force"], "force")
        if route.operation.body != nil, !request.body.isEmpty { try AdminText.checkMediaType(request.field("content-type")) }
    }

    /// The name in braces; routes and their handlers agree on how many there are.
    subscript(_ place: Int) -> String { names.indices.contains(place) ? names[place] : "" }

    // MARK: Query

    func flag(_ name: String) throws(Problem) -> Bool { try AdminText.flag(query[name], name) }
    func word(_ name: String) -> String? { query[name] }

    func number(_ name: String, _ range: ClosedRange<Int>, default value: Int) throws(Problem) -> Int {
        guard let text = query[name] else { return value }
        guard let number = Int(text), range.contains(number) else {
            let expected = range.upperBound == .max ? "of at least \(range.lowerBound)" : "from \(range.lowerBound) to \(range.upperBound)"
            throw Problem(.badQuery, "found \(name)=\(AdminText.shown(text)), expected a whole number \(expected)")
        }
        return number
    }

    /// `timeout`, in milliseconds.
    func timeoutMs(default value: Int64 = ControlLimits.adminWaitMs) throws(Problem) -> Int64 {
        guard let text = query["timeout"] else { return value }
        guard let ms = NginxTime.ms(text, isInSeconds: false), (0...ControlLimits.adminWaitMsMax).contains(ms) else {
            throw Problem(
                .badQuery, "found timeout=\(AdminText.shown(text)), expected a time such as 500ms, 30s or 2m, at most "
                    + NginxTime.text(ms: ControlLimits.adminWaitMsMax))
        }
        return ms
    }

    /// The number of a revision in the path.
    func number(at place: Int) throws(Problem) -> UInt64 {
        guard let n = UInt64(self[place]), self[place].utf8.first != UInt8(ascii: "+") else {
            throw Problem(.notFound, "found \(AdminText.shown(self[place])), expected the number of a revision", hint: "see /revisions")
        }
        return n
    }

    // MARK: Body

    /// The whole body. Its reason comes before the query's.
    func body<Body: AdminBody>(_ type: Body.Type) throws(Problem) -> Body {
        if request.body.isEmpty {
            throw Problem(.notJSON, "the body is empty, expected a JSON object", hint: "see \(operation.id) in /openapi.json")
        }
        let json = try JSON.parse(request.body)
        parsed = json
        let body = try Body(decoding: json)
        if let reason = body.reason { self.reason = reason }
        return body
    }

    /// For requests whose body may hold a reason and nothing else.
    func takeReason() throws(Problem) {
        if let reason = try ReasonOnly(body: request.body).reason { self.reason = reason }
    }

    var author: Author { Author(who: who, reason: reason, overrides: isForced) }

    // MARK: Answers

    func json(_ json: JSON, status: UInt16 = 200, revision: UInt64? = nil) -> AdminOutcome {
        .answer(AdminServer.json(json, status: status, revision: revision))
    }

    func accepted(_ accepted: Accepted, status: UInt16 = 200) -> AdminOutcome {
        revision = accepted.revision
        return json(accepted.json, status: status, revision: accepted.revision)
    }

    func plan(_ plan: Plan) -> AdminOutcome { json(plan.json, revision: plan.revision) }

    /// The answer comes later, and the audit log is to know the revision already.
    func note(_ accepted: Accepted) { revision = accepted.revision }
    func note(revision: UInt64) { self.revision = revision }
}

/// The body of a write.
protocol AdminBody: JSONCodable {
    var reason: String? { get }
}

extension StateWrite: AdminBody {}
extension UpstreamWrite: AdminBody {}
extension ServerWrite: AdminBody {}
extension SplitWrite: AdminBody {}
extension ServerPatch: AdminBody {}
extension WeightsPatch: AdminBody {}
