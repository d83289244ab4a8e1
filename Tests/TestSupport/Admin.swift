// Owns a connection to the admin API of a running proxy: one request after another on its unix socket.
// Called by the suites about switching; used by one thread at a time. What an answer should be is theirs to say.

import Foundation

public struct AdminAnswer: Sendable {
    public let response: Response
    public let json: JSONValue

    public var status: Int { response.status }
    public var text: String { response.text }
    /// What the ETag tells.
    public var revision: Int? { response["ETag"].flatMap { Int($0.filter { $0 != "\"" }) } }
}

public final class Admin: Sendable {
    private let client: RawClient

    /// Waits until somebody accepts on `admin.sock`, in `folder` of the proxy's directory.
    public init(_ proxy: Proxy, folder: String = ".", timeoutMs: Int = 60_000) throws {
        let endpoint = Endpoint.unix(proxy.path(folder + "/admin.sock"))
        let opened = Locked<RawClient?>(nil)
        try Harness.wait(for: "admin.sock to accept: \(proxy.errorLog.suffix(500))") {
            opened.with { $0 = try? RawClient(endpoint, timeoutMs: timeoutMs) }
            return opened.current != nil
        }
        guard let client = opened.current else { throw TestFailure("no connection to \(endpoint)") }
        self.client = client
    }

    /// Any answer.
    @discardableResult
    public func ask(_ method: String, _ target: String, _ body: String? = nil, _ fields: [String] = []) throws -> AdminAnswer {
        let type = body == nil ? [] : ["Content-Type: application/json"]
        let response = try client.request(method, target, fields + type, body: body)
        return AdminAnswer(response: response, json: JSONValue(parsing: response.text))
    }

    public func get(_ target: String) throws -> JSONValue {
        let answer = try ask("GET", target)
        guard answer.status == 200 else { throw TestFailure("GET \(target): \(answer.status) \(answer.text)") }
        return answer.json
    }

    /// A write that is to be accepted; the revision that is current then.
    @discardableResult
    public func write(_ method: String, _ target: String, _ body: String? = nil) throws -> Int {
        let answer = try ask(method, target, body)
        guard (200...202).contains(answer.status), let revision = answer.json["revision"].int else {
            throw TestFailure("\(method) \(target): \(answer.status) \(answer.text)")
        }
        return revision
    }

    /// Sets weights of a split; those that are not named stay.
    @discardableResult
    public func weigh(_ weights: [String: Int], in split: String = "app") throws -> Int {
        let members = weights.sorted { $0.key < $1.key }.map { "\"\($0.key)\": \($0.value)" }
        return try write("PATCH", "/splits/\(split)", "{\"weights\": {\(members.joined(separator: ", "))}}")
    }

    public func weights(of split: String = "app") throws -> [String: Int] { try get("/splits/\(split)")["weights"].ints }

    public var revision: Int { get throws { try get("/status")["revision"].int ?? -1 } }
}
