// One end of a simulated stream connection, or a listener: buffers, ends of stream, resets and readiness as Linux shows them.
// Called by the kernel for the engine's descriptors and by ActorConnection for the far ends. It never picks who connects to whom.

import CLinux
import Engine

final class StreamSocket: Waitable {
    enum Phase {
        case fresh, listening, connecting, connected
        /// After a reset, a failed connection attempt or both ends of stream.
        case dead
    }

    unowned let world: World
    let family: Int32
    var phase = Phase.fresh
    var local: Address?
    var remote: Address?
    var options: [Int: Int32] = [:]
    var pendingError: Int32 = 0
    var resetsOnClose = false
    var connectWasAnswered = false
    /// Its descriptor was closed; what it has still to send goes on its way.
    private(set) var isClosed = false
    private var isUnaccepted = false

    // A listener.
    var backlog = 0
    var waiting: [StreamSocket] = []

    // A connection.
    private(set) var otherEnd: StreamSocket?
    private(set) var inbox = ByteQueue()
    private var outbox = ByteQueue()
    private let inboxMax: Int
    private let outboxMax: Int
    /// Pieces of the outbox on their way: when each arrives and how long it is.
    private var pieces: [(atNs: UInt64, count: Int)] = []
    private var lastArrivalNs: UInt64 = 0
    /// Bytes at the front of the outbox that have arrived but for which the other end had no room.
    private var arrived = 0
    private var endArrivesNs: UInt64?
    /// The other end's end of stream was received.
    private(set) var endReceived = false
    private(set) var writeIsShut = false
    private(set) var readIsShut = false
    /// A send met a full buffer: the next room is an edge.
    private var wantsRoom = false
    private var hiddenUntilNs: UInt64 = 0
    private var blockedUntilNs: UInt64 = 0

    /// Called when an actor owns this end and something changed.
    var onWake: (() -> Void)?

    /// All bytes this end received and sent, for accounting.
    private(set) var receivedBytes = 0
    private(set) var sentBytes = 0

    var isLocal: Bool { family == AF_UNIX }

    init(world: World, family: Int32) {
        self.world = world
        self.family = family
        inboxMax = world.dice.pick(world.network.receiveBufferBytes)
        outboxMax = world.dice.pick(world.network.sendBufferBytes)
    }

    // MARK: Readiness

    /// Follows tcp_poll and unix_poll of Linux.
    override func readiness() -> UInt32 {
        if phase == .listening { return waiting.isEmpty ? 0 : Readiness.readable }
        var bits: UInt32 = 0
        if (readIsShut && writeIsShut) || phase == .dead || phase == .fresh { bits |= Readiness.hangUp }
        let hidden = hiddenUntilNs > world.nowNs
        if readIsShut && !hidden { bits |= Readiness.readable | Readiness.peerClosed }
        if phase != .connecting {
            if !inbox.isEmpty && !hidden { bits |= Readiness.readable }
            if writeIsShut || isWritable {
                bits |= Readiness.writable
            } else {
                wantsRoom = true
            }
        }
        if pendingError != 0 { bits |= Readiness.error }
        return bits
    }

    /// A socket counts as writable when a third of its buffer is free.
    private var isWritable: Bool {
        if blockedUntilNs > world.nowNs { return false }
        let queued = isLocal ? outbox.count + (otherEnd?.inbox.count ?? 0) : outbox.count
        return outboxMax - queued > 0 && outboxMax - queued >= queued / 2
    }

    override func wake(_ key: UInt32) {
        super.wake(key)
        onWake?()
    }

    // MARK: Connecting

    /// Joins two sockets whose connection is made. The caller wakes whom it concerns.
    static func join(_ a: StreamSocket, _ b: StreamSocket) {
        a.otherEnd = b
        b.otherEnd = a
        a.phase = .connected
        b.phase = .connected
        a.world.connectionsMade += 1
    }

    /// The attempt of this end succeeded: what the other end sent meanwhile may come in now.
    func connectionWasMade() { otherEnd?.deliver() }

    /// The connection attempt came to nothing, or a reset arrived.
    func fail(_ error: Int32) {
        if phase == .dead { return }
        pendingError = error
        die()
    }

    private func die() {
        phase = .dead
        readIsShut = true
        writeIsShut = true
        dropOutbox()
        wake(0)
    }

    private func dropOutbox() {
        world.bufferedBytes -= outbox.count
        outbox.removeAll()
        pieces = []
        arrived = 0
        endArrivesNs = nil
    }

