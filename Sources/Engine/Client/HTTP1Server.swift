// The HTTP/1 side towards clients: heads are read and parsed here, connections kept, discarded, lingered and closed.
// Called by the worker's dispatch and by exchanges that end. It begins exchanges and never touches an upstream.

import Bytes
import CLinux
import HTTPMessage

extension Worker {
    func clientEvent(_ c: Ref<ClientConnection>, _ bits: UInt32) {
        c.value.stream.note(bits)
        if let x = c.exchange {
            if c.stream.isBroken { return clientGone(x, .clientReset) }
            if bits & Readiness.writable != 0, c.stream.hasPending || x.phase == .answering { clientWritable(c, x) }
            if c.phase == .exchange, c.exchange == x { clientReadable(c, x) }
            return
        }
        if c.stream.isBroken { return closeClient(c) }
        if c.stream.hasPending { flushBetweenExchanges(c) }
        goOn(c)
    }

    private func goOn(_ c: Ref<ClientConnection>) {
        switch c.phase {
        case .idle, .readingHead: readRequests(c)
        case .discarding: discardBody(c)
        case .lingering: linger(c)
        case .proxyHeader: readProxyHeader(c)
        case .handshake: handshake(c)
        case .http2: http2Event(c)
        // The exchange around an inner request has taken what waited.
        case .exchange: if c.stream.carrier == .inner, let x = c.exchange { clientWritable(c, x) }
        case .closed: break
        }
    }

    /// The client sent something, or its end, while an exchange is under way.
    @inline(__always)
    func clientReadable(_ c: Ref<ClientConnection>, _ x: Ref<Exchange>) {
        if x.phase == .tunnel { return pumpTunnel(x) }
        if x.phase == .held { return clientOfHeldReadable(x) }
        if x.phase == .queued { return clientOfQueuedReadable(x) }
        if x.phase == .asking { return clientOfAskingReadable(x) }
        if x.phase == .delayed { return clientOfDelayedReadable(x) }
        if !x.body.isComplete, !x.dropsBody, c.stream.isReadable { return pumpRequestBody(x) }
        // Nobody reads the answer of a long call, or events, whose end is closed.
        if x.phase == .handedOver, c.stream.peerClosed { return clientGone(x, .clientClosed) }
        if c.stream.peerClosed, !x.answerBegun, x.location.proxy.ignoreClientAbort == .whenClosed, x.phase != .routing {
            clientGone(x, .clientClosed)
        }
    }

    func clientWritable(_ c: Ref<ClientConnection>, _ x: Ref<Exchange>) {
        switch flushToClient(x) {
        case .failed: clientGone(x, .clientReset)
        case .queued: waitForClient(x)
        case .sent: clientDrained(x)
        }
    }

    /// An answer that was queued whole goes out while the next request may already be read; here only what is left of it.
    private func flushBetweenExchanges(_ c: Ref<ClientConnection>) {
        if case .failed = flush(&c.value.stream) { closeClient(c) }
    }

    // MARK: Heads

    /// Parses requests out of what was read ahead and of the socket until an exchange goes on its own or input runs out.
    func readRequests(_ c: Ref<ClientConnection>) {
        var requestsLeft = Limits.requestsPerTurn
        while c.phase == .idle || c.phase == .readingHead {
            // A client that pipelines without end, or faster than it is read, does not keep the others waiting.
            if requestsLeft == 0 {
                postRead(c)
                break
            }
            requestsLeft -= 1
            if !c.input.isEmpty, !c.needsMoreInput {
                if c.requests == 0, mayBeHTTP2(c) { continue }
                parseHead(c)
                continue
            }
            if !c.stream.isReadable { break }
            if !readMoreInput(c) { return }
        }
        if c.phase != .closed { ownInput(c) }
    }

    /// One read behind what is there. False when the connection is gone.
    @inline(__always)
    private func readMoreInput(_ c: Ref<ClientConnection>) -> Bool {
        let isFirst = c.input.isEmpty
        let result: ReadResult
        if isFirst {
            result = read(&c.value.stream, into: scratch.data, Limits.readBytes)
            if case .bytes(let n) = result { setInputFromScratch(c, n) }
        } else {
            let room = headBytesMax(c) - c.input.count
            if room <= 0 {
                refuseHead(c, .headTooLarge)
                return c.phase != .closed
            }
            growInput(c, by: room)
            result = read(&c.value.stream, into: c.inputBuffer.start + c.input.count, room)
            if case .bytes(let n) = result { c.input = ByteView(c.inputBuffer.start, c.input.count + n) }
        }
        switch result {
        case .bytes:
            c.needsMoreInput = false
            return true
        case .wouldBlock: return true
        case .end:
            if c.phase == .readingHead { logClient(.info, "client prematurely closed connection while reading client request", c) }
            closeClient(c)
            return false
        case .failed:
            closeClient(c)
            return false
        }
    }

