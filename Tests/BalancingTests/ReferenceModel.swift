@testable import Balancing

/// The documented behaviour of nginx, one linear scan a pick: what the balancer is compared with.
///
/// It follows `ngx_http_upstream_round_robin.c` and its companions step by step, with one worker and times in milliseconds.
struct ReferenceModel {
    struct Peer {
        var spec: PeerSpec
        var index: Int
        var current = 0
        var effective: Int
        var conns = 0
        var fails = 0
        var accessed: Int64 = 0
        var checked: Int64 = 0

        func isAvailable(_ now: Int64) -> Bool {
            !spec.isDrained && isAvailableToStuck(now)
        }

        func isAvailableToStuck(_ now: Int64) -> Bool {
            if spec.isDown || spec.weight == 0 { return false }
            if spec.maxFails > 0 && fails >= spec.maxFails && now - checked <= spec.failTimeoutMs { return false }
            return spec.maxConns == 0 || conns < spec.maxConns
        }
    }

    /// What nginx keeps for a request.
    struct Request {
        var onBackup = false
        var stuckBackup: Int?
        var tried: Set<Int> = []
        var tries = 0
        var rehash = 0
        var hash: UInt32 = 0
        var hasPosition = false
    }

    let algorithm: Algorithm
    var groups: [[Peer]]
    var isSingle: Bool { groups[0].count == 1 && groups[1].isEmpty }
    let points: [(hash: UInt32, name: [UInt8])]

    init(_ algorithm: Algorithm, _ specs: [PeerSpec]) {
        self.algorithm = algorithm
        let peers = specs.enumerated().map { Peer(spec: $1, index: $0, effective: $1.weight) }
        groups = [peers.filter { !$0.spec.isBackup }, peers.filter { $0.spec.isBackup }]
        points = algorithm == .hashConsistent ? Self.ring(groups[0].map(\.spec)) : []
    }

    mutating func pick(_ now: Int64, key: [UInt8], random: UInt64, _ request: inout Request) -> Int? {
        if isSingle {
            let peer = groups[0][0]
            return peer.spec.isDrained ? nil : pickAlone()
        }
        if !request.onBackup {
            if let i = pickPrimary(now, key, random, &request) { return taken(0, i, now, &request) }
            if groups[1].isEmpty { return nil }
            request.onBackup = true
            request.tried = []
            if let i = request.stuckBackup { request.tried.insert(i) }
        }
        return byWeightOrLoad(1, now, request).map { taken(1, $0, now, &request) }
    }

    private mutating func pickAlone() -> Int? {
        let peer = groups[0][0]
        if peer.spec.isDown || peer.spec.weight == 0 { return nil }
        if peer.spec.maxConns > 0 && peer.conns >= peer.spec.maxConns { return nil }
        groups[0][0].conns += 1
        return 0
    }

    /// The session is stuck to the peer.
    mutating func pickStuck(_ index: Int, _ now: Int64, _ request: inout Request, isFirst: Bool) -> Bool {
        if isSingle { return isFirst && pickAlone() != nil }
        let g = groups[0].contains { $0.index == index } ? 0 : 1
        let i = groups[g].firstIndex { $0.index == index }!
        if !groups[g][i].isAvailableToStuck(now) { return false }
        if g == (request.onBackup ? 1 : 0) {
            if request.tried.contains(i) { return false }
            request.tried.insert(i)
        } else {
            if request.onBackup || request.stuckBackup != nil { return false }
            request.stuckBackup = i
        }
        take(g, i, now)
        return true
    }

    mutating func change(_ index: Int, _ change: (inout PeerSpec) -> Void) {
        for g in 0...1 { for i in groups[g].indices where groups[g][i].index == index { change(&groups[g][i].spec) } }
    }

    mutating func release(_ index: Int, _ outcome: PeerOutcome, _ now: Int64) {
        let g = groups[0].contains { $0.index == index } ? 0 : 1
        let i = groups[g].firstIndex { $0.index == index }!
        groups[g][i].conns -= 1
        if isSingle {
            groups[g][i].fails = 0
        } else if outcome == .failed {
            groups[g][i].fails += 1
            groups[g][i].accessed = now
            groups[g][i].checked = now
            let spec = groups[g][i].spec
            if spec.maxFails > 0 { groups[g][i].effective -= spec.weight / spec.maxFails }
            groups[g][i].effective = max(0, groups[g][i].effective)
        } else if outcome == .succeeded, groups[g][i].accessed < groups[g][i].checked {
            groups[g][i].fails = 0
        }
    }

    private mutating func taken(_ g: Int, _ i: Int, _ now: Int64, _ request: inout Request) -> Int {
        request.tried.insert(i)
        take(g, i, now)
        return groups[g][i].index
    }

    private mutating func take(_ g: Int, _ i: Int, _ now: Int64) {
        groups[g][i].conns += 1
        if now - groups[g][i].checked > groups[g][i].spec.failTimeoutMs { groups[g][i].checked = now }
    }

