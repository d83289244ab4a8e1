// JSON as a plain value, RFC 8259: what the bodies of the admin API and the lines of the journal are made of.
// Parsed by JSONParser, written by JSONWriter; the `+JSON` files turn it into the value types and back.

public enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    /// A number with a fraction or an exponent, or too large for `integer`. Finite when parsed.
    case number(Double)
    case string(String)
    case array([JSON])
    /// Members in the order they were written in. Parsed ones have different names.
    case object([Member])

    public struct Member: Sendable, Equatable {
        public var name: String
        public var value: JSON

        public init(_ name: String, _ value: JSON) {
            self.name = name
            self.value = value
        }
    }

    /// The member of this name; nil: there is none, or this is no object.
    public subscript(_ name: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.name == name }?.value
    }

    /// The element at `index`; nil: there is none, or this is no list.
    public subscript(_ index: Int) -> JSON? {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
        return elements[index]
    }

    /// The value that `pointer` names, RFC 6901; nil: there is none.
    public subscript(_ pointer: JSONPointer) -> JSON? {
        var value = self
        for token in pointer.tokens {
            let next: JSON? =
                switch value {
                case .object: value[token]
                case .array: Int(token).flatMap { String($0) == token ? value[$0] : nil }
                default: nil
                }
            guard let next else { return nil }
            value = next
        }
        return value
    }

    public var isNull: Bool { self == .null }

    public var string: String? {
        if case .string(let value) = self { value } else { nil }
    }

    public var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }

    /// A whole number, however it was written: `5`, `5.0`, `5e0`.
    public var integer: Int64? {
        switch self {
        case .integer(let value): value
        // Not by `exactly`, which calls the C library for it.
        case .number(let value) where abs(value) < 0x1p63 && Double(Int64(value)) == value: Int64(value)
        default: nil
        }
    }

    public var number: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }

    public var array: [JSON]? {
        if case .array(let value) = self { value } else { nil }
    }

    public var object: [Member]? {
        if case .object(let value) = self { value } else { nil }
    }

    /// An object of the members that have a value, sorted by name.
    public static func members(_ members: KeyValuePairs<String, JSON?>) -> JSON {
        var result: [Member] = []
        result.reserveCapacity(members.count)
        for (name, value) in members {
            if let value { result.append(Member(name, value)) }
        }
        result.sort { $0.name < $1.name }
        return .object(result)
    }

    /// An object of a dictionary's entries, sorted by name.
    static func entries<Value>(_ entries: [String: Value], _ json: (Value) -> JSON) -> JSON {
        .object(entries.sorted { $0.key < $1.key }.map { Member($0.key, json($0.value)) })
    }

    /// This object with the members of `other` in place of those of the same name, sorted by name. Not an object: `other`.
    public func merging(_ other: JSON) -> JSON {
        guard case .object(let mine) = self, case .object(let theirs) = other else { return other }
        let replaced = Set(theirs.map(\.name))
        return .object((mine.filter { !replaced.contains($0.name) } + theirs).sorted { $0.name < $1.name })
    }

    /// A count, of which those beyond `Int64` are told as the largest there is.
    static func count(_ value: UInt64) -> JSON { .integer(Int64(clamping: value)) }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral {
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int64) { self = .integer(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(arrayLiteral elements: JSON...) { self = .array(elements) }
}
