// Header fields on their way to and from upstreams: set, hide, pass, redirect and cookie rewriting.

import Bytes
import ConfigurationFile
import Engine

enum ProxyHeaderDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("proxy_set_header", .httpLevels, 2...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("proxy_set_header", \.requestHeaders)
            let name = try AnswerDirectives.headerName(d.arguments[0], of: "proxy_set_header")
            let value = try scope.builder.template(d.arguments[1], of: "proxy_set_header")
            let arena = scope.builder.arena
            let line = HeaderTemplate(name: arena.freeze(bytes: name), value: value, arena: arena)
            if line.framesBody { warnOfFraming(scope, d) }
            scope.location.requestHeaders.append(line)
        },
        DirectiveRule("proxy_hide_header", .httpLevels, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("proxy_hide_header", \.hideHeaders)
            scope.location.hideHeaders.append(d.arguments[0].text)
        },
        DirectiveRule("proxy_pass_header", .httpLevels, 1...1, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("proxy_pass_header", \.passHeaders)
            scope.location.passHeaders.append(d.arguments[0].text)
        },
        DirectiveRule("proxy_ignore_headers", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in
            try ignore(d, &scope.location.settings.proxy)
        },
        DirectiveRule("proxy_redirect", .httpLevels, 1...2, isUnique: false) { (scope, d) throws(Diagnostic) in try redirect(scope, d) },
        DirectiveRule("proxy_cookie_domain", .httpLevels, 1...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("proxy_cookie_domain", \.cookieDomains)
            if let rule = try cookieRule(scope, d) { scope.location.cookieDomains.append(rule) }
        },
        DirectiveRule("proxy_cookie_path", .httpLevels, 1...2, isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("proxy_cookie_path", \.cookiePaths)
            if let rule = try cookieRule(scope, d) { scope.location.cookiePaths.append(rule) }
        },
        DirectiveRule("proxy_cookie_flags", .httpLevels, 1...(.max), isUnique: false) { (scope, d) throws(Diagnostic) in
            scope.location.begin("proxy_cookie_flags", \.cookieFlags)
            if let rule = try flagsRule(scope, d) { scope.location.cookieFlags.append(rule) }
        },
    ]

    /// The proxy alone writes how long a body is.
    static func warnOfFraming(_ scope: Scope, _ d: Directive) {
        let (name, value) = (d.arguments[0].shown, d.arguments[1].shown)
        if value.isEmpty || value == "0" { return }
        scope.builder.warnings.append(
            Diagnostic(
                at: d.position, directive: d.name.text, "the value of \"\(name)\" is ignored, it is that of the body", found: value,
                expected: "no such line, or an empty value"))
    }

    /// `proxy_ignore_headers` and its like.
    static func ignore(_ d: Directive, _ proxy: inout ProxySettings) throws(Diagnostic) {
        for word in d.arguments {
            switch word.text.lowercased() {
            case "x-accel-redirect": proxy.ignoreAccelRedirect = true
            case "x-accel-buffering": proxy.ignoreAccelBuffering = true
            case "x-accel-limit-rate": proxy.ignoreAccelLimitRate = true
            case "x-accel-charset": proxy.ignoreAccelCharset = true
            case "x-accel-expires", "expires", "cache-control", "set-cookie", "vary": break
            default: throw .invalidValue(word, of: d.name.text, expected: "a header that tells a proxy what to do")
            }
        }
    }

    /// `~PATTERN` or `~*PATTERN`; nil when the word is no expression.
    private static func expression(_ word: Word, _ scope: Scope, of directive: String, ignoringCase: Bool = false) throws(Diagnostic) -> Int32? {
        guard word.bytes.first == UInt8(ascii: "~") else { return nil }
        let star = word.bytes.dropFirst().first == UInt8(ascii: "*")
        return try scope.builder.regex(
            Array(word.bytes.dropFirst(star ? 2 : 1)), at: word, ignoringCase: star || ignoringCase, of: directive)
    }

    private static func redirect(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        if scope.location.begun.insert("proxy_redirect").inserted {
            scope.location.redirects = []
            scope.location.settings.proxy.redirectsBeforeDefault = -1
        }
        scope.location.redirectsSaid = true
        let first = d.arguments[0]
        if d.arguments.count == 1 {
            switch first.text {
            case "off": return
            case "default":
                if case .computed = scope.location.settings.proxy.target {
                    throw Diagnostic(
                        at: d.position, directive: "proxy_redirect", "\"proxy_redirect default\" cannot be used with \"proxy_pass\" directive with variables",
                        found: "default", expected: "a redirect and its replacement")
                }
                scope.location.settings.proxy.redirectsBeforeDefault = Int32(scope.location.redirects.count)
                return
            default: throw .invalidValue(first, of: "proxy_redirect", expected: "\"off\", \"default\" or two arguments")
            }
        }
        let regex = try expression(first, scope, of: "proxy_redirect") ?? -1
        let from = regex >= 0 ? Template.empty : try scope.builder.template(first, of: "proxy_redirect")
        let to = try scope.builder.template(d.arguments[1], of: "proxy_redirect")
        scope.location.redirects.append(RedirectRule(from: from, regex: regex, to: to))
    }

    private static func cookieRule(_ scope: Scope, _ d: Directive) throws(Diagnostic) -> CookieRule? {
        let name = d.name.text
        var first = d.arguments[0]
        if d.arguments.count == 1 {
            if first == "off" { return nil }
            throw .invalidValue(first, of: name, expected: "\"off\" or two arguments")
        }
        var to = d.arguments[1]
        if name == "proxy_cookie_domain", first.bytes.first != UInt8(ascii: "~") {
            // A dot in front means nothing: the attribute's own is kept.
            if first.bytes.first == UInt8(ascii: ".") { first.bytes.removeFirst() }
            if to.bytes.first == UInt8(ascii: ".") { to.bytes.removeFirst() }
        }
        let regex = try expression(first, scope, of: name, ignoringCase: name == "proxy_cookie_domain") ?? -1
        let from = regex >= 0 ? Template.empty : try scope.builder.template(first, of: name)
        return CookieRule(from: from, regex: regex, to: try scope.builder.template(to, of: name))
    }

    private static func flagsRule(_ scope: Scope, _ d: Directive) throws(Diagnostic) -> CookieFlagsRule? {
        let first = d.arguments[0]
        if d.arguments.count == 1 {
            if first == "off" { return nil }
            throw .invalidValue(first, of: "proxy_cookie_flags", expected: "\"off\", or a cookie and flags")
        }
        let known = ["secure", "nosecure", "httponly", "nohttponly", "samesite=strict", "samesite=lax", "samesite=none", "nosamesite"]
        var flags: [Template] = []
        for word in d.arguments.dropFirst() {
            if !word.hasVariables, !known.contains(word.text.lowercased()) {
                throw .invalidValue(word, of: "proxy_cookie_flags", expected: "one of " + known.joined(separator: ", "))
            }
            flags.append(try scope.builder.template(word, of: "proxy_cookie_flags"))
        }
        let regex = try expression(first, scope, of: "proxy_cookie_flags", ignoringCase: true) ?? -1
        let cookie = regex >= 0 ? Template.empty : try scope.builder.template(first, of: "proxy_cookie_flags")
        return CookieFlagsRule(cookie: cookie, regex: regex, flags: scope.builder.arena.freeze(flags))
    }
}
