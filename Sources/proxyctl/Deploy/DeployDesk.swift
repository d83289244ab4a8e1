// What all verbs of a deploy need first: the plan with its file, the state folder, who asks, what runs in the proxy.
// Used by the verbs. Reading only; the lock is taken by whoever changes something.

import AdminAPI
import ArgumentParser
import CLinux
import Deploy
import Glibc

/// Of every verb below `deploy`.
struct DeployOptions: ParsableArguments {
    @Option(
        name: [.short, .long], help: ArgumentHelp("The plan.", valueName: "file"), completion: .file(extensions: ["yaml", "yml"]))
    var file = "deploy.yaml"

    @OptionGroup var server: ServerOptions

    func desk() throws(Failure) -> DeployDesk { try DeployDesk(file) }
}

struct DeployDesk {
    let document: YAMLDocument
    let plan: DeployPlan
    /// Where the plan lies, absolute.
    let base: String
    let folder: DeployFolder

    init(_ file: String) throws(Failure) {
        document = try YAMLDocument.read(try TextFile.read(file), file: file)
        let path = Files.absolute(file)
        base = path.lastIndex(of: "/").map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "/"
        do throws(Problem) {
            plan = try DeployPlan(decoding: try Expansion.document(document.json, Spawn.variables))
        } catch {
            throw document.failure(error)
        }
        folder = DeployFolder(plan.state.hasPrefix("/") ? plan.state : base + "/" + plan.state)
    }

    /// The problem with its line, or without one where it is about what runs.
    func checked<Value>(_ body: () throws(Problem) -> Value) throws(Failure) -> Value {
        do throws(Problem) { return try body() } catch {
            var failure = document.failure(error)
            if error.pointer == nil { failure.text = Words.printable(error.detail) }
            if error.kind == .conflict { failure.status = .refused }
            throw failure
        }
    }