    /// The beginning of a connection may be the preface of HTTP/2, where the server speaks it. True: it is, or more has to come.
    private func mayBeHTTP2(_ c: Ref<ClientConnection>) -> Bool {
        let preface = Self.clientPreface
        guard c.input[0] == preface[0], let listen = listeners[Int(c.listener)].settings, !listen.isTLS,
            listen.speaksHTTP2 || c.defaultServer(in: self)?.speaksHTTP2 == true
        else { return false }
        if c.input.count < preface.count {
            if !preface.hasPrefix(c.input) { return false }
            c.needsMoreInput = true
            ownInput(c)
            return true
        }
        if !c.input.hasPrefix(preface) { return false }
        beginHTTP2(c)
        return true
    }

    private func headBytesMax(_ c: Ref<ClientConnection>) -> Int { c.defaultServer(in: self).map { headBytesMax($0) } ?? 1024 }

    /// All the bytes one head may have: the first buffer and the large ones.
    func headBytesMax(_ server: Ref<ServerSettings>) -> Int {
        server.headerBufferBytes + server.largeHeaderBuffers * server.largeHeaderBytes
    }

    /// Moves the input into a buffer of its own with room for `more`, all of it at the buffer's start.
    private func growInput(_ c: Ref<ClientConnection>, by more: Int) {
        if !c.inputBuffer.isNone, c.input.start == UnsafePointer(c.inputBuffer.start), c.inputBuffer.capacity >= c.input.count + more {
            return
        }
        let fresh = buffers.take(min(c.input.count + more, BufferPool.largest))
        fresh.start.update(from: c.input.start, count: c.input.count)
        buffers.give(c.inputBuffer)
        c.inputBuffer = fresh
        c.input = ByteView(fresh.start, c.input.count)
    }

    /// Input that lies in the scratch is moved to memory of the connection before anyone else reads there.
    @inline(__always)
    func ownInput(_ c: Ref<ClientConnection>) {
        if c.input.isEmpty {
            dropInputBuffer(c)
        } else if c.inputBuffer.isNone {
            let fresh = buffers.take(c.input.count)
            fresh.start.update(from: c.input.start, count: c.input.count)
            c.inputBuffer = fresh
            c.input = ByteView(fresh.start, c.input.count)
        }
    }

    /// What was just read is the input. A buffer that an earlier input has used up is let go, or `ownInput` would take it for its home.
    @inline(__always)
    func setInputFromScratch(_ c: Ref<ClientConnection>, _ count: Int) {
        if !c.inputBuffer.isNone { dropInputBuffer(c) }
        c.input = ByteView(scratch.data, count)
    }

    @inline(__always)
    func dropInputBuffer(_ c: Ref<ClientConnection>) {
        buffers.give(c.inputBuffer)
        c.inputBuffer = .none
        c.input = .empty
    }

    @inline(__always)
    private func parseHead(_ c: Ref<ClientConnection>) {
        let head = headScratch
        var fields = fieldScratch.mutableSpan
        let result = parseRequestHead(c.input.buffer.span, seen: c.seenInput, fields: &fields, head: &head.value)
        switch result {
        case .needMore(let lineComplete):
            if c.phase == .idle {
                // The first of it has come, alone or behind the request before: the rest has its time.
                c.phase = .readingHead
                timers.set(c.timer, at: nowMs + (c.defaultServer(in: self)?.clientHeaderTimeoutMs ?? 60_000))
            }
            c.needsMoreInput = true
            c.seenInput = c.input.count
            if c.input.count >= headBytesMax(c) { refuseHead(c, lineComplete ? .fieldsTooLarge : .lineTooLarge) } else { ownInput(c) }
        case .bad(let reason): refuseHead(c, .bad(reason))
        case .head:
            let bytes = c.input.slice(0, head.headBytes)
            c.input = c.input.slice(head.headBytes)
            c.needsMoreInput = false
            c.seenInput = 0
            beginExchange(c, head, bytes)
        }
    }

    /// Goes on with a connection that was put off to this turn.
    func resume(_ c: Ref<ClientConnection>) { goOn(c) }

    // MARK: After an answer

    /// The answer is with the stream and the exchange is over: what becomes of the connection.
    ///
    /// mayHaveMore: the client may still be sending whatever the framing says, as at the end of a tunnel.
    func settle(
        _ c: Ref<ClientConnection>, keepAlive: Bool, body: BodyReader, location: Ref<LocationSettings>, mayHaveMore: Bool = false
    ) {
        c.exchange = nil
        c.lingeringTimeoutMs = location.lingeringTimeoutMs
        c.keepaliveTimeoutMs = location.keepaliveTimeoutMs
        if keepAlive, !isStopping {
            if body.isComplete { return becomeIdle(c, location) }
            guard let (_, handle) = discards.insert(body) else { return closeClient(c) }
            c.discard = handle
            c.phase = .discarding
            c.discardLimitMs = nowMs + location.lingeringTimeMs
            timers.set(c.timer, at: nowMs + location.lingeringTimeoutMs)
            return discardBody(c)
        }
        let mayHaveMore =
            mayHaveMore || !body.isComplete || !c.input.isEmpty || c.pipelines || (c.stream.isReadable && !c.stream.peerClosed)
            || c.stream.tls?.isEarly == true
        if c.stream.hasPending || location.lingeringClose == .always || (location.lingeringClose == .on && mayHaveMore) {
            c.phase = .lingering
            c.discardLimitMs = nowMs + location.lingeringTimeMs
            dropInputBuffer(c)
            timers.set(c.timer, at: nowMs + (c.stream.hasPending ? location.sendTimeoutMs : location.lingeringTimeoutMs))
            if !c.stream.hasPending { endStream(&c.value.stream) }
            return linger(c)
        }
        closeClient(c)
    }

