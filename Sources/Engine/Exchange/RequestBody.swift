// The request's body: collected before the upstream is asked (memory, then a file), or streamed as it comes.
// Called when the client's socket is readable and when an exchange starts to proxy. It is the only reader of request bodies.

import Bytes
import HTTPMessage

extension Worker {
    /// Begins to take the body the way the location wants it. True when there is nothing to wait for before connecting.
    func beginBodyRead(_ x: Ref<Exchange>) -> Bool {
        // An earlier target has had it as it came: there is none left to be announced or sent.
        if x.streamsBody, x.body.isComplete || x.body.received > 0 { giveUpBody(x) }
        if x.body.isComplete { return endBodyRead(x) }
        let proxy = x.location.proxy
        x.streamsBody = !proxy.requestBuffering && !(x.body.isUnsized && proxy.httpMinor == 0)
        return x.streamsBody || collectBody(x)
    }

    /// Begins to read the body whole. True when it is; else `bodyIsWhole` goes on, unless the exchange has been answered.
    func collectBody(_ x: Ref<Exchange>) -> Bool {
        x.phase = .readingBody
        if x.client.stream.carrier == .http2 { widenWindow(x.client) }
        if !x.client.input.isEmpty { pumpRequestBody(x, whileBeginning: true) }
        // A page for a body that is refused may be on its way from elsewhere, without that body.
        if x.phase == .finished || x.answerBegun || x.dropsBody { return false }
        if x.body.isComplete { return endBodyRead(x) }
        sendContinue(x)
        // Even with nothing to read: the time that the client has for its body begins.
        if x.phase != .finished { pumpRequestBody(x, whileBeginning: true) }
        return x.phase == .readingBody && x.body.isComplete && endBodyRead(x)
    }

    /// The body is there. One without a byte has its file too, where all have one. False when the exchange has been answered.
    private func endBodyRead(_ x: Ref<Exchange>) -> Bool {
        if case .none = x.body.framing { return true }
        if x.location.bodyInFile == .off || x.bodySpool.isOpen || openBodyFile(x) { return true }
        answerFault(x, .spoolFailed)
        return false
    }

    /// A client that asked to be told gets `100 Continue` before its body is read.
    func sendContinue(_ x: Ref<Exchange>) {
        guard x.head.expectsContinue, !x.sentContinue, x.head.versionMinor > 0, x.body.received == 0 else { return }
        x.sentContinue = true
        if x.client.stream.carrier == .http2 {
            scratchText.value.reset()
            scratchText.value.append("HTTP/1.1 100 Continue\r\n")
            return submitInterim(x, scratchText.view)
        }
        switch write(&x.client.value.stream, ByteView("HTTP/1.1 100 Continue\r\n\r\n")) {
        case .sent: break
        case .queued: timers.set(x.client.timer, at: nowMs + x.location.sendTimeoutMs)
        case .failed: clientGone(x, .clientReset)
        }
    }

    /// Takes what has come of the body. `whileBeginning`: the caller connects when it is whole.
    func pumpRequestBody(_ x: Ref<Exchange>, whileBeginning: Bool = false) {
        let c = x.client
        var budget = Limits.bytesPerTurn
        x.bodyWaits = false
        while !x.body.isComplete, !x.dropsBody, x.phase != .finished {
            if c.input.isEmpty {
                if !mayReadBody(x) {
                    // Its end goes on with its last piece.
                    if isBodyRead(x) { return streamBodyEnded(x, whileBeginning: whileBeginning) }
                    break
                }
                if budget <= 0 {
                    post(x)
                    break
                }
                switch read(&c.value.stream, into: scratch.data, Limits.readBytes) {
                case .bytes(let n):
                    setInputFromScratch(c, n)
                    budget -= n
                case .wouldBlock: break
                case .end:
                    if c.stream.carrier == .http2 { return streamBodyEnded(x, whileBeginning: whileBeginning) }
                    logExchange(.info, "client prematurely closed connection while reading client request body", x)
                    return bodyCut(x, .clientClosed)
                case .failed: return clientGone(x, .clientReset)
                }
                if c.input.isEmpty { break }
            }
            takeBody(x)
            if x.bodyWaits { break }
        }
        if x.phase == .finished { return }
        ownInput(c)
        if x.dropsBody { return }
        bodyMoved(x, whileBeginning: whileBeginning)
    }

    /// Nothing is left of the HTTP/2 stream that carries the body but its end.
    private func isBodyRead(_ x: Ref<Exchange>) -> Bool {
        guard x.streamsBody, x.upstream != nil, x.requestHeadSent, let stream = x.client.stream.clientStream else { return false }
        return stream.hasEnded && !stream.isReset && stream.inboundCount == 0
    }

