// Names one value within a JSON document, RFC 6901. Problems carry one, differences are told by them.
// Pure text: whether there is such a value only the document knows.

/// `/upstreams/blue/servers/0/weight`; empty: the whole document. In a token `~` is written `~0` and `/` is written `~1`.
public struct JSONPointer: Sendable, Hashable, CustomStringConvertible {
    public let text: String

    /// The whole document.
    public static let root = JSONPointer(unchecked: "")

    /// nil: neither empty nor begun by `/`, or a `~` that is not followed by `0` or `1`.
    public init?(_ text: String) {
        if !text.isEmpty, text.utf8.first != UInt8(ascii: "/") { return nil }
        var isEscape = false
        for byte in text.utf8 {
            if isEscape, byte != UInt8(ascii: "0"), byte != UInt8(ascii: "1") { return nil }
            isEscape = !isEscape && byte == UInt8(ascii: "~")
        }
        if isEscape { return nil }
        self.text = text
    }

    public init(_ tokens: [String]) {
        text = tokens.map { "/" + Self.escape($0) }.joined()
    }

    private init(unchecked text: String) { self.text = text }

    public var description: String { text }

    /// The names and indices on the way, unescaped.
    public var tokens: [String] {
        text.split(separator: "/", omittingEmptySubsequences: false).dropFirst().map { Self.unescape(String($0)) }
    }

    /// The member `name` of the value this points to.
    public func appending(_ name: String) -> JSONPointer {
        JSONPointer(unchecked: text + "/" + Self.escape(name))
    }

    /// The element at `index` of the list this points to.
    public func appending(_ index: Int) -> JSONPointer {
        JSONPointer(unchecked: text + "/\(index)")
    }

    public static func escape(_ name: String) -> String {
        if !name.utf8.contains(where: { $0 == UInt8(ascii: "~") || $0 == UInt8(ascii: "/") }) { return name }
        var out = ""
        for scalar in name.unicodeScalars {
            switch scalar {
            case "~": out += "~0"
            case "/": out += "~1"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    private static func unescape(_ token: String) -> String {
        if !token.utf8.contains(UInt8(ascii: "~")) { return token }
        var out = ""
        var isEscape = false
        for scalar in token.unicodeScalars {
            if isEscape {
                out += scalar == "0" ? "~" : "/"
                isEscape = false
            } else if scalar == "~" {
                isEscape = true
            } else {
                out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}

extension Problem {
    /// The same problem seen from around `token`. A problem that is not in the body stays so.
    func below(_ token: String) -> Problem {
        guard let pointer else { return self }
        var problem = self
        problem.pointer = "/" + JSONPointer.escape(token) + pointer
        return problem
    }

    func below(_ outer: JSONPointer) -> Problem {
        guard let pointer, outer != .root else { return self }
        var problem = self
        problem.pointer = outer.text + pointer
        return problem
    }
}
