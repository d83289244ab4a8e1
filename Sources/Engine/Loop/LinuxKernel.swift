// The real kernel: each call goes straight to the C wrappers of CLinux.
// Made once for each worker by Control. Holds nothing but a few random bytes read ahead.

import CLinux

package final class LinuxKernel: Kernel {
    private var randomAhead: InlineArray<64, UInt64> = .init(repeating: 0)
    private var randomLeft = 0

    private let rawEvents = UnsafeMutablePointer<epoll_event>.allocate(capacity: Limits.eventsPerTurn)

    package init() {}

    deinit { rawEvents.deallocate() }

    package func monotonicNs() -> UInt64 { clinux_monotonic_ns() }
    package func realtimeNs() -> Int64 { clinux_realtime_ns() }

    package func random() -> UInt64 {
        if randomLeft == 0 {
            let size = MemoryLayout<InlineArray<64, UInt64>>.size
            let got = withUnsafeMutableBytes(of: &randomAhead) { clinux_random($0.baseAddress, $0.count) }
            // getrandom of up to 256 bytes cannot fail or be cut once the system is up; 512 may be cut by a signal.
            randomLeft = max(1, min(Int(got), size) / 8)
        }
        randomLeft -= 1
        return randomAhead[randomLeft]
    }

    package func epollCreate() -> Int32 { clinux_epoll_create() }
    package func epollAdd(_ epoll: Int32, _ fd: Int32, events: UInt32, data: UInt64) -> Int32 {
        clinux_epoll_add(epoll, fd, events, data)
    }
    package func epollRemove(_ epoll: Int32, _ fd: Int32) -> Int32 { clinux_epoll_remove(epoll, fd) }

    package func epollWait(_ epoll: Int32, into events: UnsafeMutableBufferPointer<KernelEvent>, timeoutMs: Int32) -> Int32 {
        // epoll_event is packed on x86-64 (12 bytes) and not elsewhere, so the events are copied out of C's array.
        let n = clinux_epoll_wait(epoll, rawEvents, Int32(min(events.count, Limits.eventsPerTurn)), timeoutMs)
        if n > 0 {
            for i in 0..<Int(n) { events[i] = KernelEvent(bits: rawEvents[i].events, data: rawEvents[i].data.u64) }
        }
        return n
    }

    package func eventCreate() -> Int32 { clinux_eventfd() }
    package func eventSignal(_ fd: Int32) {
        var one: UInt64 = 1
        _ = clinux_write(fd, &one, 8)
    }
    package func eventDrain(_ fd: Int32) {
        var count: UInt64 = 0
        _ = clinux_read(fd, &count, 8)
    }

    package func socket(family: Int32, type: Int32) -> Int32 { clinux_socket(family, type) }
    package func bind(_ fd: Int32, _ address: UnsafeRawPointer, _ length: UInt32) -> Int32 { clinux_bind(fd, address, length) }
    package func listen(_ fd: Int32, backlog: Int32) -> Int32 { clinux_listen(fd, backlog) }
    package func accept(_ fd: Int32, _ address: UnsafeMutableRawPointer, _ length: inout UInt32) -> Int32 {
        clinux_accept(fd, address, &length)
    }
    package func connect(_ fd: Int32, _ address: UnsafeRawPointer, _ length: UInt32) -> Int32 { clinux_connect(fd, address, length) }
    package func socketName(_ fd: Int32, _ address: UnsafeMutableRawPointer, _ length: inout UInt32) -> Int32 {
        clinux_socket_name(fd, address, &length)
    }
    package func receive(_ fd: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int, flags: Int32) -> Int {
        clinux_recv(fd, buffer, count, flags)
    }
    package func send(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int, flags: Int32) -> Int {
        clinux_send(fd, buffer, count, flags)
    }
    package func sendFile(_ fd: Int32, file: Int32, offset: inout Int64, _ count: Int) -> Int {
        clinux_sendfile(fd, file, &offset, count)
    }
    package func peerUser(_ fd: Int32) -> Int32 { clinux_peer_user(fd) }
    package func shutdownWrite(_ fd: Int32) -> Int32 { clinux_shutdown(fd, Int32(SHUT_WR)) }
    package func setOption(_ fd: Int32, level: Int32, name: Int32, value: Int32) -> Int32 {
        clinux_set_option(fd, level, name, value)
    }
    package func getOption(_ fd: Int32, level: Int32, name: Int32) -> Int32 { clinux_get_option(fd, level, name) }
    package func useReno(_ fd: Int32) { _ = clinux_set_congestion_control(fd, "reno") }
    package func resetOnClose(_ fd: Int32) { _ = clinux_set_linger(fd, 1, 0) }
    package func close(_ fd: Int32) { _ = clinux_close(fd) }

    package func open(_ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32 { clinux_open(path, flags, mode) }
    package func duplicate(_ fd: Int32) -> Int32 { clinux_duplicate(fd) }
    package func fileFacts(_ fd: Int32, _ facts: inout FileFacts) -> Int32 {
        var f = clinux_file_facts()
        let r = clinux_file_facts(fd, &f)
        facts.size = f.size
        facts.modifiedSeconds = f.modified_seconds
        facts.modifiedNs = f.modified_ns
        facts.inode = f.inode
        facts.mode = f.mode
        return r
    }
    package func write(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int) -> Int { clinux_write(fd, buffer, count) }
    package func readAt(_ fd: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int, offset: Int64) -> Int {
        clinux_pread(fd, buffer, count, offset)
    }
    package func writeAt(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int, offset: Int64) -> Int {
        clinux_pwrite(fd, buffer, count, offset)
    }
    package func unlink(_ path: UnsafePointer<CChar>) -> Int32 { clinux_unlink(path) }
}
