// Sends answers: our own texts and redirects, and the framed pieces of an upstream's body. Ends when all is with the kernel.
// Called by content handlers, Upstream/ and error pages. It talks to the client's stream and to nobody else.

import Bytes
import HTTPMessage

extension Worker {
    /// A whole answer with `text` as its body.
    func answer(_ x: Ref<Exchange>, _ head: AnswerHead, text: ByteView) {
        var head = head
        head.contentLength = Int64(text.count)
        composeHead(x, head)
        x.phase = .answering
        if out.overflowed {
            logExchange(.error, Fault.headTooLarge.words, x)
            return finish(x, .failed(.headTooLarge))
        }
        beginBody(x)
        if x.page != nil {
            _ = givePage(x, text, head: out.view, isLast: true)
            return
        }
        if let f = x.filter {
            _ = filter(x, f, text, head: out.view, isLast: true)
            return
        }
        if !x.headOnly {
            if x.framing == .chunked {
                if text.count > Limits.readBytesWhileSlow { return answerInPieces(x, text) }
                if text.count > 0 {
                    out.value.append(hex: UInt64(text.count))
                    out.value.append("\r\n")
                    out.value.append(text)
                    out.value.append("\r\n")
                }
                appendLastChunk(out, x)
            } else if out.room >= text.count {
                out.value.append(text)
            } else {
                return answerInPieces(x, text)
            }
            x.bodySentToClient += Int64(text.count)
        }
        guard emit(x, out.view) else { return }
        answerDone(x)
    }

    /// A text that no single send takes, behind the head: what the client does not take at once waits in a file.
    private func answerInPieces(_ x: Ref<Exchange>, _ text: ByteView) {
        guard emit(x, out.view) else { return }
        var rest = text
        while !rest.isEmpty {
            let piece = rest.slice(0, min(rest.count, Limits.readBytesWhileSlow))
            rest = rest.slice(piece.count)
            out.value.reset()
            if x.framing == .chunked {
                out.value.append(hex: UInt64(piece.count))
                out.value.append("\r\n")
            }
            out.value.append(piece)
            if x.framing == .chunked {
                out.value.append("\r\n")
                if rest.isEmpty { appendLastChunk(out, x) }
            }
            if out.overflowed {
                logExchange(.error, Fault.headTooLarge.words, x)
                return finish(x, .failed(.headTooLarge))
            }
            x.bodySentToClient += Int64(piece.count)
            guard emit(x, out.view) else { return }
        }
        answerDone(x)
    }

    /// From now on nothing can be retried or replaced. What is left of the request's body is nobody's any more.
    func beginBody(_ x: Ref<Exchange>) {
        x.answerBegun = true
        if !x.body.isComplete, x.upstream == nil { x.dropsBody = true }
    }

    /// Hands bytes to the client's stream; false when the exchange has ended because the client is gone.
    func emit(_ x: Ref<Exchange>, _ bytes: ByteView) -> Bool {
        x.bytesSentToClient += Int64(bytes.count)
        var bytes = bytes
        if x.client.stream.carrier.isVirtual {
            bytes = x.inner == nil ? takeAnswerHead(x, bytes) : takeInnerHead(x, bytes)
            if bytes.isEmpty { return true }
        }
        if x.inner == nil { counts.bytesToClients += UInt64(bytes.count) }
        if !x.responseSpool.isEmpty || mustSpool(x, bytes.count) {
            if spool(&x.value.responseSpool, bytes, folder: x.location.proxy.tempPath) { return true }
            logExchange(.crit, Fault.spoolFailed.words, x)
            fail(x, .spoolFailed)
            return false
        }
        switch writeToClient(x, bytes) {
        case .sent: return x.client.stream.carrier == .http2 ? pushAnswer(x) : true
        case .queued:
            x.clientIsSlow = true
            waitForClient(x)
            return true
        case .failed:
            if let r = x.inner, r.isTooLarge { logExchange(.error, "too big subrequest response", x) }
            clientGone(x, .clientReset)
            return false
        }
    }

    /// With buffering on, what a slow client cannot take yet waits in memory, then in a file, so that the upstream is free early.
    @inline(__always)
    private func mustSpool(_ x: Ref<Exchange>, _ count: Int) -> Bool {
        guard x.client.stream.hasPending else { return false }
        if x.phase == .answering { return x.client.stream.pendingCount + count > Limits.pendingBytesMax }
        guard x.upstream != nil, x.phase == .receiving else { return false }
        let proxy = x.location.proxy
        // What waits in a stream may only wait for the end of the turn.
        if let stream = x.client.stream.clientStream, x.client.stream.pendingCount + count > proxy.buffersBytes {
            flushSession(stream.session)
            if !x.client.stream.hasPending { return false }
        }
        return x.buffersResponse && proxy.maxTempFileBytes > 0 && x.client.stream.pendingCount + count > proxy.buffersBytes
    }

    func appendLastChunk(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>) {
        w.value.append("0\r\n")
        appendTrailers(w, x)
        w.value.append("\r\n")
    }

    /// The lines of the trailers, if there are any.
    func appendTrailers(_ w: Ref<ByteWriter>, _ x: Ref<Exchange>) {
        trailerText = w
        if x.location.proxy.passTrailers, !x.keptTrailers.isEmpty { appendUpstreamTrailers(w, x) }
        if x.addTrailers {
            let lines = x.location.addTrailers
            let mark = w.count
            for i in 0..<lines.count where lines[i].always || isAddable(x.status) {
                x.trailerMark = mark
                appendTemplateField(w, lines[i], x)
            }
        }
    }

