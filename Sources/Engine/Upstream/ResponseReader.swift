// Reads an upstream's response: interim heads, the head, the body; judges it, and hands it on to the client's side framed anew.
// Called by events of upstream connections and by clients that have caught up. The only reader of response bodies.

import Bytes
import CLinux
import HTTPMessage

extension Worker {
    func upstreamReadable(_ u: Ref<UpstreamConnection>) {
        guard let x = u.exchange else { return closeUpstream(u) }
        switch x.phase {
        case .sending, .waiting: readResponseHead(x, u)
        case .receiving: pumpResponse(x)
        case .tunnel: pumpTunnel(x)
        case .routing, .readingBody, .connecting, .answering, .handedOver, .held, .delayed, .queued, .asking, .finished: break
        }
    }

    // MARK: The head

    @inline(__always)
    private func readResponseHead(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        while u.stream.isReadable, x.upstream == u, x.phase == .sending || x.phase == .waiting {
            var view: ByteView
            let result: ReadResult
            if x.headBuffered == 0 {
                // Of a response whose rate is limited, no more than nginx's first buffer comes with the head.
                let most = x.location.proxy.limitRate.isZero ? Limits.readBytes : x.location.proxy.bufferBytes
                result = read(&u.value.stream, into: scratch.data, most)
                guard case .bytes(let n) = result else { return responseCut(x, result) }
                view = ByteView(scratch.data, n)
            } else {
                let room = x.headBuffer.capacity - x.headBuffered
                result = read(&u.value.stream, into: x.headBuffer.start + x.headBuffered, room)
                guard case .bytes(let n) = result else { return responseCut(x, result) }
                x.headBuffered += n
                view = ByteView(x.headBuffer.start, x.headBuffered)
            }
            if case .bytes(let n) = result { x.currentTry?.bytesReceived += Int64(n) }
            timers.set(u.timer, at: nowMs + x.location.proxy.readTimeoutMs)
            x.requestSent = true
            while parseResponse(x, u, &view) {}
        }
    }

    /// One head from the front of `view`. True when it was an interim one and more is to be parsed.
    @inline(__always)
    private func parseResponse(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, _ view: inout ByteView) -> Bool {
        var fields = fieldScratch.mutableSpan
        switch parseResponseHead(view.buffer.span, seen: 0, fields: &fields, head: &x.value.upstreamHead) {
        case .needMore:
            keepPartialHead(x, view)
            return false
        case .bad(let reason):
            logExchange(.error, "upstream sent invalid header while reading response header from upstream:", x, detail: ByteView(reason.word))
            upstreamFailed(x, .upstreamBadHead, isLogged: true)
            return false
        case .head:
            let status = x.upstreamHead.status
            let bytes = view.slice(0, x.upstreamHead.headBytes)
            view = view.slice(x.upstreamHead.headBytes)
            if status >= 200 || status == 101 {
                x.currentTry?.headerMs = nowMs - x.tryStartedMs
                x.currentTry?.status = status
                responseHeadReady(x, u, bytes, rest: view)
                return false
            }
            x.interimResponses += 1
            if x.interimResponses > Limits.interimResponsesMax {
                upstreamFailed(x, .upstreamBadHead)
                return false
            }
            if status == 103 { forwardEarlyHints(x, bytes) }
            if x.phase == .finished { return false }
            if view.isEmpty {
                x.headBuffered = 0
                return false
            }
            return true
        }
    }

    private func keepPartialHead(_ x: Ref<Exchange>, _ view: ByteView) {
        let most = max(x.location.proxy.bufferBytes, 4096)
        if view.count >= most { return upstreamFailed(x, .upstreamHeadTooLarge) }
        if x.headBuffer.isNone { x.headBuffer = buffers.take(most) }
        // The view may lie in the buffer itself, behind interim heads.
        x.headBuffer.start.update(from: view.start, count: view.count)
        x.headBuffered = view.count
    }

    /// The upstream's end or an error before a whole head has come.
    private func responseCut(_ x: Ref<Exchange>, _ result: ReadResult) {
        switch result {
        case .bytes, .wouldBlock: return
        case .end:
            logExchange(.error, "upstream prematurely closed connection while reading response header from upstream", x)
            upstreamFailed(x, .upstreamClosed, isLogged: true)
        case .failed(let errno):
            if let stream = x.upstream?.stream.upstreamStream { return streamCut(x, stream) }
            logExchange(.error, "recv() failed while reading response header from upstream", x, errno: errno)
            upstreamFailed(x, .upstreamReset, isLogged: true)
        }
    }

