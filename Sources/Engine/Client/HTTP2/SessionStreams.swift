// Streams of an HTTP/2 session as the exchanges see them: a head that begins an exchange, a body that is read, an end.
// Called by the session after each read, and by the exchanges' reads and closes through Transport/CarriedStream.swift.

import Bytes
import CLinux
import CNghttp2
import HTTPMessage

extension Worker {
    /// Something has come about this stream.
    func serveStream(_ s: Ref<ClientSession>, _ stream: Ref<ClientStream>) {
        if stream.isHeadReady {
            stream.isHeadReady = false
            // One that the client has taken back before anyone looked at it is nobody's work.
            if stream.isReset { return freeStream(stream) }
            return beginStream(s, stream)
        }
        guard let c = stream.client else {
            if stream.isReset { freeStream(stream) }
            return
        }
        guard let x = c.exchange else { return }
        if stream.isReset {
            c.stream.isBroken = true
            c.stream.peerClosed = true
            return clientGone(x, .clientReset)
        }
        c.stream.isReadable = true
        if c.phase == .exchange { clientReadable(c, x) }
    }

    private func beginStream(_ s: Ref<ClientSession>, _ stream: Ref<ClientStream>) {
        let parent = s.connection
        guard let (c, handle) = clients.insert(ClientConnection()) else {
            logProcess(.alert, "worker_connections are not enough, a stream was refused", .empty)
            reset(stream, NGHTTP2_REFUSED_STREAM)
            return freeStream(stream)
        }
        clientStreams += 1
        parent.requests += 1
        limitSession(s)
        c.handle = handle
        c.phase = .idle
        c.stream.carrier = .http2
        c.stream.clientStream = stream
        c.stream.isWritable = true
        c.stream.isReadable = stream.inboundCount > 0 || stream.hasEnded
        c.listener = parent.listener
        c.number = parent.number
        c.acceptedMs = parent.acceptedMs
        c.address = parent.address
        c.proxied = parent.proxied
        c.expectsTLS = parent.expectsTLS
        c.stream.tls = parent.stream.tls
        c.requests = parent.requests - 1
        c.timer = timers.make(owner: EventOwner.word(.client, handle))
        stream.client = c
        let head = stream.head
        let text = ByteView(head.start, stream.headCount)
        stream.head = .none
        parseStreamHead(c, stream, text)
        buffers.give(head)
    }

    private func parseStreamHead(_ c: Ref<ClientConnection>, _ stream: Ref<ClientStream>, _ text: ByteView) {
        c.input = text
        if let fault = stream.fault { return refuseHead(c, .bad(fault)) }
        let head = headScratch
        var fields = fieldScratch.mutableSpan
        switch parseRequestHead(text.buffer.span, seen: 0, isHTTP2: true, fields: &fields, head: &head.value) {
        case .needMore: refuseHead(c, .bad(.badTarget))
        case .bad(let reason): refuseHead(c, .bad(reason))
        case .head:
            c.input = .empty
            beginExchange(c, head, text)
        }
    }

    /// The body of a request that came by a stream: it ends where the stream does, and must be as long as it was said to be
    /// (RFC 9113 section 8.1.1).
    func streamBody(_ x: Ref<Exchange>, _ framing: BodyFraming) -> BodyFraming {
        guard let stream = x.client.stream.clientStream else { return framing }
        if stream.hasNoBody {
            if case .length(let n) = framing, n > 0 { return .bad(.lengthNotData) }
            x.body = BodyReader(framing)
            return framing
        }
        if case .length(let n) = framing { stream.bodyBytesSaid = n }
        switch framing {
        case .length, .none: x.body = BodyReader(framing == .none ? .untilClose : framing, untilEnd: true)
        case .chunked, .untilClose, .bad: break
        }
        return framing
    }

    /// A session serves all servers of its address that speak HTTP/2. False: this one does not, and the client has been told.
    func isHTTP2Welcome(_ x: Ref<Exchange>) -> Bool {
        if x.server.speaksHTTP2 || listeners[Int(x.client.listener)].settings?.speaksHTTP2 == true { return true }
        logExchange(.info, "client attempted to request the server name for which the negotiated protocol is disabled", x)
        answerError(x, 421)
        return false
    }

    /// `keepalive_requests` and `keepalive_time`.
    private func limitSession(_ s: Ref<ClientSession>) {
        let c = s.connection
        guard s.ending == .none, let settings = c.defaultServer(in: self)?.settings else { return }
        if c.requests < settings.keepaliveRequests, nowMs - c.acceptedMs <= settings.keepaliveTimeMs, !isStopping { return }
        // A client that has one stream at a time loses none by hearing at once that this was the last.
        if s.streamCount == 1 { endSession(s) } else { leaveSession(s) }
    }

    // MARK: For exchanges

