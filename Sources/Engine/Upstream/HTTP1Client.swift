// The HTTP/1 side towards upstreams: the request's head is composed and sent here, events of upstream connections arrive here.
// Called by Connect.swift and the worker's dispatch. What is read goes to ResponseReader.swift.

import Bytes
import CLinux
import HTTPMessage

extension Worker {
    func upstreamEvent(_ u: Ref<UpstreamConnection>, _ bits: UInt32) {
        u.value.stream.note(bits)
        if let session = u.session { return sessionEvent(u, session, bits) }
        switch u.phase {
        case .idle:
            // Nothing may come on an idle connection: its end, or bytes nobody asked for. A writable edge says nothing.
            if bits & (Readiness.readable | Readiness.peerClosed | Readiness.error | Readiness.hangUp) == 0 {
                if u.stream.hasPending { _ = flush(&u.value.stream) }
                return
            }
            if u.stream.carrier == .tls, isQuiet(u) { return }
            unpark(u)
            counts.idleUpstreamsClosed += 1
            closeUpstream(u)
        case .connecting:
            guard let x = u.exchange, bits & (Readiness.writable | Readiness.error | Readiness.hangUp) != 0 else { return }
            let error = kernel.getOption(u.stream.fd, level: SOL_SOCKET, name: SO_ERROR)
            if error != 0 {
                logExchange(.error, "connect() failed while connecting to upstream", x, errno: abs(error))
                return upstreamFailed(x, .connectRefused, isLogged: true)
            }
            u.stream.isBroken = false
            u.stream.isReadable = bits & (Readiness.readable | Readiness.peerClosed) != 0
            connected(x, u)
            if u.phase == .busy, u.exchange == x, u.stream.isReadable { upstreamReadable(u) }
        case .handshaking:
            guard let x = u.exchange else { return closeUpstream(u) }
            shakeHands(x, u)
            if u.phase == .busy, u.exchange == x, u.stream.isReadable { upstreamReadable(u) }
        case .busy:
            guard let x = u.exchange else { return closeUpstream(u) }
            if bits & Readiness.writable != 0, u.stream.hasPending || x.bodyWaits || x.phase == .sending { upstreamWritable(x, u) }
            if u.phase == .busy, u.exchange == x, u.stream.isReadable { upstreamReadable(u) }
        case .closed: break
        }
    }

    func upstreamTimedOut(_ u: Ref<UpstreamConnection>) {
        switch u.phase {
        case .idle:
            unpark(u)
            closeUpstream(u)
        case .connecting:
            guard let x = u.exchange else { return }
            if u.stream.upstreamStream?.session?.connection.phase == .handshaking { handshakeTimedOut(x) } else { upstreamFailed(x, .connectTimeout) }
        case .handshaking: if let x = u.exchange { handshakeTimedOut(x) }
        case .busy:
            guard let x = u.exchange else { return closeUpstream(u) }
            if x.phase == .tunnel { return finish(x, .completed) }
            if x.isUpstreamDelayed { return pumpResponse(x) }
            if let f = x.filter, f.awaitsFlush { return pauseLasts(x, f, u) }
            upstreamFailed(x, u.stream.hasPending ? .upstreamSendTimeout : .upstreamTimeout)
        case .closed: break
        }
    }

    // MARK: The request

    func sendRequest(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        x.phase = .sending
        composeRequest(x)
        if out.overflowed {
            logExchange(.error, Fault.headTooLarge.words, x)
            return fail(x, .headTooLarge)
        }
        if let stream = u.stream.upstreamStream { return sendRequest(x, u, stream) }
        // A small body leaves in the same send.
        var bodyLeft = x.bodyBuffered
        if sendsBody(x), bodyLeft > 0, out.room >= bodyLeft {
            out.value.append(ByteView(x.bodyBuffer.start, bodyLeft))
            bodyLeft = 0
        }
        let size = out.count
        switch write(&u.value.stream, out.view) {
        case .failed(let errno):
            // Not one byte was taken: as if it had never been sent.
            logExchange(.error, "send() failed while sending request to upstream", x, errno: errno)
            return upstreamFailed(x, .upstreamClosed, isLogged: true)
        case .sent, .queued: x.requestSent = u.stream.pendingCount < size
        }
        x.requestHeadSent = true
        x.currentTry?.bytesSent += Int64(size)
        if sendsBody(x), bodyLeft > 0 {
            x.currentTry?.bytesSent += Int64(bodyLeft)
            if case .failed = write(&u.value.stream, ByteView(x.bodyBuffer.start, x.bodyBuffered)) { return upstreamReadable(u) }
        }
        sendRest(x, u)
    }

