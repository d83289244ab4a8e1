// The far end of a simulated connection: reads and writes at the pace a test gives it, and tells its script what happened.
// Used by every actor. It decides nothing about protocols.

import CLinux
import Engine

/// How fast an actor reads and writes, and where it stops. The defaults are as fast as the network allows, without end.
package struct Pace: Sendable {
    /// Bytes written at once, and the pause after each piece.
    package var writeBytes: ClosedRange<Int> = Int.max...Int.max
    package var writeGapNs: ClosedRange<UInt64> = 0...0
    /// Bytes read at once, and the pause after each piece.
    package var readBytes: ClosedRange<Int> = 65_536...65_536
    package var readGapNs: ClosedRange<UInt64> = 0...0
    /// After so many bytes written or read on the connection, `stop` comes into force.
    package var stopAfterWritten: Int?
    package var stopAfterRead: Int?
    package var stop = Stop.stall

    package enum Stop: Sendable {
        /// Neither reads nor writes any more, and does not close.
        case stall
        /// Neither reads nor writes for so long, then goes on.
        case pause(ns: UInt64)
        case close, reset, shutdownWrite
    }

    package init() {}

    /// Small pieces and small pauses.
    package static var dripping: Pace {
        var pace = Pace()
        pace.writeBytes = 1...64
        pace.writeGapNs = 0...2_000_000
        return pace
    }
}

/// What an actor does with one of its connections. Everything has an empty default.
package protocol ConnectionScript: AnyObject {
    func connected(_ connection: ActorConnection)
    func received(_ connection: ActorConnection, _ bytes: [UInt8])
    /// The network took everything that was queued.
    func drained(_ connection: ActorConnection)
    /// The other end sent its end of stream. The connection is still open for writing.
    func ended(_ connection: ActorConnection)
    /// The connection is gone: `error` is an errno (ECONNRESET, ECONNREFUSED, ETIMEDOUT, EPIPE).
    func failed(_ connection: ActorConnection, error: Int32)
    /// The pace's stop came into force.
    func stopped(_ connection: ActorConnection)
}

extension ConnectionScript {
    package func connected(_ connection: ActorConnection) {}
    package func received(_ connection: ActorConnection, _ bytes: [UInt8]) {}
    package func drained(_ connection: ActorConnection) {}
    package func ended(_ connection: ActorConnection) {}
    package func failed(_ connection: ActorConnection, error: Int32) {}
    package func stopped(_ connection: ActorConnection) {}
}

