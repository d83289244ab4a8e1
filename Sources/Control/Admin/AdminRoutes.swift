// Everything that can be asked of the admin API, as one table: dispatch, `Allow`, the index and the OpenAPI document are made of it.
// Read by the dispatch. What a route does stands in the `Admin*` files that its handler names.

import AdminAPI

/// One row: what is asked, and who answers.
final class AdminRoute: Sendable {
    /// Nil: the answer comes later, through the call's reply.
    typealias Handler = @Sendable (AdminServer, AdminCall) throws(Problem) -> AdminOutcome

    let operation: APIOperation
    /// The path as segments; nil stands for any text.
    let template: [String?]
    let queryNames: [String]
    let handler: Handler

    init(_ operation: APIOperation, _ handler: @escaping Handler) {
        self.operation = operation
        self.handler = handler
        queryNames = operation.queryNames
        template = operation.path.split(separator: "/").map { $0.hasPrefix("{") ? nil : String($0) }
    }

    /// Whether the path is this route's.
    func matches(_ segments: [String]) -> Bool {
        if segments.count != template.count { return false }
        for i in template.indices {
            if let word = template[i], word != segments[i] { return false }
        }
        return true
    }

    /// What stands for the names in braces, in a path of this route.
    func names(in segments: [String]) -> [String] { template.indices.filter { template[$0] == nil }.map { segments[$0] } }

    static let all: [AdminRoute] = state + servers + splits + certificates + rollouts + policies + history + moment + metrics

    // MARK: Pools