    @inline(__always)
    private func becomeIdle(_ c: Ref<ClientConnection>, _ location: Ref<LocationSettings>) {
        c.phase = .idle
        if c.input.isEmpty {
            dropInputBuffer(c)
            timers.set(c.timer, at: nowMs + location.keepaliveTimeoutMs)
            // Data that arrived during the exchange has had its edge already.
            if c.stream.isReadable { postRead(c) }
        } else {
            c.pipelines = true
            c.hasNextRequest = true
            postRead(c)
        }
    }

    /// What remains of the body of a request that has been answered is read and dropped; then the connection may serve on.
    private func discardBody(_ c: Ref<ClientConnection>) {
        var budget = Limits.bytesPerTurn
        while c.phase == .discarding, let rest = discards.find(c.discard) {
            if budget <= 0 { return postRead(c) }
            var offset = 0
            while offset < c.input.count || rest.isComplete {
                switch rest.value.step(c.input, at: &offset) {
                case .data, .trailer: continue
                case .needMore: break
                case .bad: return closeClient(c)
                case .complete:
                    c.input = c.input.slice(offset)
                    discards.remove(c.discard)
                    if isStopping { return closeClient(c) }
                    c.hasNextRequest = !c.input.isEmpty
                    c.phase = .idle
                    timers.set(c.timer, at: nowMs + c.keepaliveTimeoutMs)
                    // Put off rather than called: this may run inside the exchange before, or inside ten thousand pipelined ones.
                    ownInput(c)
                    return postRead(c)
                }
                break
            }
            dropInputBuffer(c)
            if !c.stream.isReadable { return }
            switch read(&c.value.stream, into: scratch.data, Limits.readBytes) {
            case .bytes(let n):
                if nowMs >= c.discardLimitMs { return closeClient(c) }
                budget -= n
                setInputFromScratch(c, n)
            case .wouldBlock: return
            case .end, .failed: return closeClient(c)
            }
        }
    }

    /// Reads until the client has closed, so that its unread bytes do not reset the connection under the answer (RFC 9112 9.6).
    private func linger(_ c: Ref<ClientConnection>) {
        if c.stream.hasPending {
            switch flush(&c.value.stream) {
            case .failed: return closeClient(c)
            case .queued: return
            case .sent:
                endStream(&c.value.stream)
                timers.set(c.timer, at: nowMs + c.lingeringTimeoutMs)
            }
        }
        var budget = Limits.bytesPerTurn
        while c.stream.isReadable {
            if budget <= 0 { return postRead(c) }
            switch read(&c.value.stream, into: scratch.data, Limits.readBytes) {
            case .bytes(let n):
                budget -= n
                if nowMs >= c.discardLimitMs { return closeClient(c) }
                timers.set(c.timer, at: min(nowMs + c.lingeringTimeoutMs, c.discardLimitMs))
            case .wouldBlock: return
            case .end, .failed: return closeClient(c)
            }
        }
    }

    func clientTimedOut(_ c: Ref<ClientConnection>) {
        switch c.phase {
        case .readingHead:
            logClient(.info, "client timed out while reading client request", c)
            refuseHead(c, .timeout)
        case .exchange: if let x = c.exchange { exchangeTimedOut(x) }
        case .http2: http2TimedOut(c)
        case .proxyHeader: proxyHeaderTimedOut(c)
        case .handshake: handshakeTimedOut(c)
        case .idle, .discarding, .lingering: closeClient(c)
        case .closed: break
        }
    }

    func closeClient(_ c: Ref<ClientConnection>) {
        if c.phase == .closed { return }
        if let session = c.session { dropSession(session, c.stream.isBroken ? .clientReset : .clientClosed) }
        c.phase = .closed
        if c.stream.carrier.isVirtual { return closeStreamClient(c) }
        current.account.add(c.stream.peerClosed || c.stream.sawEnd || c.stream.isBroken ? .closedByClient : .closedByProxy)
        timers.free(c.timer)
        discards.remove(c.discard)
        dropInputBuffer(c)
        if c.proxied != .none { dropProxied(c) }
        closeStream(&c.value.stream)
        clients.remove(c.handle)
        counts.closedConnections += 1
    }
}
