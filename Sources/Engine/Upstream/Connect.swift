// From a location that proxies to a connection that can take the request: target, peer, idle or fresh connection.
// Called when the request's body is ready (or streams) and by Retry.swift. Peers are chosen by Balancing, never here.

import Balancing
import Bytes
import CLinux
import HTTPMessage

extension Worker {
    func beginProxying(_ x: Ref<Exchange>) {
        guard resolveTarget(x) else { return }
        if beginBodyRead(x) { connect(x) }
    }

    /// Fixes the upstream (or computed address) and the URI part. False when the exchange has been answered.
    @inline(__always)
    private func resolveTarget(_ x: Ref<Exchange>) -> Bool {
        let proxy = x.location.proxy
        if x.firstTryMs >= 0 {
            // Not the exchange's first target.
            endRetry(x)
            x.proxyTarget = ProxyTargetState()
            x.tried = TriedPeers()
        }
        x.proxyTarget.uri = proxy.uri
        x.proxyTarget.hasURI = proxy.hasURI
        x.proxyTarget.hostText = proxy.hostText
        x.proxyTarget.portText = proxy.portText
        x.proxyTarget.usesTLS = proxy.usesTLS
        x.firstTryMs = nowMs
        switch proxy.target {
        case .none:
            answerError(x, 404)
            return false
        case .named(let slot): if !follow(x, x.root.targets[Int(slot)].value) { return false }
        case .computed(let template):
            if !computeTarget(x, expand(template, for: x, keep: true)) { return false }
        }
        let most = proxy.nextUpstreamTries
        let natural = x.proxyTarget.pool?.balancer.pointee.triesMax ?? 1
        x.triesLeft = min(most > 0 ? min(most, natural) : natural, Limits.triesMax)
        return true
    }

    /// Where a name leads: to an upstream, or to the one that a split chooses. False when the exchange has been answered.
    @inline(__always)
    private func follow(_ x: Ref<Exchange>, _ target: Target) -> Bool {
        if !target.isSplit {
            x.proxyTarget.pool = x.pinned.pools[target.index].value
            return true
        }
        return chooseVariant(x, target.index)
    }

    /// Takes `http://host[:port][/uri]` apart, or `https://...`: a known upstream by name, else an address in digits.
    private func computeTarget(_ x: Ref<Exchange>, _ url: ByteView) -> Bool {
        let isGRPC = x.location.proxy.isGRPC
        let schemeBytes: Int
        if url.count > 7, url.slice(0, 7).equalsIgnoringCase(isGRPC ? ByteView("grpc://") : ByteView("http://")) {
            schemeBytes = 7
        } else if url.count > 8, url.slice(0, 8).equalsIgnoringCase(isGRPC ? ByteView("grpcs://") : ByteView("https://")), x.location.proxy.tls != nil {
            schemeBytes = 8
        } else if isGRPC {
            schemeBytes = 0
        } else {
            logExchange(.error, "invalid URL prefix in", x, detail: url)
            answerError(x, 500)
            return false
        }
        x.proxyTarget.usesTLS = schemeBytes == 8
        let rest = url.slice(schemeBytes)
        let isUnix = rest.hasPrefix(ByteView("unix:"))
        var end = 0
        if isUnix {
            end = rest.firstIndex(of: 0x3A, from: 5) ?? rest.count
        } else {
            while end < rest.count, rest[end] != 0x2F, rest[end] != 0x3F { end += 1 }
        }
        let authority = rest.slice(0, end)
        var uri = rest.slice(end)
        if isUnix { uri = uri.slice(1) }
        if !uri.isEmpty, !isGRPC {
            x.proxyTarget.uri = uri
            x.proxyTarget.hasURI = true
        }
        return findTarget(x, authority, isUnix: isUnix)
    }

    private func findTarget(_ x: Ref<Exchange>, _ authority: ByteView, isUnix: Bool) -> Bool {
        let standard = x.proxyTarget.usesTLS ? ByteView("443") : ByteView("80")
        x.proxyTarget.hostText = isUnix ? ByteView("localhost") : authority
        x.proxyTarget.portText = isUnix ? .empty : standard
        var hasPort = isUnix
        if !isUnix, let colon = authority.lastIndex(of: 0x3A), !authority.hasSuffix(ByteView("]")) {
            hasPort = true
            x.proxyTarget.portText = authority.slice(colon + 1)
            if x.proxyTarget.portText == standard, !x.location.proxy.isGRPC { x.proxyTarget.hostText = authority.slice(0, colon) }
        }
        if let known = knownTarget(x, authority, hasPort: hasPort) { return follow(x, known) }
        if !hasPort, x.location.proxy.isGRPC {
            logExchange(.error, "no port in upstream", x, detail: authority)
            answerError(x, 500)
            return false
        }
        guard let address = numericAddress(authority, x, defaultPort: x.proxyTarget.usesTLS ? 443 : 80) else {
            logExchange(.error, Fault.hostNotFound.words, x, detail: authority)
            answerFault(x, .hostNotFound)
            return false
        }
        x.proxyTarget.address = address
        return true
    }

