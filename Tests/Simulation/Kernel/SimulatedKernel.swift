// The simulated operating system as the engine sees it: descriptors, time and readiness. Sockets and files are beside it.
// Made by the world; the engine under test gets it as its `Kernel`. It obeys the world's fault plan.

import CLinux
import Engine

package final class SimulatedKernel: Kernel {
    enum Descriptor {
        case socket(StreamSocket)
        case poller(Poller)
        case counter(EventCounter)
        case file(FileSystem.OpenFile)
    }

    unowned let world: World
    private var table: [Descriptor?] = [nil, nil, nil]
    private var engineDice: SplitMix64
    /// How many descriptors may be open; beyond, -EMFILE.
    package var descriptorsMax = 1 << 20
    /// Descriptors open now: 0 when the engine has ended and leaked nothing.
    package private(set) var openDescriptors = 0
    /// Calls made so far, by which budgets are counted.
    package private(set) var calls = 0

    init(world: World, seed: UInt64) {
        self.world = world
        engineDice = SplitMix64(seed: seed ^ 0x5EED_0F0F_5EED_0F0F)
    }

    // MARK: Bookkeeping

    /// Begins a call: it costs time.
    func begin() {
        calls += 1
        world.spend(world.dice.pick(world.network.callCostNs))
    }

    /// Ends a call with a line of the trace.
    func end<T: FixedWidthInteger>(_ call: StaticString, _ a: Int, _ b: Int = 0, _ result: T) -> T {
        world.record(call, a, b, Int(result))
        return result
    }

    func find(_ fd: Int32) -> Descriptor? { table.indices.contains(Int(fd)) ? table[Int(fd)] : nil }

    func stream(_ fd: Int32) -> StreamSocket? {
        if case .socket(let socket) = find(fd) { return socket }
        return nil
    }

    func openFile(_ fd: Int32) -> FileSystem.OpenFile? {
        if case .file(let file) = find(fd) { return file }
        return nil
    }

    /// -EBADF for what is not open, -ENOTSOCK for what is no socket.
    func noSocket(_ fd: Int32) -> Int32 { find(fd) == nil ? -EBADF : -ENOTSOCK }

    var isOutOfDescriptors: Bool { openDescriptors >= descriptorsMax || world.dice.chance(world.faults.noDescriptor) }

    /// Gives the lowest free number, as Linux does: numbers of closed descriptors come back at once.
    func install(_ descriptor: Descriptor) -> Int32 {
        openDescriptors += 1
        for i in 3..<table.count where table[i] == nil {
            table[i] = descriptor
            return Int32(i)
        }
        table.append(descriptor)
        return Int32(table.count - 1)
    }

    package func close(_ fd: Int32) {
        begin()
        guard let descriptor = find(fd) else {
            world.record("close of what is not open", Int(fd), 0, Int(-EBADF))
            closedTwice += 1
            return
        }
        table[Int(fd)] = nil
        openDescriptors -= 1
        switch descriptor {
        case .socket(let socket): world.close(socket)
        case .poller(let poller): poller.removeAll()
        case .counter(let counter): counter.unwatch()
        case .file(let file): world.files.close(file)
        }
        world.record("close", Int(fd), 0, 0)
    }

    /// How often `close` was called for a descriptor that was not open: a bug wherever it happens.
    package private(set) var closedTwice = 0

    func closeEverything() {
        for fd in 3..<table.count where table[fd] != nil { close(Int32(fd)) }
    }

    /// What is open, for the message of a failed leak check.
    package var openDescriptorsStory: String {
        (3..<table.count).compactMap { fd -> String? in
            switch table[fd] {
            case .socket(let socket):
                "\(fd): \(socket.phase) \(socket.local?.description ?? "-") > \(socket.remote?.description ?? "-")"
            case .poller: "\(fd): epoll"
            case .counter: "\(fd): event"
            case .file: "\(fd): file"
            case nil: nil
            }
        }.joined(separator: "\n")
    }

    // MARK: Time and chance

    package func monotonicNs() -> UInt64 {
        begin()
        return world.nowNs
    }

    package func realtimeNs() -> Int64 {
        begin()
        return Int64(world.nowNs) + world.wallOffsetNs
    }

    package func random() -> UInt64 { engineDice.next() }

    // MARK: Readiness

    package func epollCreate() -> Int32 {
        begin()
        return end("epollCreate", 0, 0, isOutOfDescriptors ? -EMFILE : install(.poller(Poller())))
    }

    package func epollAdd(_ epoll: Int32, _ fd: Int32, events: UInt32, data: UInt64) -> Int32 {
        begin()
        return end("epollAdd", Int(fd), Int(events), add(epoll, fd, events, data))
    }

    private func add(_ epoll: Int32, _ fd: Int32, _ events: UInt32, _ data: UInt64) -> Int32 {
        guard case .poller(let poller) = find(epoll), let descriptor = find(fd) else { return -EBADF }
        let target: Waitable
        switch descriptor {
        case .socket(let socket): target = socket
        case .counter(let counter): target = counter
        case .file: return -EPERM
        case .poller: return -EINVAL
        }
        if poller.watch(fd) != nil { return -EEXIST }
        poller.add(Watch(poller: poller, target: target, fd: fd, events: events, data: data))
        return 0
    }

    package func epollRemove(_ epoll: Int32, _ fd: Int32) -> Int32 {
        begin()
        guard case .poller(let poller) = find(epoll), find(fd) != nil else { return end("epollRemove", Int(fd), 0, -EBADF) }
        guard let watch = poller.watch(fd) else { return end("epollRemove", Int(fd), 0, -ENOENT) }
        poller.remove(watch)
        return end("epollRemove", Int(fd), 0, 0 as Int32)
    }

    package func epollWait(_ epoll: Int32, into events: UnsafeMutableBufferPointer<KernelEvent>, timeoutMs: Int32) -> Int32 {
        begin()
        guard case .poller(let poller) = find(epoll) else { return end("epollWait", Int(epoll), 0, -EBADF) }
        if world.dice.chance(world.faults.interrupted) { return end("epollWait", Int(epoll), Int(timeoutMs), -EINTR) }
        let deadlineNs = timeoutMs < 0 ? nil : world.nowNs + UInt64(timeoutMs) * 1_000_000
        world.doWhatIsDue()
        while true {
            let count = poller.collect(into: events, &world.dice)
            if count > 0 { return end("epollWait", Int(epoll), Int(timeoutMs), count) }
            if world.advance(deadlineNs: deadlineNs) == .over { return end("epollWait", Int(epoll), Int(timeoutMs), 0 as Int32) }
        }
    }

    package func eventCreate() -> Int32 {
        begin()
        return end("eventCreate", 0, 0, isOutOfDescriptors ? -EMFILE : install(.counter(EventCounter())))
    }

    package func eventSignal(_ fd: Int32) {
        begin()
        world.record("eventSignal", Int(fd), 0, 0)
        if case .counter(let counter) = find(fd) { counter.signal() }
    }

    package func eventDrain(_ fd: Int32) {
        begin()
        world.record("eventDrain", Int(fd), 0, 0)
        if case .counter(let counter) = find(fd) { counter.drain() }
    }
}
