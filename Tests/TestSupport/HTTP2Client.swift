// Owns the reading of field blocks, and the client's end of an HTTP/2 connection in the hands of a test: frames are written by hand.
// Called by the suites and by HTTP2Peer.

import CNghttp2
import Foundation

/// Field blocks of one direction of a connection, in the order they come.
final class FieldReader {
    private var inflater: OpaquePointer?

    init() { nghttp2_hd_inflate_new(&inflater) }
    deinit { if let inflater { nghttp2_hd_inflate_del(inflater) } }

    func fields(_ block: [UInt8], isLast: Bool) throws -> [(name: String, value: String)] {
        var found: [(name: String, value: String)] = []
        var offset = 0
        while true {
            var nv = nghttp2_nv()
            var flags: Int32 = 0
            let n = block.withUnsafeBufferPointer {
                nghttp2_hd_inflate_hd2(inflater, &nv, &flags, $0.baseAddress.map { $0 + offset }, $0.count - offset, isLast ? 1 : 0)
            }
            if n < 0 { throw StreamEnd.malformed("a field block that cannot be read") }
            offset += n
            if UInt32(flags) & NGHTTP2_HD_INFLATE_EMIT.rawValue != 0 {
                found.append((Self.text(nv.name, nv.namelen), Self.text(nv.value, nv.valuelen)))
                continue
            }
            if UInt32(flags) & NGHTTP2_HD_INFLATE_FINAL.rawValue != 0 { nghttp2_hd_inflate_end_headers(inflater) }
            if offset == block.count { return found }
        }
    }

    private static func text(_ start: UnsafeMutablePointer<UInt8>?, _ count: Int) -> String {
        String(decoding: UnsafeBufferPointer(start: start, count: count), as: UTF8.self)
    }
}

/// Speaks to the proxy with prior knowledge. Used by one thread.
public final class HTTP2Client {
    public typealias Frame = HTTP2Peer.Frame

    /// What has come of an answer.
    public struct Answer: Sendable {
        public var fields: [(name: String, value: String)] = []
        public var trailers: [(name: String, value: String)] = []
        /// Statuses of interim heads.
        public var interim: [String] = []
        public var body: [UInt8] = []
        public var hasHead = false
        public var hasEnded = false
        /// The error of RST_STREAM.
        public var resetCode: Int?
        /// Frames of DATA, and whether the head came with the end.
        public var dataFrames = 0
        public var headEnds = false
        public subscript(_ name: String) -> String? { fields.first { $0.name == name }?.value }
        public func trailer(_ name: String) -> String? { trailers.first { $0.name == name }?.value }
        public var status: String { self[":status"] ?? "" }
        public var text: String { String(decoding: body, as: UTF8.self) }
    }

    public let stream: Stream
    /// The proxy, which goes when nobody has it any more.
    private var proxy: Proxy?
    private let reader = FieldReader()
    private var answers: [Int: Answer] = [:]
    private var nextStream = 1
    /// The error of GOAWAY.
    public private(set) var goawayCode: Int?
    /// The last streams that frames of GOAWAY named, in their order.
    public private(set) var goawayStreams: [Int] = []
    /// Frames that belong to no answer, without the acknowledgement of settings.
    public private(set) var others: [Frame] = []
    /// Windows are opened for what is read.
    public var opensWindows = true
    public var answersPings = true

    /// A client of its own connection to a proxy, which lives as long as the client.
    public convenience init(_ proxy: Proxy) throws {
        try self.init(proxy.client().stream)
        self.proxy = proxy
    }