    /// As above, on a stream of an HTTP/2 connection: all of it goes with what the connection sends at the end of the turn.
    private func sendRequest(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, _ stream: Ref<UpstreamStream>) {
        let size = out.count
        if !submitRequest(x, u, stream) { return }
        x.requestSent = true
        x.requestHeadSent = true
        x.currentTry?.bytesSent += Int64(size)
        if sendsBody(x), x.bodyBuffered > 0 {
            x.currentTry?.bytesSent += Int64(x.bodyBuffered)
            _ = write(&u.value.stream, ByteView(x.bodyBuffer.start, x.bodyBuffered))
        }
        sendRest(x, u)
    }

    /// The head is on its way, with what of the body is in memory.
    @inline(__always)
    private func sendRest(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        x.bodySpool.taken = 0
        if x.streamsBody, !x.body.isComplete || x.bodyWaits {
            x.bodyWaits = false
            timers.set(u.timer, at: nowMs + x.location.proxy.sendTimeoutMs)
            // A client that is gone ends the exchange here, and its connection with it.
            sendContinue(x)
            if x.phase == .sending { pumpRequestBody(x) }
            return
        }
        pumpRequest(x, u)
    }

    func upstreamWritable(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        if case .failed = flush(&u.value.stream) {
            // The answer may be there although the rest of the request is not wanted.
            u.stream.isReadable = true
            u.stream.isBroken = false
            u.stream.peerClosed = true
            return
        }
        x.requestSent = true
        if u.stream.hasPending { return timers.set(u.timer, at: nowMs + x.location.proxy.sendTimeoutMs) }
        if x.phase == .tunnel { return pumpTunnel(x) }
        if x.streamsBody, !x.body.isComplete {
            x.bodyWaits = false
            return pumpRequestBody(x)
        }
        if x.phase == .sending || !x.requestWhole { pumpRequest(x, u) }
    }

    /// Sends what is left of a collected body; then waits for the answer.
    @inline(__always)
    func pumpRequest(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        if sendsBody(x) {
            var budget = Limits.bytesPerTurn
            while !x.bodySpool.isEmpty, !u.stream.hasPending {
                if budget <= 0 {
                    post(x)
                    break
                }
                guard let n = unspool(&x.value.bodySpool, into: scratch.data, Limits.readBytes) else { return fail(x, .spoolFailed) }
                budget -= n
                x.currentTry?.bytesSent += Int64(n)
                if case .failed = write(&u.value.stream, ByteView(scratch.data, n)) { return upstreamReadable(u) }
                x.requestSent = true
            }
        }
        if let stream = u.stream.upstreamStream, !sendsBody(x) || x.bodySpool.isEmpty { endOutput(stream) }
        if u.stream.hasPending || (sendsBody(x) && !x.bodySpool.isEmpty) {
            return timers.set(u.timer, at: nowMs + x.location.proxy.sendTimeoutMs)
        }
        requestSentWhole(x)
    }

    func requestSentWhole(_ x: Ref<Exchange>) {
        guard let u = x.upstream, !u.stream.hasPending else { return }
        x.requestSent = true
        x.requestWhole = true
        if x.phase == .sending { x.phase = .waiting }
        timers.set(u.timer, at: nowMs + x.location.proxy.readTimeoutMs)
    }

    @inline(__always)
    func sendsBody(_ x: Ref<Exchange>) -> Bool {
        x.location.proxy.passRequestBody && !x.location.proxy.hasSetBody && !x.streamsBody
    }

    // MARK: Its head

