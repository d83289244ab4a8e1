// `proxyctl deploy`: brings a new version into service, stage by stage, and everything back if one of them fails.

import AdminAPI
import ArgumentParser
import Deploy

struct DeployVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "deploy", abstract: "Bring a new version into service by a plan, and back if a stage of it fails.",
        subcommands: [
            DeployRunVerb.self, DeployStatusVerb.self, DeployRollbackVerb.self, DeployHistoryVerb.self, DeployApproveVerb.self,
            DeployFinishVerb.self,
        ], defaultSubcommand: DeployRunVerb.self)
}

struct DeployRunVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run", abstract: "Deploy the services of a plan (this is what `deploy` does without a verb).",
        discussion: """
            Stages: check, backup, build, migrate, start, health, shadow, switch or rollout, verify, bake, drain, stop.
            What fails is undone in reverse order, and the version that runs is never touched by it. Control-C undoes, too.
            A deploy that was cut off is taken up by --resume or undone by `proxyctl deploy rollback`.
              proxyctl deploy --to green -f deploy.yaml
              proxyctl deploy api web --to green --plan
            """)

    @Argument(help: "Services of the plan; all, if none is named.")
    var services: [String] = []

    @Option(help: ArgumentHelp("The environment; else the one that has no traffic.", valueName: "environment"))
    var to: String?

    @Option(help: ArgumentHelp("The version; else what the plan's `commit` prints.", valueName: "word"))
    var commit: String?

    @Option(help: "Why; it stays in both histories.")
    var reason = ""

    @Flag(help: "Take up the deploy that was cut off or has paused.")
    var resume = false

    @Flag(help: "Show the steps, and do nothing.")
    var plan = false

    @Flag(help: "Approve what needs approval.")
    var yes = false

    @OptionGroup var options: DeployOptions

    func validate() throws {
        if resume, plan || to != nil || commit != nil || !services.isEmpty {
            throw ValidationError("--resume goes on with what was begun: it takes no other words")
        }
    }

    func run() throws {
        Interrupt.listen()
        let desk = try options.desk()
        let client = try options.server.client()
        if plan { return try showPlan(desk, client) }
        try desk.folder.make()
        let gone = try desk.folder.takeLock(DeployDesk.who)
        defer { desk.folder.releaseLock() }
        if let gone { Output.error("proxyctl: the lock of \(gone) was stale and is taken over") }
        if resume { return try takeUp(desk, client) }
        let machines = try desk.folder.machines()
        try Self.refuseUnfinished(machines)
        var (record, facts) = try Self.record(desk, client, machines, to: to, commit: commit, services)
        record.reason = reason
        record.steps = try DeployMaking.steps(desk, services, facts, &record)
        try desk.refuseOverBackup(record.services, facts, client)
        try DeployMaking.checkPolicies(desk, client, record.steps)
        try DeployMaking.begin(desk, client, record, yes: yes, isQuiet: options.server.json)
    }

    static func refuseUnfinished(_ machines: [DeployMachine]) throws(Failure) {
        guard let unfinished = DeployDesk.unfinished(machines) else { return }
        throw Failure(
            .refused,
            "deploy \(unfinished.record.number) of \(unfinished.record.who) has not ended: \(DeployDesk.place(unfinished))",
            hint: "`proxyctl deploy --resume` goes on with it, `proxyctl deploy rollback` undoes it.")
    }

    static func record(
        _ desk: DeployDesk, _ client: AdminClient, _ machines: [DeployMachine], to: String?, commit: String?, _ services: [String]
    ) throws(Failure) -> (DeployRecord, DeployFacts) {
        let number = (desk.folder.numbers.last ?? 0) + 1
        var facts = try desk.facts(number: number, machines, client)
        if let to { facts.to = to } else { facts.to = try desk.idleEnvironment(facts) }
        if let commit { facts.commit = commit } else { facts.commit = try desk.commit() }
        var record = DeployRecord(number: number)
        record.id = Chance.id()
        record.name = desk.plan.name
        record.to = facts.to
        record.commit = facts.commit
        record.commitBefore = facts.commitBefore
        record.services = services.isEmpty ? desk.plan.services.map(\.name) : services
        record.who = DeployDesk.who
        return (record, facts)
    }

    private func takeUp(_ desk: DeployDesk, _ client: AdminClient) throws {
        guard let machine = DeployDesk.unfinished(try desk.folder.machines()) else {
            throw Failure(.refused, "there is no deploy that was cut off", hint: "`proxyctl deploy history` lists them.")
        }
        let journal = try DeployJournal(of: machine.record.number, in: desk.folder)
        let driver = DeployDriver(
            machine, desk.folder, journal, client, notifier: try desk.notifier(), who: DeployDesk.who, approvesItself: yes,
            isQuiet: options.server.json)
        try DeployMaking.end(try driver.run("taking up"))
    }

    private func showPlan(_ desk: DeployDesk, _ client: AdminClient) throws {
        let machines = (try? desk.folder.machines()) ?? []
        var (record, facts) = try Self.record(desk, client, machines, to: to, commit: commit ?? "", services)
        record.steps = try DeployMaking.steps(desk, services, facts, &record)
        if options.server.json { return Output.document(record.json.bytes()) }
        var table = Table([.right(""), .left("STAGE"), .left("SERVICE"), .left("STEP"), .left("IF IT FAILS")])
        for (i, step) in record.steps.enumerated() {
            let undo = step.stage.isAfterwards ? "told" : step.undo.isEmpty ? "" : "undone"
            let title = step.title + (step.needsApproval ? " (needs approval)" : "")
            table.rows.append([Cell(i), Cell(step.stage.rawValue, .bold), Cell(step.service), Cell(title), Cell(undo, .dim)])
        }
        Output.lines(table.lines(isColoured: Output.isColoured))
    }
}

