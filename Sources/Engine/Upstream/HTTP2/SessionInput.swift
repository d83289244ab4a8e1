// What an upstream sends on an HTTP/2 connection: the library's callbacks put it down with the streams, whose owners are told afterwards.
// Called by events of upstream connections. Callbacks only record: no library call, no exchange from inside them.

import Bytes
import CLinux
import CNghttp2
import HTTPMessage

extension Worker {
    /// An event of the socket of an HTTP/2 connection.
    func sessionEvent(_ u: Ref<UpstreamConnection>, _ session: Ref<UpstreamSession>, _ bits: UInt32) {
        switch u.phase {
        case .connecting:
            if bits & (Readiness.writable | Readiness.error | Readiness.hangUp) == 0 { return }
            let error = kernel.getOption(u.stream.fd, level: SOL_SOCKET, name: SO_ERROR)
            if error != 0 { return loseSession(session, .connectFailed, code: UInt32(abs(error))) }
            u.stream.isBroken = false
            u.stream.isReadable = bits & (Readiness.readable | Readiness.peerClosed) != 0
            sessionConnected(u, session)
        case .handshaking: shakeHands(u, session)
        case .busy, .idle:
            if bits & Readiness.writable != 0 { markDirty(session) }
        case .closed: return
        }
        if u.phase == .busy || u.phase == .idle, u.session == session, u.stream.isReadable { readSession(u, session) }
    }

    func sessionConnected(_ u: Ref<UpstreamConnection>, _ session: Ref<UpstreamSession>) {
        u.stream.isWritable = true
        if u.identityCount > 0, u.stream.carrier == .socket { return beginHandshake(u, session) }
        u.phase = .busy
        timers.cancel(u.timer)
        var next = session.firstStream
        while let stream = upstreamSessions.streams.find(next) {
            next = stream.next
            addNews(stream)
        }
        markDirty(session)
        tellStreams()
    }

    /// Reads what has come, and tells the streams.
    func readSession(_ u: Ref<UpstreamConnection>, _ session: Ref<UpstreamSession>) {
        var budget = Limits.bytesPerTurn
        while u.stream.isReadable {
            if budget <= 0 {
                posted.push(EventOwner.word(.upstream, u.handle))
                break
            }
            switch read(&u.value.stream, into: upstreamSessions.scratch, Limits.readBytes) {
            case .bytes(let n):
                budget -= n
                if !receive(session, ByteView(upstreamSessions.scratch, n)) { return loseSession(session, .protocolError) }
            case .wouldBlock: break
            case .end: return loseSession(session, .connectionClosed)
            case .failed(let errno): return loseSession(session, .connectionReset, code: UInt32(errno))
            }
        }
        if session.isLeaving { leavePool(u) }
        if nghttp2_session_want_write(session.native) != 0 { markDirty(session) }
        tellStreams()
        // The last of them may have taken the connection along.
        if u.phase != .closed, u.session == session, session.isLeaving, session.streamCount == 0 { closeUpstream(u) }
    }

    /// Goes on with a connection that was put off to this turn.
    func resumeSession(_ u: Ref<UpstreamConnection>) {
        if let session = u.session, u.phase == .busy || u.phase == .idle, u.stream.isReadable { readSession(u, session) }
    }

    /// False: the connection cannot go on.
    private func receive(_ session: Ref<UpstreamSession>, _ bytes: ByteView) -> Bool {
        session.heardMs = nowMs
        session.isDoubtful = false
        upstreamSessions.active = session
        upstreamSessions.reason = .empty
        let isTaken = passFrames(bytes, &session.value.blocks) { nghttp2_session_mem_recv(session.native, $0.start, $0.count) >= 0 }
        upstreamSessions.active = nil
        if !isTaken { return false }
        if session.unconsumed > 0 {
            nghttp2_session_consume_connection(session.native, session.unconsumed)
            session.unconsumed = 0
        }
        // The library has given up: it would only send its GOAWAY.
        return nghttp2_session_want_read(session.native) != 0
    }

    // MARK: What the callbacks record

    fileprivate func stream(_ data: UnsafeMutableRawPointer?) -> Ref<UpstreamStream>? {
        guard let data else { return nil }
        return upstreamSessions.streams.find(Handle(userData: data))
    }

    fileprivate func beginFields(_ stream: Ref<UpstreamStream>) {
        stream.text = HTTP2ResponseText(isTrailers: stream.hasHead)
        stream.headBytes = 0
    }

    /// Answers what the callback does.
    fileprivate func takeField(_ stream: Ref<UpstreamStream>, _ name: ByteView, _ value: ByteView) -> Int32 {
        let size = HTTP2ResponseText.bytesMax(name, value)
        let isTrailer = stream.hasHead
        stream.headBytes += size
        if stream.headBytes > (isTrailer ? Limits.trailerBytesMax : stream.headBytesMax + 32) {
            return refuse(stream, isTrailer ? .badTrailers : .headTooLarge)
        }
        let writer =
            isTrailer ? stream.value.trailers.room(size, pool: &buffers) : stream.value.inbound.room(size, pool: &buffers)
        guard var w = writer else { return refuse(stream, isTrailer ? .badTrailers : .headTooLarge) }
        if name.count == 11, name == ByteView("grpc-status") { stream.call = CallStatus(value) }
        if let reason = stream.value.text.append(name, value, to: &w) {
            upstreamSessions.reason = ByteView(reason.word)
            return refuse(stream, isTrailer ? .badTrailers : .badHead)
        }
        commit(stream, w.count, isTrailer)
        return 0
    }

