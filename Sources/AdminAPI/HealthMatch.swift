// What an answer to a health check must be like, said with the check itself: the lines of a `match` block as JSON.
// Read by the codec of health checks, by the export and by Control, which compiles it with the reader of the block.

/// A `match` without a name. Each text is what the block has behind the line's word; the value behind `=`, `!=`, `~` and the like goes on
/// to the end and is taken as it is, without quotes.
public struct HealthMatch: Sendable, Hashable {
    /// `200-299 !204`.
    public var status: String?
    /// `NAME`, `! NAME`, `NAME = VALUE`, `NAME ~ REGEX`.
    public var headers: [String] = []
    /// `~ REGEX`, `!~ REGEX`.
    public var bodies: [String] = []
    /// For tcp.
    public var send: String?
    /// A text, or `~ REGEX`.
    public var expect: String?

    public init() {}

    static let linesMax = 32

    /// The lines as the block has them, each with where in the JSON it stands: status, headers, bodies, send, expect.
    public var lines: [(pointer: String, words: [String])] {
        var all: [(pointer: String, words: [String])] = []
        if let status { all.append(("/status", ["status"] + status.split(separator: " ").map(String.init))) }
        for (i, text) in headers.enumerated() { all.append(("/header/\(i)", ["header"] + Self.words(text, most: text.hasPrefix("! ") ? 2 : 3))) }
        for (i, text) in bodies.enumerated() { all.append(("/body/\(i)", ["body"] + Self.words(text, most: 2))) }
        if let send { all.append(("/send", ["send", send])) }
        if let expect {
            let isExpression = expect.hasPrefix("~ ") || expect.hasPrefix("~* ")
            all.append(("/expect", ["expect"] + (isExpression ? Self.words(expect, most: 2) : [expect])))
        }
        return all
    }

    /// The last of them has the rest.
    private static func words(_ text: String, most: Int) -> [String] {
        text.split(separator: " ", maxSplits: most - 1, omittingEmptySubsequences: false).map(String.init)
    }

    /// The kinds of lines, in the order of `lines`.
    public static let kinds = ["status", "header", "body", "send", "expect"]

    /// Lines and their lengths; what they say is for whoever compiles them.
    func checkFields() throws(Problem) {
        let lines = lines
        if lines.count > Self.linesMax {
            throw Problem(.outOfRange, "found \(lines.count) lines, expected at most \(Self.linesMax)", pointer: "")
        }
        for (pointer, words) in lines {
            let bytes = words.reduce(0) { $0 + $1.utf8.count }
            if bytes > StateBounds.textBytesMax {
                throw Problem(.outOfRange, "found \(bytes) bytes, expected at most \(StateBounds.textBytesMax)", pointer: pointer)
            }
        }
    }
}

extension HealthMatch: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        self.init()
        try json.forEachMember(of: "a match", known: Self.kinds.sorted()) { (name, value) throws(Problem) in
            switch name {
            case "status": status = try value.decodeOptionalString()
            case "header": headers = try value.list("a list of texts") { (json) throws(Problem) in try json.decodeString() }
            case "body": bodies = try value.list("a list of texts") { (json) throws(Problem) in try json.decodeString() }
            case "send": send = try value.decodeOptionalString()
            case "expect": expect = try value.decodeOptionalString()
            default: return false
            }
            return true
        }
    }

    public var json: JSON {
        .members([
            "body": bodies.isEmpty ? nil : .array(bodies.map { .string($0) }), "expect": expect.map { .string($0) },
            "header": headers.isEmpty ? nil : .array(headers.map { .string($0) }), "send": send.map { .string($0) },
            "status": status.map { .string($0) },
        ])
    }
}
