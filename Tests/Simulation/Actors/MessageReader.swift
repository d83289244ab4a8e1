// A minimal reader of HTTP/1 messages for the actors: strict about what it needs, blind to the rest.
// It shares nothing with the parser under test, so that the two cannot be wrong together.

package struct TestHead: Sendable {
    package var startLine: String
    /// Names in lower case.
    package var fields: [(name: String, value: String)]

    package func field(_ name: String) -> String? { fields.first { $0.name == name }?.value }
    package func fields(_ name: String) -> [String] { fields.filter { $0.name == name }.map(\.value) }

    private var words: [Substring] { startLine.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false) }
    package var method: String { words.first.map(String.init) ?? "" }
    package var target: String { words.count > 1 ? String(words[1]) : "" }
    package var status: Int { words.count > 1 ? Int(words[1]) ?? 0 : 0 }
}

/// FNV-1a, by which bodies are compared without being kept.
package struct BodyDigest: Equatable, Sendable {
    package private(set) var count = 0
    package private(set) var hash: UInt64 = 0xCBF2_9CE4_8422_2325

    package init() {}
    package init(_ bytes: [UInt8]) {
        self.init()
        add(bytes)
    }

    package mutating func add(_ bytes: some Sequence<UInt8>) {
        for byte in bytes {
            hash = (hash ^ UInt64(byte)) &* 0x0000_0100_0000_01B3
            count += 1
        }
    }
}

package struct MessageReader {
    package enum Event {
        case head(TestHead)
        case body([UInt8])
        /// The message is whole.
        case end
        /// Bytes after an upgrade.
        case raw([UInt8])
        case bad(String)
    }

    private enum State {
        case head
        case length(Int)
        case chunkSize, chunk(Int), chunkEnd, trailers
        case untilEnd, raw, broken
    }

    private let readsRequests: Bool
    private var state = State.head
    private var pending: [UInt8] = []
    /// Responses: whether the answer to come is one to HEAD, asked when its head is read.
    package var nextAnswersHead: () -> Bool = { false }
    /// Requests: an upgrade that was accepted; what follows is raw.
    package mutating func becomeRaw() { state = .raw }

    package init(readsRequests: Bool) { self.readsRequests = readsRequests }

    /// Whether a message has begun and is not whole.
    package var isInMessage: Bool {
        if case .head = state { return !pending.isEmpty }
        if case .raw = state { return false }
        return true
    }

    /// The stream ended. True when that makes the message whole or nothing had begun.
    package mutating func streamEnded() -> Bool {
        switch state {
        case .head: return pending.isEmpty
        case .untilEnd, .raw: return true
        default: return false
        }
    }

    package var isUntilEnd: Bool {
        if case .untilEnd = state { return true }
        return false
    }

    /// Takes the bytes that came, and tells `body` what they mean, in order. `body` may make the reader raw through its argument.
    package mutating func feed(_ bytes: [UInt8], _ body: (inout MessageReader, Event) -> Void) {
        pending += bytes
        while let event = step() { body(&self, event) }
    }

    private mutating func take(_ count: Int) -> [UInt8] {
        let out = Array(pending.prefix(count))
        pending.removeFirst(out.count)
        return out
    }

    private mutating func line() -> String? {
        guard let end = pending.firstIndex(of: 10) else { return nil }
        var text = take(end + 1)
        text.removeLast()
        if text.last == 13 { text.removeLast() }
        return String(decoding: text, as: UTF8.self)
    }

    private mutating func step() -> Event? {
        switch state {
        case .head: return head()
        case .length(let left):
            if left == 0 { return end() }
            if pending.isEmpty { return nil }
            let piece = take(left)
            state = .length(left - piece.count)
            return .body(piece)
        case .chunkSize:
            guard let text = line() else { return nil }
            guard let size = Int(text.prefix { $0 != ";" && $0 != " " }, radix: 16) else { return bad("chunk size '\(text)'") }
            state = size == 0 ? .trailers : .chunk(size)
            return step()
        case .chunk(let left):
            if left == 0 {
                state = .chunkEnd
                return step()
            }
            if pending.isEmpty { return nil }
            let piece = take(left)
            state = .chunk(left - piece.count)
            return .body(piece)
        case .chunkEnd:
            guard let text = line() else { return nil }
            if !text.isEmpty { return bad("after a chunk '\(text)'") }
            state = .chunkSize
            return step()
        case .trailers:
            guard let text = line() else { return nil }
            return text.isEmpty ? end() : step()
        case .untilEnd: return pending.isEmpty ? nil : .body(take(pending.count))
        case .raw: return pending.isEmpty ? nil : .raw(take(pending.count))
        case .broken: return nil
        }
    }

    private mutating func end() -> Event {
        state = .head
        return .end
    }

    private mutating func bad(_ reason: String) -> Event {
        state = .broken
        return .bad(reason)
    }

    private mutating func head() -> Event? {
        let mark: [UInt8] = [13, 10, 13, 10]
        guard pending.count >= 4, let end = (0...pending.count - 4).first(where: { Array(pending[$0..<$0 + 4]) == mark }) else {
            return pending.count > 1 << 20 ? bad("a head without end") : nil
        }
        let text = String(decoding: take(end + 4).dropLast(4), as: UTF8.self)
        // Not split by character: carriage return and line feed are one character in Swift.
        var lines: [String] = []
        for line in text.utf8.split(separator: 10) {
            lines.append(String(decoding: line.last == 13 ? line.dropLast() : line, as: UTF8.self))
        }
        guard let first = lines.first else { return bad("an empty head") }
        var head = TestHead(startLine: first, fields: [])
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { return bad("a field without a colon: '\(line)'") }
            let value = line[line.index(after: colon)...].trimmed
            head.fields.append((line[..<colon].lowercased(), value))
        }
        return begin(head)
    }

    private mutating func begin(_ head: TestHead) -> Event {
        if !readsRequests {
            if !head.startLine.hasPrefix("HTTP/1.") || head.status < 100 { return bad("status line '\(head.startLine)'") }
            if head.status == 101 {
                state = .raw
                return .head(head)
            }
            if head.status < 200 { return .head(head) }
            if nextAnswersHead() || head.status == 204 || head.status == 304 {
                state = .length(0)
                return .head(head)
            }
        }
        if head.field("transfer-encoding")?.lowercased().hasSuffix("chunked") == true {
            if head.field("content-length") != nil { return bad("both a length and chunks") }
            state = .chunkSize
        } else if let text = head.field("content-length") {
            guard let length = Int(text), length >= 0 else { return bad("content-length '\(text)'") }
            state = .length(length)
        } else {
            state = readsRequests ? .length(0) : .untilEnd
        }
        return .head(head)
    }
}

extension Substring {
    var trimmed: String {
        var text = self
        while let c = text.first, c == " " || c == "\t" { text.removeFirst() }
        while let c = text.last, c == " " || c == "\t" { text.removeLast() }
        return String(text)
    }
}
