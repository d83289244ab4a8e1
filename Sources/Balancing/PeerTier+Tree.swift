// A tier of many peers: those at full weight stand in the tree, the others wait in lists until they may stand there again.
// A part of `PeerTier`. Own picks and releases keep it exact; what other workers change in the rows it learns in turn.

// Staleness. A peer is compared with its row when it is picked, when it is released, when its timeout ends, while it recovers,
// and in turn: `refreshesPerPick` peers a pick. So no peer is picked against its row, `maxConns` is never exceeded, and of the
// changes other workers made to peers that would not be picked anyway, each is seen within `count / refreshesPerPick` picks.
// A pick that meets more than `attemptsMax` peers whose load has changed takes the next one as it is.

extension PeerTier {
    /// Puts all peers in their places for the first time.
    mutating func plant() {
        for slot in 0..<count {
            slots[slot].place = .lifted
            populations[Int(Place.lifted.rawValue)] += 1
        }
        // Before all time every failed peer is still out; the first pick wakes those whose timeout has passed.
        for slot in 0..<count { settle(slot, PeerRow.never + 1) }
        playAll()
    }

    mutating func pickFromTree(_ nowMs: Int64, _ tried: borrowing TriedPeers) -> Int {
        wake(nowMs)
        refreshInTurn(nowMs)
        if tried.isEmpty {
            let chosen = choose(nowMs, tried)
            return chosen < 0 && hasSlowStart ? chooseWarming(nowMs, tried) : chosen
        }
        forEachTried(tried) { tier, slot in
            if tier.slots[slot].place == .standing { tier.lift(slot) }
        }
        var chosen = choose(nowMs, tried)
        if chosen < 0 && hasSlowStart { chosen = chooseWarming(nowMs, tried) }
        forEachTried(tried) { tier, slot in
            if tier.slots[slot].place == .lifted { tier.put(slot, nowMs) }
        }
        return chosen
    }

    /// Puts `slot` where its row says it belongs, if that is not where it is.
    mutating func refresh(_ slot: Int, _ nowMs: Int64) {
        let place = wantedPlace(slot, nowMs)
        if place == slots[slot].place && (place != .standing || !byLoad || slots[slot].load == slots[slot].active) { return }
        let stood = slots[slot].place == .standing
        detach(slot)
        settle(slot, nowMs)
        if stood || slots[slot].place == .standing { climb(slot) }
    }

    /// Takes `slot` out of its place, its current weight spelled out. The nodes above it are the caller's to play.
    mutating func detach(_ slot: Int) {
        populations[Int(slots[slot].place.rawValue)] -= 1
        switch slots[slot].place {
        case .standing:
            slots[slot].currentWeight = lineValue(slot)
            groups.leave(slots[slot].group, weight: slots[slot].weight)
        case .recovering:
            recoveringCount -= 1
            let last = recovering[recoveringCount]
            recovering[Int(slots[slot].position)] = last
            slots[Int(last)].position = slots[slot].position
        case .failed:
            wakes.set(slot, .max)
        case .warming:
            wakes.set(slot, .max)
            warmups.set(slot, .max)
        case .down, .busy, .lifted, .sick, .unchecked:
            break
        }
        slots[slot].place = .lifted
        populations[Int(Place.lifted.rawValue)] += 1
    }

    /// As `detach`, with the nodes above played.
    mutating func lift(_ slot: Int) {
        let stood = slots[slot].place == .standing
        detach(slot)
        if stood { climb(slot) }
    }

    /// Puts a detached peer where its row says it belongs, and plays the nodes above it.
    mutating func put(_ slot: Int, _ nowMs: Int64) {
        settle(slot, nowMs)
        climb(slot)
    }

    private mutating func wantedPlace(_ slot: Int, _ nowMs: Int64) -> Place {
        let place = availability(slot, nowMs)
        if place == .standing && isWarming(slot, nowMs) { return .warming }
        return place == .standing && slots[slot].effectiveWeight < slots[slot].weight ? .recovering : place
    }

    private mutating func settle(_ slot: Int, _ nowMs: Int64) {
        let place = wantedPlace(slot, nowMs)
        populations[Int(Place.lifted.rawValue)] -= 1
        populations[Int(place.rawValue)] += 1
        slots[slot].place = place
        switch place {
        case .standing:
            slots[slot].load = byLoad ? slots[slot].active : 0
            slots[slot].group = groups.join(active: slots[slot].load, weight: slots[slot].weight)
            slots[slot].currentWeight &-= slots[slot].weight &* groups.tick(slots[slot].group)
        case .recovering:
            slots[slot].position = Int32(recoveringCount)
            recovering[recoveringCount] = Int32(slot)
            recoveringCount += 1
        case .failed:
            wakes.set(slot, slots[slot].failedUntilMs)
        case .warming:
            wakes.set(slot, slots[slot].warmFromMs - 1)
            warmups.set(slot, Int64(picks + slots[slot].picksUntilWarm(nowMs, totalWeight: totalWeight)))
        case .down, .busy, .lifted, .sick, .unchecked:
            break
        }
    }

    /// Puts the failed peers whose timeout has passed, and those that have warmed up for a pick, back among the available.
    private mutating func wake(_ nowMs: Int64) {
        while wakes.earliest < nowMs {
            visit()
            let slot = wakes.first
            detach(slot)
            put(slot, nowMs)
        }
        while warmups.earliest <= Int64(picks) {
            visit()
            let slot = warmups.first
            detach(slot)
            put(slot, nowMs)
        }
    }

