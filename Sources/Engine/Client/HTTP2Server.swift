// HTTP/2 towards clients (RFC 9113): where a session begins, what its connection's events mean, how it ends.
// Called by the client session's dispatch and by TLS once h2 is agreed on. Exchanges know nothing of it: they see streams.

import Bytes
import CLinux
import CNghttp2
import HTTPMessage

extension Worker {
    /// What a client that knows says before anything else (section 3.4).
    static let clientPreface = ByteView("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")

    /// The connection speaks HTTP/2 from its next byte on; what has been read of it already is the connection's input.
    func beginHTTP2(_ c: Ref<ClientConnection>) {
        c.phase = .http2
        timers.cancel(c.timer)
        guard let server = c.defaultServer(in: self),
            let (s, handle) = sessions.insert(ClientSession(connection: c, worker: self, fields: hub.fields))
        else { return closeClient(c) }
        s.handle = handle
        c.session = s
        s.streamsMax = server.http2StreamsMax
        s.prereadBytes = min(server.http2PrereadBytes, Limits.http2WindowBytes)
        var library: OpaquePointer?
        if nghttp2_session_server_new3(&library, hub.callbacks, s.rawPointer, hub.options, libraryMemory.functions) != 0 { return closeClient(c) }
        s.library = library
        var settings = [
            nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue), value: UInt32(s.streamsMax)),
            nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: UInt32(s.prereadBytes)),
            // A frame is not kept but looked at as it comes: it may be of any size.
            nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_MAX_FRAME_SIZE.rawValue), value: (1 << 24) - 1),
        ]
        nghttp2_submit_settings(library, 0, &settings, settings.count)
        // Each stream has a window; the connection needs none of its own.
        nghttp2_session_set_local_window_size(library, 0, 0, Int32.max)
        greet(s)
        timers.set(c.timer, at: nowMs + server.clientHeaderTimeoutMs)
        if !c.input.isEmpty {
            // The first read may have taken more than the preface; it lies in the scratch, or in a buffer of the connection.
            let early = c.input
            let owner = c.inputBuffer
            c.input = .empty
            c.inputBuffer = .none
            feedAll(s, handle, early)
            buffers.give(owner)
        }
        if s.isLive(handle, self), c.stream.isReadable { postRead(c) }
    }

    /// Sends our settings. The library insists on the client's before anything else; nginx does not, and who relies on that is heard
    /// here too: it is given empty ones, and what it answers to them goes nowhere.
    private func greet(_ s: Ref<ClientSession>) {
        let empty: [UInt8] = [0, 0, 0, UInt8(NGHTTP2_SETTINGS.rawValue), 0, 0, 0, 0, 0]
        _ = nghttp2_session_mem_recv(s.library, empty, empty.count)
        hub.out.value.reset()
        var piece: UnsafePointer<UInt8>?
        while true {
            let n = nghttp2_session_mem_send(s.library, &piece)
            guard n > 0, let piece else { break }
            let isAcknowledgement = n == 9 && piece[3] == UInt8(NGHTTP2_SETTINGS.rawValue) && piece[4] == UInt8(NGHTTP2_FLAG_ACK.rawValue)
            if !isAcknowledgement { hub.out.value.append(ByteView(piece, n)) }
        }
        _ = send(s, hub.out.view)
    }

    /// The preface is the first that comes. False: something else did.
    private func takesPreface(_ s: Ref<ClientSession>, _ bytes: inout ByteView) -> Bool {
        let missing = Self.clientPreface.slice(Int(s.prefaceCount))
        let count = min(missing.count, bytes.count)
        if !(bytes.slice(0, count) == missing.slice(0, count)) { return false }
        s.prefaceCount += UInt8(count)
        bytes = bytes.slice(count)
        return true
    }

    private func feedAll(_ s: Ref<ClientSession>, _ handle: Handle, _ bytes: ByteView) {
        // Exchanges that begin meanwhile may use the scratch.
        let copy = buffers.take(bytes.count)
        copy.start.update(from: bytes.start, count: bytes.count)
        var rest = ByteView(copy.start, bytes.count)
        while !rest.isEmpty, s.isLive(handle, self) {
            let count = min(rest.count, Limits.http2ReadBytes)
            hub.input.update(from: rest.start, count: count)
            rest = rest.slice(count)
            feed(s, count)
        }
        buffers.give(copy)
    }

    func http2Event(_ c: Ref<ClientConnection>) {
        guard let s = c.session else { return closeClient(c) }
        let handle = s.handle
        if c.stream.isWritable, s.writtenCount > 0 || nghttp2_session_want_write(s.library) != 0 { markDirty(s) }
        var budget = Limits.bytesPerTurn
        while c.stream.isReadable, s.isLive(handle, self) {
            if budget <= 0 { return postRead(c) }
            switch read(&c.value.stream, into: hub.input, Limits.http2ReadBytes) {
            case .bytes(let n):
                budget -= n
                feed(s, n)
            case .wouldBlock: return
            case .end:
                return closeClient(c)
            case .failed:
                return closeClient(c)
            }
        }
    }

    /// Gives the library what lies in the hub's input, then looks at what it found there.
    private func feed(_ s: Ref<ClientSession>, _ count: Int) {
        if s.isBroken { return }
        var bytes = ByteView(hub.input, count)
        if s.prefaceCount < Self.clientPreface.count, !takesPreface(s, &bytes) {
            logClient(.info, "invalid connection preface", s.connection)
            s.faultCode = NGHTTP2_PROTOCOL_ERROR.rawValue
        }
        let isTaken = passFrames(bytes, &s.value.blocks) { s.faultCode != 0 || nghttp2_session_mem_recv(s.library, $0.start, $0.count) >= 0 }
        if !isTaken {
            logClient(.info, "client sent what is not HTTP/2", s.connection)
            s.isBroken = true
        } else if s.faultCode != 0 {
            nghttp2_session_terminate_session(s.library, s.faultCode)
            s.faultCode = 0
        }
        let handle = s.handle
        serveTouched(s, handle)
        guard s.isLive(handle, self) else { return }
        if hasToSend(s) { markDirty(s) } else { setSessionTimer(s) }
    }

    /// What the library has noted about streams, while it read or while it framed.
    @inline(__always)
    func serveTouched(_ s: Ref<ClientSession>, _ handle: Handle) {
        while s.isLive(handle, self), let stream = s.touchedFirst {
            s.touchedFirst = stream.nextTouched
            if s.touchedFirst == nil { s.touchedLast = nil }
            stream.isTouched = false
            serveStream(s, stream)
        }
    }

    // MARK: Time

    /// What the connection's timer stands for: a client that takes nothing, fields that do not come, or nothing going on.
    func setSessionTimer(_ s: Ref<ClientSession>) {
        let c = s.connection
        guard let server = c.defaultServer(in: self) else { return }
        let unsent = c.stream.pendingCount
        // Counted from when the client took something last, whatever it says meanwhile.
        let isStuck = s.unsentCount > 0 && unsent >= s.unsentCount
        s.unsentCount = unsent
        if unsent > 0 {
            if !isStuck { timers.set(c.timer, at: nowMs + server.settings.sendTimeoutMs) }
            return
        }
        if s.building != nil || s.blocks.gate.isInBlock {
            if !s.waitsForFields { timers.set(c.timer, at: nowMs + server.clientHeaderTimeoutMs) }
            s.waitsForFields = true
            return
        }
        s.waitsForFields = false
        if s.streamCount > 0 { return timers.cancel(c.timer) }
        if s.ending == .noticed { return timers.set(c.timer, at: nowMs + Limits.http2NoticeMs) }
        if c.requests > 0 { timers.set(c.timer, at: nowMs + server.settings.keepaliveTimeoutMs) }
    }

    func http2TimedOut(_ c: Ref<ClientConnection>) {
        guard let s = c.session else { return closeClient(c) }
        if c.stream.hasPending {
            logClient(.info, Fault.sendTimeout.words, c)
            return closeClient(c)
        }
        if s.ending == .noticed { return endSession(s) }
        if s.blocks.gate.isInBlock { releaseFields(s) }
        if let stream = s.building {
            logClient(.info, "client timed out while reading client request headers", c)
            s.building = nil
            s.waitsForFields = false
            reset(stream, NGHTTP2_PROTOCOL_ERROR)
            freeStream(stream)
            setSessionTimer(s)
            // A client that has not finished a single request has the time of one that is idle, as with nginx.
            if c.requests == 0 { timers.set(c.timer, at: nowMs + (c.defaultServer(in: self)?.settings.keepaliveTimeoutMs ?? 60_000)) }
            return
        }
        if s.streamCount == 0 { endSession(s) }
    }

    /// The rest of a block does not come: the library has what there is of it.
    private func releaseFields(_ s: Ref<ClientSession>) {
        let held = s.blocks.held
        s.value.blocks.gate.release()
        s.value.blocks.held = InboundBytes()
        if nghttp2_session_mem_recv(s.library, held.view.start, held.count) < 0 { s.isBroken = true }
        var used = held
        used.release(to: &buffers)
        markDirty(s)
    }

    // MARK: The end

    /// No more streams, in two steps, so that none on its way is lost: the client is told to stop, and when it must have heard of it,
    /// which was the last (RFC 9113 section 6.8).
    func leaveSession(_ s: Ref<ClientSession>) {
        if s.ending != .none || s.isClosing { return }
        if s.streamCount == 0, !s.connection.stream.isReadable { return endSession(s) }
        s.ending = .noticed
        nghttp2_submit_shutdown_notice(s.library)
        // The library frames PING before everything else; its answer must say that the notice has come.
        flushSession(s)
        nghttp2_submit_ping(s.library, 0, nil)
        if s.streamCount == 0 { timers.set(s.connection.timer, at: nowMs + Limits.http2NoticeMs) }
        markDirty(s)
    }

    /// The client has heard of the coming end.
    func noticeArrived(_ s: Ref<ClientSession>) {
        if s.ending == .noticed { endSession(s) }
    }

    /// Names the last stream; when it is answered, the connection closes.
    func endSession(_ s: Ref<ClientSession>) {
        if s.ending == .final || s.isClosing { return }
        s.ending = .final
        nghttp2_submit_goaway(s.library, 0, nghttp2_session_get_last_proc_stream_id(s.library), NGHTTP2_NO_ERROR.rawValue, nil, 0)
        markDirty(s)
    }

    /// Nothing is left to say: our side is shut down, and what still comes is read and dropped, so that no reset destroys what was said.
    func lingerAfterSession(_ s: Ref<ClientSession>) {
        let c = s.connection
        dropSession(s, .clientClosed)
        guard let server = c.defaultServer(in: self) else { return closeClient(c) }
        settle(c, keepAlive: false, body: BodyReader(), location: server.settings, mayHaveMore: true)
    }

    /// The process stops now: the client is told as far as its socket takes it.
    func stopSession(_ s: Ref<ClientSession>) {
        if s.ending != .final { endSession(s) }
        flushSession(s)
    }

    /// Ends all that the session has, and the session. The connection is left as it is.
    func dropSession(_ s: Ref<ClientSession>, _ fault: Fault) {
        if s.isClosing { return }
        s.isClosing = true
        s.connection.session = nil
        while let stream = s.first {
            stream.isReset = true
            if let c = stream.client {
                c.stream.isBroken = true
                c.stream.peerClosed = true
                if let x = c.exchange { clientGone(x, fault) } else { closeClient(c) }
            }
            // What is not a connection's any more, or never was.
            if s.first == stream { freeStream(stream) }
        }
        s.value.blocks.held.release(to: &buffers)
        nghttp2_session_del(s.library)
        s.library = nil
        sessions.remove(s.handle)
    }
}

extension Ref where T == ClientSession {
    /// Still the session that `handle` named.
    @inline(__always)
    func isLive(_ handle: Handle, _ worker: Worker) -> Bool { worker.sessions.find(handle) != nil }
}
