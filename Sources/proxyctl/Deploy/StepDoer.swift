// Does what steps say: commands, processes, probes, links. Each call does one thing once and answers with an event for the machine.
// Called by DeployDriver. +Traffic speaks to the proxy; nothing here decides what comes next.

import AdminAPI
import CLinux
import Deploy
import Glibc

final class StepDoer {
    let record: DeployRecord
    /// When the deploy began, by the wall.
    let startedAtMs: Int64
    /// Of this deploy.
    let folder: String
    let client: AdminClient
    let isInterrupted: () -> Bool
    /// What a step that takes long says meanwhile, for people.
    let tell: (String) -> Void

    init(
        _ record: DeployRecord, startedAtMs: Int64 = Clock.wallMs, folder: String, client: AdminClient,
        tell: @escaping (String) -> Void, isInterrupted: @escaping () -> Bool
    ) {
        self.record = record
        self.startedAtMs = startedAtMs
        self.folder = folder
        self.client = client
        self.tell = tell
        self.isInterrupted = isInterrupted
    }

    static let interrupted = DeployEvent.failed(Interrupt.words, isFinal: true)

    // MARK: Steps

    /// A step that was undone before may be done again, as after a pause: what its undoing has left counts no longer.
    func perform(_ index: Int) -> DeployEvent {
        for part in record.steps[index].undo.indices { runner(base(index, part)).forget() }
        return perform(record.steps[index].work, base(index, nil), isTakenUp: false)
    }

    /// Repeatable: what a crash has left of it is taken up. From here on the step is not done, whatever its files say.
    func undo(_ index: Int, _ part: Int) -> DeployEvent {
        runner(base(index, nil)).forget()
        return perform(record.steps[index].undo[part], base(index, part), isTakenUp: true)
    }

    private func runner(_ base: String) -> CommandRunner { CommandRunner(base: base, isInterrupted: isInterrupted) }

    /// Files of a step have its number and stage in their names.
    func base(_ index: Int, _ part: Int?) -> String {
        let step = record.steps[index]
        let service = step.service.isEmpty ? "" : "-" + step.service
        let number = index < 10 ? "0\(index)" : "\(index)"
        return "\(folder)/steps/\(number)-\(step.stage.rawValue)\(service)" + (part.map { "-undo\($0)" } ?? "")
    }

    private func perform(_ work: Work, _ base: String, isTakenUp: Bool) -> DeployEvent {
        do throws(Failure) {
            switch work {
            case .command(let work): return try command(work, base, isTakenUp: isTakenUp)
            case .process(let work): return try start(work, isTakenUp: isTakenUp)
            case .end(let work): return try end(work, base, isTakenUp: isTakenUp)
            case .probe(let work): return try probe(work, base)
            case .weights(let work): return try weights(work)
            case .server(let work): return try server(work)
            case .idle(let work): return try idle(work)
            case .link(let work): return try link(work)
            case .rollout(let work): return try rollout(work)
            case .pause(let ms): return pause(ms)
            }
        } catch {
            return .failed(error.text, isFinal: false)
        }
    }

    /// What a crash has left of a step that was begun.
    func inspect(_ index: Int) -> Found {
        switch record.steps[index].work {
        case .command(let work):
            let runner = runner(base(index, nil))
            switch runner.left {
            case .nothing: return .notDone
            case .lost: return .unknown
            case .ended(let status): return found(outcome(.status(status), work, runner))
            case .running(let identity):
                guard let end = runner.takeUp(identity, work.timeoutMs) else { return .unknown }
                return found(outcome(end, work, runner))
            }
        case .process(let work): return isThere(work) ? .done(nil) : .notDone
        // These look for themselves whether anything is left to do.
        case .end, .probe, .weights, .server, .idle, .link, .rollout, .pause: return .notDone
        }
    }

    /// One that still waits at its gate ends by itself, since nobody will open it.
    private func isThere(_ work: ProcessWork) -> Bool {
        guard let identity = ProcessIdentity(file: work.pidFile) else { return false }
        let endMs = Clock.monotonicMs + 500
        while identity.isRunning, Clock.monotonicMs < endMs, Files.link("/proc/\(identity.pid)/fd/3")?.hasPrefix("pipe:") == true {
            clinux_sleep_ms(5)
        }
        return identity.isRunning
    }

