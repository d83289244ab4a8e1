// Early data of TLS 1.3 (RFC 8446 section 2.3): what a client that comes again sends before the handshake is done, and answers to it.
// Called by TLSStream.swift for connections that take it.

import Bytes
import COpenSSL

extension Worker {
    /// A step of a handshake before which early data may come. 1: done, or early data is here, which `takeEarly` hands out.
    func handshakeEarly(_ t: Ref<TLSConnection>) -> Int {
        let buffer = buffers.take(Limits.earlyBytes)
        var n = buffer.capacity
        let r = tls_handshake_early(t.ssl, buffer.start, &n)
        if r == 2, n > 0 {
            t.early = buffer
            t.earlyFrom = 0
            t.earlyTo = n
            t.isEarly = true
            return 1
        }
        buffers.give(buffer)
        if r == 2 { return TLS_WANT_READ }
        if r != 1 { return Int(r) }
        t.readsEarly = false
        return Int(tls_handshake(t.ssl))
    }

    /// What was read with the handshake.
    func takeEarly(_ s: inout ByteStream, _ t: Ref<TLSConnection>, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> ReadResult {
        let n = min(count, t.earlyTo - t.earlyFrom)
        buffer.update(from: t.early.start + t.earlyFrom, count: n)
        t.earlyFrom += n
        if t.earlyFrom == t.earlyTo {
            buffers.give(t.early)
            t.early = .none
            t.earlyFrom = 0
            t.earlyTo = 0
        }
        // More may be in what was received with it.
        s.isReadable = true
        return .bytes(n)
    }

    /// As `tls_read`, while early data may still come.
    func readEarly(_ t: Ref<TLSConnection>, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int32 {
        var n = count
        let r = tls_handshake_early(t.ssl, buffer, &n)
        if r == 2 { return n > 0 ? Int32(clamping: n) : Int32(TLS_WANT_READ) }
        if r != 1 { return r }
        t.readsEarly = false
        return tls_read(t.ssl, buffer, Int32(clamping: count))
    }

    /// As `tls_write`, to a client whose handshake may not be done: it has shown that it knows a session, and nothing of itself yet.
    func writeEarly(_ t: Ref<TLSConnection>, _ bytes: ByteView) -> Int32 {
        let count = Int32(clamping: min(bytes.count, Limits.earlyBytes))
        if !isUnderWay(t) { return tls_write(t.ssl, bytes.start, Int32(clamping: bytes.count)) }
        return tls_write_early(t.ssl, bytes.start, count)
    }

    /// Whether what the client sends is early data: it may have been sent by somebody who has recorded it.
    func isUnderWay(_ t: Ref<TLSConnection>) -> Bool {
        if !t.isEarly { return false }
        t.isEarly = tls_is_handshake_done(t.ssl) == 0
        return t.isEarly
    }
}
