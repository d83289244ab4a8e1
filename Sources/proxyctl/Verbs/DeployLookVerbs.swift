// `proxyctl deploy status|rollback|history|approve|finish`: what has become of deploys, and the way back.

import AdminAPI
import ArgumentParser
import Deploy

struct DeployStatusVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show the last deploy step by step, who holds the lock, and what serves.")

    @Argument(help: "The number of a deploy; else the last one.")
    var number: Int?

    @OptionGroup var options: DeployOptions

    func run() throws {
        let desk = try options.desk()
        let machines = try desk.folder.machines()
        guard let machine = machines.last(where: { number == nil || $0.record.number == number }) else {
            throw Failure(.refused, number.map { "there is no deploy \($0)" } ?? "nothing was deployed yet")
        }
        let owner = desk.folder.lockOwner
        if options.server.json { return Output.document(Self.json(machine, owner).bytes()) }
        var lines = [HistoryOfDeploys.headline(machine)]
        if let owner { lines.append("The lock is held by \(owner).") }
        var table = Table([.right(""), .left("STAGE"), .left("STEP"), .left("")])
        for (i, step) in machine.progress.enumerated() {
            let style: Style =
                step.state.contains("fail") || step.state == "not undone" ? .red : step.state == "done" ? .green : .dim
            table.rows.append([Cell(i), Cell(step.step.stage.rawValue), Cell(step.step.title), Cell(step.state, style)])
        }
        lines += table.lines(isColoured: Output.isColoured)
        if !machine.why.isEmpty { lines.append(Words.printableLines(machine.why)) }
        Output.lines(lines)
        if let names = try? RunningNames.read(options.server.client(connectTimeoutMs: 500)) {
            Output.lines(Self.serving(desk, names))
        }
    }

    private static func serving(_ desk: DeployDesk, _ names: RunningNames) -> [String] {
        desk.plan.services.compactMap { service in
            guard case .split(let split, _) = service.kind, let weights = names.splits[split] else { return nil }
            let total = weights.values.reduce(0, +)
            let shares = weights.sorted { $0.key < $1.key }.map { "\($0.key) \(Words.percent($0.value, of: total))" }
            return "\(service.name): \(shares.joined(separator: ", "))"
        }
    }

    static func json(_ machine: DeployMachine, _ owner: String?) -> JSON {
        let record = machine.record
        return .members([
            "commit": .string(record.commit), "from": .string(record.from), "kind": .string(record.kind.rawValue),
            "lock": owner.map { .string($0) }, "number": .integer(Int64(record.number)),
            "state": .string(HistoryOfDeploys.word(machine)), "to": .string(record.to), "why": .string(machine.why),
            "steps": .array(
                machine.progress.map {
                    .members([
                        "stage": .string($0.step.stage.rawValue), "state": .string($0.state), "title": .string($0.step.title),
                    ])
                }),
        ])
    }
}

struct DeployHistoryVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "history", abstract: "List the deploys, the newest first.")

    @Option(name: .shortAndLong, help: "How many.")
    var limit = 20

    @OptionGroup var options: DeployOptions

    func run() throws {
        let machines = try options.desk().folder.machines().suffix(max(limit, 1)).reversed()
        if options.server.json {
            return Output.document(JSON.array(machines.map { DeployStatusVerb.json($0, nil).setting("steps", .null) }).bytes())
        }
        var table = Table([
            .right("DEPLOY"), .left("BEGAN"), .left("BY"), .left("KIND"), .left("TO"), .left("VERSION"), .left("STATE"),
            .right("TOOK"), .left("WHY"),
        ])
        for machine in machines {
            let record = machine.record
            let word = HistoryOfDeploys.word(machine)
            table.rows.append([
                Cell(record.number, .bold), Cell(machine.startedAtMs.map(Words.moment) ?? "-"), Cell(record.who),
                Cell(record.kind.rawValue),
                Cell(record.to), Cell(record.commit), Cell(word, word == "done" ? .green : .red),
                Cell(Words.span(ms: machine.lastMs - (machine.startedAtMs ?? machine.lastMs))),
                Cell(machine.why.isEmpty ? record.reason : String(machine.why.split(separator: "\n").first ?? ""), .dim),
            ])
        }
        Output.lines(table.lines(isColoured: Output.isColoured))
    }
}

enum HistoryOfDeploys {
    static func word(_ machine: DeployMachine) -> String {
        switch machine.phase {
        case .ended(let outcome): outcome.rawValue
        case .running: "running"
        case .asking: "waiting for approval"
        case .undoing: "undoing"
        case .paused: "paused"
        }
    }

    static func headline(_ machine: DeployMachine) -> String {
        let record = machine.record
        let way = record.to.isEmpty ? "" : " from \(record.from) to \(record.to)"
        let commit = record.commit.isEmpty ? "" : ", version \(record.commit)"
        return Words.printable(
            "\(record.kind.rawValue) \(record.number) of \(record.services.joined(separator: ", "))\(way)\(commit), by \(record.who): \(word(machine))"
        )
    }
}

