// Server-side includes taken apart: a command with its parameters, texts with variables in them, conditions.
// Called by the engine's filter for commands that are whole. What they ask for is done there. The grammar is nginx's.

public enum SSIWord: String, Sendable, CaseIterable {
    case include, echo, config, set, block, endblock, endif
    case `if`, elif, `else`

    /// The parameters it takes, and those that it must have.
    var parameters: (known: [String], needed: [String]) {
        switch self {
        case .include: (["virtual", "file", "wait", "set", "stub"], [])
        case .echo: (["var", "default", "encoding"], ["var"])
        case .config: (["errmsg", "timefmt"], [])
        case .set: (["var", "value"], ["var", "value"])
        case .block: (["name"], ["name"])
        case .if, .elif: (["expr"], ["expr"])
        case .endblock, .else, .endif: ([], [])
        }
    }
}

public struct SSICommand: Sendable, Equatable {
    public var word: SSIWord
    /// By name; values as they stand between their quotes.
    public var parameters: [String: [UInt8]] = [:]

    public subscript(_ name: String) -> [UInt8]? { parameters[name] }
}

/// Why a command is none, for the log.
public enum SSIFault: Error, Equatable, Sendable {
    case unknownCommand, badSyntax, unknownParameter, repeatedParameter, missingParameter, badVariable, badExpression, tooLong

    public var words: StaticString {
        switch self {
        case .unknownCommand: "invalid SSI command"
        case .badSyntax: "unexpected symbol in SSI command"
        case .unknownParameter: "invalid parameter in SSI command"
        case .repeatedParameter: "duplicate parameter in SSI command"
        case .missingParameter: "mandatory parameter is absent in SSI command"
        case .badVariable: "invalid variable name in SSI command"
        case .badExpression: "invalid expression in SSI command"
        case .tooLong: "too long a text in SSI command"
        }
    }
}

/// `bytes` are what stands between `<!--#` and `>`: the dashes of the end are their last.
public func parseSSICommand(_ bytes: [UInt8]) throws(SSIFault) -> SSICommand {
    var reader = SSIReader(bytes: bytes, end: max(0, bytes.count - 2))
    reader.skipBlanks()
    guard let word = SSIWord(rawValue: reader.name()) else { throw .unknownCommand }
    var command = SSICommand(word: word)
    let (known, needed) = word.parameters
    while true {
        reader.skipBlanks()
        if reader.isAtEnd { break }
        let name = reader.name()
        if name.isEmpty { throw .badSyntax }
        reader.skipBlanks()
        guard reader.take(UInt8(ascii: "=")) else { throw .badSyntax }
        reader.skipBlanks()
        guard let value = reader.quoted() else { throw .badSyntax }
        if !known.contains(name) { throw .unknownParameter }
        if command.parameters.updateValue(value, forKey: name) != nil { throw .repeatedParameter }
    }
    if needed.contains(where: { command.parameters[$0] == nil }) { throw .missingParameter }
    return command
}

private struct SSIReader {
    let bytes: [UInt8]
    let end: Int
    var at = 0

    init(bytes: [UInt8], end: Int) {
        self.bytes = bytes
        self.end = end
    }

    var isAtEnd: Bool { at >= end }

    mutating func skipBlanks() {
        while at < end, [0x20, 0x09, 0x0A, 0x0D].contains(bytes[at]) { at += 1 }
    }

    mutating func name() -> String {
        let start = at
        while at < end, isNameByte(bytes[at]) { at += 1 }
        return String(decoding: bytes[start..<at], as: UTF8.self)
    }

    mutating func take(_ byte: UInt8) -> Bool {
        guard at < end, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    mutating func quoted() -> [UInt8]? {
        guard at < end, bytes[at] == UInt8(ascii: "\"") || bytes[at] == UInt8(ascii: "'") else { return nil }
        let quote = bytes[at]
        at += 1
        let start = at
        while at < end, bytes[at] != quote { at += bytes[at] == UInt8(ascii: "\\") ? 2 : 1 }
        guard at < end else { return nil }
        at += 1
        return Array(bytes[start..<(at - 1)])
    }
}

private func isNameByte(_ byte: UInt8) -> Bool {
    let lower = byte | 0x20
    return lower >= 0x61 && lower <= 0x7A || byte >= 0x30 && byte <= 0x39 || byte == 0x5F
}

// MARK: Texts

/// A piece of a text: bytes, or the value of a variable.
public enum SSIPart: Equatable, Sendable {
    case bytes([UInt8])
    /// Its name in lower case; digits name a group of the last expression.
    case variable(String)
}

/// A text with `$name` and `${name}` in it. A backslash takes away what `$`, quotes and backslashes mean; before others it stands for itself.
public func parseSSIText(_ text: some Collection<UInt8>) throws(SSIFault) -> [SSIPart] {
    let text = Array(text)
    var parts: [SSIPart] = []
    var run: [UInt8] = []
    var i = 0
    while i < text.count {
        let byte = text[i]
        i += 1
        if byte == UInt8(ascii: "\\") {
            guard i < text.count else { break }
            if !"\\'\"$".utf8.contains(text[i]) { run.append(byte) }
            run.append(text[i])
            i += 1
        } else if byte == UInt8(ascii: "$") {
            if !run.isEmpty { parts.append(.bytes(run)) }
            run = []
            parts.append(.variable(try variableName(text, &i)))
        } else {
            run.append(byte)
        }
    }
    if !run.isEmpty { parts.append(.bytes(run)) }
    return parts
}

private func variableName(_ text: [UInt8], _ i: inout Int) throws(SSIFault) -> String {
    let isBraced = i < text.count && text[i] == UInt8(ascii: "{")
    if isBraced { i += 1 }
    let start = i
    while i < text.count, isNameByte(text[i]) { i += 1 }
    let name = String(decoding: text[start..<i], as: UTF8.self).lowercased()
    if isBraced {
        guard i < text.count, text[i] == UInt8(ascii: "}") else { throw .badVariable }
        i += 1
    }
    if name.isEmpty { throw .badVariable }
    return name
}

// MARK: Conditions

/// `expr` of `if` and `elif`.
public struct SSIExpression: Equatable, Sendable {
    public enum Test: Equatable, Sendable {
        /// The text is not empty.
        case isNotEmpty
        case equals([UInt8])
        /// Ignoring case.
        case matches([UInt8])
    }
    public var left: [UInt8]
    public var test: Test
    public var isNegated = false
}

/// `$name`, `$name = text`, `$name != text`, `$name = /expression/`, `$name != /expression/`.
public func parseSSIExpression(_ text: [UInt8]) throws(SSIFault) -> SSIExpression {
    var i = 0
    while i < text.count, isNameByte(text[i]) || "${}\"'".utf8.contains(text[i]) { i += 1 }
    var expression = SSIExpression(left: Array(text[..<i]), test: .isNotEmpty)
    while i < text.count, text[i] == 0x20 { i += 1 }
    if i == text.count { return expression }
    if text[i] == UInt8(ascii: "!") {
        expression.isNegated = true
        i += 1
    }
    guard i < text.count, text[i] == UInt8(ascii: "=") else { throw .badExpression }
    i += 1
    while i < text.count, text[i] == 0x20 { i += 1 }
    let right = Array(text[i...])
    guard right.first == UInt8(ascii: "/"), right.count > 1 else {
        expression.test = .equals(right)
        return expression
    }
    guard right.last == UInt8(ascii: "/") else { throw .badExpression }
    expression.test = .matches(Array(right[1..<(right.count - 1)]))
    return expression
}
