// The header of the PROXY protocol in front of everything else on a connection.
// Called by the client session for addresses with `listen ... proxy_protocol`.

import Bytes

extension Worker {
    func readProxyHeader(_ c: Ref<ClientConnection>) { closeClient(c) }
}
