// What reading, writing and closing mean for a stream that is not a bare socket: TLS records, or a stream of an HTTP/2 connection.
// Called by ByteStream.swift alone; the carriers' own rules are in TLSStream.swift and in Client/HTTP2.

import Bytes
import CLinux

extension Worker {
    func readCarried(_ s: inout ByteStream, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> ReadResult {
        switch s.carrier {
        case .socket, .tls: .failed(ENOTSUP)
        case .http2: readStream(&s, into: buffer, count)
        }
    }

    func writeCarried(_ s: inout ByteStream, _ bytes: ByteView) -> WriteResult {
        switch s.carrier {
        case .socket, .tls: .failed(ENOTSUP)
        case .http2: writeStream(&s, bytes)
        }
    }

    func closeCarried(_ s: inout ByteStream) {
        switch s.carrier {
        case .socket, .tls: return
        case .http2: closeClientStream(&s)
        }
    }
}
