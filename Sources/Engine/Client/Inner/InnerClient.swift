// Inner requests as a client: how one begins with its parent's head, where its answer goes, and how it ends.
// Called by what makes inner requests (Routing/Mirror.swift and others) and, through Transport/CarriedStream.swift, by their exchanges.

import Bytes
import CLinux
import HTTPMessage

/// What an inner request is to be.
struct InnerPlan {
    var receiver: InnerReceiver
    var path: ByteView
    var arguments: ByteView
    /// With the parent's method, not GET.
    var keepsMethod = false
    /// HEAD is answered without a body.
    var passesBody = false
}

extension Worker {
    // MARK: Its beginning

    /// A request within `parent`, to the same server and under the same snapshot. It begins when what is under way has been done. Nil: a
    /// limit is reached.
    func beginInner(_ parent: Ref<Exchange>, _ plan: InnerPlan) -> Ref<InnerRequest>? {
        let depth = (parent.inner?.depth ?? 0) + 1
        var outermost = parent
        while let around = outermost.inner?.parent { outermost = around }
        if depth > Limits.innerDepthMax || outermost.innerCount >= Limits.innerPerRequest { return nil }
        guard let (c, clientHandle) = clients.insert(ClientConnection()) else { return nil }
        guard let (r, handle) = inner.slab.insert(InnerRequest(plan.receiver, client: c)) else {
            clients.remove(clientHandle)
            return nil
        }
        guard let (x, exchangeHandle) = exchanges.insert(copying: blankExchange) else {
            inner.slab.remove(handle)
            clients.remove(clientHandle)
            return nil
        }
        clientStreams += 1
        outermost.innerCount += 1
        r.handle = handle
        r.depth = depth
        x.handle = exchangeHandle
        makeClient(c, clientHandle, r, parent.client)
        x.client = c
        x.inner = r
        c.exchange = x
        c.phase = .exchange
        takeOver(x, from: parent)
        if plan.receiver == .nobody {
            inner.mirrors += 1
        } else {
            r.parent = parent
            r.next = parent.firstInner
            parent.firstInner = r
        }
        guard keepRequest(x, r, of: parent, plan) else {
            finish(x, .failed(.noMemory))
            return nil
        }
        post(x)
        return r
    }

    private func makeClient(_ c: Ref<ClientConnection>, _ handle: Handle, _ r: Ref<InnerRequest>, _ outer: Ref<ClientConnection>) {
        c.handle = handle
        c.stream.carrier = .inner
        c.stream.inner = r
        c.stream.isWritable = true
        c.listener = outer.listener
        c.number = outer.number
        c.acceptedMs = outer.acceptedMs
        c.address = outer.address
        c.proxied = outer.proxied
        c.expectsTLS = outer.stream.tls != nil || outer.stream.carrier == .inner && outer.expectsTLS
        c.requests = outer.requests
        c.timer = timers.make(owner: EventOwner.word(.client, handle))
        // The connection may end before a request that nobody waits for.
        if r.receiver != .nobody { c.stream.tls = outer.stream.tls }
        if let around = outer.stream.inner {
            r.connection = around.connection
            r.isOverHTTP2 = around.isOverHTTP2
        } else if let stream = outer.stream.clientStream {
            r.connection = stream.session.connection.handle
            r.isOverHTTP2 = true
        } else {
            r.connection = outer.handle
        }
    }

    /// What of the exchange around it is its own too.
    private func takeOver(_ x: Ref<Exchange>, from parent: Ref<Exchange>) {
        if parent.requestID == (0, 0) { parent.requestID = (kernel.random(), kernel.random()) }
        x.pinned = parent.pinned
        x.pinned.pins += 1
        x.server = parent.server
        x.location = parent.server.settings
        x.startedMs = nowMs
        x.head = parent.head
        x.head.fields.expectsContinue = false
        x.requestID = parent.requestID
        x.hostPort = parent.hostPort
        x.hasHost = parent.hasHost
        x.isPipelined = parent.isPipelined
        x.requestLimitStatus = parent.requestLimitStatus
        x.connectionLimitStatus = parent.connectionLimitStatus
        x.isInternal = true
        x.isTargetCurrent = false
        counts.inner += 1
        x.pinned.account.add(.inner)
    }

