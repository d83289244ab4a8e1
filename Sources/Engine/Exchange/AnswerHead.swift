// Composes the head of an answer in nginx's order and spelling, for our own answers and for an upstream's alike.
// Called by everything that answers; the only writer of response heads. It sends nothing.

import Bytes
import HTTPMessage

/// What the composer is told; the rest it takes from the exchange and its location.
struct AnswerHead: BitwiseCopyable {
    var status: UInt16
    /// An upstream's own reason phrase; empty: the standard one.
    var reason = ByteView.empty
    var contentType = ByteView.empty
    /// -1: not known.
    var contentLength: Int64 = -1
    /// Seconds; -1: none.
    var lastModified: Int64 = -1
    var location = ByteView.empty
    var etag = ByteView.empty
    var allow = ByteView.empty
    var acceptRanges = false
    /// The body is in gzip already, as Content-Encoding is to say; or it might be for other clients.
    var isGzip = false
    var variesByCoding = false
    /// An upstream's Server and Date are passed on (`proxy_pass_header`).
    var hasServer = false
    var hasDate = false
    init(status: UInt16) { self.status = status }
}

extension Worker {
    /// Leaves the head in `out`, without the empty line at its end if `isOpen`; sets the exchange's framing.
    @inline(__always)
    func composeHead(_ x: Ref<Exchange>, _ answer: AnswerHead, upstream: ByteView? = nil) {
        if x.location.ssi.isOn { return composePage(x, answer, upstream: upstream) }
        guard let filters = x.location.filters else { return compose(x, answer, upstream: upstream) }
        composeFiltered(x, filters, answer, upstream: upstream)
    }

