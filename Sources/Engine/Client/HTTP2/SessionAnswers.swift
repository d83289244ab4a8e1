// Answers on their way to an HTTP/2 session: heads as fields, bodies as frames when windows allow, trailers, and one send for all
// streams of a turn. Called by Exchange/Answer.swift and at the end of the turn. It decides nothing about an answer.

import Bytes
import CNghttp2
import HTTPMessage

extension Worker {
    // MARK: Heads

    /// Takes the head off the front of `bytes` if it has not gone yet. What is left is body.
    @inline(__always)
    func takeAnswerHead(_ x: Ref<Exchange>, _ bytes: ByteView) -> ByteView {
        guard let stream = x.client.stream.clientStream, stream.answerHeadCount > 0 else { return bytes }
        let count = stream.answerHeadCount
        stream.answerHeadCount = 0
        submitAnswer(x, stream, bytes.slice(0, count))
        return bytes.slice(count)
    }

    private func submitAnswer(_ x: Ref<Exchange>, _ stream: Ref<ClientStream>, _ head: ByteView) {
        let s = stream.session
        if stream.isForgotten || s.isClosing { return }
        let count = pairs(head, hasStatus: true)
        stream.value.hasAnswerHead = true
        stream.value.chunkBytes = x.location.http2ChunkBytes
        stream.value.isPaced = x.paceRate > 0
        if nghttp2_session_get_stream_remote_window_size(s.library, stream.id) < Limits.readBytes { x.value.clientIsSlow = true }
        if x.headOnly || x.contentLength == 0 {
            stream.value.hasSentEnd = !x.addTrailers
            let flags = stream.hasSentEnd ? UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) : 0
            _ = nghttp2_submit_headers(s.library, flags, stream.id, nil, hub.pairs, count, nil)
        } else {
            stream.value.hasSource = true
            let mayHaveTrailers = x.addTrailers || x.location.proxy.passTrailers && x.upstream?.stream.carrier == .http2
            stream.value.bodyLeft = mayHaveTrailers ? -1 : x.contentLength
            var source = nghttp2_data_provider()
            source.read_callback = Worker.readAnswer
            _ = nghttp2_submit_response(s.library, stream.id, hub.pairs, count, &source)
        }
        answerMoved(stream)
    }

    /// An interim head (1xx).
    func submitInterim(_ x: Ref<Exchange>, _ head: ByteView) {
        guard let stream = x.client.stream.clientStream, !stream.isForgotten, !stream.session.isClosing else { return }
        let count = pairs(head, hasStatus: true)
        _ = nghttp2_submit_headers(stream.session.library, 0, stream.id, nil, hub.pairs, count, nil)
        markDirty(stream.session)
    }

    /// The lines of `text`, which is ours to change, as name and value pairs for the library. Returns how many.
    private func pairs(_ text: ByteView, hasStatus: Bool) -> Int {
        let base = UnsafeMutablePointer(mutating: text.start)
        var bytes = UnsafeMutableBufferPointer(start: base, count: text.count).mutableSpan
        var places = hub.places.mutableSpan
        var n = 0
        var start = 0
        if hasStatus {
            // "HTTP/1.1 200 OK"
            hub.pairs[0] = Self.pair(UnsafeMutablePointer(mutating: Self.statusName.start), 7, base + 9, 3)
            n = 1
            start = (text.firstIndex(of: 0x0A) ?? text.count) + 1
        }
        let count = fieldPlaces(&bytes, from: start, into: &places)
        for i in 0..<count {
            let field = hub.places[i]
            hub.pairs[n] = Self.pair(base + field.name.first, field.name.length, base + field.value.first, field.value.length)
            n += 1
        }
        return n
    }

    private static let statusName = ByteView(":status")

    @inline(__always)
    private static func pair(
        _ name: UnsafeMutablePointer<UInt8>, _ nameCount: Int, _ value: UnsafeMutablePointer<UInt8>, _ valueCount: Int
    ) -> nghttp2_nv {
        nghttp2_nv(name: name, value: value, namelen: nameCount, valuelen: valueCount, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
    }

    // MARK: Bodies

    /// Something of the stream's answer waits to be framed.
    func answerMoved(_ stream: Ref<ClientStream>) {
        Worker.noteWritten(stream)
        if stream.isDeferred {
            stream.isDeferred = false
            nghttp2_session_resume_data(stream.session.library, stream.id)
        }
        markDirty(stream.session)
    }

    /// All of the answer is with the stream; the exchange ends when it has been framed, perhaps before this is said a second time.
    func endStreamAnswer(_ x: Ref<Exchange>) {
        guard let stream = x.client.stream.clientStream else { return }
        if stream.isAnswerWhole {
            if stream.hasSentEnd, !x.client.stream.hasPending { finish(x, .completed) }
            return
        }
        stream.isAnswerWhole = true
        if !x.headOnly {
            scratchText.value.reset()
            appendTrailers(scratchText, x)
            if scratchText.count > 0, !scratchText.overflowed { keepTrailers(stream, scratchText.view) }
        }
        if !stream.hasSource, !stream.hasSentEnd {
            // No body: the trailers follow the head, or, if there are none after all, its end.
            if stream.trailersCount > 0 {
                submitTrailers(stream)
            } else {
                var source = nghttp2_data_provider()
                source.read_callback = Worker.readAnswer
                nghttp2_submit_data(stream.session.library, UInt8(NGHTTP2_FLAG_END_STREAM.rawValue), stream.id, &source)
            }
        }
        answerMoved(stream)
    }

    private func keepTrailers(_ stream: Ref<ClientStream>, _ text: ByteView) {
        stream.trailers = buffers.take(text.count)
        stream.trailers.start.update(from: text.start, count: text.count)
        stream.trailersCount = text.count
    }

    func submitTrailers(_ stream: Ref<ClientStream>) {
        let count = pairs(ByteView(stream.trailers.start, stream.trailersCount), hasStatus: false)
        stream.hasSentEnd = true
        _ = nghttp2_submit_trailer(stream.session.library, stream.id, hub.pairs, count)
    }

    /// Sends at once when a good deal waits: then the exchange sees whether its client takes it. False when the client is gone.
    func pushAnswer(_ x: Ref<Exchange>) -> Bool {
        guard let stream = x.client.stream.clientStream else { return true }
        if x.client.stream.pendingCount < Limits.http2PushBytes { return true }
        let s = stream.session
        flushSession(s)
        if s.isBroken {
            clientGone(x, .clientReset)
            return false
        }
        if x.client.stream.hasPending {
            x.clientIsSlow = true
            waitForClient(x)
        }
        return true
    }

    /// What the rate allows may go from now on.
    func paceStream(_ x: Ref<Exchange>, _ bytes: Int64) {
        guard let stream = x.client.stream.clientStream else { return }
        stream.isPaced = true
        stream.credit = bytes
        if bytes > 0 { answerMoved(stream) }
    }

    // MARK: Sending

    /// The library has frames to send, or the session is at its end.
    func hasToSend(_ s: Ref<ClientSession>) -> Bool {
        s.isBroken || s.ending == .final || nghttp2_session_want_write(s.library) != 0 || nghttp2_session_want_read(s.library) == 0
    }

    func markDirty(_ s: Ref<ClientSession>) {
        if s.isDirty { return }
        s.isDirty = true
        dirtySessions.push(UInt64(s.handle.generation) << 32 | UInt64(s.handle.index))
    }

    /// At the end of the turn: everything that streams have to say leaves, and exchanges whose answers are through end.
    func sendSessions() {
        // What begins anew meanwhile has its turn too; a client that takes all it is given waits for the next.
        var left = Limits.http2RoundsPerTurn * dirtySessions.count
        while left > 0, let word = dirtySessions.pop() {
            left -= 1
            let handle = Handle(index: UInt32(truncatingIfNeeded: word), generation: UInt32(word >> 32))
            guard let s = sessions.find(handle) else { continue }
            s.isDirty = false
            sendSession(s)
        }
    }

    private func sendSession(_ s: Ref<ClientSession>) {
        let handle = s.handle
        flushSession(s)
        // Streams that we reset are closed when that is framed.
        if s.touchedFirst != nil, !s.isBroken { serveTouched(s, handle) }
        guard s.isLive(handle, self) else { return }
        if !s.isBroken { settleStreams(s) }
        guard s.isLive(handle, self) else { return }
        let c = s.connection
        if s.isBroken { return closeClient(c) }
        if s.isDirty { return }
        if s.ending == .final, s.streamCount == 0, nghttp2_session_want_write(s.library) == 0, !c.stream.hasPending {
            return lingerAfterSession(s)
        }
        if nghttp2_session_want_read(s.library) == 0, nghttp2_session_want_write(s.library) == 0, !c.stream.hasPending {
            return lingerAfterSession(s)
        }
        setSessionTimer(s)
    }

    /// Frames what waits and gives it to the socket, until nothing waits or the socket is full. Exchanges hear of it in `settleStreams`.
    func flushSession(_ s: Ref<ClientSession>) {
        if s.isBroken || s.isClosing { return }
        let c = s.connection
        if c.stream.hasPending {
            switch flush(&c.value.stream) {
            case .sent: break
            case .queued: return
            case .failed:
                s.isBroken = true
                return
            }
        }
        // All of it has gone: what waits next is another matter, however much it is.
        s.unsentCount = 0
        let w = hub.out
        var isDone = false
        while !isDone, !c.stream.hasPending {
            w.value.reset()
            hub.isFull = false
            hub.openFields = -1
            while true {
                var piece: UnsafePointer<UInt8>?
                let n = nghttp2_session_mem_send(s.library, &piece)
                if n < 0 { s.isBroken = true }
                guard n > 0, let piece else {
                    isDone = n < 0 || !hub.isFull
                    break
                }
                // The library's own frames have 16 KiB at most.
                if !joinFields(s, ByteView(piece, n)) { w.value.append(ByteView(piece, n)) }
                if w.value.room < Limits.http2FrameBytes { break }
            }
            if !send(s, w.view) { return }
        }
    }

    /// The library cuts long fields into frames of 16 KiB. Where the client takes larger ones it gets them in one, as from nginx.
    private func joinFields(_ s: Ref<ClientSession>, _ frame: ByteView) -> Bool {
        let endsFields = UInt8(NGHTTP2_FLAG_END_HEADERS.rawValue)
        switch UInt32(frame[3]) {
        case NGHTTP2_HEADERS.rawValue: hub.openFields = frame[4] & endsFields == 0 ? hub.out.count : -1
        case NGHTTP2_CONTINUATION.rawValue where hub.openFields >= 0:
            let start = hub.out.start + hub.openFields
            let count = hub.out.count - hub.openFields - 9 + frame.count - 9
            if count > Int(nghttp2_session_get_remote_settings(s.library, NGHTTP2_SETTINGS_MAX_FRAME_SIZE)) {
                hub.openFields = -1
                return false
            }
            hub.out.value.append(frame.slice(9))
            for i in 0..<3 { start[i] = UInt8(truncatingIfNeeded: count >> (16 - 8 * i)) }
            start[4] |= frame[4] & endsFields
            return true
        default: hub.openFields = -1
        }
        return false
    }

    private func isWindowClosed(_ stream: Ref<ClientStream>) -> Bool {
        let library = stream.session.library
        return nghttp2_session_get_remote_window_size(library) <= 0 || nghttp2_session_get_stream_remote_window_size(library, stream.id) <= 0
    }

    func send(_ s: Ref<ClientSession>, _ bytes: ByteView) -> Bool {
        if bytes.isEmpty { return true }
        if case .failed = write(&s.connection.value.stream, bytes) {
            s.isBroken = true
            return false
        }
        return true
    }

    /// Exchanges whose answers moved: those that are through go on or end, the others wait for their client.
    private func settleStreams(_ s: Ref<ClientSession>) {
        // Nothing is known of what the socket did not take.
        if s.connection.stream.hasPending { return }
        let handle = s.handle
        var left = s.writtenCount
        while left > 0, s.isLive(handle, self), let stream = s.writtenFirst {
            left -= 1
            s.writtenFirst = stream.nextWritten
            if s.writtenFirst == nil { s.writtenLast = nil }
            s.writtenCount -= 1
            stream.isWritten = false
            guard let c = stream.client, let x = c.exchange else { continue }
            // A body that is still being asked for begins its way with the next look at it.
            // For an end without body the library waits for a window too. Fields need none: an empty section of trailers is an end as well.
            if !c.stream.hasPending, stream.isAnswerWhole, !stream.hasSentEnd, isWindowClosed(stream) { submitTrailers(stream) }
            if c.stream.hasPending || stream.isAnswerWhole && !stream.hasSentEnd {
                // Its window is closed.
                x.clientIsSlow = true
                waitForClient(x)
            } else {
                c.value.stream.dropTaken(pool: &buffers)
                clientDrained(x)
            }
        }
    }
}