    private func commit(_ stream: Ref<UpstreamStream>, _ count: Int, _ isTrailer: Bool) {
        if isTrailer { return stream.value.trailers.commit(count) }
        stream.value.inbound.commit(count)
        stream.headLeft += count
    }

    /// Records the fault; the library resets the stream.
    fileprivate func refuse(_ stream: Ref<UpstreamStream>, _ fault: StreamFault) -> Int32 {
        setFault(stream, fault)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
    }

    private func endFields(_ stream: Ref<UpstreamStream>) {
        if stream.fault != .none { return }
        let isTrailer = stream.hasHead
        let writer = isTrailer ? stream.value.trailers.room(2, pool: &buffers) : stream.value.inbound.room(2, pool: &buffers)
        guard var w = writer, stream.text.end(&w) else { return setFault(stream, .badHead) }
        commit(stream, w.count, isTrailer)
        if stream.text.status >= 200 { stream.hasHead = true }
        addNews(stream)
    }

    fileprivate func takeData(_ stream: Ref<UpstreamStream>, _ bytes: ByteView) -> Int32 {
        // The window bounds it.
        if stream.fault != .none { return 0 }
        if !stream.value.inbound.append(bytes, pool: &buffers) { return refuse(stream, .protocolError) }
        addNews(stream)
        return 0
    }

    fileprivate func takeFrame(_ session: Ref<UpstreamSession>, _ frame: UnsafePointer<nghttp2_frame>) {
        let hd = frame.pointee.hd
        switch UInt32(hd.type) {
        case NGHTTP2_HEADERS.rawValue, NGHTTP2_DATA.rawValue:
            guard let stream = stream(nghttp2_session_get_stream_user_data(session.native, hd.stream_id)) else { return }
            if UInt32(hd.type) == NGHTTP2_HEADERS.rawValue { endFields(stream) }
            if UInt32(hd.flags) & NGHTTP2_FLAG_END_STREAM.rawValue != 0 {
                stream.sawEnd = true
                addNews(stream)
            }
        case NGHTTP2_RST_STREAM.rawValue: takeReset(session, hd.stream_id, frame.pointee.rst_stream.error_code)
        case NGHTTP2_GOAWAY.rawValue:
            session.isLeaving = true
            session.goawayCode = frame.pointee.goaway.error_code
        default: break
        }
    }

    /// A response that has ended may be followed by one RST_STREAM without an error: the rest of the request is not wanted
    /// (RFC 9113 section 8.1). More of them are no answer to anything.
    private func takeReset(_ session: Ref<UpstreamSession>, _ id: Int32, _ code: UInt32) {
        var next = session.firstStream
        while let stream = upstreamSessions.streams.find(next) {
            next = stream.next
            if stream.id != id { continue }
            stream.resets &+= 1
            if stream.sawEnd, code != 0 || stream.resets > 1 { setFault(stream, .reset, code: code) }
            return
        }
    }

    fileprivate func streamClosed(_ session: Ref<UpstreamSession>, _ stream: Ref<UpstreamStream>, _ code: UInt32) {
        stream.isClosed = true
        if stream.sawEnd { return addNews(stream) }
        let isRefused = code == NGHTTP2_REFUSED_STREAM.rawValue
        if isRefused, session.isLeaving, session.goawayCode != 0, stream.resets == 0 {
            return setFault(stream, .goneAway, code: session.goawayCode)
        }
        setFault(stream, isRefused ? .refused : .reset, code: code)
    }

    fileprivate func invalidFrame(_ session: Ref<UpstreamSession>, _ frame: UnsafePointer<nghttp2_frame>, _ error: Int32) {
        guard let stream = stream(nghttp2_session_get_stream_user_data(session.native, frame.pointee.hd.stream_id)) else { return }
        if let text = nghttp2_strerror(error) { upstreamSessions.keepReason(text) }
        setFault(stream, stream.hasHead ? .badTrailers : .badHead)
    }

    // MARK: Telling

    /// Tells the owners of streams what has happened to them, one after the other.
    func tellStreams() {
        if upstreamSessions.isTelling { return }
        upstreamSessions.isTelling = true
        while let word = upstreamSessions.news.pop() {
            let handle = Handle(index: UInt32(truncatingIfNeeded: word & 0x0FFF_FFFF), generation: UInt32(word >> 32))
            guard let u = upstreams.find(handle), let stream = u.stream.upstreamStream else { continue }
            stream.hasNews = false
            tell(u, stream)
        }
        upstreamSessions.isTelling = false
    }

