// A connection that asks a server after its health: opens, shakes hands where TLS is spoken, sends, reads. Never waits.
// Made and driven by Control's prober, in the prober's thread alone. It knows no protocol above TLS and no verdict.

import CLinux
import COpenSSL

/// What the TLS connections of one prober share: a context that verifies nobody, for those that have no other, and the memory libssl
/// writes to. Of one thread.
package final class ProbeTLS {
    fileprivate let context: TLSContext
    fileprivate let pipe = UnsafeMutablePointer<TLSPipe>.allocate(capacity: 1)
    fileprivate let bio: OpaquePointer
    private let output = UnsafeMutablePointer<UInt8>.allocate(capacity: ProbeTLS.outputBytes)
    private static let outputBytes = 64 << 10

    /// Nil: libssl has no memory.
    package init?() {
        guard let context = try? TLSContext(isServer: false) else { return nil }
        self.context = context
        pipe.initialize(to: TLSPipe())
        pipe.pointee.out = output
        pipe.pointee.out_capacity = Self.outputBytes
        guard let bio = tls_pipe_bio(pipe) else {
            pipe.deallocate()
            output.deallocate()
            return nil
        }
        self.bio = bio
        context.setVersions([.tls10, .tls11, .tls12, .tls13])
    }

    deinit {
        SSL_SESSION_free(pipe.pointee.session)
        BIO_free(bio)
        pipe.deallocate()
        output.deallocate()
    }

    fileprivate static func reason() -> String { TLSFailure().reason }
}

