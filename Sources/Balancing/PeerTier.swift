// The primaries of an upstream, or its backups: picks by weight or by load among those that are available.
// Used by `Balancer`. Here the linear form, for small tiers; `PeerTier+Tree.swift` holds the form for large ones.

/// How the module trades exactness against cost. Tests set the extremes.
struct Tuning {
    /// Up to so many peers, each pick reads them all.
    var linearMax = 32
    /// In a larger tier, how many peers each pick compares with their shared rows, in turn.
    var refreshesPerPick = 8
}

struct PeerTier: ~Copyable {
    /// How often a pick starts over because another worker has just changed the peer it was about to reserve.
    static var attemptsMax: Int { 16 }

    var slots: Table<PeerSlot>
    let count: Int
    let totalWeight: Int
    /// Whether the fewest active exchanges for the weight win, and turns are taken only among equals.
    let byLoad: Bool
    let isLinear: Bool
    let refreshesPerPick: Int

    // The tree form; of size 1 in the linear one.
    let capacity: Int
    var nodes: Table<WeightNode>
    var groups: LoadGroups
    var wakes: WakeTree
    var recovering: Table<Int32>
    var recoveringCount = 0
    var refreshCursor = 0
    /// How many peers are in each `Place`.
    var populations: InlineArray<9, Int> = .init(repeating: 0)

    /// So many peers are sick that all are used.
    var ignoresSickness = false
    /// Whether any peer starts slowly. Only then the picks are counted.
    let hasSlowStart: Bool
    var picks = 0
    /// At which pick each warming peer will have its share again; of size 1 without such peers.
    var warmups: WakeTree
    #if DEBUG
        /// Tree nodes and listed peers looked at so far: what tests bound in place of time.
        var visits = 0
    #endif

    init(_ peers: consuming Table<PeerSlot>, byLoad: Bool, tuning: Tuning) {
        count = peers.count
        var totalWeight = 0
        var hasSlowStart = false
        for i in 0..<count {
            totalWeight += peers[i].weight
            hasSlowStart = hasSlowStart || peers[i].slowStartMs > 0
        }
        self.hasSlowStart = hasSlowStart
        self.totalWeight = totalWeight
        slots = peers
        self.byLoad = byLoad
        isLinear = count <= min(tuning.linearMax, 64)
        refreshesPerPick = min(tuning.refreshesPerPick, count)
        let treePeers = isLinear ? 0 : count
        var size = 1
        while size < treePeers { size *= 2 }
        capacity = size
        nodes = Table(size, filledWith: WeightNode())
        groups = LoadGroups(peers: treePeers)
        wakes = WakeTree(capacity: size)
        warmups = WakeTree(capacity: hasSlowStart ? size : 1)
        recovering = Table(treePeers, filledWith: 0)
        if !isLinear { plant() }
    }

    /// Picks a peer by weight or load and reserves it; its slot, or -1.
    mutating func pick(_ nowMs: Int64, _ tried: borrowing TriedPeers) -> Int {
        if hasSlowStart { picks += 1 }
        if !isLinear { return pickFromTree(nowMs, tried) }
        return byLoad ? pickLeastLoaded(nowMs, tried) : pickInTurn(nowMs, tried)
    }

    @inline(__always)
    func availability(_ slot: Int, _ nowMs: Int64) -> Place { slots[slot].availability(nowMs, ignoresSickness: ignoresSickness) }

    /// Whether the peer starts slowly and has had its share for now.
    @inline(__always)
    mutating func isWarming(_ slot: Int, _ nowMs: Int64) -> Bool {
        slots[slot].slowStartMs != 0 && slots[slot].isWarming(nowMs, picks: picks, totalWeight: totalWeight)
    }

    /// Reserves this very peer, if it is available and not tried.
    mutating func take(_ slot: Int, _ nowMs: Int64, _ tried: borrowing TriedPeers) -> Bool {
        if tried.contains(slot) || availability(slot, nowMs) != .standing { return false }
        let reserved = slots[slot].reserve(nowMs)
        if !isLinear { refresh(slot, nowMs) }
        return reserved
    }

    /// As `take`, for a session that is stuck to the peer.
    mutating func takeStuck(_ slot: Int, _ nowMs: Int64) -> Bool {
        if slots[slot].stuckAvailability(nowMs, ignoresSickness: ignoresSickness) != .standing { return false }
        let reserved = slots[slot].reserve(nowMs)
        if !isLinear { refresh(slot, nowMs) }
        return reserved
    }

    mutating func release(_ slot: Int, _ outcome: PeerOutcome, nowMs: Int64, _ status: UInt16) {
        slots[slot].release(outcome, nowMs: nowMs, status)
        if !isLinear { refresh(slot, nowMs) }
    }

