// One socket as a stream of bytes with its readiness and what a short write left behind.
// Embedded in client and upstream connections; the worker reads and writes through it. TLS hides behind the same calls.

import Bytes
import CLinux

/// What carries a stream's bytes.
package enum StreamCarrier: UInt8, BitwiseCopyable {
    /// A socket, as they are.
    case socket
    /// A socket, in the records of TLS: what is pending is encrypted already.
    case tls
    /// A stream of an HTTP/2 connection, which has the socket.
    case http2
    /// Nothing: the client is a request within the proxy (Client/Inner).
    case inner

    /// There is no socket of its own, and nothing tells the end of a body but its end.
    @inline(__always)
    var isVirtual: Bool { rawValue >= StreamCarrier.http2.rawValue }
}

/// Registered once, edge-triggered; so readiness is remembered here until a short read or write shows that it is used up.
package struct ByteStream: BitwiseCopyable {
    var fd: Int32 = -1
    var carrier = StreamCarrier.socket
    /// An edge came and no short read has emptied the socket since.
    var isReadable = false
    /// No short write has filled the socket since the last edge.
    var isWritable = false
    /// The peer will send no more (RDHUP); what it sent before is still to be read.
    var peerClosed = false
    /// The peer's end has been read.
    var sawEnd = false
    /// Reset or another error: nothing more comes or goes.
    var isBroken = false
    /// The stream that carries it, when that is of HTTP/2 and a client's.
    var clientStream: Ref<ClientStream>?
    /// The inner request that is the client.
    var inner: Ref<InnerRequest>?
    /// The state of the TLS connection that these bytes come by: this stream's own, or that of the connection it is a stream of.
    var tls: Ref<TLSConnection>?
    /// What an upstream's stream of HTTP/2 reads from and writes to.
    var upstreamStream: Ref<UpstreamStream>?
    private(set) var pending = Buffer.none
    private var from: UInt32 = 0
    private var to: UInt32 = 0

    /// Bytes go to the socket as they are: nobody, or the kernel, encrypts them.
    var sendsAsItIs: Bool { carrier == .socket || carrier == .tls && tls?.kernelEncrypts == true }

    var pendingCount: Int { Int(to - from) }
    var hasPending: Bool { to > from }

    /// Notes what epoll said.
    mutating func note(_ bits: UInt32) {
        if bits & (Readiness.readable | Readiness.peerClosed | Readiness.hangUp | Readiness.error) != 0 { isReadable = true }
        if bits & (Readiness.writable | Readiness.hangUp | Readiness.error) != 0 { isWritable = true }
        if bits & (Readiness.peerClosed | Readiness.hangUp) != 0 { peerClosed = true }
        if bits & Readiness.error != 0 { isBroken = true }
    }

    /// Adds bytes behind those that wait already. False, and the stream is broken, when they are more than one buffer holds.
    mutating func queue(_ bytes: ByteView, pool: inout BufferPool) -> Bool {
        if Int(to) + bytes.count > pending.capacity {
            let count = pendingCount
            if count + bytes.count > BufferPool.largest {
                isBroken = true
                return false
            }
            let room = pool.take(max(count + bytes.count, 4096))
            if count > 0 { room.start.update(from: pending.start + Int(from), count: count) }
            pool.give(pending)
            pending = room
            from = 0
            to = UInt32(count)
        }
        (pending.start + Int(to)).update(from: bytes.start, count: bytes.count)
        to += UInt32(bytes.count)
        return true
    }

    var pendingView: ByteView { ByteView(pending.start + Int(from), pendingCount) }

    mutating func dropPending(_ n: Int, pool: inout BufferPool) {
        from += UInt32(n)
        if from == to {
            pool.give(pending)
            pending = .none
            from = 0
            to = 0
        }
    }

    /// `n` of the pending bytes have been taken by whoever carries them; the buffer is kept until `dropTaken`.
    mutating func takePending(_ n: Int) { from += UInt32(n) }

    /// Lets the buffer go if all that was in it has been taken.
    mutating func dropTaken(pool: inout BufferPool) { dropPending(0, pool: &pool) }

    mutating func dropAllPending(pool: inout BufferPool) { dropPending(pendingCount, pool: &pool) }
}

enum ReadResult {
    case bytes(Int)
    case wouldBlock
    case end
    case failed(Int32)
}

