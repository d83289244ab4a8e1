// Writes JSON: one line for the journal and for events, two spaces of indentation for people.
// Members are written in the order the object has them: sorting is for whoever makes the object.

extension JSON {
    /// As much as most answers and lines take.
    private static var bytesExpected: Int { 512 }

    /// - Parameter pretty: two spaces of indentation and a newline at the end; otherwise one line, with neither.
    public func text(pretty: Bool = true) -> String {
        var out: [UInt8] = []
        out.reserveCapacity(Self.bytesExpected)
        appendBytes(to: &out, pretty: pretty)
        return String(decoding: out, as: UTF8.self)
    }

    /// As `text`, as UTF-8.
    public func bytes(pretty: Bool = true) -> [UInt8] {
        var out: [UInt8] = []
        out.reserveCapacity(Self.bytesExpected)
        appendBytes(to: &out, pretty: pretty)
        return out
    }

    /// One line without spaces. No byte of it is a control character, so it may stand in a file of lines.
    public func appendBytes(to out: inout [UInt8]) { append(to: &out, depth: nil) }

    public func appendBytes(to out: inout [UInt8], pretty: Bool) {
        append(to: &out, depth: pretty ? 0 : nil)
        if pretty { out.append(UInt8(ascii: "\n")) }
    }

    /// `depth`: of the indentation; nil: one line.
    private func append(to out: inout [UInt8], depth: Int?) {
        switch self {
        case .null: out.append(contentsOf: "null".utf8)
        case .bool(let value): out.append(contentsOf: (value ? "true" : "false").utf8)
        case .integer(let value): out.append(contentsOf: String(value).utf8)
        // JSON has no word for the others.
        case .number(let value): out.append(contentsOf: (value.isFinite ? value.description : "null").utf8)
        case .string(let value): Self.append(value, to: &out)
        case .array(let elements):
            out.append(UInt8(ascii: "["))
            for i in elements.indices {
                Self.separate(i, depth.map { $0 + 1 }, &out)
                elements[i].append(to: &out, depth: depth.map { $0 + 1 })
            }
            if !elements.isEmpty { Self.newline(depth, &out) }
            out.append(UInt8(ascii: "]"))
        case .object(let members):
            out.append(UInt8(ascii: "{"))
            for i in members.indices {
                Self.separate(i, depth.map { $0 + 1 }, &out)
                Self.append(members[i].name, to: &out)
                out.append(UInt8(ascii: ":"))
                if depth != nil { out.append(UInt8(ascii: " ")) }
                members[i].value.append(to: &out, depth: depth.map { $0 + 1 })
            }
            if !members.isEmpty { Self.newline(depth, &out) }
            out.append(UInt8(ascii: "}"))
        }
    }

    private static func separate(_ index: Int, _ depth: Int?, _ out: inout [UInt8]) {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        newline(depth, &out)
    }

    private static func newline(_ depth: Int?, _ out: inout [UInt8]) {
        guard let depth else { return }
        out.append(UInt8(ascii: "\n"))
        for _ in 0..<(2 * depth) { out.append(UInt8(ascii: " ")) }
    }

    private static func append(_ string: String, to out: inout [UInt8]) {
        out.append(UInt8(ascii: "\""))
        let bytes = string.utf8Span.span
        var needsEscape = false
        for i in bytes.indices {
            let byte = bytes[i]
            needsEscape = needsEscape || byte < 0x20 || byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "\\")
        }
        if needsEscape {
            for byte in string.utf8 { appendEscaped(byte, to: &out) }
        } else {
            out.append(contentsOf: string.utf8)
        }
        out.append(UInt8(ascii: "\""))
    }

    private static func appendEscaped(_ byte: UInt8, to out: inout [UInt8]) {
        let letter: UInt8
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"): letter = byte
        case 0x08: letter = UInt8(ascii: "b")
        case 0x09: letter = UInt8(ascii: "t")
        case 0x0A: letter = UInt8(ascii: "n")
        case 0x0C: letter = UInt8(ascii: "f")
        case 0x0D: letter = UInt8(ascii: "r")
        case 0..<0x20:
            out.append(contentsOf: (byte < 0x10 ? "\\u000" : "\\u00").utf8)
            out.append(contentsOf: String(byte, radix: 16).utf8)
            return
        default:
            out.append(byte)
            return
        }
        out.append(UInt8(ascii: "\\"))
        out.append(letter)
    }
}
