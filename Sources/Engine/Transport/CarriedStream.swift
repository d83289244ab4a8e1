// What reading, writing and ending mean for a stream that is not a bare socket: TLS records, or a stream of an HTTP/2 connection.
// Called by ByteStream.swift alone; the carriers' own rules are in TLSStream.swift, Client/HTTP2 and Upstream/HTTP2.

import Bytes
import CLinux

extension Worker {
    func readCarried(_ s: inout ByteStream, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> ReadResult {
        switch s.carrier {
        case .tls: readTLS(&s, into: buffer, count)
        case .http2: s.upstreamStream.map { readStream(&s, $0, into: buffer, count) } ?? readStream(&s, into: buffer, count)
        case .inner: .wouldBlock
        case .socket: .failed(ENOTSUP)
        }
    }

    func writeCarried(_ s: inout ByteStream, _ bytes: ByteView) -> WriteResult {
        switch s.carrier {
        case .tls: writeTLS(&s, bytes)
        case .http2: s.upstreamStream.map { writeStream(&s, $0, bytes) } ?? writeStream(&s, bytes)
        case .inner: writeInner(&s, bytes)
        case .socket: .failed(ENOTSUP)
        }
    }

    func queueCarried(_ s: inout ByteStream, _ bytes: ByteView) -> Bool {
        switch s.carrier {
        case .tls: queueTLS(&s, bytes)
        case .http2, .inner: s.queue(bytes, pool: &buffers)
        case .socket: false
        }
    }

    func endCarried(_ s: inout ByteStream) {
        switch s.carrier {
        case .tls:
            endTLS(&s)
            // The alert may have to wait; who flushes it ends the stream again.
            if !s.hasPending { _ = kernel.shutdownWrite(s.fd) }
        case .http2: if let stream = s.upstreamStream { endOutput(stream) }
        case .socket, .inner: return
        }
    }

    func cutCarried(_ s: inout ByteStream) {
        switch s.carrier {
        case .tls:
            s.tls?.isCut = true
            kernel.resetOnClose(s.fd)
        case .socket, .http2, .inner: return
        }
    }

    func closeCarried(_ s: inout ByteStream) {
        switch s.carrier {
        case .tls: closeTLS(&s)
        case .http2:
            if let stream = s.upstreamStream { closeUpstreamStream(stream) } else { closeClientStream(&s) }
            s.upstreamStream = nil
        case .inner: closeInnerStream(&s)
        case .socket: return
        }
    }
}
