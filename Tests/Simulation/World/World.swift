// The simulated world: one clock, one source of chance, everything that is planned, and the runner of the engine under test.
// Made by a test from a seed. Single-threaded: the engine and all actors take turns in it, and it must not be shared.

/// How a run came to its end.
package enum RunResult: Equatable, Sendable {
    /// The condition holds.
    case done
    /// Every loop waits for ever and nothing is planned that could wake one.
    case deadlock
    /// The condition did not hold after so many turns (or so much virtual time): the loop spins, or something never ends.
    case exhausted
}

/// A simulated network, its hosts and one operating system for the engine under test.
///
///     let world = World(seed: seed, network: .rough, faults: .harmless)
///     let upstream = HTTPUpstream(world, name: "u", at: .host(2, 3001)) { _ in .text("hello") }
///     // The engine, made with `world.kernel`, listens at 10.0.0.1:80 and proxies to 10.0.0.2:3001.
///     let client = HTTPClient(world, name: "c", to: .host(1, 80), requests: [PlannedRequest(id: "1")])
///     client.start()
///     #expect(world.run(until: { client.isFinished }, step: { worker.turn() }) == .done, "\(world.story)")
///     #expect(Ledger(clients: [client], upstreams: [upstream]).problems.isEmpty, "\(world.story)")
///     // The engine shuts down here.
///     #expect(world.kernel.openDescriptors == 0, "\(world.kernel.openDescriptorsStory)")
///     world.end()
///
/// `SIMULATION_SEED` in the environment replays one seed of a test that takes its seeds from `simulationSeeds`.
package final class World {
    package let seed: UInt64
    package var network: NetworkPlan
    package var faults: FaultPlan
    package let files = FileSystem()
    package private(set) lazy var kernel = SimulatedKernel(world: self, seed: seed)
    package private(set) var trace: Trace
    /// The monotonic clock.
    package private(set) var nowNs: UInt64 = 1_000_000_000_000
    /// What the wall clock shows beyond the monotonic one; a test may step it either way.
    package var wallOffsetNs: Int64 = 1_900_000_000_000_000_000
    /// What the world draws from. `Kernel.random` has a stream of its own.
    package var dice: SplitMix64
    /// Bytes now held in all simulated buffers of sockets.
    package internal(set) var bufferedBytes = 0
    /// Connections made so far, refused ones not counted.
    package internal(set) var connectionsMade = 0

    /// Addresses that swallow connection attempts, as a host behind a wrong firewall rule does.
    package var silentPlaces: Set<Address> = []

    var places = Places()
    /// What lets go of the far ends that actors hold.
    var endings: [() -> Void] = []
    private var happenings = Happenings()
    private var condition: (() -> Bool)?
    private var mayAdvance = true
    private var idleDeadlineNs: UInt64?
    private var idleLoops = 0
    private var deadlocked = false
    private var horizonNs = UInt64.max

    package init(seed: UInt64, network: NetworkPlan = NetworkPlan(), faults: FaultPlan = FaultPlan(), traceLinesMax: Int = 400) {
        self.seed = seed
        self.network = network
        self.faults = faults
        dice = SplitMix64(seed: seed)
        trace = Trace(linesMax: traceLinesMax)
    }

    // MARK: Planning

    /// Plans `action` for `delayNs` from now.
    @discardableResult
    package func after(_ delayNs: UInt64, _ action: @escaping () -> Void) -> HappeningID {
        happenings.add(atNs: nowNs &+ min(delayNs, UInt64.max - nowNs), tie: dice.next(), action)
    }

    package func callOff(_ id: HappeningID) { happenings.callOff(id) }

    /// How many happenings are planned.
    package var plannedCount: Int { happenings.count }

    /// Writes a line of the trace.
    package func note(_ who: StaticString, _ text: @autoclosure () -> String) {
        trace.add(.init(atNs: nowNs, call: who, a: 0, b: 0, result: 0, note: text()))
    }

    func record(_ call: StaticString, _ a: Int, _ b: Int, _ result: Int) {
        trace.add(.init(atNs: nowNs, call: call, a: a, b: b, result: result, note: nil))
    }

    /// The seed and the last lines of the trace, for the message of a failed expectation.
    package var story: String {
        (["seed \(seed), \(trace.count) lines:"] + trace.lines).joined(separator: "\n")
    }

    // MARK: Time, as the kernel moves it

    func spend(_ costNs: UInt64) { nowNs += costNs }

    func doWhatIsDue() {
        while let due = happenings.take(dueBy: nowNs) { due.action() }
    }

    /// What became of a wait with nothing ready.
    enum Advance {
        /// Something happened: look again.
        case happened
        /// The wait is over with nothing to show.
        case over
    }

    /// Moves the clock to the next happening, at most to `deadlineNs` (nil: for ever).
    func advance(deadlineNs: UInt64?) -> Advance {
        if !mayAdvance {
            idleLoops += 1
            if let deadlineNs { idleDeadlineNs = min(idleDeadlineNs ?? .max, deadlineNs) }
            return .over
        }
        if nowNs >= horizonNs { return .over }
        if let due = happenings.take(dueBy: deadlineNs ?? .max) {
            nowNs = max(nowNs, due.atNs)
            due.action()
            return condition?() == true ? .over : .happened
        }
        if let deadlineNs {
            nowNs = max(nowNs, deadlineNs)
        } else {
            deadlocked = true
        }
        return .over
    }

    // MARK: Running

    /// Runs one engine loop until `condition` holds. `step` runs one turn of the loop, which waits in `epollWait`; there the
    /// world moves on.
    package func run(
        until condition: @escaping () -> Bool, maxTurns: Int = 1_000_000, maxSeconds: UInt64 = 100_000, step: () -> Void
    ) -> RunResult {
        self.condition = condition
        horizonNs = nowNs &+ maxSeconds * 1_000_000_000
        deadlocked = false
        defer { self.condition = nil }
        for _ in 0..<maxTurns {
            if condition() { return .done }
            if nowNs >= horizonNs { return .exhausted }
            step()
            if deadlocked { return condition() ? .done : .deadlock }
        }
        return condition() ? .done : .exhausted
    }

    /// Runs several loops, each in its turn. While any of them has something to do the clock stands still; a loop that has
    /// nothing to do comes back from `epollWait` at once, before its time.
    package func run(
        until condition: @escaping () -> Bool, maxTurns: Int = 1_000_000, maxSeconds: UInt64 = 100_000, steps: [() -> Void]
    ) -> RunResult {
        self.condition = condition
        horizonNs = nowNs &+ maxSeconds * 1_000_000_000
        defer {
            self.condition = nil
            mayAdvance = true
        }
        for _ in 0..<maxTurns {
            if condition() { return .done }
            if nowNs >= horizonNs { return .exhausted }
            idleLoops = 0
            idleDeadlineNs = nil
            mayAdvance = false
            for step in steps { step() }
            mayAdvance = true
            if idleLoops == steps.count, idleDeadlineNs.map({ $0 > nowNs }) ?? true {
                deadlocked = false
                _ = advance(deadlineNs: idleDeadlineNs)
                if deadlocked { return condition() ? .done : .deadlock }
            }
        }
        return condition() ? .done : .exhausted
    }

    /// Lets the world go on without any engine until `condition` holds or nothing is planned.
    @discardableResult
    package func run(until condition: @escaping () -> Bool, maxSeconds: UInt64 = 100_000) -> RunResult {
        let limitNs = nowNs &+ maxSeconds * 1_000_000_000
        while !condition() {
            guard let due = happenings.take(dueBy: limitNs) else { return happenings.count == 0 ? .deadlock : .exhausted }
            nowNs = max(nowNs, due.atNs)
            due.action()
        }
        return .done
    }

    /// Closes everything, lets what is on its way arrive, and breaks the ties between the ends of connections. A test that makes
    /// worlds by the thousand calls it when it has looked at everything; `bufferedBytes` is 0 afterwards.
    package func end() {
        kernel.closeEverything()
        letGo()
        for _ in 0..<100_000 {
            guard let due = happenings.take(dueBy: .max) else { break }
            nowNs = max(nowNs, due.atNs)
            due.action()
        }
        letGo()
        happenings.removeAll()
        places = Places()
    }

    private func letGo() {
        while let ending = endings.popLast() { ending() }
    }
}

/// The seeds of a test: `count` numbers derived from 1, or the one in the environment variable `SIMULATION_SEED`, to replay a
/// failure; `SIMULATION_RUNS` sets another count.
package func simulationSeeds(_ count: Int) -> [UInt64] {
    if let one = environment("SIMULATION_SEED").flatMap({ UInt64($0) }) { return [one] }
    let runs = environment("SIMULATION_RUNS").flatMap { Int($0) } ?? count
    var dice = SplitMix64(seed: 1)
    return (0..<runs).map { _ in dice.next() >> 16 }
}