    /// Copies what the request says, so that it needs nothing of the one around it. False when there is no memory.
    private func keepRequest(_ x: Ref<Exchange>, _ r: Ref<InnerRequest>, of parent: Ref<Exchange>, _ plan: InnerPlan) -> Bool {
        let limit = Limits.regionBytesMax
        let tableBytes = parent.fields.count * MemoryLayout<HeaderField>.stride
        guard let memory = x.value.region.allocate(tableBytes + parent.headBytes.count, from: &buffers, limit: limit),
            let host = x.value.region.copy(parent.host, from: &buffers, limit: limit),
            let path = x.value.region.copy(plan.path, from: &buffers, limit: limit),
            let arguments = x.value.region.copy(plan.arguments, from: &buffers, limit: limit)
        else { return false }
        x.fields = Frozen(copying: UnsafeMutableBufferPointer(mutating: parent.fields.buffer), count: parent.fields.count, into: memory)
        (memory + tableBytes).update(from: parent.headBytes.start, count: parent.headBytes.count)
        x.headBytes = ByteView(memory + tableBytes, parent.headBytes.count)
        x.requestLine = x.bytes(x.head.lineRange)
        x.target = x.bytes(x.head.target)
        x.host = host
        r.path = path
        r.arguments = arguments
        x.method = plan.keepsMethod ? parent.method : .get
        x.methodReplaced = !plan.keepsMethod || parent.methodReplaced
        return copyValues(x, parent) && (!plan.passesBody || copyBody(x, r, parent))
    }

    /// Values of variables that are known already. nginx has one set of them for a request and all that is made within it.
    private func copyValues(_ x: Ref<Exchange>, _ parent: Ref<Exchange>) -> Bool {
        for i in 0..<parent.values.count where parent.values[i].isKnown {
            guard let slot = slot(x, Int32(i)),
                let copy = x.value.region.copy(parent.values[i].value.value, from: &buffers, limit: Limits.regionBytesMax)
            else { return false }
            slot.value = VariableSlot(value: copy, isKnown: true, isFound: parent.values[i].isFound)
        }
        return true
    }

    /// The body, where it has been read whole: a copy of what is in memory, another descriptor of what is in a file.
    private func copyBody(_ x: Ref<Exchange>, _ r: Ref<InnerRequest>, _ parent: Ref<Exchange>) -> Bool {
        if !parent.body.isComplete || parent.streamsBody { return true }
        x.body = parent.body
        if parent.bodySpool.isOpen {
            let fd = kernel.duplicate(parent.bodySpool.file)
            if fd < 0 { return false }
            x.bodySpool = parent.bodySpool
            x.bodySpool.file = fd
            x.bodySpool.taken = 0
        } else if parent.bodyBuffered > 0 {
            x.bodyBuffer = buffers.take(parent.bodyBuffered)
            x.bodyBuffer.start.update(from: parent.bodyBuffer.start, count: parent.bodyBuffered)
            x.bodyBuffered = parent.bodyBuffered
            r.bodyBytes = x.bodyBuffer.capacity
            if r.receiver == .nobody { inner.mirrorBytes += r.bodyBytes }
        }
        return true
    }

    /// Its first turn, or its first under another snapshot.
    func routeInner(_ x: Ref<Exchange>, _ r: Ref<InnerRequest>) {
        r.isBegun = true
        if r.variant >= 0 { return routeShadow(x) }
        x.path = r.path
        x.arguments = r.arguments
        x.isInternal = true
        x.isTargetCurrent = false
        runServerRewrite(x)
    }

    /// The way of the client's request, from its target on. What limits requests has counted it already.
    private func routeShadow(_ x: Ref<Exchange>) {
        x.isInternal = false
        x.isRewritten = false
        x.isTargetCurrent = true
        x.requestLimitStatus = .passed
        x.connectionLimitStatus = .passed
        x.arguments = .empty
        guard setPath(x) else { return answerError(x, 400) }
        runServerRewrite(x)
    }

    // MARK: Its answer

    /// Takes the head off the front of `bytes` if it has not gone yet. What is left is body.
    func takeInnerHead(_ x: Ref<Exchange>, _ bytes: ByteView) -> ByteView {
        guard let r = x.inner, r.answerHeadCount > 0 else { return bytes }
        let count = r.answerHeadCount
        r.answerHeadCount = 0
        r.status = x.status
        r.bodyMax = x.location.innerBodyBytes
        if r.receiver == .status, x.status == 401, let parent = r.parent { keepAuthenticate(bytes.slice(0, count), for: parent) }
        return bytes.slice(count)
    }

