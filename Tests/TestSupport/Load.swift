// Owns a bounded load: connections on threads, each sending requests one after another, and the account of every answer.
// Called by the suites. Each request carries its own id, so that what clients got can be compared with what upstreams saw.

import Foundation

public final class Load: Sendable {
    public struct Result: Sendable {
        /// Requests sent, answered or not.
        public var sent = 0
        public var statuses: [Int: Int] = [:]
        /// Answers counted by body, for bodies up to 64 bytes: the name of who answered.
        public var bodies: [String: Int] = [:]
        /// Ids of requests with a whole answer.
        public var answered: Set<String> = []
        /// What failed, with the id.
        public var failures: [String] = []
        /// Kept connections found closed before a byte of the answer: the client's right to send again, used with the same id.
        public var resent = 0
        /// The longest wait for an answer.
        public var slowestMs = 0

        public func count(_ status: Int) -> Int { statuses[status] ?? 0 }
    }

    private let endpoint: Endpoint
    private let limit: Int
    private let keepsAlive: Bool
    private let makeRequest: @Sendable (String) -> String
    private let state = Locked((result: Result(), next: 0, isStopped: false))
    private let group = DispatchGroup()

    /// Starts `connections` threads at once; together they send `requests` (or until `finish` when nil). `request` makes the
    /// bytes of a GET from an id, which it should carry in X-Request-Id.
    public init(
        _ endpoint: Endpoint, connections: Int, requests: Int? = nil, keepsAlive: Bool = true,
        request: @escaping @Sendable (String) -> String = { RawClient.text("GET", "/", ["X-Request-Id: \($0)"]) }
    ) {
        self.endpoint = endpoint
        limit = requests ?? Int.max
        self.keepsAlive = keepsAlive
        makeRequest = request
        for _ in 0..<connections {
            group.enter()
            onThread { [self] in
                run()
                group.leave()
            }
        }
    }

    /// The account so far.
    public var current: Result { state.current.result }
    public var sentCount: Int { state.current.result.sent }
    public var answeredCount: Int { state.current.result.answered.count }

    /// Waits until at least `count` more requests were answered.
    public func waitForAnswers(_ count: Int) throws {
        let wanted = answeredCount + count
        try Harness.wait(for: "\(wanted) answers, now \(answeredCount)") { answeredCount >= wanted }
    }

    /// Lets requests in flight end, sends no more unless a number was given, and gives the account.
    public func finish(withinMs: Int = 120_000) throws -> Result {
        if limit == Int.max { state.with { $0.isStopped = true } }
        guard group.wait(timeout: .now() + .milliseconds(withinMs)) == .success else {
            throw TestFailure("the load did not end in \(withinMs) ms")
        }
        return state.current.result
    }

    private func run() {
        var client: RawClient?
        while let id = nextId() {
            let start = DispatchTime.now().uptimeNanoseconds
            do {
                let response = try exchange(id, &client)
                let ms = Int((DispatchTime.now().uptimeNanoseconds - start) / 1_000_000)
                state.with { s in
                    s.result.statuses[response.status, default: 0] += 1
                    if response.body.count <= 64 { s.result.bodies[response.text, default: 0] += 1 }
                    s.result.answered.insert(id)
                    s.result.slowestMs = max(s.result.slowestMs, ms)
                }
                if !keepsAlive || response["Connection"]?.lowercased() == "close" { client = nil }
            } catch {
                client = nil
                state.with { $0.result.failures.append("\(id): \(error)") }
            }
        }
    }

    private func exchange(_ id: String, _ client: inout RawClient?) throws -> Response {
        if let kept = client {
            let before = kept.stream.received
            do {
                try kept.send(makeRequest(id))
                return try kept.response()
            } catch let end as StreamEnd where (end == .closed || end == .reset) && kept.stream.received == before {
                state.with { $0.result.resent += 1 }
            }
        }
        let fresh = try RawClient(endpoint)
        client = fresh
        try fresh.send(makeRequest(id))
        return try fresh.response()
    }

    private func nextId() -> String? {
        state.with { s in
            if s.isStopped || s.next >= limit { return nil }
            s.next += 1
            s.result.sent += 1
            return "r\(s.next)"
        }
    }
}
