// From a parsed head to an exchange on its way: memory, framing, host, server, path. Everything a request is refused for
// before it has a location is decided here.
// Called by the client session; goes on to Routing. It must not touch an upstream.

import Bytes
import HTTPMessage

/// Why a head is refused before it is a request.
enum HeadRefusal {
    case headTooLarge, lineTooLarge, fieldsTooLarge, timeout
    case bad(BadHead)

    var status: UInt16 {
        switch self {
        case .headTooLarge, .fieldsTooLarge: 494
        case .lineTooLarge: 414
        case .timeout: 408
        case .bad(let reason): reason.status
        }
    }

    var words: StaticString {
        switch self {
        case .headTooLarge, .fieldsTooLarge: "client sent too large header fields while reading client request headers"
        case .lineTooLarge: "client sent too long URI while reading client request line"
        case .timeout: "client timed out while reading client request headers"
        case .bad(let reason): reason.word
        }
    }
}

extension Worker {
    /// `bytes` are the head's, in the client's input.
    func beginExchange(_ c: Ref<ClientConnection>, _ head: Ref<RequestHead>, _ bytes: ByteView) {
        guard let x = makeExchange(c) else { return closeClient(c) }
        x.head = head.value
        guard keepHead(x, bytes, fieldCount: head.fields.fieldCount) else { return answerFault(x, .noMemory) }
        x.method = head.method
        x.requestLine = x.bytes(head.lineRange)
        x.target = x.bytes(head.target)
        var framing = BodyFraming.none
        // The blank exchange has no body.
        if head.fields.contentLengthIndex >= 0 || head.fields.transferEncodingIndex >= 0 {
            framing = requestFraming(head.value, x.fields.buffer.span, x.headBytes.buffer.span)
            x.body = BodyReader(framing)
        }
        if c.stream.carrier == .http2 { framing = streamBody(x, framing) }
        if let refusal = refusal(of: x, framing) {
            x.keepsAlive = false
            x.body = BodyReader()
            logExchange(.info, refusal.words, x)
            chooseServer(x)
            return answerError(x, refusal.status)
        }
        chooseServer(x)
        if c.stream.carrier == .http2, !isHTTP2Welcome(x) { return }
        if head.method == .connect || head.method == .trace {
            logExchange(.info, head.method == .connect ? "client sent CONNECT method" : "client sent TRACE method", x)
            return answerError(x, 405)
        }
        guard setPath(x) else {
            logExchange(.info, "client sent invalid request target", x)
            x.keepsAlive = false
            return answerError(x, 400)
        }
        decideKeepAlive(x)
        if c.expectsTLS, !isAllowedByTLS(x) { return }
        if x.server.settings.isGated { takeRealAddress(x, x.server.settings) }
        runServerRewrite(x)
    }

    /// Goes the whole way again from the request as it came, after `pinned` was changed.
    func routeAnew(_ x: Ref<Exchange>) {
        forgetRoute(x)
        if let r = x.inner {
            // The server it had is one of the snapshot before.
            chooseServer(x)
            return routeInner(x, r)
        }
        if !x.hasHost { x.host = .empty }
        x.arguments = .empty
        x.isTargetCurrent = true
        x.isInternal = false
        x.isRewritten = false
        x.hasLocationsPath = true
        x.redirectsLeft = Limits.internalRedirectsMax
        x.method = x.head.method
        x.methodReplaced = false
        x.inErrorPage = false
        x.errorStatus = 0
        x.blame = .nobody
        x.keptLines = .empty
        x.accelLines = .empty
        x.accelCacheLines = .empty
        x.accelType = .empty
        x.hasOwnRate = false
        x.paceRate = 0
        chooseServer(x)
        guard setPath(x) else { return answerError(x, 400) }
        decideKeepAlive(x)
        if x.server.settings.isGated { takeRealAddress(x, x.server.settings) }
        runServerRewrite(x)
    }

    /// A head that is no request: logged and answered like one as far as it goes, then the connection closes.
    func refuseHead(_ c: Ref<ClientConnection>, _ refusal: HeadRefusal) {
        guard let x = makeExchange(c) else { return closeClient(c) }
        var end = c.input.firstIndex(of: 0x0A) ?? c.input.count
        if end > 0, c.input[end - 1] == 0x0D { end -= 1 }
        _ = keepHead(x, c.input.slice(0, min(end, 4096)), fieldCount: 0)
        x.requestLine = x.headBytes
        x.head.versionMinor = 1
        c.input = .empty
        logExchange(.info, refusal.words, x)
        if case .timeout = refusal {
            x.status = 408
            return finish(x, .abortedByClient(.clientTimeout))
        }
        answerError(x, refusal.status)
    }

