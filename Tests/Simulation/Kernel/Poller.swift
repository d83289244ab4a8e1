// Simulated epoll: who watches what, and what became ready, edge- and level-triggered as Linux does it.
// Sockets and counters wake their watches; the kernel collects events. It neither waits nor moves the clock.

import Engine

/// Something that can be watched for readiness.
class Waitable {
    fileprivate(set) var watches: [Watch] = []

    /// The readiness bits now, as poll(2) would compute them.
    func readiness() -> UInt32 { 0 }

    /// Tells the watches that something changed. `key`: what kind of readiness, or 0 when everything may have changed.
    func wake(_ key: UInt32) {
        for watch in watches where key == 0 || key & watch.mask != 0 { watch.poller.enqueue(watch) }
    }

    /// Ends all watches, as the last close of a descriptor does.
    func unwatch() {
        for watch in watches { watch.poller.forget(watch) }
        watches = []
    }
}

final class Watch {
    unowned let poller: Poller
    let target: Waitable
    let fd: Int32
    let events: UInt32
    let data: UInt64
    fileprivate var isQueued = false
    fileprivate var isAlive = true

    /// Errors and hang-ups are always reported.
    var mask: UInt32 { events | Readiness.error | Readiness.hangUp }

    init(poller: Poller, target: Waitable, fd: Int32, events: UInt32, data: UInt64) {
        self.poller = poller
        self.target = target
        self.fd = fd
        self.events = events
        self.data = data
    }
}

final class Poller {
    private var watches: [Int32: Watch] = [:]
    private var ready: [Watch] = []

    func watch(_ fd: Int32) -> Watch? { watches[fd] }

    func add(_ watch: Watch) {
        watches[watch.fd] = watch
        watch.target.watches.append(watch)
        if watch.target.readiness() & watch.mask & 0xFFFF != 0 { enqueue(watch) }
    }

    func remove(_ watch: Watch) {
        watch.target.watches.removeAll { $0 === watch }
        forget(watch)
    }

    fileprivate func forget(_ watch: Watch) {
        watch.isAlive = false
        watches[watch.fd] = nil
    }

    func removeAll() {
        let all = watches.keys.sorted().compactMap { watches[$0] }
        for watch in all { remove(watch) }
        ready = []
    }

    fileprivate func enqueue(_ watch: Watch) {
        if watch.isQueued || !watch.isAlive { return }
        watch.isQueued = true
        ready.append(watch)
    }

    /// Fills `events` with what is ready, in an order drawn from `dice`; returns how many.
    func collect(into events: UnsafeMutableBufferPointer<KernelEvent>, _ dice: inout SplitMix64) -> Int32 {
        if ready.isEmpty { return 0 }
        var candidates = ready
        ready = []
        if candidates.count > 1 { candidates.shuffle(using: &dice) }
        var count = 0
        for watch in candidates {
            watch.isQueued = false
            if !watch.isAlive { continue }
            if count == events.count {
                enqueue(watch)
                continue
            }
            let bits = watch.target.readiness() & watch.mask & 0xFFFF
            if bits == 0 { continue }
            events[count] = KernelEvent(bits: bits, data: watch.data)
            count += 1
            if watch.events & Readiness.edgeTriggered == 0 { enqueue(watch) }
        }
        return Int32(count)
    }
}

/// A simulated eventfd.
final class EventCounter: Waitable {
    private var value: UInt64 = 0

    override func readiness() -> UInt32 { value > 0 ? Readiness.readable | Readiness.writable : Readiness.writable }

    func signal() {
        value += 1
        wake(Readiness.readable)
    }

    func drain() {
        if value == 0 { return }
        value = 0
        wake(Readiness.writable)
    }
}
