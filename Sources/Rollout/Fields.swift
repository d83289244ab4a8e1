// How JSON becomes the values of this module: the members of an object by name, each with its type and range checked.
// Called by the `+JSON` files. Pointers of Problems are relative to the object; `JSONCodable.init(json:at:)` adds the rest.
import AdminAPI

/// The members of one object.
struct Fields {
    /// The object, with an article, for messages.
    let what: String
    private let members: [String: JSON]

    /// - Parameter known: other names are refused; nil: they are passed over.
    init(_ json: JSON, of what: String, known: [String]? = nil) throws(Problem) {
        guard let object = json.object else {
            throw Problem(.wrongType, "found \(Self.described(json)), expected \(what), as an object", pointer: "")
        }
        self.what = what
        var members: [String: JSON] = [:]
        for member in object {
            if let known, !known.contains(member.name) {
                throw Problem(
                    .unknownField,
                    "found \"\(member.name.prefix(64))\" in \(what), expected one of \(known.joined(separator: ", "))",
                    pointer: JSONPointer([member.name]).text)
            }
            members[member.name] = member.value
        }
        self.members = members
    }

    private static func described(_ json: JSON) -> String {
        switch json {
        case .null: "null"
        case .bool(let value): "\(value)"
        case .integer(let value): "the number \(value)"
        case .number(let value): "the number \(value)"
        case .string(let value): "the string \"\(value.prefix(64))\""
        case .array: "a list"
        case .object: "an object"
        }
    }

    private func wrong(_ name: String, _ json: JSON, _ expected: String, _ kind: Problem.Kind = .wrongType) -> Problem {
        Problem(kind, "found \(Self.described(json)), expected \(expected)", pointer: JSONPointer([name]).text)
    }

    /// nil: there is none.
    func has(_ name: String) -> JSON? { members[name] }

    /// - Throws: `missing-field`.
    func json(_ name: String) throws(Problem) -> JSON {
        guard let json = members[name] else {
            throw Problem(.missingField, "found no \"\(name)\" in \(what)", pointer: JSONPointer([name]).text)
        }
        return json
    }

    // MARK: Values that must be there

    func integer(_ name: String, in range: ClosedRange<Int64> = 0...1 << 52) throws(Problem) -> Int64 {
        let json = try json(name)
        guard let value = json.integer else { throw wrong(name, json, "a whole number") }
        guard range.contains(value) else {
            throw wrong(name, json, "a whole number from \(range.lowerBound) to \(range.upperBound)", .outOfRange)
        }
        return value
    }

    func int(_ name: String, in range: ClosedRange<Int> = 0...1 << 52) throws(Problem) -> Int {
        Int(try integer(name, in: Int64(range.lowerBound)...Int64(range.upperBound)))
    }

    func count(_ name: String) throws(Problem) -> UInt64 { UInt64(try integer(name)) }

    func number(_ name: String) throws(Problem) -> Double {
        let json = try json(name)
        guard let value = json.number else { throw wrong(name, json, "a number") }
        return value
    }

    func string(_ name: String) throws(Problem) -> String {
        let json = try json(name)
        guard let value = json.string else { throw wrong(name, json, "a string") }
        return value
    }

    func bool(_ name: String) throws(Problem) -> Bool {
        let json = try json(name)
        guard let value = json.bool else { throw wrong(name, json, "true or false") }
        return value
    }

    func word<Word: RawRepresentable & CaseIterable>(_ name: String, _: Word.Type = Word.self) throws(Problem) -> Word
    where Word.RawValue == String {
        let json = try json(name)
        let words = Word.allCases.map(\.rawValue).joined(separator: ", ")
        guard let text = json.string, let word = Word(rawValue: text) else {
            throw wrong(name, json, "one of \(words)", .outOfRange)
        }
        return word
    }

    /// A span in milliseconds: text as the configuration writes it, or a number of seconds.
    func spanMs(_ name: String) throws(Problem) -> Int64 {
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

    func value<Value: JSONCodable>(_ name: String, _: Value.Type = Value.self) throws(Problem) -> Value {
        try Value(json: try json(name), at: JSONPointer([name]))
    }

    func list<Value>(
        _ name: String, _ decode: (JSON, JSONPointer) throws(Problem) -> Value
    ) throws(Problem) -> [Value] {
        let json = try json(name)
        guard let elements = json.array else { throw wrong(name, json, "a list") }
        var result: [Value] = []
        for (i, element) in elements.enumerated() { result.append(try decode(element, JSONPointer([name, String(i)]))) }
        return result
    }

    func dictionary<Value: JSONCodable>(_ name: String, _: Value.Type = Value.self) throws(Problem) -> [String: Value] {
        let json = try json(name)
        guard let members = json.object else { throw wrong(name, json, "an object") }
        var result: [String: Value] = [:]
        for member in members { result[member.name] = try Value(json: member.value, at: JSONPointer([name, member.name])) }
        return result
    }

    // MARK: Values that may be absent

    /// What `read` reads, if the member is there.
    func set<Value>(_ target: inout Value, _ name: String, _ read: (String) throws(Problem) -> Value) throws(Problem) {
        if members[name] != nil { target = try read(name) }
    }

    /// The same; `null` is nil.
    func setOptional<Value>(_ target: inout Value?, _ name: String, _ read: (String) throws(Problem) -> Value) throws(Problem) {
        guard let json = members[name] else { return }
        target = json.isNull ? nil : try read(name)
    }
}

extension JSON {
    static func whole(_ value: Int) -> JSON { .integer(Int64(value)) }
    static func tally(_ value: UInt64) -> JSON { .integer(Int64(clamping: value)) }
    static func spanMs(_ ms: Int64) -> JSON { .string(NginxTime.text(ms: ms)) }
    /// Numbers without a fraction are written as whole ones, and read back as the same.
    static func figure(_ value: Double) -> JSON {
        abs(value) < 0x1p53 && Double(Int64(value)) == value ? .integer(Int64(value)) : .number(value)
    }
}
