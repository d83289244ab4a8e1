// A relay of streams written against `Kernel`, by the engine's own rules: registered once, edge-triggered, a short read means
// drained. It shows that a loop which obeys these rules loses nothing in the simulation.
// Used by RelayTests on both kernels.

import CLinux
import Engine

final class TinyProxy {
    /// Bugs to plant, by which the simulation is tested.
    enum Bug: CaseIterable, Sendable {
        /// Believes a short read even when an event spoke of the end.
        case missesEnds
        /// Takes -EINTR for the end of what there is.
        case stopsWhenInterrupted
        /// Drops what a short write left.
        case losesShortWrites
        /// Forgets to close the other end.
        case leaks
        /// Takes a reset for an end.
        case mistakesResets
    }

    var bug: Bug?
    private final class End {
        let fd: Int32
        var queue: [UInt8] = []
        var other: End?
        var isConnecting = false
        var mayRead = false
        /// An event spoke of an end or an error: read until it shows, even after a short read.
        var sawHint = false
        var sawEnd = false
        var endPassedOn = false
        var isClosed = false
        init(_ fd: Int32) { self.fd = fd }
    }

    private let kernel: any Kernel
    private let epoll: Int32
    private let listener: Int32
    private let upstream: [UInt8]
    private var ends: [UInt64: End] = [:]
    private var nextKey: UInt64 = 1
    private let queueMax: Int
    private(set) var acceptErrors: [Int32] = []
    private var memory = [UInt8](repeating: 0, count: 65_536)
    private var events = [KernelEvent](repeating: KernelEvent(bits: 0, data: 0), count: 8)

    init(_ kernel: any Kernel, listenAt place: [UInt8], upstream: [UInt8], queueMax: Int = 32_768, backlog: Int32 = 511) {
        self.kernel = kernel
        self.upstream = upstream
        self.queueMax = queueMax
        epoll = kernel.epollCreate()
        listener = kernel.socket(family: Self.family(place), type: Int32(SOCK_STREAM.rawValue))
        _ = kernel.bind(listener, place, UInt32(place.count))
        _ = kernel.listen(listener, backlog: backlog)
        _ = kernel.epollAdd(epoll, listener, events: Readiness.readable, data: 0)
    }

    private static func family(_ address: [UInt8]) -> Int32 { Int32(address[0]) | Int32(address[1]) << 8 }

    var listenerAddress: [UInt8] {
        var bytes = [UInt8](repeating: 0, count: 128)
        var length: UInt32 = 128
        _ = kernel.socketName(listener, &bytes, &length)
        return Array(bytes.prefix(Int(length)))
    }

    var openEnds: Int { ends.count }

    func shutdown() {
        for key in ends.keys.sorted() { if let end = ends[key] { close(end, reset: true) } }
        kernel.close(listener)
        kernel.close(epoll)
    }

    func turn(timeoutMs: Int32 = -1) {
        let count = events.withUnsafeMutableBufferPointer { kernel.epollWait(epoll, into: $0, timeoutMs: timeoutMs) }
        if count <= 0 { return }
        for event in events.prefix(Int(count)) {
            if event.data == 0 { acceptAll() } else if let end = ends[event.data] { handle(end, event.bits) }
        }
        for (key, end) in ends where end.isClosed {
            end.other = nil
            ends[key] = nil
        }
    }

    private func acceptAll() {
        while true {
            var address = [UInt8](repeating: 0, count: 128)
            var length: UInt32 = 128
            let fd = kernel.accept(listener, &address, &length)
            if fd == -EINTR { continue }
            if fd < 0 {
                if fd != -EAGAIN { acceptErrors.append(fd) }
                return
            }
            let up = kernel.socket(family: Self.family(upstream), type: Int32(SOCK_STREAM.rawValue))
            if up < 0 {
                kernel.close(fd)
                continue
            }
            let (a, b) = (End(fd), End(up))
            a.other = b
            b.other = a
            let result = kernel.connect(up, upstream, UInt32(upstream.count))
            b.isConnecting = result == -EINPROGRESS
            add(a)
            add(b)
            if result < 0 && result != -EINPROGRESS { close(b, reset: true) }
        }
    }

    private func add(_ end: End) {
        ends[nextKey] = end
        let bits = Readiness.readable | Readiness.writable | Readiness.peerClosed | Readiness.edgeTriggered
        _ = kernel.epollAdd(epoll, end.fd, events: bits, data: nextKey)
        nextKey += 1
    }

    private func handle(_ end: End, _ bits: UInt32) {
        guard !end.isClosed, let other = end.other else { return }
        if end.isConnecting {
            if kernel.getOption(end.fd, level: SOL_SOCKET, name: SO_ERROR) != 0 { return close(end, reset: true) }
            if bits & Readiness.writable == 0 { return }
            end.isConnecting = false
        }
        if bits & (Readiness.readable | Readiness.peerClosed | Readiness.hangUp | Readiness.error) != 0 { end.mayRead = true }
        let mayHaveEnded = bits & (Readiness.peerClosed | Readiness.hangUp | Readiness.error) != 0
        if mayHaveEnded { end.sawHint = true }
        flush(end)
        pump(from: end, to: other)
        if !end.isClosed && !other.isClosed { pump(from: other, to: end) }
    }

    /// Reads what there is, as far as the other end's queue has room.
    private func pump(from end: End, to other: End) {
        while end.mayRead, !end.isClosed, !end.isConnecting, other.queue.count < queueMax {
            let want = min(memory.count, queueMax - other.queue.count)
            let result = memory.withUnsafeMutableBytes { raw in
                raw.baseAddress.map { kernel.receive(end.fd, $0, want, flags: 0) } ?? 0
            }
            if result == Int(-EINTR) && bug != .stopsWhenInterrupted { continue }
            if result == Int(-EAGAIN) || result == Int(-EINTR) {
                end.mayRead = false
            } else if result < 0 && bug != .mistakesResets {
                return close(end, reset: true)
            } else if result <= 0 {
                end.mayRead = false
                end.sawEnd = true
            } else {
                other.queue += memory.prefix(result)
                if result < want && (!end.sawHint || bug == .missesEnds) { end.mayRead = false }
            }
            flush(other)
            if other.isClosed || end.isClosed { return }
        }
        passEndOn(end, other)
    }

    private func flush(_ end: End) {
        while !end.queue.isEmpty, !end.isClosed, !end.isConnecting {
            let result = end.queue.withUnsafeBytes { raw in
                raw.baseAddress.map { kernel.send(end.fd, $0, raw.count, flags: 0) } ?? 0
            }
            if result == Int(-EINTR) { continue }
            if result == Int(-EAGAIN) { return }
            if result < 0 { return close(end, reset: true) }
            end.queue.removeFirst(bug == .losesShortWrites ? end.queue.count : result)
        }
    }

    private func passEndOn(_ end: End, _ other: End) {
        if end.sawEnd && other.queue.isEmpty && !other.isConnecting && !end.endPassedOn {
            end.endPassedOn = true
            _ = kernel.shutdownWrite(other.fd)
        }
        if end.endPassedOn && other.endPassedOn { close(end, reset: false) }
    }

    private func close(_ end: End, reset: Bool) {
        for one in [end, bug == .leaks ? nil : end.other].compactMap({ $0 }) where !one.isClosed {
            one.isClosed = true
            if reset { kernel.resetOnClose(one.fd) }
            kernel.close(one.fd)
        }
    }
}
