// `proxyctl rollout start|pause|resume|approve|promote|abort|status|list|show|replay`: releases that proxyd carries out and judges.

import AdminAPI
import ArgumentParser
import CLinux

struct RolloutVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollout", abstract: "Release a variant step by step; proxyd judges it and goes back by itself.",
        discussion: """
            A rollout lives in proxyd: it goes on when this terminal is gone, and after a restart.
              proxyctl rollout start green --steps 5,25,50,100 --interval 60s --reason "release 42"
              proxyctl rollout status --watch
            With --watch the exit status is 0 when it succeeds and 1 when it ends otherwise.
            """,
        subcommands: [
            RolloutStartVerb.self, RolloutStatusVerb.self, RolloutPauseVerb.self, RolloutResumeVerb.self, RolloutApproveVerb.self,
            RolloutPromoteVerb.self, RolloutAbortVerb.self, RolloutListVerb.self, RolloutShowVerb.self, RolloutReplayVerb.self,
        ])
}

struct RolloutStartVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "start", abstract: "Begin a rollout to a variant.",
        discussion: """
            Without --policy the defaults stand: 5, 25, 50 and 100 percent, a minute each, guards, a bake time of five minutes.
            Options beside --policy change that policy for this rollout alone.
            """)

    @Argument(help: "The variant that is to have everything.", completion: Completions.variants)
    var variant: String

    @Option(help: "The split, where several have the variant.", completion: Completions.splits)
    var split: String?

    @Option(help: ArgumentHelp("A policy that proxyd keeps, or a file: YAML or JSON.", valueName: "name or file"), completion: .file())
    var policy: String?

    @Option(
        help: ArgumentHelp("How traffic moves: blue-green, canary, rolling or ab.", valueName: "strategy"),
        completion: .list(["blue-green", "canary", "rolling", "ab"]))
    var strategy: String?

    @Option(help: ArgumentHelp("Shares in percent, such as 5,25,50,100.", valueName: "percents"))
    var steps: String?

    @Option(help: ArgumentHelp("How long each step is looked at.", valueName: "time"))
    var interval: String?

    @Option(help: ArgumentHelp("How long guards stand when it has everything.", valueName: "time"))
    var bake: String?

    @Flag(help: "It leads back from a release that failed: whatever is found, it is not rolled back again.")
    var wayBack = false

    @Flag(name: .shortAndLong, help: "Follow it to its end; exit status 1 unless it succeeds.")
    var watch = false

    @OptionGroup var write: WriteOptions

    func validate() throws {
        for (name, time) in [("--interval", interval), ("--bake", bake)] where time.map({ Words.milliseconds($0) == nil }) ?? false {
            throw ValidationError("\(name): a time is 30s, 500ms or 1m30s")
        }
        if let steps, Self.percents(steps) == nil { throw ValidationError("--steps: percentages such as 5,25,50,100") }
    }

    private static func percents(_ text: String) -> [JSON]? {
        let numbers = text.split(separator: ",", omittingEmptySubsequences: false).map { Int64($0.filter { $0 != " " && $0 != "%" }) }
        return numbers.contains { $0 == nil } ? nil : numbers.compactMap { $0.map { .integer($0) } }
    }

    func run() throws {
        let client = try write.server.client()
        let source = try PolicySource(policy)
        let name = try split ?? RunningNames.read(client).split(with: variant, named: nil).name
        var body = JSON.members(["split": .string(name), "to": .string(variant)])
        if wayBack { body = body.merging(.members(["way_back": true])) }
        body = body.merging(.members(["policy": try wanted(source, client)]))
        var request = write.request("POST", ["rollouts"])
        request.body = body.bytes(pretty: false)
        let answer = try source.located(try client.send(request), below: "/policy")
        if write.dryRun { return write.server.json ? Output.document(answer.body) : Output.lines(try PlanText.lines(answer)) }
        if write.server.json { Output.document(answer.body) }
        let json = try answer.json
        if !write.server.json { Output.lines(RolloutText.started(json)) }
        guard watch, let number = json["number"]?.integer else { return }
        try RolloutWatch(number: number, server: write.server, client: client).run()
    }

    /// Nil: the server's default.
    private func wanted(_ source: PolicySource, _ client: AdminClient) throws(Failure) -> JSON? {
        var changes: [JSON.Member] = []
        if let strategy { changes.append(.init("strategy", .string(strategy))) }
        if let steps { changes.append(.init("steps", .array(Self.percents(steps) ?? []))) }
        if let interval { changes.append(.init("interval", .string(interval))) }
        if let bake { changes.append(.init("bake", .string(bake))) }
        if changes.isEmpty { return source.reference }
        guard case .object(let members) = try source.whole(client) else { return source.reference }
        // What depends on them follows them.
        var dropped = Set(changes.map(\.name))
        if interval != nil { dropped.insert("warm_up") }
        if strategy != nil { dropped.insert("steps") }
        if steps != nil || strategy != nil { dropped.insert("approval_steps") }
        return .object((members.filter { !dropped.contains($0.name) } + changes).sorted { $0.name < $1.name })
    }
}

