// Owns the running proxy: listeners, logs, worker threads, the published snapshot. Starts, reloads and stops it.
// Called by the library's ProxyServer. It serves no request itself.

import CLinux
import ConfigurationFile
import Engine
import Synchronization

/// Why a server cannot start or reload. Nothing has changed.
package enum StartFailure: Error, CustomStringConvertible {
    case configuration(Diagnostic)
    case listening(ListenFailure)
    case process(String)

    package var description: String {
        switch self {
        case .configuration(let diagnostic): diagnostic.description
        case .listening(let failure): failure.description
        case .process(let reason): reason
        }
    }
}

package final class Supervisor: @unchecked Sendable {
    package let options: ServerOptions
    private let system: any SystemFiles
    package let logs: LogFiles
    private let registry = PeerCounterRegistry()
    private let listeners = Listeners()
    /// An embedding program may reload and shut down from different threads: one of start, reload and stop at a time.
    private let changing = Mutex(())
    private var publisher: SnapshotPublisher?
    private var workers: [WorkerThread] = []
    private var revision: UInt64 = 0
    /// A reload that comes after a stop must not open listeners again.
    private var isStopping = false

    package init(options: ServerOptions, system: any SystemFiles = LinuxSystemFiles()) {
        self.options = options
        self.system = system
        logs = LogFiles(system: system, prefix: options.prefix, defaultErrorLog: options.errorLog)
    }

    /// Reads and builds the configuration without touching what runs (`-t`).
    package func check() throws(StartFailure) -> (built: BuiltConfiguration, files: [SourceFile]) {
        do throws(Diagnostic) {
            let parsed = try options.parse(with: system)
            let builder = SnapshotBuilder(system: system, logs: logs, counters: registry, revision: revision + 1)
            return (try builder.build(parsed.directives), parsed.files)
        } catch {
            throw .configuration(error)
        }
    }

    /// Opens the listeners. Workers are started by `start`, so that a daemon can detach in between.
    package func prepare() throws(StartFailure) -> BuiltConfiguration {
        let (built, _) = try check()
        do throws(ListenFailure) { try listeners.adjust(to: built.listens) } catch { throw .listening(error) }
        if let n = built.process.descriptorsMax { _ = clinux_set_descriptors_max(UInt64(n)) }
        say(built.warnings)
        return built
    }

    package func start(_ built: BuiltConfiguration) throws(StartFailure) {
        try changing.withLock { (_) throws(StartFailure) in try startAlone(built) }
    }

    private func startAlone(_ built: BuiltConfiguration) throws(StartFailure) {
        if let user = built.process.user, system.isRoot {
            let r = clinux_become(user, built.process.group)
            if r < 0 { throw .process("cannot become user \"\(user)\" (\(errnoWords(-r)))") }
        }
        revision = built.snapshot.revision
        let publisher = SnapshotPublisher(built.snapshot)
        self.publisher = publisher
        for i in 0..<built.process.workerProcesses {
            var parameters = WorkerParameters()
            parameters.connectionsMax = built.process.connectionsMax
            parameters.number = i
            parameters.processID = getpid()
            parameters.utcOffsetMinutes = Int(clinux_utc_offset_minutes())
            parameters.hostname = system.hostname
            parameters.shutdownTimeoutMs = built.process.shutdownTimeoutMs
            let counters = WorkerCounters(workerCount: built.process.workerProcesses)
            workers.append(WorkerThread(parameters, publisher, counters, listeners.sockets))
        }
        for worker in workers { try worker.start() }
    }

    /// Reads the configuration anew and publishes it: atomic, and nothing changes when it is refused.
    package func reload(_ source: ServerOptions.Source? = nil) throws(StartFailure) {
        try changing.withLock { (_) throws(StartFailure) in try reloadAlone(source) }
    }

    private func reloadAlone(_ source: ServerOptions.Source?) throws(StartFailure) {
        if isStopping { throw .process("the server is stopping") }
        var options = options
        if let source { options.source = source }
        let parsed: ParsedConfiguration
        let built: BuiltConfiguration
        do throws(Diagnostic) {
            parsed = try options.parse(with: system)
            built = try SnapshotBuilder(system: system, logs: logs, counters: registry, revision: revision + 1).build(parsed.directives)
        } catch {
            throw .configuration(error)
        }
        do throws(ListenFailure) { try listeners.adjust(to: built.listens) } catch { throw .listening(error) }
        revision = built.snapshot.revision
        publisher?.publish(built.snapshot)
        let sockets = listeners.sockets
        for worker in workers {
            worker.mailbox.post(.adoptSnapshot)
            worker.mailbox.post(.listen(sockets))
        }
        say(built.warnings)
    }

    /// New connections are refused from now on: the workers let their listeners go too.
    package func stop(gracefully: Bool) {
        changing.withLock { _ in
            listeners.close()
            isStopping = true
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
                if signal == SIGTERM || signal == SIGINT { supervisor.stop(gracefully: false) }
            }
        }, context)
        if r == 0 { pthread_detach(thread) } else { Unmanaged<Supervisor>.fromOpaque(context).release() }
    }

    /// Returns when every worker has ended.
    package func wait() {
        for worker in workers { worker.join() }
    }

    package func reopenLogs() { for problem in logs.reopen() { say(.alert, problem) } }

    // MARK: Words

    private func say(_ warnings: [Diagnostic]) { for warning in warnings { say(.warn, warning.description) } }

    /// A line of the process in the default error log.
    package func say(_ level: LogLevel, _ text: String) {
        let position = Position(file: "the default error_log")
        guard let file = try? logs.file(options.errorLog, at: Word(options.errorLog, position: position), of: "error_log") else { return }
        let line = "\(timestamp()) [\(level.word)] \(getpid())#0: \(text)\n"
        file.append(Array(line.utf8))
    }

    private func timestamp() -> String {
        var now = time(nil)
        var parts = tm()
        localtime_r(&now, &parts)
        func two(_ n: Int32) -> String { n < 10 ? "0\(n)" : "\(n)" }
        return "\(parts.tm_year + 1900)/\(two(parts.tm_mon + 1))/\(two(parts.tm_mday)) "
            + "\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))"
    }
}
