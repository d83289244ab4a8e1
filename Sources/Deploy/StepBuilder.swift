// Makes the steps of one deploy from a plan and from what runs: stage by stage, all services of a stage before the next one.
// Called by proxyctl before anything is begun; what it refuses has cost nothing. +Rolling replaces replicas, +Works fills in.
import AdminAPI

public struct StepBuilder {
    let plan: DeployPlan
    let facts: DeployFacts
    let services: [ServicePlan]
    /// The environment that serves now; empty: there are none.
    public private(set) var from = ""
    var steps: [DeployStep] = []

    /// - Parameter names: the services; empty: all of the plan.
    /// - Throws: a problem of the plan (with its pointer), or of what runs.
    public init(_ plan: DeployPlan, _ names: [String], _ facts: DeployFacts) throws(Problem) {
        self.plan = plan
        self.facts = facts
        for name in names where plan.service(name) == nil {
            let known = plan.services.map(\.name).joined(separator: ", ")
            throw Problem(.notFound, "there is no service \(name) in the plan", hint: "There are \(known).")
        }
        services = names.isEmpty ? plan.services : plan.services.filter { names.contains($0.name) }
        from = try environmentBefore()
    }

    public var usesEnvironments: Bool { !splits.isEmpty }

    var splits: [(service: ServicePlan, split: String)] {
        services.compactMap { service in
            if case .split(let split, _) = service.kind { (service, split) } else { nil }
        }
    }

    /// Which environment has the traffic now: the same for all services that switch together.
    private func environmentBefore() throws(Problem) -> String {
        guard usesEnvironments else { return "" }
        guard plan.environments.contains(where: { $0.name == facts.to }) else {
            let known = plan.environments.map(\.name).joined(separator: ", ")
            throw Problem(.notFound, "there is no environment \"\(facts.to)\" in the plan", hint: "--to is one of \(known).")
        }
        var found: Set<String> = []
        for (service, split) in splits {
            let at = JSONPointer(["services", service.name, "split"])
            guard let weights = facts.splits[split] else {
                throw Problem(.notFound, "the proxy has no split \(split)", pointer: at.text)
            }
            for environment in plan.environments where weights[variant(service, environment.name)] == nil {
                throw Problem(
                    .unknownVariant, "the split \(split) has no variant \(variant(service, environment.name))",
                    hint: "variants: names them.",
                    pointer: at.text)
            }
            for environment in plan.environments where weights[variant(service, environment.name), default: 0] > 0 {
                found.insert(environment.name)
            }
        }
        if found.contains(facts.to) {
            throw Problem(
                .conflict,
                found.count == 1 ? "\(facts.to) serves already" : "\(found.sorted().joined(separator: " and ")) both serve",
                hint: found.count == 1
                    ? "Deploy to the other one: its requests must not meet a version that is being replaced."
                    : "Give one of them everything first: proxyctl switch NAME.")
        }
        if found.count > 1 {
            throw Problem(
                .conflict, "\(found.sorted().joined(separator: " and ")) both serve", hint: "Give one of them everything first.")
        }
        return found.first ?? plan.environments.first { $0.name != facts.to }?.name ?? ""
    }

    func variant(_ service: ServicePlan, _ environment: String) -> String {
        if case .split(_, let variants) = service.kind { variants[environment] ?? environment } else { "" }
    }

    // MARK: Stages

    /// All steps, in their order.
    public mutating func build() throws(Problem) -> [DeployStep] {
        steps = []
        if facts.isRollback { try rollBack() } else { try deploy() }
        for stage in plan.approvals where !facts.isRollback {
            if let i = steps.firstIndex(where: { $0.stage == stage }) { steps[i].needsApproval = true }
        }
        return steps
    }

