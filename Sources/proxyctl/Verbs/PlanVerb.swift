// `proxyctl plan VERB ...`: shows what a writing verb would do, and does nothing. And how a plan reads.

import AdminAPI
import ArgumentParser

struct PlanVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plan", abstract: "Show what a verb would change, and change nothing.",
        usage: "proxyctl plan VERB ...",
        discussion: """
            Any verb that changes something, with its own arguments:
              proxyctl plan switch green
              proxyctl plan server remove blue 127.0.0.1:3001
            """)

    @Argument(parsing: .captureForPassthrough, help: "A verb and its arguments.", completion: .default)
    var words: [String] = []

    func run() throws {
        guard words.first(where: { !$0.hasPrefix("-") }) != nil else {
            if words.contains("--help") || words.contains("-h") { throw CleanExit.helpRequest(Self.self) }
            throw ValidationError("`plan` is followed by a verb that changes something: proxyctl plan switch green")
        }
        var command = try Proxyctl.command(words)
        if let verb = command as? any WritingVerb {
            try plan(verb)
        } else if words.contains("--help") || words.contains("-h") {
            try command.run()
        } else {
            throw ValidationError("that verb changes nothing: there is nothing to plan")
        }
    }

    private func plan(_ verb: some WritingVerb) throws {
        var verb = verb
        verb.write.dryRun = true
        try verb.run()
    }
}

enum PlanText {
    static func lines(_ answer: AdminAnswer) throws(Failure) -> [String] {
        lines(try answer.decoded(Plan.self), isColoured: Output.isColoured)
    }

    static func lines(_ plan: Plan, isColoured: Bool) -> [String] {
        var lines: [String] = []
        if plan.differences.isEmpty {
            lines.append("Nothing would change: revision \(plan.revision) is like that.")
        } else {
            lines.append("Would change revision \(plan.revision) (nothing has been changed):")
            lines += DifferenceText.lines(plan.differences, isColoured: isColoured).map { "  " + $0 }
        }
        if !plan.servers.isEmpty {
            var table = Table([.left("UPSTREAM"), .left("SERVER"), .left("NOW")])
            var previous = ""
            for server in plan.servers {
                table.rows.append([
                    Cell(server.upstream == previous ? "" : server.upstream), Cell(server.server),
                    Cell(server.state, StatusText.style(server.state)),
                ])
                previous = server.upstream
            }
            lines += ["", "Would serve:"] + table.lines(isColoured: isColoured).map { "  " + $0 }
        }
        if plan.inFlightOnLeaving > 0 {
            let longLived = plan.longLivedOnLeaving > 0 ? ", \(plan.longLivedOnLeaving) of them long-lived connections" : ""
            lines += [
                "",
                "In flight on servers that would get no new requests: \(plan.inFlightOnLeaving)\(longLived). "
                    + "They end where they are.",
            ]
        }
        let moving = plan.usersThatMove.sorted { $0.key < $1.key }.map {
            Words.printable($0.key) + " " + Words.fixed($0.value, 1) + " %"
        }
        if !moving.isEmpty { lines += ["", "Users that would get another variant: " + moving.joined(separator: ", ")] }
        if !plan.warnings.isEmpty {
            lines.append("")
            lines += plan.warnings.map { Style.yellow.applied(to: "warning: " + Words.printable($0), isColoured: isColoured) }
        }
        return lines
    }
}

enum DifferenceText {
    static func lines(_ differences: [StateDifference], isColoured: Bool) -> [String] {
        differences.map { difference in
            let pointer = Words.printable(difference.pointer)
            let (from, to) = (Words.printable(difference.from ?? ""), Words.printable(difference.to ?? ""))
            return switch difference.kind {
            case .added: Style.green.applied(to: "+ " + pointer + (to.isEmpty ? "" : "  " + to), isColoured: isColoured)
            case .removed: Style.red.applied(to: "- " + pointer + (from.isEmpty ? "" : "  " + from), isColoured: isColoured)
            case .changed: Style.yellow.applied(to: "~ " + pointer + "  " + from + " -> " + to, isColoured: isColoured)
            }
        }
    }
}
