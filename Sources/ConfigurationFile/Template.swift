// Words with variables in them: `http://$name/${part}_$1`. Follows ngx_http_script_compile.
// Called by the directives whose arguments may hold variables. It does not know which variables exist.

/// A part of a word with variables.
public enum TemplatePart: Hashable, Sendable {
    case literal([UInt8])
    /// `$name` or `${name}`: letters, digits and `_`.
    case variable(String)
    /// `$1` to `$9`: a group of the last regular expression that matched.
    case capture(Int)
}

extension Word {
    /// The word split into literal parts and variables; no part for an empty word, one literal for a word without `$`.
    /// `directive`: where the word stands, for the message.
    /// - Throws: `invalid variable name` for a `$` without a name; a `${` that is not closed.
    public func template(of directive: String) throws(Diagnostic) -> [TemplatePart] {
        var parts: [TemplatePart] = []
        var literal: [UInt8] = []
        var i = 0
        while i < bytes.count {
            if bytes[i] != UInt8(ascii: "$") {
                literal.append(bytes[i])
                i += 1
                continue
            }
            if !literal.isEmpty { parts.append(.literal(literal)) }
            literal = []
            let (part, next) = try reference(at: i, directive)
            parts.append(part)
            i = next
        }
        if !literal.isEmpty { parts.append(.literal(literal)) }
        return parts
    }

    /// Whether a `$` stands in the word.
    public var hasVariables: Bool { bytes.contains(UInt8(ascii: "$")) }

    /// The reference that the `$` at `dollar` begins, and the index after it.
    private func reference(at dollar: Int, _ directive: String) throws(Diagnostic) -> (TemplatePart, Int) {
        var first = dollar + 1
        guard first < bytes.count else { throw invalidName(from: dollar, directive) }
        if (UInt8(ascii: "1")...UInt8(ascii: "9")).contains(bytes[first]) {
            return (.capture(Int(bytes[first] - UInt8(ascii: "0"))), first + 1)
        }
        let isBraced = bytes[first] == UInt8(ascii: "{")
        if isBraced { first += 1 }
        var end = first
        while end < bytes.count, isNameByte(bytes[end]) { end += 1 }
        let name = String(decoding: bytes[first..<end], as: UTF8.self)
        if isBraced, first < bytes.count, end == bytes.count || bytes[end] != UInt8(ascii: "}") {
            throw Diagnostic(
                at: position, directive: directive, "the closing bracket in \"\(name)\" variable is missing",
                found: printable(bytes[dollar...]), expected: "${name}")
        }
        if name.isEmpty { throw invalidName(from: dollar, directive) }
        return (.variable(name), isBraced ? end + 1 : end)
    }

    private func invalidName(from dollar: Int, _ directive: String) -> Diagnostic {
        Diagnostic(
            at: position, directive: directive, "invalid variable name", found: printable(bytes[dollar...]),
            expected: "$name, ${name} or $1 to $9")
    }

    private func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }
}