    /// As above, when it is known what the filters change.
    func compose(_ x: Ref<Exchange>, _ answer: AnswerHead, upstream: ByteView?) {
        // The status that led here stands, unless `error_page ... =` let the answer keep its own.
        let isReplaced = x.errorStatus != 0
        let status = isReplaced ? x.errorStatus : answer.status
        x.isComposing = true
        x.trailerMark = -1
        x.status = status
        x.contentLength = answer.contentLength
        decideFraming(x)
        let w = out
        w.value.reset()
        appendStatusLine(w, status, isReplaced ? .empty : answer.reason)
        if !answer.hasServer { appendServer(w, x) }
        if !answer.hasDate { w.value.append(dates.httpLine(realtimeNs)) }
        if !answer.contentType.isEmpty, status != 204 || upstream != nil { appendField(w, "Content-Type: ", answer.contentType) }
        if x.contentLength >= 0 {
            w.value.append("Content-Length: ")
            w.value.append(decimal: x.contentLength)
            w.value.append("\r\n")
        }
        let replaced = fieldsReplacedByAdded(x)
        if answer.lastModified >= 0, replaced & HeaderName.lastModified.bit == 0 { appendLastModified(w, answer.lastModified) }
        if !answer.location.isEmpty { appendLocation(w, answer.location, x) }
        if x.framing == .chunked { w.value.append("Transfer-Encoding: chunked\r\n") }
        appendConnection(w, x)
        if !answer.etag.isEmpty, replaced & HeaderName.etag.bit == 0 { appendField(w, "ETag: ", answer.etag) }
        if answer.acceptRanges { w.value.append("Accept-Ranges: bytes\r\n") }
        if let upstream {
            appendUpstreamFields(w, x, upstream)
            if let pool = x.proxyTarget.pool, pool.settings.isSticky { appendStickyCookie(w, x, pool) }
        }
        if !x.accelLines.isEmpty { w.value.append(x.accelLines) }
        if !x.accelCacheLines.isEmpty, replacedByExpires(x) == 0 { w.value.append(x.accelCacheLines) }
        if !x.location.expires.isOff { appendExpires(w, x) }
        if !x.keptLines.isEmpty { w.value.append(x.keptLines) }
        if x.assignedBy != nil { appendAssignedCookie(w, x) }
        appendAddedHeaders(w, x)
        w.value.append("\r\n")
        if x.client.stream.carrier.isVirtual {
            x.client.stream.clientStream?.answerHeadCount = w.count
            x.inner?.answerHeadCount = w.count
        }
        if x.root.keepsSentHead {
            x.keptSentHead = x.value.region.copy(w.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
        }
        x.isComposing = false
        beginPacing(x)
    }

    /// Length when it is known, else chunks, else the end of the connection (RFC 9112 6.3).
    @inline(__always)
    private func decideFraming(_ x: Ref<Exchange>) {
        let status = x.status
        x.headOnly = x.method == .head || x.head.method == .head || status == 204 || status == 304 || status < 200
        x.addTrailers = !x.location.addTrailers.isEmpty && x.head.versionMinor > 0 && x.location.chunksAnswers && !x.headOnly
        if status == 204 || status < 200 { x.contentLength = -1 }
        if x.client.stream.carrier.isVirtual {
            // Frames say where a body ends.
            x.addTrailers = !x.location.addTrailers.isEmpty && !x.headOnly && x.inner == nil
            x.framing = x.headOnly ? .none : x.contentLength >= 0 ? .length : .untilClose
        } else if x.headOnly {
            x.framing = .none
        } else if x.contentLength >= 0, !x.addTrailers {
            x.framing = .length
        } else if x.head.versionMinor > 0, x.location.chunksAnswers {
            x.contentLength = -1
            x.framing = .chunked
        } else {
            x.framing = .untilClose
            x.keepsAlive = false
        }
    }

    @inline(__always)
    private func appendStatusLine(_ w: Ref<ByteWriter>, _ status: UInt16, _ reason: ByteView) {
        let isOK = reason.isEmpty || (reason.count == 2 && reason[0] == 0x4F && reason[1] == 0x4B)
        if status == 200, isOK { return w.value.append("HTTP/1.1 200 OK\r\n") }
        w.value.append("HTTP/1.1 ")
        w.value.append(decimal: UInt64(status), minimumDigits: 3)
        w.value.append(" ")
        if reason.isEmpty { w.value.append(reasonPhrase(status)) } else { w.value.append(reason) }
        w.value.append("\r\n")
    }

    /// One literal or the other, not one of them: so that the compiler knows their counts.
    @inline(__always)
    private func appendServer(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>) {
        if x.location.serverTokens == .off {
            w.value.append(Product.serverLineWithoutVersion)
        } else {
            w.value.append(Product.serverLine)
        }
    }

    func appendField(_ w: Ref<ByteWriter>, _ name: StaticString, _ value: ByteView) {
        w.value.append(name)
        w.value.append(value)
        w.value.append("\r\n")
    }

    private func appendLastModified(_ w: Ref<ByteWriter>, _ seconds: Int64) {
        w.value.append("Last-Modified: ")
        w.value.appendHTTPDate(seconds)
        w.value.append("\r\n")
    }

    /// A path becomes a URL of this server, unless `absolute_redirect off`.
    private func appendLocation(_ w: Ref<ByteWriter>, _ location: ByteView, _ x: Ref<Exchange>) {
        w.value.append("Location: ")
        if location[0] == 0x2F, x.location.absoluteRedirect {
            w.value.append(scheme(x))
            w.value.append("://")
            if x.location.serverNameInRedirect {
                w.value.append(x.server.name)
            } else if !x.hasHost {
                w.value.append(value(of: Variable(.serverAddr), for: x) ?? .empty)
            } else {
                w.value.append(x.host)
            }
            if x.location.portInRedirect, let port = value(of: Variable(.serverPort), for: x), port.count > 0, !isDefaultPort(port, x) {
                w.value.append(0x3A)
                w.value.append(port)
            }
        }
        appendInLine(location, to: w)
        w.value.append("\r\n")
    }

    /// `$scheme`: how the client came.
    func scheme(_ x: Ref<Exchange>) -> ByteView { isSecure(x) ? ByteView("https") : ByteView("http") }

    /// An inner request may have outlived the connection.
    @inline(__always)
    func isSecure(_ x: Ref<Exchange>) -> Bool { x.client.stream.tls != nil || x.inner != nil && x.client.expectsTLS }

    func isDefaultPort(_ port: ByteView, _ x: Ref<Exchange>) -> Bool { port == (isSecure(x) ? ByteView("443") : ByteView("80")) }

    @inline(__always)
    private func appendConnection(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>) {
        if x.status == 101 { return w.value.append("Connection: upgrade\r\n") }
        if x.client.stream.carrier.isVirtual { return }
        if isStopping { x.keepsAlive = false }
        if !x.keepsAlive { return w.value.append("Connection: close\r\n") }
        w.value.append("Connection: keep-alive\r\n")
        if x.location.keepaliveHeaderSeconds > 0 {
            w.value.append("Keep-Alive: timeout=")
            w.value.append(decimal: x.location.keepaliveHeaderSeconds)
            w.value.append("\r\n")
        }
    }

    /// `add_header`: for answers that say yes or elsewhere, unless `always`. Empty values are left out.
    @inline(__always)
    private func appendAddedHeaders(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>) {
        let added = x.location.addHeaders
        for i in 0..<added.count {
            let line = added[i]
            if !line.always, !isAddable(x.status) { continue }
            appendTemplateField(w, line, x)
        }
    }

    /// An ETag or Last-Modified of `add_header` stands alone, and an empty one takes the answer's own away.
    @inline(__always)
    func fieldsReplacedByAdded(_ x: Ref<Exchange>) -> UInt64 { x.location.addsValidators ? addedValidators(x) : 0 }

    @inline(never)
    private func addedValidators(_ x: Ref<Exchange>) -> UInt64 {
        let added = x.location.addHeaders
        return (0..<added.count).reduce(0) { added[$1].always || isAddable(x.status) ? $0 | added[$1].value.validator : $0 }
    }

    func appendTemplateField(_ w: Ref<ByteWriter>, _ line: Ref<HeaderTemplate>, _ x: Ref<Exchange>) {
        if line.value.value.isEmpty { return }
        let mark = w.count
        w.value.append(line.beginning)
        let empty = w.count
        append(line.value.value, for: x, to: w)
        if !line.value.keepsToLine { keepInLine(w, from: empty) }
        if w.count == empty { w.value.truncate(to: mark) } else { w.value.append("\r\n") }
    }

    /// What was appended since `mark` begins no line of its own, whatever a client has put into a path or into the name of a server
    /// (RFC 9110 section 5.5).
    @inline(__always)
    private func keepInLine(_ w: Ref<ByteWriter>, from mark: Int) {
        let bytes = UnsafeRawPointer(w.start)
        let end = w.count
        var controls: UInt64 = 0
        var i = mark
        while i &+ 8 <= end {
            controls |= Self.controls(bytes.loadUnaligned(fromByteOffset: i, as: UInt64.self))
            i &+= 8
        }
        // The rest with what stands before it: the name, at least.
        if i < end { controls |= end < 8 ? 1 : Self.controls(bytes.loadUnaligned(fromByteOffset: end &- 8, as: UInt64.self)) }
        if controls != 0 { blankLineEnds(w, from: mark) }
    }

    /// Not 0 when one of eight bytes is below 0x0E.
    @inline(__always)
    private static func controls(_ word: UInt64) -> UInt64 { (word &- 0x0E0E_0E0E_0E0E_0E0E) & ~word & 0x8080_8080_8080_8080 }

    @inline(never)
    private func blankLineEnds(_ w: Ref<ByteWriter>, from mark: Int) {
        for i in mark..<w.count where endsLine(w.start[i]) { w.start[i] = 0x20 }
    }

    /// Appends a part of a URL, with what would end the line as URLs say it.
    func appendInLine(_ url: ByteView, to w: Ref<ByteWriter>) {
        var start = 0
        for i in 0..<url.count where endsLine(url[i]) {
            w.value.append(url.slice(start, i - start))
            w.value.append(url[i] == 0x0A ? "%0A" : url[i] == 0x0D ? "%0D" : "%00")
            start = i + 1
        }
        w.value.append(url.slice(start))
    }

    @inline(__always)
    private func endsLine(_ byte: UInt8) -> Bool { byte == 0x0A || byte == 0x0D || byte == 0 }

    func isAddable(_ status: UInt16) -> Bool {
        switch status {
        case 200, 201, 204, 206, 301, 302, 303, 304, 307, 308: true
        default: false
        }
    }

    /// `expires`: Expires and Cache-Control.
    private func appendExpires(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>) {
        switch effectiveExpires(x) {
        case .off, .template: return
        case .epoch: w.value.append("Expires: Thu, 01 Jan 1970 00:00:01 GMT\r\nCache-Control: no-cache\r\n")
        case .max: w.value.append("Expires: Thu, 31 Dec 2037 23:55:55 GMT\r\nCache-Control: max-age=315360000\r\n")
        case .after(let seconds):
            w.value.append("Expires: ")
            w.value.appendHTTPDate(realtimeNs / 1_000_000_000 + seconds)
            w.value.append("\r\nCache-Control: ")
            if seconds < 0 {
                w.value.append("no-cache")
            } else {
                w.value.append("max-age=")
                w.value.append(decimal: seconds)
            }
            w.value.append("\r\n")
        }
    }

    /// What `expires` comes to for this answer.
    func effectiveExpires(_ x: Ref<Exchange>) -> Expires {
        if !isAddable(x.status) { return .off }
        guard case .template(let template) = x.location.expires else { return x.location.expires }
        return expiresRule(copiedExpansion(template, x))
    }

    private func expiresRule(_ text: ByteView) -> Expires {
        if text == ByteView("epoch") { return .epoch }
        if text == ByteView("max") { return .max }
        let isNegative = text.hasPrefix(ByteView("-"))
        guard let n = Self.seconds(isNegative ? text.slice(1) : text) else { return .off }
        return .after(isNegative ? -n : n)
    }

    /// A time as the directive has it, such as `42d` or `1h30m`: at most what 31 bits hold, as with nginx.
    private static func seconds(_ text: ByteView) -> Int64? {
        if text.isEmpty { return nil }
        var total: Int64 = 0
        var number: Int64 = 0
        var hasDigits = false
        for i in 0..<text.count {
            if text[i] &- 0x30 < 10 {
                number = number * 10 + Int64(text[i] - 0x30)
                hasDigits = true
                if number > Int64(Int32.max) { return nil }
                continue
            }
            guard hasDigits, let unit = secondsOfUnit(text[i]) else { return nil }
            total += number * unit
            if total > Int64(Int32.max) { return nil }
            number = 0
            hasDigits = false
        }
        total += number
        return total <= Int64(Int32.max) ? total : nil
    }

    private static func secondsOfUnit(_ unit: UInt8) -> Int64? {
        switch unit {
        case UInt8(ascii: "s"): 1
        case UInt8(ascii: "m"): 60
        case UInt8(ascii: "h"): 3600
        case UInt8(ascii: "d"): 86_400
        case UInt8(ascii: "w"): 604_800
        case UInt8(ascii: "M"): 2_592_000
        case UInt8(ascii: "y"): 31_536_000
        default: nil
        }
    }
}

extension ByteWriter {
    mutating func appendHTTPDate(_ seconds: Int64) {
        if room < httpDateBytes { return append(ByteView("")) }
        var span = UnsafeMutableBufferPointer(start: start + count, count: httpDateBytes).mutableSpan
        advance(writeHTTPDate(seconds, into: &span))
    }
}
