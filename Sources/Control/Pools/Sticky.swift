// `sticky cookie NAME ...`: one grammar for the configuration and the admin API, which keeps the text behind the word `sticky`.
// Read by the upstream directives and by `PoolBuilder`. Diagnostics are nginx's.

import AdminAPI
import ConfigurationFile
import Engine

struct Sticky {
    var cookie: String
    /// Seconds; `StickySettings.noExpiry` and `StickySettings.expiryMax` are what they say.
    var expiresSeconds = StickySettings.noExpiry
    var domain: Word?
    var sameSite: Word?
    var path: Word?
    var isHTTPOnly = false
    var isSecure = false

    /// `arguments` of the directive.
    init(_ arguments: [Word], of d: Directive) throws(Diagnostic) {
        guard let kind = arguments.first, arguments.count >= 2 else { throw .wrongArgumentCount(d, expected: "cookie NAME and its parameters") }
        guard kind == "cookie" else { throw .invalidValue(kind, of: "sticky", expected: "\"cookie\" (\"route\" and \"learn\" are not supported)") }
        let name = arguments[1]
        let isToken = !name.bytes.isEmpty && name.bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && !"()<>@,;:\\\"/[]?={}".utf8.contains($0) }
        if !isToken { throw .invalidValue(name, of: "sticky", expected: "the name of a cookie (RFC 6265)") }
        cookie = name.text
        var seen: Set<String> = []
        for word in arguments.dropFirst(2) {
            let (parameter, value) = word.parameter.map { ($0.name, $0.value) } ?? (word.text, nil)
            if !seen.insert(parameter).inserted {
                throw Diagnostic(
                    at: word.position, directive: "sticky", "parameter \"\(parameter)\" is duplicate", found: word.shown, expected: "it once")
            }
            try set(parameter, value, word)
        }
    }

    private mutating func set(_ parameter: String, _ value: Word?, _ word: Word) throws(Diagnostic) {
        switch (parameter, value) {
        case ("httponly", nil): isHTTPOnly = true
        case ("secure", nil): isSecure = true
        case ("expires", let value?):
            if value == "max" { expiresSeconds = StickySettings.expiryMax } else { expiresSeconds = Int64(try value.seconds(of: "sticky")) }
        case ("domain", let value?): domain = try Self.attribute(value)
        case ("path", let value?): path = try Self.attribute(value)
        case ("samesite", let value?):
            let isVariable = value.bytes.contains(UInt8(ascii: "$"))
            if !isVariable, !["strict", "lax", "none"].contains(value.text.lowercased()) {
                throw .invalidValue(value, of: "sticky", expected: "strict, lax, none or a variable")
            }
            sameSite = value
        default:
            let known = ["expires", "domain", "path", "httponly", "secure", "samesite"]
            throw .invalidValue(
                word, of: "sticky", expected: "expires=TIME, domain=DOMAIN, path=PATH, httponly, secure or samesite=strict|lax|none",
                hint: nearestName(to: parameter, among: known).map { "did you mean \"\($0)\"?" })
        }
    }

    /// It stands in a header: nothing may end it early.
    private static func attribute(_ value: Word) throws(Diagnostic) -> Word {
        if !value.bytes.isEmpty, value.bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ";") }) { return value }
        throw .invalidValue(value, of: "sticky", expected: "a value without \";\" and control characters")
    }

    /// Reads a text such as `cookie srv_id expires=1h`.
    init(text: String) throws(Diagnostic) {
        let position = Position(file: "sticky")
        let read = try ConfigurationFile.parse(Array("sticky \(text);".utf8), file: "sticky")
        guard read.count == 1, let words = read.first?.arguments, read.first?.block == nil else {
            throw Diagnostic(at: position, directive: "sticky", "invalid words", found: text, expected: "cookie NAME and its parameters")
        }
        try self.init(words, of: Directive(name: Word("sticky", position: position), arguments: words))
    }

    /// What the engine is told; `peers` are the texts of the peers' addresses, in their order.
    func settings(_ compiler: TemplateCompiler, peers: [String]) throws(Diagnostic) -> StickySettings {
        let arena = compiler.arena
        var made = StickySettings()
        made.cookie = arena.freeze(cookie)
        made.expiresSeconds = expiresSeconds
        if let domain { made.domain = try compiler.template(domain, of: "sticky").template }
        if let sameSite { made.sameSite = try compiler.template(sameSite, of: "sticky").template }
        made.flags = arena.freeze((isHTTPOnly ? "; httponly" : "") + (isSecure ? "; secure" : ""))
        if let path { made.path = arena.freeze("; path=" + path.text) }
        made.peers = NameTable(peers.enumerated().map { (name: stickyID(of: $0.element), value: Int32($0.offset)) }, arena: arena)
        return made
    }
}
