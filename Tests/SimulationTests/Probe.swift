// A notebook beside a kernel: makes calls on named sockets and writes down what each answered, in words equal on all kernels.
// Used by the scenarios that compare the simulated kernel with Linux.

import CLinux
import Engine
import Simulation

final class Probe {
    let kernel: any Kernel
    let family: Int32
    private(set) var log: [String] = []
    private let epoll: Int32
    private var names: [String] = []
    private var fds: [String: Int32] = [:]
    private let place: [UInt8]

    static let edge = Readiness.readable | Readiness.writable | Readiness.peerClosed | Readiness.edgeTriggered

    /// `place`: where the probe listens; port 0 and local names are made unique by the caller.
    init(_ kernel: any Kernel, listenAt place: Address) {
        self.kernel = kernel
        self.place = place.bytes
        family = place.family
        epoll = kernel.epollCreate()
    }

    func finish() -> [String] {
        for name in fds.keys.sorted() { if let fd = fds[name] { kernel.close(fd) } }
        kernel.close(epoll)
        return log
    }

    func say(_ text: String) { log.append(text) }

    func word(_ result: Int) -> String {
        if result >= 0 { return String(result) }
        let known: [Int32: String] = [
            EAGAIN: "EAGAIN", EPIPE: "EPIPE", ECONNRESET: "ECONNRESET", ECONNREFUSED: "ECONNREFUSED", ENOTCONN: "ENOTCONN",
            EINPROGRESS: "EINPROGRESS", EISCONN: "EISCONN", EALREADY: "EALREADY", EINVAL: "EINVAL", EADDRINUSE: "EADDRINUSE",
            ENOENT: "ENOENT", EEXIST: "EEXIST", EBADF: "EBADF", ENOTSOCK: "ENOTSOCK", EPERM: "EPERM", EISDIR: "EISDIR",
            ENOTDIR: "ENOTDIR", ECONNABORTED: "ECONNABORTED", EAFNOSUPPORT: "EAFNOSUPPORT", ENXIO: "ENXIO",
        ]
        return known[Int32(-result)] ?? "errno \(-result)"
    }

    func fd(_ name: String) -> Int32 { fds[name] ?? -1 }

    func keep(_ name: String, _ fd: Int32) {
        if fd >= 0 {
            fds[name] = fd
        } else {
            say("\(name): \(word(Int(fd)))")
        }
    }

    // MARK: Sockets

    func socket(_ name: String) { keep(name, kernel.socket(family: family, type: Int32(SOCK_STREAM.rawValue))) }

    func listener(_ name: String, backlog: Int32 = 16) {
        socket(name)
        bind(name, to: place)
        say("\(name) listen \(word(Int(kernel.listen(fd(name), backlog: backlog))))")
    }

    func bind(_ name: String, to address: [UInt8]) {
        say("\(name) bind \(word(Int(kernel.bind(fd(name), address, UInt32(address.count)))))")
    }

    func address(of name: String) -> [UInt8] {
        var memory = [UInt8](repeating: 0, count: 128)
        var length: UInt32 = 128
        _ = kernel.socketName(fd(name), &memory, &length)
        return Array(memory.prefix(Int(length)))
    }

    func connect(_ name: String, to other: String) {
        connect(name, address: address(of: other))
    }

    func connect(_ name: String, address: [UInt8]) {
        say("\(name) connect \(word(Int(kernel.connect(fd(name), address, UInt32(address.count)))))")
    }

    func accept(_ name: String, as accepted: String) -> [UInt8] {
        var memory = [UInt8](repeating: 0, count: 128)
        var length: UInt32 = 128
        let fd = kernel.accept(fd(name), &memory, &length)
        say("\(name) accept \(fd >= 0 ? "ok" : word(Int(fd)))")
        if fd >= 0 { fds[accepted] = fd }
        return fd >= 0 ? Array(memory.prefix(Int(length))) : []
    }