package final class ActorConnection {
    package let world: World
    /// For the trace.
    package let name: String
    package var pace: Pace
    package private(set) var bytesRead = 0
    package private(set) var bytesWritten = 0
    package private(set) var isOpen = true
    /// The other end's end of stream was read.
    package private(set) var hasEnded = false
    /// While true nothing is read: back-pressure.
    package var isReadingPaused = false { didSet { if !isReadingPaused { wakeUp() } } }

    let socket: StreamSocket
    private var script: (any ConnectionScript)?
    private var outbox = ByteQueue()
    private var isConnected: Bool
    private var turnIsPlanned = false
    private var readsAgainNs: UInt64 = 0
    private var writesAgainNs: UInt64 = 0
    private var isStalled = false
    private var whenDrained: Pace.Stop?

    /// Bytes queued and not yet taken by the network.
    package var queuedBytes: Int { outbox.count }

    /// Connects to `address`; the script hears `connected` or `failed`.
    package init(_ world: World, to address: Address, name: String, pace: Pace = Pace(), script: any ConnectionScript) {
        self.world = world
        self.name = name
        self.pace = pace
        self.script = script
        isConnected = false
        socket = StreamSocket(world: world, family: address.family)
        socket.onWake = { self.wakeUp() }
        world.endings.append { [weak self] in self?.reset() }
        world.note("actor", "\(name) connects to \(address)")
        let result = world.connect(socket, to: address)
        if result < 0 && result != -EINPROGRESS {
            world.after(0) { self.fail(-result) }
        } else {
            wakeUp()
        }
    }

    /// Takes over an accepted socket.
    init(_ world: World, accepted socket: StreamSocket, name: String, pace: Pace, script: any ConnectionScript) {
        self.world = world
        self.name = name
        self.pace = pace
        self.script = script
        self.socket = socket
        isConnected = true
        world.endings.append { [weak self] in self?.reset() }
        socket.onWake = { self.wakeUp() }
        wakeUp()
    }

    /// Queues `bytes`; they go out at the pace of the connection.
    package func send(_ bytes: [UInt8]) {
        if !isOpen { return }
        outbox.append(bytes)
        wakeUp()
    }

    package func send(_ text: String) { send(Array(text.utf8)) }

    /// Does `what` when everything queued has gone out.
    package func whenDrained(_ what: Pace.Stop) {
        whenDrained = what
        wakeUp()
    }

    package func shutdownWrite() {
        world.note("actor", "\(name) shuts its writing down")
        _ = socket.shutdownWrite()
    }

    package func close() {
        if !isOpen { return }
        world.note("actor", "\(name) closes")
        end()
    }

    package func reset() {
        if !isOpen { return }
        world.note("actor", "\(name) resets")
        socket.resetsOnClose = true
        end()
    }

    private func end() {
        isOpen = false
        script = nil
        outbox.removeAll()
        socket.onWake = nil
        world.close(socket)
    }

    private func fail(_ error: Int32) {
        guard isOpen, let script else { return }
        world.note("actor", "\(name) fails with errno \(error)")
        end()
        script.failed(self, error: error)
    }

    // MARK: Turns

    private func wakeUp() {
        if turnIsPlanned || !isOpen { return }
        turnIsPlanned = true
        world.after(world.dice.pick(world.network.reactionNs)) {
            self.turnIsPlanned = false
            self.turn()
        }
    }

    private func wakeUp(atNs: UInt64) {
        world.after(atNs - world.nowNs) { self.wakeUp() }
    }

    private func turn() {
        if !isConnected && isOpen {
            if socket.phase == .dead { return fail(socket.takeError()) }
            if socket.phase != .connected { return }
            isConnected = true
            script?.connected(self)
        }
        read()
        write()
    }

    private func read() {
        while isOpen, !isStalled, !isReadingPaused, !hasEnded, readsAgainNs <= world.nowNs {
            var count = world.dice.pick(pace.readBytes)
            if let stop = pace.stopAfterRead { count = max(1, min(count, stop - bytesRead)) }
            var result = 0
            let memory = [UInt8](unsafeUninitializedCapacity: min(count, 1 << 20)) { raw, filled in
                if let base = raw.baseAddress { result = socket.receive(base, raw.count, peek: false) }
                filled = max(0, result)
            }
            if result == Int(-EAGAIN) { return }
            if result < 0 { return fail(Int32(-result)) }
            if result == 0 {
                hasEnded = true
                script?.ended(self)
                return
            }
            bytesRead += result
            script?.received(self, memory)
            if let stop = pace.stopAfterRead, bytesRead >= stop {
                pace.stopAfterRead = nil
                halt()
            }
            let gapNs = world.dice.pick(pace.readGapNs)
            if gapNs > 0 {
                readsAgainNs = max(readsAgainNs, world.nowNs + gapNs)
                wakeUp(atNs: readsAgainNs)
            }
        }
    }

    private func write() {
        while isOpen, !isStalled, !outbox.isEmpty, writesAgainNs <= world.nowNs {
            var count = min(outbox.count, world.dice.pick(pace.writeBytes))
            if let stop = pace.stopAfterWritten { count = max(1, min(count, stop - bytesWritten)) }
            let result = outbox.withFront(count) { raw in raw.baseAddress.map { socket.send($0, raw.count) } ?? 0 }
            if result == Int(-EAGAIN) { return }
            if result < 0 {
                // What came before the failure may still be read, as an answer sent early by an end that then closed.
                outbox.removeAll()
                if hasEnded || socket.inbox.isEmpty { fail(Int32(-result)) }
                return
            }
            bytesWritten += result
            outbox.drop(result)
            if let stop = pace.stopAfterWritten, bytesWritten >= stop {
                pace.stopAfterWritten = nil
                halt()
            }
            let gapNs = world.dice.pick(pace.writeGapNs)
            if gapNs > 0 {
                writesAgainNs = max(writesAgainNs, world.nowNs + gapNs)
                wakeUp(atNs: writesAgainNs)
            }
        }
        if isOpen, !isStalled, outbox.isEmpty, isConnected {
            let what = whenDrained
            whenDrained = nil
            script?.drained(self)
            if let what { carryOut(what) }
        }
    }

    private func halt() {
        world.note("actor", "\(name) stops after \(bytesRead) read, \(bytesWritten) written")
        let script = script
        carryOut(pace.stop)
        script?.stopped(self)
    }

    private func carryOut(_ what: Pace.Stop) {
        switch what {
        case .stall: isStalled = true
        case .pause(let ns):
            readsAgainNs = world.nowNs + ns
            writesAgainNs = world.nowNs + ns
            wakeUp(atNs: readsAgainNs)
        case .close: close()
        case .reset: reset()
        case .shutdownWrite: shutdownWrite()
        }
    }
}

/// A listening actor: hands each accepted connection to `script`.
package final class ActorListener {
    package let address: Address
    private let world: World
    private var socket: StreamSocket?
    private let backlog: Int32
    private let accepted: (ActorListener, Int) -> (name: String, pace: Pace, script: any ConnectionScript)
    private let took: (ActorConnection) -> Void
    /// How many connections were accepted.
    package private(set) var acceptedCount = 0
    /// While true connections wait in the queue, as with a process that hangs.
    package var isPaused = false { didSet { if !isPaused { acceptAll() } } }

    /// `accepted` gives the script of the n-th connection; `took` hears of the connection made from it.
    package init(
        _ world: World, at address: Address, backlog: Int32 = 511,
        accepted: @escaping (ActorListener, Int) -> (name: String, pace: Pace, script: any ConnectionScript),
        took: @escaping (ActorConnection) -> Void = { _ in }
    ) {
        self.world = world
        self.address = address
        self.backlog = backlog
        self.accepted = accepted
        self.took = took
        listen()
    }

    package var isListening: Bool { socket != nil }

    /// Listens (again). Traps when the address is in use: a mistake of the test.
    package func listen() {
        if socket != nil { return }
        let socket = StreamSocket(world: world, family: address.family)
        socket.options[Int(SOL_SOCKET) << 16 | Int(SO_REUSEADDR)] = 1
        let result = world.bind(socket, address)
        precondition(result == 0 && world.listen(socket, backlog: backlog) == 0, "\(address) cannot be bound: \(result)")
        self.socket = socket
        socket.onWake = { [unowned self] in world.after(world.dice.pick(world.network.reactionNs)) { self.acceptAll() } }
    }

    /// Stops listening: new connections are refused, waiting ones reset, accepted ones go on.
    package func stop() {
        if let socket { world.close(socket) }
        socket = nil
        if case .local(let path) = address, path.first != 0 { world.files.remove(String(decoding: path, as: UTF8.self)) }
    }

    private func acceptAll() {
        while !isPaused, let socket, let next = world.accept(socket) {
            acceptedCount += 1
            let (name, pace, script) = accepted(self, acceptedCount - 1)
            took(ActorConnection(world, accepted: next, name: name, pace: pace, script: script))
        }
    }
}
