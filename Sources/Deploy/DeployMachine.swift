// The state machine of a deploy: an event and a time go in, actions come out. What it knows are the entries it has recorded.
// Driven by proxyctl; +Fold says what an entry means, +Undo goes back. After a crash the entries make it again.
import AdminAPI

public enum DeployEvent: Sendable, Equatable {
    /// Begin, or take up what the entries have left.
    case start
    /// What was asked for has been done, once.
    case succeeded(JSON?)
    /// There was nothing to do.
    case skipped(String)
    /// It was tried in vain; final: trying again is in vain too.
    case failed(String, isFinal: Bool)
    /// What has become of a step that was begun before a crash.
    case found(Found)
    /// The time that `wake` named has come.
    case tick
    case approved(who: String)
    /// The operator breaks it off while it runs. Where only tidying is left, it goes on.
    case abort(String)
    /// The operator wants a deploy undone that was cut off, as long as the old version was not stopped yet.
    case revoke(String)
}

public enum Found: Sendable, Equatable {
    case done(JSON?)
    case notDone
    case failed(String)
    case unknown
}

public enum DeployAction: Sendable, Equatable {
    /// Is to be durable before anything else is done.
    case record(DeployEntry)
    case perform(step: Int)
    case undo(step: Int, part: Int)
    /// Find out what has become of a step that was begun.
    case inspect(step: Int)
    /// Ask a person whether this step may begin.
    case ask(step: Int)
    case wake(atMs: Int64)
}

/// One deploy.
///
/// Rules that no plan changes: a step is recorded before it is begun; what fails is undone with everything before it, the last first; an
/// undoing that fails does not stop the others, unless requests would lose the version they are sent to; what comes after the bake is
/// tidying, and undoes nothing.
public struct DeployMachine: Sendable {
    public enum Phase: Sendable, Equatable {
        case running
        case asking
        case undoing
        case paused
        case ended(DeployOutcome)
    }
    enum Mark: Sendable, Equatable {
        case pending, begun, done, skipped, failed, undone, undoFailed
        /// This part is next, or under way.
        case undoing(part: Int)
    }
    /// What is being done right now.
    enum Current: Sendable, Equatable {
        case performing(Int)
        case undoing(Int, part: Int)
        case inspecting(Int)
    }

    public let record: DeployRecord
    public internal(set) var phase = Phase.running
    /// The step that is in hand, or comes next.
    public internal(set) var cursor = 0
    /// Why it is undone, or was.
    public internal(set) var why = ""
    public internal(set) var startedAtMs: Int64?
    /// When the last entry was made.
    public internal(set) var lastMs: Int64 = 0
    public internal(set) var notes: [Int: JSON] = [:]
    var marks: [Mark]
    /// Only these are undone; nil: all.
    var scope: Int?
    var failedBatches: Set<Int> = []
    var approvedStep: Int?

    var current: Current?
    // The rhythm of what is in hand. A crash begins it anew.
    var failuresInRow = 0
    var passes = 0
    var sinceMs: Int64 = 0
    var nextMs: Int64?

    public init(_ record: DeployRecord) {
        self.record = record
        marks = Array(repeating: .pending, count: record.steps.count)
    }

    /// As it was when these were recorded.
    public init(_ record: DeployRecord, replaying entries: [DeployEntry]) {
        self.init(record)
        for entry in entries { apply(entry) }
    }

    public var isEnded: Bool { if case .ended = phase { true } else { false } }

    // MARK: Driving

