// The state of one client's connection: its stream, what was read ahead of need, and the exchange under way.
// Lives in the worker's slab; changed by Client/ and, through the exchange, by nobody else. It never touches an upstream.

import Bytes

package enum ClientPhase: UInt8, BitwiseCopyable {
    /// The header of the PROXY protocol comes first.
    case proxyHeader
    /// TLS is being agreed on.
    case handshake
    /// An HTTP/2 connection: its streams are client connections of their own.
    case http2
    /// Between requests: no byte of the next one has come.
    case idle
    /// A part of a request head is there.
    case readingHead
    /// An exchange is under way; it decides what is read.
    case exchange
    /// The answer has gone, the connection stays, and the rest of the request's body is read and dropped.
    case discarding
    /// The answer has gone, our side is shut down, and what still comes is read and dropped, so that no reset destroys the answer.
    case lingering
    /// Gone: the slot is free. Callers up the stack see it and stop.
    case closed
}

package struct ClientConnection: BitwiseCopyable {
    package var handle = Handle.none
    var stream = ByteStream()
    package internal(set) var phase = ClientPhase.closed
    /// The last head said `Connection: close`, or we did.
    var closesAfterAnswer = false
    /// The stored input has been parsed as far as it goes.
    var needsMoreInput = false
    /// Its address is one for TLS, whether or not the client knows.
    var expectsTLS = false
    /// Place in `Worker.listeners`.
    var listener: Int32 = 0
    var timer = TimerID.none
    var requests: UInt32 = 0
    /// `$connection`, and `*N` in the error log.
    var number: UInt64 = 0
    var acceptedMs: Int64 = 0
    /// Of the other end; while an exchange is under way, what trusted proxies say of it (Routing/RealIP.swift).
    var address = ClientAddress()
    /// What the header of the PROXY protocol said, in `Worker.proxied`.
    var proxied = Handle.none
    /// Bytes read and not used yet: the rest of a read that held a head, part of a head, or pipelined requests.
    var input = ByteView.empty
    /// How much of the input was parsed when the head was found to be incomplete.
    var seenInput = 0
    /// Owns `input`; none while `input` lies in the worker's scratch, which lasts only until the next read.
    var inputBuffer = Buffer.none
    var exchange: Ref<Exchange>?
    /// What its bytes are in the phase `.http2`.
    var session: Ref<ClientSession>?
    var isPosted = false
    /// A request came before the answer to the one before it: more may be on the way when the connection closes.
    var pipelines = false
    /// The input holds bytes of the next request already, behind one that has just been answered.
    var hasNextRequest = false
    /// For what is read after the answer.
    var discardLimitMs: Int64 = 0
    /// The rest of a body that is being dropped, in `Worker.discards`: few connections have one.
    var discard = Handle.none
    /// For the timeouts of the connection between exchanges.
    var lingeringTimeoutMs: Int64 = 5_000
    var keepaliveTimeoutMs: Int64 = 75_000
}