    /// Takes turns among some `members` of the slots in `list`: the peers behind one point of a hash ring.
    mutating func pickAmong(
        _ list: TableView<Int32>, _ members: Range<Int>, _ nowMs: Int64, _ tried: borrowing TriedPeers
    ) -> Int {
        let first = Int(list[members.lowerBound])
        if members.count == 1 && slots[first].effectiveWeight == slots[first].weight {
            return take(first, nowMs, tried) ? first : -1
        }
        for _ in 0..<Self.attemptsMax {
            var best = -1
            var total = 0
            for i in members {
                let slot = Int(list[i])
                if tried.contains(slot) || availability(slot, nowMs) != .standing { continue }
                if !isLinear { lift(slot) }
                total += slots[slot].step()
                if best < 0 || slots[slot].currentWeight > slots[best].currentWeight { best = slot }
            }
            if best < 0 { return -1 }
            slots[best].currentWeight -= total
            let reserved = slots[best].reserve(nowMs)
            if !isLinear {
                for i in members where slots[Int(list[i])].place == .lifted { put(Int(list[i]), nowMs) }
            }
            if reserved { return best }
        }
        return -1
    }

    /// What a peer has gained and not yet paid, wherever it stands.
    func currentWeight(_ slot: Int) -> Int {
        slots[slot].place == .standing ? lineValue(slot) : slots[slot].currentWeight
    }

    /// Why a pick found nothing, when the exchange had tried nothing.
    func reason(_ nowMs: Int64) -> NoPeer {
        var (busy, failed) = (populations[Int(Place.busy.rawValue)], populations[Int(Place.failed.rawValue)])
        var sick = populations[Int(Place.sick.rawValue)] + populations[Int(Place.unchecked.rawValue)]
        if isLinear {
            for i in 0..<count {
                switch availability(i, nowMs) {
                case .down: break
                case .failed: failed += 1
                case .sick, .unchecked: sick += 1
                default: busy += 1
                }
            }
        }
        return busy > 0 ? .allBusy : failed > 0 ? .allFailed : sick > 0 ? .allSick : .allDown
    }

    // MARK: The linear form

    /// Whether `slot` may be picked by this exchange. Of those that have had their share for now the warmest is kept in `warm`.
    @inline(__always)
    private mutating func isCandidate(_ slot: Int, _ nowMs: Int64, _ tried: borrowing TriedPeers, _ warm: inout Int) -> Bool {
        if tried.low & (1 &<< UInt64(slot)) != 0 || availability(slot, nowMs) != .standing { return false }
        if !isWarming(slot, nowMs) { return true }
        if warm < 0 || slots[slot].ramp.credit > slots[warm].ramp.credit { warm = slot }
        return false
    }

    /// Takes one of its connections; false when another worker was first.
    @inline(__always)
    private mutating func reserve(_ slot: Int, _ nowMs: Int64) -> Bool {
        if !slots[slot].reserve(nowMs) { return false }
        if hasSlowStart { slots[slot].payForStart(totalWeight: totalWeight) }
        return true
    }

    private mutating func pickInTurn(_ nowMs: Int64, _ tried: borrowing TriedPeers) -> Int {
        for _ in 0..<Self.attemptsMax {
            var best = -1
            var bestWeight = 0
            var total = 0
            var warm = -1
            for slot in 0..<count where isCandidate(slot, nowMs, tried, &warm) {
                total += slots[slot].step()
                let weight = slots[slot].currentWeight
                if best < 0 || weight > bestWeight { (best, bestWeight) = (slot, weight) }
            }
            if best < 0 { best = warm }
            if best < 0 { return -1 }
            slots[best].currentWeight -= total
            if reserve(best, nowMs) { return best }
        }
        return -1
    }

    private mutating func pickLeastLoaded(_ nowMs: Int64, _ tried: borrowing TriedPeers) -> Int {
        for _ in 0..<Self.attemptsMax {
            var best = -1
            var tied: UInt64 = 0
            var warm = -1
            for slot in 0..<count where isCandidate(slot, nowMs, tried, &warm) {
                slots[slot].load = slots[slot].active
                let order = best < 0 ? -1 : compareLoads(slot, best)
                if order < 0 { (best, tied) = (slot, 1 &<< UInt64(slot)) }
                if order == 0 { tied |= 1 &<< UInt64(slot) }
            }
            if best < 0 { best = warm }
            if best < 0 { return -1 }
            if tied & (tied &- 1) != 0 {
                var total = 0
                while tied != 0 {
                    let slot = tied.trailingZeroBitCount
                    tied &= tied - 1
                    total += slots[slot].step()
                    if slots[slot].currentWeight > slots[best].currentWeight { best = slot }
                }
                slots[best].currentWeight -= total
            }
            if reserve(best, nowMs) { return best }
        }
        return -1
    }

    /// Negative when `a` has fewer active exchanges for its weight than `b`.
    @inline(__always)
    func compareLoads(_ a: Int, _ b: Int) -> Int {
        slots[a].load * slots[b].weight - slots[b].load * slots[a].weight
    }
}