    @inline(__always)
    private func makeExchange(_ c: Ref<ClientConnection>) -> Ref<Exchange>? {
        adoptIfPublished()
        guard let server = c.defaultServer(in: self),
            let (x, handle) = exchanges.insert(copying: blankExchange)
        else { return nil }
        x.handle = handle
        x.client = c
        x.pinned = current
        x.server = server
        x.location = server.settings
        x.startedMs = nowMs
        current.pins += 1
        current.account.add(.started)
        current.account.add(.inFlight)
        counts.requests += 1
        c.exchange = x
        c.phase = .exchange
        c.requests += 1
        x.isPipelined = c.hasNextRequest
        c.hasNextRequest = false
        timers.cancel(c.timer)
        return x
    }

    /// The head and its field table move into memory of the exchange: retries, variables and the log need them to the end.
    @inline(__always)
    private func keepHead(_ x: Ref<Exchange>, _ bytes: ByteView, fieldCount: Int) -> Bool {
        let tableBytes = fieldCount &* MemoryLayout<HeaderField>.stride
        guard let memory = x.value.region.allocate(tableBytes &+ bytes.count, from: &buffers, limit: Limits.regionBytesMax)
        else { return false }
        x.fields = Frozen(copying: fieldScratch, count: fieldCount, into: memory)
        let text = memory + tableBytes
        UnsafeMutableRawPointer(text).copyMemory(from: bytes.start, byteCount: bytes.count)
        x.headBytes = ByteView(text, bytes.count)
        return true
    }

    @inline(__always)
    private func refusal(of x: Ref<Exchange>, _ framing: BodyFraming) -> HeadRefusal? {
        if case .bad(let reason) = framing { return .bad(reason) }
        if x.head.fields.isHostRepeated { return .bad(.repeatedHost) }
        if x.head.fields.isSingleFieldRepeated { return .bad(.repeatedField) }
        if x.head.fields.hostIndex < 0, x.head.versionMinor > 0 { return .bad(.missingHost) }
        if !x.head.authority.isEmpty, x.head.method != .connect {
            // The authority of an absolute target stands for the Host field (RFC 9112 3.2.2).
            if !setHost(x, x.bytes(x.head.authority)) { return .bad(.badHost) }
            let index = x.head.fields.hostIndex
            if index >= 0, case .bad = validateHost(x.bytes(x.fields[index].value.value).buffer.span) {
                return .bad(.badHost)
            }
        } else if x.head.fields.hostIndex >= 0 {
            let value = x.bytes(x.fields[x.head.fields.hostIndex].value.value)
            if !setHost(x, value) { return .bad(.badHost) }
        }
        if Int(x.head.lineRange.count) + 2 > x.server.largeHeaderBytes { return .lineTooLarge }
        let fieldCount = x.client.stream.clientStream?.fieldCount ?? x.head.fields.fieldCount
        if fieldCount > x.server.maxHeaders { return .fieldsTooLarge }
        if x.head.headBytes > headBytesMax(x.server) { return .fieldsTooLarge }
        if x.head.headBytes > x.server.largeHeaderBytes {
            for i in 0..<x.head.fields.fieldCount {
                let f = x.fields[i].value
                if Int(f.name.count) + Int(f.value.count) + 4 > x.server.largeHeaderBytes { return .fieldsTooLarge }
            }
        }
        return nil
    }

    @inline(__always)
    private func setHost(_ x: Ref<Exchange>, _ value: ByteView) -> Bool {
        if lastHost.isSame(as: value) {
            x.hostPort = lastHost.port
            x.hasHost = true
            x.host = value.slice(0, lastHost.nameCount)
            return true
        }
        guard case .valid(let range, let port, let needsLowering) = validateHost(value.buffer.span) else { return false }
        let name = value.slice(Int(range.start), Int(range.count))
        x.hostPort = port ?? 0
        x.hasHost = true
        x.host = name
        if !needsLowering { lastHost.keep(value, nameCount: name.count, port: x.hostPort) }
        if needsLowering {
            scratchText.value.reset()
            scratchText.value.append(lowercasing: name)
            guard let copy = x.value.region.copy(scratchText.view, from: &buffers, limit: Limits.regionBytesMax) else { return false }
            x.host = copy
        }
        return true
    }

