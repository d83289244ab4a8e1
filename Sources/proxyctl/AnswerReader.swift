// Owns the reading of one HTTP/1.1 answer as its bytes come, in any pieces (RFC 9112): head, length, chunks, end.
// Called by AdminClient. Pure: it knows no socket. It refuses what is larger than its bounds.

struct AnswerReader {
    /// What the bytes so far amount to.
    enum Progress: Equatable {
        case head, body, done
        case bad(String)
    }

    static let headBytesMax = 64 << 10
    /// A state has at most 8 MiB; a revision with its state in JSON a little more.
    static let bodyBytesMax = 64 << 20

    private(set) var progress = Progress.head
    private(set) var status = 0
    private(set) var fields: [(name: String, value: String)] = []
    private(set) var body: [UInt8] = []

    private var input: [UInt8] = []
    /// How far the head was searched for its end, and where the line in hand begins.
    private var scanned = 0
    private var lineStart = 0
    private var framing = Framing.untilEnd
    private let hasNoBody: Bool

    private enum Framing: Equatable {
        case left(Int)
        case untilEnd
        case chunkSize
        case chunk(Int)
        case chunkEnd, trailers
    }

    /// `method` is that of the request.
    init(to method: String = "GET") { hasNoBody = method == "HEAD" }

    subscript(_ name: String) -> String? {
        fields.first { $0.name.lowercased() == name.lowercased() }?.value
    }

    /// What has come of the body since this was last asked.
    mutating func takeBody() -> [UInt8] {
        defer { body = [] }
        return body
    }

    mutating func feed(_ bytes: some Sequence<UInt8>) {
        guard progress == .head || progress == .body else { return }
        input += bytes
        while step() {}
    }

    /// The peer has ended the connection.
    mutating func end() {
        switch progress {
        case .head:
            progress = .bad(
                input.isEmpty ? "the connection ended without an answer" : "the connection ended in the head of the answer")
        case .body: progress = framing == .untilEnd ? .done : .bad("the connection ended in the middle of the answer")
        case .done, .bad: break
        }
    }

    /// One step; false: nothing more to do with what there is.
    private mutating func step() -> Bool {
        switch progress {
        case .done, .bad: return false
        case .head: return readHead()
        case .body: break
        }
        switch framing {
        case .untilEnd:
            take(input.count)
            return false
        case .left(let count):
            let taken = take(min(count, input.count))
            framing = .left(count - taken)
            if count == taken { progress = .done }
            return false
        case .chunk(let count):
            let taken = take(min(count, input.count))
            framing = count == taken ? .chunkEnd : .chunk(count - taken)
            return taken == count
        case .chunkSize: return readChunkSize()
        case .chunkEnd:
            guard let line = readLine(max: 2) else { return false }
            if !line.isEmpty { progress = .bad("a chunk of the answer has no end") }
            framing = .chunkSize
            return true
        case .trailers:
            guard let line = readLine(max: Self.headBytesMax) else { return false }
            if line.isEmpty { progress = .done }
            return true
        }
    }

    private mutating func readHead() -> Bool {
        guard let end = headEnd() else {
            if input.count > Self.headBytesMax { progress = .bad("the head of the answer is too large") }
            return false
        }
        var lines = input[..<end].split(separator: UInt8(ascii: "\n")).map { line in
            String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
        }
        input.removeFirst(end)
        (scanned, lineStart) = (0, 0)
        guard let start = lines.first, start.hasPrefix("HTTP/1."), let number = Int(start.dropFirst(9).prefix(3)),
            (100...599).contains(number)
        else {
            progress = .bad("the answer is not HTTP/1.1")
            return false
        }
        lines.removeFirst()
        // Interim answers (1xx) have a head alone; another follows.
        if number < 200 { return true }
        status = number
        fields = lines.compactMap { line in
            guard let colon = line.firstIndex(of: ":") else { return nil }
            let value = line[line.index(after: colon)...].drop { $0 == " " || $0 == "\t" }
            return (String(line[..<colon]), String(value))
        }
        progress = .body
        return frame()
    }

    private mutating func frame() -> Bool {
        if hasNoBody || status == 204 || status == 304 {
            progress = .done
        } else if let coding = self["Transfer-Encoding"] {
            framing = .chunkSize
            if coding.lowercased() != "chunked" { progress = .bad("the answer is coded as \(coding)") }
        } else if let text = self["Content-Length"] {
            guard let length = Int(text), length >= 0 else {
                progress = .bad("the answer has the length \(text)")
                return false
            }
            framing = .left(length)
            if length > Self.bodyBytesMax { progress = .bad("the answer has \(length) bytes, more than \(Self.bodyBytesMax)") }
        }
        return true
    }

    /// Where the first empty line ends. No byte is looked at twice, however small the pieces are.
    private mutating func headEnd() -> Int? {
        while scanned < input.count {
            let i = scanned
            scanned += 1
            if input[i] != UInt8(ascii: "\n") { continue }
            let isEmpty = i == lineStart || (i == lineStart + 1 && input[i - 1] == UInt8(ascii: "\r"))
            lineStart = scanned
            if isEmpty { return scanned }
        }
        return nil
    }

    private mutating func readChunkSize() -> Bool {
        guard let line = readLine(max: 1024) else { return false }
        guard let size = Int(line.prefix { $0.isHexDigit }, radix: 16), size <= Self.bodyBytesMax else {
            progress = .bad("a chunk of the answer has no size")
            return false
        }
        framing = size == 0 ? .trailers : .chunk(size)
        return true
    }

    /// A whole line, without its end.
    private mutating func readLine(max bytesMax: Int) -> String? {
        guard let end = input.firstIndex(of: UInt8(ascii: "\n")) else {
            if input.count > bytesMax { progress = .bad("a line of the answer is too long") }
            return nil
        }
        var line = input[..<end]
        if line.last == UInt8(ascii: "\r") { line.removeLast() }
        let text = String(decoding: line, as: UTF8.self)
        input.removeFirst(end + 1)
        return text
    }

    @discardableResult private mutating func take(_ count: Int) -> Int {
        body += input[..<count]
        input.removeFirst(count)
        if body.count > Self.bodyBytesMax { progress = .bad("the answer has more than \(Self.bodyBytesMax) bytes") }
        return count
    }
}
