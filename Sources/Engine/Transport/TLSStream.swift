// TLS under a byte stream: records in and out of one socket, through memory that all connections of a worker share.
// Called by CarriedStream.swift and by the handshakes of either side. It knows nothing of HTTP, of servers or of peers.

import Bytes
import CLinux
import COpenSSL

/// The TLS state of one connection, in a slab of the worker: few bytes beside libssl's own.
struct TLSConnection: BitwiseCopyable {
    var handle = Handle.none
    let ssl: OpaquePointer
    /// The SSL_CTX it was made with, before its server was known: libssl asks that one for sessions and tickets.
    let first: OpaquePointer
    /// Ciphertext that was read and not wanted yet.
    var held = Buffer.none
    var heldFrom = 0
    var heldTo = 0
    /// libssl may have plaintext left of the last record: it was asked for less.
    var hasMore = false
    /// The handshake is done.
    var isEstablished = false
    /// The client's hello has chosen its server.
    var hasServer = false
    /// Whether it has been given certificates: 1, 0 (there are none), -1 (not yet).
    var pairVerdict: Int8 = -1
    /// What a responder says of the client's certificates, and which of them is asked about next.
    var status = ResponderVerdict.notAsked
    var statusPlace: UInt16 = 0
    /// `h2` may be chosen.
    var offersHTTP2 = false
    /// The handshake writes to the socket itself; and the kernel has taken over what it writes.
    var writesToSocket = false
    var kernelEncrypts = false
    /// Ciphertext since the last of which anything could be read.
    var silentBytes = 0
    /// Early data may come before the handshake is done; and some came, so that it may still be under way.
    var readsEarly = false
    var isEarly = false
    /// Early data that was read and not asked for yet.
    var early = Buffer.none
    var earlyFrom = 0
    var earlyTo = 0
    /// The peer has said that it sends no more, or what it sent cannot be read.
    var hasEnded = false
    var hasFailed = false
    /// We have said that we send no more.
    var saidEnd = false
    /// It is to break, not to end: nothing may look orderly.
    var isCut = false
    /// What sessions are kept by, in memory of the connection to a peer; empty: they are not kept.
    var sessionKey = ByteView.empty

    var heldView: ByteView { ByteView(held.start + heldFrom, heldTo - heldFrom) }
}

/// What a call into libssl reads from and writes to. One for a worker, since only one call is under way.
struct TLSMemory: ~Copyable {
    /// One read of ciphertext.
    static var inputBytes: Int { Limits.readBytes }
    /// The records of one write, and whatever libssl says besides.
    static var outputBytes: Int { Limits.readBytes + (64 << 10) }
    /// Less room than a record needs: what is there goes first.
    static var recordBytesMax: Int { 20 << 10 }

    let pipe = UnsafeMutablePointer<TLSPipe>.allocate(capacity: 1)
    /// The pipe as libssl has it; nil: there was no memory.
    let bio: OpaquePointer?
    let input = UnsafeMutablePointer<UInt8>.allocate(capacity: inputBytes)
    private let output = UnsafeMutablePointer<UInt8>.allocate(capacity: outputBytes)

    init() {
        pipe.initialize(to: TLSPipe())
        pipe.pointee.out = output
        pipe.pointee.out_capacity = Self.outputBytes
        bio = tls_pipe_bio(pipe)
    }

    deinit {
        SSL_SESSION_free(pipe.pointee.session)
        BIO_free(bio)
        pipe.deallocate()
        input.deallocate()
        output.deallocate()
    }
}

enum HandshakeResult {
    case done
    /// More must come from the peer first.
    case wouldBlock
    /// A client's hello is there: `TLSMemory.pipe` has the name it asks for, if any. `answerName`, then again.
    case wantsServer
    /// Its server's certificates have variables in their names. Set `pairVerdict`, then again.
    case wantsPairs
    /// The peer has gone in the midst of it.
    case ended
    /// `tlsErrors` says why.
    case failed
    case failedSocket(Int32)
}

