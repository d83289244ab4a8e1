// The peers of an upstream as the data path has them, made of the servers of its state: addresses, names, shared rows.
// Used by `PoolBuilder`. It goes over the servers once and takes memory for all of them together, since there may be thousands.

import AdminAPI
import Balancing
import Bytes
import CLinux
import Engine

struct PeerList {
    var settings: [PeerSettings] = []
    private(set) var specs: [PeerSpec] = []
    /// What the peers share.
    let pool: PoolCounters
    let line: WaitingLine

    /// - Parameters:
    ///   - arena: gets addresses and names.
    ///   - isRing: the names of the servers make the points of a ring.
    ///   - addresses: of a server that is no IPv4 address, and its place in the list.
    ///   - nowMs: of the engine's clock, when this is a change while the proxy runs.
    init(
        _ servers: [ServerState], of upstream: String, in arena: Arena, isRing: Bool, counters: PeerCounterRegistry, nowMs: Int64?,
        addresses: (String, Int) throws(Problem) -> [ResolvedAddress]
    ) throws(Problem) {
        var text = PeerText()
        text.reserve(servers.count)
        for (i, server) in servers.enumerated() {
            let name = text.append(server.server.utf8)
            if let (address, port) = AdminAPI.ServerAddress.normalIPv4(server.server) {
                text.peers.append(PeerText.Peer(server: i, name: name, address: text.append(ipv4: address, port), text: name))
                text.addresses.append(server.server)
                continue
            }
            for address in try addresses(server.server, i) {
                let isName = address.text == server.server
                let bytes = text.append(address.bytes)
                text.peers.append(PeerText.Peer(server: i, name: name, address: bytes, text: isName ? name : text.append(address.text.utf8)))
                text.addresses.append(address.text)
            }
        }
        let bytes = arena.freeze(bytes: text.bytes)
        func view(_ part: Range<Int>) -> ByteView { bytes.slice(part.lowerBound, part.count) }
        let (rows, pool, line) = counters.counters(upstream: upstream, servers: text.addresses, nowMs: nowMs)
        self.pool = pool
        self.line = line
        settings.reserveCapacity(rows.count)
        specs.reserveCapacity(rows.count)
        for (peer, row) in zip(text.peers, rows) {
            let server = servers[peer.server]
            let address = SocketAddress(bytes: view(peer.address), text: view(peer.text))
            settings.append(PeerSettings(address: address, name: view(peer.name), isDrained: server.drain))
            var spec = PeerSpec(counters: row)
            spec.weight = server.weight
            spec.maxConns = server.maxConns
            spec.maxFails = server.maxFails
            spec.failTimeoutMs = server.failTimeoutMs
            spec.slowStartMs = server.slowStartMs
            spec.isBackup = server.backup
            spec.isDown = server.down
            spec.isDrained = server.drain
            if isRing { spec.hashName = Array(server.server.utf8) }
            specs.append(spec)
        }
    }
}

/// Names and addresses of peers, one behind the other.
private struct PeerText {
    struct Peer {
        /// Its place in the list; several addresses of one name share it.
        var server: Int
        var name: Range<Int>
        /// The bytes of the `sockaddr`, and its text.
        var address: Range<Int>
        var text: Range<Int>
    }
    var bytes: [UInt8] = []
    var peers: [Peer] = []
    /// The texts once more, for the shared rows.
    var addresses: [String] = []

    mutating func reserve(_ count: Int) {
        bytes.reserveCapacity(count * 40)
        peers.reserveCapacity(count)
        addresses.reserveCapacity(count)
    }

    mutating func append(_ part: some Collection<UInt8>) -> Range<Int> {
        let first = bytes.count
        bytes.append(contentsOf: part)
        return first..<bytes.count
    }

    /// `sockaddr_in`.
    mutating func append(ipv4 address: UInt32, _ port: UInt16) -> Range<Int> {
        let first = bytes.count
        bytes.append(UInt8(AF_INET))
        bytes.append(0)
        for shift in [8, 0] { bytes.append(UInt8(truncatingIfNeeded: port >> shift)) }
        for shift in [24, 16, 8, 0] { bytes.append(UInt8(truncatingIfNeeded: address >> shift)) }
        bytes.append(contentsOf: repeatElement(0, count: 8))
        return first..<bytes.count
    }
}