    @inline(__always)
    private func responseHeadReady(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, _ bytes: ByteView, rest: ByteView) {
        let status = x.upstreamHead.status
        if status == 101 { return beginTunnel(x, u, bytes, rest: rest) }
        if status >= 400, tryNextForStatus(x) { return }
        let fields = UnsafeBufferPointer(start: fieldScratch.baseAddress, count: x.upstreamHead.fields.fieldCount)
        let method: Method = x.location.proxy.method.isEmpty ? x.method : proxiedMethod(x)
        let framing = responseFraming(x.upstreamHead, fields.span, bytes.buffer.span, requestMethod: method)
        if case .bad(let reason) = framing {
            logExchange(.error, "upstream sent invalid header:", x, detail: ByteView(reason.word))
            // No answer to go by, whatever status it claims.
            x.currentTry?.status = 0
            return upstreamFailed(x, .upstreamBadHead, isLogged: true)
        }
        let stream = u.stream.upstreamStream
        // The end of the stream ends the body; one that is not as long as it said resets the stream.
        x.response = BodyReader(stream != nil && framing != .none ? .untilClose : framing)
        let saidClose = x.upstreamHead.fields.wantsClose
        x.upstreamKeepsAlive = !saidClose && (x.upstreamHead.versionMinor > 0 || x.upstreamHead.fields.wantsKeepAlive)
        let isOpenEnded: Bool = switch framing {
        case .chunked, .untilClose: true
        default: false
        }
        if x.askedToClose { x.upstreamKeepsAlive = false }
        if case .untilClose = framing { x.upstreamKeepsAlive = false }
        if x.root.keepsUpstreamHead { keepUpstreamHead(x, bytes) }
        if followAccelFields(x, bytes) { return }
        if x.location.proxy.interceptErrors, status >= 300, intercept(x, bytes) { return }
        if let pair = x.shadow { shadowHead(x, pair, bytes) }
        var answer = AnswerHead(status: status)
        describe(x, bytes, &answer)
        if let stream, answer.contentLength < 0, rest.isEmpty, stream.isReadOut, stream.trailers.count == 0, !x.response.isComplete {
            answer.contentLength = 0
        }
        if let pool = x.proxyTarget.pool, pool.settings.hasDrained || !pool.isCurrent { endKeepAliveIfDrained(x, pool) }
        if isOpenEnded || stream != nil {
            x.isEventStream = isEventStream(answer.contentType)
            // Nobody knows when it ends.
            if x.isEventStream, let row = x.proxyTarget.row { observeAnswer(x, row) }
        }
        composeHead(x, answer, upstream: bytes)
        if x.upstreamRate != 0 || !x.location.proxy.limitRate.isZero {
            x.upstreamRate = byteCount(x.location.proxy.limitRate, x)
            x.upstreamPaceStartMs = nowMs
        }
        if out.overflowed {
            if x.page != nil { dropPage(x) }
            if let f = x.filter { dropFilter(x, f) }
            logExchange(.error, Fault.headTooLarge.words, x)
            return upstreamFailed(x, .upstreamHeadTooLarge, isLogged: true)
        }
        x.phase = .receiving
        x.answerBegun = true
        if x.headOnly, !x.response.isComplete {
            // The body that nobody wants would come as the answer to the connection's next request.
            x.response = BodyReader()
            x.upstreamKeepsAlive = false
        }
        forwardFirst(x, u, rest)
    }

    /// The client's head and the first piece of the body, in one send where possible.
    @inline(__always)
    private func forwardFirst(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, _ rest: ByteView) {
        var body = rest
        // A head that came in pieces lies elsewhere; its rest moves to the scratch, which has room around the data.
        if rest.start < UnsafePointer(scratch.data) || rest.start > UnsafePointer(scratch.data + Limits.readBytes) {
            if rest.count > 0 { scratch.data.update(from: rest.start, count: rest.count) }
            body = ByteView(scratch.data, rest.count)
        }
        dropHeadBuffer(x)
        guard forward(x, u, body, head: out.view) else { return }
        if x.phase == .receiving { pumpResponse(x) }
    }

    // MARK: The body

