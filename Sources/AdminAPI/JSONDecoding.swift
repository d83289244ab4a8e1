// How JSON becomes values: the members of an object one by one, each value with its type and range checked.
// Called by the `+JSON` files. A Problem's pointer is relative to the value in hand; whoever goes down puts its token in front.

/// What is written as one JSON value and read back equal.
public protocol JSONCodable: Sendable {
    /// - Throws: a Problem whose pointer is relative to `json`.
    init(decoding json: JSON) throws(Problem)
    var json: JSON { get }
}

extension JSONCodable {
    /// - Parameter pointer: where `json` stands in the body, for the pointers of problems.
    public init(json: JSON, at pointer: JSONPointer = .root) throws(Problem) {
        do { try self.init(decoding: json) } catch { throw error.below(pointer) }
    }

    /// From a whole body in UTF-8.
    public init(body: [UInt8], limits: JSONLimits = JSONLimits()) throws(Problem) {
        try self.init(decoding: try JSON.parse(body, limits: limits))
    }
}

extension JSON {
    /// What to say of a value that is not what was expected.
    var described: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .integer(let value): "the number \(value)"
        case .number(let value): "the number \(value)"
        case .string(let value): "the string \"\(shortened(value))\""
        case .array: "a list"
        case .object: "an object"
        }
    }

    func wrongType(_ expected: String, hint: String = "") -> Problem {
        Problem(.wrongType, "found \(described), expected \(expected)", hint: hint, pointer: "")
    }

    // MARK: Objects

    /// Gives `take` each member; it answers whether it knows the name.
    /// - Parameters:
    ///   - what: this object, with an article, for messages.
    ///   - known: the names there are, when others are refused; nil: others are passed over.
    func forEachMember(
        of what: String, known: [String]? = nil, _ take: (String, JSON) throws(Problem) -> Bool
    ) throws(Problem) {
        guard case .object(let members) = self else { throw wrongType(what + ", as an object") }
        // Looked at where they are: there may be many thousands.
        let list = members.span
        for i in list.indices {
            let isKnown: Bool
            do { isKnown = try take(list[i].name, list[i].value) } catch { throw error.below(list[i].name) }
            if !isKnown, let known { throw Self.unknown(list[i].name, of: what, known) }
        }
    }

    private static func unknown(_ name: String, of what: String, _ known: [String]) -> Problem {
        let near = nearestField(to: name, among: known).map { "did you mean \"\($0)\"?" }
        return Problem(
            .unknownField, "found \"\(shortened(name))\" in \(what), expected one of \(known.joined(separator: ", "))",
            hint: near ?? "",
            pointer: JSONPointer([name]).text)
    }

    static func missing(_ name: String, of what: String) -> Problem {
        Problem(.missingField, "found no \"\(name)\" in \(what)", pointer: JSONPointer([name]).text)
    }

    /// This object without the members of these names, whatever they hold.
    func without(_ names: [String]) -> JSON {
        guard case .object(let members) = self else { return self }
        return .object(members.filter { !names.contains($0.name) })
    }

    func dictionary<Value>(_ what: String, _ decode: (JSON) throws(Problem) -> Value) throws(Problem) -> [String: Value] {
        guard case .object(let members) = self else { throw wrongType(what) }
        var result: [String: Value] = [:]
        result.reserveCapacity(members.count)
        for member in members {
            do { result[member.name] = try decode(member.value) } catch { throw error.below(member.name) }
        }
        return result
    }

    func list<Value>(_ what: String, _ decode: (JSON) throws(Problem) -> Value) throws(Problem) -> [Value] {
        guard case .array(let elements) = self else { throw wrongType(what) }
        var result: [Value] = []
        result.reserveCapacity(elements.count)
        let list = elements.span
        for i in list.indices {
            do { result.append(try decode(list[i])) } catch { throw error.below(String(i)) }
        }
        return result
    }

    // MARK: Values

    func decodeString() throws(Problem) -> String {
        if case .string(let value) = self { return value }
        throw wrongType("a string")
    }

    func decodeBool() throws(Problem) -> Bool {
        if case .bool(let value) = self { return value }
        throw wrongType("true or false", hint: string == "true" || string == "false" ? "write it without quotes" : "")
    }

    func decodeInteger(in range: ClosedRange<Int>) throws(Problem) -> Int {
        if case .integer(let value) = self, range.contains(Int(value)) { return Int(value) }
        guard let number else {
            throw wrongType("a whole number", hint: string.flatMap { Int64($0) } == nil ? "" : "write it without quotes")
        }
        if let integer {
            if range.contains(Int(integer)) { return Int(integer) }
        } else if abs(number) < 0x1p63 {
            throw wrongType("a whole number")
        }
        // What is larger has no fraction, and is out of every range.
        throw Problem(.outOfRange, "found \(described), expected a whole number \(range.worded)", pointer: "")
    }

    func decodeCount() throws(Problem) -> UInt64 { UInt64(try decodeInteger(in: 0...(.max))) }

    func decodeNumber() throws(Problem) -> Double {
        guard let number else { throw wrongType("a number") }
        return number
    }

    /// `null` is nil.
    func decodeOptional<Value>(_ decode: (JSON) throws(Problem) -> Value) throws(Problem) -> Value? {
        isNull ? nil : try decode(self)
    }

    func decodeWord<Word: RawRepresentable & CaseIterable>(_ type: Word.Type) throws(Problem) -> Word
    where Word.RawValue == String {
        let text = try decodeString()
        guard let word = Word(rawValue: text) else {
            let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
            throw Problem(.outOfRange, "found \"\(shortened(text))\", expected one of \(words)", pointer: "")
        }
        return word
    }

    /// RFC 3339, as milliseconds since 1970.
    func decodeMoment() throws(Problem) -> Int64 {
        let text = try decodeString()
        guard let ms = Timestamp.ms(text) else {
            throw Problem(
                .badTime, "found \"\(shortened(text))\", expected a moment such as 2026-11-21T13:05:00.123Z", pointer: "")
        }
        return ms
    }

    /// A span in milliseconds: text as the configuration writes it, or a number of seconds.
    func decodeSpanMs(isInSeconds: Bool, in range: ClosedRange<Int64>) throws(Problem) -> Int64 {
        var ms: Int64?
        switch self {
        case .string(let text):
            ms = NginxTime.ms(text, isInSeconds: isInSeconds)
            if ms == nil {
                let expected = isInSeconds ? "a time in whole seconds such as 30s or 1h30m" : "a time such as 500ms, 30s or 1h30m"
                throw Problem(.badTime, "found \"\(shortened(text))\", expected \(expected)", pointer: "")
            }
        case .integer(let seconds): ms = seconds.multipliedReportingOverflow(by: 1000).overflow ? nil : seconds * 1000
        default: throw wrongType("a time such as \"30s\", or a number of seconds")
        }
        if let ms, range.contains(ms) { return ms }
        let bounds = "\(NginxTime.text(ms: range.lowerBound)) to \(NginxTime.text(ms: range.upperBound))"
        throw Problem(.outOfRange, "found \(described), expected a time from \(bounds)", pointer: "")
    }
}