    func takeError() -> Int32 {
        defer { pendingError = 0 }
        return pendingError
    }

    // MARK: Receiving

    func receive(_ buffer: UnsafeMutableRawPointer, _ count: Int, peek: Bool) -> Int {
        let now = world.nowNs
        if hiddenUntilNs > now { return Int(-EAGAIN) }
        if !inbox.isEmpty {
            var length = min(count, inbox.count)
            // Once the end or an error is known all data is there, and Linux gives it whole.
            if !peek && !readIsShut {
                if world.dice.chance(world.faults.spuriousReadiness) {
                    hide()
                    return Int(-EAGAIN)
                }
                if inbox.count > 1 && world.dice.chance(world.faults.shortRead) {
                    length = min(length, world.dice.pick(1...(inbox.count - 1)))
                    hide()
                }
            }
            inbox.peek(into: buffer, length)
            if !peek { consume(length) }
            return length
        }
        if endReceived && !isLocal { return 0 }
        if pendingError != 0 { return -Int(takeError()) }
        if readIsShut { return 0 }
        switch phase {
        case .connected, .connecting: return Int(-EAGAIN)
        case .fresh, .listening, .dead: return isLocal ? Int(-EINVAL) : Int(-ENOTCONN)
        }
    }

    private func consume(_ count: Int) {
        inbox.drop(count)
        receivedBytes += count
        world.bufferedBytes -= count
        guard let other = otherEnd else { return }
        other.deliver()
        // A local sender hears of room whenever what it sent was read, whether it ran out of room or not.
        if isLocal && inbox.isEmpty { other.wantsRoom = true }
        other.roomWasMade()
    }

    /// What is in the inbox seems to arrive a little later.
    private func hide() {
        let delayNs = world.dice.pick(world.faults.hiddenNs) + 1
        hiddenUntilNs = world.nowNs + delayNs
        world.after(delayNs) { [self] in wake(Readiness.readable) }
    }

    // MARK: Sending

    func send(_ buffer: UnsafeRawPointer, _ count: Int) -> Int {
        if pendingError != 0 && !isLocal { return -Int(takeError()) }
        if writeIsShut { return Int(-EPIPE) }
        switch phase {
        case .connecting: return Int(-EAGAIN)
        case .connected: break
        case .fresh, .listening, .dead: return isLocal ? Int(-ENOTCONN) : Int(-EPIPE)
        }
        let free = blockedUntilNs > world.nowNs ? 0 : outboxMax - outbox.count
        if free <= 0 {
            wantsRoom = true
            return Int(-EAGAIN)
        }
        var length = min(count, free)
        if length > 1 && world.dice.chance(world.faults.shortWrite) {
            length = world.dice.pick(1...(length - 1))
            let delayNs = world.dice.pick(world.faults.hiddenNs) + 1
            blockedUntilNs = world.nowNs + delayNs
            world.after(delayNs) { [self] in roomWasMade() }
        }
        if length < count { wantsRoom = true }
        outbox.append(buffer, length)
        world.bufferedBytes += length
        sentBytes += length
        dispatch(length)
        return length
    }

    /// Sends `count` new bytes at the back of the outbox on their way, in pieces.
    private func dispatch(_ count: Int) {
        var left = count
        while left > 0 {
            let length = min(left, world.dice.pick(world.network.pieceBytes))
            left -= length
            let isLost = !isLocal && world.dice.chance(world.faults.lostConnection)
            var delayNs = isLocal ? 0 : world.dice.pick(world.network.latencyNs)
            if !isLocal && world.dice.chance(world.faults.stalledPiece) { delayNs += world.dice.pick(world.faults.stallNs) }
            let atNs = max(world.nowNs + delayNs, lastArrivalNs)
            lastArrivalNs = atNs
            pieces.append((atNs, length))
            if isLost {
                world.after(atNs - world.nowNs) { [self] in loseConnection() }
            } else if atNs > world.nowNs {
                world.after(atNs - world.nowNs) { [self] in deliver() }
            }
        }
        deliver()
    }

    private func loseConnection() {
        guard phase == .connected, let other = otherEnd else { return }
        world.note("network", "loses \(local?.description ?? "?") > \(remote?.description ?? "?")")
        fail(ECONNRESET)
        other.receiveReset()
    }

