// Every number that bounds the engine: queues, tables, buffers, waits. Hitting one is a fault that is handled, not a crash.
// Read everywhere in the engine; the few that the configuration can move are parameters of `Snapshot` or `WorkerParameters`.

package enum Limits {
    // MARK: A loop turn
    /// Events taken from epoll in one turn. More wait for the next turn, which comes at once.
    package static let eventsPerTurn = 512
    /// Connections accepted from one listener in one turn, so that a flood of them does not starve those already here.
    package static let acceptsPerTurn = 64
    /// Bytes moved for one exchange before the others get their turn.
    static let bytesPerTurn = 1 << 20
    /// Steps of reading requests of one connection (a read or a request each) before the others get their turn.
    static let requestsPerTurn = 64
    /// Timers that fire in one turn; those left over fire in the next, which does not sleep.
    static let timersPerTurn = 4096
    /// How long a step of the wall clock may go unnoticed.
    static let realtimeAgeNsMax: UInt64 = 100_000_000
    /// How long accepting rests when the process has no file descriptors left.
    static let acceptRestMs: Int64 = 500

    // MARK: The process
    package static let workersMax = 256
    /// `worker_connections`: what the index of an event word can hold is far more.
    package static let connectionsMax = 10_000_000

    // MARK: Heads
    /// All the bytes of one request head, whatever the buffer directives say.
    package static let headBytesMax = 1 << 20
    /// Header fields in one head (nginx 1.31: `max_headers` 1000).
    package static let headerFieldsMax = 1000
    /// The scratch a worker composes heads in: the largest head that can be sent, to either side.
    static let composeBytes = 256 << 10
    /// The largest response head taken from an upstream unless `proxy_buffer_size` asks for more.
    static let responseHeadBytesMax = 64 << 10
    /// Trailer section of a chunked body.
    static let trailerBytesMax = 16 << 10
    /// The largest header of the PROXY protocol, version 2, with its values.
    package static let proxyHeaderBytesMax = 4096

    // MARK: HTTP/2 to upstreams
    /// Bytes of one stream's response that wait for a slow client before the upstream has to stop: the window of the stream.
    static let streamWindowBytes = 256 << 10
    /// Requests that share one connection, whatever more the upstream allows.
    static let streamsPerConnection = 128
    /// A connection on which a request waited in vain and nothing came for so long has to show that it is alive before it takes others.
    static let upstreamSilenceMs: Int64 = 1000
    /// How often a connection is asked whether it is alive; then the next silence ends its being shared until something comes by itself.
    static let upstreamPings = 2
    /// CONTINUATION frames of one head.
    static let continuationsMax = 128
    /// What a stream borrows at first for what comes.
    static let streamBufferBytes = 4096

    // MARK: Memory
    /// What one read takes at most; a scratch of this size belongs to the worker, not to the connection.
    static let readBytes = 256 << 10
    /// A read while the other side is slow: what a short write leaves behind is at most about this.
    static let readBytesWhileSlow = 64 << 10
    /// Memory of one exchange: its head, values of variables, a list of tries.
    static let regionBytesMax = 1 << 20
    /// Free buffers a worker keeps for reuse.
    static let keptBufferBytes = 16 << 20
    /// Bytes that wait for one slow reader in memory before its source is not read any more.
    package static let pendingBytesMax = 1 << 20

    // MARK: TLS
    /// Early data that is read at a time: all that a client may send.
    static let earlyBytes = 16384
    /// Bytes of TLS in which a peer says nothing; several times what the longest record needs before it can be read.
    static let silentBytesMax = 64 << 10
    /// Sessions with upstreams that a worker keeps to take up again, one for each peer and settings.
    static let upstreamSessionsMax = 1024
    /// One file of a certificate or a key that is read while the proxy runs.
    static let certificateFileBytesMax = 1 << 20

    // MARK: Exchanges
    /// Internal redirects and rewrite cycles of one request (nginx: 10).
    static let internalRedirectsMax = 10
    /// Tries of one exchange whatever the size of the upstream.
    static let triesMax = 64
    /// Bytes a second: a higher rate counts as this one.
    static let rateMax: Int64 = 1 << 32
    /// The longest time a rate is reckoned over; its product with `rateMax` is far from overflow.
    static let paceMsMax: Int64 = 1_000_000_000
    /// The longest a drain may take: its times are far from overflow.
    static let drainMsMax: Int64 = 86_400_000
    /// How long both ends of a WebSocket connection may take to close it.
    static let closeHandshakeMs: Int64 = 5000
    /// How often held requests that are released go on, at most, and how many a second whatever is asked.
    static let releaseEveryMs: Int64 = 10
    static let releaseRateMax = 1_000_000
    /// How often the oldest request in line for a peer tries its luck without being called.
    static let queueEveryMs: Int64 = 20
    /// `limit_req` or `limit_conn` directives of one location.
    package static let limitsOfLocationMax = 16
    /// Interim (1xx) responses taken from an upstream for one request.
    static let interimResponsesMax = 32

    // MARK: Inner requests
    /// Of a worker at a time; of one client's request; within each other (nginx: 50).
    static let innerMax = 1 << 15
    static let innerPerRequest = 1000
    static let innerDepthMax = 50
    /// Mirrored requests that a worker has under way, and no more than a quarter of its connections; and bytes of bodies that were copied for them. More are not made.
    static let mirrorsMax = 1024
    static let mirrorBytesMax = 64 << 20
    /// As long the answer to a mirrored request, or to one that is sent twice, is read on; then the connection ends.
    static let mirrorAnswerMsMax: Int64 = 60_000
    /// `mirror` directives of one location.
    package static let mirrorsOfLocationMax = 16

    // MARK: Server-side includes
    /// Between `<!--#` and `-->`; the largest `ssi_value_length`.
    static let ssiCommandBytesMax = 16 << 10
    package static let ssiValueBytesMax = 8 << 10
    /// What has come of a page and waits behind an include: bytes, and includes and texts. More is not scanned before.
    static let ssiOutputBytesMax = 64 << 10
    static let ssiOutputsMax = 32
    /// What is sent at a time, and read of a file; how often in a turn.
    static let ssiPieceBytes = 32 << 10
    static let ssiRoundsPerTurn = 256
    /// Variables that the commands of a page and of those within it set.
    static let ssiVariablesMax = 256
    static let ssiVariableBytesMax = 256 << 10
    static let ssiConditionsMax = 64
    /// Blocks of a page, the size of one, and blocks that are used in blocks.
    static let ssiBlocksMax = 64
    static let ssiBlockBytesMax = 16 << 10
    static let ssiStubDepthMax = 4
    /// `subrequest_output_buffer_size`.
    package static let innerBodyBytesMax = 1 << 20

    // MARK: HTTP/2
    /// One read of a session, which is then looked at before the next. A scratch of this size belongs to the worker.
    static let http2ReadBytes = 64 << 10
    /// What is held of a field block until it is whole, on connections of clients and to upstreams (Transport/FieldBlocks.swift).
    static let clientBlockBytes = 32 << 10
    static let upstreamBlockBytes = 128 << 10
    /// What one send of a session takes at most, and the room kept in it for one more frame.
    static let http2SendBytes = 256 << 10
    static let http2FrameBytes = 32 << 10
    /// The largest frame of body, whatever `http2_chunk_size` and the client say: it fits what one send takes.
    static let http2BodyFrameBytes = 128 << 10
    /// Body that waits in a stream for the end of the turn; more is framed at once.
    static let http2PushBytes = 16 << 10
    /// The window of a stream whose body is read as it comes, and the largest `http2_body_preread_size`.
    package static let http2WindowBytes = 1 << 20
    /// Streams of all sessions of a worker.
    package static let http2StreamsMax = 1 << 16
    /// How often in one turn what streams have to say is sent.
    static let http2RoundsPerTurn = 16
    /// Frames of one session that ask for nothing (PING, SETTINGS, PRIORITY, WINDOW_UPDATE, empty DATA, unknown ones): at once, and each
    /// second. Each frame of a body that is sent allows two more.
    static let http2IdleFrames: Int32 = 1000
    static let http2IdleFramesPerSecond: Int64 = 200
    /// Requests of one session that the client takes back before they are answered, or that are refused: likewise.
    static let http2Resets: Int32 = 500
    static let http2ResetsPerSecond: Int64 = 100
    /// What a client may say about why it goes.
    static let http2GoawayBytes = 16 << 10
    /// Frames that one request's fields may come in.
    static let http2FieldFramesMax = 64
    /// How long a client that has no streams may take to hear of the coming end of its session.
    static let http2NoticeMs: Int64 = 1000
    /// Fields of one answer that are passed on.
    static let answerFieldsMax = 1200
    /// Memory of the library that nobody uses and that a worker keeps for the next request.
    static let libraryKeptBytes = 1 << 20

    /// Names tried for a body's file.
    static let bodyFileNames = 8

    /// Parts of a file that are sent in one answer; who asks for more gets the whole.
    package static let rangesMax = 256

    // MARK: Filters
    /// What a filter takes of a body in one go, and what one send of filtered bytes takes.
    static let filterPieceBytes = 32 << 10
    static let filterSendBytes = 64 << 10
    /// Bytes that one answer moves through its filters, into and out of them, before the others get their turn: about a millisecond's work
    /// for `gzip_comp_level 1`, five for 9.
    static let filterBytesPerTurn = 64 << 10
    /// Answers that a worker compresses at once, with 256 KiB each; further ones go as they are.
    static let deflatersMax = 1024
    /// States of zlib that it keeps for reuse, of each kind.
    static let keptDeflaters = 32
    /// Up to this length a text is compressed with less memory.
    static let smallTextBytes: Int64 = 8 << 10
    /// How long a buffered upstream may pause before what gzip holds back is sent.
    static let filterFlushMs: Int64 = 20

    // MARK: Expressions
    /// PCRE2 match and depth limits: an expression that needs more does not match, and that is logged.
    static let matchLimit: UInt32 = 1_000_000
    /// Groups of one expression that can be used as $1 to $9 and by name.
    package static let capturesMax = 32
    /// Nested variables: a map that reads a map that reads a map.
    static let variableDepthMax = 16

    // MARK: Observing
    /// Log lines of one turn wait in a buffer of this size; what does not fit is written at once.
    static let logBufferBytes = 64 << 10
    /// How long lines wait whose file was written in the same millisecond already: under load a write for hundreds of lines.
    static let logLagMs: Int64 = 2
    /// One line of the error log (nginx: 2048).
    static let errorLineBytes = 2048
}
