// What reading, writing and closing mean for a stream that is not a bare socket: TLS records, or a stream of an HTTP/2 connection.
// Called by ByteStream.swift alone; the carriers' own rules are in TLSStream.swift, Client/HTTP2 and Upstream/HTTP2.

import Bytes
import CLinux

extension Worker {
    func readCarried(_ s: inout ByteStream, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> ReadResult {
        switch s.carrier {
        case .http2:
            if let stream = s.upstreamStream { return readStream(&s, stream, into: buffer, count) }
            return .failed(ENOTSUP)
        case .socket, .tls: return .failed(ENOTSUP)
        }
    }

    func writeCarried(_ s: inout ByteStream, _ bytes: ByteView) -> WriteResult {
        switch s.carrier {
        case .http2:
            if let stream = s.upstreamStream { return writeStream(&s, stream, bytes) }
            return .failed(ENOTSUP)
        case .socket, .tls: return .failed(ENOTSUP)
        }
    }

    func closeCarried(_ s: inout ByteStream) {
        switch s.carrier {
        case .http2:
            if let stream = s.upstreamStream { closeUpstreamStream(stream) }
            s.upstreamStream = nil
        case .socket, .tls: return
        }
    }
}
