// Owns a real HTTP/1.1 server on threads of the test program, scripted by a closure, that records what reached it.
// Called by the suites. It listens on TCP or a unix socket, can go away, and can come back on the same address.

import CLinux
import Foundation

public final class Upstream: Sendable {
    public typealias Handler = @Sendable (Request, UpstreamConnection) throws -> Void

    struct State: Sendable {
        var requests: [Request] = []
        var cut: [Request] = []
        var failures: [String] = []
        var connections = 0
        var open: [Int: UpstreamConnection] = [:]
        var listener: Int32 = -1
        var stopped: Signal?
    }

    public let endpoint: Endpoint
    let state = Locked(State())
    private let serve: @Sendable (UpstreamConnection) -> Void

    /// Listens at once on `endpoint`, a reserved port of 127.0.0.1 when nil. `handler` is called once a request has arrived
    /// whole, or with its head alone when `readsBodies` is false. What the handler throws ends the connection.
    public convenience init(
        at endpoint: Endpoint? = nil, readsBodies: Bool = true, listening: Bool = true, timeoutMs: Int = 60_000,
        _ handler: @escaping Handler
    ) throws {
        try self.init(raw: endpoint, listening: listening, timeoutMs: timeoutMs) { connection in
            connection.run { try connection.serveRequests(readsBodies: readsBodies, handler) }
        }
    }

    /// A server that answers every request with 200 and this body.
    public convenience init(saying body: String, at endpoint: Endpoint? = nil, listening: Bool = true) throws {
        try self.init(at: endpoint, listening: listening) { _, connection in try connection.answer(body: body) }
    }

    /// A server that hands over each accepted connection before a byte was read.
    public init(
        raw endpoint: Endpoint?, listening: Bool = true, timeoutMs: Int = 60_000,
        _ serve: @escaping @Sendable (UpstreamConnection) -> Void
    ) throws {
        self.endpoint = try endpoint ?? .tcp("127.0.0.1", Ports.reserve())
        self.serve = serve
        self.timeoutMs = timeoutMs
        if listening { try listen() }
    }

    private let timeoutMs: Int

    deinit { stop() }

    public var port: Int { endpoint.port }

    // MARK: Coming and going

    /// Comes (back) on the same address.
    public func listen() throws {
        if case .unix(let path) = endpoint { unlink(path) }
        let fd = try Sockets.listen(endpoint)
        let stopped = Signal()
        state.with {
            $0.listener = fd
            $0.stopped = stopped
        }
        let (state, serve, timeoutMs) = (state, serve, timeoutMs)
        onThread {
            Self.accept(fd, state, timeoutMs, serve)
            Glibc.close(fd)
            stopped.fire()
        }
    }

    /// From its return on the server is gone, as when its process ends: new connections are refused, open ones closed.
    public func refuse() {
        defer { closeConnections() }
        let (fd, stopped) = state.with { s in
            defer {
                s.listener = -1
                s.stopped = nil
            }
            return (s.listener, s.stopped)
        }
        guard fd >= 0 else { return }
        _ = clinux_shutdown(fd, Int32(SHUT_RDWR))
        stopped?.wait()
    }

    /// Refuses, and ends every open connection.
    public func stop() {
        refuse()
        for connection in state.current.open.values { connection.stream.abort() }
    }

    /// Ends open connections in an orderly way, as a server does whose keep-alive time is over.
    public func closeConnections() { for connection in state.current.open.values { connection.stream.abort() } }

    // MARK: What was seen

    public var requests: [Request] { state.current.requests }
    public var requestCount: Int { state.current.requests.count }
    public var connectionCount: Int { state.current.connections }
    public var openConnectionCount: Int { state.current.open.count }
    /// Of the connection of that number.
    public func isOpen(_ connection: Int) -> Bool { state.current.open[connection] != nil }
    /// What scripts threw, other than at the proxy's orderly end of a connection.
    public var failures: [String] { state.current.failures }
    /// Requests whose body never came to its end.
    public var cutRequests: [Request] { state.current.cut }

    public func waitForRequests(_ count: Int) throws -> [Request] {
        try Harness.wait(for: "\(count) requests at \(endpoint)") { requestCount >= count }
        return requests
    }

    public func waitForOpenConnections(_ count: Int) throws {
        try Harness.wait(for: "\(count) open connections at \(endpoint), now \(openConnectionCount)") {
            openConnectionCount == count
        }
    }

