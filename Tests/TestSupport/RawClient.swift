// Owns the client's side of a test: a connection that sends exactly the bytes given and reads what comes back.
// Called by the suites and by Load. It adds nothing to a request and hides nothing of a response.

import Foundation

public final class RawClient: Sendable {
    public let stream: Stream

    init(stream: Stream) { self.stream = stream }

    /// Connects. `receiveBufferBytes` bounds what the kernel takes for a client that doesn't read.
    public init(_ endpoint: Endpoint, timeoutMs: Int = 30_000, receiveBufferBytes: Int = 0) throws {
        stream = Stream(
            fd: try Sockets.connect(endpoint, timeoutMs: timeoutMs, receiveBufferBytes: receiveBufferBytes),
            timeoutMs: timeoutMs)
    }

    public func send(_ text: String) throws { try stream.send(text) }
    public func send(_ bytes: [UInt8]) throws { try stream.send(bytes) }

    /// Sends in pieces of `pieceBytes`, each a segment of its own.
    public func send(_ text: String, pieceBytes: Int) throws {
        let bytes = Array(text.utf8)
        for at in stride(from: 0, to: bytes.count, by: pieceBytes) {
            try stream.send(Array(bytes[at..<min(at + pieceBytes, bytes.count)]))
        }
    }

    public func response(to method: String = "GET") throws -> Response { try stream.readResponse(to: method) }

    /// Sends a request made of its parts and reads the response.
    @discardableResult
    public func request(
        _ method: String = "GET", _ target: String = "/", _ fields: [String] = [], body: String? = nil
    ) throws -> Response {
        try send(Self.text(method, target, fields, body: body))
        return try response(to: method)
    }

    /// The bytes of a request; Host is `test` unless `fields` name one.
    public static func text(
        _ method: String = "GET", _ target: String = "/", _ fields: [String] = [], body: String? = nil
    ) -> String {
        var lines = ["\(method) \(target) HTTP/1.1"]
        if !fields.contains(where: { $0.lowercased().hasPrefix("host:") }) { lines.append("Host: test") }
        lines += fields
        if let body { lines.append("Content-Length: \(body.utf8.count)") }
        return lines.joined(separator: "\r\n") + "\r\n\r\n" + (body ?? "")
    }

    public func halfClose() { stream.halfClose() }
    public func reset() { stream.reset() }
    public func close() { stream.close() }

    /// How the peer ends, once it does; what it still sends is dropped.
    public func end() -> StreamEnd { stream.readToEnd().end }
}