    @inline(__always)
    private func composeRequest(_ x: Ref<Exchange>) {
        let w = out
        let proxy = x.location.proxy
        w.value.reset()
        if !proxy.method.isEmpty {
            append(proxy.method, for: x, to: w)
        } else if x.methodReplaced {
            w.value.append(x.method == .head ? "HEAD" : "GET")
        } else if x.head.method == .get {
            w.value.append("GET")
        } else {
            w.value.append(x.bytes(x.head.methodRange))
        }
        w.value.append(" ")
        appendTarget(x, w)
        w.value.append(proxy.httpMinor == 0 ? " HTTP/1.0\r\n" : " HTTP/1.1\r\n")
        let lines = proxy.requestHeaders
        x.askedToClose = false
        for i in 0..<lines.count {
            let mark = w.count
            appendTemplateField(w, lines[i], x)
            if w.count == mark, lines[i].isHost { appendProxyHost(x, w) }
            // A server that honours it closes without saying so again: such a connection is not for reuse.
            if lines[i].isConnection, isListed(ByteView("close"), in: w.value.view(from: mark).slice(12).trimmedLine) { x.askedToClose = true }
        }
        appendBodyFields(x, w)
        if proxy.passRequestHeaders { appendClientFields(x, w) }
        w.value.append("\r\n")
        if proxy.hasSetBody { append(proxy.setBody, for: x, to: w) }
    }

    @inline(__always)
    private func appendTarget(_ x: Ref<Exchange>, _ w: Ref<ByteWriter>) {
        let target = x.proxyTarget
        if case .computed = x.location.proxy.target, target.hasURI { return appendInLine(target.uri, to: w) }
        if !target.hasURI, x.isTargetCurrent {
            // As it came; an absolute-form target goes on without its authority.
            if x.head.authority.isEmpty { return w.value.append(x.target) }
            w.value.append(x.head.path.isEmpty ? ByteView("/") : x.bytes(x.head.path))
            if let query = x.head.query {
                w.value.append("?")
                w.value.append(x.bytes(query))
            }
            return
        }
        var path = x.path
        if target.hasURI, !x.hasLocationsPath {
            // What `rewrite ... break` made goes on whole: the URI of `proxy_pass` has nothing to stand for.
        } else if target.hasURI, x.location.prefixCount > 0, !x.location.isRegex {
            w.value.append(target.uri)
            path = path.slice(min(x.location.prefixCount, path.count))
        } else if target.hasURI, x.location.isRegex || x.location.prefixCount == 0 {
            path = path.isEmpty ? target.uri : path
        }
        appendEscaped(path, .uri, to: w)
        if !x.arguments.isEmpty {
            w.value.append("?")
            appendInLine(x.arguments, to: w)
        }
    }

    /// HTTP/1.1 asks for a Host (RFC 9112 3.2), also when the client, of 1.0, has sent none to take its place.
    @inline(never)
    private func appendProxyHost(_ x: Ref<Exchange>, _ w: Ref<ByteWriter>) {
        if x.location.proxy.httpMinor == 0 || x.location.proxy.isGRPC { return }
        appendField(w, "Host: ", value(of: Variable(.proxyHost), for: x) ?? .empty)
    }

    @inline(__always)
    private func appendBodyFields(_ x: Ref<Exchange>, _ w: Ref<ByteWriter>) {
        let proxy = x.location.proxy
        if proxy.hasSetBody {
            w.value.append("Content-Length: ")
            w.value.append(decimal: copiedExpansion(proxy.setBody, x).count)
            w.value.append("\r\n")
        } else if !proxy.passRequestBody {
            return
        } else if x.streamsBody, x.body.isUnsized {
            w.value.append("Transfer-Encoding: chunked\r\n")
        } else if case .none = x.body.framing {
            return
        } else {
            w.value.append("Content-Length: ")
            if case .length(let n) = x.body.framing { w.value.append(decimal: n) } else { w.value.append(decimal: x.body.received) }
            w.value.append("\r\n")
        }
    }

