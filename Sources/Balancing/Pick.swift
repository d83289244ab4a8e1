// The words between an exchange and a balancer: what a peer is, what is asked, what is answered, what has been tried.
// Used by the engine and by whoever builds a snapshot. Values only: nothing here decides.

/// How an upstream chooses, named as in nginx's configuration.
public enum Algorithm: Sendable, Equatable, BitwiseCopyable {
    case roundRobin
    case leastConn
    /// By the address of the client; the key of `Balancer.pick` is that address: 4 bytes, 16, or none for other families.
    case ipHash
    /// By a key, over the weights.
    case hash
    /// By a key, over the points of a ring (`hash KEY consistent`).
    case hashConsistent
    case random
    /// Two at random, of them the one with the fewer active exchanges for its weight (`random two least_conn`).
    case randomTwo
}

/// A peer as its upstream's configuration describes it.
public struct PeerSpec: Sendable {
    /// The share of requests, 0...2^31 - 1; other values are cut to that. 0 takes nothing new, whoever asks: it is as if the peer
    /// were not there, while exchanges it has go on.
    public var weight: Int
    /// Active exchanges allowed at once; 0 is no limit.
    public var maxConns: Int
    /// Failures within `failTimeoutMs` that make the peer unavailable for as long; 0 counts none.
    public var maxFails: Int
    public var failTimeoutMs: Int64
    /// For so long the share of requests grows to `weight` when the peer is new or has recovered; 0: it has it at once.
    /// Round robin and least connections heed it, unless the peer is alone.
    public var slowStartMs: Int64
    public var isBackup: Bool
    public var isDown: Bool
    /// Takes no new exchange, as if down, but for those of sessions stuck to it (`Balancer.pickStuck`).
    public var isDrained: Bool
    /// The `server` argument as configured (`host:port`, `unix:path`): what the points of `hash ... consistent` derive from.
    /// Peers of one name, such as the addresses of a host, share the points and take turns.
    public var hashName: [UInt8]
    public var counters: PeerCounters

    public init(
        counters: PeerCounters, weight: Int = 1, maxConns: Int = 0, maxFails: Int = 1, failTimeoutMs: Int64 = 10_000, slowStartMs: Int64 = 0,
        isBackup: Bool = false, isDown: Bool = false, isDrained: Bool = false, hashName: [UInt8] = []
    ) {
        self.counters = counters
        self.weight = weight
        self.maxConns = maxConns
        self.maxFails = maxFails
        self.failTimeoutMs = failTimeoutMs
        self.slowStartMs = slowStartMs
        self.isBackup = isBackup
        self.isDown = isDown
        self.isDrained = isDrained
        self.hashName = hashName
    }

    var cutWeight: Int { min(max(weight, 0), Int(Int32.max)) }
    /// Takes nothing, not even for a session stuck to it.
    var isShut: Bool { isDown || weight <= 0 }
}

/// What a pick depends on besides the peers.
public struct PickContext: Sendable, BitwiseCopyable {
    /// The time of this turn of the event loop, in milliseconds of a clock that does not go back.
    public var nowMs: Int64
    /// A fresh random number; read by `random` and `randomTwo` only.
    public var randomNumber: UInt64

    public init(nowMs: Int64, randomNumber: UInt64 = 0) {
        self.nowMs = nowMs
        self.randomNumber = randomNumber
    }
}

/// The answer to "which peer?".
public enum Pick: Sendable, Equatable, BitwiseCopyable {
    /// The index of the peer in the list the balancer was made from. It is reserved until `Balancer.release`.
    case peer(Int32, isBackup: Bool)
    case none(NoPeer)
}

/// Why there is no peer. When peers are out for several reasons, the first of this list names the pick.
public enum NoPeer: Sendable, Equatable, BitwiseCopyable {
    /// This exchange has tried some, and no other can be picked.
    case allTried
    /// Some are at `maxConns`, no other can be picked.
    case allBusy
    /// Some are unavailable after failures, no other can be picked.
    case allFailed
    /// Some are ejected, unhealthy or not checked yet, the others are down.
    case allSick
    case allDown
}

/// How an exchange with a peer ended, for its passive health.
public enum PeerOutcome: Sendable, Equatable, BitwiseCopyable {
    /// Ends a trial well. What nginx counts neither as failed nor as unavailable is a success here, too.
    case succeeded
    case failed
    /// The answer broke off once it had begun: an error for those who look for outliers, and else a success, as with nginx.
    case cut
    /// Says nothing of the peer's health: only the reservation ends.
    case neither
}

/// Which peers an exchange has tried, and where a keyed algorithm stands in its search. A new exchange begins with a new value.
///
/// Exact for the first 64 peers of a group (primaries, backups) and for 16 more; then `isFull`, and no further peer is picked.
public struct TriedPeers: Sendable, BitwiseCopyable {
    static var highMax: Int { 16 }

    var low: UInt64 = 0
    var high: InlineArray<16, Int32> = .init(repeating: -1)
    var highCount = 0
    /// Once the backups are asked, the primaries are not asked again.
    public internal(set) var onBackup = false
    var hasHash = false
    /// Keyed or random choices that met a peer out of service; beyond 20 the exchange falls back to round robin.
    var misses: UInt8 = 0
    var hash: UInt32 = 0
    var rehashes: UInt32 = 0
    /// How many picks the exchange has been given.
    public internal(set) var count = 0
    /// One more than the slot of the backup that the session was stuck to, if that was tried before the primaries were given up.
    var stuckBackup: Int32 = 0

    public init() {}

    /// Whether no further peer can be remembered: the exchange must not ask again.
    public var isFull: Bool { highCount == Self.highMax }

    var isEmpty: Bool { low == 0 && highCount == 0 }

    func contains(_ slot: Int) -> Bool {
        if slot < 64 { return low & (1 &<< UInt64(slot)) != 0 }
        for i in 0..<highCount where high[i] == Int32(truncatingIfNeeded: slot) { return true }
        return false
    }

    mutating func mark(_ slot: Int) {
        if slot < 64 {
            low |= 1 &<< UInt64(slot)
        } else if highCount < Self.highMax {
            high[highCount] = Int32(truncatingIfNeeded: slot)
            highCount += 1
        }
    }

    mutating func moveToBackup() {
        onBackup = true
        low = 0
        highCount = 0
        if stuckBackup > 0 { mark(Int(stuckBackup) - 1) }
    }
}
