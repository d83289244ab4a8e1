// Owns the running proxy: listeners, logs, worker threads, the published snapshot. Starts, reloads and stops it.
// Called by the library's ProxyServer. It serves no request itself.

import AdminAPI
import CLinux
import ConfigurationFile
import Engine
import Synchronization

/// Why a server cannot start or reload. Nothing has changed.
package enum StartFailure: Error, CustomStringConvertible {
    case configuration(Diagnostic)
    case listening(ListenFailure)
    case process(String)
    /// By the controller, and the configuration is not to blame.
    case refused(Problem)

    package var description: String {
        switch self {
        case .configuration(let diagnostic): diagnostic.description
        case .listening(let failure): failure.description
        case .process(let reason): reason
        case .refused(let problem): problem.detail
        }
    }
}

package final class Supervisor: @unchecked Sendable {
    package let options: ServerOptions
    private let system: any SystemFiles
    package let logs: LogFiles
    private let registry = PeerCounterRegistry()
    private let zones = LimitZoneRegistry()
    private let tls = TLSRegistry()
    private lazy var responders = ResponderDesk { [weak self] in self?.say($0, $1) }
    private let listeners = Listeners()
    private let adminListeners = Listeners()
    private let health = HealthBoard()
    private var prober: Prober?
    /// An embedding program may reload and shut down from different threads: one of start, reload and stop at a time.
    private let changing = Mutex(())
    private var workers: [WorkerThread] = []
    private var control: ControlThread?
    /// What counts until the end, whatever later configurations say.
    private var startedWith = ProcessSettings()
    private var audit: AuditLog?
    /// Changes what runs; nil before the start.
    package private(set) var controller: Controller?
    /// A reload that comes after a stop must not open listeners again.
    private var isStopping = false

    package init(options: ServerOptions, system: any SystemFiles = LinuxSystemFiles()) {
        self.options = options
        self.system = system
        logs = LogFiles(system: system, prefix: options.prefix, defaultErrorLog: options.errorLog, configurationFolder: options.folder)
    }

    /// Reads and builds the configuration without touching what runs (`-t`).
    package func check() throws(StartFailure) -> (built: BuiltConfiguration, files: [SourceFile]) {
        let parsed = try parse(options)
        return (try build(parsed, runtimeNames: controller?.runtimeNames ?? rememberedNames(parsed.directives)), parsed.files)
    }

    /// Names of pools and splits that a journal has, which another process may be writing this very moment.
    private func rememberedNames(_ directives: [Directive]) -> Set<String> {
        stateFolder(directives).map { Journal.glance(folder: $0)?.names ?? [] } ?? []
    }

    private func stateFolder(_ directives: [Directive]) -> String? {
        directives.last { $0.name == "state" }?.arguments.first.map { logs.absolute($0.text) }
    }

    private func parse(_ options: ServerOptions) throws(StartFailure) -> ParsedConfiguration {
        do throws(Diagnostic) { return try options.parse(with: system) } catch { throw .configuration(error) }
    }

    private func build(_ parsed: ParsedConfiguration, runtimeNames: Set<String>) throws(StartFailure) -> BuiltConfiguration {
        do throws(Diagnostic) {
            let builder = SnapshotBuilder(
                system: system, logs: logs, counters: registry, zones: zones, tls: tls, runtimeNames: runtimeNames)
            return try builder.build(parsed.directives)
        } catch {
            throw .configuration(error)
        }
    }

    /// What is ready to run, with its listeners open.
    package struct Prepared {
        package let built: BuiltConfiguration
        let journal: Journal
        let replay: Replay?
    }

    /// Opens the journal and the listeners. Workers are started by `start`, so that a daemon can detach in between.
    package func prepare() throws(StartFailure) -> Prepared {
        let parsed = try parse(options)
        let (journal, replay) = try openJournal(parsed.directives)
        let built = try build(parsed, runtimeNames: replay?.current?.names ?? [])
        do throws(ListenFailure) { try listeners.adjust(to: built.listens) } catch { throw .listening(error) }
        openAdminSocket(built.process)
        if let n = built.process.descriptorsMax {
            let r = clinux_set_descriptors_max(UInt64(n))
            if r < 0 { say(.alert, "setrlimit(RLIMIT_NOFILE, \(n)) failed (\(errnoWords(-r)))") }
        }
        say(built.warnings)
        for warning in replay?.warnings ?? [] { say(.warn, warning) }
        return Prepared(built: built, journal: journal, replay: replay)
    }

    /// The journal comes before the configuration is built: what it remembers may be named by a location.
    private func openJournal(_ directives: [Directive]) throws(StartFailure) -> (Journal, Replay?) {
        guard let folder = stateFolder(directives) else { return (.none(), nil) }
        do throws(JournalFailure) {
            let (journal, replay) = try Journal.open(folder: folder)
            return (journal, replay)
        } catch {
            throw .process(error.description)
        }
    }

    package func start(_ prepared: Prepared) throws(StartFailure) {
        try changing.withLock { (_) throws(StartFailure) in try startAlone(prepared) }
    }

    private func startAlone(_ prepared: Prepared) throws(StartFailure) {
        let built = prepared.built
        startedWith = built.process
        let admin = adminListeners.sockets.first
        let audit = AuditLog(folder: built.process.stateFolder.map(logs.absolute)) { [unowned self] in say($0, $1) }
        self.audit = audit
        if let user = built.process.user, system.isRoot {
            // What was made as root and is written later.
            var files = admin.map { [String($0.address.dropFirst(5))] } ?? []
            if let folder = built.process.stateFolder.map({ logs.absolute($0) }) {
                let folders = [CertificateStore.folderName, RolloutStore.folderName]
                files += [folder] + (["journal", "lock", "audit.log", SavedHealth.fileName] + folders).map { folder + "/" + $0 }
                for name in folders { files += system.glob("\(folder)/\(name)/*") }
            }
            for file in files { _ = clinux_give(file, user, built.process.group) }
            let r = clinux_become(user, built.process.group)
            if r < 0 { throw .process("cannot become user \"\(user)\" (\(errnoWords(-r)))") }
        }
        let controller: Controller
        let certificates = built.process.stateFolder.map { CertificateStore(folder: logs.absolute($0)) } ?? CertificateStore()
        do throws(Problem) {
            if let folder = built.process.stateFolder.map(logs.absolute), let bytes = try? system.read("\(folder)/\(SavedHealth.fileName)") {
                health.remember(bytes)
            }
            controller = try Controller(
                built, journal: prepared.journal, replay: prepared.replay,
                pools: PoolBuilder(system: system, counters: registry, certificates: certificates), clock: .system,
                workers: built.process.workerProcesses, health: health)
        } catch {
            throw Self.failure(error, built)
        }
        controller.watchCertificates(isFresh: true)
        if let folder = built.process.stateFolder {
            controller.sweepCertificates(system.glob("\(logs.absolute(folder))/\(CertificateStore.folderName)/*.pem"))
        }
        guard let first = controller.first else { throw .process("there is nothing to serve") }
        self.controller = controller
        let publisher = SnapshotPublisher(first)
        let control = try ControlThread(
            controller, socket: admin, owner: self, audit: audit, system: system, logs: logs,
            rollouts: built.process.stateFolder.map { RolloutStore(folder: logs.absolute($0)) } ?? RolloutStore(),
            commands: built.process.rolloutCommands.map { logs.absolute($0) })
        self.control = control
        for i in 0..<built.process.workerProcesses {
            var parameters = parameters(built.process)
            parameters.number = i
            parameters.admin = control.inbox
            parameters.statuses = responders
            parameters.health = health
            let counters = WorkerCounters(workerCount: built.process.workerProcesses)
            workers.append(WorkerThread(parameters, publisher, counters, listeners.sockets))
        }
        controller.attach(publisher, workers.map { WorkerLink(mailbox: $0.mailbox, counters: $0.counters) })
        for worker in workers { try worker.start() }
        try control.start()
        watchHealth(controller, built.process)
        tellWarnings()
    }

    private func watchHealth(_ controller: Controller, _ process: ProcessSettings) {
        let tell: @Sendable (LogLevel, String) -> Void = { [weak self] in self?.note($0, $1) }
        health.open(HealthBoard.Live(tell: tell, events: controller.events) { [weak controller] in controller?.running.revision ?? 0 })
        // A change that starts its thread holds the controller: what goes wrong then goes to a log that nobody has to be asked for.
        let prober = Prober(health, folder: process.stateFolder.map(logs.absolute)) { [weak self] in self?.say($0, $1) }
        prober.start()
        self.prober = prober
    }

    /// What the controller has to tell the operator: conflicts of a merge, a journal that could not be compacted.
    func tellWarnings() {
        for warning in controller?.events.takeWarnings() ?? [] { say(.warn, warning) }
    }

    /// Without admin.sock the proxy serves all the same, and says so.
    private func openAdminSocket(_ process: ProcessSettings) {
        guard let path = ControlThread.path(process, options, logs) else { return }
        guard let bytes = unixAddress(path) else {
            say(.warn, "admin.sock cannot be made: the path \(path) is longer than a socket's may be; name a shorter folder with \"state\"")
            return
        }
        var options = ListenOptions()
        options.unixMode = 0o600
        do throws(ListenFailure) {
            try adminListeners.adjust(to: [ListenAddress(bytes: bytes, text: "unix:" + path): options])
        } catch {
            say(.warn, "admin.sock cannot be made, so nothing can be changed at run time: \(error)")
        }
    }

    private func parameters(_ process: ProcessSettings) -> WorkerParameters {
        var parameters = WorkerParameters()
        parameters.connectionsMax = process.connectionsMax
        parameters.processID = getpid()
        parameters.utcOffsetMinutes = Int(clinux_utc_offset_minutes())
        parameters.hostname = system.hostname
        parameters.shutdownTimeoutMs = process.shutdownTimeoutMs
        return parameters
    }

    /// What is wrong with pools and splits, at the place in the file where they stand.
    private static func failure(_ problem: Problem, _ built: BuiltConfiguration) -> StartFailure {
        switch problem.kind {
        case .lostRace, .journalFailed, .stopping: return .refused(problem)
        default: break
        }
        let name = (problem.pointer ?? "").split(separator: "/").dropFirst().first.map(String.init) ?? ""
        let place = built.places[name] ?? Position(file: "the running state")
        return .configuration(
            Diagnostic(
                at: place, problem.detail, found: name, expected: "what can run", hint: problem.hint.isEmpty ? nil : problem.hint))
    }

    /// Reads the configuration anew and publishes it: atomic, and nothing changes when it is refused.
    package func reload(
        _ source: ServerOptions.Source? = nil, by author: Author = Author(who: "signal", reason: "HUP"), preferringFile: Bool = false
    ) throws(StartFailure) {
        var entry = AuditLog.Entry(atMs: ControlClock.system.realtimeMs(), who: author.who, method: "reload", path: options.path ?? "")
        entry.reason = author.reason
        do throws(StartFailure) {
            entry.revision = try reloaded(source, by: author, preferringFile: preferringFile).revision
            audit?.write(entry)
        } catch {
            entry.problem = Problem(.badConfiguration, error.description)
            audit?.write(entry)
            throw error
        }
    }

    /// As above, with what the controller says of it.
    /// - Parameter ifMatch: the revision that must be current.
    func reloaded(
        _ source: ServerOptions.Source? = nil, by author: Author, preferringFile: Bool, ifMatch: UInt64? = nil
    ) throws(StartFailure) -> Accepted {
        try changing.withLock { (_) throws(StartFailure) in
            if isStopping { throw .process("the server is stopping") }
            guard let controller else { throw .process("the server has not started") }
            do throws(Problem) { try controller.expect(ifMatch) } catch { throw .refused(error) }
            do throws(StartFailure) { return try reloadAlone(source, controller, author, preferringFile) } catch {
                controller.events.emit(.reloadRefused, revision: controller.running.revision, subject: "", text: error.description)
                throw error
            }
        }
    }

    private func reloadAlone(
        _ source: ServerOptions.Source?, _ controller: Controller, _ author: Author, _ preferringFile: Bool
    ) throws(StartFailure) -> Accepted {
        var options = options
        if let source { options.source = source }
        let built = try build(try parse(options), runtimeNames: controller.runtimeNames)
        let opening: Listeners.Opening
        do throws(ListenFailure) { opening = try listeners.opening(for: built.listens) } catch { throw .listening(error) }
        var accepted: Accepted
        do throws(Problem) { accepted = try controller.reload(built, by: author, preferringFile: preferringFile) } catch {
            throw Self.failure(error, built)
        }
        listeners.take(opening)
        let sockets = listeners.sockets
        for worker in workers { worker.mailbox.post(.listen(sockets)) }
        let later = untilStart(built)
        say(built.warnings)
        for text in later { say(.warn, text) }
        tellWarnings()
        accepted.warnings = built.warnings.map(\.description) + later + accepted.warnings
        return accepted
    }

    /// What a reload of this leaves as it is.
    func untilStart(_ built: BuiltConfiguration) -> [String] {
        var texts = built.process.namesChanged(since: startedWith).map {
            "\"\($0)\" is read at start only: what the configuration says of it now counts when the proxy is started again"
        }
        if built.process.hasAdminSocket != startedWith.hasAdminSocket {
            texts.append("admin.sock \(startedWith.hasAdminSocket ? "stays" : "is not made") until the proxy is started again: a reload does not decide over it")
        }
        return texts
    }

    /// New connections are refused from now on: the workers let their listeners go too.
    package func stop(gracefully: Bool) {
        changing.withLock { _ in
            listeners.close()
            isStopping = true
            controller?.stop()
            for worker in workers { worker.mailbox.post(gracefully ? .stopGracefully : .stopNow) }
        }
    }

    /// While workers finish, a further TERM, INT or QUIT stops them at once: watched by a thread that nobody waits for.
    package func stopOnSignal() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        let r = pthread_create(&thread, nil, { context in
            guard let context else { return nil }
            let supervisor = Unmanaged<Supervisor>.fromOpaque(context).takeRetainedValue()
            while true {
                let signal = Signals.wait()
                switch signal {
                case SIGTERM, SIGINT: supervisor.stop(gracefully: false)
                case SIGUSR1: supervisor.reopenLogs()
                default: break
                }
            }
        }, context)
        if r == 0 { pthread_detach(thread) } else { Unmanaged<Supervisor>.fromOpaque(context).release() }
    }

    /// Returns when every worker has ended.
    package func wait() {
        for worker in workers { worker.join() }
        // Up to here it can be asked how the last requests end.
        control?.stop()
        prober?.stop()
        adminListeners.close()
    }

    package func reopenLogs() {
        for problem in logs.reopen() { say(.alert, problem) }
        audit?.reopen()
    }

    // MARK: Words

    private func say(_ warnings: [Diagnostic]) { for warning in warnings { say(.warn, warning.description) } }

    /// A line of the process in the error log that the configuration names, whatever its level: operators wait for it.
    private func note(_ level: LogLevel, _ text: String) {
        guard let target = controller?.processLog, let file = target.file else { return say(level, text) }
        file.append(Array(line(level, text).utf8))
    }

    /// A line of the process in the default error log.
    package func say(_ level: LogLevel, _ text: String) {
        let position = Position(file: "the default error_log")
        guard let file = try? logs.file(options.errorLog, at: Word(options.errorLog, position: position), of: "error_log") else { return }
        file.append(Array(line(level, text).utf8))
    }

    private func line(_ level: LogLevel, _ text: String) -> String { "\(timestamp()) [\(level.word)] \(getpid())#0: \(text)\n" }

    private func timestamp() -> String {
        var now = time(nil)
        var parts = tm()
        localtime_r(&now, &parts)
        func two(_ n: Int32) -> String { n < 10 ? "0\(n)" : "\(n)" }
        return "\(parts.tm_year + 1900)/\(two(parts.tm_mon + 1))/\(two(parts.tm_mday)) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}
