// What goes out on HTTP/2 connections to upstreams: requests are handed to the library here, and its frames to the socket, once a turn.
// Called by HTTP1Client.swift, which composes the request, and at the end of the worker's turn.

import Bytes
import CLinux
import CNghttp2
import HTTPMessage

extension Worker {
    /// Hands the request in `out` to the session: its head, and what of the body stands behind it. False when the exchange has ended.
    func submitRequest(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>, _ stream: Ref<UpstreamStream>) -> Bool {
        let proxy = x.location.proxy
        let bytes = UnsafeMutableBufferPointer(start: out.start, count: out.count)
        var span = bytes.mutableSpan
        var fields = fieldScratch.mutableSpan
        var block = HTTP2RequestBlock()
        if let reason = http2RequestBlock(&span, keepsHost: proxy.keepsHostField, fields: &fields, block: &block) {
            logExchange(.error, "the request cannot be sent over HTTP/2:", x, detail: ByteView(reason.word))
            fail(x, .headTooLarge)
            return false
        }
        guard let session = stream.session else {
            streamCut(x, stream)
            return false
        }
        let head = out.view
        let list = upstreamSessions.fields
        var count = 0
        func add(_ name: ByteView, _ value: ByteView) {
            list[count] = nghttp2_nv(
                name: UnsafeMutablePointer(mutating: name.start), value: UnsafeMutablePointer(mutating: value.start), namelen: name.count,
                valuelen: value.count, flags: 0)
            count += 1
        }
        add(ByteView(":method"), slice(block.method, head))
        add(ByteView(":scheme"), x.proxyTarget.usesTLS ? ByteView("https") : ByteView("http"))
        add(ByteView(":path"), slice(block.path, head))
        if !block.authority.isEmpty { add(ByteView(":authority"), slice(block.authority, head)) }
        for i in 0..<block.fieldCount { add(slice(fieldScratch[i].name, head), slice(fieldScratch[i].value, head)) }
        let early = head.slice(block.headBytes)
        let hasBody = !early.isEmpty || x.streamsBody || (sendsBody(x) && (x.bodyBuffered > 0 || x.bodySpool.written > 0))
        var source = nghttp2_data_provider(source: nghttp2_data_source(ptr: stream.handle.userData), read_callback: readOutput)
        let id = withUnsafePointer(to: &source) {
            nghttp2_submit_request(session.native, nil, list.baseAddress, count, hasBody ? $0 : nil, stream.handle.userData)
        }
        if id < 0 {
            // No stream identifiers are left, or no memory: the connection is good for no other request.
            session.isLeaving = true
            leavePool(session.connection)
            setFault(stream, .refused)
            streamCut(x, stream)
            return false
        }
        stream.id = id
        stream.headBytesMax = max(proxy.bufferBytes, 4096)
        stream.isOutputComplete = !hasBody
        markDirty(session)
        if !early.isEmpty { _ = write(&u.value.stream, early) }
        return true
    }

    /// Sends what the sessions have to send, each in as few calls as it takes.
    func sendUpstreamSessions() {
        var left = upstreamSessions.dirty.count
        while left > 0, let word = upstreamSessions.dirty.pop() {
            left -= 1
            let handle = Handle(index: UInt32(truncatingIfNeeded: word & 0x0FFF_FFFF), generation: UInt32(word >> 32))
            guard let u = upstreams.find(handle), let session = u.session else { continue }
            session.isDirty = false
            if u.phase == .busy || u.phase == .idle { send(u, session) }
        }
        tellStreams()
    }

    private func send(_ u: Ref<UpstreamConnection>, _ session: Ref<UpstreamSession>) {
        if u.stream.hasPending {
            if case .failed(let errno) = flush(&u.value.stream) { return loseSession(session, .connectionReset, code: UInt32(errno)) }
        }
        out.value.reset()
        var sent = 0
        upstreamSessions.active = session
        // What the kernel does not take stays with the library, where it is bounded by the windows.
        while !u.stream.hasPending {
            if sent > Limits.bytesPerTurn {
                markDirty(session)
                break
            }
            var bytes: UnsafePointer<UInt8>?
            let n = nghttp2_session_mem_send(session.native, &bytes)
            if n < 0 {
                upstreamSessions.active = nil
                return loseSession(session, .protocolError)
            }
            if n == 0 { break }
            sent += n
            guard let bytes else { break }
            if out.room < n, !sendCollected(u) { break }
            if out.room < n { _ = write(&u.value.stream, ByteView(bytes, n)) } else { out.value.append(ByteView(bytes, n)) }
        }
        upstreamSessions.active = nil
        if !sendCollected(u) { return loseSession(session, .connectionReset) }
        if nghttp2_session_want_read(session.native) == 0, nghttp2_session_want_write(session.native) == 0 {
            loseSession(session, .protocolError)
        }
    }