    /// Reads on while there is something to read and the client's side has room.
    func pumpResponse(_ x: Ref<Exchange>) {
        var budget = Limits.bytesPerTurn
        x.isUpstreamDelayed = false
        if x.page != nil {
            if !resumePage(x) { return }
            // While the page waited nobody waited for the upstream.
            if let u = x.upstream, !u.stream.isReadable { timers.set(u.timer, at: nowMs + x.location.proxy.readTimeoutMs) }
        } else if let f = x.filter, !resumeFilters(x, f) {
            return
        }
        while let u = x.upstream, x.phase == .receiving, u.stream.isReadable {
            if !clientHasRoom(x) { return timers.cancel(u.timer) }
            if budget <= 0 { return post(x) }
            var most = x.clientIsSlow || x.filter != nil || x.page != nil ? Limits.readBytesWhileSlow : Limits.readBytes
            if x.upstreamRate > 0 {
                most = min(most, upstreamAllowance(x, u))
                if most <= 0 { return }
            }
            switch read(&u.value.stream, into: scratch.data, most) {
            case .bytes(let n):
                budget -= n
                x.currentTry?.bytesReceived += Int64(n)
                timers.set(u.timer, at: nowMs + x.location.proxy.readTimeoutMs)
                guard forward(x, u, ByteView(scratch.data, n), head: .empty) else { return }
            case .wouldBlock:
                timers.set(u.timer, at: nowMs + x.location.proxy.readTimeoutMs)
                if let f = x.filter { upstreamPaused(x, f, u) }
                return
            case .end: return responseEnded(x, u)
            case .failed(let errno):
                if let stream = u.stream.upstreamStream { return streamCut(x, stream) }
                logExchange(.error, "recv() failed while reading upstream", x, errno: errno)
                return upstreamFailed(x, .upstreamReset, isLogged: true)
            }
        }
        if let f = x.filter, let u = x.upstream, x.phase == .receiving { upstreamPaused(x, f, u) }
    }

    func clientHasRoom(_ x: Ref<Exchange>) -> Bool {
        let stream = x.client.stream
        if !stream.hasPending { return true }
        let proxy = x.location.proxy
        if !x.buffersResponse { return false }
        if stream.pendingCount < proxy.buffersBytes { return true }
        return x.responseSpool.written < proxy.maxTempFileBytes
    }

    private func responseEnded(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        if x.value.response.endOfStream() {
            if let stream = u.stream.upstreamStream { takeTrailers(x, stream) }
            x.upstreamKeepsAlive = false
            _ = forward(x, u, ByteView(scratch.data, 0), head: .empty)
            return
        }
        logExchange(.error, "upstream prematurely closed connection while reading upstream", x)
        upstreamFailed(x, .upstreamEndedEarly, isLogged: true)
    }

    /// Takes the framing off `data`, which lies in the scratch, and sends the payload framed for the client, behind `head`.
    /// False when the exchange is over.
    private func forward(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, _ data: ByteView, head: ByteView) -> Bool {
        var offset = 0
        let start = UnsafeMutablePointer(mutating: data.start)
        var count = 0
        reading: while !x.response.isComplete {
            switch x.value.response.step(data, at: &offset) {
            case .data(let piece):
                let target = start + count
                if piece.start != UnsafePointer(target) { target.update(from: piece.start, count: piece.count) }
                count += piece.count
            case .trailer(let piece): keepTrailer(x, piece)
            case .needMore, .complete: break reading
            case .bad:
                logExchange(.error, Fault.upstreamBadBody.words, x)
                // The head has not gone out: there is still an answer to give.
                if !head.isEmpty {
                    x.answerBegun = false
                    if x.page != nil { dropPage(x) }
                    if let f = x.filter { dropFilter(x, f) }
                }
                upstreamFailed(x, .upstreamBadBody, isLogged: true)
                return false
            }
        }
        if !x.response.isComplete, let stream = u.stream.upstreamStream, stream.isReadOut, x.value.response.endOfStream() {
            takeTrailers(x, stream)
        }
        if x.response.isComplete {
            if offset < data.count {
                x.upstreamKeepsAlive = false
                logExchange(.warn, "upstream sent more data than its framing says while reading upstream", x)
            }
            releaseUpstream(x, u)
        }
        if let pair = x.shadow { shadowBody(x, pair, ByteView(start, count)) }
        if x.page != nil { return givePage(x, ByteView(start, count), head: head, isLast: x.response.isComplete) }
        if let f = x.filter { return filterResponse(x, f, ByteView(start, count), head) }
        if !emit(x, head, payload: ByteView(start, count), isLast: x.response.isComplete) { return false }
        if x.response.isComplete {
            if x.lastChunkLater {
                out.value.reset()
                appendLastChunk(out, x)
                guard emit(x, out.view) else { return false }
            }
            answerDone(x)
            return false
        }
        return true
    }

    /// `head` (possibly empty), then `payload` in the client's framing, in one send: the payload's memory has room around it.
    func emit(_ x: Ref<Exchange>, _ head: ByteView, payload: ByteView, isLast: Bool) -> Bool {
        let framing = framed(x, x.headOnly ? payload.slice(0, 0) : payload, isLast: isLast)
        if !x.headOnly { x.bodySentToClient += Int64(payload.count) }
        if head.isEmpty { return framing.isEmpty ? true : emit(x, framing) }
        let start = UnsafeMutablePointer(mutating: framing.start)
        if head.count + 64 > ReadScratch.headroom {
            return emit(x, head) && (framing.isEmpty || emit(x, framing))
        }
        (start - head.count).update(from: head.start, count: head.count)
        return emit(x, ByteView(start - head.count, head.count + framing.count))
    }

