// A connection whose thread waits: every call ends before the deadline. Used by HTTPErrand alone.

import CLinux
import Engine

final class ErrandConnection {
    private let fd: Int32
    private let epoll: Int32
    private let deadline: UInt64
    private var tls: TLSErrand?

    /// - Parameters:
    ///   - address: `sockaddr` bytes.
    ///   - deadline: of the monotonic clock, in nanoseconds.
    init(_ address: [UInt8], _ deadline: UInt64) throws(HTTPErrand.Failure) {
        self.deadline = deadline
        fd = clinux_socket(Int32(address[0]), Int32(SOCK_STREAM.rawValue))
        epoll = clinux_epoll_create()
        if fd < 0 { throw .call("socket() failed (\(errnoWords(-fd)))") }
        let interest = Readiness.readable | Readiness.writable | Readiness.edgeTriggered
        if epoll < 0 || clinux_epoll_add(epoll, fd, interest, 0) < 0 { throw .call("cannot wait for the connection") }
        var r = clinux_connect(fd, address, UInt32(address.count))
        while r == -EINPROGRESS || r == -EALREADY {
            if !wait() { throw .timedOut }
            r = clinux_connect(fd, address, UInt32(address.count))
        }
        if r < 0, r != -EISCONN { throw .call("connect() failed (\(errnoWords(-r)))") }
    }

    deinit {
        if fd >= 0 { _ = clinux_close(fd) }
        if epoll >= 0 { _ = clinux_close(epoll) }
    }

    /// False: the time is up.
    private func wait() -> Bool {
        let now = ControlClock.system.monotonicNs()
        if now >= deadline { return false }
        var event = epoll_event()
        return clinux_epoll_wait(epoll, &event, 1, Int32(clamping: (deadline - now) / 1_000_000 + 1)) > 0
    }

    // MARK: TLS

    /// The server's certificate must be good for the host, by the system's authorities.
    func beginTLS(host: String) throws(HTTPErrand.Failure) {
        guard let tls = TLSErrand(host: host) else { throw .call("TLS cannot be begun") }
        self.tls = tls
        while true {
            switch tls.handshake() {
            case .done: return try flush(tls)
            case .wants:
                try flush(tls)
                try feed(tls)
            case .failed(let words): throw .call("TLS: \(words)")
            }
        }
    }

    /// What TLS has to say, to the socket.
    private func flush(_ tls: TLSErrand) throws(HTTPErrand.Failure) { try sendPlain(tls.takeOutput()) }

    private func feed(_ tls: TLSErrand) throws(HTTPErrand.Failure) {
        let bytes = try receivePlain()
        if bytes.isEmpty { throw .closedEarly }
        tls.give(bytes)
    }

    // MARK: Bytes

    func send(_ bytes: [UInt8]) throws(HTTPErrand.Failure) {
        guard let tls else { return try sendPlain(bytes) }
        if !tls.write(bytes) { throw .call("TLS: the request cannot be written") }
        try flush(tls)
    }

    /// Empty: the end.
    func receive() throws(HTTPErrand.Failure) -> [UInt8] {
        guard let tls else { return try receivePlain() }
        while true {
            switch tls.read() {
            case .bytes(let bytes): return bytes
            case .end: return []
            case .wants:
                try flush(tls)
                let bytes = try receivePlain()
                if bytes.isEmpty { return [] }
                tls.give(bytes)
            case .failed(let words): throw .call("TLS: \(words)")
            }
        }
    }

    private func sendPlain(_ bytes: [UInt8]) throws(HTTPErrand.Failure) {
        var sent = 0
        while sent < bytes.count {
            let n = bytes.withUnsafeBytes { $0.baseAddress.map { clinux_send(fd, $0 + sent, bytes.count - sent, 0) } ?? 0 }
            if n >= 0 {
                sent += n
            } else if n != -Int(EAGAIN), n != -Int(EINTR) {
                throw .call("send() failed (\(errnoWords(Int32(-n))))")
            } else if !wait() {
                throw .timedOut
            }
        }
    }

    private func receivePlain() throws(HTTPErrand.Failure) -> [UInt8] {
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let n = clinux_recv(fd, &chunk, chunk.count, 0)
            if n >= 0 { return Array(chunk[..<n]) }
            if n != -Int(EAGAIN), n != -Int(EINTR) { throw .call("recv() failed (\(errnoWords(Int32(-n))))") }
            if !wait() { throw .timedOut }
        }
    }
}
