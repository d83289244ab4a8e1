// What a configuration file says: directives made of words, and blocks of directives.
// Built by the parser, read by the directives of `Control`, written back by `Printer`. It knows no directive's meaning.

/// One word of a directive, its quotes taken off and its escapes resolved.
public struct Word: Sendable {
    /// The bytes as they are in the file: they need not be UTF-8.
    public var bytes: [UInt8]
    /// Where the word begins; a quoted word begins at its quote.
    public var position: Position
    /// Whether it stood in quotes.
    public var isQuoted: Bool

    public init(_ bytes: [UInt8], position: Position, isQuoted: Bool = false) {
        self.bytes = bytes
        self.position = position
        self.isQuoted = isQuoted
    }

    public init(_ text: String, position: Position, isQuoted: Bool = false) {
        self.init(Array(text.utf8), position: position, isQuoted: isQuoted)
    }

    /// The word as text. Bytes that are not UTF-8 become U+FFFD; `bytes` keeps them.
    public var text: String { String(decoding: bytes, as: UTF8.self) }

    /// The word as a message shows it: one line, shortened.
    public var shown: String { printable(bytes) }

    /// The two sides of `name=value`, as in `max_fails=3`, or nil without a `=`.
    public var parameter: (name: String, value: Word)? {
        guard let equals = bytes.firstIndex(of: UInt8(ascii: "=")) else { return nil }
        var place = position
        place.column += equals + 1 + (isQuoted ? 1 : 0)
        let value = Word(Array(bytes[(equals + 1)...]), position: place, isQuoted: isQuoted)
        return (String(decoding: bytes[..<equals], as: UTF8.self), value)
    }
}

/// Words are equal when their bytes are: nginx gives quotes no meaning, and a place is no content.
extension Word: Hashable {
    public static func == (a: Word, b: Word) -> Bool { a.bytes == b.bytes }
    public static func == (word: Word, text: String) -> Bool { word.bytes.elementsEqual(text.utf8) }
    public func hash(into hasher: inout Hasher) { hasher.combine(bytes) }
}

/// A name, its arguments, and a block where it has one.
/// In `map`, `types`, `geo` and `split_clients` the name is the first word of the line, e.g. `~*\.png$`.
public struct Directive: Sendable {
    public var name: Word
    public var arguments: [Word]
    /// What stands between `{` and `}`; nil when the directive ends with `;`.
    public var block: [Directive]?
    /// Where the `}` of the block is.
    public var blockEnd: Position?

    public init(name: Word, arguments: [Word] = [], block: [Directive]? = nil, blockEnd: Position? = nil) {
        self.name = name
        self.arguments = arguments
        self.block = block
        self.blockEnd = blockEnd
    }

    /// Where the name begins.
    public var position: Position { name.position }
}

/// Directives are equal when they say the same, wherever they stand and however they are quoted.
extension Directive: Hashable {
    public static func == (a: Directive, b: Directive) -> Bool {
        a.name == b.name && a.arguments == b.arguments && a.block == b.block
    }

    public func hash(into hasher: inout Hasher) {
        hasher.combine(name)
        hasher.combine(arguments)
        hasher.combine(block)
    }
}
