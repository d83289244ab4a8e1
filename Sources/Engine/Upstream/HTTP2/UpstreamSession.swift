// An HTTP/2 connection to a peer: libnghttp2's state, the streams on it, and whether it takes more of them.
// Opened and shared by SessionSharing.swift, fed by SessionInput.swift, emptied by SessionOutput.swift. It knows no exchange.

import Bytes
import CNghttp2
import HTTPMessage

struct UpstreamSession: BitwiseCopyable {
    var handle = Handle.none
    let native: OpaquePointer
    /// The connection that has the socket.
    let connection: Ref<UpstreamConnection>
    var firstStream = Handle.none
    var streamCount = 0
    /// Requests besides the one that it was opened for may use it.
    let isShared: Bool
    /// No new streams: the upstream said so, or its time is over.
    var isLeaving = false
    /// When something came last; and it has been asked by PING whether it is alive, and nothing has come since.
    var heardMs: Int64 = 0
    var isDoubtful = false
    /// How often it may still be asked.
    var pingsLeft = Limits.upstreamPings
    /// It stands in the queue of those that have something to send.
    var isDirty = false
    /// The error of the GOAWAY that came.
    var goawayCode: UInt32 = 0
    /// Bytes of DATA that came in this read: the connection's window is opened for them at once, the streams' are what bounds memory.
    var unconsumed = 0
    var blocks = FieldBlocks(bytesMax: Limits.upstreamBlockBytes)
}

/// What a worker needs for HTTP/2 connections to upstreams, made when the first is opened.
final class UpstreamSessions {
    var sessions: Slab<UpstreamSession>
    var streams: Slab<UpstreamStream>
    /// Streams whose owners are to be told, and connections that have something to send: event words.
    var news = PostedQueue()
    var dirty = PostedQueue()
    /// Owners are being told: what comes meanwhile waits for its turn.
    var isTelling = false
    /// The one whose library calls are under way.
    var active: Ref<UpstreamSession>?
    /// What was wrong, in the library's words.
    var reason = ByteView.empty
    let reasonText: Ref<ByteWriter>
    /// Where connections are read to: the worker's own scratch is the exchanges'.
    let scratch = UnsafeMutablePointer<UInt8>.allocate(capacity: Limits.readBytes)
    let fields = UnsafeMutableBufferPointer<nghttp2_nv>.allocate(capacity: Limits.headerFieldsMax + 4)
    private(set) var callbacks: OpaquePointer?
    private(set) var options: OpaquePointer?
    private let memory: [UnsafeMutableRawPointer]

    /// Something is to be sent, or streams are to be told.
    var hasWork: Bool { !dirty.isEmpty || !news.isEmpty }

    init(limit: Int) {
        sessions = Slab(limit: limit)
        streams = Slab(limit: limit)
        let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: 512)
        let writer = UnsafeMutablePointer<ByteWriter>.allocate(capacity: 1)
        writer.initialize(to: ByteWriter(bytes, capacity: 512))
        reasonText = Ref(writer)
        memory = [UnsafeMutableRawPointer(bytes), UnsafeMutableRawPointer(writer)]
        nghttp2_session_callbacks_new(&callbacks)
        nghttp2_option_new(&options)
        nghttp2_option_set_no_auto_window_update(options, 1)
        nghttp2_option_set_no_closed_streams(options, 1)
        nghttp2_option_set_max_send_header_block_length(options, Limits.composeBytes)
        nghttp2_option_set_max_continuations(options, Limits.continuationsMax)
        installSessionCallbacks(callbacks)
    }

    deinit {
        nghttp2_session_callbacks_del(callbacks)
        nghttp2_option_del(options)
        for p in memory { p.deallocate() }
        scratch.deallocate()
        fields.deallocate()
    }
}

