// The words of an upstream's `balance` and `sticky`, and the templates in them and in splits, as the configuration has them.
// Text only: which variables exist the snapshot's builder knows.

/// A way of balancing, as the configuration names it.
public enum BalanceMethod: Sendable, Hashable {
    case roundRobin, leastConn, ipHash, random
    /// The less busy one of two drawn by lot.
    case randomTwo
    /// - key: a template.
    case hash(key: String, isConsistent: Bool)

    static let names = ["round_robin", "least_conn", "ip_hash", "random", "hash"]

    /// `round_robin`, `least_conn`, `ip_hash`, `random`, `random two [least_conn]`, `hash TEMPLATE [consistent]`.
    /// - Throws: `bad-balance`, or `bad-template` of a hash's key; with an empty pointer, relative to the text.
    public init(_ text: String) throws(Problem) {
        func bad(_ found: String, _ expected: String, hint: String = "") -> Problem {
            Problem(.badBalance, "found \(found), expected \(expected)", hint: hint, pointer: "")
        }
        let words = try ConfigurationWords.split(text)
        switch words.first {
        case "round_robin" where words.count == 1: self = .roundRobin
        case "least_conn" where words.count == 1: self = .leastConn
        case "ip_hash" where words.count == 1: self = .ipHash
        case "random" where words.count == 1: self = .random
        case "random":
            guard words[1] == "two", words.count < 3 || words[2] == "least_conn", words.count < 4 else {
                throw bad("\"\(shortened(text))\"", "\"random\", \"random two\" or \"random two least_conn\"")
            }
            self = .randomTwo
        case "hash":
            guard words.count == 2 || words.count == 3 && words[2] == "consistent" else {
                let hint = words.count > 3 ? "write a key with spaces in double quotes" : ""
                throw bad("\"\(shortened(text))\"", "\"hash TEMPLATE\" or \"hash TEMPLATE consistent\"", hint: hint)
            }
            try StateRules.check(template: words[1])
            self = .hash(key: words[1], isConsistent: words.count == 3)
        case nil: throw bad("nothing", "one of " + Self.names.joined(separator: ", "))
        case let word?:
            if Self.names.contains(word) { throw bad("\"\(shortened(text))\"", "\"\(word)\" alone") }
            let near = nearestField(to: word, among: Self.names).map { "did you mean \"\($0)\"?" } ?? ""
            throw bad("\"\(shortened(word))\"", "one of " + Self.names.joined(separator: ", "), hint: near)
        }
    }

    /// As the configuration writes it.
    public var text: String {
        switch self {
        case .roundRobin: "round_robin"
        case .leastConn: "least_conn"
        case .ipHash: "ip_hash"
        case .random: "random"
        case .randomTwo: "random two least_conn"
        case .hash(let key, let isConsistent): "hash " + ConfigurationWords.quoted(key) + (isConsistent ? " consistent" : "")
        }
    }

    /// The directive's name.
    public var name: String { text.split(separator: " ").first.map(String.init) ?? "" }

    /// As nginx: a method that goes by key or lot has no second choice.
    public var takesBackup: Bool {
        switch self {
        case .roundRobin, .leastConn: true
        case .ipHash, .random, .randomTwo, .hash: false
        }
    }
}

/// Words of a directive, with the quotes and backslashes of nginx's configuration.
public enum ConfigurationWords {
    /// - Throws: `bad-balance` for what would end the directive or is not closed; with an empty pointer.
    static func split(_ text: String) throws(Problem) -> [String] {
        func bad(_ found: String, _ expected: String) -> Problem {
            Problem(.badBalance, "found \(found) in \"\(shortened(text))\", expected \(expected)", pointer: "")
        }
        if text.utf8.count > StateBounds.textBytesMax {
            throw Problem(
                .outOfRange, "found \(text.utf8.count) bytes, expected at most \(StateBounds.textBytesMax)", pointer: "")
        }
        var words: [String] = []
        var word = String.UnicodeScalarView()
        var isWord = false
        var quote: Unicode.Scalar?
        var previous: Unicode.Scalar = " "
        var scalars = Array(text.unicodeScalars)[...]
        while let scalar = scalars.popFirst() {
            if scalar.value < 0x20 || scalar.value == 0x7F { throw bad("a control character", "printable text") }
            if scalar == "\\", let next = scalars.first, next == "\"" || next == "'" || next == "\\" {
                word.append(next)
                isWord = true
                scalars = scalars.dropFirst()
            } else if let open = quote {
                if scalar == open {
                    quote = nil
                    if let next = scalars.first, next != " " {
                        throw bad("\"\(shortened(String(next)))\" behind a closing quote", "a space")
                    }
                } else {
                    word.append(scalar)
                }
            } else if scalar == " " {
                if isWord { words.append(String(word)) }
                (word, isWord) = (String.UnicodeScalarView(), false)
            } else if !isWord, scalar == "\"" || scalar == "'" {
                (quote, isWord) = (scalar, true)
            } else {
                let isBrace = scalar == "{" && previous == "$" || scalar == "}" && word.contains("{")
                if scalar == ";" || scalar == "{" || scalar == "}", !isBrace { throw bad("\"\(scalar)\"", "it in quotes") }
                if scalar == "#", !isWord { throw bad("a comment", "words only") }
                word.append(scalar)
                isWord = true
            }
            previous = scalar
        }
        if quote != nil { throw bad("a quote that is not closed", "a closing one") }
        if isWord { words.append(String(word)) }
        return words
    }

