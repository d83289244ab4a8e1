// One event loop with everything it owns: connections, exchanges, timers, buffers. Made, run and dropped inside its own thread.
// Control starts it; other threads reach it only through its mailbox, the snapshot publisher and atomic counters.

import Bytes
import CLinux
import HTTPMessage

/// What a worker is told when it starts.
package struct WorkerParameters {
    /// `worker_connections`: clients and upstreams together, as nginx counts them.
    package var connectionsMax = 512
    /// Taken instead of the thread's number in simulation.
    package var number = 0
    package var processID: Int32 = 0
    /// Minutes east of UTC, for `$time_local`.
    package var utcOffsetMinutes = 0
    package var hostname = ""
    /// `worker_shutdown_timeout`: a graceful stop that lasts longer cuts what is left.
    package var shutdownTimeoutMs: Int64?
    /// Answers the requests of `admin` locations.
    package var admin: (any AdminGateway)?
    /// Asks responders about certificates; nil: nobody does.
    package var statuses: (any StatusDesk)?
    /// Knows the health of upstreams; nil: nobody does.
    package var health: (any HealthReporter)?
    /// What this thread does besides, at the end of each turn.
    package var duty: (any WorkerDuty)?
    package init() {}
}

package final class Worker {
    let kernel: any Kernel
    let parameters: WorkerParameters
    let publisher: SnapshotPublisher
    package let counters: WorkerCounters
    let counts: Ref<CounterValues>
    package let mailbox: Mailbox

    var clients: Slab<ClientConnection>
    var upstreams: Slab<UpstreamConnection>
    var exchanges: Slab<Exchange>
    /// Bodies of answered requests that are still to be read past.
    var discards: Slab<BodyReader>
    var tlsConnections: Slab<TLSConnection>
    var sessions: Slab<ClientSession>
    var streams: Slab<ClientStream>
    /// How many of `clients` are streams of others, or requests within others.
    var clientStreams = 0
    var inner = InnerRequests()
    var ssiHub: SSIHub?
    var shadowPairs = Slab<ShadowPair>(limit: Limits.mirrorsMax)
    var lastHost = HostMemo()
    let libraryMemory = LibraryMemory()
    /// What HTTP/2 sessions share.
    let hub = SessionHub()
    /// Sessions that have something to send, in the order in which they came.
    var dirtySessions = PostedQueue()
    /// What headers of the PROXY protocol said about connections that are open.
    var proxied: Slab<ProxiedConnection>
    let upstreamSessions: UpstreamSessions
    var timers: TimerWheel
    var buffers = BufferPool(keepBytesMax: Limits.keptBufferBytes)
    var matcher = Matcher()
    var posted = PostedQueue()
    /// Of answers that pass filters; what they share is nil before the first.
    var filterChains: Slab<FilterChain>
    var filterHub: FilterHub?
    var logs = LogBuffers()

    /// Set once a turn, before its events.
    package private(set) var nowMs: Int64 = 0
    var nowNs: UInt64 = 0
    var realtimeNs: Int64 = 0
    /// How far the wall clock is ahead of the monotonic one, and when to look again: they part only when somebody sets it.
    private var realtimeAheadNs: Int64 = 0
    private var realtimeDueNs: UInt64 = 0
    var dates = DateCache()

    let scratch = ReadScratch()
    let tls = TLSMemory()
    let tlsSessions = TLSSessions(limit: Limits.upstreamSessionsMax)
    var certificateCaches: [CertificateCache] = []
    let out: Ref<ByteWriter>
    let scratchText: Ref<ByteWriter>
    let valueText: Ref<ByteWriter>
    /// Where trailers were composed last, for `$sent_trailer_`.
    var trailerText: Ref<ByteWriter>
    let errorText: Ref<ByteWriter>
    /// Fields of the head that is being parsed, before they are copied into its exchange.
    let fieldScratch: UnsafeMutableBufferPointer<HeaderField>
    /// The head itself, likewise.
    let headScratch: Ref<RequestHead>
    /// What every exchange begins as; its references lead nowhere.
    let blankExchange: Ref<Exchange>
    private let writerMemory: [UnsafeMutableRawPointer]

    var current: Ref<PinnedSnapshot>
    var adopted: [AdoptedSnapshot]
    /// One of `adopted` has nothing left that pins it.
    var hasUnusedSnapshot = false
    var listeners: [WorkerListener] = []
    var nextConnectionNumber: UInt64 = 0
    var isStopping = false
    var held = HeldRequests()
    var drains = Drains()
    var queued = QueuedRequests()
    /// Why the last `openFile` failed.
    var lastOpenErrno: Int32 = 0
    package private(set) var isStopped = false

    let epoll: Int32
    private let wakeDescriptor: Int32
    private let events = UnsafeMutableBufferPointer<KernelEvent>.allocate(capacity: Limits.eventsPerTurn)
    var acceptRest = TimerID.none
    private var logFlush = TimerID.none
    var releaseTimer = TimerID.none
    var drainTimer = TimerID.none
    var queueTimer = TimerID.none
    private var dutyTimer = TimerID.none

    /// `publisher`'s current snapshot is adopted at once; listeners are opened by the caller.
    package init(
        kernel: any Kernel, parameters: WorkerParameters, publisher: SnapshotPublisher, mailbox: Mailbox, counters: WorkerCounters,
        listeners sockets: [ListeningSocket]
    ) {
        self.kernel = kernel
        self.parameters = parameters
        self.publisher = publisher
        self.mailbox = mailbox
        self.counters = counters
        counts = counters.values
        clients = Slab(limit: parameters.connectionsMax + Limits.http2StreamsMax + Limits.innerMax)
        upstreams = Slab(limit: parameters.connectionsMax)
        exchanges = Slab(limit: parameters.connectionsMax + Limits.http2StreamsMax + Limits.innerMax)
        discards = Slab(limit: parameters.connectionsMax)
        filterChains = Slab(limit: parameters.connectionsMax + Limits.http2StreamsMax)
        sessions = Slab(limit: parameters.connectionsMax)
        streams = Slab(limit: Limits.http2StreamsMax)
        tlsConnections = Slab(limit: parameters.connectionsMax)
        proxied = Slab(limit: parameters.connectionsMax)
        upstreamSessions = UpstreamSessions(limit: parameters.connectionsMax)
        timers = TimerWheel(nowMs: Int64(kernel.monotonicNs() / 1_000_000))
        var memory: [UnsafeMutableRawPointer] = []
        func writer(_ capacity: Int) -> Ref<ByteWriter> {
            let bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
            let p = UnsafeMutablePointer<ByteWriter>.allocate(capacity: 1)
            p.initialize(to: ByteWriter(bytes, capacity: capacity))
            memory += [UnsafeMutableRawPointer(bytes), UnsafeMutableRawPointer(p)]
            return Ref(p)
        }
        out = writer(Limits.composeBytes)
        trailerText = out
        scratchText = writer(64 << 10)
        valueText = writer(64 << 10)
        errorText = writer(16 << 10)
        let blank = UnsafeMutablePointer<Exchange>.allocate(capacity: 1)
        blank.initialize(to: Exchange(client: .nowhere, pinned: .nowhere, server: .nowhere, location: .nowhere))
        let head = UnsafeMutablePointer<RequestHead>.allocate(capacity: 1)
        head.initialize(to: RequestHead())
        headScratch = Ref(head)
        memory += [UnsafeMutableRawPointer(blank), UnsafeMutableRawPointer(head)]
        blankExchange = Ref(blank)
        writerMemory = memory
        fieldScratch = .allocate(capacity: Limits.headerFieldsMax)
        fieldScratch.initialize(repeating: HeaderField())
        let first = AdoptedSnapshot(publisher.current, number: parameters.number)
        adopted = [first]
        current = first.pinned
        epoll = kernel.epollCreate()
        wakeDescriptor = kernel.eventCreate()
        _ = kernel.epollAdd(
            epoll, wakeDescriptor, events: Readiness.readable, data: EventOwner.word(.mailbox, Handle(index: 0, generation: 1)))
        mailbox.attach(wakeDescriptor)
        acceptRest = timers.make(owner: TimerOwner.acceptRest)
        logFlush = timers.make(owner: TimerOwner.logFlush)
        releaseTimer = timers.make(owner: TimerOwner.release)
        drainTimer = timers.make(owner: TimerOwner.drain)
        queueTimer = timers.make(owner: TimerOwner.queue)
        if parameters.duty != nil {
            dutyTimer = timers.make(owner: TimerOwner.duty)
            mailbox.own()
        }
        updateClock()
        openAccount(current.account)
        counters.adopted(revision: current.revision)
        for socket in sockets { open(socket) }
    }

    deinit {
        for p in writerMemory { p.deallocate() }
        fieldScratch.deallocate()
        events.deallocate()
        kernel.close(wakeDescriptor)
        kernel.close(epoll)
    }

    /// Turns until stopped.
    package func run() {
        while !isStopped { turn() }
    }

    /// One turn: wait, serve what is ready, fire timers, go on with what was put off, write the logs.
    package func turn() {
        let isIdle = posted.isEmpty && !upstreamSessions.hasWork && dirtySessions.isEmpty
        let sleep = isIdle ? timers.sleepMs(nowMs: nowMs) : 0
        let n = kernel.epollWait(epoll, into: events, timeoutMs: sleep)
        updateClock()
        if n > 0 {
            for i in 0..<Int(n) { dispatch(events[i]) }
        }
        // One that sets itself again for a time that has passed must not keep everyone else from their turn.
        var firings = Limits.timersPerTurn
        while firings > 0, let owner = timers.nextDue(nowMs: nowMs) {
            firings -= 1
            timerFired(owner)
        }
        if !posted.isEmpty { runPosted() }
        sendMultiplexed()
        endOfTurn()
    }

    @inline(__always)
    private func dispatch(_ event: KernelEvent) {
        let handle = Handle(index: UInt32(truncatingIfNeeded: event.data & 0x0FFF_FFFF), generation: UInt32(event.data >> 32))
        switch EventOwner(rawValue: (event.data >> 28) & 15) {
        case .client: if let c = clients.find(handle) { clientEvent(c, event.bits) }
        case .upstream: if let u = upstreams.find(handle) { upstreamEvent(u, event.bits) }
        case .listener: acceptClients(Int(handle.index))
        case .mailbox: readMailbox()
        case .exchange, nil: break
        }
    }

    private func timerFired(_ word: UInt64) {
        if word == TimerOwner.acceptRest { return resumeAccepting() }
        if word == TimerOwner.logFlush { return flushDueLogs() }
        if word == TimerOwner.shutdown { return stopNow() }
        if word == TimerOwner.release { return releaseDue() }
        if word == TimerOwner.drain { return drainDue() }
        if word == TimerOwner.queue { return queueDue() }
        // The duty is done at the end of every turn.
        if word == TimerOwner.duty { return }
        let handle = Handle(index: UInt32(truncatingIfNeeded: word & 0x0FFF_FFFF), generation: UInt32(word >> 32))
        switch EventOwner(rawValue: (word >> 28) & 15) {
        case .client: if let c = clients.find(handle) { clientTimedOut(c) }
        case .upstream: if let u = upstreams.find(handle) { upstreamTimedOut(u) }
        default: break
        }
    }

    /// What was put off: exchanges that moved their share of bytes, clients whose next request has been read already.
    private func runPosted() {
        var left = posted.count
        while left > 0, let word = posted.pop() {
            left -= 1
            let handle = Handle(index: UInt32(truncatingIfNeeded: word & 0x0FFF_FFFF), generation: UInt32(word >> 32))
            switch EventOwner(rawValue: (word >> 28) & 15) {
            case .exchange:
                guard let x = exchanges.find(handle) else { continue }
                x.isPosted = false
                resume(x)
            case .client:
                guard let c = clients.find(handle) else { continue }
                c.isPosted = false
                resume(c)
            case .upstream: if let u = upstreams.find(handle) { resumeSession(u) }
            default: continue
            }
        }
    }

    func post(_ x: Ref<Exchange>) {
        if x.isPosted { return }
        x.isPosted = true
        posted.push(EventOwner.word(.exchange, x.handle))
    }

    func postRead(_ c: Ref<ClientConnection>) {
        if c.isPosted { return }
        c.isPosted = true
        posted.push(EventOwner.word(.client, c.handle))
    }

    /// What streams of HTTP/2 connections said in this turn leaves. Answers of upstreams become writes to clients, and those make room
    /// upstream.
    @inline(__always)
    private func sendMultiplexed() {
        if upstreamSessions.hasWork { sendUpstreamSessions() }
        if !dirtySessions.isEmpty { sendSessions() }
        if upstreamSessions.hasWork { sendUpstreamSessions() }
    }

    private func endOfTurn() {
        if let due = flushTurnLogs() { timers.set(logFlush, at: due) }
        if let duty = parameters.duty {
            if let at = duty.turn(nowMs: nowMs) { timers.set(dutyTimer, at: at) }
            // Its answers to requests of this very thread.
            obey()
            duty.afterTurn()
        }
        if hasUnusedSnapshot { dropUnusedSnapshots() }
        if isStopping, clients.count == 0, exchanges.count == 0 { stopNow() }
    }

    @inline(__always)
    private func updateClock() {
        nowNs = kernel.monotonicNs()
        nowMs = Int64(nowNs / 1_000_000)
        if nowNs >= realtimeDueNs { lookAtWallClock() }
        realtimeNs = Int64(truncatingIfNeeded: nowNs) &+ realtimeAheadNs
    }

    @inline(never)
    private func lookAtWallClock() {
        realtimeDueNs = nowNs + Limits.realtimeAgeNsMax
        realtimeAheadNs = kernel.realtimeNs() - Int64(nowNs)
    }

    private func readMailbox() {
        kernel.eventDrain(wakeDescriptor)
        obey()
    }

    private func obey() {
        for command in mailbox.takeAll() {
            switch command {
            case .adoptSnapshot: adoptPublished()
            case .listen(let sockets): listen(to: sockets)
            case .admin(let handle, let part): takeAdminPart(handle, part)
            case .drain(let name, let durationMs): drain(name, durationMs: durationMs)
            case .releaseRate(let rate): held.setRate(rate)
            case .called(let handle): called(handle)
            case .certificateStatus(let handle, let status, let until): statusCame(handle, status, untilSeconds: until)
            case .wake: break
            case .stopGracefully: stopGracefully()
            case .stopNow: stopNow()
            }
        }
    }

    private func stopGracefully() {
        if isStopping { return }
        isStopping = true
        closeListeners()
        endHolds()
        if let timeout = parameters.shutdownTimeoutMs { timers.set(timers.make(owner: TimerOwner.shutdown), at: nowMs + timeout) }
        for handle in clients.handles {
            // What has been read already, or announced, is still answered.
            guard let c = clients.find(handle) else { continue }
            if let session = c.session { leaveSession(session) }
            if c.phase == .idle || c.phase == .proxyHeader, c.input.isEmpty, !c.stream.isReadable { closeClient(c) }
        }
    }

    private func stopNow() {
        closeListeners()
        for handle in exchanges.handles {
            if let x = exchanges.find(handle) { fail(x, .shutdown) }
        }
        for handle in sessions.handles { if let s = sessions.find(handle) { stopSession(s) } }
        for handle in clients.handles { if let c = clients.find(handle) { closeClient(c) } }
        for handle in upstreams.handles {
            if let u = upstreams.find(handle) {
                unpark(u)
                closeUpstream(u)
            }
        }
        flushAllLogs()
        isStopped = true
    }
}

/// The memory one read goes to: room for a head in front of the data and for the end of a chunk behind it.
struct ReadScratch: ~Copyable {
    static var headroom: Int { Limits.responseHeadBytesMax + 4096 }
    static var tail: Int { 64 }
    private let memory = UnsafeMutablePointer<UInt8>.allocate(capacity: headroom + Limits.readBytes + tail)
    deinit { memory.deallocate() }
    /// Where reads begin.
    var data: UnsafeMutablePointer<UInt8> { memory + Self.headroom }
}