    /// The client's own fields, without those that concern its connection or that the configuration replaces.
    @inline(__always)
    private func appendClientFields(_ x: Ref<Exchange>, _ w: Ref<ByteWriter>) {
        let proxy = x.location.proxy
        var dropped = proxy.replacedKnown | Self.ownRequestFields | HeaderName.hopByHopBits
        // Servers ask for it, and what is more than "trailers" is left out where the fields of HTTP/2 are made.
        // A part of a page is wanted whole and plain, whatever the page's client has or takes.
        if let r = x.inner, r.receiver == .kept || r.receiver == .included { dropped |= Self.wholeClientsFields }
        if proxy.isGRPC, proxy.replacedKnown & HeaderName.te.bit == 0 { dropped &= ~HeaderName.te.bit }
        // The names that a Connection field lists: those fields are hop-by-hop too (RFC 9110 7.6.1).
        let listed: ByteView? = x.head.fields.listsNames ? x.bytes(x.fields[x.head.fields.connectionIndex].value.value) : nil
        let bytes = x.headBytes
        let fields = x.fields
        var run = LineRun()
        for i in 0..<fields.count {
            let f = fields[i]
            if f.known == .other {
                if !f.flags.isEmpty, isDropped(f.value, x) { continue }
                if !proxy.replacedOther.isEmpty, proxy.replacedOther.contains(x.bytes(f.name)) { continue }
                if let listed, isListed(x.bytes(f.name), in: listed) { continue }
            } else if dropped & f.known.bit != 0 {
                continue
            }
            run.append(f.value, of: bytes, to: w)
        }
        run.end(bytes, w)
    }

    /// Fields by which a client asks for less than all of an answer, or for a coded one.
    private static var wholeClientsFields: UInt64 {
        HeaderName.range.bit | HeaderName.ifRange.bit | HeaderName.ifModifiedSince.bit | HeaderName.ifUnmodifiedSince.bit
            | HeaderName.ifMatch.bit | HeaderName.ifNoneMatch.bit | HeaderName.acceptEncoding.bit
    }

    /// Fields of the request that are the proxy's to write.
    private static var ownRequestFields: UInt64 { HeaderName.contentLength.bit | HeaderName.expect.bit }
}

/// Whether a comma-separated list names `name`.
func isListed(_ name: ByteView, in list: ByteView) -> Bool {
    var from = 0
    while from < list.count {
        let end = list.firstIndex(of: 0x2C, from: from) ?? list.count
        if list.slice(from, end - from).trimmed.equalsIgnoringCase(name) { return true }
        from = end + 1
    }
    return false
}

/// Copies field lines of a head to another. Lines that stand together in the usual form (one blank, CRLF) are copied in one piece.
struct LineRun {
    private var start = 0
    private var end = 0

    /// `bytes` are the whole head that `field` was found in.
    @inline(__always)
    mutating func append(_ field: HeaderField, of bytes: ByteView, to w: Ref<ByteWriter>) {
        let first = field.name.first
        let stop = field.value.end
        // A head ends in an empty line: there are bytes behind every value.
        if field.value.first == field.name.end &+ 2, bytes[field.name.end &+ 1] == 0x20, bytes[stop] == 0x0D, bytes[stop &+ 1] == 0x0A {
            if first != end {
                if end > start { flush(bytes, w) }
                start = first
            }
            end = stop &+ 2
        } else {
            appendApart(field, bytes, w)
        }
    }

    @inline(never)
    private mutating func appendApart(_ field: HeaderField, _ bytes: ByteView, _ w: Ref<ByteWriter>) {
        if end > start { flush(bytes, w) }
        start = end
        w.value.append(bytes.slice(field.name))
        w.value.append(": ")
        w.value.append(bytes.slice(field.value))
        w.value.append("\r\n")
    }

    @inline(__always)
    func end(_ bytes: ByteView, _ w: Ref<ByteWriter>) { if end > start { flush(bytes, w) } }

    @inline(never)
    private func flush(_ bytes: ByteView, _ w: Ref<ByteWriter>) {
        w.value.append(ByteView(bytes.start + start, end &- start))
    }
}
