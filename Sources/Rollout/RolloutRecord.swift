// The record of a rollout: what went in, with its times and figures, and what was said of it. Shown to people; replayed.
// Written by the controller, event by event. It decides nothing.
import AdminAPI

/// Everything that a rollout saw and said, in order.
public struct RolloutRecord: Sendable, Equatable {
    public enum Line: Sendable, Equatable {
        case event(RolloutEvent, atMs: Int64)
        case entry(RolloutEntry)
    }
    public let plan: RolloutPlan
    public private(set) var lines: [Line] = []

    /// Ticks within so much are kept as one.
    public static let tickMs: Int64 = 1_000
    /// Beyond so many lines, neighbouring ticks are put together and looks left out, so that a long rollout's record is coarser, not longer.
    public static let linesMax = 8_192

    public init(plan: RolloutPlan) { self.plan = plan }

    /// What was said, without what was seen.
    public var entries: [RolloutEntry] {
        lines.compactMap { if case .entry(let entry) = $0 { entry } else { nil } }
    }

    /// - Parameter actions: what the machine answered to the event.
    public mutating func append(_ event: RolloutEvent, atMs: Int64, _ actions: [RolloutAction]) {
        // A tick that something came of keeps its moment: by it the same policy decides the same again.
        let isQuiet = actions.allSatisfy { if case .wake = $0 { true } else { false } }
        if isQuiet { append(.event(event, atMs: atMs)) } else { lines.append(.event(event, atMs: atMs)) }
        for case .record(let entry) in actions { append(.entry(entry)) }
        if lines.count > Self.linesMax { coarsen() }
    }

    private mutating func append(_ line: Line) {
        if case .event(.tick(let more), let atMs) = line, case .event(.tick(var seen), let fromMs)? = lines.last,
            atMs - fromMs < Self.tickMs
        {
            seen.add(more)
            lines[lines.count - 1] = .event(.tick(seen), atMs: fromMs)
            return
        }
        lines.append(line)
    }

    /// Much shorter at once, so that neither this nor writing the record anew is done for every line.
    private mutating func coarsen() {
        let goal = Self.linesMax / 4 * 3
        while lines.count > goal {
            let before = lines.count
            mergeTicks()
            // What was looked at and changed nothing stands between the ticks of a rollout that waits for days.
            if lines.count > goal { thinLooks() }
            if lines.count == before { break }
        }
        // Entries alone are left: the story's beginning and its latest part.
        if lines.count > goal { lines.removeSubrange(Self.linesMax / 8..<Self.linesMax / 8 + lines.count - goal) }
    }

    /// Every two ticks without anything between them become one.
    private mutating func mergeTicks() {
        var kept: [Line] = []
        var isPair = false
        for line in lines {
            if !isPair, case .event(.tick(let more), let atMs) = line, case .event(.tick(var seen), _)? = kept.last {
                seen.add(more)
                kept[kept.count - 1] = .event(.tick(seen), atMs: atMs)
                isPair = true
                continue
            }
            kept.append(line)
            isPair = false
        }
        lines = kept
    }

    /// Every second look of which nothing came is left out, and every refusal that was not told of.
    private mutating func thinLooks() {
        var kept: [Line] = []
        var isSecond = false
        for (i, line) in lines.enumerated() {
            guard case .event(let event, _) = line else {
                kept.append(line)
                continue
            }
            if i + 1 < lines.count, case .entry = lines[i + 1] {
                kept.append(line)
                continue
            }
            switch event {
            case .refused: continue
            case .check, .dependency, .metric, .wayBack, .shadow:
                isSecond.toggle()
                if !isSecond { continue }
            case .start, .tick, .switched, .operate, .overridden: break
            }
            kept.append(line)
        }
        lines = kept
    }
}

extension RolloutRecord: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        let fields = try Fields(json, of: "a rollout's record")
        self.init(plan: try fields.value("plan"))
        lines = try fields.list("lines") { (json, pointer) throws(Problem) in try Line(json: json, at: pointer) }
    }

    public var json: JSON { .members(["lines": .array(lines.map(\.json)), "plan": plan.json]) }
}

extension RolloutRecord.Line: JSONCodable {
    public init(decoding json: JSON) throws(Problem) {
        if json["event"] == nil {
            self = .entry(try RolloutEntry(decoding: json))
        } else {
            let atMs = try Fields(json, of: "an event").integer("at_ms", in: RolloutMachine.timeRange)
            self = .event(try RolloutEvent(decoding: json), atMs: atMs)
        }
    }

    public var json: JSON {
        switch self {
        case .event(let event, let atMs): event.json.merging(.members(["at_ms": .integer(atMs)]))
        case .entry(let entry): entry.json
        }
    }
}
