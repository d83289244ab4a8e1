// What names of hosts stand for, as when they were first met: a change elsewhere asks no resolver. And which of those that run stand for
// nothing. Kept by PoolBuilder, thrown away by a reload; a reload that is refused has it put back.

import AdminAPI
import Engine

struct HostNames {
    /// A server of an upstream, as both are named.
    struct Place: Hashable {
        var upstream: String
        var server: String
    }

    /// By the text of the server, with its port.
    var addresses: [String: [ResolvedAddress]] = [:]
    /// Servers that run, and that nobody could say an address of: they are down until a reload asks again.
    var lost: Set<Place> = []

    init(_ addresses: [String: [ResolvedAddress]] = [:]) { self.addresses = addresses }

    /// In the place of addresses: a peer that is down.
    static func standIn(for server: String) -> [ResolvedAddress] { [(bytes: [], text: server)] }
}

extension PeerSettings {
    /// It stands in for a name that was not resolved: it is down, and has no address.
    var isStandIn: Bool { address.bytes.isEmpty }
}

extension UpstreamDefinition {
    /// Those that a server has as it runs; none where it is down for want of them.
    func addresses(of server: String) -> [ResolvedAddress] {
        (0..<settings.peers.count).map { settings.peers[$0] }.filter { !$0.isStandIn && $0.name.string == server }.map {
            (bytes: Array($0.address.bytes.buffer), text: $0.address.text.string)
        }
    }
}