    private func sendCollected(_ u: Ref<UpstreamConnection>) -> Bool {
        if out.count == 0 { return !u.stream.isBroken }
        let result = write(&u.value.stream, out.view)
        out.value.reset()
        if case .failed = result { return false }
        return true
    }

    /// The library asks for the next DATA of a stream. Answers with the count, or why there is none.
    fileprivate func takeOutput(
        _ stream: Ref<UpstreamStream>, _ target: UnsafeMutablePointer<UInt8>, _ most: Int, _ flags: inout UInt32
    ) -> Int {
        let u = stream.owner
        let waiting = u.stream.pendingView
        let n = min(most, waiting.count)
        if n == 0, !stream.isOutputComplete {
            stream.isOutputDeferred = true
            return Int(NGHTTP2_ERR_DEFERRED.rawValue)
        }
        if n > 0 {
            target.update(from: waiting.start, count: n)
            u.value.stream.dropPending(n, pool: &buffers)
        }
        if !u.stream.hasPending {
            if stream.isOutputComplete { flags |= NGHTTP2_DATA_FLAG_EOF.rawValue }
            if n > 0 {
                stream.hasDrained = true
                addNews(stream)
            }
        }
        return n
    }

    // MARK: How a stream failed

    /// The stream of this exchange's request has ended too early: says why, and what follows.
    func streamCut(_ x: Ref<Exchange>, _ stream: Ref<UpstreamStream>) {
        let beforeHead = x.phase != .receiving
        let reading: StaticString =
            beforeHead ? "while reading response header from upstream" : "while reading upstream"
        func log(_ words: StaticString, errno: Int32 = 0, code: UInt32? = nil) {
            let w = errorText
            w.value.reset()
            w.value.append(words)
            if let code { w.value.append(decimal: UInt64(code)) }
            if let reason = reason(for: stream) {
                w.value.append(": ")
                w.value.append(reason)
            }
            w.value.append(" ")
            w.value.append(reading)
            let text = x.value.region.copy(w.view, from: &buffers, limit: Limits.regionBytesMax) ?? .empty
            logExchange(.error, "", x, more: text, errno: errno)
        }
        let fault: Fault
        switch stream.fault {
        case .none, .connectFailed, .badTLSValue, .handshakeFailed, .connectionClosed:
            log("upstream prematurely closed connection")
            fault = beforeHead ? .upstreamClosed : .upstreamEndedEarly
        case .connectionReset:
            log("recv() failed", errno: Int32(stream.code))
            fault = .upstreamReset
        case .protocolError, .badHead, .badTrailers:
            log("upstream sent invalid http2 frames")
            fault = beforeHead ? .upstreamBadHead : .upstreamBadBody
        case .headTooLarge:
            log("upstream sent too big header")
            fault = .upstreamHeadTooLarge
        case .reset:
            log("upstream rejected request with error ", code: stream.code)
            fault = beforeHead ? .upstreamBadHead : .upstreamEndedEarly
        case .goneAway:
            log("upstream sent goaway with error ", code: stream.code)
            fault = beforeHead ? .upstreamBadHead : .upstreamEndedEarly
        case .refused:
            log("upstream refused the stream")
            // It has not looked at the request, so the request counts as not sent.
            x.requestSent = x.bodySent > 0
            fault = beforeHead ? .upstreamRefused : .upstreamEndedEarly
        }
        upstreamFailed(x, fault, isLogged: true)
    }

    private func reason(for stream: Ref<UpstreamStream>) -> ByteView? {
        switch stream.fault {
        case .protocolError, .badHead, .badTrailers: upstreamSessions.reason.isEmpty ? nil : upstreamSessions.reason
        default: nil
        }
    }
}

extension UpstreamSessions {
    func keepReason(_ text: ByteView) {
        reasonText.value.reset()
        reasonText.value.append(text.slice(0, reasonText.value.capacity))
        reason = reasonText.value.view
    }

    func keepReason(_ text: UnsafePointer<CChar>) {
        keepReason(ByteView(cString: text))
    }
}

/// The body of requests, as the library asks for it.
private let readOutput: nghttp2_data_source_read_callback = { _, _, target, most, flags, source, user in
    guard let user, let target, let flags, let data = source?.pointee.ptr else { return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
    return Unmanaged<Worker>.fromOpaque(user)._withUnsafeGuaranteedRef { worker in
        guard let stream = worker.upstreamSessions.streams.find(Handle(userData: data)) else {
            return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
        }
        return worker.takeOutput(stream, target, most, &flags.pointee)
    }
}
