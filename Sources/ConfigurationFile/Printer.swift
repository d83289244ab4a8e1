// A tree of directives written back as configuration text, which parses to an equal tree.
// Called where configurations are made by program: state written down, a dump, tests.

public struct Printer: Sendable {
    /// Spaces a level of blocks.
    public var indentation: Int

    public init(indentation: Int = 4) { self.indentation = max(0, indentation) }

    /// `directives` as configuration text. A word that stood in quotes gets quotes, and any other word that needs them.
    /// An empty name is written as `""`.
    public func text(_ directives: [Directive]) -> [UInt8] {
        var out: [UInt8] = []
        for directive in directives { write(directive, level: 0, to: &out) }
        return out
    }

    private func write(_ directive: Directive, level: Int, to out: inout [UInt8]) {
        let margin = [UInt8](repeating: UInt8(ascii: " "), count: level * indentation)
        out += margin
        write(directive.name, to: &out)
        for word in directive.arguments {
            out.append(UInt8(ascii: " "))
            write(word, to: &out)
        }
        guard let block = directive.block else {
            out += ";\n".utf8
            return
        }
        out += " {\n".utf8
        for inner in block { write(inner, level: level + 1, to: &out) }
        out += margin
        out += "}\n".utf8
    }

    private func write(_ word: Word, to out: inout [UInt8]) {
        if !word.isQuoted && readsBare(word.bytes) {
            out += word.bytes
            return
        }
        out.append(UInt8(ascii: "\""))
        for byte in word.bytes {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): out += [UInt8(ascii: "\\"), byte]
            case UInt8(ascii: "\n"): out += "\\n".utf8
            case UInt8(ascii: "\r"): out += "\\r".utf8
            case UInt8(ascii: "\t"): out += "\\t".utf8
            default: out.append(byte)
            }
        }
        out.append(UInt8(ascii: "\""))
    }

    /// Whether the bytes, written as they are, are read as one word and the same bytes.
    private func readsBare(_ bytes: [UInt8]) -> Bool {
        guard let first = bytes.first else { return false }
        if "\"'#}".utf8.contains(first) { return false }
        // The mark of byte order is refused at the start of a file.
        if first == 0xEF { return false }
        var afterDollar = false
        var i = 0
        while i < bytes.count {
            switch bytes[i] {
            case UInt8(ascii: " "), UInt8(ascii: "\t"), UInt8(ascii: "\r"), UInt8(ascii: "\n"), UInt8(ascii: ";"):
                return false
            case UInt8(ascii: "{"):
                if !afterDollar { return false }
            case UInt8(ascii: "\\"):
                // Before these a backslash means something else, and at the end it would hide what follows the word.
                if i + 1 == bytes.count || "\"'\\trn".utf8.contains(bytes[i + 1]) { return false }
                // It takes the meaning of a sign, whatever the next byte is.
                afterDollar = false
                i += 1
            default: afterDollar = bytes[i] == UInt8(ascii: "$")
            }
            i += 1
        }
        return true
    }
}