    private static let state: [AdminRoute] = [
        AdminRoute(APIOperation("GET", "/", id: "index", "What there is.", answer: .json("Index"))) { (s, c) throws(Problem) in s.index(c) },
        AdminRoute(APIOperation("GET", "/upstreams", id: "getState", "All pools and splits that run.", answer: .json("State"))) {
            (s, c) throws(Problem) in s.getState(c)
        },
        AdminRoute(
            APIOperation(
                "PUT", "/upstreams", id: "putState", "Replaces all pools, and the splits if they are there.", body: "StateWrite",
                answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.putState(c) },
        AdminRoute(APIOperation("GET", "/upstreams/{name}", id: "getUpstream", "One pool.", answer: .json("Upstream"))) {
            (s, c) throws(Problem) in try s.getUpstream(c)
        },
        AdminRoute(
            APIOperation(
                "PUT", "/upstreams/{name}", id: "putUpstream", "Replaces or makes a pool.", body: "UpstreamWrite", answer: .json("Accepted"),
                statuses: [200, 201])
        ) { (s, c) throws(Problem) in try s.putUpstream(c) },
        AdminRoute(
            APIOperation(
                "DELETE", "/upstreams/{name}", id: "deleteUpstream", "Takes a pool away that nothing leads to.", body: "ReasonOnly",
                isBodyOptional: true, answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.deleteUpstream(c) },
        AdminRoute(
            APIOperation(
                "POST", "/upstreams/{name}/drain", id: "drainUpstream",
                "Gives a pool no new requests, and closes its long-lived connections evenly over the timeout.",
                query: [
                    APIParameter("timeout", OpenAPISchemas.time("", default: "30s"), "Over what time long-lived connections are closed."),
                    APIParameter("wait", OpenAPISchemas.flag, "Answers when nothing is in flight, or at the timeout."),
                ], body: "ReasonOnly", isBodyOptional: true, answer: .json("Drained"), statuses: [202, 200])
        ) { (s, c) throws(Problem) in try s.drainUpstream(c) },
    ]

    private static let servers: [AdminRoute] = [
        AdminRoute(
            APIOperation("GET", "/upstreams/{name}/servers", id: "getServers", "The servers of a pool.", answer: .json("ServerList"))
        ) { (s, c) throws(Problem) in try s.getServers(c) },
        AdminRoute(
            APIOperation(
                "POST", "/upstreams/{name}/servers", id: "addServer", "Adds a server to a pool.", body: "ServerWrite",
                answer: .json("Accepted"), statuses: [201, 200])
        ) { (s, c) throws(Problem) in try s.addServer(c) },
        AdminRoute(
            APIOperation("GET", "/upstreams/{name}/servers/{id}", id: "getServer", "One server.", answer: .json("Server"))
        ) { (s, c) throws(Problem) in try s.getServer(c) },
        AdminRoute(
            APIOperation(
                "PATCH", "/upstreams/{name}/servers/{id}", id: "patchServer", "Changes the fields of a server that are named.",
                body: "ServerPatch", answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.patchServer(c) },
        AdminRoute(
            APIOperation(
                "DELETE", "/upstreams/{name}/servers/{id}", id: "deleteServer", "Takes a server out of its pool.", body: "ReasonOnly",
                isBodyOptional: true, answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.deleteServer(c) },
    ]

    // MARK: Splits

    private static let splits: [AdminRoute] = [
        AdminRoute(APIOperation("GET", "/splits/{name}", id: "getSplit", "One split.", answer: .json("Split"))) {
            (s, c) throws(Problem) in try s.getSplit(c)
        },
        AdminRoute(
            APIOperation(
                "PUT", "/splits/{name}", id: "putSplit", "Replaces or makes a split.", body: "SplitWrite", answer: .json("Accepted"),
                statuses: [200, 201])
        ) { (s, c) throws(Problem) in try s.putSplit(c) },
        AdminRoute(
            APIOperation(
                "PATCH", "/splits/{name}", id: "setWeights", "Sets the weights that are named.", body: "WeightsPatch",
                answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.setWeights(c) },
        AdminRoute(
            APIOperation(
                "DELETE", "/splits/{name}", id: "deleteSplit", "Takes a split away that nothing leads to.", body: "ReasonOnly",
                isBodyOptional: true, answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.deleteSplit(c) },
        AdminRoute(
            APIOperation(
                "POST", "/splits/{name}/hold", id: "holdSplit", "Lets new requests of a split wait.",
                query: [
                    APIParameter("max", OpenAPISchemas.number(0...1_000_000, default: 1000), "The most that wait at once; one more is refused."),
                    APIParameter("timeout", OpenAPISchemas.time("", default: "30s"), "The longest that one waits; then it is refused."),
                ], body: "ReasonOnly", isBodyOptional: true, answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.holdSplit(c) },
        AdminRoute(
            APIOperation(
                "POST", "/splits/{name}/release", id: "releaseSplit", "Lets requests that wait go on.",
                query: [APIParameter("rate", OpenAPISchemas.number(1...1_000_000, default: 1000), "At most so many a second.")],
                body: "ReasonOnly", isBodyOptional: true, answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.releaseSplit(c) },
    ]

    // MARK: History

    private static let history: [AdminRoute] = [
        AdminRoute(
            APIOperation(
                "POST", "/undo", id: "undo", "Back to the state before the current revision.", body: "ReasonOnly", isBodyOptional: true,
                answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.undo(c) },
        AdminRoute(
            APIOperation(
                "GET", "/revisions", id: "getRevisions", "The history, newest first.",
                query: [APIParameter("limit", OpenAPISchemas.number(1...10_000, default: 50), "At most so many.")],
                answer: .json("RevisionList"))
        ) { (s, c) throws(Problem) in try s.getRevisions(c) },
        AdminRoute(
            APIOperation("GET", "/revisions/{n}", id: "getRevision", "A revision with its whole state.", answer: .json("RevisionWithState"))
        ) { (s, c) throws(Problem) in try s.getRevision(c) },
        AdminRoute(
            APIOperation("GET", "/revisions/{a}/diff/{b}", id: "diffRevisions", "How two revisions differ.", answer: .json("DifferenceList"))
        ) { (s, c) throws(Problem) in try s.diffRevisions(c) },
        AdminRoute(
            APIOperation(
                "POST", "/revisions/{n}/restore", id: "restoreRevision", "To the state of that revision.", body: "ReasonOnly",
                isBodyOptional: true, answer: .json("Accepted"))
        ) { (s, c) throws(Problem) in try s.restoreRevision(c) },
        AdminRoute(
            APIOperation(
                "GET", "/receipts/{n}", id: "getReceipt", "The account of a change.",
                query: [
                    APIParameter("timeout", OpenAPISchemas.time("", default: "30s"), "How long to wait at the most."),
                    APIParameter(
                        "wait", OpenAPISchemas.choice(["0", "1", "false", "true", "final"]),
                        "1: until every worker serves by it; final: until the figures are final."),
                ], answer: .json("Receipt"))
        ) { (s, c) throws(Problem) in try s.getReceipt(c) },
    ]

    // MARK: The moment

    private static let moment: [AdminRoute] = [
        AdminRoute(APIOperation("GET", "/status", id: "getStatus", "The proxy at this moment.", answer: .json("Status"))) {
            (s, c) throws(Problem) in s.getStatus(c)
        },
        AdminRoute(
            APIOperation(
                "GET", "/events", id: "getEvents", "What happens, as it happens. `Last-Event-ID` takes up where a reader was.",
                query: [APIParameter("after", OpenAPISchemas.number(0...(.max)), "As Last-Event-ID.")], answer: .events("Event"))
        ) { (s, c) throws(Problem) in try s.getEvents(c) },
        AdminRoute(
            APIOperation(
                "POST", "/reload", id: "reload", "Reads the configuration anew, as the signal HUP does.",
                query: [
                    APIParameter(
                        "prefer", OpenAPISchemas.choice(["running", "file"]), "Who is right where both changed the same field; the running proxy.")
                ], body: "ReasonOnly", isBodyOptional: true, answer: .json("Reloaded"))
        ) { (s, c) throws(Problem) in try s.reload(c) },
        AdminRoute(APIOperation("GET", "/export", id: "export", "The pools and splits that run, as configuration.", answer: .text)) {
            (s, c) throws(Problem) in s.export(c)
        },
        AdminRoute(APIOperation("GET", "/openapi.json", id: "getDocument", "This API, as OpenAPI 3.1.", answer: .json("Document"))) {
            (s, c) throws(Problem) in s.document(c)
        },
    ]
}