    static var who: String {
        let name =
            Output.environment("SUDO_USER") ?? Output.environment("USER") ?? Output.environment("LOGNAME") ?? "user \(getuid())"
        var host = [CChar](repeating: 0, count: 256)
        gethostname(&host, 255)
        return name + "@" + String(decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    // MARK: What runs

    func facts(number: Int, _ machines: [DeployMachine], _ client: AdminClient) throws(Failure) -> DeployFacts {
        var facts = DeployFacts()
        facts.number = number
        facts.folder = base
        facts.stateFolder = folder.path
        facts.variables = Spawn.variables
        facts.commitBefore = machines.last { $0.isDone }?.record.commit ?? ""
        let versions = Self.versions(machines)
        facts.commitsBefore = versions.mapValues(\.now)
        if plan.services.contains(where: \.asksProxy) {
            let names = try RunningNames.read(client)
            facts.splits = names.splits
            facts.servers = names.upstreams
        }
        for machine in machines where machine.isDone {
            switch machine.record.kind {
            case .deploy where machine.record.keepsOld: facts.waysBack.formUnion(machine.record.services)
            case .deploy, .rollback, .finish: facts.waysBack.subtract(machine.record.services)
            }
        }
        for service in plan.services {
            guard case .site(let link) = service.kind else { continue }
            let text = try checked { () throws(Problem) in try Expansion.text(link, Spawn.variables) }
            facts.links[service.name] = Files.link(text.hasPrefix("/") ? text : base + "/" + text) ?? ""
        }
        return facts
    }

    /// What each service runs by the history, and what it ran before.
    static func versions(_ machines: [DeployMachine]) -> [String: (now: String, before: String)] {
        var result: [String: (now: String, before: String)] = [:]
        for machine in machines where machine.isDone {
            for service in machine.record.services {
                let was = result[service] ?? ("", "")
                switch machine.record.kind {
                case .deploy: result[service] = (machine.record.commit, was.now)
                case .rollback: result[service] = (was.before, was.now)
                case .finish: break
                }
            }
        }
        return result
    }

    /// The environment that nothing is sent to, where there is exactly one.
    func idleEnvironment(_ facts: DeployFacts) throws(Failure) -> String {
        if !plan.services.contains(where: \.isSplit) { return plan.environments.first?.name ?? "" }
        let serving = plan.environments.filter { environment in
            plan.services.contains { service in
                guard case .split(let split, let variants) = service.kind else { return false }
                return facts.splits[split]?[variants[environment.name] ?? environment.name] ?? 0 > 0
            }
        }
        let idle = plan.environments.filter { one in !serving.contains { $0.name == one.name } }
        if let one = idle.first, idle.count == 1 { return one.name }
        throw Failure(.usage, "say where to: --to " + plan.environments.map(\.name).joined(separator: " or "))
    }

    /// Where the version that runs has died, its users may be served by the other environment, as its backup. What ends the version there to
    /// start another one would cut them off.
    func refuseOverBackup(_ services: [String], _ facts: DeployFacts, _ client: AdminClient) throws(Failure) {
        let started = plan.services.filter { services.contains($0.name) && $0.isSplit && $0.start != nil }
        if started.isEmpty { return }
        let status = try client.send(AdminRequest("GET", ["status"])).orProblem().decoded(Status.self)
        func servers(_ upstream: String) -> [ServerStatus] { status.upstreams.first { $0.name == upstream }?.servers ?? [] }
        for service in started {
            guard case .split(let split, let variants) = service.kind else { continue }
            let target = variants[facts.to] ?? facts.to
            let ends = Set(servers(target).filter { !$0.backup }.map(\.server))
            for (variant, weight) in facts.splits[split] ?? [:] where weight > 0 && variant != target {
                let all = servers(variant)
                if all.contains(where: { !$0.backup && $0.isUp }) || !all.contains(where: { $0.backup && $0.isUp && ends.contains($0.server) }) {
                    continue
                }
                throw Failure(
                    .refused, "no server of \(variant) is up, and \(target) serves its users as the backup: nothing was begun",
                    hint: "`proxyctl switch \(target) --split \(split)` makes that right; then \(service.name) is deployed to the other environment.")
            }
        }
    }

    /// What the plan's `commit` prints: one word.
    func commit() throws(Failure) -> String {
        guard let command = plan.commit else { return "" }
        let base = folder.path + "/commit"
        unlink(base + ".log")
        let runner = CommandRunner(base: base) { Interrupt.isAsked }
        let env = command.env.mapValues(\.raw)
        let directory = command.directory.map { $0.raw.hasPrefix("/") ? $0.raw : self.base + "/" + $0.raw } ?? self.base
        let end = try runner.run(CommandWork(run: command.run, env: env, directory: directory, timeoutMs: command.timeoutMs))
        let word = (runner.tail(1).last ?? "").trimmed
        let isWord = !word.isEmpty && word.utf8.count <= 100 && !word.contains { $0.isWhitespace || $0 == "/" || $0 == "\"" }
        if end == .status(0), isWord { return word }
        throw Failure(.refused, "the command of `commit` said no one word: \(word)", hint: command.run)
    }

    func notifier() throws(Failure) -> Notifier? {
        guard let plan = plan.notify else { return nil }
        return try checked { () throws(Problem) in
            let url = try Expansion.text(plan.url, Spawn.variables)
            if !url.hasPrefix("http://"), !url.hasPrefix("https://") {
                throw Problem(
                    .badAddress, "found no address that begins with http:// or https://", pointer: plan.url.pointer.text)
            }
            var headers: [(name: String, value: String)] = []
            for (name, text) in plan.headers { headers.append((name, try Expansion.text(text, Spawn.variables))) }
            return Notifier(plan, url: url, headers: headers)
        }
    }

    /// The deploy that was begun and not ended; nil: none.
    static func unfinished(_ machines: [DeployMachine]) -> DeployMachine? { machines.last { !$0.isEnded } }

    static func place(_ machine: DeployMachine) -> String {
        let steps = machine.record.steps
        return steps.indices.contains(machine.cursor) ? "it got to \"\(steps[machine.cursor].title)\"" : "all its steps are done"
    }
}

extension DeployMachine {
    /// Its version serves, or served.
    var isDone: Bool { phase == .ended(.done) || phase == .ended(.incomplete) }
}

extension ServicePlan {
    var isSplit: Bool { if case .split = kind { true } else { false } }
    var asksProxy: Bool { if case .site = kind { false } else { true } }
}
