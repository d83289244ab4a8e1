// A place in a configuration file, and what is wrong there: the one error type of this module.
// Made by the lexer, the parser, units and templates, and by the directives above; shown to the operator as it is.
// It must stay one line of text, whatever bytes the configuration holds.

/// A place in a configuration file. Lines and columns count from 1; a column counts bytes.
public struct Position: Hashable, Sendable, CustomStringConvertible {
    public var file: String
    public var line: Int
    public var column: Int

    public init(file: String, line: Int = 1, column: Int = 1) {
        self.file = file
        self.line = line
        self.column = column
    }

    /// `FILE:LINE:COLUMN`.
    public var description: String { "\(printable(file.utf8, bytesMax: .max)):\(line):\(column)" }
}

/// What is wrong, where, and what to do about it.
public struct Diagnostic: Error, Hashable, Sendable, CustomStringConvertible {
    public var position: Position
    /// The directive in which it happened, where there is one.
    public var directive: String?
    /// The sentence, without the place; the words are nginx's where nginx has the same error.
    public var message: String
    /// What stood there, shortened and safe to show.
    public var found: String
    /// What should have stood there.
    public var expected: String
    /// What the reader can do.
    public var hint: String?

    public init(
        at position: Position, directive: String? = nil, _ message: String, found: String, expected: String,
        hint: String? = nil
    ) {
        self.position = position
        self.directive = directive
        self.message = message
        self.found = found
        self.expected = expected
        self.hint = hint
    }

    /// One line: `unknown directive "proxy_pas" in /etc/x.conf:12:5; did you mean "proxy_pass"?`
    /// Up to the line number it has the form of nginx's messages, so that tools that read those read these.
    public var description: String {
        let place = "\(message) in \(position)"
        guard let hint else { return place }
        return "\(place); \(hint)"
    }
}

/// `bytes` as text on one line: control characters, separators and what is not UTF-8 become `\xNN`, a long text is cut.
/// `bytesMax`: how many bytes are shown before the text ends in `...`.
public func printable(_ bytes: some Sequence<UInt8>, bytesMax: Int = 64) -> String {
    let bytes = Array(bytes)
    var text = ""
    var index = 0
    while index < bytes.count {
        if index >= bytesMax { return text + "..." }
        let (piece, length) = printableScalar(bytes, at: index)
        text += piece
        index += length
    }
    return text
}

/// The character at `index` as it is shown, and how many bytes it takes.
func printableScalar(_ bytes: [UInt8], at index: Int) -> (String, Int) {
    for length in 1...4 where index + length <= bytes.count {
        guard let text = String(validating: bytes[index..<index + length], as: UTF8.self), let scalar = text.unicodeScalars.first
        else { continue }
        switch (scalar, scalar.properties.generalCategory) {
        case ("\n", _): return ("\\n", length)
        case ("\t", _): return ("\\t", length)
        case ("\r", _): return ("\\r", length)
        case (_, .control), (_, .format), (_, .lineSeparator), (_, .paragraphSeparator):
            return (bytes[index..<index + length].map(hexEscape).joined(), length)
        default: return (text, length)
        }
    }
    return (hexEscape(bytes[index]), 1)
}

private func hexEscape(_ byte: UInt8) -> String {
    (byte < 16 ? "\\x0" : "\\x") + String(byte, radix: 16, uppercase: true)
}
