// Words of a directive and their text in nginx's grammar: quotes where they are needed, and none lost on the way back.
// Called by the export, and by whoever keeps a directive's arguments in one string, as `balance` and `sticky` are.

public enum ConfigurationText {
    /// `hash $uri consistent`: the words as a configuration has them, parted by spaces.
    public static func joined(_ words: [String]) -> String { words.map(word).joined(separator: " ") }

    /// One word, in quotes unless it reads the same without.
    public static func word(_ text: String) -> String {
        if !text.isEmpty, text.utf8.allSatisfy(isPlain) { return text }
        var out = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out + "\""
    }

    /// The words of `text`, quotes taken off and escapes resolved; `;`, braces and `#` are signs among others, since no
    /// directive can end here. A quote that is not closed ends with the text.
    public static func words(of text: String) -> [String] {
        var words: [String] = []
        var word = ""
        var quote: Unicode.Scalar?
        var isInWord = false
        var isEscape = false
        for scalar in text.unicodeScalars {
            if isEscape {
                word += meaning(of: scalar)
                isEscape = false
            } else if scalar == "\\" {
                (isEscape, isInWord) = (true, true)
            } else if let end = quote {
                if scalar == end { quote = nil } else { word.unicodeScalars.append(scalar) }
            } else if scalar == " " || scalar == "\t" || scalar == "\n" || scalar == "\r" {
                if isInWord { words.append(word) }
                (word, isInWord) = ("", false)
            } else if !isInWord, scalar == "\"" || scalar == "'" {
                (quote, isInWord) = (scalar, true)
            } else {
                word.unicodeScalars.append(scalar)
                isInWord = true
            }
        }
        if isEscape { word += "\\" }
        if isInWord { words.append(word) }
        return words
    }

    /// Of what follows a backslash.
    private static func meaning(of scalar: Unicode.Scalar) -> String {
        switch scalar {
        case "\"", "'", "\\": String(scalar)
        case "t": "\t"
        case "r": "\r"
        case "n": "\n"
        default: "\\" + String(scalar)
        }
    }

    /// Signs that mean nothing to the grammar, wherever they stand in a word.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "_-.:/=$[]%+,@*~?&!|()<>^".utf8.contains(byte)
        }
    }
}
