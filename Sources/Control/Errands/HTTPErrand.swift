// One HTTP request that a thread may wait for: connects, sends, reads to the end, all before a deadline.
// Sent by responders' desk and by rollouts, from threads of `ErrandThreads`. Never called by a worker.

import CLinux
import Engine
import HTTPMessage

/// `http://HOST[:PORT][/PATH]`, or `https://...`.
struct ErrandURL: Sendable, Equatable {
    let usesTLS: Bool
    /// As it stands: an IPv6 address has its brackets.
    let host: String
    let port: UInt16
    let path: String

    init?(_ text: String) {
        usesTLS = text.lowercased().hasPrefix("https://")
        guard let parts = ResponderURL(usesTLS ? "http://" + text.dropFirst(8) : text) else { return nil }
        host = parts.host
        path = parts.path
        let authority = text.split(separator: "/", maxSplits: 2, omittingEmptySubsequences: true).dropFirst().first ?? ""
        let hasPort = authority.count > parts.host.count
        port = usesTLS && !hasPort ? 443 : parts.port
    }

    /// A path on a server of an upstream.
    init(server: String, path: String) {
        usesTLS = false
        host = server
        port = 0
        self.path = path
    }

    var bareHost: String { host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host }

    var hostField: String { port == 0 || port == (usesTLS ? 443 : 80) ? host : "\(host):\(port)" }
}

struct HTTPErrand: Sendable {
    enum Failure: Error, Equatable {
        case timedOut, tooMuch, closedEarly, invalid, noAddress
        /// With the kernel's words.
        case call(String)

        var words: String {
            switch self {
            case .timedOut: "no answer in time"
            case .tooMuch: "the answer is too long"
            case .closedEarly: "the connection was closed before the answer was whole"
            case .invalid: "the answer is no HTTP"
            case .noAddress: "the host is not known"
            case .call(let words): words
            }
        }
    }

    struct Answer: Sendable {
        var status = 0
        /// Lines of the head, without the first.
        var lines: [String] = []
        var body: [UInt8] = []

        func field(_ name: String) -> String? {
            for line in lines where line.lowercased().hasPrefix(name + ":") {
                var value = line.dropFirst(name.utf8.count + 1).drop { $0 == " " || $0 == "\t" }
                while value.last == " " || value.last == "\t" { value.removeLast() }
                return String(value)
            }
            return nil
        }
    }

    var method = "GET"
    var url: ErrandURL
    /// `sockaddr` bytes; empty: the system's resolver is asked.
    var addresses: [[UInt8]] = []
    /// Lines of the head besides Host, Content-Length and Connection.
    var lines: [String] = []
    var body: [UInt8] = []
    /// The end of the connection is the end of the answer, whatever it says.
    var isHTTP10 = false
    var timeoutNs: UInt64
    var bytesMax: Int

    init(_ url: ErrandURL, timeoutNs: UInt64, bytesMax: Int) {
        self.url = url
        self.timeoutNs = timeoutNs
        self.bytesMax = bytesMax
    }

    func run() throws(Failure) -> Answer {
        let deadline = ControlClock.system.monotonicNs() + timeoutNs
        var addresses = addresses
        if addresses.isEmpty { addresses = LinuxSystemFiles().resolve(url.bareHost, port: url.port).map(\.bytes) }
        var failure = Failure.noAddress
        for address in addresses {
            do throws(Failure) {
                let connection = try ErrandConnection(address, deadline)
                return try exchange(connection)
            } catch { failure = error }
            if failure == .timedOut { break }
        }
        throw failure
    }

    private func exchange(_ connection: ErrandConnection) throws(Failure) -> Answer {
        if url.usesTLS { try connection.beginTLS(host: url.bareHost) }
        var head = "\(method) \(url.path) HTTP/1.\(isHTTP10 ? 0 : 1)\r\nHost: \(url.hostField)\r\n"
        for line in lines { head += line + "\r\n" }
        if !isHTTP10 { head += "Connection: close\r\n" }
        if !body.isEmpty || method == "POST" { head += "Content-Length: \(body.count)\r\n" }
        try connection.send(Array((head + "\r\n").utf8) + body)
        var received: [UInt8] = []
        while true {
            if let whole = try Self.parse(received, isHTTP10: isHTTP10, isOver: false, isHead: method == "HEAD") { return whole }
            let more = try connection.receive()
            if more.isEmpty { break }
            received += more
            if received.count > bytesMax { throw .tooMuch }
        }
        guard let whole = try Self.parse(received, isHTTP10: isHTTP10, isOver: true, isHead: method == "HEAD") else { throw .closedEarly }
        return whole
    }

    // MARK: The answer

    /// Nil: more is to come.
    static func parse(_ bytes: [UInt8], isHTTP10: Bool, isOver: Bool, isHead: Bool = false) throws(Failure) -> Answer? {
        var answer = Answer()
        var from = 0
        var first: String?
        while let end = bytes[from...].firstIndex(of: 0x0A) {
            let line = String(decoding: bytes[from..<(end > from && bytes[end - 1] == 0x0D ? end - 1 : end)], as: UTF8.self)
            from = end + 1
            guard let start = first else {
                first = line
                continue
            }
            if !line.isEmpty {
                answer.lines.append(line)
                continue
            }
            let words = start.split(separator: " ")
            guard start.hasPrefix("HTTP/1."), words.count > 1, let status = Int(words[1]), (100...999).contains(status) else { throw .invalid }
            if status < 200, status != 101 {
                (answer.lines, first) = ([], nil)
                continue
            }
            answer.status = status
            return try body(of: answer, Array(bytes[from...]), isHTTP10: isHTTP10, isOver: isOver, isHead: isHead)
        }
        return nil
    }

    private static func body(of answer: Answer, _ rest: [UInt8], isHTTP10: Bool, isOver: Bool, isHead: Bool) throws(Failure) -> Answer? {
        var answer = answer
        answer.body = rest
        if isHTTP10 { return isOver ? answer : nil }
        if isHead || answer.status == 204 || answer.status == 304 { return answer }
        if answer.field("transfer-encoding")?.lowercased().hasSuffix("chunked") == true {
            guard let whole = try unchunked(rest) else { return nil }
            answer.body = whole
            return answer
        }
        if let text = answer.field("content-length") {
            guard let count = Int(text), count >= 0 else { throw .invalid }
            if rest.count < count { return nil }
            answer.body = Array(rest[..<count])
            return answer
        }
        return isOver ? answer : nil
    }

    private static func unchunked(_ bytes: [UInt8]) throws(Failure) -> [UInt8]? {
        var decoder = ChunkedDecoder()
        var offset = 0
        var content: [UInt8] = []
        while true {
            switch decoder.step(bytes.span, at: &offset) {
            case .needMore: return nil
            case .data(let start, let count): content += bytes[start..<start + count]
            case .lastChunk: return content
            case .bad: throw .invalid
            }
        }
    }
}