extension ClosedRange<Int> {
    var worded: String { upperBound == .max ? "of at least \(lowerBound)" : "from \(lowerBound) to \(upperBound)" }
}

/// The name nearest to a misspelt one, or nil when none is near: one change for up to five bytes, two for up to eight, then
/// three. A change is a byte more, less, other, or two neighbours swapped.
func nearestField(to name: String, among names: [String]) -> String? {
    let wanted = Array(name.utf8)
    let changesMax = wanted.count <= 5 ? 1 : wanted.count <= 8 ? 2 : 3
    if wanted.isEmpty || wanted.count > 64 { return nil }
    var best: (name: String, changes: Int)?
    for candidate in names {
        let changes = changeCount(wanted, Array(candidate.utf8))
        if changes > changesMax || changes >= min(wanted.count, candidate.utf8.count) { continue }
        if let best, best.changes <= changes { continue }
        best = (candidate, changes)
    }
    return best?.name
}

private func changeCount(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var rows = [Array(0...b.count)]
    for i in a.indices {
        var row = [i + 1]
        for j in b.indices {
            var least = min(rows[i][j + 1] + 1, row[j] + 1, rows[i][j] + (a[i] == b[j] ? 0 : 1))
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { least = min(least, rows[i - 1][j - 1] + 1) }
            row.append(least)
        }
        rows.append(row)
    }
    return rows[a.count][b.count]
}
