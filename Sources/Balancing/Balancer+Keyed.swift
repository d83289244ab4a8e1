// The algorithms that name a peer by a key or by chance, and look further when that one is out of service.
// A part of `Balancer`. After 20 misses of one exchange they leave the choice to round robin, as nginx does.

extension Balancer {
    /// Counts a miss of the exchange. True when it has had its last.
    private func missed(_ tried: inout TriedPeers) -> Bool {
        tried.misses += 1
        return tried.misses > Self.missesMax
    }

    /// The primary that holds the unit of weight `unit`.
    private func slot(at unit: Int) -> Int {
        var (low, high) = (0, ranges.count)
        while high - low > 1 {
            let middle = (low + high) / 2
            if unit < ranges[middle] { high = middle } else { low = middle }
        }
        return low
    }

    mutating func pickByAddress(_ nowMs: Int64, _ address: Span<UInt8>, _ tried: inout TriedPeers) -> Int {
        var hash: UInt32 = tried.hasHash ? tried.hash : 89
        repeat {
            hash = Self.ipHash(address, previous: hash)
            let slot = slot(at: Int(hash) % primary.totalWeight)
            if primary.take(slot, nowMs, tried) {
                tried.hash = hash
                tried.hasHash = true
                return slot
            }
        } while !missed(&tried)
        return primary.pick(nowMs, tried)
    }

    /// Each round adds 15 bits of the key's checksum, from the second on with the number of the round before the key.
    mutating func pickByHash(_ nowMs: Int64, _ key: Span<UInt8>, _ tried: inout TriedPeers) -> Int {
        repeat {
            let start = tried.rehashes == 0 ? CRC32.start : crc.add(decimal: tried.rehashes, to: CRC32.start)
            tried.hash &+= crc.finish(crc.add(key, to: start)) >> 16 & 0x7FFF
            tried.rehashes += 1
            let slot = slot(at: Int(tried.hash) % primary.totalWeight)
            if primary.take(slot, nowMs, tried) { return slot }
        } while !missed(&tried)
        return primary.pick(nowMs, tried)
    }

    /// `tried.hash` is the position on the ring: it moves on while the peers there are out of service.
    mutating func pickByRing(_ ring: RingView, _ nowMs: Int64, _ key: Span<UInt8>, _ tried: inout TriedPeers) -> Int {
        if !tried.hasHash {
            tried.hash = ring.position(crc.finish(crc.add(key, to: CRC32.start)))
            tried.hasHash = true
        }
        repeat {
            let slot = primary.pickAmong(ring.members, ring.membersRange(tried.hash), nowMs, tried)
            if slot >= 0 { return slot }
            tried.hash &+= 1
        } while !missed(&tried)
        return primary.pick(nowMs, tried)
    }

    mutating func pickRandom(_ context: PickContext, _ tried: inout TriedPeers) -> Int {
        var numbers = RandomSequence(state: context.randomNumber)
        repeat {
            let slot = slot(at: numbers.next(below: primary.totalWeight))
            if primary.take(slot, context.nowMs, tried) { return slot }
        } while !missed(&tried)
        return primary.pick(context.nowMs, tried)
    }

    mutating func pickOfTwo(_ context: PickContext, _ tried: inout TriedPeers) -> Int {
        var numbers = RandomSequence(state: context.randomNumber)
        var first = -1
        repeat {
            var slot = slot(at: numbers.next(below: primary.totalWeight))
            if slot == first || tried.contains(slot) || primary.availability(slot, context.nowMs) != .standing { continue }
            if first < 0 {
                first = slot
                continue
            }
            let (a, b) = (primary.slots[slot], primary.slots[first])
            if a.active * b.weight > b.active * a.weight { slot = first }
            if primary.take(slot, context.nowMs, tried) { return slot }
        } while !missed(&tried)
        return primary.pick(context.nowMs, tried)
    }
}