    /// An upstream or a split of that name; a host that another `proxy_pass` names only with the same port.
    private func knownTarget(_ x: Ref<Exchange>, _ authority: ByteView, hasPort: Bool) -> Target? {
        let code = x.root.targetNames.find(authority)
        guard x.proxyTarget.usesTLS, !hasPort else { return code.map { Target(code: $0) } }
        if let target = code.map({ Target(code: $0) }), target.isSplit || !x.pinned.pools[target.index].settings.isImplicit { return target }
        let withPort = joined2(authority, ByteView(":443"), x)
        return x.root.targetNames.find(withPort).map { Target(code: $0) }
    }

    // MARK: Connecting

    func connect(_ x: Ref<Exchange>) {
        x.requestSent = false
        x.requestHeadSent = false
        x.requestWhole = false
        x.bodySent = 0
        // What an earlier try left of a head is nobody's, and its buffer had that location's size.
        dropHeadBuffer(x)
        x.interimResponses = 0
        x.tryStartedMs = nowMs
        x.reusedConnection = false
        if let row = x.proxyTarget.row { observeStart(x, row) }
        if x.proxyTarget.usesTLS, x.proxyTarget.tlsIdentity.isEmpty, !prepareTLS(x) { return }
        let pool = x.proxyTarget.pool
        if let pool {
            if !x.retriesSamePeer, !pickPeer(x, pool) { return }
            x.proxyTarget.address = pool.settings.peers[Int(x.proxyTarget.peer)].address
        }
        let address = x.proxyTarget.address
        beginTry(x, address.text)
        let isShared = x.location.proxy.sendsProxyHeader == .none
        if x.location.proxy.speaksHTTP2 { return connectOverHTTP2(x, isShared ? pool : nil) }
        if let pool, isShared, !x.retriesSamePeer, let idle = takeIdleConnection(x, pool) {
            x.reusedConnection = true
            attach(idle, to: x)
            x.currentTry?.connectMs = 0
            return sendRequest(x, idle)
        }
        x.retriesSamePeer = false
        if let pool, pool.isGuarded, pool.settings.limits.pendingMax != .max, !becomesPending(x, pool) { return }
        open(x, address)
    }

    @inline(__always)
    private func pickPeer(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) -> Bool {
        let settings = pool.settings
        if pool.isGuarded, !passesGuards(x, pool) { return false }
        let context = PickContext(nowMs: nowMs, randomNumber: settings.algorithm.needsRandom ? kernel.random() : 0)
        if settings.isSticky, pickSticky(x, pool, context) { return true }
        let key = balancingKey(x, settings)
        switch pool.balancer.pointee.pick(context, key: key.buffer.span, tried: &x.value.tried) {
        case .peer(let peer, _):
            x.proxyTarget.peer = peer
            x.holdsPeer = true
            if pool.balancer.pointee.isPanicking != pool.saidPanic { sayPanic(x, pool) }
            return true
        case .none(let reason):
            hasNoPeer(x, pool, reason)
            return false
        }
    }

    /// What the upstream takes at once is asked before a peer is. False: the exchange waits, or has been answered.
    @inline(never)
    private func passesGuards(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>) -> Bool {
        if standsBehindOthers(x, pool) { return !waitsInLine(x, pool, .allBusy) }
        return !pool.settings.limits.countsActive || becomesActive(x, pool)
    }

    @inline(never)
    private func hasNoPeer(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>, _ reason: NoPeer) {
        x.proxyTarget.peer = -1
        endActive(x)
        if waitsInLine(x, pool, reason) { return }
        let fault: Fault = reason == .allBusy ? .peersBusy : .noLivePeer
        logExchange(fault.level, fault.words, x, detail: pool.settings.name)
        recordNoPeer(x, pool, status: 502)
        answerFault(x, fault)
    }

    /// A try that no peer was asked in.
    @inline(never)
    func recordNoPeer(_ x: Ref<Exchange>, _ pool: Ref<UpstreamPool>, status: UInt16) {
        beginTry(x, pool.settings.name)
        x.currentTry?.status = status
    }