/// What deploys and rollbacks have in common.
enum DeployMaking {
    static func steps(
        _ desk: DeployDesk, _ services: [String], _ facts: DeployFacts, _ record: inout DeployRecord
    ) throws(Failure) -> [DeployStep] {
        let (steps, from) = try desk.checked { () throws(Problem) -> ([DeployStep], String) in
            var builder = try StepBuilder(desk.plan, services, facts)
            return (try builder.build(), builder.from)
        }
        record.from = from
        record.approvalTimeoutMs = desk.plan.approvalTimeoutMs
        record.batches = Set(steps.compactMap(\.batch)).count
        let named = desk.plan.services.filter { record.services.contains($0.name) }
        record.keepsOld = named.contains { if case .split = $0.kind { $0.stop.keepsOld } else { true } }
        for service in named {
            guard case .replicas(_, _, let rolling) = service.kind else { continue }
            record.failureAction = rolling.failureAction
            record.failureRatioMax = rolling.failureRatioMax
        }
        return steps
    }

    /// What the proxy says of the policies, before anything is begun.
    static func checkPolicies(_ desk: DeployDesk, _ client: AdminClient, _ steps: [DeployStep]) throws(Failure) {
        for step in steps {
            guard case .rollout(let work) = step.work else { continue }
            let at = JSONPointer(["services", step.service, step.stage.rawValue])
            var request = AdminRequest("GET", ["policies", work.policy.string ?? work.policy["name"]?.string ?? "deploy"])
            if work.policy.object != nil {
                request.method = "PUT"
                request.query.append(("dry_run", "1"))
                request.body = work.policy.bytes(pretty: false)
            }
            let answer = try client.send(request)
            if answer.isProblem, let json = try? answer.json, let detail = json["detail"]?.string {
                let pointer = at.text + (json["pointer"]?.string ?? "")
                throw desk.document.failure(
                    Problem(.badConfiguration, detail, hint: json["hint"]?.string ?? "", pointer: pointer))
            }
            _ = try answer.orProblem()
        }
    }

    static func begin(
        _ desk: DeployDesk, _ client: AdminClient, _ record: DeployRecord, yes: Bool, isQuiet: Bool
    ) throws(Failure) {
        let notifier = try desk.notifier()
        let journal = try DeployJournal(new: record, in: desk.folder)
        let driver = DeployDriver(
            DeployMachine(record), desk.folder, journal, client, notifier: notifier, who: record.who, approvesItself: yes,
            isQuiet: isQuiet)
        let heading =
            switch record.kind {
            case .deploy: "deploying"
            case .rollback: "going back"
            case .finish: "finishing"
            }
        try end(try driver.run(heading))
    }

    /// Says how it ended. Only a deploy that is done, or a rollback of one that was cut off, is a success.
    static func end(_ machine: DeployMachine, isUndoWished: Bool = false) throws(Failure) {
        let record = machine.record
        let name = "\(record.kind.rawValue) \(record.number)"
        let tookMs = machine.lastMs - (machine.startedAtMs ?? machine.lastMs)
        switch machine.phase {
        case .ended(.done) where isUndoWished:
            throw Failure(
                .refused, "\(name) had stopped the old version already, and is done now", hint: "`proxyctl deploy rollback` starts the old version again.")
        case .ended(.done):
            Output.line("\(name) is done in \(Words.span(ms: tookMs))." + way(record))
        case .ended(.incomplete):
            throw Failure(
                .refused, "\(name) is done, but not whole: \(Words.printableLines(machine.why))",
                hint: "`proxyctl deploy status` shows what was left.")
        case .ended(.undone):
            if isUndoWished { return Output.line("\(name) is undone: everything is as before.") }
            throw Failure(
                .refused, "\(name) failed and is undone, what ran before runs on.\n\(Words.printableLines(machine.why))")
        case .ended(.stuck):
            let left = machine.leftovers.map { "\n    " + Words.printable($0) }.joined()
            throw Failure(
                .refused, "\(name) failed, and not everything could be undone. \(Words.printableLines(machine.why))\(left)",
                hint:
                    "What could not be undone was left as it is, so that no request loses its version. `proxyctl status` shows the traffic."
            )
        case .paused:
            throw Failure(
                .refused, "\(name) has paused: \(Words.printableLines(machine.why))",
                hint: "`proxyctl deploy --resume` tries again, `proxyctl deploy rollback` undoes it.")
        case .running, .asking, .undoing:
            throw Failure(.refused, "\(name) has not ended", hint: "`proxyctl deploy --resume` goes on with it.")
        }
    }

    private static func way(_ record: DeployRecord) -> String {
        record.keepsOld && record.kind == .deploy && !record.from.isEmpty ? " The way back: proxyctl deploy rollback." : ""
    }
}