extension Worker {
    /// A session on `connection`, which need not be open yet. Nil: no memory.
    func makeSession(_ connection: Ref<UpstreamConnection>, isShared: Bool) -> Ref<UpstreamSession>? {
        var made: OpaquePointer?
        let me = Unmanaged.passUnretained(self).toOpaque()
        guard nghttp2_session_client_new3(&made, upstreamSessions.callbacks, me, upstreamSessions.options, libraryMemory.functions) == 0,
            let native = made
        else { return nil }
        guard let (session, handle) = upstreamSessions.sessions.insert(UpstreamSession(native: native, connection: connection, isShared: isShared))
        else {
            nghttp2_session_del(native)
            return nil
        }
        session.handle = handle
        connection.session = session
        var settings = (
            nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_PUSH.rawValue), value: 0),
            nghttp2_settings_entry(
                settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: UInt32(Limits.streamWindowBytes))
        )
        let none = UInt8(NGHTTP2_FLAG_NONE.rawValue)
        withUnsafePointer(to: &settings) {
            $0.withMemoryRebound(to: nghttp2_settings_entry.self, capacity: 2) { _ = nghttp2_submit_settings(native, none, $0, 2) }
        }
        nghttp2_session_set_local_window_size(native, none, 0, Int32.max)
        return session
    }

    /// Another stream for `owner`. Nil: the tables are full.
    func addStream(_ owner: Ref<UpstreamConnection>, to session: Ref<UpstreamSession>) -> Ref<UpstreamStream>? {
        guard let (stream, handle) = upstreamSessions.streams.insert(UpstreamStream(owner: owner)) else { return nil }
        stream.handle = handle
        stream.session = session
        stream.next = session.firstStream
        if let first = upstreamSessions.streams.find(session.firstStream) { first.previous = handle }
        session.firstStream = handle
        session.streamCount += 1
        owner.stream.carrier = .http2
        owner.stream.upstreamStream = stream
        return stream
    }

    func unlink(_ stream: Ref<UpstreamStream>, from session: Ref<UpstreamSession>) {
        if let next = upstreamSessions.streams.find(stream.next) { next.previous = stream.previous }
        if let previous = upstreamSessions.streams.find(stream.previous) { previous.next = stream.next } else { session.firstStream = stream.next }
        stream.session = nil
        session.streamCount -= 1
        if session.streamCount == 0 { sessionIsIdle(session) }
    }

    func markDirty(_ session: Ref<UpstreamSession>) {
        if session.isDirty { return }
        session.isDirty = true
        upstreamSessions.dirty.push(EventOwner.word(.upstream, session.connection.handle))
    }

    /// The connection is gone: its streams end with what they have, or with `fault`.
    func endSession(_ session: Ref<UpstreamSession>, _ fault: StreamFault, code: UInt32 = 0) {
        var next = session.firstStream
        while let stream = upstreamSessions.streams.find(next) {
            next = stream.next
            // A request that was handed over and of which the library has framed nothing yet has not been seen by the upstream.
            let isUnsent = stream.id > 0 && !stream.isClosed && nghttp2_session_find_stream(session.native, stream.id) == nil
            stream.session = nil
            stream.isClosed = true
            if !stream.sawEnd { setFault(stream, isUnsent ? .refused : fault, code: code) }
        }
        session.connection.session = nil
        session.value.blocks.held.release(to: &buffers)
        nghttp2_session_del(session.native)
        upstreamSessions.sessions.remove(session.handle)
    }

    /// The connection ends for `fault`, and the owners of its streams are told.
    func loseSession(_ session: Ref<UpstreamSession>, _ fault: StreamFault, code: UInt32 = 0) {
        let u = session.connection
        leavePool(u)
        endSession(session, fault, code: code)
        closeUpstream(u)
        tellStreams()
    }

    func setFault(_ stream: Ref<UpstreamStream>, _ fault: StreamFault, code: UInt32 = 0) {
        if stream.fault == .none {
            stream.fault = fault
            stream.code = code
        }
        addNews(stream)
    }

    func addNews(_ stream: Ref<UpstreamStream>) {
        if stream.hasNews { return }
        stream.hasNews = true
        upstreamSessions.news.push(EventOwner.word(.upstream, stream.owner.handle))
    }
}
