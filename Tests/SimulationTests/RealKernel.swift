// Linux itself behind `Kernel`, so that the same scenario can run on both and the answers be compared.
// Used by EqualityTests alone; the engine has its own.

import CLinux
import Engine

final class RealKernel: Kernel {
    func monotonicNs() -> UInt64 { clinux_monotonic_ns() }
    func realtimeNs() -> Int64 { clinux_realtime_ns() }
    func random() -> UInt64 {
        var word: UInt64 = 0
        _ = clinux_random(&word, 8)
        return word
    }

    func epollCreate() -> Int32 { clinux_epoll_create() }
    func epollAdd(_ epoll: Int32, _ fd: Int32, events: UInt32, data: UInt64) -> Int32 {
        clinux_epoll_add(epoll, fd, events, data)
    }
    func epollRemove(_ epoll: Int32, _ fd: Int32) -> Int32 { clinux_epoll_remove(epoll, fd) }
    func epollWait(_ epoll: Int32, into events: UnsafeMutableBufferPointer<KernelEvent>, timeoutMs: Int32) -> Int32 {
        var raw = [epoll_event](repeating: epoll_event(), count: events.count)
        let count = clinux_epoll_wait(epoll, &raw, Int32(events.count), timeoutMs)
        for i in 0..<max(0, Int(count)) { events[i] = KernelEvent(bits: raw[i].events, data: raw[i].data.u64) }
        return count
    }
    func eventCreate() -> Int32 { clinux_eventfd() }
    func eventSignal(_ fd: Int32) {
        var one: UInt64 = 1
        _ = clinux_write(fd, &one, 8)
    }
    func eventDrain(_ fd: Int32) {
        var value: UInt64 = 0
        _ = clinux_read(fd, &value, 8)
    }

    func socket(family: Int32, type: Int32) -> Int32 { clinux_socket(family, type) }
    func bind(_ fd: Int32, _ address: UnsafeRawPointer, _ length: UInt32) -> Int32 { clinux_bind(fd, address, length) }
    func listen(_ fd: Int32, backlog: Int32) -> Int32 { clinux_listen(fd, backlog) }
    func accept(_ fd: Int32, _ address: UnsafeMutableRawPointer, _ length: inout UInt32) -> Int32 {
        clinux_accept(fd, address, &length)
    }
    func connect(_ fd: Int32, _ address: UnsafeRawPointer, _ length: UInt32) -> Int32 { clinux_connect(fd, address, length) }
    func socketName(_ fd: Int32, _ address: UnsafeMutableRawPointer, _ length: inout UInt32) -> Int32 {
        clinux_socket_name(fd, address, &length)
    }
    func receive(_ fd: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int, flags: Int32) -> Int {
        clinux_recv(fd, buffer, count, flags)
    }
    func send(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int, flags: Int32) -> Int {
        clinux_send(fd, buffer, count, flags)
    }
    func sendFile(_ fd: Int32, file: Int32, offset: inout Int64, _ count: Int) -> Int {
        clinux_sendfile(fd, file, &offset, count)
    }
    func peerUser(_ fd: Int32) -> Int32 { clinux_peer_user(fd) }
    func shutdownWrite(_ fd: Int32) -> Int32 { clinux_shutdown(fd, Int32(SHUT_WR)) }
    func setOption(_ fd: Int32, level: Int32, name: Int32, value: Int32) -> Int32 { clinux_set_option(fd, level, name, value) }
    func getOption(_ fd: Int32, level: Int32, name: Int32) -> Int32 { clinux_get_option(fd, level, name) }
    func useReno(_ fd: Int32) { _ = clinux_set_congestion_control(fd, "reno") }
    func resetOnClose(_ fd: Int32) { _ = clinux_set_linger(fd, 1, 0) }
    func close(_ fd: Int32) { _ = clinux_close(fd) }

    func open(_ path: UnsafePointer<CChar>, flags: Int32, mode: UInt32) -> Int32 { clinux_open(path, flags, mode) }
    func duplicate(_ fd: Int32) -> Int32 { clinux_duplicate(fd) }

    func fileFacts(_ fd: Int32, _ facts: inout FileFacts) -> Int32 {
        var raw = clinux_file_facts()
        let result = clinux_file_facts(fd, &raw)
        facts.size = raw.size
        facts.modifiedSeconds = raw.modified_seconds
        facts.mode = raw.mode
        return result
    }
    func write(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int) -> Int { clinux_write(fd, buffer, count) }
    func readAt(_ fd: Int32, _ buffer: UnsafeMutableRawPointer, _ count: Int, offset: Int64) -> Int {
        clinux_pread(fd, buffer, count, offset)
    }
    func writeAt(_ fd: Int32, _ buffer: UnsafeRawPointer, _ count: Int, offset: Int64) -> Int {
        clinux_pwrite(fd, buffer, count, offset)
    }
    func unlink(_ path: UnsafePointer<CChar>) -> Int32 { clinux_unlink(path) }
}
