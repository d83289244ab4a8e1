// Directives of response filters: gzip, gzip_static, gunzip, charset.

import Bytes
import ConfigurationFile
import Engine
import HTTPMessage

/// What a location says of filters, with the lists that are frozen when the block ends.
struct FilterDraft {
    var settings = FilterSettings()
    var gzipTypes = ["text/html"]
    var gzipDisabled: [Int32] = []
    /// From one charset to another, where both are fixed, and what says so.
    var recoding: (source: Int32, target: Int32, word: Word)?
    var charsetTypes = [
        "text/html", "text/xml", "text/plain", "text/vnd.wap.wml", "application/javascript", "application/rss+xml",
    ]

    /// Nil where nothing is filtered, so that answers there are asked nothing.
    func frozen(for location: LocationSettings, hasCharsets: Bool, arena: Arena) -> Ref<FilterSettings>? {
        if location.handler == .admin { return nil }
        // An upstream may name a charset in X-Accel-Charset.
        let mayBeTold = location.handler == .proxy && hasCharsets
        guard settings.gzip || settings.gunzip || settings.gzipStatic != .off || settings.charset != .off || mayBeTold else {
            return nil
        }
        var settings = settings
        settings.gzipTypes = MediaTypeList(gzipTypes, arena: arena)
        settings.gzipDisabled = arena.freeze(gzipDisabled)
        settings.charsetTypes = MediaTypeList(charsetTypes, arena: arena)
        return arena.freeze(settings)
    }
}

enum FilterDirectives {
    static let all: [DirectiveRule] =
        [
            flag("gzip", .httpLevelsAndIf, \.gzip),
            DirectiveRule("gzip_types", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in
                scope.location.filters.gzipTypes = types(scope, d)
            },
            DirectiveRule("gzip_min_length", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
                scope.location.filters.settings.gzipMinLength = Int64(try d.arguments[0].sizeBytes(of: d.name.text))
            },
            DirectiveRule("gzip_comp_level", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
                scope.location.filters.settings.gzipLevel = Int32(try d.arguments[0].integer(in: 1...9, of: d.name.text))
            },
            flag("gzip_vary", .httpLevels, \.gzipVary),
            DirectiveRule("gzip_http_version", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
                guard let minor: UInt8 = ["1.0": 0, "1.1": 1][d.arguments[0].text] else {
                    throw .invalidValue(d.arguments[0], of: d.name.text, expected: "\"1.0\" or \"1.1\"")
                }
                scope.location.filters.settings.gzipHTTPMinor = minor
            },
            DirectiveRule("gzip_proxied", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in
                scope.location.filters.settings.gzipProxied = try proxied(d)
            },
            DirectiveRule("gzip_disable", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in try disable(scope, d) },
            .accepted("gzip_buffers", .httpLevels, 2...2, why: "buffers belong to the worker"),
            DirectiveRule("gzip_static", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
                guard let value: GzipStatic = ["off": .off, "on": .on, "always": .always][d.arguments[0].text] else {
                    throw .invalidValue(d.arguments[0], of: d.name.text, expected: "\"on\", \"off\" or \"always\"")
                }
                scope.location.filters.settings.gzipStatic = value
            },
            flag("gunzip", .httpLevels, \.gunzip),
            .accepted("gunzip_buffers", .httpLevels, 2...2, why: "buffers belong to the worker"),
            DirectiveRule("charset", .httpLevelsAndIf, 1...1) { (scope, d) throws(Diagnostic) in
                let word = d.arguments[0]
                scope.location.filters.settings.charset = word == "off" ? .off : try charset(word, scope, of: d)
                noteRecoding(scope, d)
            },
            DirectiveRule("source_charset", .httpLevelsAndIf, 1...1) { (scope, d) throws(Diagnostic) in
                scope.location.filters.settings.sourceCharset = try charset(d.arguments[0], scope, of: d)
                noteRecoding(scope, d)
            },
            flag("override_charset", .httpLevelsAndIf, \.overridesCharset),
            DirectiveRule("charset_types", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in
                scope.location.filters.charsetTypes = types(scope, d)
            },
            DirectiveRule("charset_map", [.http], 2...2, takesBlock: true, isUnique: false) { (scope, d) throws(Diagnostic) in
                try charsetMap(scope, d)
            },
        ]

    private static func flag(
        _ name: String, _ contexts: Set<Context>, _ path: WritableKeyPath<FilterSettings, Bool> & Sendable
    ) -> DirectiveRule {
        DirectiveRule(name, contexts, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.filters.settings[keyPath: path] = try d.arguments[0].flag(of: name)
        }
    }

    /// text/html is in every list of types.
    static func types(_ scope: Scope, _ d: Directive) -> [String] {
        var list = ["text/html"]
        for word in d.arguments {
            let type = word.text.lowercased()
            if list.contains(type) {
                scope.builder.warnings.append(
                    Diagnostic(
                        at: word.position, directive: d.name.text, "duplicate MIME type \"\(word.shown)\"", found: word.shown,
                        expected: "each type once; text/html is there without being named"))
            } else {
                list.append(type)
            }
        }
        return list
    }

    private static func proxied(_ d: Directive) throws(Diagnostic) -> GzipProxied {
        let names: [String: GzipProxied] = [
            "off": [], "expired": .expired, "no-cache": .noCache, "no-store": .noStore, "private": .isPrivate,
            "no_last_modified": .noLastModified, "no_etag": .noETag, "auth": .auth, "any": .any,
        ]
        var conditions: GzipProxied = []
        for word in d.arguments {
            guard let condition = names[word.text] else {
                throw .invalidValue(
                    word, of: d.name.text, expected: names.keys.sorted().map { "\"\($0)\"" }.joined(separator: ", "))
            }
            if word == "off", d.arguments.count > 1 {
                throw .invalidValue(word, of: d.name.text, expected: "alone, when it is \"off\"")
            }
            conditions.insert(condition)
        }
        return conditions
    }

