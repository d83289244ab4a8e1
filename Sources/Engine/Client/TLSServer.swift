// TLS towards clients: the handshake, and what it decides about the connection.
// Called by the listener and by events of connections whose handshake is under way.

import Bytes

extension Worker {
    /// The connection speaks TLS from its next byte on.
    func beginHandshake(_ c: Ref<ClientConnection>) { c.phase = .handshake }

    func handshake(_ c: Ref<ClientConnection>) { closeClient(c) }
}
