// Owns how rollouts and policies read. Called by the verbs `rollout` and `policy`. Pure: the server's JSON in, lines out.

import AdminAPI

enum RolloutText {
    static func isOver(_ json: JSON) -> Bool {
        ["succeeded", "rolled_back", "aborted", "failed"].contains(json["phase"]?.string ?? "")
    }

    static func style(_ phase: String) -> Style {
        switch phase {
        case "succeeded": .green
        case "rolled_back", "failed", "rolling_back", "frozen": .red
        case "aborted", "paused", "waiting_for_approval", "inconclusive": .yellow
        default: .plain
        }
    }

    private static func text(_ json: JSON?, _ name: String) -> String { json?[name]?.string ?? "" }
    private static func percent(_ json: JSON) -> String { "\(json["percent"]?.integer ?? 0) %" }

    /// `has succeeded: green has 100 %`.
    static func phase(_ json: JSON) -> String {
        let share = "\(Words.printable(text(json, "new"))) has \(percent(json))"
        let reason = json["finding"].map { ": " + Words.printable(text($0, "text")) } ?? ""
        switch text(json, "phase") {
        case "succeeded": return "has succeeded; \(share)"
        case "rolled_back": return "was rolled back\(reason)"
        case "aborted": return "was aborted\(reason)"
        case "failed": return "has failed\(reason)"
        case "frozen": return "is frozen at \(percent(json))\(reason)"
        case let phase: return "is \(phase.replacing("_", with: " ")); \(share)"
        }
    }

    static func started(_ json: JSON) -> [String] {
        let number = json["number"]?.integer ?? 0
        var lines = [
            "Rollout \(number) of \(Words.printable(text(json, "split"))): \(Words.printable(text(json, "old"))) to "
                + "\(Words.printable(text(json, "new"))); it \(phase(json))."
        ]
        lines += (json["warnings"]?.array ?? []).compactMap(\.string).map { "Warning: " + Words.printable($0) }
        lines.append("`proxyctl rollout status --watch` follows it; `proxyctl rollout abort` goes back.")
        return lines
    }

    static func table(_ all: [JSON], isColoured: Bool = false) -> [String] {
        var table = Table([
            .right("ROLLOUT"), .left("SPLIT"), .left("FROM"), .left("TO"), .left("POLICY"), .left("STATE"), .right("SHARE"), .left("STARTED"), .left("BY"),
        ])
        for one in all {
            let phase = text(one, "phase")
            table.rows.append([
                Cell(one["number"]?.integer ?? 0, .bold), Cell(text(one, "split")), Cell(text(one, "old")), Cell(text(one, "new")),
                Cell(text(one, "policy")), Cell(phase.replacing("_", with: " "), style(phase)), Cell(percent(one)), Cell(moment(one, "started")),
                Cell(text(one, "who")),
            ])
        }
        return table.lines(isColoured: isColoured)
    }

    private static func moment(_ json: JSON, _ name: String) -> String { Timestamp.ms(text(json, name)).map { Words.moment(ms: $0) } ?? "" }

    // MARK: One

    static func status(_ json: JSON, isColoured: Bool) -> [String] {
        let phase = text(json, "phase")
        var head = Table([.left(""), .left("")], hasTitles: false)
        func row(_ title: String, _ text: String, _ style: Style = .plain) {
            if !text.isEmpty { head.rows.append([Cell(title, .dim), Cell(text, style)]) }
        }
        row("rollout", "\(json["number"]?.integer ?? 0) of \(text(json, "split")): \(text(json, "old")) to \(text(json, "new"))", .bold)
        row("state", phase.replacing("_", with: " "), style(phase))
        let steps = (json["steps"]?.array ?? []).compactMap(\.integer)
        let at = json["step"]?.integer ?? -1
        let shares = steps.enumerated().map { Int64($0.offset) == at ? "[\($0.element)]" : "\($0.element)" }.joined(separator: " ")
        row("share", "\(percent(json)) of \(shares), by the policy \(text(json, "policy"))")
        row("why", text(json["finding"], "text"), style(phase))
        row("started", moment(json, "started") + " by " + text(json, "who") + (text(json, "reason").isEmpty ? "" : ": " + text(json, "reason")))
        row("next look", moment(json, "due"))
        if text(json, "way_back") == "sick" { row("way back", "\(text(json, "old")) is sick", .red) }
        var lines = head.lines(isColoured: isColoured)
        if let figures = json["figures"] { lines += [""] + self.figures(json, figures).lines(isColoured: isColoured) }
        let entries = json["entries"]?.array ?? []
        if !entries.isEmpty { lines += [""] + entries.suffix(8).map { line($0) } }
        return lines
    }

