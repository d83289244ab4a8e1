// nginx's lexical grammar: words, quotes, escapes, comments. Bytes in, tokens out. Follows ngx_conf_read_token.
// Called by the parser alone. It knows nothing of blocks and directives.

enum Token {
    case word(Word)
    case semicolon(Position)
    case open(Position)
    case close(Position)
    case end(Position)
}

struct Lexer {
    private let bytes: [UInt8]
    private let wordBytesMax: Int
    private var index = 0
    /// The place of `bytes[index]`.
    private(set) var position: Position
    private var endedQuotedWord = false

    init(_ bytes: [UInt8], file: String, wordBytesMax: Int) {
        self.bytes = bytes
        self.wordBytesMax = wordBytesMax
        position = Position(file: file)
    }

    mutating func next() throws(Diagnostic) -> Token {
        if endedQuotedWord {
            endedQuotedWord = false
            try expectSeparator()
        }
        skipSpaceAndComments()
        guard let byte = peek() else { return .end(position) }
        let start = position
        switch byte {
        case UInt8(ascii: ";"):
            advance()
            return .semicolon(start)
        case UInt8(ascii: "{"):
            advance()
            return .open(start)
        case UInt8(ascii: "}"):
            advance()
            return .close(start)
        case UInt8(ascii: "\""), UInt8(ascii: "'"): return .word(try quotedWord(byte))
        default: return .word(try bareWord())
        }
    }

    /// A closed quote wants a space, `;`, `{` or, as in `if ($a = "b")`, a `)` which then begins a word.
    private func expectSeparator() throws(Diagnostic) {
        guard let byte = peek(), !isSpace(byte) else { return }
        switch byte {
        case UInt8(ascii: ";"), UInt8(ascii: "{"), UInt8(ascii: ")"): return
        default:
            let (shown, _) = printableScalar(bytes, at: index)
            throw Diagnostic(
                at: position, "unexpected \"\(shown)\"", found: shown, expected: "a space, \";\" or \"{\"",
                hint: "a quoted word ends at its closing quote: quote the whole word")
        }
    }

    private mutating func skipSpaceAndComments() {
        while let byte = peek() {
            if byte == UInt8(ascii: "#") {
                while let inner = peek(), inner != UInt8(ascii: "\n") { advance() }
            } else if isSpace(byte) {
                advance()
            } else {
                return
            }
        }
    }

    private mutating func quotedWord(_ quote: UInt8) throws(Diagnostic) -> Word {
        let start = position
        advance()
        let first = index
        while let byte = peek() {
            if byte == quote {
                let word = Word(unescaped(bytes[first..<index]), position: start, isQuoted: true)
                advance()
                endedQuotedWord = true
                return word
            }
            if byte == UInt8(ascii: "\\") { advance() }
            advance()
            try checkLength(from: first, start, quote: quote)
        }
        let mark = Character(Unicode.Scalar(quote))
        throw unexpectedEnd(hint: "the \(mark) at line \(start.line), column \(start.column) is not closed")
    }

    /// Ends before a space, `;`, `{` or the end of the file. A `{` after `$` belongs to the word: `${name}` opens no block.
    private mutating func bareWord() throws(Diagnostic) -> Word {
        let start = position
        let first = index
        var afterDollar = false
        while let byte = peek() {
            if byte == UInt8(ascii: "{"), afterDollar {
                advance()
            } else if isSpace(byte) || byte == UInt8(ascii: ";") || byte == UInt8(ascii: "{") {
                return Word(unescaped(bytes[first..<index]), position: start)
            } else {
                afterDollar = byte == UInt8(ascii: "$")
                if byte == UInt8(ascii: "\\") { advance() }
                advance()
            }
            try checkLength(from: first, start, quote: nil)
        }
        // The file ends inside a directive; the parser knows which and says so.
        return Word(unescaped(bytes[first..<index]), position: start)
    }

    private func checkLength(from first: Int, _ start: Position, quote: UInt8?) throws(Diagnostic) {
        if index - first <= wordBytesMax { return }
        let shown = printable(bytes[first..<min(first + 10, bytes.count)]) + "..."
        guard let quote else {
            throw Diagnostic(
                at: start, "too long parameter \"\(shown)\" started", found: shown,
                expected: "a word of at most \(wordBytesMax) bytes")
        }
        let mark = Character(Unicode.Scalar(quote))
        throw Diagnostic(
            at: start, "too long parameter, probably missing terminating \"\(mark)\" character", found: shown,
            expected: "a word of at most \(wordBytesMax) bytes")
    }

    /// The file ends inside a directive.
    func unexpectedEnd(hint: String?) -> Diagnostic {
        Diagnostic(
            at: position, "unexpected end of file, expecting \";\" or \"}\"", found: "end of file",
            expected: "\";\" or \"}\"", hint: hint)
    }

    /// `\"`, `\'` and `\\` lose the backslash, `\t`, `\r` and `\n` become what they name, any other backslash stays.
    private func unescaped(_ raw: ArraySlice<UInt8>) -> [UInt8] {
        guard raw.contains(UInt8(ascii: "\\")) else { return Array(raw) }
        var word: [UInt8] = []
        word.reserveCapacity(raw.count)
        var i = raw.startIndex
        while i < raw.endIndex {
            let following = i + 1 < raw.endIndex ? raw[i + 1] : 0
            if raw[i] == UInt8(ascii: "\\"), let meant = escapeMeaning(following) {
                word.append(meant)
                i += 2
            } else {
                word.append(raw[i])
                i += 1
            }
        }
        return word
    }

    private func escapeMeaning(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "\\"): byte
        case UInt8(ascii: "t"): UInt8(ascii: "\t")
        case UInt8(ascii: "r"): UInt8(ascii: "\r")
        case UInt8(ascii: "n"): UInt8(ascii: "\n")
        default: nil
        }
    }

    private func peek() -> UInt8? { index < bytes.count ? bytes[index] : nil }

    private mutating func advance() {
        guard index < bytes.count else { return }
        if bytes[index] == UInt8(ascii: "\n") {
            position.line += 1
            position.column = 1
        } else {
            position.column += 1
        }
        index += 1
    }

    private func isSpace(_ byte: UInt8) -> Bool {
        byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r") || byte == UInt8(ascii: "\n")
    }
}