struct DeployRollbackVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback", abstract: "Go back to the version before the last deploy, or undo one that was cut off.",
        discussion: "The old version must be well before it gets a request. A rollback is not rolled back: deploy instead.")

    @Option(help: "Why; it stays in both histories.")
    var reason = ""

    @OptionGroup var options: DeployOptions

    func run() throws {
        Interrupt.listen()
        let desk = try options.desk()
        let client = try options.server.client()
        try desk.folder.make()
        _ = try desk.folder.takeLock(DeployDesk.who)
        defer { desk.folder.releaseLock() }
        let machines = try desk.folder.machines()
        if let unfinished = DeployDesk.unfinished(machines) {
            let journal = try DeployJournal(of: unfinished.record.number, in: desk.folder)
            let driver = DeployDriver(
                unfinished, desk.folder, journal, client, notifier: try desk.notifier(), who: DeployDesk.who,
                approvesItself: true,
                isQuiet: options.server.json)
            return try DeployMaking.end(try driver.run("undoing", revoking: "rolled back by \(DeployDesk.who)"), isUndoWished: true)
        }
        guard let last = machines.last(where: { $0.isDone && $0.record.kind != .finish })?.record else {
            throw Failure(.refused, "nothing was deployed yet: there is no way back")
        }
        if last.kind == .rollback {
            throw Failure(
                .refused, "the last one, \(last.number), was a rollback itself",
                hint: "`proxyctl deploy --to \(last.from)` goes forward again.")
        }
        var facts = try desk.facts(number: (desk.folder.numbers.last ?? 0) + 1, machines, client)
        if facts.waysBack.isDisjoint(with: last.services) {
            throw Failure(.refused, "the way back was given up by `proxyctl deploy finish`, or its version was stopped")
        }
        facts.isRollback = true
        facts.to = last.from
        facts.commit = last.commitBefore
        facts.commitBefore = last.commit
        facts.commits = DeployDesk.versions(machines).mapValues(\.before)
        for service in desk.plan.services {
            // A link's target before is where its undo leads.
            for step in last.steps where step.service == service.name {
                if case .link(let work)? = step.undo.first { facts.linksBack[service.name] = work.target }
            }
        }
        var record = DeployRecord(number: facts.number)
        record.id = Chance.id()
        record.kind = .rollback
        record.name = desk.plan.name
        record.to = facts.to
        record.commit = facts.commit
        record.commitBefore = facts.commitBefore
        record.services = last.services
        record.who = DeployDesk.who
        record.reason = reason
        record.steps = try DeployMaking.steps(desk, last.services, facts, &record)
        try DeployMaking.begin(desk, client, record, yes: true, isQuiet: options.server.json)
    }
}

struct DeployApproveVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "approve", abstract: "Let a deploy go on that waits for approval.")

    @Flag(help: "Undo the deploy instead.")
    var reject = false

    @OptionGroup var options: DeployOptions

    func run() throws {
        let folder = try options.desk().folder
        guard let machine = DeployDesk.unfinished(try folder.machines()), machine.phase == .asking else {
            throw Failure(.refused, "no deploy waits for approval")
        }
        let approval = Approval(step: machine.cursor, isYes: !reject, who: DeployDesk.who)
        try approval.write(folder.folder(machine.record.number))
        let title = machine.record.steps.indices.contains(machine.cursor) ? machine.record.steps[machine.cursor].title : ""
        Output.line((reject ? "Rejected: " : "Approved: ") + title)
        if folder.lockOwner == nil { Output.line("No deploy runs now; `proxyctl deploy --resume` takes it up.") }
    }
}

struct DeployFinishVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "finish", abstract: "Give up the way back: stop the old version, and allow contracting migrations.")

    @OptionGroup var options: DeployOptions

    func run() throws {
        Interrupt.listen()
        let desk = try options.desk()
        let client = try options.server.client()
        try desk.folder.make()
        _ = try desk.folder.takeLock(DeployDesk.who)
        defer { desk.folder.releaseLock() }
        let machines = try desk.folder.machines()
        try DeployRunVerb.refuseUnfinished(machines)
        guard let last = machines.last(where: { $0.isDone && $0.record.kind != .finish })?.record else {
            throw Failure(.refused, "nothing was deployed yet: there is no way back to give up")
        }
        var facts = try desk.facts(number: (desk.folder.numbers.last ?? 0) + 1, machines, client)
        facts.to = last.from
        facts.commit = last.commitBefore
        var record = DeployRecord(number: facts.number)
        record.id = Chance.id()
        record.kind = .finish
        record.name = desk.plan.name
        record.to = last.from
        record.from = last.to
        // The version that serves stays the one that serves.
        record.commit = last.commit
        record.commitBefore = last.commitBefore
        record.services = last.services
        record.who = DeployDesk.who
        record.keepsOld = false
        record.steps = try desk.checked { () throws(Problem) in try StepBuilder.ending(desk.plan, last.services, facts) }
        try DeployMaking.begin(desk, client, record, yes: true, isQuiet: options.server.json)
    }
}
