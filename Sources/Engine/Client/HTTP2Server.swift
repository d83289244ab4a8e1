// HTTP/2 towards clients.
// Called by the client session's events and by streams that are written to.

import Bytes

extension Worker {
    func http2Event(_ c: Ref<ClientConnection>) { closeClient(c) }

    func http2TimedOut(_ c: Ref<ClientConnection>) { closeClient(c) }
}
