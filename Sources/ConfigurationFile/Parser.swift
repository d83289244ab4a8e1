// From tokens to a tree of directives: `;`, blocks and their ends, one file at a time. Follows ngx_conf_parse.
// Called by the loader and by whoever has configuration text in memory. It resolves no `include`.

/// The directives of one file. `include` stays a directive among others.
/// - Parameters:
///   - bytes: the file's content.
///   - file: its name, for positions.
/// - Throws: the first thing that is not nginx's grammar or is beyond `limits`, with its place.
public func parse(
    _ bytes: [UInt8], file: String, limits: ConfigurationLimits = ConfigurationLimits()
) throws(Diagnostic) -> [Directive] {
    var directiveCount = 0
    return try parse(bytes, file: file, limits: limits, depth: 0, directiveCount: &directiveCount)
}

/// `depth`: of the block that includes the file. `directiveCount`: of all files so far.
func parse(
    _ bytes: [UInt8], file: String, limits: ConfigurationLimits, depth: Int, directiveCount: inout Int
) throws(Diagnostic) -> [Directive] {
    let start = Position(file: file)
    if bytes.count > limits.fileBytesMax {
        throw Diagnostic(
            at: start, "file has \(bytes.count) bytes, more than the limit of \(limits.fileBytesMax)",
            found: "\(bytes.count) bytes", expected: "at most \(limits.fileBytesMax) bytes")
    }
    if bytes.starts(with: [0xEF, 0xBB, 0xBF]) {
        throw Diagnostic(
            at: start, "unexpected byte order mark", found: "byte order mark", expected: "a directive",
            hint: "save the file as UTF-8 without a byte order mark")
    }
    var parser = Parser(bytes, file: file, limits: limits, directiveCount: directiveCount)
    defer { directiveCount = parser.directiveCount }
    return try parser.file(depth: depth)
}

private struct Parser {
    private var lexer: Lexer
    private let limits: ConfigurationLimits
    private(set) var directiveCount: Int

    /// What stood before a `;`, a brace or the end.
    private enum Ending {
        case semicolon
        case open(Position)
        case close(Position)
        case end(Position)
    }

    init(_ bytes: [UInt8], file: String, limits: ConfigurationLimits, directiveCount: Int) {
        lexer = Lexer(bytes, file: file, wordBytesMax: limits.wordBytesMax)
        self.limits = limits
        self.directiveCount = directiveCount
    }

    mutating func file(depth: Int) throws(Diagnostic) -> [Directive] {
        var directives: [Directive] = []
        while true {
            let (words, ending) = try statement()
            switch ending {
            case .semicolon, .open: directives.append(try directive(words, ending, depth: depth))
            case .end: return directives
            case .close(let place):
                throw Diagnostic(
                    at: place, "unexpected \"}\"", found: "}", expected: "a directive or the end of the file",
                    hint: "no block is open here")
            }
        }
    }

    /// The content of a block up to its `}`.
    private mutating func block(of name: Word, depth: Int) throws(Diagnostic) -> ([Directive], Position) {
        var directives: [Directive] = []
        while true {
            let (words, ending) = try statement()
            switch ending {
            case .semicolon, .open: directives.append(try directive(words, ending, depth: depth))
            case .close(let place): return (directives, place)
            case .end(let place):
                throw Diagnostic(
                    at: place, directive: name.shown, "unexpected end of file, expecting \"}\"", found: "end of file",
                    expected: "}", hint: "the block of \"\(name.shown)\" at line \(name.position.line) is not closed")
            }
        }
    }

    private mutating func directive(_ words: [Word], _ ending: Ending, depth: Int) throws(Diagnostic) -> Directive {
        let name = words[0]
        directiveCount += 1
        if directiveCount > limits.directivesMax {
            throw Diagnostic(
                at: name.position, directive: name.shown, "more than \(limits.directivesMax) directives",
                found: "one directive more", expected: "at most \(limits.directivesMax)")
        }
        var directive = Directive(name: name, arguments: Array(words.dropFirst()))
        guard case .open(let brace) = ending else { return directive }
        let depthMax = min(limits.depthMax, ConfigurationLimits.depthCeiling)
        if depth >= depthMax {
            throw Diagnostic(
                at: brace, directive: name.shown, "blocks are nested more than \(depthMax) deep", found: "{",
                expected: "at most \(depthMax) blocks within each other")
        }
        let (block, end) = try block(of: name, depth: depth + 1)
        directive.block = block
        directive.blockEnd = end
        return directive
    }

    /// The words up to the next `;` or `{`, at least one; none before a `}` or the end of the file.
    private mutating func statement() throws(Diagnostic) -> ([Word], Ending) {
        var words: [Word] = []
        while true {
            switch try lexer.next() {
            case .word(let word):
                words.append(word)
                if words.count > limits.wordsMax { throw tooManyWords(words[0], at: word.position) }
            case .semicolon(let place):
                if words.isEmpty { throw unexpected(";", at: place) }
                return (words, .semicolon)
            case .open(let place):
                if words.isEmpty { throw unexpected("{", at: place) }
                return (words, .open(place))
            case .close(let place):
                if let first = words.first { throw unterminated(first, at: place) }
                return (words, .close(place))
            case .end(let place):
                guard let first = words.first else { return (words, .end(place)) }
                throw lexer.unexpectedEnd(
                    hint: "\"\(first.shown)\" at line \(first.position.line) is not ended by \";\"")
            }
        }
    }

    private func unexpected(_ sign: String, at place: Position) -> Diagnostic {
        Diagnostic(at: place, "unexpected \"\(sign)\"", found: sign, expected: "a directive")
    }

    private func unterminated(_ name: Word, at place: Position) -> Diagnostic {
        Diagnostic(
            at: place, directive: name.shown, "unexpected \"}\"", found: "}", expected: "\";\" or \"{\"",
            hint: "\"\(name.shown)\" at line \(name.position.line) is not ended by \";\"")
    }

    private func tooManyWords(_ name: Word, at place: Position) -> Diagnostic {
        Diagnostic(
            at: place, directive: name.shown, "more than \(limits.wordsMax) words in directive \"\(name.shown)\"",
            found: "one word more", expected: "at most \(limits.wordsMax)",
            hint: "is a \";\" or a quote missing?")
    }
}
