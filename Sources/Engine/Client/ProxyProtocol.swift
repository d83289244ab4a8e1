// The header of the PROXY protocol in front of everything else on a connection: read, kept, and asked for by variables.
// Called by the client session for addresses with `listen ... proxy_protocol`; TLS or HTTP goes on behind it. Nothing of what follows the
// header is taken from the socket, for it may be a TLS record.

import Bytes
import CLinux
import HTTPMessage

/// What a header said of a connection.
struct ProxiedConnection: BitwiseCopyable {
    var source = ClientAddress()
    var destination = ClientAddress()
    /// The values of version 2; lent by the pool until the connection closes.
    var values = Buffer.none
    var valuesCount = 0
}

extension Worker {
    func readProxyHeader(_ c: Ref<ClientConnection>) {
        if !c.stream.isReadable { return }
        let n = kernel.receive(c.stream.fd, scratch.data, Limits.proxyHeaderBytesMax, flags: Int32(MSG_PEEK))
        if n == -Int(EINTR) { return postRead(c) }
        if n == -Int(EAGAIN) {
            c.stream.isReadable = false
            return
        }
        if n <= 0 {
            c.stream.sawEnd = n == 0
            logClient(.info, n == 0 ? "client closed connection" : "recv() failed", c, action: Self.action, errno: Int32(max(0, -n)))
            return closeClient(c)
        }
        let bytes = ByteView(scratch.data, n)
        switch parseProxyHeader(bytes.buffer.span, bytesMax: Limits.proxyHeaderBytesMax) {
        case .needMore:
            // The next bytes bring an edge of their own; after the client's end there are none.
            c.stream.isReadable = false
            if c.stream.peerClosed { refuseProxyHeader(c, .broken, bytes) }
        case .bad(let fault): refuseProxyHeader(c, fault, bytes)
        case .header(let header): takeProxyHeader(c, header, bytes)
        }
    }

    func proxyHeaderTimedOut(_ c: Ref<ClientConnection>) {
        logClient(.info, "client timed out", c, action: Self.action, errno: ETIMEDOUT)
        closeClient(c)
    }

    private static var action: StaticString { " while reading PROXY protocol" }

    private func takeProxyHeader(_ c: Ref<ClientConnection>, _ header: ProxyHeader, _ bytes: ByteView) {
        if let addresses = header.addresses {
            var proxy = ProxiedConnection(source: ClientAddress(addresses.source), destination: ClientAddress(addresses.destination))
            if !header.values.isEmpty {
                proxy.values = buffers.take(header.values.length)
                proxy.valuesCount = header.values.length
                proxy.values.start.update(from: bytes.start + header.values.first, count: proxy.valuesCount)
            }
            guard let (_, handle) = proxied.insert(proxy) else {
                buffers.give(proxy.values)
                return closeClient(c)
            }
            c.proxied = handle
        }
        var left = header.byteCount
        while left > 0 {
            let n = kernel.receive(c.stream.fd, scratch.data, left, flags: 0)
            if n <= 0, n != -Int(EINTR) { return closeClient(c) }
            left -= max(0, n)
        }
        // What comes from now on brings an edge of its own.
        if bytes.count == header.byteCount, !c.stream.peerClosed { c.stream.isReadable = false }
        c.phase = .idle
        if listeners[Int(c.listener)].settings?.isTLS == true { beginHandshake(c) }
        if c.phase != .closed { resume(c) }
    }

    private func refuseProxyHeader(_ c: Ref<ClientConnection>, _ fault: ProxyHeaderFault, _ bytes: ByteView) {
        switch fault {
        case .broken:
            var end = 0
            while end < bytes.count, bytes[end] != 0x0D, bytes[end] != 0x0A { end += 1 }
            logClient(.error, "broken header:", c, detail: bytes.slice(0, end), action: Self.action)
        case .unknownVersion: logClient(.error, "unknown PROXY protocol version", c, action: Self.action)
        case .unknownCommand: logClient(.error, "unknown PROXY protocol command", c, action: Self.action)
        case .tooLarge: logClient(.error, "header is too large", c, action: Self.action)
        case .truncated: logClient(.error, "header is too short for its addresses", c, action: Self.action)
        }
        closeClient(c)
    }

    /// Streams of an HTTP/2 connection have their connection's handle and leave it alone.
    func dropProxied(_ c: Ref<ClientConnection>) {
        if c.stream.carrier.isVirtual { return }
        if let proxy = proxied.find(c.proxied) {
            buffers.give(proxy.values)
            proxied.remove(c.proxied)
        }
        c.proxied = .none
    }

    // MARK: Variables

    /// What is said about addresses: by the PROXY protocol, and by the connection itself where real-ip put another in its place.
    func addressValue(_ v: Variable, _ x: Ref<Exchange>) -> ByteView? {
        let own = x.hasRealAddress ? x.ownAddress : x.client.address
        switch v.kind {
        case .realIPRemoteAddr: return addressText(own)
        case .realIPRemotePort: return portText(own)
        default: break
        }
        guard let proxy = proxied.find(x.client.proxied) else { return nil }
        switch v.kind {
        case .proxyProtocolAddr: return addressText(proxy.source)
        case .proxyProtocolPort: return portText(proxy.source)
        case .proxyProtocolServerAddr: return addressText(proxy.destination)
        case .proxyProtocolServerPort: return portText(proxy.destination)
        default: return proxyProtocolValue(v.name, proxy, x)
        }
    }

    private func addressText(_ address: ClientAddress) -> ByteView {
        valueText.value.reset()
        address.append(to: valueText)
        return valueText.view
    }

    private func portText(_ address: ClientAddress) -> ByteView {
        valueText.value.reset()
        if address.port > 0 { valueText.value.append(decimal: Int(address.port)) }
        return valueText.view
    }

    private func proxyProtocolValue(_ name: ByteView, _ proxy: Ref<ProxiedConnection>, _ x: Ref<Exchange>) -> ByteView? {
        let values = ByteView(proxy.values.start, proxy.valuesCount)
        switch proxyValue(name.buffer.span, in: values.buffer.span) {
        case .absent: return nil
        case .bytes(let range): return values.slice(range.first, range.length)
        case .number(let n):
            valueText.value.reset()
            valueText.value.append(decimal: UInt64(n))
            return valueText.view
        case .broken:
            logExchange(.error, "broken PROXY protocol TLV", x)
            return nil
        case .unknownName:
            logExchange(.error, "unknown PROXY protocol TLV", x, detail: name)
            return nil
        }
    }
}
