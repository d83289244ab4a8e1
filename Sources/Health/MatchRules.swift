// What an answer must be like for a server to be well: the lines of a `match` block, and the judge who holds an answer against them.
// Filled by Control's directives, asked by its prober. Expressions are the caller's: here they are numbers.

/// The status line of a `match`: ranges that an answer's status must, or must not, be in.
public struct StatusRule: Sendable, Equatable {
    /// Empty: any that is not refused.
    public var accepted: [ClosedRange<Int>]
    public var refused: [ClosedRange<Int>]

    public init(accepted: [ClosedRange<Int>] = [], refused: [ClosedRange<Int>] = []) {
        self.accepted = accepted
        self.refused = refused
    }

    /// What counts without a `match`.
    public static let usual = StatusRule(accepted: [200...399])

    public func takes(_ status: Int) -> Bool {
        if refused.contains(where: { $0.contains(status) }) { return false }
        return accepted.isEmpty || accepted.contains { $0.contains(status) }
    }

    /// As the configuration writes it.
    public var text: String {
        func words(_ list: [ClosedRange<Int>], _ mark: String) -> [String] {
            list.map { mark + ($0.count == 1 ? "\($0.lowerBound)" : "\($0.lowerBound)-\($0.upperBound)") }
        }
        return (words(accepted, "") + words(refused, "!")).joined(separator: " ")
    }
}

/// What is asked of a text: of the value of a field, of a body, of what a server says.
public enum TextTest: Sendable, Equatable {
    case equals(String)
    case differs(String)
    /// Bytes that need not be text.
    case isBytes([UInt8])
    /// The caller's expression of this number matches, or does not.
    case matches(Int, pattern: String)
    case misses(Int, pattern: String)

    /// As the configuration writes it.
    public var text: String {
        switch self {
        case .equals(let value): "= \(value)"
        case .differs(let value): "!= \(value)"
        case .isBytes(let bytes): "= \(MatchRules.escaped(bytes))"
        case .matches(_, let pattern): "~ \(pattern)"
        case .misses(_, let pattern): "!~ \(pattern)"
        }
    }

    func holds(_ value: ArraySlice<UInt8>, _ matching: MatchRules.Matching) -> Bool {
        switch self {
        case .equals(let text): value.elementsEqual(text.utf8)
        case .differs(let text): !value.elementsEqual(text.utf8)
        case .isBytes(let bytes): value.elementsEqual(bytes)
        case .matches(let expression, _): matching(expression, value)
        case .misses(let expression, _): !matching(expression, value)
        }
    }
}

/// A `header` line of a `match`.
public struct FieldRule: Sendable, Equatable {
    /// In lower case.
    public var name: String
    /// Nil: it is there, or, with `isAbsent`, it is not.
    public var test: TextTest?
    public var isAbsent: Bool

    public init(_ name: String, _ test: TextTest? = nil, isAbsent: Bool = false) {
        self.name = name.lowercased()
        self.test = test
        self.isAbsent = isAbsent
    }
}

/// An answer, as far as it was read.
public struct CheckAnswer: Sendable {
    public var status: Int
    /// Names in lower case.
    public var fields: [(name: String, value: ArraySlice<UInt8>)]
    public var body: ArraySlice<UInt8>

    public init(status: Int, fields: [(name: String, value: ArraySlice<UInt8>)] = [], body: ArraySlice<UInt8> = []) {
        self.status = status
        self.fields = fields
        self.body = body
    }
}

/// All lines of a `match`. All must hold.
public struct MatchRules: Sendable, Equatable {
    /// Whether the expression of this number matches these bytes.
    public typealias Matching = (Int, ArraySlice<UInt8>) -> Bool

    /// Nil: any, where there are other lines.
    public var status: StatusRule?
    public var fields: [FieldRule] = []
    public var bodies: [TextTest] = []
    /// For plain connections: what is sent, and what must come; nil: nothing has to.
    public var send: [UInt8] = []
    public var expect: TextTest?

    public init() {}

    /// Without a `match`.
    public static var usual: MatchRules {
        var rules = MatchRules()
        rules.status = .usual
        return rules
    }

    /// The head alone decides.
    public var needsBody: Bool { !bodies.isEmpty }

    /// Why an answer's head is not what it should be; nil: it is.
    public func objectionToHead(_ answer: CheckAnswer, _ matching: Matching) -> String? {
        if let status, !status.takes(answer.status) { return "expected status \(status.text), found \(answer.status)" }
        for rule in fields {
            let values = answer.fields.filter { $0.name == rule.name }.map(\.value)
            if rule.isAbsent {
                if !values.isEmpty { return "expected no field \"\(rule.name)\", found one" }
                continue
            }
            guard let first = values.first else {
                // What is not there is not what it must not be, either.
                switch rule.test {
                case .differs, .misses: continue
                default: return "expected a field \"\(rule.name)\", found none"
                }
            }
            if let test = rule.test, !test.holds(first, matching) {
                return "expected field \"\(rule.name)\" \(test.text), found \"\(Self.shown(first))\""
            }
        }
        return nil
    }

    /// Why a body is not what it should be; nil: it is.
    public func objectionToBody(_ body: ArraySlice<UInt8>, _ matching: Matching) -> String? {
        for test in bodies where !test.holds(body, matching) { return "expected a body \(test.text), found \"\(Self.shown(body))\"" }
        return nil
    }

    public enum Greeting: Equatable, Sendable {
        case needMore
        case good
        case bad(String)
    }

    /// What a server has said by now on a plain connection. `isWhole`: no more will come.
    public func greeting(_ bytes: ArraySlice<UInt8>, isWhole: Bool, _ matching: Matching) -> Greeting {
        guard let expect else { return .good }
        let bad = Greeting.bad("expected to be told \(expect.text), found \"\(Self.shown(bytes))\"")
        let wanted: [UInt8]? =
            switch expect {
            case .equals(let text): Array(text.utf8)
            case .isBytes(let bytes): bytes
            default: nil
            }
        if let wanted {
            if bytes.starts(with: wanted) { return .good }
            let isBeginning = bytes.count < wanted.count && wanted.starts(with: bytes)
            return isBeginning && !isWhole ? .needMore : bad
        }
        if expect.holds(bytes, matching) { return .good }
        return isWhole ? bad : .needMore
    }

    /// As a text, if it is one of one line; else with `\xHH` for its bytes that are no letters of ASCII.
    static func escaped(_ bytes: [UInt8]) -> String {
        if let text = String(validating: bytes, as: UTF8.self), !bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return text }
        return bytes.map { byte in
            byte >= 0x20 && byte < 0x7F ? String(Unicode.Scalar(byte)) : (byte < 16 ? "\\x0" : "\\x") + String(byte, radix: 16)
        }.joined()
    }

    /// The beginning of what was found, on one line.
    static func shown(_ bytes: ArraySlice<UInt8>) -> String {
        let most = 64
        let text = String(decoding: bytes.prefix(most), as: UTF8.self).unicodeScalars.map { scalar in
            scalar.value < 0x20 || scalar.value == 0x7F || scalar == "\"" ? "?" : String(scalar)
        }.joined()
        return bytes.count > most ? text + "..." : text
    }
}