    /// The payload with the chunk framing around it, and the last chunk behind the last of it. Its memory has room around it.
    func framed(_ x: Ref<Exchange>, _ payload: ByteView, isLast: Bool) -> ByteView {
        if x.framing != .chunked { return payload }
        var start = UnsafeMutablePointer(mutating: payload.start)
        var end = start + payload.count
        if payload.count > 0 {
            valueText.value.reset()
            valueText.value.append(hex: UInt64(payload.count))
            valueText.value.append("\r\n")
            start -= valueText.count
            start.update(from: valueText.start, count: valueText.count)
            end[0] = 0x0D
            end[1] = 0x0A
            end += 2
        }
        if isLast {
            scratchText.value.reset()
            appendLastChunk(scratchText, x)
            if scratchText.count <= ReadScratch.tail - 2 {
                end.update(from: scratchText.start, count: scratchText.count)
                end += scratchText.count
            } else {
                x.lastChunkLater = true
            }
        }
        return ByteView(start, end - start)
    }

    /// Collects the trailer section; it is short, and the buffer of the head is free by now.
    private func keepTrailer(_ x: Ref<Exchange>, _ piece: ByteView) {
        if x.headBuffer.isNone { x.headBuffer = buffers.take(Limits.trailerBytesMax) }
        if x.headBuffered + piece.count > x.headBuffer.capacity { return }
        (x.headBuffer.start + x.headBuffered).update(from: piece.start, count: piece.count)
        x.headBuffered += piece.count
        if x.response.isComplete { x.keptTrailers = ByteView(x.headBuffer.start, x.headBuffered) }
    }

    /// The trailers of a stream that has ended.
    private func takeTrailers(_ x: Ref<Exchange>, _ stream: Ref<UpstreamStream>) {
        if stream.trailers.count == 0 { return }
        buffers.give(x.headBuffer)
        x.headBuffer = stream.trailers.buffer
        x.headBuffered = stream.trailers.count
        x.keptTrailers = stream.trailers.view
        stream.trailers = InboundBytes()
    }

    /// The response is whole: the connection serves on, or closes.
    func releaseUpstream(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        x.upstream = nil
        if let row = x.proxyTarget.row { observeAnswer(x, row, on: u) }
        endTry(x, x.failsPeerAtEnd ? .failed : .succeeded)
        endRetry(x)
        // The stream alone.
        if u.stream.carrier == .http2 { return closeUpstream(u) }
        guard x.upstreamKeepsAlive, x.requestWhole, let origin = x.proxyTarget.pool, !u.stream.peerClosed, !u.stream.isBroken, !u.stream.hasPending, !isStopping,
            let pool = poolToParkIn(origin, u)
        else { return closeUpstream(u) }
        // A read that came back full may have left bytes that nobody asked for.
        if u.stream.isReadable, !isStillOpen(u) { return closeUpstream(u) }
        if x.location.proxy.sendsProxyHeader != .none { return closeUpstream(u) }
        let settings = pool.settings
        // As with nginx: a certificate that is replaced, or a session that was offered, counts from the next request on.
        if x.proxyTarget.usesTLS, settings.isImplicit { return closeUpstream(u) }
        if settings.keepalive == 0 || u.requests >= settings.keepaliveRequests || nowMs - u.openedMs > settings.keepaliveTimeMs {
            return closeUpstream(u)
        }
        park(u, in: pool)
    }

    /// The pool of the current snapshot for this connection, even when the exchange began under an older one.
    private func poolToParkIn(_ origin: Ref<UpstreamPool>, _ u: Ref<UpstreamConnection>) -> Ref<UpstreamPool>? {
        if origin.isCurrent { return origin }
        guard let pool = currentPool(for: origin), let peer = findPeer(u.address, in: pool) else { return nil }
        u.peer = peer
        u.address = pool.settings.peers[Int(peer)].address
        return pool
    }

    private func proxiedMethod(_ x: Ref<Exchange>) -> Method {
        let text = copiedExpansion(x.location.proxy.method, x)
        return text.equalsIgnoringCase(ByteView("HEAD")) ? .head : text == ByteView("CONNECT") ? .connect : .get
    }

    private func keepUpstreamHead(_ x: Ref<Exchange>, _ bytes: ByteView) {
        x.keptUpstreamHead = x.value.region.copy(bytes, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
        let count = x.keptUpstreamHead.isEmpty ? 0 : x.upstreamHead.fields.fieldCount
        guard let memory = x.value.region.allocate(count * MemoryLayout<HeaderField>.stride, from: &buffers, limit: Limits.regionBytesMax)
        else { return }
        x.keptUpstreamFields = Frozen(copying: fieldScratch, count: count, into: memory)
    }
}