    /// The stream of HTTP/2 that carries the body has ended.
    private func streamBodyEnded(_ x: Ref<Exchange>, whileBeginning: Bool) {
        let hasWrongLength = x.client.stream.clientStream?.hasWrongLength ?? false
        if hasWrongLength || !x.value.body.endOfStream() {
            logExchange(.info, "client prematurely closed stream", x)
            return bodyCut(x, .clientBadBody)
        }
        if x.streamsBody { endStreamedBody(x) }
        if x.phase != .finished { bodyMoved(x, whileBeginning: whileBeginning) }
    }

    /// Goes on with a body that is complete; else waits for more of it.
    private func bodyMoved(_ x: Ref<Exchange>, whileBeginning: Bool) {
        let c = x.client
        if x.body.isComplete {
            if !c.stream.hasPending { timers.cancel(c.timer) }
            if x.phase == .readingBody, !whileBeginning, endBodyRead(x) { return bodyIsWhole(x) }
            if x.streamsBody, x.phase == .sending { requestSentWhole(x) }
        } else if !c.stream.hasPending {
            // While the upstream holds things up nobody waits for the client.
            if upstreamTakesBody(x) { timers.set(c.timer, at: nowMs + x.location.clientBodyTimeoutMs) } else { timers.cancel(c.timer) }
        }
    }

    private func bodyIsWhole(_ x: Ref<Exchange>) {
        if x.readsForMirrors { return bodyIsReadForMirrors(x) }
        if x.location.handler == .admin { handOver(x) } else { connect(x) }
    }

    private func mayReadBody(_ x: Ref<Exchange>) -> Bool { x.client.stream.isReadable && upstreamTakesBody(x) }

    /// Back-pressure is not reading: what the upstream has not taken stays with the client.
    private func upstreamTakesBody(_ x: Ref<Exchange>) -> Bool {
        if !x.streamsBody { return x.phase == .readingBody }
        guard let u = x.upstream, x.requestHeadSent else { return false }
        return !u.stream.hasPending
    }

    /// Uses up the input for the body; what lies behind the body stays for the next request.
    private func takeBody(_ x: Ref<Exchange>) {
        let c = x.client
        if x.streamsBody, !upstreamTakesBody(x), c.input.count > 0 {
            // Not yet: the upstream is not connected or is slow. The input waits in the connection's own memory.
            ownInput(c)
            x.bodyWaits = true
            return
        }
        var offset = 0
        // Pieces are put together where they lie, so that a body of small chunks costs no call for each.
        var data = ByteView.empty
        while true {
            switch x.value.body.step(c.input, at: &offset) {
            case .data(let piece):
                if data.isEmpty {
                    data = piece
                } else {
                    (UnsafeMutablePointer(mutating: data.start) + data.count).update(from: piece.start, count: piece.count)
                    data = ByteView(data.start, data.count + piece.count)
                }
            case .trailer: continue
            case .needMore, .complete:
                if !data.isEmpty, !keepBodyPiece(x, data) { return }
                c.input = c.input.slice(offset)
                if !c.input.isEmpty { ownInput(c) }
                if x.body.isComplete, x.streamsBody { endStreamedBody(x) }
                return
            case .bad:
                logExchange(.info, Fault.clientBadBody.words, x)
                return bodyCut(x, .clientBadBody)
            }
        }
    }

    private func keepBodyPiece(_ x: Ref<Exchange>, _ piece: ByteView) -> Bool {
        let most = x.location.clientMaxBodyBytes
        if most > 0, x.body.received > most {
            logExchange(.error, Fault.clientBodyTooLarge.words, x)
            bodyCut(x, .clientBodyTooLarge)
            return false
        }
        if x.streamsBody { return forwardBodyPiece(x, piece) }
        // A larger body waits in a file whatever the directive says: what is in memory must fit one buffer and one stream's queue.
        let size = min(x.location.clientBodyBufferBytes, Limits.pendingBytesMax)
        if x.bodySpool.isOpen || x.bodyBuffered + piece.count > max(size, 1024) || x.location.bodyInFile != .off { return spoolBodyPiece(x, piece) }
        if x.bodyBuffered + piece.count > x.bodyBuffer.capacity {
            var want = x.bodyBuffered + piece.count
            if case .length(let n) = x.body.framing { want = max(want, Int(min(n, Int64(size)))) }
            let larger = buffers.take(want)
            larger.start.update(from: x.bodyBuffer.start, count: x.bodyBuffered)
            buffers.give(x.bodyBuffer)
            x.bodyBuffer = larger
        }
        (x.bodyBuffer.start + x.bodyBuffered).update(from: piece.start, count: piece.count)
        x.bodyBuffered += piece.count
        return true
    }