extension Worker {
    /// From here on the stream's bytes go in the records of TLS. `early`: what was read of them already.
    /// False when there is no memory for it.
    func beginTLS(_ s: inout ByteStream, _ context: OpaquePointer, isServer: Bool, early: ByteView = .empty) -> Bool {
        guard let ssl = tls_make(context, tls.bio, isServer ? 1 : 0) else { return false }
        guard let (t, handle) = tlsConnections.insert(TLSConnection(ssl: ssl, first: context)) else {
            SSL_free(ssl)
            return false
        }
        t.handle = handle
        s.tls = t
        s.carrier = .tls
        if !early.isEmpty { hold(early, t) }
        return true
    }

    // MARK: The handshake

    /// Goes on with the handshake as far as what the peer has sent allows.
    func shakeHands(_ s: inout ByteStream) -> HandshakeResult {
        guard let t = s.tls else { return .failed }
        while true {
            if t.held.isNone {
                if let end = receiveForHandshake(&s, t) { return end }
            }
            let pipe = beginCall(t, t.heldView)
            pipe.pointee.name_verdict = Int32(t.hasServer ? TLS_NAME_TAKEN : TLS_NAME_UNKNOWN)
            pipe.pointee.pair_verdict = Int32(t.pairVerdict)
            setALPN(t)
            let r = t.readsEarly ? handshakeEarly(t) : Int(tls_handshake(t.ssl))
            keepRest(t)
            if let staple = pipe.pointee.staple {
                pipe.pointee.staple = nil
                askForStaple(staple)
            }
            let sent = sendRecords(&s)
            switch r {
            case 1:
                t.isEstablished = true
                if t.writesToSocket { t.kernelEncrypts = tls_kernel_encrypts(t.ssl, tls.bio) != 0 }
                // What came behind the handshake, or before its end, is there, and no edge will say so.
                if !t.held.isNone || t.earlyTo > 0 { s.isReadable = true }
                return .done
            case TLS_WANT_NAME: return .wantsServer
            case TLS_WANT_PAIR: return .wantsPairs
            case TLS_WANT_READ, TLS_WANT_WRITE:
                if case .failed(let errno) = sent { return .failedSocket(errno) }
                if r == TLS_WANT_READ ? !s.isReadable : t.writesToSocket { return .wouldBlock }
            case TLS_ENDED, TLS_FAILED_SYSCALL:
                s.sawEnd = true
                return .ended
            default: return .failed
            }
        }
    }

    /// One read for a handshake; a client's side begins without. Nil: go on.
    private func receiveForHandshake(_ s: inout ByteStream, _ t: Ref<TLSConnection>) -> HandshakeResult? {
        if !s.isReadable { return nil }
        switch receive(&s, TLSMemory.recordBytesMax) {
        case .bytes(let n): hold(ByteView(tls.input, n), t)
        case .wouldBlock: return nil
        case .end: return .ended
        case .failed(let errno): return .failedSocket(errno)
        }
        return nil
    }

    /// The server of a client's hello: with its own certificate, or none when it will not have the client.
    func takeServer(_ t: Ref<TLSConnection>, _ context: OpaquePointer?, offersHTTP2: Bool) -> Bool {
        t.hasServer = true
        t.offersHTTP2 = offersHTTP2
        guard let context, SSL_get_SSL_CTX(t.ssl) != context else { return true }
        return tls_change_context(t.ssl, context) == 1
    }

    /// Refuses the name of a client's hello, with the alert for it.
    func rejectName(_ s: inout ByteStream) {
        guard let t = s.tls else { return }
        let pipe = beginCall(t, t.heldView)
        pipe.pointee.name_verdict = Int32(TLS_NAME_REJECTED)
        _ = tls_handshake(t.ssl)
        ERR_clear_error()
        _ = sendRecords(&s)
    }

