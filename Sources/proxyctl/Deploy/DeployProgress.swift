// How a deploy looks while it runs: a line a step, with its time. On a terminal the line in hand counts; elsewhere lines are plain.
// Called by DeployDriver with every entry. It decides nothing.

import AdminAPI
import Deploy

final class DeployProgress {
    private let record: DeployRecord
    private let isQuiet: Bool
    /// `--yes`: nobody is asked.
    private let approvesItself: Bool
    private var begunMs: Int64 = 0
    private var isOpen = false

    init(_ record: DeployRecord, isQuiet: Bool, approvesItself: Bool) {
        self.record = record
        self.isQuiet = isQuiet
        self.approvesItself = approvesItself
    }

    private var isLive: Bool { Output.isTerminal && !isQuiet }

    func heading(_ words: String) {
        if isQuiet { return }
        let way = record.to.isEmpty ? "" : " to \(record.to)"
        let commit = record.commit.isEmpty ? "" : ", version \(record.commit)"
        Output.line(
            "\(words): \(record.kind.rawValue) \(record.number) of \(record.services.joined(separator: ", "))\(way)\(commit)")
    }

    func show(_ entry: DeployEntry) {
        if isQuiet { return }
        let title = entry.step.map { record.steps.indices.contains($0) ? record.steps[$0].title : "" } ?? ""
        let stage = entry.step.map { record.steps.indices.contains($0) ? record.steps[$0].stage.rawValue : "" } ?? ""
        switch entry.kind {
        case .begun, .undo:
            begunMs = Clock.monotonicMs
            let words = entry.kind == .undo ? "undo: " + title : title
            if isLive {
                Output.part("  ... \(words)")
                isOpen = true
            }
        case .done: line(.green, "done", title + Self.remark(entry), stage)
        case .skipped: line(.dim, "skip", title + (entry.text.isEmpty ? "" : ": " + entry.text), stage)
        case .failed: line(.red, "FAIL", "\(title): \(entry.text)", stage)
        case .asked:
            if approvesItself { return }
            line(.yellow, "wait", "\(title): needs approval", stage)
            Output.line("       `proxyctl deploy approve` lets it begin, `proxyctl deploy approve --reject` undoes the deploy")
        case .approved: line(.green, "yes ", "\(title): approved by \(entry.who)", stage)
        case .turned: line(.yellow, "back", entry.note == nil ? "undoing everything" : "undoing this batch", "")
        case .undone: line(.green, "done", "undo: " + title, stage)
        case .undoFailed: line(.red, "FAIL", "undo: \(title): \(entry.text)", stage)
        case .paused: line(.yellow, "wait", "paused; `proxyctl deploy --resume` goes on", "")
        case .resumed: if !entry.text.isEmpty { line(.dim, "on  ", entry.text, "") }
        case .ended: break
        }
    }

    private func line(_ style: Style, _ word: String, _ text: String, _ stage: String) {
        if isOpen { Output.part("\r\u{1b}[K") }
        isOpen = false
        let lines = Words.printableLines(text).split(separator: "\n", omittingEmptySubsequences: false)
        let span = stage.isEmpty || begunMs == 0 ? "" : "  " + Words.span(ms: Clock.monotonicMs - begunMs)
        let first = "  \(style.applied(to: word, isColoured: Output.isColoured))  \(lines.first ?? "")"
        Output.line(first + (word == "done" || word == "FAIL" ? Style.dim.applied(to: span, isColoured: Output.isColoured) : ""))
        for rest in lines.dropFirst() { Output.line("      " + rest) }
    }

    /// What a step in hand has to say. Its own line comes when it is over.
    func say(_ text: String) {
        if !isQuiet { line(.dim, "    ", text, "") }
    }

    private static func remark(_ entry: DeployEntry) -> String {
        if let count = entry.note?["in_flight"]?.integer { return " (\(count) still in flight: they go on)" }
        if entry.note?["killed"]?.bool == true { return " (it had to be killed)" }
        return ""
    }

    /// Counts the seconds of the line in hand.
    func tick() {
        guard isOpen, isLive else { return }
        let seconds = (Clock.monotonicMs - begunMs) / 1000
        if seconds > 0 { Output.part("\r  \(seconds) s ") }
    }
}