    /// Ends what an earlier proxyctl left running of a step that is to be undone now.
    func breakOff(_ index: Int) {
        guard case .command = record.steps[index].work else { return }
        if case .running(let identity) = runner(base(index, nil)).left {
            CommandRunner.kill(identity)
        }
    }

    private func found(_ event: DeployEvent) -> Found {
        switch event {
        case .succeeded(let note): .done(note)
        case .failed(let text, _): .failed(text)
        default: .unknown
        }
    }

    // MARK: Commands

    private func command(_ work: CommandWork, _ base: String, isTakenUp: Bool) throws(Failure) -> DeployEvent {
        if let file = work.builtFile, let builds = work.builds {
            if Files.text(file) == builds { return .skipped("\(builds) is built already") }
            // Half a build is none.
            unlink(file)
        }
        let runner = runner(base)
        if isTakenUp {
            switch runner.left {
            case .running(let identity):
                if let end = runner.takeUp(identity, work.timeoutMs) { return outcome(end, work, runner) }
            case .ended(let status): return outcome(.status(status), work, runner)
            case .nothing, .lost: break
            }
        }
        return outcome(try runner.run(work), work, runner)
    }

    private func outcome(_ end: CommandRunner.End, _ work: CommandWork, _ runner: CommandRunner) -> DeployEvent {
        switch end {
        case .status(0):
            do throws(Failure) { try keepBuilt(work) } catch { return .failed(error.text, isFinal: true) }
            return .succeeded(nil)
        case .interrupted: return Self.interrupted
        case .status(let status): return .failed("the command ended with status \(status)" + said(runner.log), isFinal: true)
        case .signal(let number): return .failed("the command was ended by signal \(number)" + said(runner.log), isFinal: true)
        case .timeout:
            return .failed("the command took longer than \(Words.span(ms: work.timeoutMs))" + said(runner.log), isFinal: true)
        }
    }

    private func keepBuilt(_ work: CommandWork) throws(Failure) {
        guard let file = work.builtFile, let builds = work.builds else { return }
        if let slash = file.lastIndex(of: "/") { try DeployFolder.make(String(file[..<slash])) }
        try Files.replace(file, Array((builds + "\n").utf8))
    }

    private func said(_ log: String) -> String {
        let lines = LogTail.lines(log)
        return lines.isEmpty
            ? " (it said nothing; \(log))" : ":\n" + lines.map { "    " + $0 }.joined(separator: "\n") + "\n    (\(log))"
    }

    // MARK: Processes

    /// It waits behind the gate until its pid is on the disk.
    private static let script = """
        read -r go <&3 || exit 125
        exec 3<&-
        cd "$2" || exit 126
        exec sh -c "$1"
        """

    /// - Parameter isTakenUp: it undoes the end of a process, which may not have been ended, or have been started again before a crash.
    private func start(_ work: ProcessWork, isTakenUp: Bool) throws(Failure) -> DeployEvent {
        if let there = ProcessIdentity(file: work.pidFile), there.isRunning {
            if isTakenUp { return .skipped("it runs") }
            return .failed("process \(there.pid) of \(work.pidFile) runs still", isFinal: true)
        }
        for file in [work.pidFile, work.logFile] {
            if let slash = file.lastIndex(of: "/") { try DeployFolder.make(String(file[..<slash])) }
        }
        // What it says is its own: the log of the one before it is kept beside it.
        _ = clinux_rename(work.logFile, work.logFile + ".before")
        let spawned = try Spawn.shell(Self.script, [work.run, work.directory], env: work.env, log: work.logFile, isSession: true)
        guard let identity = ProcessIdentity(running: spawned.pid) else {
            spawned.close()
            return .failed("the process ended before it began", isFinal: true)
        }
        do throws(Failure) { try Files.replace(work.pidFile, Array((identity.text + "\n").utf8)) } catch {
            spawned.close()
            _ = identity.waitForEnd(ms: CommandRunner.patienceMs)
            throw error
        }
        spawned.open()
        return .succeeded(.members(["pid": .integer(Int64(identity.pid))]))
    }

