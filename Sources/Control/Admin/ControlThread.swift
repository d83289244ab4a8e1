// The thread that changes things: a loop of its own that serves admin.sock, takes admin requests from all workers, and watches
// drains. Started and ended by the supervisor. It serves no traffic.

import AdminAPI
import CLinux
import ConfigurationFile
import Engine

final class ControlThread {
    let inbox: AdminInbox
    private let thread: WorkerThread

    /// - Parameter socket: admin.sock, when there is one.
    init(
        _ controller: Controller, socket: ListeningSocket?, owner: any AdminOwner, audit: AuditLog, system: any SystemFiles, logs: LogFiles,
        rollouts: RolloutStore, commands: String?
    ) throws(StartFailure) {
        let mailbox = WorkerThread.makeMailbox()
        inbox = AdminInbox(waking: mailbox)
        controller.events.onEvent { mailbox.post(.wake) }
        var parameters = WorkerParameters()
        parameters.connectionsMax = ControlLimits.adminConnectionsMax
        parameters.processID = getpid()
        parameters.hostname = system.hostname
        parameters.admin = inbox
        parameters.duty = AdminServer(controller, inbox: inbox, owner: owner, audit: audit, rollouts: rollouts, commands: commands)
        let snapshot = try Self.snapshot(system, logs, address: socket?.address ?? "unix:admin.sock")
        thread = WorkerThread(parameters, SnapshotPublisher(snapshot), WorkerCounters(), socket.map { [$0] } ?? [], mailbox: mailbox)
    }

    /// What the control thread serves by: one server, one location, for ever.
    private static func snapshot(_ system: any SystemFiles, _ logs: LogFiles, address: String) throws(StartFailure) -> Snapshot {
        let text = "events {} http { access_log off; keepalive_requests 2000000000; keepalive_time 365d; keepalive_timeout 1d; server { listen \(address); location / { admin write=on; } } }"
        let counters = PeerCounterRegistry()
        let built: BuiltConfiguration
        do throws(Diagnostic) {
            let parsed = try ServerOptions(source: .text(text), prefix: "").parse(with: system)
            built = try SnapshotBuilder(system: system, logs: logs, counters: counters).build(parsed.directives)
        } catch {
            throw .configuration(error)
        }
        do throws(Problem) {
            return try PoolBuilder(system: system, counters: counters).build(
                built.state, over: built.routes, PoolBuilder.Publication(revision: 1, serial: 1))
        } catch {
            throw .process(error.detail)
        }
    }

    func start() throws(StartFailure) {
        try thread.start()
        // Rollouts go on before anybody asks.
        inbox.wakeUp()
    }

    func stop() {
        thread.mailbox.post(.stopNow)
        thread.join()
    }

    /// admin.sock in the state folder, else beside the pid file. Nil: the configuration wants none.
    static func path(_ process: ProcessSettings, _ options: ServerOptions, _ logs: LogFiles) -> String? {
        if !process.hasAdminSocket { return nil }
        if let folder = process.stateFolder { return logs.absolute(folder) + "/admin.sock" }
        if let pid = process.pidPath {
            let path = logs.absolute(pid)
            guard let slash = path.lastIndex(of: "/") else { return "admin.sock" }
            return path[..<slash] + "/admin.sock"
        }
        if case .text = options.source { return nil }
        return logs.absolute("logs/admin.sock")
    }
}