    /// Beyond the buffer the whole body goes to a file, as nginx does.
    private func spoolBodyPiece(_ x: Ref<Exchange>, _ piece: ByteView) -> Bool {
        let folder = x.location.clientBodyTempPath
        let isFirst = !x.bodySpool.isOpen
        if isFirst, !openBodyFile(x) { return spoolRefused(x) }
        if isFirst, x.bodyBuffered > 0 {
            guard spool(&x.value.bodySpool, ByteView(x.bodyBuffer.start, x.bodyBuffered), folder: folder) else { return spoolRefused(x) }
            buffers.give(x.bodyBuffer)
            x.bodyBuffer = .none
            x.bodyBuffered = 0
        }
        return spool(&x.value.bodySpool, piece, folder: folder) ? true : spoolRefused(x)
    }

    private func spoolRefused(_ x: Ref<Exchange>) -> Bool {
        logExchange(.crit, Fault.spoolFailed.words, x)
        bodyCut(x, .spoolFailed)
        return false
    }

    /// The body will not come whole: nothing more is read of it and the connection ends with the answer.
    private func bodyCut(_ x: Ref<Exchange>, _ fault: Fault) {
        x.keepsAlive = false
        x.dropsBody = true
        x.readsForMirrors = false
        giveUpBody(x)
        if fault == .clientClosed {
            x.status = 400
            return finish(x, .abortedByClient(fault))
        }
        if let u = x.upstream {
            x.upstream = nil
            endTry(x, .neither)
            closeUpstream(u)
        }
        if x.answerBegun { return finish(x, .failed(fault)) }
        answerError(x, fault.status)
    }

    /// Whatever answers from here on finds a request without a body. If more of it is to come, the connection or the stream ends with
    /// the answer.
    func giveUpBody(_ x: Ref<Exchange>) {
        if !x.body.isComplete {
            x.keepsAlive = false
            x.dropsBody = true
            dropInputBuffer(x.client)
        }
        x.body = BodyReader()
        x.streamsBody = false
        x.bodyWaits = false
        x.bodyBuffered = 0
        if x.bodySpool.isOpen { closeSpool(&x.value.bodySpool) }
    }

    // MARK: Streaming

    private func forwardBodyPiece(_ x: Ref<Exchange>, _ piece: ByteView) -> Bool {
        guard let u = x.upstream else { return false }
        x.bodySent += Int64(piece.count)
        x.requestSent = true
        var result: WriteResult
        x.currentTry?.bytesSent += Int64(piece.count)
        if x.body.isUnsized, u.stream.carrier != .http2 {
            let w = valueText
            w.value.reset()
            w.value.append(hex: UInt64(piece.count))
            w.value.append("\r\n")
            x.currentTry?.bytesSent += Int64(w.count + 2)
            result = write(&u.value.stream, w.view)
            if case .failed = result { return upstreamWriteFailed(x, u) }
            result = write(&u.value.stream, piece)
            if case .failed = result { return upstreamWriteFailed(x, u) }
            result = write(&u.value.stream, ByteView("\r\n"))
        } else {
            result = write(&u.value.stream, piece)
        }
        if case .failed = result { return upstreamWriteFailed(x, u) }
        if u.stream.hasPending { timers.set(u.timer, at: nowMs + x.location.proxy.sendTimeoutMs) }
        return true
    }

    private func endStreamedBody(_ x: Ref<Exchange>) {
        guard let u = x.upstream else { return }
        if let stream = u.stream.upstreamStream { return endOutput(stream) }
        if !x.body.isUnsized { return }
        x.currentTry?.bytesSent += 5
        if case .failed = write(&u.value.stream, ByteView("0\r\n\r\n")) { _ = upstreamWriteFailed(x, u) }
    }

    /// The upstream does not take more. It may have answered already: that answer is read before the connection counts as lost.
    private func upstreamWriteFailed(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) -> Bool {
        x.dropsBody = true
        x.keepsAlive = false
        // The answer is read where the input may lie.
        dropInputBuffer(x.client)
        u.value.stream.dropAllPending(pool: &buffers)
        u.stream.isReadable = true
        u.stream.isBroken = false
        u.stream.peerClosed = true
        upstreamReadable(u)
        return false
    }
}