    /// The whole answer is with the stream: the exchange ends when the stream has passed it on.
    func answerDone(_ x: Ref<Exchange>) {
        x.answerQueued = true
        if x.client.stream.carrier == .http2 {
            x.phase = .answering
            if x.responseSpool.isEmpty { endStreamAnswer(x) }
            return
        }
        if x.client.stream.hasPending || !x.responseSpool.isEmpty {
            x.phase = .answering
            return
        }
        finish(x, .completed)
    }

    /// What waited for the client has gone: send more, or end.
    func clientDrained(_ x: Ref<Exchange>) {
        timers.cancel(x.client.timer)
        var budget = Limits.bytesPerTurn
        while !x.responseSpool.isEmpty {
            if budget <= 0 { return post(x) }
            guard let n = unspool(&x.value.responseSpool, into: scratch.data, Limits.readBytesWhileSlow) else {
                logExchange(.crit, Fault.spoolFailed.words, x)
                return fail(x, .spoolFailed)
            }
            budget -= n
            if x.responseSpool.isEmpty { x.value.responseSpool.rewind() }
            switch writeToClient(x, ByteView(scratch.data, n)) {
            case .sent:
                // A stream takes whatever it is given; its window may not.
                if x.client.stream.carrier != .http2 { continue }
                if !pushAnswer(x) { return }
                if x.client.stream.hasPending { return resumeUpstream(x) }
            case .queued:
                waitForClient(x)
                // A file that shrinks makes room for the upstream to go on.
                return resumeUpstream(x)
            case .failed: return clientGone(x, .clientReset)
            }
        }
        resume(x)
    }

    private func resumeUpstream(_ x: Ref<Exchange>) { if x.phase == .receiving { pumpResponse(x) } }

    /// Goes on with whatever the exchange was doing when it had to stop.
    func resume(_ x: Ref<Exchange>) {
        if !x.responseSpool.isEmpty, !x.client.stream.hasPending { return clientDrained(x) }
        switch x.phase {
        case .answering:
            if x.file >= 0 { return pumpFile(x) }
            if !x.answerQueued, x.page != nil {
                _ = resumePage(x)
                return
            }
            if !x.answerQueued, let f = x.filter {
                _ = resumeFilters(x, f)
                return
            }
            if !x.answerQueued || x.client.stream.hasPending { return }
            if let stream = x.client.stream.clientStream, !stream.hasSentEnd { return endStreamAnswer(x) }
            finish(x, .completed)
        case .receiving:
            // The answer has begun, and the request may not be through.
            let handle = x.handle
            pumpResponse(x)
            if exchanges.find(handle) != nil, x.phase == .receiving { resumeRequest(x) }
        case .tunnel: pumpTunnel(x)
        case .readingBody, .sending, .waiting, .connecting: resumeRequest(x)
        case .held, .delayed: timers.set(x.client.timer, at: x.heldUntilMs)
        case .queued: goOnFromLine(x)
        case .asking: goOnAsking(x)
        case .routing: if let r = x.inner, !r.isBegun { routeInner(x, r) }
        case .handedOver, .finished: break
        }
    }

    /// More of the request's body, from the client or from where it was collected.
    private func resumeRequest(_ x: Ref<Exchange>) {
        if !x.body.isComplete {
            if !x.dropsBody { pumpRequestBody(x) }
        } else if sendsBody(x), !x.bodySpool.isEmpty, let u = x.upstream, x.requestHeadSent, !u.stream.hasPending {
            pumpRequest(x, u)
        }
    }

    // MARK: Redirects and texts of the configuration

    /// `return CODE [TEXT|URL]`.
    func answerReturn(_ x: Ref<Exchange>, _ status: UInt16, _ template: Template) {
        if status == 444 { return closeUnanswered(x, 444) }
        // What its text may say.
        x.status = status
        let isRedirect = (301...303).contains(status) || status == 307 || status == 308
        if isRedirect {
            var head = AnswerHead(status: status)
            head.location = expand(template, for: x, keep: true)
            return answerPage(x, head)
        }
        if template.isEmpty, status >= 300 { return answerError(x, status) }
        var head = AnswerHead(status: status)
        head.contentType = ownType(x)
        answer(x, head, text: expand(template, for: x, keep: true))
    }

    /// `rewrite ... redirect|permanent`, with the request's arguments unless the replacement drops them.
    func answerRewriteRedirect(_ x: Ref<Exchange>, status: UInt16, to text: ByteView, dropsArguments: Bool) {
        var head = AnswerHead(status: status)
        head.location = text
        if !dropsArguments, !x.arguments.isEmpty {
            head.location = text.firstIndex(of: 0x3F) == nil ? joined(text, "?", x.arguments, x) : joined(text, "&", x.arguments, x)
        }
        answerPage(x, head)
    }

    /// A prefix location `/x/` asked for as `/x`.
    func answerSlashRedirect(_ x: Ref<Exchange>) {
        scratchText.value.reset()
        appendEscaped(x.path, .uri, to: scratchText)
        scratchText.value.append(0x2F)
        if !x.arguments.isEmpty {
            scratchText.value.append(0x3F)
            scratchText.value.append(x.arguments)
        }
        var head = AnswerHead(status: 301)
        head.location = x.value.region.copy(scratchText.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
        answerPage(x, head)
    }

    func appendEscaped(_ text: ByteView, _ set: EscapeSet, to w: Ref<ByteWriter>) {
        if w.room < text.count * 3 {
            w.value.append(ByteView(text.start, w.room + 1))
            return
        }
        var span = UnsafeMutableBufferPointer(start: w.start + w.count, count: w.room).mutableSpan
        if let n = escape(text.buffer.span, set, into: &span) { w.value.advance(n) }
    }
}