    private func eligible(_ g: Int, _ now: Int64, _ request: Request) -> [Int] {
        groups[g].indices.filter { !request.tried.contains($0) && groups[g][$0].isAvailable(now) }
    }

    private mutating func byWeightOrLoad(_ g: Int, _ now: Int64, _ request: Request) -> Int? {
        var candidates = eligible(g, now, request)
        guard algorithm == .leastConn, var best = candidates.first else { return turn(g, candidates) }
        func load(_ a: Int, times b: Int) -> Int { groups[g][a].conns * groups[g][b].spec.weight }
        for i in candidates where load(i, times: best) < load(best, times: i) { best = i }
        candidates = candidates.filter { load($0, times: best) == load(best, times: $0) }
        return candidates.count == 1 ? best : turn(g, candidates)
    }

    private mutating func turn(_ g: Int, _ candidates: [Int]) -> Int? {
        var best: Int?
        var total = 0
        for i in candidates {
            groups[g][i].current += groups[g][i].effective
            total += groups[g][i].effective
            if groups[g][i].effective < groups[g][i].spec.weight { groups[g][i].effective += 1 }
            if best == nil || groups[g][i].current > groups[g][best!].current { best = i }
        }
        if let best { groups[g][best].current -= total }
        return best
    }

    private func slot(at unit: Int) -> Int {
        var rest = unit
        var i = 0
        while rest >= groups[0][i].spec.weight {
            rest -= groups[0][i].spec.weight
            i += 1
        }
        return i
    }

    private mutating func pickPrimary(_ now: Int64, _ key: [UInt8], _ random: UInt64, _ request: inout Request) -> Int? {
        let total = groups[0].reduce(0) { $0 + $1.spec.weight }
        var numbers = RandomSequence(state: random)
        var first: Int?
        let needsKey = algorithm == .hash || algorithm == .hashConsistent
        if algorithm == .roundRobin || algorithm == .leastConn || groups[0].count < 2 || total == 0 || needsKey && key.isEmpty {
            return byWeightOrLoad(0, now, request)
        }
        while request.tries <= 20 {
            var found: Int?
            switch algorithm {
            case .ipHash:
                let previous = request.hasPosition ? request.hash : 89
                let octets = key.count == 16 ? key : key.count == 4 ? Array(key[..<3]) : [0, 0, 0]
                let hash = octets.reduce(previous) { ($0 * 113 + UInt32($1)) % 6271 }
                (request.hash, request.hasPosition) = (hash, true)
                found = slot(at: Int(hash) % total)
            case .hash:
                let prefix = request.rehash > 0 ? Array(String(request.rehash).utf8) : []
                request.hash &+= crc32(prefix + key) >> 16 & 0x7FFF
                request.rehash += 1
                found = slot(at: Int(request.hash) % total)
            case .random, .randomTwo:
                found = slot(at: numbers.next(below: total))
            default:
                if !request.hasPosition {
                    let hash = crc32(key)
                    request.hash = UInt32(points.firstIndex { $0.hash >= hash } ?? points.count)
                    request.hasPosition = true
                }
                let name = points[Int(request.hash) % points.count].name
                found = turn(0, eligible(0, now, request).filter { groups[0][$0].spec.hashName == name })
                if found == nil { request.hash += 1 }
            }
            if let i = found, !request.tried.contains(i), groups[0][i].isAvailable(now), i != first {
                if algorithm != .randomTwo { return i }
                if let other = first {
                    let (a, b) = (groups[0][i], groups[0][other])
                    return a.conns * b.spec.weight > b.conns * a.spec.weight ? other : i
                }
                first = i
            }
            request.tries += 1
        }
        return byWeightOrLoad(0, now, request)
    }

    private static func ring(_ specs: [PeerSpec]) -> [(hash: UInt32, name: [UInt8])] {
        var points: [(hash: UInt32, name: [UInt8])] = []
        for spec in specs {
            let text = String(decoding: spec.hashName, as: UTF8.self)
            var hashed = spec.hashName + [0]
            if text.hasPrefix("unix:") {
                hashed = Array(text.dropFirst(5).utf8) + [0]
            } else if let colon = text.lastIndex(of: ":"), text[colon...].dropFirst().allSatisfy(\.isNumber) {
                hashed = Array(text[..<colon].utf8) + [0] + Array(text[colon...].dropFirst().utf8)
            }
            var previous: UInt32 = 0
            for _ in 0..<spec.weight * 160 {
                previous = crc32(hashed + (0..<4).map { UInt8(truncatingIfNeeded: previous >> UInt32(8 * $0)) })
                points.append((previous, spec.hashName))
            }
        }
        points.sort { $0.hash < $1.hash }
        return points.enumerated().filter { $0 == 0 || points[$0 - 1].hash != $1.hash }.map(\.element)
    }
}

/// CRC-32 bit by bit.
func crc32(_ bytes: [UInt8]) -> UInt32 {
    var state = UInt32.max
    for byte in bytes {
        state ^= UInt32(byte)
        for _ in 0..<8 { state = state & 1 != 0 ? state >> 1 ^ 0xEDB8_8320 : state >> 1 }
    }
    return ~state
}