    func writeInner(_ s: inout ByteStream, _ bytes: ByteView) -> WriteResult {
        guard let r = s.inner else { return .failed(ECONNRESET) }
        switch r.receiver {
        // What nobody waits for is not read for ever: it may be events.
        case .nobody: return nowMs - (r.client.exchange?.startedMs ?? nowMs) < Limits.mirrorAnswerMsMax ? .sent : .failed(ECONNRESET)
        case .status: return .sent
        case .kept: return keepAnswer(r, bytes) ? .sent : .failed(ENOBUFS)
        case .included:
            if !s.queue(bytes, pool: &buffers) { return .failed(ENOBUFS) }
            innerMoved(r)
            return .queued
        }
    }

    private func keepAnswer(_ r: Ref<InnerRequest>, _ bytes: ByteView) -> Bool {
        let count = r.bodyCount + bytes.count
        if count > r.bodyMax {
            r.isTooLarge = true
            return false
        }
        if count > r.body.capacity {
            let larger = buffers.take(count)
            if r.bodyCount > 0 { larger.start.update(from: r.body.start, count: r.bodyCount) }
            buffers.give(r.body)
            r.body = larger
        }
        (r.body.start + r.bodyCount).update(from: bytes.start, count: bytes.count)
        r.bodyCount = count
        return true
    }

    /// The exchange around it has something to look at.
    private func innerMoved(_ r: Ref<InnerRequest>) { if let parent = r.parent { post(parent) } }

    // MARK: Its end

    /// The exchange of an inner request is over; what its variables are can still be asked.
    func innerEnded(_ x: Ref<Exchange>, _ r: Ref<InnerRequest>, _ outcome: Outcome) {
        r.isOver = true
        if case .completed = outcome { r.isWhole = true }
        r.status = x.status
        guard let parent = r.parent else { return }
        // After a reload while it was held its variables are others.
        r.isMoved = !x.root.hasRoutes(of: parent.root)
        if !r.isMoved {
            returnValues(x, to: parent)
            if r.receiver == .status { permissionCame(x, for: parent) }
        }
        post(parent)
    }

    /// Values that the inner request has changed or found out are those of the request around it.
    private func returnValues(_ x: Ref<Exchange>, to parent: Ref<Exchange>) {
        for i in 0..<x.values.count where x.values[i].isKnown {
            guard let slot = slot(parent, Int32(i)) else { return }
            if slot.isKnown, slot.isFound == x.values[i].isFound, slot.value.value == x.values[i].value.value { continue }
            guard let copy = parent.value.region.copy(x.values[i].value.value, from: &buffers, limit: Limits.regionBytesMax) else { return }
            slot.value = VariableSlot(value: copy, isKnown: true, isFound: x.values[i].isFound)
        }
    }

    /// Its exchange is gone: so is its client, and, where nobody waits for it, all of it.
    func endInnerClient(_ c: Ref<ClientConnection>) {
        let r = c.stream.inner
        closeClient(c)
        if let r, r.parent == nil { freeInner(r) }
    }

    /// What was one of `clients` for an inner request's sake is being closed.
    func closeInnerStream(_ s: inout ByteStream) {
        clientStreams -= 1
        s.inner = nil
    }

    /// Nobody asks for it any more.
    func freeInner(_ r: Ref<InnerRequest>) {
        if r.receiver == .nobody {
            inner.mirrors -= 1
            inner.mirrorBytes -= r.bodyBytes
        }
        buffers.give(r.body)
        inner.slab.remove(r.handle)
    }

    /// The exchange is over: so is all that was made for it and is not there for its own sake.
    func dropInner(of x: Ref<Exchange>) {
        while let r = x.firstInner {
            x.firstInner = r.next
            r.parent = nil
            guard !r.isOver else {
                freeInner(r)
                continue
            }
            r.client.stream.isBroken = true
            // It frees itself.
            if let its = r.client.exchange { clientGone(its, .clientClosed) }
        }
    }

    /// The exchange has what it wanted of one of its inner requests that are over.
    func release(_ r: Ref<InnerRequest>, of x: Ref<Exchange>) {
        var place = x.firstInner
        if place == r { x.firstInner = r.next }
        while let p = place {
            if p.next == r { p.next = r.next }
            place = p.next
        }
        r.parent = nil
        freeInner(r)
    }

    // MARK: For variables

    /// Whether the client behind the exchange speaks HTTP/2.
    func isOverHTTP2(_ c: Ref<ClientConnection>) -> Bool { c.stream.carrier == .http2 || c.stream.inner?.isOverHTTP2 ?? false }
}