    func readStream(_ s: inout ByteStream, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> ReadResult {
        guard let stream = s.clientStream, !stream.isReset else {
            s.isBroken = true
            s.isReadable = false
            return .failed(ECONNRESET)
        }
        let n = min(count, stream.inboundCount)
        // The last piece of a body that is not as long as was said goes nowhere.
        if n > 0, !stream.hasWrongLength {
            buffer.update(from: stream.inbound.start + stream.inboundFrom, count: n)
            stream.inboundFrom += n
            if stream.inboundCount == 0 {
                buffers.give(stream.inbound)
                stream.inbound = .none
                stream.inboundFrom = 0
                stream.inboundTo = 0
            }
            if !stream.hasEnded {
                nghttp2_session_consume_stream(stream.session.library, stream.id, n)
                markDirty(stream.session)
            }
            s.isReadable = stream.inboundCount > 0 || stream.hasEnded
            return .bytes(n)
        }
        s.isReadable = false
        if !stream.hasEnded { return .wouldBlock }
        s.sawEnd = true
        return .end
    }

    /// The exchange takes the body as it comes: more may be on its way than the first window allows.
    func widenWindow(_ c: Ref<ClientConnection>) {
        guard let stream = c.stream.clientStream, !stream.isWindowWide, !stream.hasEnded, !stream.isForgotten else { return }
        stream.isWindowWide = true
        nghttp2_session_set_local_window_size(stream.session.library, 0, stream.id, Int32(Limits.http2WindowBytes))
        markDirty(stream.session)
    }

    func writeStream(_ s: inout ByteStream, _ bytes: ByteView) -> WriteResult {
        guard let stream = s.clientStream, !stream.isReset else {
            s.isBroken = true
            return .failed(ECONNRESET)
        }
        if bytes.isEmpty { return .sent }
        if !s.queue(bytes, pool: &buffers) { return .failed(ENOBUFS) }
        answerMoved(stream)
        return .sent
    }

    func closeClientStream(_ s: inout ByteStream) {
        guard let stream = s.clientStream else { return }
        s.clientStream = nil
        stream.client = nil
        clientStreams -= 1
        if !stream.hasSentEnd {
            reset(stream, stream.resetCode)
        } else if !stream.hasEnded {
            // Nobody wants the rest of the request (RFC 9113 section 8.1).
            reset(stream, NGHTTP2_NO_ERROR)
        }
        freeStream(stream)
    }

    // MARK: Ends

    func reset(_ stream: Ref<ClientStream>, _ code: nghttp2_error_code) {
        let s = stream.session
        if stream.isForgotten || s.isClosing { return }
        s.value.cut[s.cutCount % s.cut.count] = stream.id
        s.cutCount += 1
        nghttp2_submit_rst_stream(s.library, 0, stream.id, code.rawValue)
        markDirty(s)
    }

    /// The library may know the stream longer; it finds nothing behind it.
    func freeStream(_ stream: Ref<ClientStream>) {
        let s = stream.session
        if !stream.isForgotten, s.library != nil { nghttp2_session_set_stream_user_data(s.library, stream.id, nil) }
        if s.building == stream { s.building = nil }
        buffers.give(stream.head)
        buffers.give(stream.inbound)
        buffers.give(stream.trailers)
        if stream.isTouched { unlinkTouched(s, stream) }
        if stream.isWritten { unlinkWritten(s, stream) }
        if let previous = stream.previous { previous.next = stream.next } else { s.first = stream.next }
        stream.next?.previous = stream.previous
        s.streamCount -= 1
        if stream.isReset { s.leavingCount -= 1 }
        streams.remove(stream.handle)
        if s.isClosing { return }
        if hasToSend(s) { markDirty(s) } else { setSessionTimer(s) }
    }

    private func unlinkTouched(_ s: Ref<ClientSession>, _ stream: Ref<ClientStream>) {
        var before: Ref<ClientStream>?
        var place = s.touchedFirst
        while let p = place, !(p == stream) { (before, place) = (p, p.nextTouched) }
        if let before { before.nextTouched = stream.nextTouched } else { s.touchedFirst = stream.nextTouched }
        if s.touchedLast == stream { s.touchedLast = before }
    }

    private func unlinkWritten(_ s: Ref<ClientSession>, _ stream: Ref<ClientStream>) {
        var before: Ref<ClientStream>?
        var place = s.writtenFirst
        while let p = place, !(p == stream) { (before, place) = (p, p.nextWritten) }
        if let before { before.nextWritten = stream.nextWritten } else { s.writtenFirst = stream.nextWritten }
        if s.writtenLast == stream { s.writtenLast = before }
        s.writtenCount -= 1
    }

    /// The exchange of a stream is over: so is the stream.
    func endClientStream(_ c: Ref<ClientConnection>, _ outcome: Outcome) {
        if let stream = c.stream.clientStream {
            switch outcome {
            case .abortedByClient(.clientTimeout), .abortedByClient(.sendTimeout): stream.resetCode = NGHTTP2_PROTOCOL_ERROR
            default: break
            }
            // What came of a response that breaks off goes on, as far as the client takes it.
            if c.stream.hasPending, !stream.hasSentEnd, !stream.isReset { flushSession(stream.session) }
        }
        closeClient(c)
    }

    /// What was one of `clients` for a stream's sake goes.
    func closeStreamClient(_ c: Ref<ClientConnection>) {
        timers.free(c.timer)
        dropInputBuffer(c)
        closeStream(&c.value.stream)
        clients.remove(c.handle)
    }

    /// The socket that the client's bytes come by, which a stream shares with others. -1: the connection is gone, and an inner request left.
    func socket(of c: Ref<ClientConnection>) -> Int32 {
        if let r = c.stream.inner { return clients.find(r.connection)?.stream.fd ?? -1 }
        return c.stream.clientStream.map { $0.session.connection.stream.fd } ?? c.stream.fd
    }

    /// `$http2`: what the protocol was called when it was agreed on.
    func http2Name(_ x: Ref<Exchange>) -> ByteView? {
        guard let stream = x.client.stream.clientStream else { return nil }
        return stream.session.connection.stream.carrier == .tls ? ByteView("h2") : ByteView("h2c")
    }

    /// As they came: of a stream, packed.
    func requestHeadBytes(_ x: Ref<Exchange>) -> Int64 {
        x.client.stream.clientStream?.fieldBlockBytes ?? Int64(x.headBytes.count)
    }
}
