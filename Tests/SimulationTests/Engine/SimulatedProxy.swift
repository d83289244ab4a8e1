// The whole engine in a simulated world: a configuration text, workers on the simulated kernel, their logs in simulated files.
// Made by the engine's scenarios. It drives the workers' turns and knows nothing of clients or upstreams.

import AdminAPI
import Balancing
import CLinux
import ConfigurationFile
import Control
import Engine
import Simulation
import Synchronization

/// The machine that a configuration is built on.
private final class SimulatedFiles: SystemFiles {
    let world: World
    init(_ world: World) { self.world = world }
    var isRoot: Bool { false }
    var hostname: String { "simulated" }
    func makeFolder(_ path: String) { world.files.makeDirectory(path) }
    func read(_ path: String) throws(ReadFailure) -> [UInt8] { throw ReadFailure("2: No such file or directory") }
    func glob(_ pattern: String) -> [String] { [] }
    func resolve(_ host: String, port: UInt16) -> [(bytes: [UInt8], text: String)] { [] }
    func openLog(_ path: String) -> Int32 { world.kernel.open(path, flags: O_WRONLY | O_APPEND | O_CREAT, mode: 0o644) }
}

/// The kernel inside closures that are Sendable because on Linux they run on other threads.
private struct KernelBox: @unchecked Sendable {
    let kernel: SimulatedKernel
}

final class SimulatedProxy {
    static let address = Address.host(1, 80)
    static let accessLog = "/log/access.log"

    let world: World
    let process: ProcessSettings
    private(set) var workers: [Worker] = []
    /// Counters of every peer that any configuration named.
    private(set) var rows: [(name: String, counters: PeerCounters)] = []
    private let logs: LogFiles
    private let system: SimulatedFiles
    private let registry = PeerCounterRegistry()
    let publisher: SnapshotPublisher
    /// Changes what runs, as in the process.
    let controller: Controller
    private var sockets: [ListeningSocket] = []

    /// `configuration` listens at `address`. `peers`: its peers, as upstream and address.
    init(_ world: World, _ configuration: String, peers: [(upstream: String, server: String)], workers count: Int = 1) throws {
        self.world = world
        world.files.makeDirectory("/log")
        system = SimulatedFiles(world)
        logs = LogFiles(system: system, prefix: "/", defaultErrorLog: "/log/error.log")
        let box = KernelBox(kernel: world.kernel)
        let builder = SnapshotBuilder(system: system, logs: logs, counters: registry)
        let built = try builder.build(try parse(Array(configuration.utf8), file: "simulated"))
        process = built.process
        controller = try Controller(
            built, journal: .none(), replay: nil, pools: PoolBuilder(system: system, counters: registry),
            clock: ControlClock(monotonicNs: { box.kernel.monotonicNs() }, realtimeMs: { box.kernel.realtimeNs() / 1_000_000 }), workers: count)
        guard let first = controller.first else { throw Problem(.notFound, "no snapshot") }
        publisher = SnapshotPublisher(first)
        keep(peers)
        let fd = world.kernel.socket(family: Self.address.family, type: Int32(SOCK_STREAM.rawValue))
        let bytes = Self.address.bytes
        _ = world.kernel.bind(fd, bytes, UInt32(bytes.count))
        _ = world.kernel.listen(fd, backlog: 511)
        sockets = [ListeningSocket(descriptor: fd, address: Self.address.description) { box.kernel.close($0) }]
        for number in 0..<count {
            var parameters = WorkerParameters()
            parameters.connectionsMax = process.connectionsMax
            parameters.number = number
            parameters.shutdownTimeoutMs = process.shutdownTimeoutMs
            workers.append(
                Worker(
                    kernel: world.kernel, parameters: parameters, publisher: publisher,
                    mailbox: Mailbox { box.kernel.eventSignal($0) },
                    counters: WorkerCounters(workerCount: count), listeners: sockets))
        }
        controller.attach(publisher, workers.map { WorkerLink(mailbox: $0.mailbox, counters: $0.counters) })
    }

    private func keep(_ peers: [(upstream: String, server: String)]) {
        for (upstream, server) in peers where !rows.contains(where: { $0.name == "\(upstream) \(server)" }) {
            rows.append(("\(upstream) \(server)", registry.counters(upstream: upstream, server: server)))
        }
    }

    /// A reload: every request that begins from now on goes by `configuration`.
    func publish(_ configuration: String, peers: [(upstream: String, server: String)]) throws {
        let builder = SnapshotBuilder(system: system, logs: logs, counters: registry)
        let built = try builder.build(try parse(Array(configuration.utf8), file: "simulated"))
        let accepted = try controller.reload(built, by: Author(who: "test"))
        keep(peers)
        world.note("test", "publishes revision \(accepted.revision)")
    }

    /// QUIT, or TERM.
    func stop(gracefully: Bool = true) {
        world.note("test", gracefully ? "stops the workers when they are done" : "stops the workers now")
        sockets = []
        for worker in workers { worker.mailbox.post(gracefully ? .stopGracefully : .stopNow) }
    }

    /// Lets the workers take their turns until `condition` holds.
    func run(until condition: @escaping () -> Bool, maxTurns: Int = 200_000) -> RunResult {
        while !condition() {
            let live = workers.filter { !$0.isStopped }
            // Without a proxy the clients are left to find out.
            if live.isEmpty { return world.run(until: condition) }
            let isOver = { condition() || live.contains { $0.isStopped } }
            let result: RunResult
            if live.count == 1 {
                result = world.run(until: isOver, maxTurns: maxTurns, step: live[0].turn)
            } else {
                result = world.run(until: isOver, maxTurns: maxTurns, steps: live.map { worker in { worker.turn() } })
            }
            if result != .done { return result }
        }
        return .done
    }

    /// Runs until every worker has stopped.
    func runToTheEnd() -> RunResult {
        let workers = workers
        return run(until: { workers.allSatisfy(\.isStopped) })
    }

    /// Drops the workers and closes the logs, as the process does at its end.
    func end() {
        workers = []
        sockets = []
        for file in logs.opened { world.kernel.close(file.current) }
    }

    var lostLines: UInt64 { logs.opened.reduce(0) { $0 + $1.lostLines.load(ordering: .relaxed) } }

    /// The access log's lines.
    var accessLines: [Substring] { (world.files.text(Self.accessLog) ?? "").split(separator: "\n") }
}
