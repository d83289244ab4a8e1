// How a deploy goes back: what is undone, in which order, and where it must stop; batches of a rolling update by themselves.
// Called by DeployMachine. And the meaning of entries: the only place where its state changes.
import AdminAPI

extension DeployMachine {
    /// From a step that failed: back over everything, or over its batch alone.
    mutating func turn(_ step: Int, _ text: String, _ out: inout Actions) {
        var entry = DeployEntry(.turned, atMs: out.atMs, step: step, text: text)
        if let batch = record.steps[step].batch, record.failureAction != .rollback {
            let failed = failedBatches.union([batch]).count
            let isTooMuch = record.failureAction == .continue && Double(failed) > record.failureRatioMax * Double(record.batches)
            if !isTooMuch { entry.note = .whole(batch) }
        }
        say(entry, &out)
        advance(&out)
    }

    mutating func undoNext(_ out: inout Actions) {
        var i = marks.count - 1
        while i >= 0 {
            if let scope, record.steps[i].batch != scope {
                i -= 1
                continue
            }
            switch marks[i] {
            case .undoFailed where record.steps[i].carriesTraffic:
                // Requests still go where this step has sent them: what stands before it must stand.
                return finish(.stuck, &out)
            case .begun, .done, .failed:
                if record.steps[i].undo.isEmpty { break }
                if let missing = missing(i) {
                    say(.undoFailed, i, "left as it is, since this was not undone: \(record.steps[missing].title)", to: &out)
                    if record.steps[i].carriesTraffic { return finish(.stuck, &out) }
                    break
                }
                return undo(i, part: 0, &out)
            case .undoing(let part): return undo(i, part: part, &out)
            case .pending, .skipped, .undone, .undoFailed: break
            }
            i -= 1
        }
        undoEnded(&out)
    }

    /// The step that could not be undone, and without whose undoing this one is left as it is; nil: there is none.
    private func missing(_ step: Int) -> Int? {
        if let needed = record.steps[step].undoNeeds, marks.indices.contains(needed), marks[needed] == .undoFailed { return needed }
        // Where the old version did not come back, the new one keeps the requests it has.
        guard record.steps[step].carriesTraffic, record.steps[step].batch != nil else { return nil }
        return marks.indices.first { isMissing($0) && record.steps[$0].service == record.steps[step].service }
    }

    /// A replica was taken out by this step, and is not in again.
    private func isMissing(_ step: Int) -> Bool { marks[step] == .undoFailed && record.steps[step].undoNeeds != nil }

    private mutating func undo(_ step: Int, part: Int, _ out: inout Actions) {
        say(.undo, step, part: part, to: &out)
        begin(.undoing(step, part: part), &out)
    }

    private mutating func undoEnded(_ out: inout Actions) {
        guard let scope else { return finish(marks.contains(.undoFailed) ? .stuck : .undone, &out) }
        if record.failureAction == .pause { return say(.paused, firstStep(of: scope), why, to: &out) }
        // The next batch would take out some of those that are left.
        if marks.indices.contains(where: { record.steps[$0].batch == scope && isMissing($0) }) { return finish(.stuck, &out) }
        let next = record.steps.lastIndex { $0.batch == scope }.map { $0 + 1 } ?? record.steps.count
        say(.resumed, next, "the others go on", to: &out)
        advance(&out)
    }

    private func firstStep(of batch: Int) -> Int? { record.steps.firstIndex { $0.batch == batch } }

    // MARK: The meaning of entries

    mutating func apply(_ entry: DeployEntry) {
        startedAtMs = startedAtMs ?? entry.atMs
        lastMs = max(lastMs, entry.atMs)
        // A journal of another version may speak of steps that are not there.
        let step = entry.step.flatMap { marks.indices.contains($0) ? $0 : nil }
        switch entry.kind {
        case .begun:
            guard let step else { return }
            marks[step] = .begun
            (cursor, phase) = (step, .running)
        case .done, .skipped:
            guard let step else { return }
            marks[step] = entry.kind == .done ? .done : .skipped
            if let note = entry.note { notes[step] = note }
            cursor = step + 1
        case .failed:
            guard let step else { return }
            marks[step] = .failed
            why = "\(record.steps[step].title): \(entry.text)"
            cursor = record.steps[step].stage.isAfterwards ? step + 1 : step
        case .asked: phase = .asking
        case .approved:
            approvedStep = step
            phase = .running
        case .turned:
            if why.isEmpty || !why.hasSuffix(entry.text) { why = entry.text }
            scope = entry.note?.integer.map { Int($0) }
            if let scope { failedBatches.insert(scope) }
            phase = .undoing
        case .undo: if let step, record.steps[step].undo.indices.contains(entry.part) { marks[step] = .undoing(part: entry.part) }
        case .undone:
            guard let step else { return }
            marks[step] = entry.part + 1 < record.steps[step].undo.count ? .undoing(part: entry.part + 1) : .undone
        case .undoFailed: if let step { marks[step] = .undoFailed }
        case .paused:
            // What could not be undone stays told until it is done after all.
            for i in marks.indices where record.steps[i].batch == scope && marks[i] != .undoFailed { marks[i] = .pending }
            if let scope { failedBatches.remove(scope) }
            scope = nil
            cursor = step ?? cursor
            phase = .paused
        case .resumed:
            scope = nil
            cursor = entry.step ?? cursor
            phase = .running
        case .ended: phase = .ended(entry.outcome ?? .stuck)
        }
    }
}

// MARK: What people are told

extension DeployMachine {
    /// What is not as it was and not as it should be: for a person to look at.
    public var leftovers: [String] {
        var list: [String] = []
        for (i, mark) in marks.enumerated() {
            if mark == .undoFailed { list.append("not undone: \(record.steps[i].title)") }
        }
        return list
    }

    /// Each step with a word for its state.
    public var progress: [(step: DeployStep, state: String)] {
        zip(record.steps, marks).map { step, mark in
            let word =
                switch mark {
                case .pending: ""
                case .begun: "begun"
                case .done: "done"
                case .skipped: "skipped"
                case .failed: "failed"
                case .undoing: "being undone"
                case .undone: "undone"
                case .undoFailed: "not undone"
                }
            return (step, word)
        }
    }

    /// What receivers of notes are told of an entry, before it is applied or after; nil: nothing.
    public func news(_ entry: DeployEntry) -> (moment: NotifyPlan.Moment, text: String)? {
        let step = entry.step.flatMap { record.steps.indices.contains($0) ? record.steps[$0] : nil }
        let title = step?.title ?? ""
        switch entry.kind {
        case .done: return (.step, "\(title): done")
        case .skipped: return (.step, "\(title): \(entry.text)")
        case .failed: return (.failure, "\(title): \(entry.text)")
        case .asked: return (.approval, "\(title): waits for approval, `proxyctl deploy approve`")
        case .approved: return (.approval, "\(title): approved by \(entry.who)")
        case .turned:
            return (.rollback, entry.note == nil ? "everything is undone: \(entry.text)" : "this batch is undone: \(entry.text)")
        case .undoFailed: return (.failure, "not undone: \(title): \(entry.text)")
        case .paused: return (.failure, "paused: \(entry.text)")
        case .ended:
            switch entry.outcome ?? .stuck {
            case .done: return (.success, "done")
            case .incomplete: return (.failure, "done, but not whole: \(entry.text)")
            case .undone: return (.rollback, "undone, everything is as before: \(entry.text)")
            case .stuck: return (.failure, "somebody must look: \(entry.text)")
            }
        case .begun, .undo, .undone, .resumed: return nil
        }
    }
}
