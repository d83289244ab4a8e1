// Owns the run from the commander's thread: the phases, each switch with its times, the big pools, the proxy's footprint.
// Writes epochs to the board and reads what the load saw; sends nothing itself but through Commands.

import CKernel
import Synchronization

/// One stretch of switches, as measured.
struct Stretch {
    var switches = 0
    /// Microseconds from the first byte of the command, one a switch.
    var firstNewUs: [Double] = []
    var acknowledgedUs: [Double] = []
    var lastOldUs: [Double] = []
    /// Switches whose pool never answered.
    var unseen = 0
    var seconds = 0.0
    var counts = Counts()
    var before = Footprint()
    var after = Footprint()
}

struct Puts {
    var acknowledgedUs: [Double] = []
    var bodyBytes = 0
    var counts = Counts()
    var before = Footprint()
    var after = Footprint()
}

struct Results {
    var switches = Stretch()
    var growth: Stretch?
    var puts: Puts?
}

final class Commander {
    private let options: Options
    private let board: Board
    private let commands: Commands
    private var chance: Chance
    private var epoch = 0
    /// When each switch was sent and acknowledged, by epoch.
    private var sentNs: [Int64] = [0]
    private var acknowledgedNs: [Int64] = [0]
    private static let warmUpSwitches = 20

    /// All epochs that a run can have.
    static func epochsMax(_ options: Options) -> Int { warmUpSwitches + options.switches + options.growthSwitches + 16 }

    init(options: Options, board: Board) throws(CommandFailure) {
        self.options = options
        self.board = board
        chance = Chance(seed: options.seed)
        commands = try Commands(options)
    }

    /// The load runs when this begins; it has drained when this returns.
    func run(until loadEnds: () -> Void) throws(CommandFailure) -> Results {
        // Connections open and tables grow before anything is noted.
        wait(us: 300_000)
        let isQuick = commands.acknowledges
        for _ in 0..<(isQuick ? Self.warmUpSwitches : 2) { try turn(gapUs: options.gapUsMin...options.gapUsMax) }

        var results = Results()
        let main = try stretch(.switches, options.switches, gapUs: options.gapUsMin...options.gapUsMax)
        var growth: (Stretch, Range<Int>)?
        if options.growthSwitches > 0 { growth = try stretch(.growth, options.growthSwitches, gapUs: 100...300) }
        if options.servers > 0 { results.puts = try putBigPools() }
        board.isDraining.store(true, ordering: .releasing)
        loadEnds()
        // Only now has everyone who writes times ended.
        results.switches = withTimes(main.0, of: main.1)
        if let growth { results.growth = withTimes(growth.0, of: growth.1) }
        return results
    }

    private func wait(us: Int) { kernel_sleep_until_ns(kernel_now_ns() + Int64(us) * 1000) }

    /// One switch: command, acknowledgement, first answer by the new pool, gap.
    private func turn(gapUs: ClosedRange<Int>) throws(CommandFailure) {
        epoch += 1
        kernel_counter_clear(board.firstSeen)
        let sent = kernel_now_ns()
        board.commanded.store(epoch, ordering: .sequentiallyConsistent)
        try commands.switchTo(variant(of: epoch))
        let acknowledged = kernel_now_ns()
        if commands.acknowledges { board.acknowledged.store(epoch, ordering: .sequentiallyConsistent) }
        sentNs.append(sent)
        acknowledgedNs.append(acknowledged)
        try commands.reconnectIfClosed()
        _ = kernel_wait_readable(board.firstSeen, commands.acknowledges ? 1000 : 5000)
        wait(us: chance.next(in: gapUs))
    }

    private func stretch(
        _ phase: Phase, _ switches: Int, gapUs: ClosedRange<Int>
    ) throws(CommandFailure) -> (Stretch, Range<Int>) {
        var result = Stretch()
        result.switches = switches
        result.before = Footprint(of: options.pid)
        let before = board.counts
        let begin = kernel_now_ns()
        let first = epoch + 1
        board.phase.store(phase.rawValue, ordering: .relaxed)
        for _ in 0..<switches { try turn(gapUs: gapUs) }
        board.phase.store(Phase.idle.rawValue, ordering: .relaxed)
        result.seconds = Double(kernel_now_ns() - begin) / 1e9
        result.after = Footprint(of: options.pid)
        result.counts = board.counts - before
        return (result, first..<(epoch + 1))
    }

    private func withTimes(_ stretch: Stretch, of epochs: Range<Int>) -> Stretch {
        var result = stretch
        for epoch in epochs {
            func us(_ at: Int64) -> Double { Double(at - sentNs[epoch]) / 1000 }
            if board.firstNewNs[epoch] > 0 { result.firstNewUs.append(us(board.firstNewNs[epoch])) } else { result.unseen += 1 }
            if board.lastOldNs[epoch] > 0 { result.lastOldUs.append(us(board.lastOldNs[epoch])) }
            if commands.acknowledges { result.acknowledgedUs.append(us(acknowledgedNs[epoch])) }
        }
        return result
    }

    // MARK: Big pools

    /// The second half is put while the big pool is the one in use.
    private func putBigPools() throws(CommandFailure) -> Puts {
        var result = Puts()
        let bodies = [bigState(weight: 1), bigState(weight: 2)]
        result.bodyBytes = bodies[0].count
        // From blue on, whatever the number of switches was.
        if variant(of: epoch) == 1 { try turn(gapUs: 1000...1000) }
        try commands.putUpstreams(bodies[1])
        try commands.reconnectIfClosed()
        result.before = Footprint(of: options.pid)
        let before = board.counts
        board.phase.store(Phase.puts.rawValue, ordering: .relaxed)
        for i in 0..<options.puts {
            if i == options.puts / 2 { try turn(gapUs: 5000...5000) }
            let sent = kernel_now_ns()
            try commands.putUpstreams(bodies[i & 1])
            result.acknowledgedUs.append(Double(kernel_now_ns() - sent) / 1000)
            try commands.reconnectIfClosed()
            wait(us: chance.next(in: options.gapUsMin...options.gapUsMax))
        }
        board.phase.store(Phase.idle.rawValue, ordering: .relaxed)
        result.after = Footprint(of: options.pid)
        result.counts = board.counts - before
        return result
    }

    /// All pools, green with many servers: sixteen of them up, each an address of its own at the same listener. The weight is
    /// every server's, so that every put changes all of them.
    private func bigState(weight: Int) -> [UInt8] {
        var text = #"{"reason":"benchmark","upstreams":{"blue":{"keepalive":64,"keepalive_requests":1000000000,"#
        text += #""servers":[{"server":"127.0.0.1:\#(options.bluePort)"}]},"#
        text += #""green":{"keepalive":64,"keepalive_requests":1000000000,"servers":["#
        for i in 0..<options.servers {
            let address = "127.\(1 + i / 62_500).\(i / 250 % 250).\(1 + i % 250):\(options.greenPort)"
            text += i == 0 ? "" : ","
            text += #"{"server":"\#(address)","weight":\#(weight),"down":\#(i >= 16)}"#
        }
        text += "]}}}"
        return Array(text.utf8)
    }
}

extension Counts {
    static func - (a: Counts, b: Counts) -> Counts {
        Counts(
            requests: a.requests - b.requests, slowRequests: a.slowRequests - b.slowRequests,
            tunnelMessages: a.tunnelMessages - b.tunnelMessages, failed: a.failed - b.failed, closed: a.closed - b.closed,
            cut: a.cut - b.cut, slowLost: a.slowLost - b.slowLost, stale: a.stale - b.stale)
    }
}
