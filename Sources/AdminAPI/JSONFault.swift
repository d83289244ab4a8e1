// Words what the parser refuses: line and column, what was found, what was expected, and a hint for the usual mistakes.
// Made by JSONParser; only JSON.parse turns one into a Problem.

struct JSONFault: Error {
    enum Kind {
        case expected(StaticString)
        case trailingComma, leadingZero, controlCharacter, badEscape, loneSurrogate, badUTF8, byteOrderMark
        case tooDeep, tooMany, duplicate, numberTooLarge
    }
    var kind: Kind
    var offset: Int
    /// The way to the place, the innermost first. Told only where the document was well formed so far.
    var path: [String] = []

    init(_ kind: Kind, at offset: Int) {
        self.kind = kind
        self.offset = offset
    }

    func below(_ token: String) -> JSONFault {
        var fault = self
        fault.path.append(token)
        return fault
    }

    func problem(in bytes: [UInt8], _ limits: JSONLimits) -> Problem {
        let place = Self.place(of: offset, in: bytes)
        let found = Self.found(at: offset, in: bytes)
        let pointer = JSONPointer(path.reversed()).text
        func notJSON(_ found: String, _ expected: String, hint: String = "") -> Problem {
            Problem(.notJSON, "\(place): found \(found), expected \(expected)", hint: hint)
        }
        switch kind {
        case .expected(let what): return notJSON(found, what.description, hint: hint(in: bytes))
        case .trailingComma:
            return notJSON("\(found) after a comma", "another value", hint: "JSON has no comma behind the last one")
        case .leadingZero: return notJSON("a number that begins with 0", "a number without leading zeros")
        case .controlCharacter:
            return notJSON("\(found) in a string", "a printable character", hint: "write it as \\n, \\t or \\u00XX")
        case .badEscape:
            return notJSON(
                "an unknown escape", "one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\uXXXX", hint: "a backslash itself is \\\\")
        case .loneSurrogate: return notJSON("half of a surrogate pair", "a whole pair such as \\ud83d\\ude00")
        case .badUTF8: return notJSON("bytes that are no UTF-8", "text in UTF-8")
        case .byteOrderMark: return notJSON("a byte order mark", "a value", hint: "send UTF-8 without a byte order mark")
        case .tooDeep:
            return Problem(.tooDeep, "\(place): found more than \(limits.depthMax) lists and objects within each other")
        case .tooMany: return Problem(.tooLarge, "found more than \(limits.valuesMax) values")
        case .duplicate:
            let name = shortened(path.first ?? "")
            return Problem(
                .duplicateField, "\(place): found \"\(name)\" a second time, expected each field once", pointer: pointer)
        case .numberTooLarge:
            return Problem(.outOfRange, "\(place): found a number that no double holds", pointer: pointer)
        }
    }

    /// `line 3, column 15`: columns count characters (code points), from 1.
    private static func place(of offset: Int, in bytes: [UInt8]) -> String {
        var line = 1
        var column = 1
        for byte in bytes[..<min(offset, bytes.count)] {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return "line \(line), column \(column)"
    }

    private static func found(at offset: Int, in bytes: [UInt8]) -> String {
        guard offset < bytes.count else { return "the end of the body" }
        let byte = bytes[offset]
        if byte < 0x20 || byte == 0x7F { return "the control character 0x" + hex(byte) }
        let word = word(at: offset, in: bytes)
        if !word.isEmpty { return "\"" + word + "\"" }
        if byte < 0x80 { return byte == UInt8(ascii: "\"") ? "a string" : "\"" + String(Unicode.Scalar(byte)) + "\"" }
        // As many bytes as the first one announces.
        let count = (~byte).leadingZeroBitCount
        if let text = String(validating: bytes[offset..<min(offset + count, bytes.count)], as: UTF8.self) {
            return "\"" + text + "\""
        }
        return "the byte 0x" + hex(byte)
    }

    /// The letters and digits from there.
    private static func word(at offset: Int, in bytes: [UInt8]) -> String {
        let word = bytes[offset..<min(offset + 24, bytes.count)].prefix { byte in
            switch byte {
            case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "_"):
                true
            default: false
            }
        }
        return String(decoding: word, as: UTF8.self)
    }

    private static func hex(_ byte: UInt8) -> String { (byte < 0x10 ? "0" : "") + String(byte, radix: 16, uppercase: true) }

    private func hint(in bytes: [UInt8]) -> String {
        guard offset < bytes.count else { return bytes.isEmpty ? "the body is empty" : "the body is cut short" }
        switch bytes[offset] {
        case UInt8(ascii: "'"): return "JSON writes strings in double quotes"
        case UInt8(ascii: "/"), UInt8(ascii: "#"): return "JSON has no comments"
        case UInt8(ascii: "+"), UInt8(ascii: "."): return "JSON writes numbers as 1, -1, 0.5 or 1e3"
        default: break
        }
        let word = Self.word(at: offset, in: bytes)
        switch word.lowercased() {
        case "true", "false", "null": return "JSON writes \(word.lowercased()) in lower case"
        case "none", "nil", "undefined": return "JSON writes null"
        case "nan", "infinity", "inf": return "JSON has finite numbers only"
        case "": return ""
        default: return word.first?.isNumber == true ? "" : "JSON writes strings in double quotes"
        }
    }
}

/// At most 64 characters of what somebody sent, for a message that may end up on a terminal: control characters are told as `?`.
func shortened(_ text: String) -> String {
    var out = String.UnicodeScalarView()
    var count = 0
    for scalar in text.unicodeScalars {
        count += 1
        if count > 64 { return String(out) + "..." }
        out.append(scalar.value < 0x20 || (0x7F..<0xA0).contains(scalar.value) ? "?" : scalar)
    }
    return String(out)
}
