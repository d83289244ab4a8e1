// The fields of an upstream's response on their way to the client: hidden, passed, or rewritten (Location, Refresh, Set-Cookie).
// Called while an answer's head is composed. It reads the field table of the head that was parsed last.

import Bytes
import HTTPMessage

extension Worker {
    private func upstreamField(_ i: Int) -> HeaderField { fieldScratch[i] }

    func slice(_ range: ByteRange, _ bytes: ByteView) -> ByteView { bytes.slice(range) }

    /// Fills in what the composer writes itself: type, length, and whether Server and Date are the upstream's.
    @inline(__always)
    func describe(_ x: Ref<Exchange>, _ bytes: ByteView, _ answer: inout AnswerHead) {
        let summary = x.upstreamHead.fields
        let proxy = x.location.proxy
        answer.reason = slice(x.upstreamHead.reason, bytes)
        if case .length(let n) = x.response.framing {
            answer.contentLength = n
        } else if summary.contentLengthIndex >= 0 {
            // HEAD and 304 tell the length of a body that does not come, and HTTP/2 that of a body which the stream's end ends.
            answer.contentLength = slice(upstreamField(summary.contentLengthIndex).value, bytes).decimal ?? -1
        }
        let passed = summary.presentNames & ~proxy.hiddenKnown
        answer.hasServer = passed & bit(.server) != 0
        answer.hasDate = passed & bit(.date) != 0
        answer.contentType = x.accelType
        if passed & bit(.contentType) == 0 { return }
        for i in 0..<summary.fieldCount where upstreamField(i).known == .contentType {
            answer.contentType = slice(upstreamField(i).value, bytes)
            if !answer.contentType.isEmpty { return }
        }
    }

    /// All other fields, in the order they came.
    @inline(__always)
    func appendUpstreamFields(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>, _ bytes: ByteView) {
        let proxy = x.location.proxy
        let summary = x.upstreamHead.fields
        // Upgrade goes on in any answer, as with nginx: 426 has to name the protocols (RFC 9110 15.5.22).
        var hopByHop = HeaderName.hopByHopBits & ~bit(.upgrade)
        if proxy.passTrailers { hopByHop &= ~bit(.trailer) }
        let dropped = fieldsReplacedByPage(x) | fieldsReplacedByAdded(x) | proxy.hiddenKnown | x.droppedFields | replacedByExpires(x) | bit(.contentType) | bit(.contentLength) | hopByHop
        // Many a head has nothing else. The lowest bit stands for all names that are not known.
        if summary.presentNames & ~dropped == 0 { return }
        let mayRepeat = summary.repeatedNames & singleFields != 0
        var seen: UInt64 = 0
        let listed: ByteView? = summary.listsNames ? slice(upstreamField(summary.connectionIndex).value, bytes) : nil
        var run = LineRun()
        for i in 0..<summary.fieldCount {
            let f = upstreamField(i)
            if f.known == .other {
                if !proxy.hiddenOther.isEmpty, proxy.hiddenOther.contains(slice(f.name, bytes)) { continue }
                if let listed, isListed(slice(f.name, bytes), in: listed) { continue }
                run.append(f, of: bytes, to: w)
                continue
            }
            if dropped & bit(f.known) != 0 { continue }
            if mayRepeat {
                if seen & bit(f.known) != 0 {
                    logExchange(.warn, "upstream sent duplicate header line, ignored:", x, detail: slice(f.name, bytes))
                    continue
                }
                seen |= bit(f.known) & singleFields
            }
            switch f.known {
            case .location, .refresh, .setCookie:
                run.end(bytes, w)
                run = LineRun()
                appendChanged(w, x, f, bytes)
            default: run.append(f, of: bytes, to: w)
            }
        }
        run.end(bytes, w)
    }

    private func appendChanged(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>, _ f: HeaderField, _ bytes: ByteView) {
        let name = slice(f.name, bytes)
        let value = slice(f.value, bytes)
        switch f.known {
        case .location: appendRewritten(w, x, name, value, kind: .location)
        case .refresh: appendRewritten(w, x, name, value, kind: .refresh)
        default: appendCookie(w, x, name, value)
        }
    }

    @inline(__always)
    private func bit(_ name: HeaderName) -> UInt64 { name.bit }

    /// Fields of a response of which the first counts, as with nginx.
    @inline(__always)
    private var singleFields: UInt64 {
        bit(.server) | bit(.date) | bit(.location) | bit(.refresh) | bit(.lastModified) | bit(.etag) | bit(.expires) | bit(.status)
    }

    /// What `expires` writes in place of the upstream's own fields.
    @inline(__always)
    func replacedByExpires(_ x: Ref<Exchange>) -> UInt64 {
        if x.location.expires.isOff || effectiveExpires(x).isOff { return 0 }
        return bit(.expires) | bit(.cacheControl)
    }

