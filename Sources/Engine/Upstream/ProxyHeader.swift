// The header of the PROXY protocol that we put before everything else on a connection to a peer, so that the peer knows the client.
// Called by Connect.swift when a connection is open, before TLS or a request. Such a connection is never another client's.

import Bytes
import CLinux

extension Worker {
    /// False when the exchange has gone on to another peer or has been answered.
    func sendProxyHeader(_ x: Ref<Exchange>, _ u: Ref<UpstreamConnection>) -> Bool {
        let w = out
        w.value.reset()
        var (source, destination) = (x.client.address, destinationOfClient(x))
        // Both are of one family, or the header would lie about one of them.
        if source.family == .ipv6, destination.family == .ipv4 { destination = destination.mappedToIPv6 }
        if source.family == .ipv4, destination.family == .ipv6 { source = source.mappedToIPv6 }
        let areKnown = source.family != .unix && destination.family != .unix
        if x.location.proxy.sendsProxyHeader == .one {
            appendVersion1(w, areKnown ? source : nil, destination)
        } else {
            appendVersion2(w, areKnown ? source : nil, destination)
        }
        x.currentTry?.bytesSent += Int64(w.count)
        guard case .failed(let errno) = write(&u.value.stream, w.view) else { return true }
        logExchange(.error, "send() failed while sending PROXY protocol header to upstream", x, errno: errno)
        upstreamFailed(x, .upstreamClosed, isLogged: true)
        return false
    }

    /// What the client connected to: as a PROXY header said, where that is where its address comes from.
    private func destinationOfClient(_ x: Ref<Exchange>) -> ClientAddress {
        if x.hasRealAddress, let proxy = proxied.find(x.client.proxied), proxy.source == x.client.address { return proxy.destination }
        return ownAddress(x.client)
    }

    private func appendVersion1(_ w: Ref<ByteWriter>, _ source: ClientAddress?, _ destination: ClientAddress) {
        guard let source else { return w.value.append("PROXY UNKNOWN\r\n") }
        w.value.append(source.family == .ipv4 ? "PROXY TCP4 " : "PROXY TCP6 ")
        source.append(to: w)
        w.value.append(" ")
        destination.append(to: w)
        w.value.append(" ")
        w.value.append(decimal: Int(source.port))
        w.value.append(" ")
        w.value.append(decimal: Int(destination.port))
        w.value.append("\r\n")
    }

    private func appendVersion2(_ w: Ref<ByteWriter>, _ source: ClientAddress?, _ destination: ClientAddress) {
        // Version 2, the command PROXY; then family and transport, and how many bytes follow.
        w.value.append("\r\n\r\n\0\r\nQUIT\n\u{21}")
        guard let source else { return w.value.append("\0\0\0") }
        w.value.append(source.family == .ipv4 ? 0x11 : 0x21)
        w.value.append(0)
        w.value.append(UInt8(2 * source.byteCount + 4))
        for address in [source, destination] {
            for i in 0..<address.byteCount { w.value.append(address.byte(i)) }
        }
        for port in [source.port, destination.port] {
            w.value.append(UInt8(port >> 8))
            w.value.append(UInt8(port & 255))
        }
    }
}
