// Chooses the peer of an exchange. Each worker owns one balancer an upstream; the peers' counters are shared by all workers.
// Called by the exchange to pick and to release. It has no clock, no random numbers and no locks of its own.

/// Picks among the peers of one upstream with one algorithm, in the order and under the conditions of nginx 1.31
/// (`ngx_http_upstream_round_robin.c` and the `least_conn`, `ip_hash`, `hash` and `random` modules), with times in
/// milliseconds where nginx counts seconds.
///
/// Active exchanges and failures are those of all workers; current and effective weights are this worker's own. Up to 32 peers
/// of a tier are read at each pick; `PeerTier+Tree.swift` says how old what is known of more may be.
///
/// Every `Pick.peer` is to be followed by one `release`. Not Sendable: it stays with its worker.
public struct Balancer: ~Copyable {
    /// Fruitless keyed or random choices an exchange may make before it falls back to round robin.
    static var missesMax: UInt8 { 20 }

    var primary: PeerTier
    var backup: PeerTier
    let algorithm: Algorithm
    /// The first unit of weight of each primary, for the algorithms that choose along the weights.
    let ranges: Table<Int>
    let ring: RingView?
    /// What `ring` points into.
    private let ringOwner: HashRing?
    let crc: CRC32
    /// The slot of each peer, of its tier; backups counted down from -1.
    private let slots: Table<Int32>
    /// What the slots point into.
    private let counters: [PeerCounters]
    /// Whether the upstream has one peer and no backup. Then failures never keep it out, and an exchange is tried once.
    public let isSingle: Bool
    /// How many peers an exchange may try at most, when its upstream says nothing else: those not down.
    public let triesMax: Int

    /// - Parameter ring: the ring of these very peers, to share it among workers; made here when `hashConsistent` has none.
    public init(_ algorithm: Algorithm, peers: [PeerSpec], ring: HashRing? = nil) {
        self.init(algorithm, peers: peers, ring: ring, tuning: Tuning())
    }

    init(_ algorithm: Algorithm, peers: [PeerSpec], ring: HashRing? = nil, tuning: Tuning) {
        precondition(peers.count < Int(Int32.max))
        let all = peers.enumerated().map { (index: $0.offset, spec: $0.element) }
        let primaries = all.filter { !$0.spec.isBackup }
        let backups = all.filter { $0.spec.isBackup }
        self.algorithm = algorithm
        primary = PeerTier(primaries, byLoad: algorithm == .leastConn, tuning: tuning)
        backup = PeerTier(backups, byLoad: algorithm == .leastConn, tuning: tuning)
        var slots = [Int32](repeating: 0, count: peers.count)
        for (slot, peer) in primaries.enumerated() { slots[peer.index] = Int32(slot) }
        for (slot, peer) in backups.enumerated() { slots[peer.index] = -1 - Int32(slot) }
        self.slots = Table(slots)
        counters = peers.map(\.counters)
        isSingle = primaries.count == 1 && backups.isEmpty
        triesMax = peers.reduce(0) { $0 + ($1.isDown || $1.isDrained ? 0 : 1) }
        var ranges: [Int] = []
        var first = 0
        for slot in 0..<primary.count {
            ranges.append(first)
            first += primary.slots[slot].weight
        }
        self.ranges = Table(ranges)
        crc = CRC32()
        ringOwner = algorithm == .hashConsistent ? ring ?? HashRing(peers: peers) : nil
        self.ring = ringOwner?.view
        precondition(self.ring == nil || self.ring?.members.count == primary.count, "a ring of other peers")
    }

    /// Chooses a peer, reserves one of its connections and marks it tried.
    ///
    /// - Parameters:
    ///   - key: what the exchange hashes: the value of the key of `hash`, the address of the client for `ip_hash`, else empty.
    ///   - tried: kept by the exchange from its first pick to its last.
    public mutating func pick(_ context: PickContext, key: Span<UInt8>, tried: inout TriedPeers) -> Pick {
        if isSingle { return pickSingle(&tried) }
        if tried.isFull { return .none(.allTried) }
        if !tried.onBackup {
            let slot = pickPrimary(context, key, &tried)
            if slot >= 0 {
                tried.mark(slot)
                tried.count += 1
                return .peer(primary.slots[slot].index, isBackup: false)
            }
            if backup.count > 0 { tried.moveToBackup() }
        }
        if tried.onBackup {
            let slot = backup.pick(context.nowMs, tried)
            if slot >= 0 {
                tried.mark(slot)
                tried.count += 1
                return .peer(backup.slots[slot].index, isBackup: true)
            }
        }
        return .none(tried.count > 0 ? .allTried : reason(context.nowMs))
    }

    /// Ends the reservation of `peer` and accounts for its outcome.
    public mutating func release(_ peer: Int32, outcome: PeerOutcome, nowMs: Int64) {
        let slot = Int(slots[Int(peer)])
        if isSingle {
            primary.slots[slot].releaseAlone(outcome)
        } else if slot >= 0 {
            primary.release(slot, outcome, nowMs: nowMs)
        } else {
            backup.release(-1 - slot, outcome, nowMs: nowMs)
        }
    }

    private mutating func pickPrimary(_ context: PickContext, _ key: Span<UInt8>, _ tried: inout TriedPeers) -> Int {
        if primary.count > 1 && tried.misses <= Self.missesMax {
            switch algorithm {
            case .roundRobin, .leastConn: break
            case .ipHash: return pickByAddress(context.nowMs, key, &tried)
            case .hash: if !key.isEmpty { return pickByHash(context.nowMs, key, &tried) }
            case .hashConsistent: if let ring, !key.isEmpty { return pickByRing(ring, context.nowMs, key, &tried) }
            case .random: return pickRandom(context, &tried)
            case .randomTwo: return pickOfTwo(context, &tried)
            }
        }
        return primary.pick(context.nowMs, tried)
    }

    private mutating func pickSingle(_ tried: inout TriedPeers) -> Pick {
        if primary.slots[0].reserveAlone() {
            tried.count += 1
            return .peer(primary.slots[0].index, isBackup: false)
        }
        return .none(primary.slots[0].isDown ? .allDown : .allBusy)
    }

    private func reason(_ nowMs: Int64) -> NoPeer {
        let reasons = (primary.reason(nowMs), backup.reason(nowMs))
        switch reasons {
        case (.allBusy, _), (_, .allBusy): return .allBusy
        case (.allFailed, _), (_, .allFailed): return .allFailed
        default: return .allDown
        }
    }
}