    func appendLine(_ w: Ref<ByteWriter>, _ name: ByteView, _ value: ByteView) {
        w.value.append(name)
        w.value.append(": ")
        w.value.append(value)
        w.value.append("\r\n")
    }

    /// `proxy_pass_trailers`: the trailer fields that are not about this connection or the message's framing (RFC 9110 6.5.1).
    func appendUpstreamTrailers(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>) {
        var fields = fieldScratch.mutableSpan
        guard case .fields(let count, _) = parseTrailerFields(x.keptTrailers.buffer.span, fields: &fields) else {
            return logExchange(.warn, "upstream sent invalid trailers, they are left out", x)
        }
        for i in 0..<count {
            let f = upstreamField(i)
            if f.known.isHopByHop || f.known == .contentLength || f.known == .host || f.known == .setCookie { continue }
            appendLine(w, slice(f.name, x.keptTrailers), slice(f.value, x.keptTrailers))
        }
    }

    // MARK: proxy_redirect

    private enum RedirectField { case location, refresh }

    private func appendRewritten(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>, _ name: ByteView, _ value: ByteView, kind: RedirectField) {
        var prefix = ByteView.empty
        var url = value
        if kind == .refresh {
            guard let at = findIgnoringCase(ByteView("url="), in: value) else { return appendLine(w, name, value) }
            prefix = value.slice(0, at + 4)
            url = value.slice(at + 4)
        }
        w.value.append(name)
        w.value.append(": ")
        w.value.append(prefix)
        if let new = redirected(x, url) {
            if kind == .location, prefix.isEmpty, new.hasPrefix(ByteView("/")), x.location.absoluteRedirect { appendOwnAuthority(w, x) }
            appendInLine(new, to: w)
        } else {
            w.value.append(url)
        }
        w.value.append("\r\n")
    }

    private func appendOwnAuthority(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>) {
        w.value.append(scheme(x))
        w.value.append("://")
        w.value.append(x.location.serverNameInRedirect ? x.server.name : x.host)
        if x.location.portInRedirect, let port = value(of: Variable(.serverPort), for: x), !port.isEmpty, !isDefaultPort(port, x) {
            w.value.append(0x3A)
            w.value.append(port)
        }
    }

    /// The URL after the first rule of `proxy_redirect` that fits, or nil.
    private func redirected(_ x: Ref<Exchange>, _ url: ByteView) -> ByteView? {
        let proxy = x.location.proxy
        let rules = proxy.redirects.count
        for i in 0...rules {
            if i == proxy.redirectsBeforeDefault, let new = redirectedByDefault(x, url) { return new }
            if i == rules { break }
            let rule = proxy.redirects[i].value
            if rule.regex >= 0 {
                if matches(rule.regex, url, for: x) { return copiedExpansion(rule.to, x) }
                continue
            }
            let from = copiedExpansion(rule.from, x)
            if url.count >= from.count, url.hasPrefix(from) { return joined2(copiedExpansion(rule.to, x), url.slice(from.count), x) }
        }
        return nil
    }

    /// `default`: from the URL of `proxy_pass` to the location's prefix.
    private func redirectedByDefault(_ x: Ref<Exchange>, _ url: ByteView) -> ByteView? {
        let target = x.proxyTarget
        let scheme = target.usesTLS ? ByteView("https://") : ByteView("http://")
        guard url.count > scheme.count, url.slice(0, scheme.count).equalsIgnoringCase(scheme) else { return nil }
        let rest = url.slice(scheme.count)
        let uri = target.hasURI ? target.uri : ByteView("/")
        var authority = x.location.proxy.authorityText
        if authority.isEmpty { authority = target.hostText }
        guard rest.hasPrefix(authority), rest.slice(authority.count).hasPrefix(uri) else { return nil }
        let to = target.hasURI ? x.location.name : ByteView("/")
        return joined2(to, rest.slice(authority.count + uri.count), x)
    }

    /// `a` then `b` in memory of the exchange, without touching a scratch that may be in use.
    func joined2(_ a: ByteView, _ b: ByteView, _ x: Ref<Exchange>) -> ByteView {
        guard let memory = x.value.region.allocate(a.count + b.count, from: &buffers, limit: Limits.regionBytesMax) else { return a }
        var w = ByteWriter(memory, capacity: a.count + b.count)
        w.append(a)
        w.append(b)
        return w.view
    }

    func findIgnoringCase(_ needle: ByteView, in text: ByteView) -> Int? {
        if needle.count > text.count { return nil }
        return (0...(text.count - needle.count)).first { text.slice($0, needle.count).equalsIgnoringCase(needle) }
    }
}