    private func setALPN(_ t: Ref<TLSConnection>) {
        let names: StaticString =
            t.offersHTTP2 ? "\u{2}h2\u{8}http/1.1\u{8}http/1.0\u{8}http/0.9" : "\u{8}http/1.1\u{8}http/1.0\u{8}http/0.9"
        tls.pipe.pointee.alpn = names.utf8Start
        tls.pipe.pointee.alpn_count = UInt32(names.utf8CodeUnitCount)
    }

    /// What libssl has to say about the last failure. It lasts until the next value is made; nothing is left to be said.
    func tlsErrors() -> ByteView {
        valueText.value.reset()
        let room = min(valueText.room, 1024)
        let n = valueText.start.withMemoryRebound(to: CChar.self, capacity: room) { tls_errors($0, room) }
        valueText.value.advance(n)
        return valueText.view
    }

    // MARK: Reading

    func readTLS(_ s: inout ByteStream, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> ReadResult {
        guard let t = s.tls, t.isEstablished else { return .failed(ENOTCONN) }
        if t.earlyTo > 0 { return takeEarly(&s, t, into: buffer, count) }
        if !t.held.isNone || t.hasMore {
            _ = beginCall(t, t.heldView)
            let n = decrypt(&s, t, into: buffer, count)
            keepRest(t)
            if n > 0 { return .bytes(n) }
        }
        while true {
            if t.hasFailed {
                s.isReadable = false
                s.isBroken = true
                return .failed(EPROTO)
            }
            if t.hasEnded || s.sawEnd {
                s.sawEnd = true
                s.isReadable = false
                return .end
            }
            switch receive(&s, min(max(count, TLSMemory.recordBytesMax), TLSMemory.inputBytes)) {
            case .bytes(let n):
                _ = beginCall(t, ByteView(tls.input, n))
                let got = decrypt(&s, t, into: buffer, count)
                keepRest(t)
                t.silentBytes = got > 0 ? 0 : t.silentBytes + n
                if got > 0 { return .bytes(got) }
                // Changes of keys without end, for one: they cost us more than whoever has them ready, and nobody else had his turn.
                if t.silentBytes > Limits.silentBytesMax { t.hasFailed = true }
                if !s.isReadable, !t.hasFailed { return .wouldBlock }
            case .wouldBlock: return .wouldBlock
            case .end: return .end
            case .failed(let errno): return .failed(errno)
            }
        }
    }

    /// One read of ciphertext into the worker's memory for it, with the rules of a plain read.
    @inline(__always)
    private func receive(_ s: inout ByteStream, _ count: Int) -> ReadResult { readSocket(&s, into: tls.input, count) }

    /// Plaintext of what the pipe has, as much as there is room for. What is left, or an end behind it, keeps the stream readable.
    private func decrypt(_ s: inout ByteStream, _ t: Ref<TLSConnection>, into buffer: UnsafeMutablePointer<UInt8>, _ count: Int) -> Int {
        var got = 0
        var r: Int32 = 0
        while got < count {
            r = t.readsEarly ? readEarly(t, into: buffer + got, count - got) : tls_read(t.ssl, buffer + got, Int32(clamping: count - got))
            if r <= 0 { break }
            got += Int(r)
            // All of it was read: asked once more, libssl would only say that it wants some.
            if tls.pipe.pointee.in_count == 0, SSL_has_pending(t.ssl) == 0 { break }
        }
        t.hasMore = got == count
        switch Int(r) {
        case TLS_WANT_READ, TLS_WANT_WRITE: break
        case TLS_ENDED: t.hasEnded = true
        default: if r <= 0, count > 0 { t.hasFailed = true }
        }
        if t.hasMore || t.hasEnded || t.hasFailed { s.isReadable = true }
        if tls.pipe.pointee.session != nil { keepSession(t) }
        // Answers of libssl itself: alerts, updates of keys.
        if tls.pipe.pointee.out_count > 0 { _ = sendRecords(&s) }
        return got
    }

    // MARK: Writing

    /// Encrypts and sends; what the kernel does not take waits as ciphertext.
    func writeTLS(_ s: inout ByteStream, _ bytes: ByteView) -> WriteResult {
        guard let t = s.tls, t.isEstablished, !t.saidEnd else { return .failed(EPIPE) }
        if t.kernelEncrypts { return writeSocket(&s, bytes) }
        let pipe = beginCall(t, .empty)
        var done = 0
        while done < bytes.count {
            if pipe.pointee.out_capacity - pipe.pointee.out_count < TLSMemory.recordBytesMax, case .failed(let errno) = sendRecords(&s) {
                return .failed(errno)
            }
            let n = t.isEarly ? writeEarly(t, bytes.slice(done)) : tls_write(t.ssl, bytes.start + done, Int32(clamping: bytes.count - done))
            if n <= 0 {
                s.isBroken = true
                ERR_clear_error()
                return .failed(EPROTO)
            }
            done += Int(n)
        }
        return sendRecords(&s)
    }

    /// Encrypts now, to be sent when `flush` is asked for it. False, and the stream is broken, when it cannot wait.
    func queueTLS(_ s: inout ByteStream, _ bytes: ByteView) -> Bool {
        let wasWritable = s.isWritable
        s.isWritable = false
        defer { s.isWritable = wasWritable }
        if case .failed = writeTLS(&s, bytes) { return false }
        return true
    }

    /// Empties the pipe into the socket.
    private func sendRecords(_ s: inout ByteStream) -> WriteResult {
        let pipe = tls.pipe
        let count = pipe.pointee.out_count
        pipe.pointee.out_count = 0
        if count == 0 { return s.hasPending ? .queued : .sent }
        if s.isBroken { return .failed(ECONNRESET) }
        return writeSocket(&s, ByteView(pipe.pointee.out, count))
    }

    // MARK: The end

    /// Says that no more will be written.
    func endTLS(_ s: inout ByteStream) {
        guard let t = s.tls, t.isEstablished, !t.saidEnd, !t.isCut, !t.hasFailed, !s.isBroken else { return }
        t.saidEnd = true
        _ = beginCall(t, .empty)
        tls_end(t.ssl)
        _ = sendRecords(&s)
    }

    func closeTLS(_ s: inout ByteStream) {
        guard let t = s.tls else { return }
        // In the midst of records that will never go, an alert would only be noise.
        if !s.hasPending { endTLS(&s) }
        // However the connection ends, its session may be taken up again.
        if t.isEstablished { SSL_set_shutdown(t.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN) }
        SSL_free(t.ssl)
        buffers.give(t.held)
        buffers.give(t.early)
        tlsConnections.remove(t.handle)
        s.tls = nil
        s.carrier = .socket
    }

    // MARK: Input that waits

    func beginCall(_ t: Ref<TLSConnection>, _ input: ByteView) -> UnsafeMutablePointer<TLSPipe> {
        let pipe = tls.pipe
        pipe.pointee.first_context = t.first
        pipe.pointee.in = input.start
        pipe.pointee.in_count = input.count
        pipe.pointee.at_end = 0
        pipe.pointee.out_count = 0
        if let unwanted = pipe.pointee.session {
            SSL_SESSION_free(unwanted)
            pipe.pointee.session = nil
        }
        return pipe
    }

    /// What the call has left of its input is kept for the next one.
    private func keepRest(_ t: Ref<TLSConnection>) {
        let left = tls.pipe.pointee.in_count
        if t.held.isNone {
            if left > 0, let from = tls.pipe.pointee.in { hold(ByteView(from, left), t) }
        } else if left > 0 {
            t.heldFrom = t.heldTo - left
        } else {
            buffers.give(t.held)
            t.held = .none
            t.heldFrom = 0
            t.heldTo = 0
        }
    }

    /// Nothing is held yet.
    private func hold(_ bytes: ByteView, _ t: Ref<TLSConnection>) {
        t.held = buffers.take(bytes.count)
        t.held.start.update(from: bytes.start, count: bytes.count)
        t.heldFrom = 0
        t.heldTo = bytes.count
    }
}