/// Where a policy comes from.
struct PolicySource {
    private let name: String?
    private let document: YAMLDocument?

    init(_ text: String?) throws(Failure) {
        guard let text else {
            (name, document) = (nil, nil)
            return
        }
        let isFile = text == "-" || text.contains("/") || [".yaml", ".yml", ".json"].contains { text.hasSuffix($0) }
        name = isFile ? nil : text
        document = isFile ? try YAMLDocument.read(try TextFile.read(text), file: text) : nil
    }

    /// As a request names it; nil: the default.
    var reference: JSON? { document?.json ?? name.map { .string($0) } }

    /// All its fields.
    func whole(_ client: AdminClient) throws(Failure) -> JSON {
        if let document { return document.json }
        guard let name else { return .members(["name": "unnamed"]) }
        return try client.send(AdminRequest("GET", ["policies", name])).orProblem().json
    }

    /// The name that the file gives it.
    var ownName: String? { document?.json["name"]?.string }

    /// A refusal of what stands in the file is told by its place there.
    func located(_ answer: AdminAnswer, below pointer: String) throws(Failure) -> AdminAnswer {
        guard let document, answer.isProblem, let json = try? answer.json, var problem = try? Problem(json: json), problem.status == 422,
            let place = problem.pointer, place.hasPrefix(pointer)
        else { return try answer.orProblem() }
        problem.pointer = String(place.dropFirst(pointer.utf8.count))
        throw document.failure(problem)
    }
}

/// Which rollout is meant: the number, or the only one that lives.
struct RolloutChoice: ParsableArguments {
    @Argument(help: "The number of a rollout; may be left out where one lives only.")
    var number: UInt64?

    @Option(help: "Of this split.", completion: Completions.splits)
    var split: String?

    static func list(_ client: AdminClient) throws(Failure) -> [JSON] {
        try client.send(AdminRequest("GET", ["rollouts"])).orProblem().json["rollouts"]?.array ?? []
    }

    /// - Parameter isLive: only one that lives will do; else the newest, if none does.
    func resolved(_ client: AdminClient, isLive: Bool) throws(Failure) -> Int64 {
        if let number { return Int64(clamping: number) }
        let all = try Self.list(client).filter { split == nil || $0["split"]?.string == split }
        let live = all.filter { !RolloutText.isOver($0) }
        if live.count == 1, let one = live[0]["number"]?.integer { return one }
        if live.count > 1 {
            throw Failure(.usage, "several rollouts live:\n" + RolloutText.table(live).joined(separator: "\n"), hint: "Say which one.")
        }
        if !isLive, let newest = all.first?["number"]?.integer { return newest }
        throw Failure(.usage, isLive ? "no rollout lives" : "there has been no rollout", hint: "`proxyctl rollout start VARIANT` begins one.")
    }
}

