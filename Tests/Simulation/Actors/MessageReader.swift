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

/// Cuts a stream into messages.
package final class MessageReader {
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
    /// How much of `pending` was taken already, and how far it was searched for the end of a head.
    private var first = 0
    private var searched = 0
    /// Responses: whether the answer to come is one to HEAD, asked when its head is read.
    package var nextAnswersHead: () -> Bool = { false }
    /// Requests: an upgrade that was accepted; what follows is raw.
    package func becomeRaw() { state = .raw }

    package init(readsRequests: Bool) { self.readsRequests = readsRequests }

    /// Whether a message has begun and is not whole.
    package var isInMessage: Bool {
        if case .head = state { return left > 0 }
        if case .raw = state { return false }
        return true
    }

    /// The stream ended. True when that makes the message whole or nothing had begun.
    package func streamEnded() -> Bool {
        switch state {
        case .head: return left == 0
        case .untilEnd, .raw: return true
        default: return false
        }
    }

    package var isUntilEnd: Bool {
        if case .untilEnd = state { return true }
        return false
    }

    /// Takes the bytes that came, and tells `body` what they mean, in order.
    package func feed(_ bytes: [UInt8], _ body: (Event) -> Void) {
        pending += bytes
        while let event = step() { body(event) }
    }

    /// Gives no more events: the connection is gone.
    package func stop() { state = .broken }

    private var left: Int { pending.count - first }

    private func take(_ count: Int) -> [UInt8] {
        let end = first + min(count, left)
        let out = Array(pending[first..<end])
        first = end
        if left == 0 {
            pending = []
            first = 0
        }
        searched = first
        return out
    }

    private func line() -> String? {
        guard let end = pending[first...].firstIndex(of: 10) else { return nil }
        var text = take(end + 1 - first)
        text.removeLast()
        if text.last == 13 { text.removeLast() }
        return String(decoding: text, as: UTF8.self)
    }

    private func step() -> Event? {
        switch state {
        case .head: return head()
        case .length(let left):
            if left == 0 { return end() }
            if self.left == 0 { return nil }
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
            if self.left == 0 { return nil }
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
        case .untilEnd: return left == 0 ? nil : .body(take(left))
        case .raw: return left == 0 ? nil : .raw(take(left))
        case .broken: return nil
        }
    }

    private func end() -> Event {
        state = .head
        return .end
    }

    private func bad(_ reason: String) -> Event {
        state = .broken
        return .bad(reason)
    }

    private func head() -> Event? {
        guard let end = endOfHead() else { return left > 1 << 20 ? bad("a head without end") : nil }
        let text = String(decoding: take(end - first).dropLast(4), as: UTF8.self)
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

    /// Where the empty line ends.
    private func endOfHead() -> Int? {
        while let feed = pending[searched...].firstIndex(of: 10) {
            searched = feed + 1
            if feed - first >= 3, pending[feed - 1] == 13, pending[feed - 2] == 10, pending[feed - 3] == 13 { return feed + 1 }
        }
        searched = pending.count
        return nil
    }

    private func begin(_ head: TestHead) -> Event {
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