    /// - Parameter atMs: milliseconds since 1970.
    /// - Returns: what is to be done, in this order.
    public mutating func handle(_ event: DeployEvent, atMs: Int64) -> [DeployAction] {
        var out = Actions(atMs: max(atMs, lastMs))
        if isEnded { return [] }
        switch event {
        case .start: takeUp(&out)
        case .succeeded(let note): succeeded(note, &out)
        case .skipped(let text): skipped(text, &out)
        case .failed(let text, let isFinal): failed(text, isFinal, &out)
        case .found(let found): self.found(found, &out)
        case .tick:
            guard let nextMs else { break }
            if out.atMs < nextMs { out.list.append(.wake(atMs: nextMs)) } else { again(&out) }
        case .approved(let who):
            guard phase == .asking else { break }
            var entry = DeployEntry(.approved, atMs: out.atMs, step: cursor)
            entry.who = who
            say(entry, &out)
            advance(&out)
        case .abort(let text): abort(text, isRevoked: false, &out)
        case .revoke(let text): abort(text, isRevoked: true, &out)
        }
        return out.list
    }

    struct Actions {
        let atMs: Int64
        var list: [DeployAction] = []
    }

    /// Records, and takes note of what it has recorded.
    mutating func say(_ entry: DeployEntry, _ out: inout Actions) {
        apply(entry)
        out.list.append(.record(entry))
    }

    mutating func say(
        _ kind: DeployEntry.Kind, _ step: Int? = nil, part: Int = 0, _ text: String = "", note: JSON? = nil, to out: inout Actions
    ) {
        var entry = DeployEntry(kind, atMs: out.atMs, step: step, text: text)
        entry.part = part
        entry.note = note
        say(entry, &out)
    }

    private mutating func takeUp(_ out: inout Actions) {
        switch phase {
        case .paused:
            say(.resumed, to: &out)
            advance(&out)
        case .asking: out.list.append(.ask(step: cursor))
        case .running where cursor < marks.count && marks[cursor] == .begun:
            current = .inspecting(cursor)
            out.list.append(.inspect(step: cursor))
        case .running where cursor < marks.count && marks[cursor] == .failed: turn(cursor, why, &out)
        case .running, .undoing: advance(&out)
        case .ended: break
        }
    }

    /// To the next thing that has to be done.
    mutating func advance(_ out: inout Actions) {
        current = nil
        switch phase {
        case .running:
            if cursor >= record.steps.count { return end(&out) }
            if record.steps[cursor].needsApproval, approvedStep != cursor {
                say(.asked, cursor, to: &out)
                out.list.append(.ask(step: cursor))
                return
            }
            if record.steps[cursor].stage == .verify, !failedBatches.isEmpty {
                say(.skipped, cursor, "some replicas have kept the old version", to: &out)
                return advance(&out)
            }
            if let drain = undrained(cursor) {
                let title = record.steps[drain].title
                say(.failed, cursor, "it is left running: " + (why.hasPrefix(title) ? why : title + " has failed"), to: &out)
                return advance(&out)
            }
            say(.begun, cursor, to: &out)
            begin(.performing(cursor), &out)
        case .undoing: undoNext(&out)
        case .asking, .paused, .ended: break
        }
    }

    /// The step that was to wait for the last requests of what `step` would stop, and has failed; nil: nothing speaks against it.
    private func undrained(_ step: Int) -> Int? {
        guard record.steps[step].stage == .stop else { return nil }
        let service = record.steps[step].service
        return marks.indices.first {
            marks[$0] == .failed && record.steps[$0].stage == .drain && record.steps[$0].service == service
        }
    }

    mutating func begin(_ what: Current, _ out: inout Actions) {
        current = what
        (failuresInRow, passes, sinceMs, nextMs) = (0, 0, out.atMs, nil)
        again(&out)
    }

    /// Once more what is in hand.
    private mutating func again(_ out: inout Actions) {
        nextMs = nil
        switch current {
        case .performing(let step): out.list.append(.perform(step: step))
        case .undoing(let step, let part): out.list.append(.undo(step: step, part: part))
        case .inspecting: break
        case nil: if phase == .running { advance(&out) }
        }
    }

    private var work: Work? {
        switch current {
        case .performing(let step): record.steps[step].work
        case .undoing(let step, let part): record.steps[step].undo[part]
        case .inspecting, nil: nil
        }
    }

    private mutating func wait(_ intervalMs: Int64, _ out: inout Actions) {
        nextMs = out.atMs + max(intervalMs, 1)
        out.list.append(.wake(atMs: out.atMs + max(intervalMs, 1)))
    }

