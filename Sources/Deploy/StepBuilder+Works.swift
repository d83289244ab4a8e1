// Fills in what steps are made of: variables, paths, commands, processes and probes of one place.
// Used by StepBuilder and its rolling half.
import AdminAPI

/// Where one instance of a service runs: an environment, or an address of a replica.
struct Place: Equatable {
    var environment = ""
    var replica = ""
    var slot = 0
    var server = ""
    var upstream = ""
    var env: [String: Text] = [:]

    /// For names of files.
    var label: String { replica.isEmpty ? environment : "\(replica).\(slot)" }
}

extension StepBuilder {
    func place(_ service: ServicePlan) -> Place {
        var place = Place(environment: facts.to)
        place.upstream = variant(service, facts.to)
        return place
    }

    // MARK: Names and paths

    func commit(_ service: ServicePlan) -> String { facts.commits[service.name] ?? facts.commit }
    func commitBefore(_ service: ServicePlan) -> String { facts.commitsBefore[service.name] ?? facts.commitBefore }

    /// What commands of a service find in their environment. Outer levels first; each may use what stands further out.
    func variables(
        _ service: ServicePlan, _ place: Place?, _ stage: Stage? = nil, commit: String? = nil, _ more: [String: Text] = [:]
    ) throws(Problem) -> [String: String] {
        let environment = place.map(\.environment) ?? facts.to
        var own: [String: String] = [
            Variables.name: plan.name, Variables.number: String(facts.number), Variables.service: service.name,
            Variables.environment: environment, Variables.before: from, Variables.commit: commit ?? self.commit(service),
            Variables.commitBefore: commitBefore(service),
        ]
        if let stage { own[Variables.stage] = stage.rawValue }
        if let place, !place.replica.isEmpty { own[Variables.replica] = place.replica }
        let ofEnvironment = plan.environments.first { $0.name == environment }?.env ?? [:]
        for level in [plan.env, ofEnvironment, service.env, place?.env ?? [:], more] {
            let known = facts.variables.merging(own) { _, mine in mine }
            for (name, text) in level { own[name] = try Expansion.text(text, known) }
        }
        if let directory = service.directory {
            own[Variables.directory] = path(try Expansion.text(directory, facts.variables.merging(own) { _, mine in mine }))
        }
        return own
    }

    /// Relative ones begin where the plan lies.
    func path(_ text: String) -> String { text.hasPrefix("/") ? text : facts.folder + "/" + text }

    func directory(_ service: ServicePlan) throws(Problem) -> String {
        try variables(service, nil)[Variables.directory] ?? facts.folder
    }

    func builtFile(_ service: ServicePlan) throws(Problem) -> String {
        if service.directory != nil { return try directory(service) + "/.build-hash" }
        let label = facts.to.isEmpty ? service.name : service.name + "-" + facts.to
        return facts.stateFolder + "/built/" + label
    }

    func expanded(_ text: Text, _ variables: [String: String]) throws(Problem) -> String {
        try Expansion.text(text, facts.variables.merging(variables) { _, mine in mine })
    }

    // MARK: Works

    func commandWork(
        _ command: CommandPlan, _ service: ServicePlan, _ stage: Stage, _ place: Place? = nil, commit: String? = nil
    ) throws(Problem) -> CommandWork {
        let env = try variables(service, place ?? self.place(service), stage, commit: commit, command.env)
        let directory = try command.directory.map { text throws(Problem) in path(try expanded(text, env)) } ?? facts.folder
        return CommandWork(run: command.run, env: env, directory: directory, timeoutMs: command.timeoutMs)
    }

    private func pidFile(_ start: StartPlan, _ service: ServicePlan, _ place: Place) throws(Problem) -> String {
        guard let text = start.pidFile else { return "\(facts.stateFolder)/pids/\(service.name)-\(place.label).pid" }
        return path(try expanded(text, try variables(service, place)))
    }

    func startWork(_ start: StartPlan, _ service: ServicePlan, _ place: Place, _ commit: String) throws(Problem) -> Work {
        let command = try commandWork(start.command, service, .start, place, commit: commit)
        if !start.isProcess { return .command(command) }
        let log = try start.logFile.map { text throws(Problem) in path(try expanded(text, command.env)) }
        return .process(
            ProcessWork(
                run: command.run, env: command.env, directory: command.directory, pidFile: try pidFile(start, service, place),
                logFile: log ?? "\(facts.stateFolder)/logs/\(service.name)-\(place.label).log"))
    }

    func endWork(_ service: ServicePlan, _ place: Place) throws(Problem) -> EndWork {
        var work = EndWork()
        work.signal = service.stop.signal
        work.graceMs = service.stop.graceMs
        if let command = service.stop.command {
            work.command = try commandWork(command, service, .stop, place)
        }
        if let start = service.start, start.isProcess { work.pidFile = try pidFile(start, service, place) }
        return work
    }

    /// One check for each place, or one at all where there are none.
    func probeWork(
        _ probe: ProbePlan, _ service: ServicePlan, _ places: [Place], _ stage: Stage, commit: String? = nil
    ) throws(Problem) -> ProbeWork {
        var work = ProbeWork(checks: [], rhythm: probe.rhythm)
        for place in places.isEmpty ? [self.place(service)] : places {
            let env = try variables(service, place, stage, commit: commit)
            if let request = probe.request { work.checks.append(.request(try check(request, env))) }
            if let command = probe.command {
                work.checks.append(.command(try commandWork(command, service, stage, place, commit: commit)))
            }
            if let start = service.start, start.isProcess, !places.isEmpty {
                work.pidFiles.append(try pidFile(start, service, place))
            }
        }
        return work
    }

    private func check(_ request: RequestPlan, _ env: [String: String]) throws(Problem) -> RequestCheck {
        let url = try expanded(request.url, env)
        guard url.hasPrefix("http://") else {
            throw Problem(
                .badAddress, "found \"\(url.prefix(200))\", expected an address that begins with http://",
                hint: "For another kind use a command: run: curl --fail https://...", pointer: request.url.pointer.text)
        }
        var headers: [String: String] = [:]
        for (name, text) in request.headers { headers[name] = try expanded(text, env) }
        return RequestCheck(
            url: url, host: try request.host.map { text throws(Problem) in try expanded(text, env) },
            timeoutMs: request.timeoutMs,
            statuses: request.statuses, headers: headers,
            body: try request.body.map { text throws(Problem) in try expanded(text, env) })
    }
}