enum WriteResult {
    /// All is with the kernel.
    case sent
    /// Some waits in the stream for its next writable edge.
    case queued
    case failed(Int32)
}

extension Worker {
    /// Reads at most `count` bytes. A short read empties the socket, so no second read is made to hear that it would block.
    @inline(__always)
    func read(_ s: inout ByteStream, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> ReadResult {
        if s.carrier != .socket { return readCarried(&s, into: buffer, count) }
        return readSocket(&s, into: buffer, count)
    }

    /// As above, whatever is carried.
    @inline(__always)
    func readSocket(_ s: inout ByteStream, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> ReadResult {
        while true {
            let n = kernel.receive(s.fd, buffer, count, flags: 0)
            if n > 0 {
                // After RDHUP the end is still to be read, and no further edge will announce it.
                if n < count, !s.peerClosed { s.isReadable = false }
                return .bytes(n)
            }
            if n == 0 {
                s.sawEnd = true
                s.isReadable = false
                return .end
            }
            if n == -Int(EINTR) { continue }
            s.isReadable = false
            if n == -Int(EAGAIN) { return .wouldBlock }
            s.isBroken = true
            return .failed(Int32(-n))
        }
    }

    /// Writes what waits, then `bytes`; what the kernel does not take is queued.
    @inline(__always)
    func write(_ s: inout ByteStream, _ bytes: ByteView) -> WriteResult {
        if s.isBroken { return .failed(ECONNRESET) }
        if s.carrier != .socket { return writeCarried(&s, bytes) }
        return writeSocket(&s, bytes)
    }

    /// As above, whatever is carried.
    @inline(__always)
    func writeSocket(_ s: inout ByteStream, _ bytes: ByteView) -> WriteResult {
        if s.hasPending || !s.isWritable {
            return s.queue(bytes, pool: &buffers) ? .queued : .failed(ENOBUFS)
        }
        var sent = 0
        while sent < bytes.count {
            let n = kernel.send(s.fd, bytes.start + sent, bytes.count - sent, flags: 0)
            if n >= 0 {
                sent += n
                if sent < bytes.count { s.isWritable = false } else { break }
            } else if n == -Int(EINTR) {
                continue
            } else if n != -Int(EAGAIN) {
                s.isBroken = true
                return .failed(Int32(-n))
            }
            s.isWritable = false
            return s.queue(bytes.slice(sent), pool: &buffers) ? .queued : .failed(ENOBUFS)
        }
        return .sent
    }

    /// Writes what waits. `.queued` when some still does.
    func flush(_ s: inout ByteStream, atMost most: Int = .max) -> WriteResult {
        var left = most
        while s.hasPending {
            if s.isBroken { return .failed(ECONNRESET) }
            // A stream of HTTP/2 is emptied by its session, an inner one by the exchange around it.
            if !s.isWritable || left <= 0 || s.carrier.isVirtual { return .queued }
            let view = s.pendingView.slice(0, left)
            let n = kernel.send(s.fd, view.start, view.count, flags: 0)
            if n >= 0 {
                if n < view.count { s.isWritable = false }
                left -= n
                s.dropPending(n, pool: &buffers)
            } else if n == -Int(EAGAIN) {
                s.isWritable = false
            } else if n != -Int(EINTR) {
                s.isBroken = true
                return .failed(Int32(-n))
            }
        }
        return .sent
    }

    /// Adds bytes to what waits, to be sent by `flush`. False, and the stream is broken, when they are too many.
    func queue(_ s: inout ByteStream, _ bytes: ByteView) -> Bool {
        s.carrier == .socket ? s.queue(bytes, pool: &buffers) : queueCarried(&s, bytes)
    }

    /// No more will be written; the peer is told, and may go on sending.
    func endStream(_ s: inout ByteStream) {
        if s.carrier == .socket { _ = kernel.shutdownWrite(s.fd) } else { endCarried(&s) }
    }

    /// The coming `closeStream` breaks the stream instead of ending it: the peer must not take what it has for all there is.
    func cutStream(_ s: inout ByteStream) {
        if s.carrier == .socket { kernel.resetOnClose(s.fd) } else { cutCarried(&s) }
    }

    func closeStream(_ s: inout ByteStream) {
        if s.carrier != .socket { closeCarried(&s) }
        s.dropAllPending(pool: &buffers)
        if s.fd >= 0 { kernel.close(s.fd) }
        s.fd = -1
    }
}
