// `proxy_cookie_domain`, `proxy_cookie_path`, `proxy_cookie_flags`: the attributes of Set-Cookie on their way to the client.
// Called by UpstreamFields.swift for each Set-Cookie. A cookie that no rule touches goes on byte for byte.

import Bytes

extension Worker {
    func appendCookie(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>, _ name: ByteView, _ value: ByteView) {
        let proxy = x.location.proxy
        w.value.append(name)
        w.value.append(": ")
        if proxy.cookieDomains.isEmpty, proxy.cookiePaths.isEmpty, proxy.cookieFlags.isEmpty {
            w.value.append(value)
        } else {
            appendRewrittenCookie(w, x, value)
        }
        w.value.append("\r\n")
    }

    private func appendRewrittenCookie(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>, _ value: ByteView) {
        var flags = CookieFlags()
        let firstEnd = value.firstIndex(of: 0x3B) ?? value.count
        if let equals = value.firstIndex(of: 0x3D), equals < firstEnd { flags = cookieFlags(x, value.slice(0, equals).trimmed) }
        w.value.append(value.slice(0, firstEnd))
        var from = firstEnd + 1
        while from <= value.count, firstEnd < value.count {
            let end = value.firstIndex(of: 0x3B, from: from) ?? value.count
            let attribute = value.slice(from, end - from)
            from = end + 1
            appendAttribute(w, x, attribute, &flags)
            if end == value.count { break }
        }
        flags.appendMissing(to: w)
    }

    private func appendAttribute(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>, _ attribute: ByteView, _ flags: inout CookieFlags) {
        let text = attribute.trimmed
        let equals = text.firstIndex(of: 0x3D)
        let key = equals.map { text.slice(0, $0).trimmed } ?? text
        if flags.handles(key, equals.map { text.slice($0 + 1).trimmed }) { return }
        w.value.append(";")
        let rules: Frozen<CookieRule>
        let ignoresCase: Bool
        if key.equalsIgnoringCase(ByteView("domain")) {
            (rules, ignoresCase) = (x.location.proxy.cookieDomains, true)
        } else if key.equalsIgnoringCase(ByteView("path")) {
            (rules, ignoresCase) = (x.location.proxy.cookiePaths, false)
        } else {
            return w.value.append(attribute)
        }
        guard let equals, let new = rewritten(x, rules, text.slice(equals + 1), ignoringCase: ignoresCase) else {
            return w.value.append(attribute)
        }
        let lead = attribute.count - attribute.slice(leadingBlanks(attribute)).count
        w.value.append(attribute.slice(0, lead))
        w.value.append(text.slice(0, equals + 1))
        w.value.append(new)
    }

    private func leadingBlanks(_ text: ByteView) -> Int {
        var n = 0
        while n < text.count, text[n] == 0x20 || text[n] == 0x09 { n += 1 }
        return n
    }

    /// The new value by the first rule that fits. Domains compare whole, a leading dot aside, which stays; paths by prefix.
    private func rewritten(_ x: Ref<Exchange>, _ rules: Frozen<CookieRule>, _ value: ByteView, ignoringCase: Bool) -> ByteView? {
        for i in 0..<rules.count {
            let rule = rules[i].value
            if rule.regex >= 0 {
                if matches(rule.regex, value, for: x) { return copiedExpansion(rule.to, x) }
                continue
            }
            let from = copiedExpansion(rule.from, x)
            if ignoringCase {
                let dot = value.hasPrefix(ByteView(".")) ? 1 : 0
                if value.slice(dot).equalsIgnoringCase(from) { return joined2(value.slice(0, dot), copiedExpansion(rule.to, x), x) }
            } else if value.hasPrefix(from) {
                return joined2(copiedExpansion(rule.to, x), value.slice(from.count), x)
            }
        }
        return nil
    }

    private func cookieFlags(_ x: Ref<Exchange>, _ cookie: ByteView) -> CookieFlags {
        let rules = x.location.proxy.cookieFlags
        for i in 0..<rules.count {
            let rule = rules[i]
            if rule.regex >= 0 {
                if !matches(rule.regex, cookie, for: x) { continue }
            } else if !copiedExpansion(rule.cookie, x).equalsIgnoringCase(cookie) {
                continue
            }
            var flags = CookieFlags()
            for k in 0..<rule.flags.count { flags.apply(copiedExpansion(rule.flags[k].value, x)) }
            return flags
        }
        return CookieFlags()
    }
}

/// What a rule of `proxy_cookie_flags` wants of the Secure, HttpOnly and SameSite attributes.
private struct CookieFlags {
    enum Wish: Equatable { case keep, drop, set }
    var secure = Wish.keep
    var httpOnly = Wish.keep
    var sameSite = Wish.keep
    var sameSiteValue: StaticString = ""

    mutating func apply(_ word: ByteView) {
        if word.equalsIgnoringCase(ByteView("secure")) { secure = .set }
        if word.equalsIgnoringCase(ByteView("nosecure")) { secure = .drop }
        if word.equalsIgnoringCase(ByteView("httponly")) { httpOnly = .set }
        if word.equalsIgnoringCase(ByteView("nohttponly")) { httpOnly = .drop }
        if word.equalsIgnoringCase(ByteView("nosamesite")) { sameSite = .drop }
        if word.equalsIgnoringCase(ByteView("samesite=strict")) { (sameSite, sameSiteValue) = (.set, "Strict") }
        if word.equalsIgnoringCase(ByteView("samesite=lax")) { (sameSite, sameSiteValue) = (.set, "Lax") }
        if word.equalsIgnoringCase(ByteView("samesite=none")) { (sameSite, sameSiteValue) = (.set, "None") }
    }

    /// Whether the attribute is one that is dropped here (to be written anew at the end, or not at all).
    func handles(_ key: ByteView, _ value: ByteView?) -> Bool {
        if key.equalsIgnoringCase(ByteView("secure")) { return secure != .keep }
        if key.equalsIgnoringCase(ByteView("httponly")) { return httpOnly != .keep }
        if key.equalsIgnoringCase(ByteView("samesite")) { return sameSite != .keep }
        return false
    }

    func appendMissing(to w: Ref<ByteWriter>) {
        if secure == .set { w.value.append("; Secure") }
        if httpOnly == .set { w.value.append("; HttpOnly") }
        if sameSite == .set {
            w.value.append("; SameSite=")
            w.value.append(sameSiteValue)
        }
    }
}