    private static func disable(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        scope.location.filters.gzipDisabled = []
        scope.location.filters.settings.gzipDisabledForMSIE6 = false
        for word in d.arguments {
            switch word.text {
            case "msie6": scope.location.filters.settings.gzipDisabledForMSIE6 = true
            // nginx built without its test for memory takes the word and does nothing.
            case "degradation": break
            default:
                scope.location.filters.gzipDisabled.append(try scope.builder.regex(word, ignoringCase: true, of: d.name.text))
            }
        }
    }

    // MARK: Charset

    private static func charset(_ word: Word, _ scope: Scope, of d: Directive) throws(Diagnostic) -> CharsetChoice {
        if word.bytes.first == UInt8(ascii: "$") { return .computed(try scope.builder.template(word, of: d.name.text)) }
        guard !word.bytes.isEmpty, word.bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ";") }) else {
            throw .invalidValue(word, of: d.name.text, expected: "the name of a charset, or a variable")
        }
        return .named(scope.builder.charset(word.text))
    }

    /// Remembers that a table is needed between the two charsets of a location: whether there is one is known at the end.
    private static func noteRecoding(_ scope: Scope, _ d: Directive) {
        let settings = scope.location.filters.settings
        scope.location.filters.recoding = nil
        guard case .named(let target) = settings.charset, case .named(let source) = settings.sourceCharset, source != target
        else { return }
        scope.location.filters.recoding = (source, target, d.arguments[0])
    }

    private static func charsetMap(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let builder = scope.builder
        let names = d.arguments
        let source = builder.charset(names[0].text)
        let target = builder.charset(names[1].text)
        if source == target {
            throw Diagnostic(
                at: d.position, directive: d.name.text,
                "\"charset_map\" between the same charsets \"\(names[0].shown)\" and \"\(names[1].shown)\"",
                found: names[1].shown, expected: "two charsets")
        }
        if isUTF8(names[0]) {
            throw Diagnostic(
                at: names[0].position, directive: d.name.text,
                "\"charset_map\" with \"utf-8\" charset should be given in the second column",
                found: names[0].shown, expected: "the other charset first")
        }
        if builder.charsetTables.contains(where: { $0.from == source && $0.to == target }) {
            throw Diagnostic(
                at: d.position, directive: d.name.text,
                "duplicate \"charset_map\" between \"\(names[0].shown)\" and \"\(names[1].shown)\"",
                found: names[0].shown, expected: "one map between two charsets")
        }
        var pairs: [(byte: UInt8, text: [UInt8])] = []
        for line in d.block ?? [] {
            guard line.arguments.count == 1, line.block == nil else { throw .wrongArgumentCount(line, expected: "two codes") }
            guard let byte = hexBytes(line.name), byte.count == 1 else {
                throw .invalidValue(line.name, of: d.name.text, expected: "a byte in hexadecimal digits")
            }
            let most = isUTF8(names[1]) ? 3 : 1
            guard let text = hexBytes(line.arguments[0]), text.count <= most, most == 1 || utf8Point(text) != nil else {
                throw .invalidValue(
                    line.arguments[0], of: d.name.text,
                    expected: most == 1
                        ? "a byte in hexadecimal digits" : "one character of UTF-8, at most 3 bytes, in hexadecimal digits")
            }
            pairs.append((byte[0], text))
        }
        let arena = builder.arena
        let there: CharsetTable
        let back: CharsetTable
        if isUTF8(names[1]) {
            there = CharsetTable(toUTF8: pairs, arena: arena)
            back = CharsetTable(fromUTF8: pairs.map { (utf8Point($0.text) ?? 0, $0.byte) }, arena: arena)
        } else {
            there = CharsetTable(bytes: pairs.map { ($0.byte, $0.text[0]) }, arena: arena)
            back = CharsetTable(bytes: pairs.map { ($0.text[0], $0.byte) }, arena: arena)
        }
        builder.charsetTables.append(Charsets.Table(from: source, to: target, table: there))
        builder.charsetTables.append(Charsets.Table(from: target, to: source, table: back))
    }

    private static func isUTF8(_ word: Word) -> Bool { word.text.lowercased() == "utf-8" }

    private static func hexBytes(_ word: Word) -> [UInt8]? {
        let text = word.text.count == 1 ? "0" + word.text : word.text
        guard !text.isEmpty, text.utf8.count % 2 == 0, text.utf8.allSatisfy({ Character(UnicodeScalar($0)).isHexDigit }) else {
            return nil
        }
        let digits = Array(text.utf8)
        return stride(from: 0, to: digits.count, by: 2).map { i in
            UInt8(String(decoding: digits[i...(i + 1)], as: UTF8.self), radix: 16) ?? 0
        }
    }
}

extension SnapshotBuilder {
    /// The place of a charset among those that the configuration names.
    func charset(_ name: String) -> Int32 {
        if let known = charsets.firstIndex(where: { $0.lowercased() == name.lowercased() }) { return Int32(known) }
        charsets.append(name)
        return Int32(charsets.count - 1)
    }

    /// Locations that recode have a table to do it by.
    func checkRecodings() throws(Diagnostic) {
        for draft in locations {
            guard let (source, target, word) = draft.filters.recoding else { continue }
            if charsetTables.contains(where: { $0.from == source && $0.to == target }) { continue }
            throw Diagnostic(
                at: word.position, directive: "charset",
                "no \"charset_map\" between the charsets \"\(charsets[Int(source)])\" and \"\(charsets[Int(target)])\"",
                found: word.shown,
                expected: "a charset_map between the two")
        }
    }
}
