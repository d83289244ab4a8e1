// Owns how tests look into JSON: what is not there is null, however deep one asks.
// Called by Admin and the suites. It is no parser of the product's: Foundation's reads what the product writes.

import Foundation

public struct JSONValue: @unchecked Sendable, CustomStringConvertible {
    private let value: Any?

    private init(_ value: Any?) { self.value = value is NSNull ? nil : value }

    /// Null when the text is no JSON.
    public init(parsing text: String) {
        self.init(try? JSONSerialization.jsonObject(with: Data(text.utf8), options: .fragmentsAllowed))
    }

    public subscript(_ name: String) -> JSONValue { JSONValue((value as? [String: Any])?[name]) }
    public subscript(_ place: Int) -> JSONValue {
        let list = value as? [Any] ?? []
        return JSONValue(list.indices.contains(place) ? list[place] : nil)
    }

    public var isNull: Bool { value == nil }
    public var int: Int? { (value as? NSNumber)?.intValue }
    public var bool: Bool? { (value as? NSNumber)?.boolValue }
    public var text: String? { value as? String }
    public var list: [JSONValue] { (value as? [Any] ?? []).map { JSONValue($0) } }
    /// The names of the members, sorted.
    public var names: [String] { (value as? [String: Any] ?? [:]).keys.sorted() }
    /// Members that are whole numbers.
    public var ints: [String: Int] { (value as? [String: Any] ?? [:]).compactMapValues { ($0 as? NSNumber)?.intValue } }

    public var description: String {
        guard let value else { return "null" }
        let data = try? JSONSerialization.data(withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys])
        return data.map { String(decoding: $0, as: UTF8.self) } ?? "\(value)"
    }
}