    private mutating func deploy() throws(Problem) {
        try refuseContracts()
        for service in services {
            for command in service.check { try add(.check, service, "check \(service.name)", command) }
        }
        for service in services {
            if let command = service.backup { try add(.backup, service, "back up \(service.name)", command) }
        }
        for service in services {
            guard let command = service.build else { continue }
            var work = try commandWork(command, service, .build)
            if !facts.commit.isEmpty {
                work.builds = facts.commit
                work.builtFile = try builtFile(service)
            }
            steps.append(DeployStep(.build, service: service.name, "build \(service.name)", .command(work)))
        }
        for service in services { if let migration = service.migrate { try add(migration, service) } }
        for service in services { try addStart(service) }
        for service in services { try addRollout(service) }
        try addSwitch()
        for service in services { try addReplacement(service) }
        for service in services { try addProbe(.verify, service, service.verify, "verify \(service.name) through the proxy") }
        for service in services { try addProbe(.bake, service, service.bake, "watch \(service.name)") }
        for service in services { try addEnd(service) }
    }

    private mutating func rollBack() throws(Problem) {
        for service in services {
            if service.migrate?.phase == .contract {
                throw Problem(
                    .conflict,
                    "\(service.name) was deployed with a contracting migration: the version before it finds gone what it needs",
                    hint: "Deploy a version forward instead.",
                    pointer: JSONPointer(["services", service.name, "migrate", "phase"]).text)
            }
            if case .split = service.kind {
                if !service.stop.keepsOld { try addStart(service) } else { try addHealth(service, place(service)) }
            }
        }
        try addSwitch()
        for service in services { try addReplacement(service) }
        for service in services { try addProbe(.verify, service, service.verify, "verify \(service.name) through the proxy") }
        for service in services { try addEnd(service) }
    }

    /// The steps that stop the version in `facts.to`, which nothing is sent to any more.
    public static func ending(_ plan: DeployPlan, _ names: [String], _ facts: DeployFacts) throws(Problem) -> [DeployStep] {
        var builder = StepBuilder(unchecked: plan, names, facts)
        for service in builder.services {
            guard case .split = service.kind, service.start != nil || service.stop.command != nil else { continue }
            let place = builder.place(service)
            var work = try builder.endWork(service, place)
            work.idleUpstreams = [place.upstream]
            builder.steps.append(DeployStep(.stop, service: service.name, "stop \(service.name) in \(facts.to)", .end(work)))
        }
        return builder.steps
    }

    private init(unchecked plan: DeployPlan, _ names: [String], _ facts: DeployFacts) {
        self.plan = plan
        self.facts = facts
        services = plan.services.filter { names.contains($0.name) }
    }

    private func refuseContracts() throws(Problem) {
        for service in services where service.migrate?.phase == .contract && facts.waysBack.contains(service.name) {
            throw Problem(
                .conflict,
                "a contracting migration of \(service.name) is refused while its former version is kept as the way back",
                hint: "`proxyctl deploy finish` gives the way back up.",
                pointer: JSONPointer(["services", service.name, "migrate", "phase"]).text)
        }
    }

    private mutating func add(_ stage: Stage, _ service: ServicePlan, _ title: String, _ command: CommandPlan) throws(Problem) {
        steps.append(DeployStep(stage, service: service.name, title, .command(try commandWork(command, service, stage))))
    }

    private mutating func add(_ migration: MigrationPlan, _ service: ServicePlan) throws(Problem) {
        var step = DeployStep(
            .migrate, service: service.name, "migrate \(service.name) (\(migration.phase.rawValue))",
            .command(try commandWork(migration.command, service, .migrate)))
        step.isRepeatable = migration.isRepeatable
        if let undo = migration.undo {
            var command = migration.command
            command.run = undo
            step.undo = [.command(try commandWork(command, service, .migrate))]
        }
        steps.append(step)
    }

    private mutating func addStart(_ service: ServicePlan) throws(Problem) {
        guard case .split = service.kind else { return }
        let place = place(service)
        if let start = service.start {
            var end = try endWork(service, place)
            end.idleUpstreams = [place.upstream]
            steps.append(
                DeployStep(.start, service: service.name, "end what is left of \(service.name) in \(facts.to)", .end(end)))
            var step = DeployStep(
                .start, service: service.name, "start \(service.name) in \(facts.to)",
                try startWork(start, service, place, commit(service)))
            step.undo = [.end(end)]
            steps.append(step)
        }
        try addHealth(service, place)
    }

    mutating func addHealth(_ service: ServicePlan, _ place: Place) throws(Problem) {
        guard let health = service.health else { return }
        let work = try probeWork(health, service, [place], .health)
        steps.append(
            DeployStep(.health, service: service.name, "wait until \(service.name) is well in \(facts.to)", .probe(work)))
    }

