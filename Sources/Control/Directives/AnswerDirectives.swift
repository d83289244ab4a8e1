// Directives about answers: added headers, error pages, redirects, server_tokens, expires.

import Bytes
import ConfigurationFile
import Engine

enum AnswerDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("add_header", .httpLevelsAndIf, 2...3, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("add_header", \.addHeaders)
            scope.location.addHeaders.append(try line(scope, d))
        },
        DirectiveRule("add_trailer", .httpLevelsAndIf, 2...3, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("add_trailer", \.addTrailers)
            scope.location.addTrailers.append(try line(scope, d))
        },
        DirectiveRule("expires", .httpLevelsAndIf, 1...2) { (scope, d) throws(Diagnostic) in try expires(scope, d) },
        DirectiveRule("error_page", .httpLevelsAndIf, 2...(.max), isUnique: false) { (scope, d) throws(Diagnostic) in try errorPage(scope, d) },
        DirectiveRule("early_hints", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in
            var conditions: [Template] = []
            for word in d.arguments { conditions.append(try scope.builder.template(word, of: "early_hints")) }
            scope.location.settings.earlyHints = scope.builder.arena.freeze(conditions)
        },
        DirectiveRule("server_tokens", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            guard let value: ServerTokens = ["on": .on, "off": .off, "build": .build][d.arguments[0].text] else {
                throw .invalidValue(d.arguments[0], of: "server_tokens", expected: "\"on\", \"off\" or \"build\"")
            }
            scope.location.settings.serverTokens = value
        },
        .flag("recursive_error_pages", .httpLevels, \.recursiveErrorPages),
        .flag("absolute_redirect", .httpLevels, \.absoluteRedirect),
        .flag("port_in_redirect", .httpLevels, \.portInRedirect),
        .flag("server_name_in_redirect", .httpLevels, \.serverNameInRedirect),
        .acceptedFlag("msie_padding", .httpLevels, why: "for a browser that is gone"),
        .acceptedFlag("msie_refresh", .httpLevels, why: "for a browser that is gone"),
        .flag("chunked_transfer_encoding", .httpLevels, \.chunksAnswers),
        .flag("etag", .httpLevels, \.sendsETag),
        DirectiveRule("max_ranges", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings.maxRanges = min(try d.arguments[0].integer(in: 0...Int(Int32.max), of: d.name.text), Limits.rangesMax)
        },
        DirectiveRule("if_modified_since", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            guard let mode: IfModifiedSince = ["off": .off, "exact": .exact, "before": .before][d.arguments[0].text] else {
                throw .invalidValue(d.arguments[0], of: "if_modified_since", expected: "\"off\", \"exact\" or \"before\"")
            }
            scope.location.settings.ifModifiedSince = mode
        },
    ]

    private static func line(_ scope: Scope, _ d: Directive) throws(Diagnostic) -> HeaderTemplate {
        var always = false
        if d.arguments.count == 3 {
            guard d.arguments[2] == "always" else {
                throw .invalidValue(d.arguments[2], of: d.name.text, expected: "\"always\", or nothing")
            }
            always = true
        }
        let name = try headerName(d.arguments[0], of: d.name.text)
        let value = try scope.builder.template(d.arguments[1], of: d.name.text)
        let arena = scope.builder.arena
        return HeaderTemplate(name: arena.freeze(bytes: name), value: value, always: always, arena: arena)
    }

    /// A name that cannot break out of its line.
    static func headerName(_ word: Word, of directive: String) throws(Diagnostic) -> [UInt8] {
        let isToken = !word.bytes.isEmpty && word.bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: ":") }
        if isToken { return word.bytes }
        throw .invalidValue(word, of: directive, expected: "the name of a header field")
    }

    private static func expires(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let word = d.arguments[0]
        if d.arguments.count == 2 {
            throw .invalidValue(word, of: "expires", expected: "one argument (\"modified\" is not supported yet)")
        }
        switch word.text {
        case "off": scope.location.settings.expires = .off
        case "epoch": scope.location.settings.expires = .epoch
        case "max": scope.location.settings.expires = .max
        default:
            if word.hasVariables {
                scope.location.settings.expires = .template(try scope.builder.template(word, of: "expires"))
                return
            }
            var value = word
            let isNegative = value.bytes.first == UInt8(ascii: "-")
            if isNegative || value.bytes.first == UInt8(ascii: "+") { value.bytes.removeFirst() }
            let seconds = Int64(try value.seconds(of: "expires"))
            scope.location.settings.expires = .after(isNegative ? -seconds : seconds)
        }
    }

    private static func errorPage(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        scope.location.begin("error_page", \.errorPages)
        var codes = Array(d.arguments.dropLast())
        guard let target = d.arguments.last else { return }
        var answer: Int32 = -1
        if let last = codes.last, last.bytes.first == UInt8(ascii: "=") {
            codes.removeLast()
            var number = last
            number.bytes.removeFirst()
            answer = number.bytes.isEmpty ? 0 : Int32(try number.integer(in: 200...599, of: "error_page"))
        }
        if codes.isEmpty { throw .wrongArgumentCount(d, expected: "at least one code and a URI") }
        let uri = try scope.builder.template(target, of: "error_page")
        for code in codes {
            let status = try code.integer(in: 300...599, of: "error_page")
            if status == 499 { throw .invalidValue(code, of: "error_page", expected: "a code from 300 to 599 but 499") }
            if scope.location.errorPages.contains(where: { $0.status == UInt16(status) }) { continue }
            // Codes that are nginx's own are not for clients.
            let isOwn = (494...497).contains(status)
            scope.location.errorPages.append(ErrorPage(status: UInt16(status), answerStatus: answer < 0 && isOwn ? 400 : answer, uri: uri))
        }
    }
}
