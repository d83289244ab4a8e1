// Owns what a cache of the answers of responders keeps, and that a full one costs handshakes nothing.

import Testing

@testable import Engine

@Suite("cache of OCSP answers")
struct StatusCacheTests {
    private static func digest(_ n: Int) -> [UInt8] { (0..<32).map { UInt8(truncatingIfNeeded: n >> ($0 % 4 * 8)) } }

    @Test func anAnswerIsKnownUntilItIsPast() {
        let cache = StatusCache(bytes: 128 * 4)
        cache.keep(Self.digest(1), .good, until: 10, now: 0)
        #expect(cache.find(Self.digest(1), now: 9) == .good)
        #expect(cache.find(Self.digest(1), now: 10) == nil)
        cache.keep(Self.digest(1), .revoked, until: 20, now: 10)
        #expect(cache.find(Self.digest(1), now: 10) == .revoked)
        #expect(cache.find(Self.digest(2), now: 10) == nil)
    }

    @Test func whatIsPastMakesWayFirst() {
        let cache = StatusCache(bytes: 128 * 4)
        for n in 0..<4 { cache.keep(Self.digest(n), .good, until: n == 2 ? 5 : 100 + Int64(n), now: 0) }
        cache.keep(Self.digest(4), .unknown, until: 100, now: 5)
        #expect((0..<5).map { cache.find(Self.digest($0), now: 5) } == [.good, .good, nil, .good, .unknown])
        // None is past: the one that is so first.
        cache.keep(Self.digest(5), .good, until: 200, now: 5)
        #expect((0..<6).filter { cache.find(Self.digest($0), now: 5) != nil }.count == 4)
        #expect(cache.find(Self.digest(5), now: 5) == .good)
    }

    /// Handshakes of all workers wait while one has the lock.
    @Test func aFullCacheTakesANewAnswerQuickly() {
        let count = 60_000
        let cache = StatusCache(bytes: 128 * count)
        for n in 0..<count { cache.keep(Self.digest(n), .good, until: 1000, now: 0) }
        let took = ContinuousClock().measure { for n in count..<count + 500 { cache.keep(Self.digest(n), .good, until: 1000, now: 0) } }
        #expect(took < .seconds(2))
        #expect((count..<count + 500).allSatisfy { cache.find(Self.digest($0), now: 0) == .good })
    }
}
