// What libnghttp2 calls while it reads or frames: each notes what happened in the session and its streams, and begins nothing.
// Installed by `SessionHub`. No exchange runs inside of them; the session looks at the notes when the library has returned.

import Bytes
import CNghttp2
import HTTPMessage

@inline(__always)
private func session(_ user: UnsafeMutableRawPointer?) -> Ref<ClientSession> {
    Ref(user.unsafelyUnwrapped.assumingMemoryBound(to: ClientSession.self))
}

extension Worker {
    /// The stream of this number, unless it is gone.
    @inline(__always)
    static func stream(_ library: OpaquePointer?, _ id: Int32) -> Ref<ClientStream>? {
        nghttp2_session_get_stream_user_data(library, id).map { Ref($0.assumingMemoryBound(to: ClientStream.self)) }
    }

    static func fillSessionCallbacks(_ callbacks: OpaquePointer?) {
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, header, user in
            let s = session(user)
            guard let header else { return 0 }
            s.worker._withUnsafeGuaranteedRef { $0.frameBegins(s, header.pointee) }
            return 0
        }
        nghttp2_session_callbacks_set_unpack_extension_callback(callbacks) { _, _, _, _ in NGHTTP2_ERR_CANCEL.rawValue }
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
            let s = session(user)
            s.building = nil
            guard let frame, frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST else { return 0 }
            let id = frame.pointee.hd.stream_id
            s.worker._withUnsafeGuaranteedRef { $0.streamBegins(s, id, hasBody: !Worker.endsStream(frame)) }
            return 0
        }
        nghttp2_session_callbacks_set_on_header_callback(callbacks) { _, _, name, nameCount, value, valueCount, _, user in
            let s = session(user)
            if s.building == nil { return 0 }
            guard let name, let value else { return 0 }
            s.fields.value.add(ByteView(name, nameCount), ByteView(value, valueCount))
            return 0
        }
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { library, frame, user in
            guard let frame else { return 0 }
            let s = session(user)
            s.worker._withUnsafeGuaranteedRef { $0.frameCame(s, library, frame) }
            return 0
        }
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks) { _, _, error, user in
            let s = session(user)
            guard let reason = nghttp2_strerror(error) else { return 0 }
            s.worker._withUnsafeGuaranteedRef {
                // A stream too many, of a client that has not acknowledged how many there may be: the library refuses it by itself.
                if error == NGHTTP2_ERR_REFUSED_STREAM.rawValue { $0.countReset(s) }
                $0.logClient(.info, "client broke a rule of HTTP/2", s.connection, detail: ByteView(cString: reason))
            }
            return 0
        }
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { library, _, id, bytes, count, user in
            let s = session(user)
            nghttp2_session_consume_connection(library, count)
            guard let bytes, let stream = Worker.stream(library, id) else { return 0 }
            s.worker._withUnsafeGuaranteedRef { $0.bodyCame(stream, ByteView(bytes, count)) }
            return 0
        }
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { library, id, code, user in
            let s = session(user)
            guard let stream = Worker.stream(library, id) else { return 0 }
            stream.isForgotten = true
            if s.building == stream { s.building = nil }
            // Both ends had said all they had to say, unless the client has taken its leave. The last frame may have been ready, and the
            // socket full: what it was to have is still there.
            if !stream.hasSentEnd || stream.client?.stream.hasPending == true {
                stream.isReset = true
                s.leavingCount += 1
                if code != NGHTTP2_NO_ERROR.rawValue || !stream.hasAnswerHead { s.worker._withUnsafeGuaranteedRef { $0.countReset(s) } }
            }
            if stream.isReset { Worker.touch(s, stream) }
            return 0
        }
    }

    static func fillAnswerCallbacks(_ callbacks: OpaquePointer?) {
        nghttp2_session_callbacks_set_send_data_callback(callbacks, frameAnswer)
        nghttp2_session_callbacks_set_on_frame_not_send_callback(callbacks) { library, frame, _, user in
            guard let frame, UInt32(frame.pointee.hd.type) == NGHTTP2_HEADERS.rawValue else { return 0 }
            guard let stream = Worker.stream(library, frame.pointee.hd.stream_id) else { return 0 }
            // A head that cannot be framed is no answer; nor are trailers without which it would never end.
            nghttp2_submit_rst_stream(library, 0, frame.pointee.hd.stream_id, NGHTTP2_INTERNAL_ERROR.rawValue)
            stream.hasSentEnd = false
            return 0
        }
        nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks, answerFrameBytes)
    }

    @inline(__always)
    static func endsStream(_ frame: UnsafePointer<nghttp2_frame>) -> Bool {
        frame.pointee.hd.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    }

    /// Puts a stream among those that something has come about.
    @inline(__always)
    static func touch(_ s: Ref<ClientSession>, _ stream: Ref<ClientStream>) {
        if stream.isTouched { return }
        stream.isTouched = true
        stream.nextTouched = nil
        if let last = s.touchedLast { last.nextTouched = stream } else { s.touchedFirst = stream }
        s.touchedLast = stream
    }

    /// Puts a stream among those whose answers have moved.
    @inline(__always)
    static func noteWritten(_ stream: Ref<ClientStream>) {
        if stream.isWritten { return }
        let s = stream.session
        stream.isWritten = true
        stream.nextWritten = nil
        if let last = s.writtenLast { last.nextWritten = stream } else { s.writtenFirst = stream }
        s.writtenLast = stream
        s.writtenCount += 1
    }

    // MARK: While the library reads

    func streamBegins(_ s: Ref<ClientSession>, _ id: Int32, hasBody: Bool) {
        let server = s.connection.defaultServer(in: self)
        // A body that comes before the client knows how little of it may come could not be kept (nginx refuses it likewise).
        let isTooEarly = hasBody && !s.isAgreed && s.prereadBytes < 65_535
        guard let server, s.streamCount - s.leavingCount < s.streamsMax, !isTooEarly,
            let (stream, handle) = streams.insert(ClientStream(session: s, id: id))
        else {
            countReset(s)
            nghttp2_submit_rst_stream(s.library, UInt8(NGHTTP2_FLAG_NONE.rawValue), id, NGHTTP2_REFUSED_STREAM.rawValue)
            return
        }
        stream.handle = handle
        stream.next = s.first
        s.first?.previous = stream
        s.first = stream
        s.streamCount += 1
        nghttp2_session_set_stream_user_data(s.library, id, stream.rawPointer)
        s.building = stream
        let list = min(server.largeHeaderBuffers * server.largeHeaderBytes, Limits.headBytesMax)
        s.fields.value.begin(listBytesMax: list, fieldBytesMax: server.largeHeaderBytes)
    }

    func frameCame(_ s: Ref<ClientSession>, _ library: OpaquePointer?, _ frame: UnsafePointer<nghttp2_frame>) {
        let header = frame.pointee.hd
        switch UInt32(header.type) {
        case NGHTTP2_HEADERS.rawValue:
            if let stream = s.building { return headCame(s, stream, isLast: Worker.endsStream(frame)) }
            guard let stream = Worker.stream(library, header.stream_id) else { return }
            if Worker.endsStream(frame) {
                bodyEnded(s, stream)
            } else {
                // Trailers end a request (RFC 9113 section 8.1).
                nghttp2_submit_rst_stream(library, 0, header.stream_id, NGHTTP2_PROTOCOL_ERROR.rawValue)
            }
        case NGHTTP2_DATA.rawValue:
            if Worker.endsStream(frame), let stream = Worker.stream(library, header.stream_id) { bodyEnded(s, stream) }
        case NGHTTP2_SETTINGS.rawValue:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 { s.isAgreed = true }
        case NGHTTP2_PING.rawValue:
            if header.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 { noticeArrived(s) }
        default: break
        }
    }

    private func bodyEnded(_ s: Ref<ClientSession>, _ stream: Ref<ClientStream>) {
        stream.hasEnded = true
        Worker.touch(s, stream)
    }

    /// All fields of a request are there: its head is kept as text.
    private func headCame(_ s: Ref<ClientSession>, _ stream: Ref<ClientStream>, isLast: Bool) {
        s.building = nil
        s.fields.value.end()
        let size = s.fields.headBytesMax
        if s.fields.isTooLarge || size > BufferPool.largest {
            s.faultCode = NGHTTP2_ENHANCE_YOUR_CALM.rawValue
            return
        }
        stream.head = buffers.take(size)
        var w = ByteWriter(stream.head.start, capacity: stream.head.capacity)
        s.fields.value.write(to: &w)
        stream.headCount = w.count
        stream.fault = s.fields.fault
        stream.fieldCount = s.fields.fieldCount
        stream.fieldBlockBytes = s.fieldBlockBytes
        stream.hasEnded = isLast
        stream.hasNoBody = isLast
        stream.isHeadReady = true
        Worker.touch(s, stream)
    }

    /// Body is kept until the exchange reads it: at most a window of it comes.
    func bodyCame(_ stream: Ref<ClientStream>, _ bytes: ByteView) {
        if stream.inboundTo + bytes.count > stream.inbound.capacity {
            let count = stream.inboundCount
            let larger = buffers.take(min(max(count + bytes.count, 4096), BufferPool.largest))
            if count > 0 { larger.start.update(from: stream.inbound.start + stream.inboundFrom, count: count) }
            buffers.give(stream.inbound)
            stream.inbound = larger
            stream.inboundFrom = 0
            stream.inboundTo = count
        }
        stream.bodyBytes += Int64(bytes.count)
        (stream.inbound.start + stream.inboundTo).update(from: bytes.start, count: bytes.count)
        stream.inboundTo += bytes.count
        Worker.touch(stream.session, stream)
    }

    // MARK: While the library frames

    /// How much of an answer's body one frame is to have. It is not copied here, but by `frameAnswer`.
    static let readAnswer: nghttp2_data_source_read_callback = { library, id, _, room, flags, _, _ in
        guard let flags, let stream = Worker.stream(library, id), let c = stream.client else {
            return ssize_t(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
        }
        let count = c.stream.pendingCount
        var n = min(count, room)
        if stream.isPaced { n = Int(min(Int64(n), max(0, stream.credit))) }
        if n == 0, !(stream.isAnswerWhole && count == 0) {
            stream.isDeferred = true
            return ssize_t(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        flags.pointee |= NGHTTP2_DATA_FLAG_NO_COPY.rawValue
        stream.credit -= Int64(n)
        if stream.bodyLeft > 0 { stream.bodyLeft -= Int64(n) }
        if n == count, stream.isAnswerWhole || stream.bodyLeft == 0 {
            flags.pointee |= NGHTTP2_DATA_FLAG_EOF.rawValue
            stream.hasSentEnd = true
            if stream.trailersCount > 0 {
                flags.pointee |= NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue
                stream.session.worker._withUnsafeGuaranteedRef { $0.submitTrailers(stream) }
            }
        }
        noteWritten(stream)
        return n
    }

    /// Puts a frame of body behind what is to be sent already: its header, then as much as `readAnswer` said.
    static let frameAnswer: nghttp2_send_data_callback = { library, frame, header, count, _, user in
        guard let frame, let header, let stream = Worker.stream(library, frame.pointee.hd.stream_id), let c = stream.client else {
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
        }
        return stream.session.worker._withUnsafeGuaranteedRef { worker in
            let hub = worker.hub
            let w = hub.out
            // What the library frames itself comes behind it and must fit too.
            if w.value.room < count + 9 + Limits.http2FrameBytes {
                hub.isFull = true
                return NGHTTP2_ERR_WOULDBLOCK.rawValue
            }
            w.value.append(ByteView(header, 9))
            w.value.append(c.stream.pendingView.slice(0, count))
            c.value.stream.takePending(count)
            stream.session.value.frames.earn(2)
            return 0
        }
    }

    /// The largest frame of body that the location and the client want.
    static let answerFrameBytes: nghttp2_data_source_read_length_callback = { library, _, id, _, _, most, _ in
        ssize_t(min(Worker.stream(library, id)?.chunkBytes ?? 8192, Int(most), Limits.http2BodyFrameBytes))
    }
}
