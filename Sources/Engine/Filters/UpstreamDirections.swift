// What an upstream's response tells the proxy to do: X-Accel-Redirect, an error to intercept, early hints to pass on.
// Called by the response reader before the answer has begun.

import Bytes
import HTTPMessage

extension Worker {
    /// What the upstream tells the proxy in X-Accel fields. True when the answer comes from another location (X-Accel-Redirect).
    func followAccelFields(_ x: Ref<Exchange>, _ bytes: ByteView) -> Bool {
        let mayDirect = HeaderName.xAccelRedirect.bit | HeaderName.xAccelLimitRate.bit | HeaderName.xAccelBuffering.bit
        x.buffersResponse = x.location.proxy.buffering
        if x.upstreamHead.fields.presentNames & mayDirect == 0 { return false }
        var redirect = -1
        var hasRate = x.location.proxy.ignoreAccelLimitRate
        for i in 0..<x.upstreamHead.fieldCount {
            switch fieldScratch[i].known {
            case .xAccelRedirect: if redirect < 0 { redirect = i }
            case .xAccelLimitRate:
                if !hasRate, let rate = slice(fieldScratch[i].value, bytes).decimal { setRate(x, rate) }
                hasRate = true
            case .xAccelBuffering: if !x.location.proxy.ignoreAccelBuffering { setBuffering(x, slice(fieldScratch[i].value, bytes)) }
            default: break
            }
        }
        if redirect < 0 || x.location.proxy.ignoreAccelRedirect { return false }
        let value = slice(fieldScratch[redirect].value, bytes)
        guard let target = x.value.region.copy(value, from: &buffers, limit: Limits.regionBytesMax) else { return false }
        keepOwnFields(x, bytes)
        dropResponse(x)
        if target.hasPrefix(ByteView("@")) {
            redirectToNamed(x, target)
            return true
        }
        if x.method != .head { x.method = .get }
        x.methodReplaced = true
        let question = target.firstIndex(of: 0x3F)
        let raw = question.map { target.slice(0, $0) } ?? target
        guard raw.hasPrefix(ByteView("/")), let path = unescaped(raw, x) else {
            logExchange(.error, "upstream sent unsafe URI in X-Accel-Redirect:", x, detail: target)
            answerError(x, 404)
            return true
        }
        redirectInternally(x, path: path, arguments: question.map { target.slice($0 + 1) } ?? .empty)
        return true
    }

    /// What of a response with X-Accel-Redirect belongs to the answer that comes from elsewhere: its type, what it is to be saved as, how long
    /// it may be kept, cookies.
    private func keepOwnFields(_ x: Ref<Exchange>, _ bytes: ByteView) {
        let w = out
        w.value.reset()
        w.value.append(x.accelLines)
        for i in 0..<x.upstreamHead.fieldCount {
            let name = slice(fieldScratch[i].name, bytes)
            let value = slice(fieldScratch[i].value, bytes)
            switch fieldScratch[i].known {
            case .setCookie: appendCookie(w, x, name, value)
            case .contentDisposition: appendLine(w, name, value)
            case .contentType where !value.isEmpty:
                x.accelType = x.value.region.copy(value, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
            default: break
            }
        }
        let mark = w.count
        for i in 0..<x.upstreamHead.fieldCount where fieldScratch[i].known == .cacheControl || fieldScratch[i].known == .expires {
            appendLine(w, slice(fieldScratch[i].name, bytes), slice(fieldScratch[i].value, bytes))
        }
        if w.overflowed { return }
        x.accelLines = x.value.region.copy(w.view.slice(0, mark), from: &buffers, limit: Limits.regionBytesMax) ?? .empty
        x.accelCacheLines = x.value.region.copy(w.view.slice(mark), from: &buffers, limit: Limits.regionBytesMax) ?? .empty
    }

    /// `X-Accel-Buffering`: "yes" or "no" for this response.
    private func setBuffering(_ x: Ref<Exchange>, _ value: ByteView) {
        if value.equalsIgnoringCase(ByteView("no")) { x.buffersResponse = false }
        if value.equalsIgnoringCase(ByteView("yes")) { x.buffersResponse = true }
    }

    private func unescaped(_ text: ByteView, _ x: Ref<Exchange>) -> ByteView? {
        guard let memory = x.value.region.allocate(text.count + 1, from: &buffers, limit: Limits.regionBytesMax) else { return nil }
        var output = UnsafeMutableBufferPointer(start: memory, count: text.count + 1).mutableSpan
        guard let n = unescapePath(text.buffer.span, into: &output) else { return nil }
        return ByteView(memory, n)
    }

    /// `proxy_intercept_errors`: a status with an `error_page` is answered by that page.
    func intercept(_ x: Ref<Exchange>, _ bytes: ByteView) -> Bool {
        let status = x.upstreamHead.status
        let pages = x.location.errorPages
        guard !x.inErrorPage, (0..<pages.count).contains(where: { pages[$0].status == status }) else { return false }
        if status == 401 { keepChallenges(x, bytes) }
        dropResponse(x)
        answerError(x, status)
        return true
    }

    /// A 401 is nothing without its WWW-Authenticate (RFC 9110 15.5.2): the lines go with whatever page is made of it.
    private func keepChallenges(_ x: Ref<Exchange>, _ bytes: ByteView) {
        let w = valueText
        w.value.reset()
        for i in 0..<x.upstreamHead.fieldCount where fieldScratch[i].known == .wwwAuthenticate {
            appendLine(w, slice(fieldScratch[i].name, bytes), slice(fieldScratch[i].value, bytes))
        }
        if w.overflowed { return }
        x.keptLines = x.value.region.copy(w.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
    }

    /// The response is not wanted any more: its connection serves on when nothing of it is left to read.
    private func dropResponse(_ x: Ref<Exchange>) {
        guard let u = x.upstream else { return }
        if !x.response.isComplete { x.upstreamKeepsAlive = false }
        releaseUpstream(x, u)
        dropHeadBuffer(x)
        x.response = BodyReader()
    }

    private func passesEarlyHints(_ x: Ref<Exchange>) -> Bool {
        let conditions = x.location.earlyHints
        return (0..<conditions.count).contains { i in
            let value = expand(conditions[i].value, for: x, keep: false)
            return !value.isEmpty && !(value == ByteView("0"))
        }
    }

    /// 103 goes on to clients that speak HTTP/1.1, where `early_hints` says so (RFC 8297).
    func forwardEarlyHints(_ x: Ref<Exchange>, _ bytes: ByteView) {
        guard x.head.versionMinor > 0, x.inner == nil, passesEarlyHints(x) else { return }
        let w = out
        w.value.reset()
        w.value.append("HTTP/1.1 103 Early Hints\r\n")
        for i in 0..<x.upstreamHead.fieldCount {
            let f = fieldScratch[i]
            if f.known.isHopByHop || f.known == .contentLength || x.location.proxy.hiddenKnown & (1 << UInt64(f.known.rawValue)) != 0 { continue }
            w.value.append(slice(f.name, bytes))
            w.value.append(": ")
            w.value.append(slice(f.value, bytes))
            w.value.append("\r\n")
        }
        w.value.append("\r\n")
        if w.overflowed { return }
        if x.client.stream.carrier == .http2 { return submitInterim(x, w.view) }
        _ = emit(x, w.view)
    }
}