    /// A listener `l`, a connected `a` and its accepted end `b`.
    func pair() {
        listener("l")
        socket("a")
        connect("a", to: "l")
        _ = accept("l", as: "b")
    }

    func send(_ name: String, _ text: String) {
        let bytes = Array(text.utf8)
        say("\(name) send \(bytes.count): \(word(kernel.send(fd(name), bytes, bytes.count, flags: 0)))")
    }

    func receive(_ name: String, _ count: Int = 100, flags: Int32 = 0) {
        var memory = [UInt8](repeating: 0, count: count)
        let result = kernel.receive(fd(name), &memory, count, flags: flags)
        let text = result > 0 ? " '\(String(decoding: memory.prefix(result), as: UTF8.self))'" : ""
        say("\(name) receive \(word(result))\(text)")
    }

    /// Sends until the kernel takes no more; says only that it ended so.
    func fill(_ name: String) -> Int {
        let block = [UInt8](repeating: 7, count: 65_536)
        var total = 0
        while true {
            let result = kernel.send(fd(name), block, block.count, flags: 0)
            if result <= 0 {
                say("\(name) fill ends with \(word(result))")
                return total
            }
            total += result
        }
    }

    func empty(_ name: String) -> Int {
        var memory = [UInt8](repeating: 0, count: 65_536)
        var total = 0
        while true {
            let result = kernel.receive(fd(name), &memory, memory.count, flags: 0)
            if result <= 0 {
                say("\(name) empty ends with \(word(result))")
                return total
            }
            total += result
        }
    }

    /// Reads once and says nothing; returns how much came.
    func drainQuietly(_ name: String, _ count: Int) -> Int {
        var memory = [UInt8](repeating: 0, count: count)
        return max(0, kernel.receive(fd(name), &memory, count, flags: 0))
    }

    func shutdown(_ name: String) { say("\(name) shutdown \(word(Int(kernel.shutdownWrite(fd(name)))))") }
    func error(_ name: String) {
        say("\(name) SO_ERROR \(word(-Int(kernel.getOption(fd(name), level: SOL_SOCKET, name: SO_ERROR))))")
    }
    func close(_ name: String) {
        kernel.close(fd(name))
        fds[name] = nil
        say("\(name) close")
    }
    func reset(_ name: String) {
        kernel.resetOnClose(fd(name))
        close(name)
    }

    // MARK: Readiness

    func watch(_ name: String, _ events: UInt32 = Probe.edge) {
        names.append(name)
        let result = kernel.epollAdd(epoll, fd(name), events: events, data: UInt64(names.count - 1))
        say("watch \(name) \(word(Int(result)))")
    }

    func unwatch(_ name: String) { say("unwatch \(name) \(word(Int(kernel.epollRemove(epoll, fd(name)))))") }

    /// Waits a moment and writes down the events, sorted by name.
    func events(timeoutMs: Int32 = 5) { say("events \(eventsQuietly(timeoutMs: timeoutMs))") }

    func eventsQuietly(timeoutMs: Int32 = 5) -> String {
        var memory = [KernelEvent](repeating: KernelEvent(bits: 0, data: 0), count: 16)
        let count = memory.withUnsafeMutableBufferPointer { kernel.epollWait(epoll, into: $0, timeoutMs: timeoutMs) }
        let words = memory.prefix(max(0, Int(count))).map { "\(names[Int($0.data)])=\(Self.bits($0.bits))" }
        return words.sorted().joined(separator: " ")
    }

    static func bits(_ bits: UInt32) -> String {
        let all: [(UInt32, String)] = [
            (Readiness.readable, "IN"), (Readiness.writable, "OUT"), (Readiness.peerClosed, "RDHUP"),
            (Readiness.hangUp, "HUP"), (Readiness.error, "ERR"),
        ]
        return all.filter { bits & $0.0 != 0 }.map(\.1).joined(separator: "|")
    }
}
