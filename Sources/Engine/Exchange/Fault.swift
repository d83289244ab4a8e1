// What can go wrong with an exchange, in one list: side, status, whether another peer may be tried, and the words for the log.
// Made where the fault is seen; judged by Upstream/Retry.swift and answered by Exchange/ErrorAnswer.swift.

package enum Fault: UInt8, BitwiseCopyable {
    // The client's side
    case clientReset, clientClosed, clientTimeout, clientBadBody, clientBodyTooLarge, sendTimeout
    // The upstream's side
    case connectRefused, connectTimeout, upstreamReset, upstreamClosed, upstreamTimeout, upstreamSendTimeout
    case upstreamBadHead, upstreamBadBody, upstreamHeadTooLarge, upstreamEndedEarly, upstreamStatus, upstreamRefused
    case upstreamTLS, noLivePeer, peersBusy, queueFull, queuedTooLong, hostNotFound, badProxyTarget
    // Ours
    case noDescriptors, noMemory, headTooLarge, tooManyRedirects, spoolFailed, fileFailed, shutdown
    case heldTooLong, heldTooMany, drainEnded, tooManyActive, tooManyPending, badTLSValue

    /// The words of the error log; nginx's where nginx has them, since people search for those.
    var words: StaticString {
        switch self {
        case .clientReset: "client reset the connection"
        case .clientClosed: "client prematurely closed connection"
        case .clientTimeout: "client timed out"
        case .clientBadBody: "client sent invalid chunked body"
        case .clientBodyTooLarge: "client intended to send too large body"
        case .sendTimeout: "client timed out while the response was sent"
        case .connectRefused: "connect() failed (111: Connection refused)"
        case .connectTimeout: "upstream timed out (110: Connection timed out)"
        case .upstreamReset: "recv() failed (104: Connection reset by peer)"
        case .upstreamClosed: "upstream prematurely closed connection"
        case .upstreamTimeout: "upstream timed out (110: Connection timed out)"
        case .upstreamSendTimeout: "upstream timed out (110: Connection timed out)"
        case .upstreamBadHead: "upstream sent invalid header"
        case .upstreamBadBody: "upstream sent invalid chunked response"
        case .upstreamHeadTooLarge: "upstream sent too big header"
        case .upstreamEndedEarly: "upstream prematurely closed connection"
        case .upstreamStatus: "upstream answered with a status that asks for the next peer"
        case .upstreamRefused: "upstream refused the stream"
        case .upstreamTLS: "SSL_do_handshake() failed"
        case .noLivePeer: "no live upstreams"
        case .peersBusy: "no live upstreams: every peer is at its max_conns"
        case .queueFull: "upstream queue is full"
        case .queuedTooLong: "upstream queue: the request has waited too long"
        case .tooManyActive: "circuit breaker: too many requests are active in upstream"
        case .tooManyPending: "circuit breaker: too many requests wait for a connection in upstream"
        case .hostNotFound: "no resolver defined to resolve the upstream's host"
        case .badProxyTarget: "invalid URL in proxy_pass"
        case .noDescriptors: "no file descriptors left for a connection to the upstream"
        case .noMemory: "the request needs more memory than one exchange may take"
        case .headTooLarge: "the head to send is larger than the limit"
        case .tooManyRedirects: "rewrite or internal redirection cycle"
        case .spoolFailed: "the temporary file of a body cannot be written or read"
        case .fileFailed: "the file cannot be read"
        case .shutdown: "the proxy is stopping"
        case .drainEnded: "the time of the upstream's drain is over"
        case .badTLSValue: "TLS to the upstream cannot be begun"
        case .heldTooLong: "the request has waited too long: its split is held"
        case .heldTooMany: "too many requests wait: their split is held"
        }
    }

    var level: LogLevel {
        switch self {
        case .clientReset, .clientClosed, .clientTimeout, .sendTimeout, .shutdown: .info
        case .noDescriptors, .spoolFailed, .fileFailed: .crit
        default: .error
        }
    }

    /// Whose side it is on.
    var blame: Blame {
        switch self {
        case .clientReset, .clientClosed, .clientTimeout, .clientBadBody, .clientBodyTooLarge, .sendTimeout: .nobody
        case .noDescriptors, .noMemory, .headTooLarge, .tooManyRedirects, .spoolFailed, .fileFailed, .shutdown, .badProxyTarget,
            .heldTooLong, .heldTooMany, .drainEnded, .tooManyActive, .tooManyPending, .badTLSValue:
            .proxy
        case .connectRefused, .connectTimeout, .upstreamReset, .upstreamClosed, .upstreamTimeout, .upstreamSendTimeout, .upstreamBadHead,
            .upstreamBadBody, .upstreamHeadTooLarge, .upstreamEndedEarly, .upstreamStatus, .upstreamRefused, .upstreamTLS, .noLivePeer, .peersBusy,
            .queueFull, .queuedTooLong, .hostNotFound:
            .upstream
        }
    }

    /// The status that a client sees when no other peer is tried and nothing has been sent to it.
    var status: UInt16 {
        switch self {
        case .clientReset, .clientClosed, .sendTimeout: 499
        case .clientTimeout: 408
        case .clientBadBody: 400
        case .clientBodyTooLarge: 413
        case .connectTimeout, .upstreamTimeout, .upstreamSendTimeout: 504
        case .noDescriptors, .shutdown, .heldTooLong, .heldTooMany, .drainEnded, .tooManyActive, .tooManyPending: 503
        case .noMemory, .headTooLarge, .tooManyRedirects, .spoolFailed, .fileFailed, .badProxyTarget, .badTLSValue: 500
        case .connectRefused, .upstreamReset, .upstreamClosed, .upstreamBadHead, .upstreamBadBody, .upstreamHeadTooLarge,
            .upstreamEndedEarly, .upstreamStatus, .upstreamRefused, .upstreamTLS, .noLivePeer, .peersBusy, .queueFull, .queuedTooLong,
            .hostNotFound:
            502
        }
    }

    /// The condition of `proxy_next_upstream` this is; nil: never another peer.
    var nextUpstream: NextUpstream? {
        switch self {
        case .connectRefused, .upstreamReset, .upstreamClosed, .upstreamRefused, .upstreamTLS: .error
        case .connectTimeout, .upstreamTimeout, .upstreamSendTimeout: .timeout
        case .upstreamBadHead, .upstreamHeadTooLarge: .invalidHeader
        default: nil
        }
    }
}

/// How an exchange ended, for the counters and the log. Every exchange ends in exactly one of these.
package enum Outcome: BitwiseCopyable {
    /// The whole answer is with the kernel.
    case completed
    /// The client went away first.
    case abortedByClient(Fault)
    /// The answer was cut after it had begun.
    case failed(Fault)
}