    private mutating func addRollout(_ service: ServicePlan) throws(Problem) {
        guard case .split(let split, _) = service.kind, service.rollout != nil || service.shadow != nil else { return }
        var policy = service.rollout ?? .members(["name": .string(plan.name), "strategy": "blue-green"])
        if let shadow = service.shadow {
            guard policy.object != nil else {
                throw Problem(
                    .wrongType, "a shadow beside a policy that is only named", hint: "Put the gate into the policy.",
                    pointer: JSONPointer(["services", service.name, "shadow"]).text)
            }
            policy = policy.merging(.members(["shadow": shadow]))
        }
        if policy.object != nil, policy["name"] == nil { policy = policy.merging(.members(["name": .string(plan.name)])) }
        let to = variant(service, facts.to)
        let work = RolloutWork(split: split, to: to, policy: policy, before: facts.splits[split] ?? [:])
        var step = DeployStep(
            service.rollout == nil ? .shadow : .rollout, service: service.name, "roll \(service.name) out to \(to)",
            .rollout(work))
        var undo = work
        undo.isUndo = true
        step.undo = [.rollout(undo)]
        step.carriesTraffic = true
        steps.append(step)
    }

    /// One change of the proxy for all services that have no rollout; then the links of static sites.
    private mutating func addSwitch() throws(Problem) {
        var next: [String: [String: Int]] = [:]
        var before: [String: [String: Int]] = [:]
        var opens: [String] = []
        for (service, split) in splits where facts.isRollback || (service.rollout == nil && service.shadow == nil) {
            let to = variant(service, facts.to)
            next[split] = (facts.splits[split] ?? [:]).mapValues { _ in 0 }
            next[split]?[to] = 100
            before[split] = facts.splits[split]
            opens.append(to)
        }
        if !next.isEmpty {
            let names = next.keys.sorted().joined(separator: " and ")
            var step = DeployStep(
                .switch, "switch \(names) to \(facts.to)",
                .weights(WeightsWork(splits: next, expects: before, opens: opens.sorted())))
            step.undo = [.weights(WeightsWork(splits: before, expects: next, opens: []))]
            step.carriesTraffic = true
            steps.append(step)
        }
        for service in services {
            guard case .site(let link) = service.kind else { continue }
            let path = self.path(try Expansion.text(link, try variables(service, nil)))
            let directory = try facts.isRollback ? facts.linksBack[service.name] ?? "" : self.directory(service)
            let old = facts.links[service.name] ?? ""
            let work = LinkWork(link: path, target: directory, expects: old)
            var step = DeployStep(.switch, service: service.name, "switch \(service.name) to \(directory)", .link(work))
            step.undo = [.link(LinkWork(link: path, target: old, expects: directory))]
            step.carriesTraffic = true
            steps.append(step)
        }
    }

    private mutating func addProbe(_ stage: Stage, _ service: ServicePlan, _ probe: ProbePlan?, _ title: String) throws(Problem) {
        guard let probe else { return }
        var place: [Place] = []
        if case .split = service.kind { place = [self.place(service)] }
        steps.append(DeployStep(stage, service: service.name, title, .probe(try probeWork(probe, service, place, stage))))
    }

    /// The old version: its last requests, and its end, unless it is the way back.
    private mutating func addEnd(_ service: ServicePlan) throws(Problem) {
        guard case .split = service.kind, !from.isEmpty else { return }
        var old = place(service)
        old.environment = from
        old.upstream = variant(service, from)
        let stops = !service.stop.keepsOld && !facts.isRollback
        var idle = IdleWork(upstreams: [old.upstream], timeoutMs: service.drainTimeoutMs)
        idle.isDraining = stops
        steps.append(
            DeployStep(.drain, service: service.name, "wait for the last requests of \(service.name) in \(from)", .idle(idle)))
        if !stops || (service.start == nil && service.stop.command == nil) { return }
        var end = try endWork(service, old)
        end.idleUpstreams = [old.upstream]
        steps.append(DeployStep(.stop, service: service.name, "stop \(service.name) in \(from)", .end(end)))
    }
}