    /// A word as the configuration takes it: in double quotes where it needs them.
    public static func quoted(_ word: String) -> String {
        let marks = "{};\"'\\ #\t\r\n".unicodeScalars
        if !word.isEmpty, !word.unicodeScalars.contains(where: { marks.contains($0) }) { return word }
        var out = "\""
        for scalar in word.unicodeScalars {
            if scalar == "\"" || scalar == "\\" { out += "\\" }
            out.unicodeScalars.append(scalar)
        }
        return out + "\""
    }
}

extension StateRules {
    /// Text with `$name`, `${name}` and `$1` to `$9` in it.
    /// - Throws: `bad-template`; `out-of-range` for one that is too long.
    public static func check(template text: String, at pointer: JSONPointer = .root) throws(Problem) {
        func bad(_ found: String, _ expected: String) -> Problem {
            Problem(.badTemplate, "found \(found) in \"\(shortened(text))\", expected \(expected)", pointer: pointer.text)
        }
        let bytes = Array(text.utf8)
        if bytes.isEmpty { throw bad("nothing", "text with variables such as $cookie_sid") }
        if bytes.count > StateBounds.textBytesMax {
            throw Problem(
                .outOfRange, "found \(bytes.count) bytes, expected at most \(StateBounds.textBytesMax)", pointer: pointer.text)
        }
        if bytes.contains(where: { $0 < 0x20 || $0 == 0x7F }) { throw bad("a control character", "printable text") }
        var i = 0
        while let dollar = bytes[i...].firstIndex(of: UInt8(ascii: "$")) {
            let isBraced = dollar + 1 < bytes.count && bytes[dollar + 1] == UInt8(ascii: "{")
            let first = isBraced ? dollar + 2 : dollar + 1
            let name = bytes[min(first, bytes.count)...].prefix(while: isVariableByte)
            if name.isEmpty { throw bad("\"$\" without a variable's name", "$name, ${name} or $1 to $9") }
            i = name.endIndex
            if isBraced {
                guard i < bytes.count, bytes[i] == UInt8(ascii: "}") else { throw bad("\"${\" that is not closed", "${name}") }
                i += 1
            }
        }
    }

    private static func isVariableByte(_ byte: UInt8) -> Bool {
        let lower = byte | 0x20
        return lower >= UInt8(ascii: "a") && lower <= UInt8(ascii: "z") || byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
            || byte == UInt8(ascii: "_")
    }

    /// `cookie NAME [expires=...] [domain=...] [httponly] [samesite=...] [secure] [path=...]`.
    /// - Throws: `bad-balance`, `bad-name` of the cookie.
    static func check(sticky text: String) throws(Problem) {
        let words = try ConfigurationWords.split(text)
        guard words.count >= 2, words[0] == "cookie" else {
            throw Problem(.badBalance, "found \"\(shortened(text))\", expected \"cookie NAME\" and its parameters", pointer: "")
        }
        try check(cookieName: words[1])
        let known = ["expires", "domain", "httponly", "samesite", "secure", "path"]
        for word in words.dropFirst(2) {
            let name = word.split(separator: "=", maxSplits: 1).first.map(String.init) ?? ""
            let isFlag = name == "httponly" || name == "secure"
            guard known.contains(name), isFlag || word.utf8.count > name.utf8.count + 1 else {
                let near = nearestField(to: name, among: known).map { "did you mean \"\($0)\"?" } ?? ""
                let expected = "expires=, domain=, path=, samesite=, httponly or secure"
                throw Problem(.badBalance, "found \"\(shortened(word))\", expected \(expected)", hint: near, pointer: "")
            }
        }
    }
}