    private static func accept(
        _ listener: Int32, _ state: Locked<State>, _ timeoutMs: Int, _ serve: @escaping @Sendable (UpstreamConnection) -> Void
    ) {
        while true {
            var wanted = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
            _ = poll(&wanted, 1, -1)
            var address = sockaddr_storage()
            var length = UInt32(MemoryLayout<sockaddr_storage>.size)
            let fd = clinux_accept(listener, &address, &length)
            // A unix socket that was shut down says so to poll alone.
            if fd == -EAGAIN, wanted.revents & Int16(POLLHUP) != 0 { return }
            if fd == -EAGAIN || fd == -EINTR || fd == -ECONNABORTED { continue }
            if fd < 0 { return }
            let connection = state.with { s in
                let connection = UpstreamConnection(Stream(fd: fd, timeoutMs: timeoutMs), number: s.connections, state)
                s.connections += 1
                s.open[connection.number] = connection
                return connection
            }
            onThread {
                serve(connection)
                connection.stream.close()
                state.with { _ = $0.open.removeValue(forKey: connection.number) }
            }
        }
    }
}

/// One accepted connection, in the hands of the script.
public final class UpstreamConnection: Sendable {
    public let stream: Stream
    /// From 0, in the order of acceptance.
    public let number: Int
    private let state: Locked<Upstream.State>
    private let isDone = Locked(false)
    /// True when the present request asks for the end of the connection.
    private let isLast = Locked(false)

    init(_ stream: Stream, number: Int, _ state: Locked<Upstream.State>) {
        self.stream = stream
        self.number = number
        self.state = state
    }

    public func send(_ text: String) throws { try stream.send(text) }
    public func send(_ bytes: [UInt8]) throws { try stream.send(bytes) }

    /// A response with Content-Length.
    public func answer(_ status: String = "200 OK", _ fields: [String] = [], body: String = "") throws {
        let lines = ["HTTP/1.1 \(status)"] + fields + connectionField(fields) + ["Content-Length: \(body.utf8.count)"]
        try send(lines.joined(separator: "\r\n") + "\r\n\r\n" + body)
    }

    /// A chunked response, one chunk a piece.
    public func answerChunked(_ pieces: [String], _ fields: [String] = [], trailers: [String] = []) throws {
        let lines = ["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"] + fields + connectionField(fields)
        try send(lines.joined(separator: "\r\n") + "\r\n\r\n")
        for piece in pieces { try send(String(piece.utf8.count, radix: 16) + "\r\n" + piece + "\r\n") }
        try send((["0"] + trailers).joined(separator: "\r\n") + "\r\n\r\n")
    }

    /// A server that ends the connection says so, or the proxy would keep a connection that is about to close.
    private func connectionField(_ fields: [String]) -> [String] {
        isLast.current && !fields.contains { $0.lowercased().hasPrefix("connection:") } ? ["Connection: close"] : []
    }

    /// Ends the connection in an orderly way once the script returns; no further request is read.
    public func close() {
        stream.close()
        isDone.with { $0 = true }
    }
    public func reset() {
        stream.reset()
        isDone.with { $0 = true }
    }

    /// Never answers: reads until the proxy ends the connection, and says how it did.
    @discardableResult
    public func hold() -> StreamEnd {
        isDone.with { $0 = true }
        return stream.readToEnd().end
    }

    func run(_ script: () throws -> Void) {
        do { try script() } catch {
            if error as? StreamEnd != .closed { state.with { $0.failures.append("connection \(number): \(error)") } }
        }
    }

    func serveRequests(readsBodies: Bool, _ handler: Upstream.Handler) throws {
        var sequence = 0
        while !isDone.current {
            var request = Request()
            request.head = try stream.readHead()
            request.connection = number
            request.sequence = sequence
            let endsAfter = request.version == "HTTP/1.0" || request["Connection"]?.lowercased() == "close"
            isLast.with { $0 = endsAfter }
            if readsBodies {
                do {
                    var body: [UInt8] = []
                    request.trailers = try stream.readRequestBody(request.head) { body += $0 }
                    request.body = body
                } catch {
                    state.with { [request] in $0.cut.append(request) }
                    throw error
                }
            }
            state.with { [request] in $0.requests.append(request) }
            try handler(request, self)
            sequence += 1
            if endsAfter { return }
        }
    }
}
