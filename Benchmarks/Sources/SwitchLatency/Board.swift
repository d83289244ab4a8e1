// Owns what the two threads share: which switch was commanded and acknowledged, counters, and the times of each switch.
// The commander writes epochs, the traffic writes what it sees. No lock: each word has one writer.

import CKernel
import Synchronization

/// Blue is even, green is odd: epoch 0 is the configuration, and switch k goes to variant k % 2.
func variant(of epoch: Int) -> Int { epoch & 1 }

struct Counts {
    var requests = 0
    var slowRequests = 0
    var tunnelMessages = 0
    /// Answers but 200, resets, answers that belong to another request.
    var failed = 0
    /// Kept connections that the proxy closed while nothing was asked on them, or announced to close.
    var closed = 0
    var cut = 0
    var slowLost = 0
    var stale = 0
}

/// Which stretch of the run an answer belongs to: each has a latency table of its own.
enum Phase: Int, CaseIterable {
    case idle
    case switches
    case growth
    case puts
}

final class Board: @unchecked Sendable {
    /// The newest switch whose command may have been sent: stored before the first byte of it leaves.
    let commanded = Atomic<Int>(0)
    /// The newest switch whose acknowledgement was received.
    let acknowledged = Atomic<Int>(0)
    let phase = Atomic<Int>(Phase.idle.rawValue)
    /// The clients stop asking, wait for what is in flight, and their thread ends.
    let isDraining = Atomic<Bool>(false)
    /// Signalled at the first answer by the new pool.
    let firstSeen = kernel_event_create()

    /// Of each epoch, in ns of CLOCK_MONOTONIC; 0 is never. The commander reads them after the load has ended.
    let firstNewNs: UnsafeMutablePointer<Int64>
    let lastOldNs: UnsafeMutablePointer<Int64>
    let epochsMax: Int

    private let requests = Atomic<Int>(0)
    private let slowRequests = Atomic<Int>(0)
    private let tunnelMessages = Atomic<Int>(0)
    private let failed = Atomic<Int>(0)
    private let closed = Atomic<Int>(0)
    private let cut = Atomic<Int>(0)
    private let slowLost = Atomic<Int>(0)
    private let stale = Atomic<Int>(0)
    /// The first faults in words, written by the load and read after it has ended.
    var faults: [String] = []

    static let latencyUsMax = 1 << 17
    /// Answers by whole microseconds, a table a phase.
    let latencies: UnsafeMutablePointer<UInt32>

    init(epochsMax: Int) {
        self.epochsMax = epochsMax
        firstNewNs = .allocate(capacity: epochsMax + 1)
        lastOldNs = .allocate(capacity: epochsMax + 1)
        firstNewNs.initialize(repeating: 0, count: epochsMax + 1)
        lastOldNs.initialize(repeating: 0, count: epochsMax + 1)
        let cells = Self.latencyUsMax * Phase.allCases.count
        latencies = .allocate(capacity: cells)
        latencies.initialize(repeating: 0, count: cells)
    }

    enum Count { case request, slowRequest, tunnelMessage, failed, closed, cut, slowLost, stale }

    func count(_ what: Count) {
        switch what {
        case .request: requests.add(1, ordering: .relaxed)
        case .slowRequest: slowRequests.add(1, ordering: .relaxed)
        case .tunnelMessage: tunnelMessages.add(1, ordering: .relaxed)
        case .failed: failed.add(1, ordering: .relaxed)
        case .closed: closed.add(1, ordering: .relaxed)
        case .cut: cut.add(1, ordering: .relaxed)
        case .slowLost: slowLost.add(1, ordering: .relaxed)
        case .stale: stale.add(1, ordering: .relaxed)
        }
    }

    func fault(_ what: Count, _ words: @autoclosure () -> String) {
        count(what)
        if faults.count < 10 { faults.append(words()) }
    }

    var counts: Counts {
        Counts(
            requests: requests.load(ordering: .relaxed), slowRequests: slowRequests.load(ordering: .relaxed),
            tunnelMessages: tunnelMessages.load(ordering: .relaxed), failed: failed.load(ordering: .relaxed),
            closed: closed.load(ordering: .relaxed), cut: cut.load(ordering: .relaxed),
            slowLost: slowLost.load(ordering: .relaxed), stale: stale.load(ordering: .relaxed))
    }

    func tookUs(_ us: Int) {
        let cell = phase.load(ordering: .relaxed) * Self.latencyUsMax + min(max(us, 0), Self.latencyUsMax - 1)
        latencies[cell] &+= 1
    }

    /// p50, p99 and the longest answer of a phase in microseconds, nil if it had none.
    func latency(of phase: Phase) -> (p50: Int, p99: Int, max: Int)? {
        let table = UnsafeBufferPointer(start: latencies + phase.rawValue * Self.latencyUsMax, count: Self.latencyUsMax)
        let total = table.reduce(0) { $0 + Int($1) }
        guard total > 0 else { return nil }
        func at(_ rank: Int) -> Int {
            var seen = 0
            for (us, count) in table.enumerated() {
                seen += Int(count)
                if seen >= rank { return us }
            }
            return Self.latencyUsMax
        }
        return (at((total + 1) / 2), at(max(1, total * 99 / 100)), at(total))
    }
}