    // MARK: Outcomes

    private mutating func succeeded(_ note: JSON?, _ out: inout Actions) {
        guard let current, let work else { return }
        let rhythm = work.rhythm
        failuresInRow = 0
        passes += 1
        if passes < rhythm.passes || out.atMs - sinceMs < rhythm.durationMs { return wait(rhythm.intervalMs, &out) }
        switch current {
        case .performing(let step): say(.done, step, note: note, to: &out)
        case .undoing(let step, let part): say(.undone, step, part: part, note: note, to: &out)
        case .inspecting: return
        }
        advance(&out)
    }

    private mutating func skipped(_ text: String, _ out: inout Actions) {
        switch current {
        case .performing(let step): say(.skipped, step, text, to: &out)
        case .undoing(let step, let part): say(.undone, step, part: part, text, to: &out)
        case .inspecting, nil: return
        }
        advance(&out)
    }

    private mutating func failed(_ text: String, _ isFinal: Bool, _ out: inout Actions) {
        guard let current, let work else { return }
        let rhythm = work.rhythm
        if !isFinal {
            let counts = out.atMs - sinceMs >= rhythm.startPeriodMs
            passes = 0
            failuresInRow += counts ? 1 : 0
            if !counts || failuresInRow < rhythm.tries { return wait(rhythm.intervalMs, &out) }
        }
        let words = failuresInRow > 1 && !isFinal ? "\(text) (\(failuresInRow) times in a row)" : text
        switch current {
        case .performing(let step):
            say(.failed, step, words, to: &out)
            settle(step, words, &out)
        case .undoing(let step, let part):
            say(.undoFailed, step, part: part, words, to: &out)
            advance(&out)
        case .inspecting: return
        }
    }

    private mutating func found(_ found: Found, _ out: inout Actions) {
        guard case .inspecting(let step) = current else { return }
        switch found {
        case .done(let note):
            say(.done, step, "found done", note: note, to: &out)
            advance(&out)
        case .failed(let text):
            say(.failed, step, text, to: &out)
            settle(step, text, &out)
        case .notDone: begin(.performing(step), &out)
        case .unknown:
            if record.steps[step].isRepeatable { return begin(.performing(step), &out) }
            let text = "it was cut off, and nobody can tell whether it was done"
            say(.failed, step, text, to: &out)
            settle(step, text, &out)
        }
    }

    /// After a failure: on, where it was but tidying; else back.
    private mutating func settle(_ step: Int, _ text: String, _ out: inout Actions) {
        if record.steps[step].stage.isAfterwards { advance(&out) } else { turn(step, text, &out) }
    }

    private mutating func abort(_ text: String, isRevoked: Bool, _ out: inout Actions) {
        switch phase {
        case .ended: return
        case .undoing:
            // Under way already; or it was cut off there, and then everything is meant, whatever it was.
            if current != nil { return }
            if scope != nil { say(.turned, nil, text, to: &out) }
            advance(&out)
        case .running, .asking, .paused:
            let isStopping = record.steps.indices.contains { record.steps[$0].stage == .stop && marks[$0] != .pending }
            let isTidying = cursor < marks.count && record.steps[cursor].stage.isAfterwards
            if isStopping || isTidying && !isRevoked { return again(&out) }
            // What was under way is undone like what was done.
            if case .performing(let step) = current { say(.failed, step, text, to: &out) }
            say(.turned, cursor < marks.count ? cursor : nil, text, to: &out)
            advance(&out)
        }
    }

    private mutating func end(_ out: inout Actions) {
        let isWhole = failedBatches.isEmpty && !marks.contains(.failed)
        finish(isWhole ? .done : .incomplete, &out)
    }

    mutating func finish(_ outcome: DeployOutcome, _ out: inout Actions) {
        var entry = DeployEntry(.ended, atMs: out.atMs, text: why)
        entry.outcome = outcome
        say(entry, &out)
    }
}
