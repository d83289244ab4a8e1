// How JSON becomes the values of other modules: the members of an object by name, each with its type and range checked.
// Called by the `+JSON` files of Rollout and Deploy. Pointers of Problems are relative to the object; `JSONCodable.init(json:at:)`
// adds the rest.

/// The members of one object.
public struct Fields {
    /// The object, with an article, for messages.
    public let what: String
    private let members: [String: JSON]

    /// - Parameter known: other names are refused; nil: they are passed over.
    public init(_ json: JSON, of what: String, known: [String]? = nil) throws(Problem) {
        guard let object = json.object else {
            throw Problem(.wrongType, "found \(json.described), expected \(what), as an object", pointer: "")
        }
        self.what = what
        var members: [String: JSON] = [:]
        for member in object {
            if let known, !known.contains(member.name) {
                throw Problem(
                    .unknownField,
                    "found \"\(member.name.prefix(64))\" in \(what), expected one of \(known.joined(separator: ", "))",
                    hint: nearestField(to: member.name, among: known).map { "did you mean \"\($0)\"?" } ?? "",
                    pointer: JSONPointer([member.name]).text)
            }
            members[member.name] = member.value
        }
        self.members = members
    }

    private func wrong(_ name: String, _ json: JSON, _ expected: String, _ kind: Problem.Kind = .wrongType) -> Problem {
        Problem(kind, "found \(json.described), expected \(expected)", pointer: JSONPointer([name]).text)
    }

    /// All of them, unordered.
    public var names: [String] { Array(members.keys) }

    /// nil: there is none.
    public func has(_ name: String) -> JSON? { members[name] }

    /// - Throws: `missing-field`.
    public func json(_ name: String) throws(Problem) -> JSON {
        guard let json = members[name] else {
            throw Problem(.missingField, "found no \"\(name)\" in \(what)", pointer: JSONPointer([name]).text)
        }
        return json
    }

    // MARK: Values that must be there

    public func integer(_ name: String, in range: ClosedRange<Int64> = 0...1 << 52) throws(Problem) -> Int64 {
        let json = try json(name)
        guard let value = json.integer else { throw wrong(name, json, "a whole number") }
        guard range.contains(value) else {
            throw wrong(name, json, "a whole number from \(range.lowerBound) to \(range.upperBound)", .outOfRange)
        }
        return value
    }

    public func int(_ name: String, in range: ClosedRange<Int> = 0...1 << 52) throws(Problem) -> Int {
        Int(try integer(name, in: Int64(range.lowerBound)...Int64(range.upperBound)))
    }

    public func count(_ name: String) throws(Problem) -> UInt64 { UInt64(try integer(name)) }

    public func number(_ name: String) throws(Problem) -> Double {
        let json = try json(name)
        guard let value = json.number else { throw wrong(name, json, "a number") }
        return value
    }

    public func string(_ name: String) throws(Problem) -> String {
        let json = try json(name)
        guard let value = json.string else { throw wrong(name, json, "a string") }
        return value
    }

    public func bool(_ name: String) throws(Problem) -> Bool {
        let json = try json(name)
        guard let value = json.bool else { throw wrong(name, json, "true or false") }
        return value
    }

    public func word<Word: RawRepresentable & CaseIterable>(_ name: String, _: Word.Type = Word.self) throws(Problem) -> Word
    where Word.RawValue == String {
        let json = try json(name)
        let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
        guard let text = json.string, let word = Word(rawValue: text) else {
            throw wrong(name, json, "one of \(words)", .outOfRange)
        }
        return word
    }

    /// A span in milliseconds: text as the configuration writes it, or a number of seconds.
    public func spanMs(_ name: String) throws(Problem) -> Int64 {
        let json = try json(name)
        let ms: Int64? =
            switch json {
            case .string(let text): NginxTime.ms(text, isInSeconds: false)
            case .integer(let seconds) where (0...1 << 40).contains(seconds): seconds * 1000
            default: nil
            }
        guard let ms else {
            throw wrong(name, json, "a time such as \"500ms\", \"30s\" or \"1h30m\", or a number of seconds", .badTime)
        }
        return ms
    }

    public func value<Value: JSONCodable>(_ name: String, _: Value.Type = Value.self) throws(Problem) -> Value {
        try Value(json: try json(name), at: JSONPointer([name]))
    }

    public func list<Value>(
        _ name: String, _ decode: (JSON, JSONPointer) throws(Problem) -> Value
    ) throws(Problem) -> [Value] {
        let json = try json(name)
        guard let elements = json.array else { throw wrong(name, json, "a list") }
        var result: [Value] = []
        for (i, element) in elements.enumerated() { result.append(try decode(element, JSONPointer([name, String(i)]))) }
        return result
    }

    public func dictionary<Value: JSONCodable>(_ name: String, _: Value.Type = Value.self) throws(Problem) -> [String: Value] {
        let json = try json(name)
        guard let members = json.object else { throw wrong(name, json, "an object") }
        var result: [String: Value] = [:]
        for member in members { result[member.name] = try Value(json: member.value, at: JSONPointer([name, member.name])) }
        return result
    }

    // MARK: Values that may be absent

    /// What `read` reads, if the member is there.
    public func set<Value>(_ target: inout Value, _ name: String, _ read: (String) throws(Problem) -> Value) throws(Problem) {
        if members[name] != nil { target = try read(name) }
    }

    /// The same; `null` is nil.
    public func setOptional<Value>(_ target: inout Value?, _ name: String, _ read: (String) throws(Problem) -> Value) throws(Problem) {
        guard let json = members[name] else { return }
        target = json.isNull ? nil : try read(name)
    }
}

extension JSON {
    public static func whole(_ value: Int) -> JSON { .integer(Int64(value)) }
    public static func tally(_ value: UInt64) -> JSON { .integer(Int64(clamping: value)) }
    public static func spanMs(_ ms: Int64) -> JSON { .string(NginxTime.text(ms: ms)) }
    /// Numbers without a fraction are written as whole ones, and read back as the same.
    public static func figure(_ value: Double) -> JSON {
        abs(value) < 0x1p53 && Double(Int64(value)) == value ? .integer(Int64(value)) : .number(value)
    }
}
