// Owns an address that neither accepts nor refuses: its queue is full, so the kernel drops further connections silently.
// Called by the suites about connect timeouts.

import CLinux
import Foundation

public final class BlackHole {
    public let endpoint: Endpoint
    private let listener: Int32
    private var queued: [Int32] = []

    public init() throws {
        endpoint = .tcp("127.0.0.1", try Ports.reserve())
        listener = try Sockets.listen(endpoint, backlog: 0)
        // The queue is full once a connection no longer completes at once.
        while let fd = try? Sockets.connect(endpoint, timeoutMs: 100) { queued.append(fd) }
    }

    deinit {
        for fd in queued { close(fd) }
        close(listener)
    }
}
