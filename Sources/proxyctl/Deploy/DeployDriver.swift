// Drives one deploy: takes the machine's actions, records, does, asks, waits, and feeds back what came of it.
// Called by the verbs with a machine that is new or has been read from its journal. It decides nothing itself.

import AdminAPI
import CLinux
import Deploy
import Glibc

final class DeployDriver {
    private var machine: DeployMachine
    private let folder: DeployFolder
    private let journal: DeployJournal
    private let doer: StepDoer
    private let progress: DeployProgress
    private let notifier: Notifier?
    private let approvesItself: Bool
    private let who: String
    /// Of the wall at the beginning; from there on time only goes forward.
    private let clockOffsetMs = Clock.wallMs - Clock.monotonicMs
    private var events: [DeployEvent] = []
    /// The operator has broken it off, and the machine does not know yet.
    private var isAborting = false

    init(
        _ machine: DeployMachine, _ folder: DeployFolder, _ journal: DeployJournal, _ client: AdminClient, notifier: Notifier?,
        who: String, approvesItself: Bool, isQuiet: Bool
    ) {
        self.machine = machine
        self.folder = folder
        self.journal = journal
        self.notifier = notifier
        self.who = who
        self.approvesItself = approvesItself
        let progress = DeployProgress(machine.record, isQuiet: isQuiet, approvesItself: approvesItself)
        self.progress = progress
        doer = StepDoer(
            machine.record, startedAtMs: machine.startedAtMs ?? Clock.wallMs,
            folder: folder.folder(machine.record.number), client: client, tell: { progress.say($0) },
            isInterrupted: { Interrupt.isAsked })
    }

    static let notesMs: Int64 = 3000

    /// To its end, or to a pause.
    /// - Parameter revoking: undo it, and why; nil: go on.
    func run(_ heading: String, revoking: String? = nil) throws(Failure) -> DeployMachine {
        progress.heading(heading)
        if machine.startedAtMs == nil { tell(.start, "begins") }
        if let revoking {
            if machine.record.steps.indices.contains(machine.cursor) { doer.breakOff(machine.cursor) }
            events.append(.revoke(revoking))
        } else {
            events.append(.start)
        }
        while let event = events.first {
            events.removeFirst()
            for action in machine.handle(event, atMs: nowMs) { try perform(action) }
        }
        if let words = notifier?.finish(ms: Self.notesMs) { Output.error("proxyctl: \(Words.printable(words))") }
        return machine
    }

    private func perform(_ action: DeployAction) throws(Failure) {
        switch action {
        case .record(let entry):
            try journal.write(entry.json)
            CrashPoint.pass()
            progress.show(entry)
            if let news = machine.news(entry) { tell(news.moment, news.text) }
        case .perform(let step):
            if isBrokenOff() { return }
            // Where a batch was undone and the others go on, the operator is heard again.
            Interrupt.isHeeded = true
            let event = doer.perform(step)
            // Probes change nothing, and how many there are is not known.
            if machine.record.steps[step].stage.changesSomething { CrashPoint.pass() }
            done(event)
        case .undo(let step, let part):
            // Nothing breaks off the way back.
            Interrupt.isHeeded = false
            isAborting = false
            let event = doer.undo(step, part)
            CrashPoint.pass()
            events.append(event)
        case .inspect(let step): done(.found(doer.inspect(step)))
        case .ask(let step): if !isBrokenOff() { done(try ask(step)) }
        case .wake(let atMs):
            if isBrokenOff() { return }
            wait(atMs)
            done(.tick)
        }
    }

    /// What came of an action. Whatever the operator said meanwhile comes in front of the next one.
    private func done(_ event: DeployEvent) {
        events.append(event)
        if !Interrupt.isAsked { return }
        Interrupt.take()
        isAborting = true
    }

    private func isBrokenOff() -> Bool {
        if !isAborting { return false }
        isAborting = false
        events.append(.abort(Interrupt.words))
        return true
    }

    private var nowMs: Int64 { clockOffsetMs + Clock.monotonicMs }

    private func wait(_ atMs: Int64) {
        while nowMs < atMs, !Interrupt.isAsked {
            clinux_sleep_ms(Int32(clamping: min(max(atMs - nowMs, 1), 50)))
            progress.tick()
        }
    }

    private func tell(_ moment: NotifyPlan.Moment, _ text: String) {
        notifier?.tell(Notifier.Note(moment: moment, text: text, record: machine.record))
    }

    // MARK: Approvals

    private func ask(_ step: Int) throws(Failure) -> DeployEvent {
        if approvesItself { return .approved(who: who) }
        let endMs = Clock.monotonicMs + machine.record.approvalTimeoutMs
        while Clock.monotonicMs < endMs, !Interrupt.isAsked {
            if let answer = Approval.take(folder.folder(machine.record.number), step) {
                // A person's no is meant where only tidying is left, too.
                return answer.isYes ? .approved(who: answer.who) : .revoke("rejected by \(answer.who)")
            }
            clinux_sleep_ms(50)
        }
        return .abort(Interrupt.isAsked ? Interrupt.words : "nobody approved it in time")
    }
}

/// What a person has said to a deploy that waits.
struct Approval {
    var step: Int
    var isYes: Bool
    var who: String

    private static func file(_ folder: String) -> String { folder + "/approval" }

    func write(_ folder: String) throws(Failure) {
        let json = JSON.members(["step": .integer(Int64(step)), "who": .string(who), "yes": .bool(isYes)])
        try Files.replace(Self.file(folder), json.bytes(pretty: false))
    }

    /// An answer to another question is thrown away.
    static func take(_ folder: String, _ step: Int) -> Approval? {
        guard let bytes = try? TextFile.read(file(folder)), let json = try? JSON.parse(bytes) else { return nil }
        unlink(file(folder))
        guard json["step"]?.integer == Int64(step) else { return nil }
        return Approval(step: step, isYes: json["yes"]?.bool ?? false, who: json["who"]?.string ?? "somebody")
    }
}

/// The operator's Control-C.
enum Interrupt {
    nonisolated(unsafe) private static var count: sig_atomic_t = 0

    /// SIGINT and SIGTERM undo the deploy; the loss of the terminal does not.
    static func listen() {
        let take: @convention(c) (Int32) -> Void = { _ in
            Interrupt.count += 1
            if Interrupt.count > 1 { _exit(130) }
        }
        signal(SIGINT, take)
        signal(SIGTERM, take)
        signal(SIGHUP, SIG_IGN)
        signal(SIGPIPE, SIG_IGN)
    }

    nonisolated(unsafe) private static var isTaken = false
    /// False: on the way back.
    nonisolated(unsafe) static var isHeeded = true

    /// Once, and not taken yet. A second time ends the program, and `--resume` takes up from there.
    static var isAsked: Bool { count == 1 && !isTaken && isHeeded }
    static func take() { isTaken = true }
    static let words = "broken off by the operator"
}

extension Stage {
    fileprivate var changesSomething: Bool { self != .health && self != .verify && self != .bake }
}

/// For tests: where this program kills itself, as a machine that fails would.
enum CrashPoint {
    private static let point: Int? = Output.environment("PROXYCTL_CRASH_AT").flatMap { Int($0) }
    nonisolated(unsafe) private static var passed = 0

    static func pass() {
        guard let point else { return }
        passed += 1
        if passed == point { kill(getpid(), SIGKILL) }
    }
}
