// Owns both ends of a tunnel: how a client asks for one and how a scripted upstream accepts it, as a WebSocket does.
// Called by the suites. The bytes inside mean nothing to it.

extension RawClient {
    /// Asks for a tunnel and reads the head of the answer; `early` is sent right behind the request.
    public func upgrade(_ target: String = "/", _ fields: [String] = [], early: String = "") throws -> Head {
        try send(Self.text("GET", target, ["Connection: Upgrade", "Upgrade: chat"] + fields) + early)
        return try stream.readHead()
    }

    /// Sends `text` and reads as many bytes back.
    public func echo(_ text: String) throws -> String {
        try send(text)
        return String(decoding: try stream.read(exactly: text.utf8.count), as: UTF8.self)
    }
}

extension UpstreamConnection {
    /// Accepts the tunnel; `early` is sent right behind the head.
    public func acceptUpgrade(early: String = "") throws {
        try send("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: chat\r\n\r\n" + early)
    }

    /// Sends back what comes until the other side ends, then ends too.
    public func echoToEnd() throws {
        while case let some = try stream.read(), !some.isEmpty { try send(some) }
        close()
    }
}
