// One request and its response on an HTTP/2 connection to an upstream: what has come and was not read yet, and how the stream ended.
// It stands behind the ByteStream of an `UpstreamConnection` that has no socket. Filled by SessionInput.swift, read by the response reader.

import Bytes
import CLinux
import CNghttp2
import HTTPMessage

/// Why a stream ended before its response did.
enum StreamFault: UInt8, BitwiseCopyable {
    case none
    /// The connection could not be opened; `code` is the errno.
    case connectFailed
    /// TLS could not begin for want of a certificate or the like, or its handshake failed; `code` is not 0 where that has been logged.
    case badTLSValue, handshakeFailed
    /// The connection ended, or was reset.
    case connectionClosed, connectionReset
    /// The upstream broke the rules of the connection.
    case protocolError
    /// RST_STREAM; `code` is its error.
    case reset
    /// The upstream says that it has not looked at the request: it may be sent again (RFC 9113 section 8.7).
    case refused
    /// GOAWAY with an error, and the request came too late for it.
    case goneAway
    case badHead, headTooLarge, badTrailers
}

/// Bytes that came and wait to be read.
struct InboundBytes: BitwiseCopyable {
    private(set) var buffer = Buffer.none
    private var from = 0
    private var to = 0

    var count: Int { to - from }
    var view: ByteView { ByteView(buffer.start + from, count) }

    /// A writer behind what is there, with room for `size` bytes. Nil: no buffer is that large. `commit` keeps what it wrote.
    mutating func room(_ size: Int, pool: inout BufferPool) -> ByteWriter? {
        if to + size > buffer.capacity {
            let held = count
            if held + size > BufferPool.largest { return nil }
            if held + size <= buffer.capacity {
                // The front is free. The bytes may overlap where they go.
                buffer.start.update(from: buffer.start + from, count: held)
            } else {
                let larger = pool.take(max(held + size, Limits.streamBufferBytes))
                larger.start.update(from: buffer.start + from, count: held)
                pool.give(buffer)
                buffer = larger
            }
            from = 0
            to = held
        }
        return ByteWriter(buffer.start + to, capacity: buffer.capacity - to)
    }

    mutating func commit(_ n: Int) { to += n }

    mutating func append(_ bytes: ByteView, pool: inout BufferPool) -> Bool {
        guard var w = room(bytes.count, pool: &pool) else { return false }
        w.append(bytes)
        commit(bytes.count)
        return true
    }

    mutating func take(_ most: Int, into target: UnsafeMutablePointer<UInt8>, pool: inout BufferPool) -> Int {
        let n = min(most, count)
        target.update(from: buffer.start + from, count: n)
        from += n
        if from == to { release(to: &pool) }
        return n
    }

    mutating func release(to pool: inout BufferPool) {
        pool.give(buffer)
        self = InboundBytes()
    }
}

struct UpstreamStream: BitwiseCopyable {
    var handle = Handle.none
    /// Nil once the connection is gone.
    var session: Ref<UpstreamSession>?
    /// Whose stream this is.
    var owner: Ref<UpstreamConnection>
    var next = Handle.none
    var previous = Handle.none
    /// 0 until the request is handed to the session.
    var id: Int32 = 0
    /// Head and body in the order they came; the head as HTTP/1 text.
    var inbound = InboundBytes()
    /// Of it, head bytes that the window does not count.
    var headLeft = 0
    var text = HTTP2ResponseText(isTrailers: false)
    /// Bytes of one head; more are refused.
    var headBytesMax = 0
    var headBytes = 0
    /// The final head has come: what fields come now are trailers.
    var hasHead = false
    var trailers = InboundBytes()
    /// What the head or the trailers say of a call of gRPC.
    var call = CallStatus.none
    /// END_STREAM has come.
    var sawEnd = false
    /// The session does not know the stream any more.
    var isClosed = false
    var resets: UInt8 = 0
    var fault = StreamFault.none
    var code: UInt32 = 0
    /// The request is whole: END_STREAM goes out behind what is pending.
    var isOutputComplete = false
    /// The session has asked for data and got none.
    var isOutputDeferred = false
    /// It stands in the queue of those whose owner is to be told.
    var hasNews = false
    /// All that was pending has gone to the connection since the owner was told last.
    var hasDrained = false

    init(owner: Ref<UpstreamConnection>) { self.owner = owner }

    /// Nothing is left to read but the end.
    var isReadOut: Bool { sawEnd && fault == .none && inbound.count == 0 }
    var hasInput: Bool { inbound.count > 0 || sawEnd || fault != .none }
}

extension Worker {
    // MARK: As a stream of bytes

    func readStream(_ s: inout ByteStream, _ stream: Ref<UpstreamStream>, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> ReadResult {
        if stream.inbound.count > 0 {
            let n = stream.value.inbound.take(count, into: buffer, pool: &buffers)
            let ofHead = min(n, stream.headLeft)
            stream.headLeft -= ofHead
            consumed(stream, n - ofHead)
            s.isReadable = stream.hasInput
            return .bytes(n)
        }
        s.isReadable = false
        if stream.fault != .none {
            s.isBroken = true
            return .failed(ECONNRESET)
        }
        if stream.sawEnd {
            s.sawEnd = true
            return .end
        }
        return .wouldBlock
    }

    /// Makes room in the stream's window.
    private func consumed(_ stream: Ref<UpstreamStream>, _ count: Int) {
        guard count > 0, !stream.isClosed, !stream.sawEnd, let session = stream.session else { return }
        nghttp2_session_consume_stream(session.native, stream.id, count)
        markDirty(session)
    }

    func writeStream(_ s: inout ByteStream, _ stream: Ref<UpstreamStream>, _ bytes: ByteView) -> WriteResult {
        if bytes.isEmpty { return s.hasPending ? .queued : .sent }
        guard let session = stream.session, !stream.isClosed else {
            // It may have answered already: whoever reads will see.
            return .failed(ECONNRESET)
        }
        if !s.queue(bytes, pool: &buffers) { return .failed(ENOBUFS) }
        outputReady(stream, session)
        return .queued
    }

    /// The request is whole.
    func endOutput(_ stream: Ref<UpstreamStream>) {
        if stream.isOutputComplete { return }
        stream.isOutputComplete = true
        if let session = stream.session { outputReady(stream, session) }
    }

    private func outputReady(_ stream: Ref<UpstreamStream>, _ session: Ref<UpstreamSession>) {
        if stream.isOutputDeferred, !stream.isClosed {
            stream.isOutputDeferred = false
            nghttp2_session_resume_data(session.native, stream.id)
        }
        markDirty(session)
    }

    /// The owner is done with the stream, whatever has come of it.
    func closeUpstreamStream(_ stream: Ref<UpstreamStream>) {
        stream.value.inbound.release(to: &buffers)
        stream.value.trailers.release(to: &buffers)
        if let session = stream.session {
            if !stream.sawEnd { doubtIfSilent(session, since: stream.owner.openedMs) }
            if stream.id > 0, !stream.isClosed {
                nghttp2_session_set_stream_user_data(session.native, stream.id, nil)
                nghttp2_submit_rst_stream(session.native, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream.id, NGHTTP2_CANCEL.rawValue)
                markDirty(session)
            }
            unlink(stream, from: session)
        }
        upstreamSessions.streams.remove(stream.handle)
    }
}