package final class ProbeStream {
    package enum Step: Equatable {
        case done
        /// The socket's next event brings it on.
        case waits
        case failed(String)
    }

    package enum Input: Equatable {
        case bytes(Int)
        case waits
        case ended
        case failed(String)
    }

    /// Whether a certificate is verified, and for which name.
    package enum VerifiedName: Equatable {
        case notVerified
        /// It must be signed by one of those who are trusted; its name is not known.
        case any
        case name(String)
    }

    package let descriptor: Int32
    private let address: [UInt8]
    private let tls: ProbeTLS?
    /// Nil: without TLS.
    private let context: TLSContext?
    private var ssl: OpaquePointer?
    /// Ciphertext that libssl has not wanted yet; bytes the socket has not taken yet.
    private var held: [UInt8] = []
    private var unsent: [UInt8] = []
    private var hasEnded = false

    /// Nil: the process has no descriptor for it; `errno` is negative then.
    /// `context`: what TLS is to be made from; the connection keeps it.
    package static func open(_ address: [UInt8], tls: ProbeTLS?, as context: TLSContext? = nil) -> (stream: ProbeStream?, errno: Int32) {
        guard let family = address.first else { return (nil, EINVAL) }
        let fd = clinux_socket(Int32(family), Int32(SOCK_STREAM.rawValue))
        return fd < 0 ? (nil, -fd) : (ProbeStream(fd, address, tls, context), 0)
    }

    private init(_ descriptor: Int32, _ address: [UInt8], _ tls: ProbeTLS?, _ context: TLSContext?) {
        self.descriptor = descriptor
        self.address = address
        self.tls = tls
        self.context = context ?? tls?.context
    }

    deinit {
        SSL_free(ssl)
        _ = clinux_close(descriptor)
    }

    // MARK: The beginning

    package func connect() -> Step {
        let r = clinux_connect(descriptor, address, UInt32(address.count))
        switch r {
        case 0, -EISCONN: return .done
        case -EINPROGRESS, -EALREADY, -EINTR: return .waits
        default: return .failed("connect() failed (\(Self.words(-r)))")
        }
    }

    /// - Parameters:
    ///   - name: that the server is asked by; nil: none.
    ///   - protocols: what ALPN offers, as on the wire.
    package func shakeHands(name: String?, protocols: StaticString, verifiedName: VerifiedName = .notVerified) -> Step {
        guard let tls, let context else { return .done }
        if ssl == nil {
            guard let made = tls_make(context.pointer, tls.bio, 0) else { return .failed("SSL_new() failed (\(ProbeTLS.reason()))") }
            ssl = made
            if let name, tls_ask_for_name(made, name) != 1 { return .failed("SSL_set_tlsext_host_name() failed (\(ProbeTLS.reason()))") }
            if protocols.utf8CodeUnitCount > 0, tls_offer_protocols(made, protocols.utf8Start, UInt32(protocols.utf8CodeUnitCount)) != 1 {
                return .failed("SSL_set_alpn_protos() failed (\(ProbeTLS.reason()))")
            }
        }
        guard let ssl else { return .failed("no TLS") }
        while true {
            let r = Int(call { tls_handshake(ssl) })
            if case .failed(let reason) = flush() { return .failed(reason) }
            switch r {
            case 1: return Self.objection(to: ssl, verifiedName).map { .failed($0) } ?? .done
            case TLS_WANT_WRITE where unsent.isEmpty: continue
            case TLS_WANT_READ, TLS_WANT_WRITE: break
            case TLS_ENDED, TLS_FAILED_SYSCALL: return .failed("the server closed the connection in the SSL handshake")
            default: return .failed("SSL_do_handshake() failed (\(ProbeTLS.reason()))")
            }
            switch receiveCiphertext() {
            case .bytes: continue
            case .waits: return .waits
            case .ended: return .failed("the server closed the connection in the SSL handshake")
            case .failed(let reason): return .failed(reason)
            }
        }
    }

    /// Why the server is not who it should be, where that is asked for; nil: it is.
    private static func objection(to ssl: OpaquePointer, _ wanted: VerifiedName) -> String? {
        if wanted == .notVerified { return nil }
        let verdict = SSL_get_verify_result(ssl)
        if verdict != Int(X509_V_OK) {
            let words = X509_verify_cert_error_string(verdict).map { String(cString: $0) } ?? ""
            return "the server's certificate cannot be verified (\(verdict): \(words))"
        }
        guard case .name(let name) = wanted else { return nil }
        return tls_server_is(ssl, name) == 1 ? nil : "the server's certificate is not for \"\(name)\""
    }

    // MARK: Bytes

    /// Takes all of them; what the socket does not goes with the next `flush`.
    package func send(_ bytes: [UInt8]) -> Step {
        guard let ssl else {
            unsent += bytes
            return flush()
        }
        var done = 0
        while done < bytes.count {
            let n = call { bytes.withUnsafeBytes { $0.baseAddress.map { tls_write(ssl, $0 + done, Int32(clamping: min(bytes.count - done, 16 << 10))) } ?? 0 } }
            if n <= 0 { return .failed("SSL_write() failed (\(ProbeTLS.reason()))") }
            done += Int(n)
        }
        return flush()
    }

    package func flush() -> Step {
        var sent = 0
        while sent < unsent.count {
            let n = unsent.withUnsafeBytes { $0.baseAddress.map { clinux_send(descriptor, $0 + sent, unsent.count - sent, 0) } ?? 0 }
            if n == -Int(EINTR) { continue }
            if n < 0, n != -Int(EAGAIN) { return .failed("send() failed (\(Self.words(Int32(-n))))") }
            if n <= 0 { break }
            sent += n
        }
        unsent.removeFirst(sent)
        return unsent.isEmpty ? .done : .waits
    }

    package func receive(into buffer: UnsafeMutableBufferPointer<UInt8>) -> Input {
        guard let start = buffer.baseAddress else { return .waits }
        guard let ssl else {
            if hasEnded { return .ended }
            return receivePlain(start, buffer.count)
        }
        while true {
            let r = Int(call { tls_read(ssl, start, Int32(clamping: buffer.count)) })
            if r > 0 { return .bytes(r) }
            if case .failed(let reason) = flush() { return .failed(reason) }
            switch r {
            case TLS_WANT_READ, TLS_WANT_WRITE: break
            case TLS_ENDED: return .ended
            default: return .failed("SSL_read() failed (\(ProbeTLS.reason()))")
            }
            switch receiveCiphertext() {
            case .bytes: continue
            case let other: return other
            }
        }
    }

    private func receivePlain(_ start: UnsafeMutablePointer<UInt8>, _ count: Int) -> Input {
        while true {
            let n = clinux_recv(descriptor, start, count, 0)
            if n > 0 { return .bytes(n) }
            if n == -Int(EINTR) { continue }
            if n == -Int(EAGAIN) { return .waits }
            if n < 0 { return .failed("recv() failed (\(Self.words(Int32(-n))))") }
            hasEnded = true
            return .ended
        }
    }

    private func receiveCiphertext() -> Input {
        if hasEnded { return .ended }
        return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 16 << 10) { buffer in
            guard let start = buffer.baseAddress else { return .waits }
            let input = receivePlain(start, buffer.count)
            if case .bytes(let n) = input { held += buffer[..<n] }
            return input
        }
    }

    /// Lays what is held before libssl, and keeps what it has not taken and what it has made.
    private func call(_ body: () -> Int32) -> Int32 {
        guard let tls, let context else { return -1 }
        let pipe = tls.pipe
        let input = held
        let r = input.withUnsafeBufferPointer { bytes -> Int32 in
            pipe.pointee.first_context = context.pointer
            pipe.pointee.in = bytes.baseAddress
            pipe.pointee.in_count = bytes.count
            pipe.pointee.at_end = 0
            pipe.pointee.out_count = 0
            let r = body()
            if pipe.pointee.in_count < bytes.count { held = Array(bytes.suffix(pipe.pointee.in_count)) }
            return r
        }
        unsent += UnsafeBufferPointer(start: pipe.pointee.out, count: pipe.pointee.out_count)
        pipe.pointee.out_count = 0
        if let session = pipe.pointee.session {
            SSL_SESSION_free(session)
            pipe.pointee.session = nil
        }
        return r
    }

    private static func words(_ errno: Int32) -> String { "\(errno): \(String(cString: strerror(errno)))" }
}
