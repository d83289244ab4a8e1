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
    /// Whether there are several primaries, and weights to choose along.
    private let hasChoice: Bool
    /// What `ring` points into.
    private let ringOwner: HashRing?
    let crc: CRC32
    /// The slot of each peer, of its tier; backups counted down from -1.
    let slots: Table<Int32>
    /// Keeps what the slots point into.
    private let peers: [PeerSpec]
    /// Whether the upstream has one peer and no backup. Then failures never keep it out, and an exchange is tried once.
    public let isSingle: Bool
    /// How many peers an exchange may try at most, when its upstream says nothing else: those that take something new. A peer
    /// reserved with `pickStuck` may be one more.
    public let triesMax: Int
    /// Nil: nobody is ejected.
    let outliers: OutlierPolicy?
    let panicPercent: Int
    /// Peers that take something new, health aside.
    let primariesTaking: Int
    var sickness = Sickness()
    /// Whether the last pick was made among all peers because too many are sick.
    public internal(set) var isPanicking = false
    let pool: PoolView
    private let poolCounters: PoolCounters

    /// - Parameters:
    ///   - ring: the ring of these very peers, to share it among workers; made here when `hashConsistent` has none.
    ///   - health: which peers are ejected, and when all are used again.
    public init(_ algorithm: Algorithm, peers: [PeerSpec], ring: HashRing? = nil, health: HealthPolicy = HealthPolicy()) {
        self.init(algorithm, peers: peers, ring: ring, health: health, tuning: Tuning())
    }

    /// Goes on where `old`, this worker's balancer of the same upstream before a change, stands: peers that stay, that is, have
    /// the same row, keep their place in the turns, and what failures have taken from their effective weight.
    public init(
        _ algorithm: Algorithm, peers: [PeerSpec], ring: HashRing? = nil, health: HealthPolicy = HealthPolicy(),
        continuing old: borrowing Balancer
    ) {
        self.init(algorithm, peers: peers, ring: ring, health: health, continuing: old, tuning: Tuning())
    }

    init(
        _ algorithm: Algorithm, peers: [PeerSpec], ring: HashRing? = nil, health: HealthPolicy = HealthPolicy(),
        continuing old: borrowing Balancer, tuning: Tuning
    ) {
        var slots = TierSlots(peers)
        slots.succeed(old)
        self.init(algorithm, peers, slots, ring, health, tuning)
    }

    init(
        _ algorithm: Algorithm, peers: [PeerSpec], ring: HashRing? = nil, health: HealthPolicy = HealthPolicy(), tuning: Tuning
    ) {
        self.init(algorithm, peers, TierSlots(peers), ring, health, tuning)
    }

    private init(
        _ algorithm: Algorithm, _ peers: [PeerSpec], _ slots: consuming TierSlots, _ ring: HashRing?, _ health: HealthPolicy,
        _ tuning: Tuning
    ) {
        precondition(peers.count < Int(Int32.max))
        // Nothing here reads a property: behind `&&` or `??`, Swift 6.3 would destroy those that are not set yet.
        let owner = algorithm == .hashConsistent ? ring ?? HashRing(peers: peers) : nil
        let view = owner?.view
        precondition(view == nil || view?.members.count == slots.primary.count, "a ring of other peers")
        self.algorithm = algorithm
        self.peers = peers
        let counters = peers.first?.counters.pool ?? PoolCounters()
        poolCounters = counters
        pool = PoolView(counters)
        outliers = health.outliers
        panicPercent = health.panicPercent
        primariesTaking = slots.primariesTaking
        isSingle = slots.primary.count == 1 && slots.backup.count == 0
        triesMax = slots.takingCount
        hasChoice = slots.primary.count > 1 && slots.hasWeight
        ranges = slots.ranges()
        crc = CRC32()
        ringOwner = owner
        // Without points, no position on it is any peer's.
        self.ring = view?.points.count == 0 ? nil : view
        self.slots = slots.ofPeer
        primary = PeerTier(slots.primary, byLoad: algorithm == .leastConn, tuning: tuning)
        backup = PeerTier(slots.backup, byLoad: algorithm == .leastConn, tuning: tuning)
    }

    /// Chooses a peer, reserves one of its connections and marks it tried.
    ///
    /// - Parameters:
    ///   - key: what the exchange hashes: the value of the key of `hash`, the address of the client for `ip_hash`, else empty.
    ///   - tried: kept by the exchange from its first pick to its last.
    public mutating func pick(_ context: PickContext, key: Span<UInt8>, tried: inout TriedPeers) -> Pick {
        if isSingle { return pickSingle(&tried) }
        if tried.isFull { return .none(.allTried) }
        lookAfterSickness(context.nowMs)
        var pick = pickHealthy(context, key, &tried)
        if case .none(let why) = pick, tried.count == 0, usesAll(context.nowMs, healthyAreBusy: why == .allBusy) {
            tried = TriedPeers()
            pick = pickHealthy(context, key, &tried)
        }
        if isPanicking { pool.countPanicPick() }
        return pick
    }

    private mutating func pickHealthy(_ context: PickContext, _ key: Span<UInt8>, _ tried: inout TriedPeers) -> Pick {
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

    /// Reserves this very peer for a session that is stuck to it, drained or not, unless it is down, without weight, out because
    /// of failures, busy, or tried by the exchange; then `pick` is to choose another. Marks it tried.
    ///
    /// A backup may be had like this while there are primaries: the next `pick` of the exchange still asks those first.
    ///
    /// - Parameter peer: an index into the list the balancer was made from; any other is refused.
    public mutating func pickStuck(_ peer: Int32, _ context: PickContext, tried: inout TriedPeers) -> Bool {
        if peer < 0 || peer >= slots.count || tried.isFull { return false }
        let number = Int(slots[Int(peer)])
        if !isSingle { lookAfterSickness(context.nowMs) }
        if isSingle {
            if tried.count > 0 || reasonOfSingle() != nil || !primary.slots[number].reserveAlone() { return false }
        } else if number >= 0 {
            if tried.onBackup || tried.contains(number) || !primary.takeStuck(number, context.nowMs) { return false }
            tried.mark(number)
        } else {
            let slot = -1 - number
            if tried.onBackup ? tried.contains(slot) : tried.stuckBackup > 0 { return false }
            if !backup.takeStuck(slot, context.nowMs) { return false }
            if tried.onBackup { tried.mark(slot) } else { tried.stuckBackup = Int32(slot + 1) }
        }
        tried.count += 1
        return true
    }

    /// Counts a tunnel through `peer` that begins (1) or ends (-1).
    public func countTunnel(_ peer: Int32, _ step: Int) {
        let slot = Int(slots[Int(peer)])
        if slot >= 0 { primary.slots[slot].countTunnel(step) } else { backup.slots[-1 - slot].countTunnel(step) }
    }

    /// Ends the reservation of `peer` and accounts for its outcome.
    /// - Parameter status: of the answer, which is counted; 0: there was none.
    public mutating func release(_ peer: Int32, outcome: PeerOutcome, nowMs: Int64, status: UInt16 = 0) {
        let slot = Int(slots[Int(peer)])
        if isSingle {
            primary.slots[slot].releaseAlone(outcome, status)
        } else if slot >= 0 {
            primary.release(slot, outcome, nowMs: nowMs, status)
        } else {
            backup.release(-1 - slot, outcome, nowMs: nowMs, status)
        }
    }

    /// As above, where outliers are ejected.
    ///
    /// - Parameter report: what else the outcome says of the peer.
    /// - Returns: its ejection, if this was one error too many.
    public mutating func release(
        _ peer: Int32, outcome: PeerOutcome, nowMs: Int64, status: UInt16 = 0, report: PeerReport
    ) -> Ejection? {
        release(peer, outcome: outcome, nowMs: nowMs, status: status)
        let slot = Int(slots[Int(peer)])
        guard let outliers, slot >= 0, !isSingle, outcome != .neither else { return nil }
        return count(report, outcome, slot, outliers, nowMs)
    }

    private mutating func pickPrimary(_ context: PickContext, _ key: Span<UInt8>, _ tried: inout TriedPeers) -> Int {
        if hasChoice && tried.misses <= Self.missesMax {
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
        let isOut = primary.slots[0].isOut
        if isOut { return .none(.allDown) }
        if let reason = reasonOfSingle() { return .none(reason) }
        if !primary.slots[0].reserveAlone() { return .none(.allBusy) }
        if isPanicking { pool.countPanicPick() }
        tried.count += 1
        return .peer(primary.slots[0].index, isBackup: false)
    }

    /// Why the only peer of the upstream cannot be had, if its health says so. It is never ejected.
    @inline(__always)
    private mutating func reasonOfSingle() -> NoPeer? {
        if !primary.slots[0].isWatchedInVain {
            isPanicking = false
            return nil
        }
        isPanicking = primary.slots[0].isUnhealthy && panicPercent > 0
        return isPanicking ? nil : .allSick
    }

    private func reason(_ nowMs: Int64) -> NoPeer {
        let reasons = (primary.reason(nowMs), backup.reason(nowMs))
        switch reasons {
        case (.allBusy, _), (_, .allBusy): return .allBusy
        case (.allFailed, _), (_, .allFailed): return .allFailed
        case (.allSick, _), (_, .allSick): return .allSick
        default: return .allDown
        }
    }
}
