// TLS of a client whose thread may wait, for what Control asks of others: bytes in, bytes out, no socket.
// Never used by a worker: it has TLSStream.

import COpenSSL

/// One connection's TLS. Used by one thread.
package final class TLSErrand {
    package enum Step { case done, wants, failed(String) }
    package enum Read { case bytes([UInt8]), end, wants, failed(String) }

    private let state: OpaquePointer

    /// Nil: it cannot be begun.
    package init?(host: String) {
        guard let state = tls_errand_new(host) else { return nil }
        self.state = state
    }

    deinit { tls_errand_free(state) }

    package func handshake() -> Step {
        switch tls_errand_handshake(state) {
        case 1: .done
        case 0: .wants
        default: .failed(reason)
        }
    }

    /// Bytes of the server.
    package func give(_ bytes: [UInt8]) { _ = tls_errand_give(state, bytes, bytes.count) }

    /// Bytes for the server.
    package func takeOutput() -> [UInt8] {
        var all: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while true {
            let n = tls_errand_take(state, &chunk, chunk.count)
            if n == 0 { return all }
            all += chunk[..<n]
        }
    }

    package func write(_ bytes: [UInt8]) -> Bool { bytes.isEmpty || tls_errand_write(state, bytes, bytes.count) == 1 }

    package func read() -> Read {
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        let n = tls_errand_read(state, &chunk, chunk.count)
        switch n {
        case 0: return .end
        case -1: return .wants
        case ..<0: return .failed(reason)
        default: return .bytes(Array(chunk[..<Int(n)]))
        }
    }

    private var reason: String {
        var text = [CChar](repeating: 0, count: 256)
        tls_errand_reason(state, &text, text.count)
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