    @inline(__always)
    private func balancingKey(_ x: Ref<Exchange>, _ settings: Ref<UpstreamSettings>) -> ByteView {
        switch settings.algorithm {
        case .hash, .hashConsistent: return expand(settings.hashKey, for: x, keep: true)
        case .ipHash: return x.client.address.family == .unix ? .empty : value(of: Variable(.binaryRemoteAddr), for: x) ?? .empty
        default: return .empty
        }
    }

    /// An idle connection that is still open. A request that must not be sent twice is not risked on one that has just closed.
    @inline(__always)
    private func takeIdleConnection(_ x: Ref<Exchange>, _ origin: Ref<UpstreamPool>) -> Ref<UpstreamConnection>? {
        var pool = origin
        var peer = x.proxyTarget.peer
        if !origin.isCurrent {
            guard let heir = currentPool(for: origin), let place = findPeer(x.proxyTarget.address, in: heir) else { return nil }
            (pool, peer) = (heir, place)
        }
        while let u = takeIdle(pool, peer: peer, tag: x.location.tag, identity: x.proxyTarget.tlsIdentity) {
            let isOpen = !u.stream.peerClosed && !u.stream.isBroken && (x.method.isIdempotent || isStillOpen(u))
            if isOpen { return u }
            closeUpstream(u)
        }
        return nil
    }

    /// Asks the kernel: an open idle connection has nothing to read, or nothing but what concerns TLS alone.
    @inline(never)
    func isStillOpen(_ u: Ref<UpstreamConnection>) -> Bool {
        if u.stream.carrier == .tls { return isQuiet(u) }
        // Not into the scratch: the client's input may still lie there.
        var byte: UInt8 = 0
        return kernel.receive(u.stream.fd, &byte, 1, flags: Int32(MSG_PEEK)) == -Int(EAGAIN)
    }

    /// A connection with a socket that is not connected yet. Nil: the exchange has been answered.
    func makeConnection(_ x: Ref<Exchange>) -> Ref<UpstreamConnection>? {
        let address = x.proxyTarget.address
        if upstreams.count == upstreams.limit { _ = closeOneIdle() }
        var fd = kernel.socket(family: address.family, type: Int32(SOCK_STREAM.rawValue))
        if fd == -EMFILE || fd == -ENFILE, closeOneIdle() {
            fd = kernel.socket(family: address.family, type: Int32(SOCK_STREAM.rawValue))
        }
        if fd < 0 {
            cannotOpen(x, -fd)
            return nil
        }
        guard let (u, handle) = upstreams.insert(UpstreamConnection()) else {
            kernel.close(fd)
            cannotOpen(x, EMFILE)
            return nil
        }
        u.handle = handle
        u.stream.fd = fd
        u.phase = .connecting
        u.openedMs = nowMs
        u.address = address
        u.timer = timers.make(owner: EventOwner.word(.upstream, handle))
        if x.proxyTarget.usesTLS { setIdentity(x, u) }
        bindLocal(x, u)
        if !address.isUnix { _ = kernel.setOption(fd, level: Int32(IPPROTO_TCP), name: TCP_NODELAY, value: 1) }
        if address.isLoopback { kernel.useReno(fd) }
        setBuffers(x, fd)
        return u
    }

    private func setBuffers(_ x: Ref<Exchange>, _ fd: Int32) {
        let proxy = x.location.proxy
        if proxy.socketKeepalive { _ = kernel.setOption(fd, level: SOL_SOCKET, name: SO_KEEPALIVE, value: 1) }
        let received = Int32(clamping: proxy.receiveBufferBytes)
        if received > 0 { _ = kernel.setOption(fd, level: SOL_SOCKET, name: SO_RCVBUF, value: received) }
        let sent = Int32(clamping: proxy.sendBufferBytes)
        if sent > 0 { _ = kernel.setOption(fd, level: SOL_SOCKET, name: SO_SNDBUF, value: sent) }
    }

    /// False: the kernel has no memory for the registration.
    func register(_ u: Ref<UpstreamConnection>) -> Bool {
        let bits = Readiness.readable | Readiness.writable | Readiness.peerClosed | Readiness.edgeTriggered
        return kernel.epollAdd(epoll, u.stream.fd, events: bits, data: EventOwner.word(.upstream, u.handle)) >= 0
    }

