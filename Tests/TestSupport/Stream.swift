// Owns one connected socket of the test: buffered reading with a deadline, writing, and every way to end it.
// Called by RawClient and by the connections of Upstream; used by one thread at a time, except `close` and `reset`.

import CLinux
import Foundation
import Synchronization

/// How a connection failed us.
public enum StreamEnd: Error, Equatable, CustomStringConvertible {
    case closed
    case reset
    case timedOut
    case refused(String)
    case malformed(String)

    public var description: String {
        switch self {
        case .closed: "closed"
        case .reset: "reset"
        case .timedOut: "timed out"
        case .refused(let why): "refused (\(why))"
        case .malformed(let why): "malformed (\(why))"
        }
    }
}

public final class Stream: @unchecked Sendable {
    private let fd: Int32
    private let isOpen = Atomic<Bool>(true)
    private var buffer: [UInt8] = []
    private var start = 0
    /// The longest that one call waits.
    public var timeoutMs: Int
    /// Bytes read from and written to the socket so far.
    public private(set) var received = 0
    public private(set) var sent = 0

    init(fd: Int32, timeoutMs: Int) {
        self.fd = fd
        self.timeoutMs = timeoutMs
    }

    deinit { close() }

    // MARK: Ending

    /// Orderly: FIN after what was sent, unless unread input makes the kernel reset.
    public func close() { if isOpen.exchange(false, ordering: .sequentiallyConsistent) { _ = Glibc.close(fd) } }

    /// Ends with RST at once.
    public func reset() {
        _ = clinux_set_linger(fd, 1, 0)
        close()
    }

    /// No more from us; reading goes on.
    public func halfClose() { _ = clinux_shutdown(fd, Int32(SHUT_WR)) }

    /// Unblocks a thread that waits on this stream.
    func abort() { if isOpen.load(ordering: .sequentiallyConsistent) { _ = clinux_shutdown(fd, Int32(SHUT_RDWR)) } }

    // MARK: Writing

    public func send(_ text: String) throws { try send(Array(text.utf8)) }

    public func send(_ bytes: [UInt8]) throws {
        var done = 0
        let deadline = Deadline(ms: timeoutMs)
        while done < bytes.count {
            let n = bytes.withUnsafeBytes { clinux_send(fd, $0.baseAddress! + done, $0.count - done, 0) }
            if n == -Int(EAGAIN) {
                try wait(POLLOUT, deadline)
            } else if n < 0 {
                throw Self.end(n)
            } else {
                done += n
                sent += n
            }
        }
    }

    /// Sends what fits now; returns how many bytes did.
    public func sendSome(_ bytes: [UInt8]) throws -> Int {
        let n = bytes.withUnsafeBytes { clinux_send(fd, $0.baseAddress!, $0.count, 0) }
        if n == -Int(EAGAIN) { return 0 }
        if n < 0 { throw Self.end(n) }
        sent += n
        return n
    }

    /// True when the kernel takes more within `ms`.
    public func isWritable(withinMs ms: Int) -> Bool { (try? wait(POLLOUT, Deadline(ms: ms))) != nil }

    // MARK: Reading

    /// True when input, or the end of it, is there within `ms`.
    public func isReadable(withinMs ms: Int) -> Bool {
        start < buffer.count || (try? wait(POLLIN, Deadline(ms: ms))) != nil
    }

    /// Up to `count` bytes; empty at the orderly end.
    public func read(upTo count: Int = 64 << 10) throws -> [UInt8] {
        if start < buffer.count {
            let end = min(buffer.count, start + count)
            defer { consume(to: end) }
            return start == 0 && end == buffer.count ? buffer : Array(buffer[start..<end])
        }
        return try receive(count)
    }

    public func read(exactly count: Int) throws -> [UInt8] {
        var result: [UInt8] = []
        while result.count < count {
            let some = try read(upTo: count - result.count)
            if some.isEmpty { throw StreamEnd.closed }
            result += some
        }
        return result
    }

    /// One line with its line feed.
    func readLine(limit: Int = 1 << 20) throws -> [UInt8] {
        var scanned = start
        while true {
            while scanned < buffer.count {
                scanned += 1
                if buffer[scanned - 1] == 10 {
                    let line = Array(buffer[start..<scanned])
                    consume(to: scanned)
                    return line
                }
            }
            if buffer.count - start > limit { throw StreamEnd.malformed("a line of more than \(limit) bytes") }
            let more = try receive(64 << 10)
            if more.isEmpty { throw StreamEnd.closed }
            if start > 0 {
                buffer.removeFirst(start)
                scanned -= start
                start = 0
            }
            buffer += more
        }
    }

    /// Everything until the peer ends, and how it did.
    public func readToEnd() -> (bytes: [UInt8], end: StreamEnd) {
        var all: [UInt8] = []
        while true {
            do {
                let some = try read()
                if some.isEmpty { return (all, .closed) }
                all += some
            } catch {
                return (all, error as? StreamEnd ?? .reset)
            }
        }
    }

    private func consume(to end: Int) {
        start = end
        if start == buffer.count {
            buffer = []
            start = 0
        }
    }

    private func receive(_ count: Int) throws -> [UInt8] {
        let deadline = Deadline(ms: timeoutMs)
        while true {
            guard isOpen.load(ordering: .relaxed) else { throw StreamEnd.closed }
            var result = 0
            let bytes = [UInt8](unsafeUninitializedCapacity: min(count, 64 << 10)) { memory, filled in
                result = clinux_recv(fd, memory.baseAddress!, memory.count, 0)
                filled = max(result, 0)
            }
            if result >= 0 {
                received += result
                return bytes
            }
            if result != -Int(EAGAIN) { throw Self.end(result) }
            try wait(POLLIN, deadline)
        }
    }

    private func wait(_ events: Int32, _ deadline: Deadline) throws {
        while true {
            var wanted = pollfd(fd: fd, events: Int16(events), revents: 0)
            let n = poll(&wanted, 1, deadline.leftMs)
            if n > 0 { return }
            if n == 0 && deadline.hasPassed { throw StreamEnd.timedOut }
        }
    }

    private static func end(_ result: Int) -> StreamEnd {
        result == -Int(ECONNRESET) || result == -Int(EPIPE) ? .reset : .malformed("errno \(-result)")
    }
}