    /// `frames`: sent at once with what every connection begins with.
    public init(_ stream: Stream, _ settings: [(HTTP2Peer.Setting, UInt32)] = [], _ frames: [Frame] = []) throws {
        self.stream = stream
        let settings = HTTP2Peer.bytes(HTTP2Peer.settingsFrame(settings))
        try stream.send(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8) + settings + frames.flatMap(HTTP2Peer.bytes))
    }

    /// Begins a request; the fields that every request has come first. Returns its stream.
    public func begin(_ method: String, _ path: String, _ fields: [(String, String)] = [], end: Bool = true) throws -> Int {
        let id = nextStream
        nextStream += 2
        let first = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")]
        try stream.send(HTTP2Peer.bytes(HTTP2Peer.headers(id, first + fields, end: end)))
        return id
    }

    /// Begins a request with these fields and no others.
    public func begin(_ fields: [(String, String)], end: Bool = true) throws -> Int {
        let id = nextStream
        nextStream += 2
        try stream.send(HTTP2Peer.bytes(HTTP2Peer.headers(id, fields, end: end)))
        return id
    }

    /// The number of the next stream, which somebody else opens.
    public func skipStream() -> Int {
        defer { nextStream += 2 }
        return nextStream
    }

    /// A request and its whole answer.
    public func request(_ method: String = "GET", _ path: String = "/", _ fields: [(String, String)] = [], body: String? = nil) throws -> Answer {
        let id = try begin(method, path, fields, end: body == nil)
        if let body { try data(id, Array(body.utf8), end: true) }
        return try answer(id)
    }

    /// What has come of an answer by now.
    public func soFar(_ id: Int) -> Answer { answers[id] ?? Answer() }

    public func openWindow(_ id: Int, _ bytes: Int) throws { try send(HTTP2Peer.windowUpdate(id, bytes)) }

    /// Reads frames until `isEnough` holds; throws the end of the connection if that comes first.
    public func read(until isEnough: () -> Bool) throws { while !isEnough() { try take() } }

    /// Reads one frame.
    public func readOne() throws { try take() }

    /// Reads to the end of the connection; how it came.
    public func readToEnd() -> StreamEnd {
        while true {
            do { try take() } catch { return error as? StreamEnd ?? .reset }
        }
    }

    public func send(_ frames: Frame...) throws { try stream.send(frames.flatMap(HTTP2Peer.bytes)) }

    public func data(_ id: Int, _ bytes: [UInt8], end: Bool = false) throws {
        try send(Frame(type: Frame.data, flags: end ? 1 : 0, stream: id, payload: bytes))
    }

    /// Reads until what has come of the answer is what was awaited; its end is in any case.
    public func answer(_ id: Int, until isEnough: (Answer) -> Bool = { _ in false }) throws -> Answer {
        while true {
            if let known = answers[id], known.hasEnded || isEnough(known) { return known }
            try take()
        }
    }

    private func take() throws {
        let head = try stream.read(exactly: 9)
        let count = Int(head[0]) << 16 | Int(head[1]) << 8 | Int(head[2])
        let id = Int(head[6]) << 16 | Int(head[7]) << 8 | Int(head[8])
        let payload = try stream.read(exactly: count)
        let flags = head[4]
        switch head[3] {
        case Frame.settings: if flags & 1 == 0 { try send(Frame(type: Frame.settings, flags: 1, stream: 0, payload: [])) }
        case Frame.headers, Frame.continuation: takeFields(id, try reader.fields(payload, isLast: flags & 4 != 0), ends: flags & 1 != 0)
        case Frame.data:
            answers[id, default: Answer()].body += payload
            answers[id, default: Answer()].dataFrames += 1
            if flags & 1 != 0 { answers[id, default: Answer()].hasEnded = true }
            if count > 0, opensWindows {
                let size = [UInt8(0), UInt8(count >> 16), UInt8(count >> 8 & 255), UInt8(count & 255)]
                try send(Frame(type: Frame.windowUpdate, flags: 0, stream: 0, payload: size), Frame(type: Frame.windowUpdate, flags: 0, stream: id, payload: size))
            }
        case Frame.reset:
            answers[id, default: Answer()].resetCode = Int(payload[3])
            answers[id, default: Answer()].hasEnded = true
        case Frame.goaway:
            goawayCode = Int(payload[7])
            goawayStreams.append(payload[0..<4].reduce(0) { $0 << 8 | Int($1) })
        case Frame.ping where flags & 1 == 0:
            others.append(Frame(type: head[3], flags: flags, stream: id, payload: payload))
            if answersPings { try send(Frame(type: Frame.ping, flags: 1, stream: 0, payload: payload)) }
        default: others.append(Frame(type: head[3], flags: flags, stream: id, payload: payload))
        }
    }

    private func takeFields(_ id: Int, _ fields: [(name: String, value: String)], ends: Bool) {
        var answer = answers[id] ?? Answer()
        if answer.hasHead {
            answer.trailers += fields
        } else if let status = fields.first(where: { $0.name == ":status" })?.value, status.hasPrefix("1") {
            answer.interim.append(status)
        } else {
            answer.fields = fields
            answer.hasHead = true
            answer.headEnds = ends
        }
        if ends { answer.hasEnded = true }
        answers[id] = answer
    }
}
