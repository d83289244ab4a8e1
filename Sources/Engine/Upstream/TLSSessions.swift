// TLS sessions that peers have offered, kept to be taken up again: the newest for each peer and settings, within a limit.
// Owned by a worker, used by TLSClient.swift. It looks into no session.

import Bytes
import COpenSSL

final class TLSSessions {
    /// By settings and address. Nil: it was one that may not be taken up again.
    private var sessions: [[UInt8]: OpaquePointer?] = [:]
    /// The keys, oldest first from `oldest` on, in a ring once there are as many as may be.
    private var order: [[UInt8]] = []
    private var oldest = 0
    private let limit: Int

    init(limit: Int) { self.limit = limit }

    deinit { for case let session? in sessions.values { SSL_SESSION_free(session) } }

    var count: Int { sessions.count }

    /// It stays the table's.
    func find(_ key: ByteView) -> OpaquePointer? {
        guard let session = sessions[Array(key.buffer)] ?? nil else { return nil }
        if SSL_SESSION_is_resumable(session) == 1 { return session }
        // The peer broke a connection on it.
        SSL_SESSION_free(session)
        sessions[Array(key.buffer)] = .some(nil)
        return nil
    }

    /// Takes the session over, in place of an older one.
    func keep(_ session: OpaquePointer, _ key: ByteView) {
        let key = Array(key.buffer)
        guard let known = sessions.updateValue(session, forKey: key) else { return remember(key) }
        if let old = known { SSL_SESSION_free(old) }
    }

    private func remember(_ key: [UInt8]) {
        if order.count < limit { return order.append(key) }
        if let session = sessions.removeValue(forKey: order[oldest]) ?? nil { SSL_SESSION_free(session) }
        order[oldest] = key
        oldest = (oldest + 1) % limit
    }
}
