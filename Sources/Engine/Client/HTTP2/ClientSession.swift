// The state of an HTTP/2 connection to a client and of its streams, and the memory that a worker's sessions share.
// Lives in the worker's slabs; changed by Client/HTTP2 alone. A stream carries a `ClientConnection` of its own, to which exchanges talk.

import Bytes
import CNghttp2
import HTTPMessage

/// How far the end of a session has come (RFC 9113 section 6.8).
enum SessionEnding: UInt8, BitwiseCopyable {
    case none
    /// The client has been asked to open no more streams; what is on its way is still served.
    case noticed
    /// The last stream has been named.
    case final
}

/// One HTTP/2 connection. `connection` has its socket.
struct ClientSession: BitwiseCopyable {
    var handle = Handle.none
    let connection: Ref<ClientConnection>
    let worker: Unmanaged<Worker>
    /// `nghttp2_session *`.
    var library: OpaquePointer?
    /// Where the fields of the request that is being read come together.
    let fields: Ref<FieldsToHead>
    /// All its streams, the newest first.
    var first: Ref<ClientStream>?
    var streamCount = 0
    /// Those among them that are over for the client, and are ended when the library has returned: they keep no other from beginning.
    var leavingCount = 0
    var streamsMax = 128
    /// Streams about which something has come, in its order.
    var touchedFirst: Ref<ClientStream>?
    var touchedLast: Ref<ClientStream>?
    /// Streams whose answers have moved since the last flush.
    var writtenFirst: Ref<ClientStream>?
    var writtenLast: Ref<ClientStream>?
    var writtenCount = 0
    /// Something is to be sent: it is among the worker's dirty sessions.
    var isDirty = false
    /// Field blocks on their way to the library.
    var blocks = FieldBlocks(bytesMax: Limits.clientBlockBytes)
    /// The stream whose fields are coming.
    var building: Ref<ClientStream>?
    /// Payload of the frames that its fields came in, and how many they were.
    var fieldBlockBytes: Int64 = 0
    var fieldBlockFrames = 0
    /// What the client may send that asks for nothing, and how many requests it may take back.
    var frames: FrameBudget
    var resets: FrameBudget
    var hasFlooded = false
    /// What the socket had not taken when that was looked at last.
    var unsentCount = 0
    /// A field section is not complete, and since when is timed.
    var waitsForFields = false
    /// What the library may not be told while it is reading: why the session has to end.
    var faultCode: UInt32 = 0
    /// How much of the preface has come.
    var prefaceCount: UInt8 = 0
    /// The highest stream the client has opened, and some that were reset before it had ended them: what it still sends of those is
    /// on its way, not wrong.
    var lastID: Int32 = 0
    var cut = InlineArray<16, Int32>(repeating: 0)
    var cutCount = 0
    var ending = SessionEnding.none
    /// The client has acknowledged the settings.
    var isAgreed = false
    /// Nothing goes to the library any more: the connection is being closed.
    var isClosing = false
    /// The library or the socket has failed.
    var isBroken = false
    /// Bytes of a body that may come before anyone reads it.
    var prereadBytes = 65_536

    init(connection: Ref<ClientConnection>, worker: Worker, fields: Ref<FieldsToHead>) {
        self.connection = connection
        self.worker = Unmanaged.passUnretained(worker)
        self.fields = fields
        frames = FrameBudget(most: Limits.http2IdleFrames, perSecond: Limits.http2IdleFramesPerSecond, nowMs: worker.nowMs)
        resets = FrameBudget(most: Limits.http2Resets, perSecond: Limits.http2ResetsPerSecond, nowMs: worker.nowMs)
    }
}

/// One stream of a session.
struct ClientStream: BitwiseCopyable {
    var handle = Handle.none
    let session: Ref<ClientSession>
    let id: Int32
    /// What the exchange takes for a connection; nil before the exchange begins.
    var client: Ref<ClientConnection>?
    var next: Ref<ClientStream>?
    var previous: Ref<ClientStream>?
    var nextTouched: Ref<ClientStream>?
    var nextWritten: Ref<ClientStream>?
    var isTouched = false
    var isWritten = false

    // MARK: The request
    /// The text of the head, until its exchange begins.
    var head = Buffer.none
    var headCount = 0
    var fault: BadHead?
    /// Ordinary fields that came.
    var fieldCount = 0
    /// Payload of the frames that the head came in (`$request_length`).
    var fieldBlockBytes: Int64 = 0
    var isHeadReady = false
    /// The client sends no more (END_STREAM).
    var hasEnded = false
    /// It said so with its head: there is no body.
    var hasNoBody = false
    /// Reset by the client, or lost with the session.
    var isReset = false
    /// The library has forgotten the stream.
    var isForgotten = false
    /// Body that has come and has not been read.
    var inbound = Buffer.none
    var inboundFrom = 0
    var inboundTo = 0
    var isWindowWide = false
    /// Bytes of the body that have come, and how many there are to be; -1: nobody said.
    var bodyBytes: Int64 = 0
    var bodyBytesSaid: Int64 = -1