    private func tell(_ u: Ref<UpstreamConnection>, _ stream: Ref<UpstreamStream>) {
        guard let x = u.exchange else { return closeUpstream(u) }
        if u.phase == .connecting {
            if stream.fault == .connectFailed {
                logExchange(.error, "connect() failed while connecting to upstream", x, errno: Int32(stream.code))
                return upstreamFailed(x, .connectRefused, isLogged: true)
            }
            if stream.fault == .badTLSValue { return cannotBeginTLS(x) }
            if stream.fault == .handshakeFailed { return upstreamFailed(x, .upstreamTLS, isLogged: stream.code != 0) }
            if stream.fault != .none { return streamCut(x, stream) }
            u.phase = .busy
            x.currentTry?.connectMs = nowMs - x.tryStartedMs
            // In front of everything, on a connection that is this exchange's own.
            if x.location.proxy.sendsProxyHeader != .none, !x.proxyTarget.usesTLS, let session = stream.session, !sendProxyHeader(x, session.connection) { return }
            return sendRequest(x, u)
        }
        let hasDrained = stream.hasDrained && !u.stream.hasPending
        stream.hasDrained = false
        if hasDrained { upstreamWritable(x, u) }
        // Its slot stays readable until it is used again, and that takes another turn of this loop.
        if u.phase == .busy, u.exchange == x, stream.hasInput {
            u.stream.isReadable = true
            upstreamReadable(u)
        }
    }
}

extension Handle {
    /// As it is kept with a stream of the library.
    init(userData: UnsafeMutableRawPointer) {
        let bits = UInt64(UInt(bitPattern: userData))
        self.init(index: UInt32(truncatingIfNeeded: bits), generation: UInt32(truncatingIfNeeded: bits >> 32))
    }

    /// Generations begin at 1, so this is never nil for a handle that finds something.
    var userData: UnsafeMutableRawPointer? { UnsafeMutableRawPointer(bitPattern: UInt(UInt64(generation) << 32 | UInt64(index))) }
}

// MARK: The library's callbacks

/// Runs `body` with the worker and the session that the library was called for.
@inline(__always)
private func inSession(_ user: UnsafeMutableRawPointer?, _ body: (Worker, Ref<UpstreamSession>) -> Int32) -> Int32 {
    guard let user else { return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }
    return Unmanaged<Worker>.fromOpaque(user)._withUnsafeGuaranteedRef { worker in
        guard let session = worker.upstreamSessions.active else { return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue }
        return body(worker, session)
    }
}

func installSessionCallbacks(_ callbacks: OpaquePointer?) {
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { native, frame, user in
        inSession(user) { worker, _ in
            guard let frame else { return 0 }
            if let s = worker.stream(nghttp2_session_get_stream_user_data(native, frame.pointee.hd.stream_id)) { worker.beginFields(s) }
            return 0
        }
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks) { native, frame, name, nameCount, value, valueCount, _, user in
        inSession(user) { worker, _ in
            guard let frame, let name, let value else { return 0 }
            guard let s = worker.stream(nghttp2_session_get_stream_user_data(native, frame.pointee.hd.stream_id)) else { return 0 }
            return worker.takeField(s, ByteView(name, nameCount), ByteView(value, valueCount))
        }
    }
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks) { native, frame, name, nameCount, _, _, _, user in
        inSession(user) { worker, _ in
            guard let frame else { return 0 }
            guard let s = worker.stream(nghttp2_session_get_stream_user_data(native, frame.pointee.hd.stream_id)) else { return 0 }
            worker.upstreamSessions.reason = ByteView("invalid character in a header line")
            return worker.refuse(s, s.hasHead ? .badTrailers : .badHead)
        }
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { native, _, id, data, count, user in
        inSession(user) { worker, session in
            session.unconsumed += count
            guard let data, let s = worker.stream(nghttp2_session_get_stream_user_data(native, id)) else { return 0 }
            return worker.takeData(s, ByteView(data, count))
        }
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
        inSession(user) { worker, session in
            if let frame { worker.takeFrame(session, frame) }
            return 0
        }
    }
    // A request that may not be sent any more, as after a GOAWAY.
    nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks) { native, frame, _, user in
        inSession(user) { worker, _ in
            guard let frame, UInt32(frame.pointee.hd.type) == NGHTTP2_HEADERS.rawValue else { return 0 }
            if let s = worker.stream(nghttp2_session_get_stream_user_data(native, frame.pointee.hd.stream_id)) { worker.setFault(s, .refused) }
            return 0
        }
    }
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) { _, frame, error, user in
        inSession(user) { worker, session in
            if let frame { worker.invalidFrame(session, frame, error) }
            return 0
        }
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { native, id, code, user in
        inSession(user) { worker, session in
            if let s = worker.stream(nghttp2_session_get_stream_user_data(native, id)) { worker.streamClosed(session, s, code) }
            return 0
        }
    }
    nghttp2_session_callbacks_set_error_callback2(callbacks) { _, _, text, count, user in
        inSession(user) { worker, _ in
            if let text {
                worker.upstreamSessions.keepReason(ByteView(UnsafeRawPointer(text).assumingMemoryBound(to: UInt8.self), count))
            }
            return 0
        }
    }
}
