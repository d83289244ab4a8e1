// Owns one connection to the proxy: what it asks, the bytes received, and the reading of an answer.
// Load drives it; nothing here waits or knows of switches.

import CKernel

final class Client {
    enum Kind { case busy, slow, tunnel }

    enum Outcome {
        case more
        case wrong(String)
        /// The tunnel stands.
        case opened
        /// The tunnel gave back what was sent.
        case echo
        /// A whole answer: the pool that names itself, the newest switch commanded when it was asked, and whether the proxy
        /// closes the connection now.
        case answer(variant: Int, commanded: Int, closes: Bool)
    }

    let index: Int
    let kind: Kind
    private(set) var fd: Int32 = -1
    /// Counts the requests, so that an answer to another one is seen.
    var number = 0
    var isWaiting = false
    var dueNs: Int64 = 0
    var sentNs: Int64 = 0
    /// The newest acknowledged switch when the request in flight was sent.
    var sentAcknowledged = 0
    private(set) var isTunnelOpen = false

    private var generation: UInt64 = 0
    private var received = [UInt8](repeating: 0, count: 4096)
    private var count = 0

    init(index: Int, kind: Kind) {
        self.index = index
        self.kind = kind
    }

    /// Names the connection in epoll: no later connection in this place has the same.
    var data: UInt64 { generation << 32 | UInt64(index) }

    func open(_ fd: Int32) {
        self.fd = fd
        generation += 1
        count = 0
        isTunnelOpen = false
    }

    /// The bytes to send next.
    var request: [UInt8] {
        if isTunnelOpen { return message }
        let path = "/\(kind == .busy ? "fast" : "\(kind)")/\(index)/\(number)"
        let upgrade = kind == .tunnel ? "Connection: upgrade\r\nUpgrade: echo\r\n" : ""
        return Array("GET \(path) HTTP/1.1\r\nHost: bench\r\n\(upgrade)\r\n".utf8)
    }

    private var message: [UInt8] { Array("message \(number) of tunnel \(index)\n".utf8) }

    /// What recv returned.
    func receive() -> Int {
        let free = received.count - count
        guard free > 0 else { return -Int(ENOBUFS) }
        let got = received.withUnsafeMutableBytes { kernel_receive(fd, $0.baseAddress! + count, free, 0) }
        if got > 0 { count += got }
        return got
    }

    func parse() -> Outcome {
        guard isWaiting else { return .wrong("bytes that nobody asked for") }
        if isTunnelOpen {
            let sent = message
            guard received[..<count].starts(with: sent[..<min(count, sent.count)]), count <= sent.count else {
                return .wrong("the tunnel gave back other bytes")
            }
            guard count == sent.count else { return .more }
            count = 0
            return .echo
        }
        guard let headEnd = headEnd(received, from: 0, to: count) else { return .more }
        if kind == .tunnel {
            guard received.starts(with: Self.tunnelOpens) else { return .wrong("\(firstLine) instead of a tunnel") }
            count = 0
            isTunnelOpen = true
            return .opened
        }
        guard received.starts(with: Self.answersWell) else { return .wrong(firstLine) }
        return parseAnswer(bodyBegin: headEnd)
    }

    private static let tunnelOpens = Array("HTTP/1.1 101 ".utf8)
    private static let answersWell = Array("HTTP/1.1 200 ".utf8)
    private static let contentLength = Array("\ncontent-length:".utf8)
    private static let connection = Array("\nconnection:".utf8)

    private var firstLine: String { String(decoding: received[..<count].prefix { $0 != 13 }.prefix(60), as: UTF8.self) }

    private func parseAnswer(bodyBegin: Int) -> Outcome {
        var length: Int?
        var closes = false
        for i in 0..<bodyBegin where received[i] == 10 {
            if isAt(i, Self.contentLength) {
                length = number(from: i + Self.contentLength.count)?.value
            } else if isAt(i, Self.connection) {
                closes = received[i + Self.connection.count + 1] | 0x20 == UInt8(ascii: "c")
            }
        }
        guard let length, bodyBegin + length < received.count else { return .wrong("an answer without a length") }
        guard count >= bodyBegin + length else { return .more }
        guard count == bodyBegin + length else { return .wrong("bytes behind the answer") }
        // POOL CONNECTION NUMBER COMMANDED
        let isBlue = received[bodyBegin] == UInt8(ascii: "b")
        guard let of = number(from: bodyBegin + (isBlue ? 4 : 5)), let which = number(from: of.end),
            let commanded = number(from: which.end), of.value == index, which.value == self.number
        else { return .wrong("the answer to another request") }
        count = 0
        return .answer(variant: isBlue ? 0 : 1, commanded: commanded.value, closes: closes)
    }

    /// Whether these lower-case bytes are at `i`.
    private func isAt(_ i: Int, _ word: [UInt8]) -> Bool {
        guard i + word.count <= count else { return false }
        for (offset, byte) in word.enumerated() {
            let found = received[i + offset]
            if found != byte, !(65...90).contains(found) || found | 0x20 != byte { return false }
        }
        return true
    }

    /// The digits behind at most one space.
    private func number(from begin: Int) -> (value: Int, end: Int)? {
        var i = begin
        if i < count, received[i] == UInt8(ascii: " ") { i += 1 }
        let digits = i
        var value = 0
        while i < count, (48...57).contains(received[i]), i - digits < 15 {
            value = value * 10 + Int(received[i] - 48)
            i += 1
        }
        return i > digits ? (value, i) : nil
    }
}