    private static func figures(_ json: JSON, _ figures: JSON) -> Table {
        var table = Table([
            .left("VARIANT"), .right("REQUESTS"), .right("ERRORS"), .right("RATIO"), .right("P50"), .right("P95"), .right("P99"), .left(""),
        ])
        for side in ["old", "new"] {
            guard let one = figures[side] else { continue }
            func ms(_ name: String) -> String { one[name]?.number.map { Words.span(us: Int64($0 * 1000)) } ?? "-" }
            let errors = one["errors"]?.integer ?? 0
            table.rows.append([
                Cell(text(json, side)), Cell(one["finished"]?.integer ?? 0), Cell(errors, errors > 0 ? .red : .plain),
                Cell(Words.fixed((one["error_ratio"]?.number ?? 0) * 100, 2) + " %"), Cell(ms("p50_ms")), Cell(ms("p95_ms")), Cell(ms("p99_ms")),
                Cell(side == "old" ? "in the last " + text(one, "window") : "", .dim),
            ])
        }
        return table
    }

    /// An entry in one line.
    static func line(_ entry: JSON) -> String {
        let who = text(entry, "who").isEmpty ? "" : " (\(text(entry, "who")))"
        let revision = entry["revision"]?.integer.map { " [revision \($0)]" } ?? ""
        return Words.printable("\(moment(entry, "at"))  \(text(entry, "kind").replacing("_", with: " ")): \(text(entry, "text"))\(who)\(revision)")
    }

    /// Every entry with its figures.
    static func whole(_ json: JSON, isColoured: Bool) -> [String] {
        var brief = json
        if case .object(let members) = json { brief = .object(members.filter { $0.name != "entries" }) }
        var lines = status(brief, isColoured: isColoured)
        for entry in json["entries"]?.array ?? [] {
            lines += ["", line(entry)]
            lines += figures(entry["figures"]?.array ?? [])
        }
        return lines
    }

    private static func figures(_ figures: [JSON]) -> [String] {
        let words = figures.map { "\(text($0, "name")) \(Words.fixed($0["value"]?.number ?? 0, 4).trimmedZeros)" }
        return stride(from: 0, to: words.count, by: 4).map { "    " + Words.printable(words[$0..<min($0 + 4, words.count)].joined(separator: ", ")) }
    }

    static func replay(_ json: JSON) -> [String] {
        let head = "By the policy \(Words.printable(text(json, "policy"))): \(Words.printable(text(json, "summary")))"
        return [head] + (json["entries"]?.array ?? []).map { "  " + line($0) }
    }

    static func policies(_ all: [JSON], isColoured: Bool) -> [String] {
        var table = Table([.left("POLICY"), .left("STRATEGY"), .left("STEPS"), .right("INTERVAL"), .right("BAKE")])
        for one in all {
            let steps = (one["steps"]?.array ?? []).compactMap(\.integer).map(String.init).joined(separator: " ")
            table.rows.append([
                Cell(text(one, "name"), .bold), Cell(text(one, "strategy")), Cell(steps), Cell(text(one, "interval")), Cell(text(one, "bake")),
            ])
        }
        return table.lines(isColoured: isColoured)
    }
}

extension String {
    /// `1.5000` as `1.5`, `3.0000` as `3`.
    fileprivate var trimmedZeros: String {
        if !contains(".") { return self }
        var text = self
        while text.hasSuffix("0") { text.removeLast() }
        if text.hasSuffix(".") { text.removeLast() }
        return text
    }
}
