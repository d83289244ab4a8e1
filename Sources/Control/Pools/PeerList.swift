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
    ///   - before: the upstream as it runs; a peer that stands where it stood keeps its row without a search.
    ///   - addresses: of a server that is no IPv4 address, and its place in the list.
    ///   - nowMs: of the engine's clock, when this is a change while the proxy runs.
    init(
        _ servers: [ServerState], of upstream: String, in arena: Arena, isRing: Bool, counters: PeerCounterRegistry,
        before: UpstreamDefinition?, nowMs: Int64?,
        addresses: (String, Int) throws(Problem) -> [ResolvedAddress]
    ) throws(Problem) {
        var text = PeerText()
        text.reserve(servers.count)
        // Of thousands of servers none is copied.
        let list = servers.span
        for i in list.indices {
            let name = text.append(list[i].server)
            let ipv4 = list[i].ipv4
            if ipv4 != 0 {
                let address = text.append(ipv4: UInt32(truncatingIfNeeded: ipv4 >> 16), UInt16(truncatingIfNeeded: ipv4))
                text.peers.append(PeerText.Peer(server: i, name: name, address: address, text: name))
                continue
            }
            for address in try addresses(list[i].server, i) {
                let isName = address.text == list[i].server
                let bytes = text.append(address.bytes)
                text.peers.append(PeerText.Peer(server: i, name: name, address: bytes, text: isName ? name : text.append(address.text.utf8)))
            }
        }
        let bytes = arena.freeze(bytes: text.bytes)
        func view(_ part: Range<Int>) -> ByteView { bytes.slice(part.lowerBound, part.count) }
        let rows: [PeerCounters]
        if let before, let same = text.rows(of: before) {
            (rows, pool, line) = (same, before.counters, before.line)
        } else {
            (rows, pool, line) = counters.counters(upstream: upstream, servers: text.addresses(), nowMs: nowMs)
        }
        settings.reserveCapacity(rows.count)
        specs.reserveCapacity(rows.count)
        for i in rows.indices {
            let (peer, row) = (text.peers[i], rows[i])
            let address = SocketAddress(bytes: view(peer.address), text: view(peer.text))
            settings.append(PeerSettings(address: address, name: view(peer.name), isDrained: list[peer.server].drain))
            // Field by field: a server that is passed on as a whole is copied, and its text touched.
            let n = peer.server
            let hashName = isRing ? Array(list[n].server.utf8) : []
            specs.append(
                PeerSpec(
                    counters: row, weight: list[n].weight, maxConns: list[n].maxConns, maxFails: list[n].maxFails,
                    failTimeoutMs: list[n].failTimeoutMs, slowStartMs: list[n].slowStartMs, isBackup: list[n].backup,
                    isDown: list[n].down || settings[i].isStandIn, isDrained: list[n].drain, hashName: hashName))
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

    mutating func reserve(_ count: Int) {
        bytes.reserveCapacity(count * 40)
        peers.reserveCapacity(count)
    }

    /// The texts once more, for new shared rows.
    func addresses() -> [String] { peers.map { String(decoding: bytes[$0.text], as: UTF8.self) } }

    /// Those of `before`, if it has the same addresses in the same order.
    func rows(of before: UpstreamDefinition) -> [PeerCounters]? {
        guard before.peers.count == peers.count else { return nil }
        let old = before.settings.peers
        return bytes.withUnsafeBufferPointer { new -> [PeerCounters]? in
            guard let start = new.baseAddress else { return nil }
            for i in peers.indices where !(old[i].address.text == ByteView(start + peers[i].text.lowerBound, peers[i].text.count)) { return nil }
            return before.peers.map(\.counters)
        }
    }

    mutating func append(_ part: some Collection<UInt8>) -> Range<Int> {
        let first = bytes.count
        bytes.append(contentsOf: part)
        return first..<bytes.count
    }

    mutating func append(_ text: String) -> Range<Int> {
        let first = bytes.count
        text.utf8Span.span.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
        return first..<bytes.count
    }

    /// `sockaddr_in`.
    mutating func append(ipv4 address: UInt32, _ port: UInt16) -> Range<Int> {
        let first = bytes.count
        let words = (UInt16(AF_INET).littleEndian, port.bigEndian, address.bigEndian, UInt64(0))
        withUnsafeBytes(of: words) { bytes.append(contentsOf: $0) }
        return first..<bytes.count
    }
}