struct RolloutStatusVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show how a rollout does: its share, the figures of both variants, what it has said.",
        discussion: "With --watch until it ends: exit status 0 when it has succeeded, 1 otherwise.")

    @Flag(name: .shortAndLong, help: "Follow it to its end.")
    var watch = false

    @OptionGroup var choice: RolloutChoice
    @OptionGroup var server: ServerOptions

    func run() throws {
        let client = try server.client()
        let number = try choice.resolved(client, isLive: false)
        if watch { return try RolloutWatch(number: number, server: server, client: client).run() }
        let answer = try client.send(AdminRequest("GET", ["rollouts", String(number)])).orProblem()
        if server.json { return Output.document(answer.body) }
        Output.lines(RolloutText.status(try answer.json, isColoured: Output.isColoured))
    }
}

/// Follows a rollout to its end.
struct RolloutWatch {
    var number: Int64
    var server: ServerOptions
    var client: AdminClient

    private static let pauseMs: Int32 = 500

    /// - Throws: `refused`, when it ends otherwise than well.
    func run() throws(Failure) {
        var said = 0
        while true {
            let json: JSON
            do throws(Failure) { json = try client.send(AdminRequest("GET", ["rollouts", String(number)])).orProblem().json } catch {
                // It goes on while proxyd restarts, and so does this.
                if error.status != .unreachable { throw error }
                Output.error("proxyctl: \(error.text); trying again")
                clinux_sleep_ms(Self.pauseMs * 2)
                continue
            }
            said = show(json, said)
            if RolloutText.isOver(json) {
                if json["phase"]?.string == "succeeded" { return }
                throw Failure(.refused, "rollout \(number) \(RolloutText.phase(json))", hint: "`proxyctl rollout show \(number)` tells all of it.")
            }
            clinux_sleep_ms(Self.pauseMs)
        }
    }

    /// On a terminal the table in its place; elsewhere each entry once. Returns how many were shown.
    private func show(_ json: JSON, _ said: Int) -> Int {
        let entries = json["entries"]?.array ?? []
        if Output.isTerminal, !server.json {
            Output.clear()
            Output.lines(RolloutText.status(json, isColoured: Output.isColoured))
        } else {
            for entry in entries.dropFirst(said) { Output.line(server.json ? entry.text(pretty: false) : RolloutText.line(entry)) }
        }
        return entries.count
    }
}

struct RolloutListVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List rollouts, newest first.")

    @OptionGroup var server: ServerOptions

    func run() throws {
        let answer = try server.client().send(AdminRequest("GET", ["rollouts"])).orProblem()
        if server.json { return Output.document(answer.body) }
        let all = try answer.json["rollouts"]?.array ?? []
        Output.lines(all.isEmpty ? ["There has been no rollout."] : RolloutText.table(all, isColoured: Output.isColoured))
    }
}

struct RolloutShowVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show everything a rollout said, with the figures it saw.")

    @OptionGroup var choice: RolloutChoice
    @OptionGroup var server: ServerOptions

    func run() throws {
        let client = try server.client()
        let number = try choice.resolved(client, isLive: false)
        let answer = try client.send(AdminRequest("GET", ["rollouts", String(number)])).orProblem()
        if server.json { return Output.document(answer.body) }
        Output.lines(RolloutText.whole(try answer.json, isColoured: Output.isColoured))
    }
}

struct RolloutReplayVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay", abstract: "Tell what another policy would have done on the figures of a rollout.",
        discussion: "It changes nothing. Traffic that the other policy would have sent elsewhere is not invented.")

    @Option(help: ArgumentHelp("A policy that proxyd keeps, or a file: YAML or JSON.", valueName: "name or file"), completion: .file())
    var policy: String

    @OptionGroup var choice: RolloutChoice
    @OptionGroup var server: ServerOptions

    func run() throws {
        let client = try server.client()
        let source = try PolicySource(policy)
        let number = try choice.resolved(client, isLive: false)
        var request = AdminRequest("POST", ["rollouts", String(number), "replay"])
        request.body = JSON.members(["policy": source.reference]).bytes(pretty: false)
        let answer = try source.located(try client.send(request), below: "/policy")
        if server.json { return Output.document(answer.body) }
        Output.lines(RolloutText.replay(try answer.json))
    }
}
