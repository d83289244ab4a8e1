// HTTP/2 towards clients.
// Called by the client session's events and by streams that are written to.

import Bytes

extension Worker {
    /// The connection speaks HTTP/2 from its next byte on.
    func beginHTTP2(_ c: Ref<ClientConnection>) { closeClient(c) }

    func http2Event(_ c: Ref<ClientConnection>) { closeClient(c) }

    func http2TimedOut(_ c: Ref<ClientConnection>) { closeClient(c) }
}