    private func open(_ x: Ref<Exchange>, _ address: SocketAddress) {
        guard let u = makeConnection(x) else { return }
        attach(u, to: x)
        x.phase = .connecting
        let fd = u.stream.fd
        let r = kernel.connect(fd, address.bytes.start, UInt32(address.bytes.count))
        if r < 0, r != -EINPROGRESS {
            logExchange(.error, "connect() failed while connecting to upstream", x, errno: -r)
            return upstreamFailed(x, .connectRefused, isLogged: true)
        }
        if !register(u) { return cannotOpen(x, ENOMEM) }
        if r == 0 { return connected(x, u) }
        timers.set(u.timer, at: nowMs + x.location.proxy.connectTimeoutMs)
    }

    /// Idle connections make way for a request that finds no room. False when there is none.
    private func closeOneIdle() -> Bool {
        for i in 0..<current.pools.count {
            if let u = upstreams.find(current.pools[i].value.oldest) {
                unpark(u)
                closeUpstream(u)
                return true
            }
        }
        return false
    }

    @inline(__always)
    func attach(_ u: Ref<UpstreamConnection>, to x: Ref<Exchange>) {
        u.exchange = x
        u.peer = x.proxyTarget.peer
        // In the snapshot that the exchange holds: that of the pool it came from may be gone before the exchange.
        u.address = x.proxyTarget.address
        u.tag = x.location.tag
        u.requests += 1
        x.upstream = u
    }

    private func bindLocal(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        let template = x.location.proxy.bind
        if template.isEmpty { return }
        let text = expand(template, for: x, keep: true)
        if text.isEmpty || text == ByteView("off") { return }
        guard let address = numericAddress(text, x, defaultPort: 0),
            kernel.bind(u.stream.fd, address.bytes.start, UInt32(address.bytes.count)) >= 0
        else { return logExchange(.crit, "bind() failed while connecting to upstream", x, detail: text) }
    }

    func cannotOpen(_ x: Ref<Exchange>, _ errno: Int32) {
        logExchange(.crit, Fault.noDescriptors.words, x, errno: errno)
        counts.upstreamDescriptorFailures += 1
        if let u = x.upstream {
            x.upstream = nil
            closeUpstream(u)
        }
        endTry(x, .neither)
        answerFault(x, .noDescriptors)
    }

    func connected(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) {
        u.phase = .busy
        u.stream.isWritable = true
        endPending(x)
        if !x.proxyTarget.usesTLS { x.currentTry?.connectMs = nowMs - x.tryStartedMs }
        if x.location.proxy.sendsProxyHeader != .none, !sendProxyHeader(x, u) { return }
        if x.proxyTarget.usesTLS { return beginHandshake(x, u) }
        sendRequest(x, u)
    }

    // MARK: Tries

    @inline(__always)
    func beginTry(_ x: Ref<Exchange>, _ address: ByteView) {
        let size = MemoryLayout<UpstreamTry>.stride
        guard let memory = x.value.region.allocate(size, from: &buffers, limit: Limits.regionBytesMax) else { return }
        let record = Frozen(repeating: UpstreamTry(), count: 1, into: memory)[0]
        record.address = address
        record.startsGroup = x.startsTryGroup
        x.startsTryGroup = false
        if let last = x.currentTry { last.next = record } else { x.tries = record }
        x.currentTry = record
        x.tryIsOpen = true
    }

    /// Closes the record of this try and gives the peer back to its balancer.
    func endTry(_ x: Ref<Exchange>, _ outcome: PeerOutcome) {
        var status: UInt16 = 0
        if x.tryIsOpen, let record = x.currentTry {
            x.tryIsOpen = false
            record.responseMs = nowMs - x.tryStartedMs
            record.responseBytes = x.response.received
            // Where no head has come it is our own.
            if record.headerMs >= 0 { status = record.status }
        }
        endPending(x)
        if x.holdsPeer, let pool = x.proxyTarget.pool {
            x.holdsPeer = false
            if pool.isGuarded { return releaseGuarded(x, pool, outcome, status) }
            pool.balancer.pointee.release(x.proxyTarget.peer, outcome: outcome, nowMs: nowMs, status: status)
        }
    }

    func closeUpstream(_ u: Ref<UpstreamConnection>) {
        if u.phase == .closed { return }
        if let session = u.session {
            leavePool(u)
            endSession(session, .connectionClosed)
        }
        u.phase = .closed
        timers.free(u.timer)
        closeStream(&u.value.stream)
        buffers.give(u.peerKey)
        upstreams.remove(u.handle)
    }
}

extension Algorithm {
    var needsRandom: Bool { self == .random || self == .randomTwo }
}