    /// By listening address and host; the address's default server when no name matches. A request without a host belongs to the
    /// server that is called "".
    @inline(__always)
    func chooseServer(_ x: Ref<Exchange>) {
        guard let listen = listeners[Int(x.client.listener)].settings else { return }
        var chosen = listen.defaultServer
        if !x.hasHost, x.client.expectsTLS, let found = serverOfHandshake(x.client, listen) {
            chosen = found
        } else if let found = listen.names.find(x.host) {
            chosen = found
        } else if !x.host.isEmpty {
            for i in 0..<listen.names.regexes.count {
                let name = listen.names.regexes[i]
                if matches(name.regex, x.host, for: x) {
                    chosen = name.server
                    break
                }
            }
        }
        x.server = x.root.servers[Int(chosen)]
        x.location = x.server.settings
        if !x.hasHost { x.host = x.server.name }
    }

    /// The decoded, normalised path. False when it leaves the root or cannot be decoded.
    @inline(__always)
    func setPath(_ x: Ref<Exchange>) -> Bool {
        let raw = x.bytes(x.head.path)
        if let query = x.head.query { x.arguments = x.bytes(query) }
        if x.head.isAsteriskForm { return false }
        if !x.head.isComplexPath {
            x.path = raw
            return true
        }
        if raw.isEmpty {
            x.path = ByteView("/")
            return true
        }
        guard let memory = x.value.region.allocate(raw.count + 1, from: &buffers, limit: Limits.regionBytesMax) else { return false }
        var output = UnsafeMutableBufferPointer(start: memory, count: raw.count + 1).mutableSpan
        guard let n = normalizePath(raw.buffer.span, mergeSlashes: x.server.mergeSlashes, into: &output) else { return false }
        x.path = ByteView(memory, n)
        return true
    }

    @inline(__always)
    private func decideKeepAlive(_ x: Ref<Exchange>) {
        x.keepsAlive = !x.head.fields.wantsClose && (x.head.versionMinor > 0 || x.head.fields.wantsKeepAlive)
    }

    /// What the location has to say about the connection once it is known.
    func limitKeepAlive(_ x: Ref<Exchange>) {
        let settings = x.location
        if !x.keepsAlive { return }
        if settings.keepaliveTimeoutMs == 0 || x.client.requests >= settings.keepaliveRequests
            || nowMs - x.client.acceptedMs > settings.keepaliveTimeMs || isStopping
        {
            x.keepsAlive = false
        } else if settings.keepaliveDisabledForMSIE6 && x.method == .post || settings.keepaliveDisabledForSafari,
            let agent = requestField(.userAgent, x)
        {
            switch OldBrowser(agent) {
            case .msie6: if settings.keepaliveDisabledForMSIE6, x.method == .post { x.keepsAlive = false }
            case .safari: if settings.keepaliveDisabledForSafari { x.keepsAlive = false }
            case nil: break
            }
        }
    }
}

/// Browsers whose keepalive connections `keepalive_disable` is there for, recognised by nginx's rules.
enum OldBrowser {
    /// Internet Explorer 4 to 6 without the security update: its POST fails on a kept connection.
    case msie6
    /// Safari on macOS, and those that call themselves so.
    case safari

    init?(_ agent: ByteView) {
        func names(_ text: StaticString) -> Bool { find(ByteView(text), in: agent) != nil }
        if names("Opera") { return nil }
        if let at = find(ByteView("MSIE "), in: agent) {
            let version = agent.slice(at + 5)
            guard version.count > 2, version[1] == 0x2E else { return nil }
            guard version[0] == 0x34 || version[0] == 0x35 || version[0] == 0x36 && !names("SV1") else { return nil }
            self = .msie6
        } else {
            if names("Gecko/") || names("Chrome/") || !names("Safari/") || !names("Mac OS X") { return nil }
            self = .safari
        }
    }
}

/// Where `needle` begins in `text`.
func find(_ needle: ByteView, in text: ByteView) -> Int? {
    if needle.count > text.count { return nil }
    return (0...(text.count - needle.count)).first { text.slice($0, needle.count) == needle }
}
