// `proxyctl history`: the changes, the newest first.

import AdminAPI
import ArgumentParser

struct HistoryVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "history", abstract: "List the changes, the newest first: who, when, what, why.")

    @Option(name: .shortAndLong, help: "How many.")
    var limit = 20

    @OptionGroup var server: ServerOptions

    func validate() throws {
        if limit < 1 { throw ValidationError("--limit: at least 1") }
    }

    func run() throws {
        var request = AdminRequest("GET", ["revisions"])
        request.query.append(("limit", String(limit)))
        let answer = try server.client().send(request).orProblem()
        if server.json { return Output.document(answer.body) }
        Output.lines(HistoryText.lines(try answer.list(of: Revision.self, named: "revisions"), isColoured: Output.isColoured))
    }
}

enum HistoryText {
    static func lines(_ revisions: [Revision], isColoured: Bool) -> [String] {
        var table = Table([.right("REVISION"), .left("MADE"), .left("BY"), .left("KIND"), .left("WHAT"), .left("WHY")])
        for revision in revisions {
            let kind = revision.kind.rawValue + (revision.restores.map { " to \($0)" } ?? "")
            table.rows.append([
                Cell(revision.number, .bold), Cell(Words.moment(ms: revision.atMs)), Cell(revision.who), Cell(kind),
                Cell(revision.summary),
                Cell(revision.reason, .dim),
            ])
        }
        return table.lines(isColoured: isColoured)
    }
}