    /// Puts every peer where its row says it belongs: when the health of some has changed.
    mutating func refreshAll(_ nowMs: Int64) {
        for slot in 0..<count { refresh(slot, nowMs) }
    }

    /// With nobody else to pick: one of those that start slowly, though they have had their share for now.
    private mutating func chooseWarming(_ nowMs: Int64, _ tried: borrowing TriedPeers) -> Int {
        var asked: InlineArray<16, Int32> = .init(repeating: -1)
        var count = 0
        var chosen = -1
        while chosen < 0 && count < asked.count && warmups.earliest < .max {
            let slot = warmups.first
            detach(slot)
            asked[count] = Int32(slot)
            count += 1
            if tried.contains(slot) || availability(slot, nowMs) != .standing || !slots[slot].reserve(nowMs) { continue }
            slots[slot].payForStart(totalWeight: totalWeight)
            chosen = slot
        }
        for i in 0..<count { put(Int(asked[i]), nowMs) }
        return chosen
    }

    private mutating func refreshInTurn(_ nowMs: Int64) {
        for _ in 0..<refreshesPerPick {
            visit()
            refresh(refreshCursor, nowMs)
            refreshCursor = refreshCursor + 1 == count ? 0 : refreshCursor + 1
        }
    }

    private mutating func forEachTried(_ tried: borrowing TriedPeers, _ body: (inout PeerTier, Int) -> Void) {
        var low = tried.low
        while low != 0 {
            body(&self, low.trailingZeroBitCount)
            low &= low - 1
        }
        for i in 0..<tried.highCount { body(&self, Int(tried.high[i])) }
    }

    /// Who is chosen, and what it pays. `slot` -1: nobody.
    private struct Choice {
        var slot = -1
        var price = 0
        /// Whether the peers of its load have gained for this turn.
        var hasStepped = false
    }

    /// One turn: the least loaded peers gain, the first among them pays and is reserved. All tried ones are out of the tree.
    private mutating func choose(_ nowMs: Int64, _ tried: borrowing TriedPeers) -> Int {
        var ticked: Int32 = -1
        // Each round without a choice takes a peer out of the tree, or, up to `attemptsMax` times, puts its load right.
        for attempt in 0..<(count + Self.attemptsMax) {
            let choice = turn(nowMs, tried, &ticked)
            if choice.slot < 0 { return -1 }
            let slot = choice.slot
            var reserved = false
            if isStale(slot, nowMs, mindsLoad: byLoad && attempt < Self.attemptsMax) {
                // Another worker was here. It gets no gain for the turn it should not have had.
                detach(slot)
                if choice.hasStepped { slots[slot].currentWeight -= slots[slot].weight }
            } else {
                detach(slot)
                slots[slot].currentWeight -= choice.price
                reserved = slots[slot].reserve(nowMs)
                if reserved && hasSlowStart { slots[slot].payForStart(totalWeight: totalWeight) }
            }
            put(slot, nowMs)
            settleRecovered(nowMs)
            if reserved { return slot }
        }
        return -1
    }

    private func isStale(_ slot: Int, _ nowMs: Int64, mindsLoad: Bool) -> Bool {
        slots[slot].place == .standing
            && (availability(slot, nowMs) != .standing || mindsLoad && slots[slot].load != slots[slot].active)
    }

    private mutating func turn(_ nowMs: Int64, _ tried: borrowing TriedPeers, _ ticked: inout Int32) -> Choice {
        var least = leader
        var isInTree = least >= 0
        var members = isInTree ? groups[slots[least].group].count : 0
        var i = recoveringCount
        while i > 0 {
            i -= 1
            visit()
            let slot = Int(recovering[i])
            if tried.contains(slot) { continue }
            if availability(slot, nowMs) != .standing {
                refresh(slot, nowMs)
                continue
            }
            slots[slot].load = byLoad ? slots[slot].active : 0
            let order = least < 0 ? -1 : compareLoads(slot, least)
            if order < 0 { (least, isInTree, members) = (slot, false, 0) }
            if order <= 0 { members += 1 }
        }
        // As in nginx, the only peer of the least load with `leastConn` neither gains nor recovers.
        if least < 0 || byLoad && members == 1 { return Choice(slot: least) }
        var choice = Choice()
        if isInTree {
            let group = slots[least].group
            if ticked != group {
                groups.advance(group)
                mend(1, group)
                ticked = group
            }
            choice = Choice(slot: leader, price: groups[group].totalWeight, hasStepped: true)
        }
        return recoveringCount == 0 ? choice : stepRecovering(choice, as: least, nowMs, tried)
    }

    /// Lets the recovering peers of the load of `least` gain, too, and compares them with the choice of the tree.
    private mutating func stepRecovering(
        _ fromTree: Choice, as least: Int, _ nowMs: Int64, _ tried: borrowing TriedPeers
    ) -> Choice {
        var choice = fromTree
        var most = choice.slot < 0 ? 0 : lineValue(choice.slot)
        for i in 0..<recoveringCount {
            let slot = Int(recovering[i])
            if tried.contains(slot) || compareLoads(slot, least) != 0 { continue }
            choice.price += slots[slot].step()
            let weight = slots[slot].currentWeight
            if choice.slot < 0 || weight > most || weight == most && slot < choice.slot { (choice.slot, most) = (slot, weight) }
        }
        return choice
    }

    /// Moves the peers that have recovered to the tree.
    private mutating func settleRecovered(_ nowMs: Int64) {
        var i = recoveringCount
        while i > 0 {
            i -= 1
            let slot = Int(recovering[i])
            if slots[slot].effectiveWeight >= slots[slot].weight { refresh(slot, nowMs) }
        }
    }
}