    private func end(_ work: EndWork, _ base: String, isTakenUp: Bool) throws(Failure) -> DeployEvent {
        let identity = work.pidFile.flatMap { ProcessIdentity(file: $0) }
        let isThere = identity?.isRunning == true
        // Nothing of ours runs there, and no command knows more.
        if work.command == nil, !isThere {
            if let file = work.pidFile { unlink(file) }
            return .skipped("nothing runs there")
        }
        if !work.idleUpstreams.isEmpty, let why = try busy(work.idleUpstreams, work.graceMs) {
            return .failed(why, isFinal: true)
        }
        if let command = work.command {
            let event = try self.command(command, base, isTakenUp: isTakenUp)
            if case .failed = event { return event }
        }
        guard let identity, let file = work.pidFile else { return .succeeded(nil) }
        let signal = ["INT": SIGINT, "QUIT": SIGQUIT, "HUP": SIGHUP][work.signal] ?? SIGTERM
        let ending = identity.end(signal, graceMs: work.graceMs, patienceMs: CommandRunner.patienceMs)
        if ending == .never { return .failed("process \(identity.pid) does not end", isFinal: true) }
        unlink(file)
        return .succeeded(ending == .killed ? .members(["killed": true]) : nil)
    }

    // MARK: Probes, links, pauses

    private func probe(_ work: ProbeWork, _ base: String) throws(Failure) -> DeployEvent {
        for file in work.pidFiles {
            guard let identity = ProcessIdentity(file: file) else { return .failed("\(file) has no process", isFinal: true) }
            var status: Int32 = 0
            let isBuried = waitpid(identity.pid, &status, WNOHANG) == identity.pid
            if !isBuried, identity.isRunning { continue }
            let how = !isBuried ? "" : status & 0x7f == 0 ? " with status \((status >> 8) & 0xff)" : " by signal \(status & 0x7f)"
            let log = String(file.hasSuffix(".pid") ? file.dropLast(4) : file[...]).replacing("/pids/", with: "/logs/") + ".log"
            return .failed("process \(identity.pid) has ended\(how)" + said(log), isFinal: true)
        }
        for (i, check) in work.checks.enumerated() {
            switch check {
            case .request(let request): if let why = HTTPCheck.run(request) { return .failed(why, isFinal: false) }
            case .command(let command):
                let runner = runner(base + "-\(i)")
                switch try runner.run(command) {
                case .status(0): continue
                case .interrupted: return Self.interrupted
                case .status(let status):
                    return .failed("the probe ended with status \(status)" + said(runner.log), isFinal: false)
                case .signal(let number): return .failed("the probe was ended by signal \(number)", isFinal: false)
                case .timeout: return .failed("the probe took too long", isFinal: false)
                }
            }
        }
        return .succeeded(nil)
    }

    private func link(_ work: LinkWork) throws(Failure) -> DeployEvent {
        let now = Files.link(work.link)
        if now == "" { return .failed("\(work.link) is no symbolic link", isFinal: true) }
        if (now ?? "") == work.target { return .succeeded(nil) }
        if (now ?? "") != work.expects {
            return .failed("\(work.link) leads to \(now ?? "nothing"), where somebody else has led it", isFinal: true)
        }
        if work.target.isEmpty {
            unlink(work.link)
            return .succeeded(nil)
        }
        if !Files.isFolder(work.target) { return .failed("there is no folder \(work.target)", isFinal: true) }
        let next = work.link + ".next"
        unlink(next)
        if symlink(work.target, next) != 0 { throw Failure(.refused, "cannot make \(next): \(AdminClient.words(-Int(errno)))") }
        let result = clinux_rename(next, work.link)
        if result < 0 { throw Failure(.refused, "cannot make \(work.link): \(AdminClient.words(Int(result)))") }
        if let slash = work.link.lastIndex(of: "/") { Files.syncFolder(String(work.link[..<slash])) }
        return .succeeded(nil)
    }

    private func pause(_ ms: Int64) -> DeployEvent {
        let endMs = Clock.monotonicMs + ms
        while Clock.monotonicMs < endMs {
            if isInterrupted() { return Self.interrupted }
            clinux_sleep_ms(Int32(min(endMs - Clock.monotonicMs, 50)))
        }
        return .succeeded(nil)
    }
}
