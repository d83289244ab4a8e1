// Owns both pools behind the proxy: two listeners whose connections answer their pool's name, late where asked, and echo
// what comes through tunnels. Traffic drives it; it knows the client's requests by their paths, nothing of the proxy.

import CKernel

/// `/fast/CONNECTION/NUMBER` is answered at once, `/slow/...` after a while, `/tunnel/...` becomes an echo.
/// The answer's body is `POOL CONNECTION NUMBER COMMANDED`: the last is the newest switch commanded when the request came.
final class Upstreams {
    private final class Connection {
        let fd: Int32
        let variant: Int
        let generation: Int
        var isTunnel = false
        var received: [UInt8] = []

        init(fd: Int32, variant: Int, generation: Int) {
            self.fd = fd
            self.variant = variant
            self.generation = generation
        }
    }

    private struct Late {
        let dueNs: Int64
        let fd: Int32
        let generation: Int
        let answer: [UInt8]
    }

    private let board: Board
    private let epoll: Int32
    private let listeners: [Int32]
    private let slowNs: Int64
    /// By descriptor.
    private var connections: [Connection?] = []
    private var generations = 0
    /// In order of their times, since all wait equally long; served from `lateBegin`.
    private var late: [Late] = []
    private var lateBegin = 0
    private var scratch = [UInt8](repeating: 0, count: 65536)

    init(options: Options, board: Board, epoll: Int32) throws(UsageError) {
        self.board = board
        slowNs = Int64(options.slowMs) * 1_000_000
        self.epoll = epoll
        var opened: [Int32] = []
        for port in [options.bluePort, options.greenPort] {
            let fd = kernel_listen(port)
            guard fd >= 0, kernel_epoll_add(epoll, fd, Traffic.upstreamBit | UInt64(fd)) == 0 else {
                throw UsageError(text: "cannot listen on port \(port): error \(-fd)")
            }
            opened.append(fd)
        }
        listeners = opened
    }

    /// One event of a descriptor that this object registered.
    func handle(_ data: UInt64) {
        let fd = Int32(truncatingIfNeeded: data)
        if let which = listeners.firstIndex(of: fd) {
            accept(listener: fd, variant: which)
        } else {
            receive(fd)
        }
    }

    func close() {
        for case let connection? in connections { kernel_close(connection.fd) }
        for fd in listeners { kernel_close(fd) }
    }

    /// How long a wait may take before a late answer is due, `most` at most.
    func waitMs(most: Int32) -> Int32 {
        guard lateBegin < late.count else { return most }
        return Int32(min(Int64(most), max(0, (late[lateBegin].dueNs - kernel_now_ns() + 999_999) / 1_000_000)))
    }

    private func accept(listener: Int32, variant: Int) {
        while true {
            let fd = kernel_accept(listener)
            guard fd >= 0 else { return }
            generations += 1
            while connections.count <= Int(fd) { connections.append(nil) }
            connections[Int(fd)] = Connection(fd: fd, variant: variant, generation: generations)
            _ = kernel_epoll_add(epoll, fd, Traffic.upstreamBit | UInt64(fd))
        }
    }

    private func close(_ fd: Int32) {
        connections[Int(fd)] = nil
        kernel_close(fd)
    }

    private func receive(_ fd: Int32) {
        guard let connection = connections[Int(fd)] else { return }
        let count = kernel_receive(fd, &scratch, scratch.count, 0)
        if count == -Int(EAGAIN) { return }
        guard count > 0 else { return close(fd) }
        if connection.isTunnel {
            _ = kernel_send(fd, scratch, count, 0)
            return
        }
        connection.received.append(contentsOf: scratch[..<count])
        var begin = 0
        while let end = headEnd(connection.received, from: begin, to: connection.received.count) {
            answer(begin, on: connection)
            begin = end
        }
        connection.received.removeFirst(begin)
    }

    /// Answers the request whose head begins at `begin`: `GET /KIND/CONNECTION/NUMBER HTTP/1.1`.
    private func answer(_ begin: Int, on connection: Connection) {
        let head = connection.received
        var marks: [Int] = []
        var i = begin
        while head[i] != UInt8(ascii: "\r") {
            if head[i] == UInt8(ascii: " ") || head[i] == UInt8(ascii: "/") { marks.append(i) }
            i += 1
        }
        // The space, three slashes, the space, the slash of HTTP/1.1.
        guard marks.count == 6 else {
            return send(Array("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".utf8), to: connection.fd)
        }
        let kind = head[marks[1] + 1]
        if kind == UInt8(ascii: "t") {
            connection.isTunnel = true
            return send(
                Array("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n".utf8),
                to: connection.fd)
        }
        var body = Array((connection.variant == 0 ? "blue " : "green ").utf8)
        body.append(contentsOf: head[(marks[2] + 1)..<marks[3]])
        body.append(UInt8(ascii: " "))
        body.append(contentsOf: head[(marks[3] + 1)..<marks[4]])
        body.append(contentsOf: " \(board.commanded.load(ordering: .sequentiallyConsistent))\n".utf8)
        let answer = Array("HTTP/1.1 200 OK\r\nContent-Length: \(body.count)\r\n\r\n".utf8) + body
        if kind == UInt8(ascii: "s") {
            late.append(
                Late(dueNs: kernel_now_ns() + slowNs, fd: connection.fd, generation: connection.generation, answer: answer))
        } else {
            send(answer, to: connection.fd)
        }
    }

    private func send(_ bytes: [UInt8], to fd: Int32) {
        _ = kernel_send(fd, bytes, bytes.count, 0)
    }

    /// Sends the late answers that are due.
    func answerLate() {
        guard lateBegin < late.count else { return }
        let now = kernel_now_ns()
        while lateBegin < late.count, late[lateBegin].dueNs <= now {
            let one = late[lateBegin]
            if connections[Int(one.fd)]?.generation == one.generation { send(one.answer, to: one.fd) }
            lateBegin += 1
        }
        if lateBegin > 1024 {
            late.removeFirst(lateBegin)
            lateBegin = 0
        }
    }
}

/// Where the first head in `bytes[begin..<end]` ends, its empty line included.
func headEnd(_ bytes: [UInt8], from begin: Int, to end: Int) -> Int? {
    guard end >= begin + 4 else { return nil }
    for i in begin...(end - 4)
    where bytes[i] == 13 && bytes[i + 1] == 10 && bytes[i + 2] == 13 && bytes[i + 3] == 10 {
        return i + 4
    }
    return nil
}