    /// Moves what has arrived into the other end's inbox, as far as there is room, and then the end of the stream.
    private func deliver() {
        guard let other = otherEnd, other.phase != .connecting else { return }
        while let first = pieces.first, first.atNs <= world.nowNs {
            arrived += first.count
            pieces.removeFirst()
        }
        if arrived > 0 && (other.isClosed || other.phase == .dead) {
            dropOutbox()
            sendBackReset()
            return
        }
        let length = min(arrived, other.inboxMax - other.inbox.count)
        if length > 0 {
            arrived -= length
            outbox.move(length, to: &other.inbox)
            other.wake(Readiness.readable)
            roomWasMade()
        }
        if outbox.isEmpty, let atNs = endArrivesNs, atNs <= world.nowNs {
            endArrivesNs = nil
            other.receiveEnd()
        }
    }

    /// Data came for a socket that is no more: the sender hears a reset.
    private func sendBackReset() {
        let delayNs = world.dice.pick(world.network.latencyNs)
        if delayNs == 0 { return receiveReset() }
        world.after(delayNs) { [self] in receiveReset() }
    }

    private func roomWasMade() {
        if !wantsRoom || !isWritable { return }
        wantsRoom = false
        wake(Readiness.writable)
    }

    // MARK: Ends and resets

    private func receiveEnd() {
        if isClosed || phase == .dead { return }
        endReceived = true
        readIsShut = true
        if isLocal, let other = otherEnd, other.isClosed { writeIsShut = true }
        wake(0)
        finishIfBothEnded()
    }

    private func finishIfBothEnded() {
        guard !isLocal, phase == .connected, endReceived, writeIsShut, let other = otherEnd, other.endReceived else { return }
        phase = .dead
        wake(0)
        other.finishIfBothEnded()
    }

    fileprivate func receiveReset() {
        if phase == .dead { return }
        if isClosed {
            phase = .dead
            dropOutbox()
            return
        }
        fail(endReceived && !isLocal ? EPIPE : ECONNRESET)
    }

    func shutdownWrite() -> Int32 {
        if phase == .listening { return 0 }
        guard phase == .connected else { return isLocal ? 0 : -ENOTCONN }
        let wasShut = writeIsShut
        writeIsShut = true
        if !wasShut { sendEnd() }
        wake(0)
        finishIfBothEnded()
        return 0
    }

    private func sendEnd() {
        let latencyNs = isLocal ? 0 : world.dice.pick(world.network.latencyNs)
        let atNs = max(world.nowNs + latencyNs, lastArrivalNs)
        lastArrivalNs = atNs
        endArrivesNs = atNs
        if atNs > world.nowNs { world.after(atNs - world.nowNs) { [self] in deliver() } }
        deliver()
    }

    /// The last descriptor of this end was closed.
    func close() {
        if isClosed { return }
        isClosed = true
        unwatch()
        onWake = nil
        let unread = !inbox.isEmpty
        world.bufferedBytes -= inbox.count
        inbox.removeAll()
        switch phase {
        case .listening:
            for socket in waiting { socket.closeUnaccepted() }
            waiting = []
            phase = .dead
        case .connecting, .fresh:
            phase = .dead
        case .connected:
            // Local sockets know no lingering.
            if (resetsOnClose && !isLocal) || unread || isUnaccepted {
                sendReset()
            } else if !writeIsShut {
                writeIsShut = true
                sendEnd()
            } else if isLocal {
                otherEnd?.receiveEnd()
            }
        case .dead:
            break
        }
        releaseIfOver()
        otherEnd?.releaseIfOver()
    }

    private func closeUnaccepted() {
        isUnaccepted = true
        close()
    }

    private func sendReset() {
        guard let other = otherEnd else { return }
        phase = .dead
        let latencyNs = isLocal ? 0 : world.dice.pick(world.network.latencyNs)
        let atNs = max(world.nowNs + latencyNs, lastArrivalNs)
        let arrive = { [self] in
            deliver()
            dropOutbox()
            other.receiveReset()
        }
        if atNs == world.nowNs { return arrive() }
        world.after(atNs - world.nowNs, arrive)
    }

    /// Two closed ends with nothing on its way forget each other, which frees both.
    private func releaseIfOver() {
        guard isClosed, let other = otherEnd, other.isClosed else { return }
        if phase == .connected && !(outbox.isEmpty && endArrivesNs == nil) { return }
        if other.phase == .connected && !(other.outbox.isEmpty && other.endArrivesNs == nil) { return }
        otherEnd = nil
        other.otherEnd = nil
    }
}
