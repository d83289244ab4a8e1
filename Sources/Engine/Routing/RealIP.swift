// The address of a client behind proxies that are trusted to say it: in X-Forwarded-For, another field or the PROXY protocol.
// Called when an exchange has its server, and again with its location. It changes the connection's address for this exchange alone;
// `finish` puts back the connection's own.

import Bytes
import HTTPMessage

extension Worker {
    /// Takes the address that `settings` lead to, unless it was taken before.
    func takeRealAddress(_ x: Ref<Exchange>, _ settings: Ref<LocationSettings>) {
        let rules = settings.realIP
        if rules.trusted.isEmpty || x.hasRealAddress { return }
        let c = x.client
        var address = c.address
        switch rules.source {
        case .proxyProtocol:
            guard let proxy = proxied.find(c.proxied), isTrusted(address, rules) else { return }
            address = proxy.source
        case .forwardedFor: if !followFields(x, rules, &address) { return }
        case .field:
            guard let value = field(called: rules.fieldName, x), follow(value, rules, &address) != .nothing else { return }
        }
        x.ownAddress = c.address
        x.hasRealAddress = true
        c.address = address
    }

    private func isTrusted(_ address: ClientAddress, _ rules: RealIPSettings) -> Bool {
        for i in 0..<rules.trusted.count where rules.trusted[i].value.contains(address) { return true }
        return false
    }

    private func field(called name: ByteView, _ x: Ref<Exchange>) -> ByteView? {
        for i in 0..<x.fields.count {
            let f = x.fields[i].value
            if f.name.length == name.count, x.bytes(f.name).equalsIgnoringCase(name), !isDropped(f, x) { return x.bytes(f.value) }
        }
        return nil
    }

    /// From the last field of the name to the first. True when an address was found.
    private func followFields(_ x: Ref<Exchange>, _ rules: RealIPSettings, _ address: inout ClientAddress) -> Bool {
        if x.head.fields.presentNames & HeaderName.xForwardedFor.bit == 0 { return false }
        var isFound = false
        var i = x.fields.count - 1
        while i >= 0 {
            defer { i -= 1 }
            if x.fields[i].known != .xForwardedFor { continue }
            switch follow(x.bytes(x.fields[i].value.value), rules, &address) {
            case .nothing: return isFound
            case .stopped: return true
            case .all: isFound = true
            }
            if !rules.isRecursive { break }
        }
        return isFound
    }

    private enum Following { case nothing, stopped, all }

    /// Goes from the end of a list to its beginning for as long as whoever said the next address is trusted.
    ///
    /// `.nothing`: `address` is what it was. `.stopped`: at one that is not trusted or that cannot be read. `.all`: the list is at its end.
    private func follow(_ list: ByteView, _ rules: RealIPSettings, _ address: inout ClientAddress) -> Following {
        var end = list.count
        var isFound = false
        repeat {
            guard isTrusted(address, rules), let (endpoint, start) = lastForwarded(in: list.buffer.span, before: end) else {
                return isFound ? .stopped : .nothing
            }
            address = ClientAddress(endpoint)
            isFound = true
            end = start
        } while rules.isRecursive && end > 0
        return .all
    }
}
