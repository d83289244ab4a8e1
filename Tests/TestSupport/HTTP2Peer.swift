// Owns the server's end of an HTTP/2 connection in the hands of a script: frames are written by hand, so that a test can break any rule.
// Called by the suites, on connections of an `Upstream`. Only the reading of field blocks is left to libnghttp2.

import Foundation

public final class HTTP2Peer {
    public struct Frame: Sendable {
        public var type: UInt8
        public var flags: UInt8
        public var stream: Int
        public var payload: [UInt8]
        public static let data: UInt8 = 0
        public static let headers: UInt8 = 1
        public static let reset: UInt8 = 3
        public static let settings: UInt8 = 4
        public static let ping: UInt8 = 6
        public static let goaway: UInt8 = 7
        public static let windowUpdate: UInt8 = 8
        public static let continuation: UInt8 = 9
        public init(type: UInt8, flags: UInt8, stream: Int, payload: [UInt8]) {
            self.type = type
            self.flags = flags
            self.stream = stream
            self.payload = payload
        }

        public var endsStream: Bool { (type == Self.data || type == Self.headers) && flags & 1 != 0 }
    }

    /// A request as it came.
    public struct Request: Sendable {
        public var stream = 0
        public var fields: [(name: String, value: String)] = []
        public var body: [UInt8] = []
        public var hasEnded = false
        public subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }
        public var path: String { self[":path"] ?? "" }
        public var text: String { String(decoding: body, as: UTF8.self) }
    }

    public enum Setting: UInt16, Sendable { case tableSize = 1, maxStreams = 3, window = 4, maxFrame = 5 }

    public let connection: UpstreamConnection
    /// Windows are opened for what is read.
    public var opensWindows = true
    /// Frames that were read and belong to no request.
    public private(set) var others: [Frame] = []
    private let reader = FieldReader()
    private var requests: [Int: Request] = [:]

    /// Reads the client's preface and sends the settings.
    public init(_ connection: UpstreamConnection, _ settings: [(Setting, UInt32)] = []) throws {
        self.connection = connection
        let preface = try connection.stream.read(exactly: 24)
        guard preface.elementsEqual("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) else { throw StreamEnd.malformed("no preface") }
        try self.settings(settings)
    }

    // MARK: Writing

    public func send(_ frames: Frame...) throws {
        try connection.send(frames.flatMap(Self.bytes))
    }

    public static func bytes(_ f: Frame) -> [UInt8] {
        let n = f.payload.count
        let id = UInt32(f.stream)
        return [UInt8(n >> 16 & 255), UInt8(n >> 8 & 255), UInt8(n & 255), f.type, f.flags] + word(id) + f.payload
    }

    private static func word(_ n: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: n >> UInt32(24 - 8 * $0)) } }

    /// Literals without indexing, as they are.
    public static func block(_ fields: [(String, String)]) -> [UInt8] {
        fields.flatMap { name, value in [0] + string(name) + string(value) }
    }

    private static func string(_ text: String) -> [UInt8] {
        var n = text.utf8.count
        if n < 127 { return [UInt8(n)] + Array(text.utf8) }
        var bytes: [UInt8] = [127]
        n -= 127
        while n >= 128 {
            bytes.append(UInt8(n & 127) | 128)
            n >>= 7
        }
        return bytes + [UInt8(n)] + Array(text.utf8)
    }

    public func settings(_ settings: [(Setting, UInt32)]) throws { try send(Self.settingsFrame(settings)) }

    public static func settingsFrame(_ settings: [(Setting, UInt32)]) -> Frame {
        let payload = settings.flatMap { [UInt8($0.0.rawValue >> 8), UInt8($0.0.rawValue & 255)] + word($0.1) }
        return Frame(type: Frame.settings, flags: 0, stream: 0, payload: payload)
    }

    public static func windowUpdate(_ stream: Int, _ bytes: Int) -> Frame {
        Frame(type: Frame.windowUpdate, flags: 0, stream: stream, payload: word(UInt32(bytes)))
    }

    public static func resetFrame(_ stream: Int, _ error: UInt32 = 8) -> Frame {
        Frame(type: Frame.reset, flags: 0, stream: stream, payload: word(error))
    }

    public static func headers(_ stream: Int, _ fields: [(String, String)], end: Bool = false) -> Frame {
        Frame(type: Frame.headers, flags: end ? 5 : 4, stream: stream, payload: block(fields))
    }

    public static func data(_ stream: Int, _ text: String, end: Bool = true) -> Frame {
        Frame(type: Frame.data, flags: end ? 1 : 0, stream: stream, payload: Array(text.utf8))
    }

    /// A whole response; `body` nil: no DATA.
    public func answer(
        _ stream: Int, _ status: Int = 200, _ fields: [(String, String)] = [], body: String? = nil, trailers: [(String, String)] = []
    ) throws {
        var frames = [Self.headers(stream, [(":status", "\(status)")] + fields, end: body == nil && trailers.isEmpty)]
        if let body { frames.append(Self.data(stream, body, end: trailers.isEmpty)) }
        if !trailers.isEmpty { frames.append(Self.headers(stream, trailers, end: true)) }
        try connection.send(frames.flatMap(Self.bytes))
    }

    public func reset(_ stream: Int, _ error: UInt32) throws {
        try send(Frame(type: Frame.reset, flags: 0, stream: stream, payload: Self.word(error)))
    }

    public func goaway(last: Int, _ error: UInt32 = 0) throws {
        try send(Frame(type: Frame.goaway, flags: 0, stream: 0, payload: Self.word(UInt32(last)) + Self.word(error)))
    }

    public func openWindow(_ stream: Int, _ bytes: Int) throws {
        try send(Frame(type: Frame.windowUpdate, flags: 0, stream: stream, payload: Self.word(UInt32(bytes))))
    }

    // MARK: Reading

    /// The next frame; settings and pings are acknowledged on the way.
    public func frame() throws -> Frame {
        let head = try connection.stream.read(exactly: 9)
        let count = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
        let stream = Int(head[5] & 127) << 24 | Int(head[6]) << 16 | Int(head[7]) << 8 | Int(head[8])
        let frame = Frame(type: head[3], flags: head[4], stream: stream, payload: try connection.stream.read(exactly: count))
        if frame.type == Frame.settings || frame.type == Frame.ping, frame.flags & 1 == 0 {
            let payload = frame.type == Frame.ping ? frame.payload : []
            try send(Frame(type: frame.type, flags: 1, stream: 0, payload: payload))
        }
        return frame
    }

    /// Reads frames until `isLast` says of one that it was awaited.
    @discardableResult
    public func frames(until isLast: (Frame) -> Bool) throws -> [Frame] {
        var all: [Frame] = []
        while true {
            let next = try frame()
            all.append(next)
            try take(next)
            if isLast(next) { return all }
        }
    }

    /// The next request whose head is there, or all of it unless `whole` is false.
    public func request(whole: Bool = true) throws -> Request {
        while true {
            if let found = requests.values.filter({ $0.hasEnded || !whole }).min(by: { $0.stream < $1.stream }) {
                if found.hasEnded || !whole { requests[found.stream] = nil }
                return found
            }
            try take(try frame())
        }
    }

    /// What has come of a request's body by now.
    public func bodyCount(_ stream: Int) -> Int { requests[stream]?.body.count ?? 0 }

    private func take(_ f: Frame) throws {
        switch f.type {
        case Frame.headers, Frame.continuation:
            var request = requests[f.stream] ?? Request(stream: f.stream)
            request.fields += try reader.fields(f.payload, isLast: f.flags & 4 != 0)
            if f.type == Frame.headers, f.flags & 1 != 0 { request.hasEnded = true }
            requests[f.stream] = request
        case Frame.data:
            requests[f.stream, default: Request(stream: f.stream)].body += f.payload
            if f.flags & 1 != 0 { requests[f.stream]?.hasEnded = true }
            if opensWindows, !f.payload.isEmpty {
                // In one send: two small ones would wait for an acknowledgement in between.
                let update = Frame(type: Frame.windowUpdate, flags: 0, stream: 0, payload: Self.word(UInt32(f.payload.count)))
                var ofStream = update
                ofStream.stream = f.stream
                try connection.send(Self.bytes(update) + (f.flags & 1 == 0 ? Self.bytes(ofStream) : []))
            }
        default: others.append(f)
        }
    }
}

extension Upstream {
    /// A server whose every connection is HTTP/2. What the script throws ends the connection.
    public convenience init(
        http2 endpoint: Endpoint? = nil, _ settings: [(HTTP2Peer.Setting, UInt32)] = [],
        _ script: @escaping @Sendable (HTTP2Peer) throws -> Void
    ) throws {
        try self.init(raw: endpoint) { connection in
            connection.run { try script(try HTTP2Peer(connection, settings)) }
        }
    }
}