    // MARK: The answer
    /// How many of the first bytes emitted are a head.
    var answerHeadCount = 0
    var hasAnswerHead = false
    /// The library asks for body.
    var hasSource = false
    /// It has asked in vain and waits to be told.
    var isDeferred = false
    /// All of the body is with the stream.
    var isAnswerWhole = false
    /// What is still to be framed of a body whose length was said and that no trailers follow: its last frame ends the stream. -1: other.
    var bodyLeft: Int64 = -1
    /// END_STREAM has been framed.
    var hasSentEnd = false
    /// Trailer lines to send behind the body.
    var trailers = Buffer.none
    var trailersCount = 0
    /// The answer has a rate: so many bytes may go now.
    var isPaced = false
    var credit: Int64 = 0
    var chunkBytes = 8192
    /// What a stream that ends early is reset with.
    var resetCode = NGHTTP2_INTERNAL_ERROR

    init(session: Ref<ClientSession>, id: Int32) {
        self.session = session
        self.id = id
    }

    /// The body has ended, and not where its length said.
    var hasWrongLength: Bool { hasEnded && bodyBytesSaid >= 0 && bodyBytes != bodyBytesSaid }
    var inboundCount: Int { inboundTo - inboundFrom }
}

/// What the sessions of a worker share: scratch memory and the tables of the library.
final class SessionHub {
    /// What one read takes. Apart from the worker's scratch, which exchanges use while it is being looked at.
    let input = UnsafeMutablePointer<UInt8>.allocate(capacity: Limits.http2ReadBytes)
    /// Frames on their way to a socket.
    let out: Ref<ByteWriter>
    let fields: Ref<FieldsToHead>
    let places = UnsafeMutableBufferPointer<FieldPlace>.allocate(capacity: Limits.answerFieldsMax)
    let pairs = UnsafeMutablePointer<nghttp2_nv>.allocate(capacity: Limits.answerFieldsMax + 1)
    let callbacks: OpaquePointer?
    let options: OpaquePointer?
    private let memory: [UnsafeMutableRawPointer]
    /// What is to be sent fills its memory: the next frame goes with the next send.
    var isFull = false
    /// Where in it a frame with fields begins of which more is to come; -1: nowhere.
    var openFields = -1

    init() {
        var memory: [UnsafeMutableRawPointer] = []
        func writer(_ capacity: Int) -> ByteWriter {
            let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
            memory.append(UnsafeMutableRawPointer(bytes))
            return ByteWriter(bytes, capacity: capacity)
        }
        func place<T: BitwiseCopyable>(_ value: T) -> Ref<T> {
            let p = UnsafeMutablePointer<T>.allocate(capacity: 1)
            p.initialize(to: value)
            memory.append(UnsafeMutableRawPointer(p))
            return Ref(p)
        }
        out = place(writer(Limits.http2SendBytes))
        let room = Limits.headBytesMax
        fields = place(FieldsToHead(lines: writer(room), pseudo: writer(room), cookies: writer(room)))
        self.memory = memory
        places.initialize(repeating: FieldPlace())
        var made: OpaquePointer?
        nghttp2_session_callbacks_new(&made)
        callbacks = made
        var option: OpaquePointer?
        nghttp2_option_new(&option)
        options = option
        Worker.fillSessionCallbacks(callbacks)
        Worker.fillAnswerCallbacks(callbacks)
        nghttp2_option_set_max_send_header_block_length(options, 2 * Limits.composeBytes)
        // Requests are judged by the parser that judges all heads, and answered where the library would only reset.
        nghttp2_option_set_no_http_messaging(options, 1)
        nghttp2_option_set_no_recv_client_magic(options, 1)
        nghttp2_option_set_no_auto_window_update(options, 1)
        nghttp2_option_set_no_closed_streams(options, 1)
        // Frames of types that nobody knows are ignored, but they cost too (RFC 9113 section 5.5).
        for type in UInt8(0x0A)...0xFF { nghttp2_option_set_user_recv_extension_type(options, type) }
    }

    deinit {
        nghttp2_session_callbacks_del(callbacks)
        nghttp2_option_del(options)
        for p in memory { p.deallocate() }
        input.deallocate()
        places.deallocate()
        pairs.deallocate()
    }
}
