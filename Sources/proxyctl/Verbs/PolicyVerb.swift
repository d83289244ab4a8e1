// `proxyctl policy put|get|list|delete`: policies of rollouts that proxyd keeps by name.

import AdminAPI
import ArgumentParser

struct PolicyVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "Keep policies of rollouts by name.",
        subcommands: [PolicyPutVerb.self, PolicyGetVerb.self, PolicyListVerb.self, PolicyDeleteVerb.self])
}

struct PolicyPutVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Keep the policy of a file: YAML or JSON.",
        discussion: "What is wrong in it is told by file, line and column. With --dry-run it is only checked.")

    @Argument(help: "The file.", completion: .file())
    var file: String

    @Option(help: "Its name; else that in the file.")
    var name: String?

    @OptionGroup var write: WriteOptions

    func run() throws {
        let source = try PolicySource(file == "-" || file.contains("/") ? file : "./" + file)
        guard let name = name ?? source.ownName else { throw Failure(.usage, "\(file) has no \"name\"", hint: "Give one with --name.") }
        guard case .object(let members) = source.reference else { throw Failure(.usage, "\(file): expected the fields of a policy") }
        var request = write.request("PUT", ["policies", name])
        request.body = JSON.object(members.filter { $0.name != "name" }).bytes(pretty: false)
        let answer = try source.located(try write.server.client().send(request), below: "")
        if write.server.json { return Output.document(answer.body) }
        Output.line(write.dryRun ? "The policy \(name) is good." : "The policy \(name) is kept.")
    }
}

struct PolicyGetVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "get", abstract: "Print a policy with all its fields, as JSON.")

    @Argument(help: "Its name.", completion: Completions.policies)
    var name: String

    @OptionGroup var server: ServerOptions

    func run() throws {
        Output.document(try server.client().send(AdminRequest("GET", ["policies", name])).orProblem().body)
    }
}

struct PolicyListVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "List the policies.")

    @OptionGroup var server: ServerOptions

    func run() throws {
        let answer = try server.client().send(AdminRequest("GET", ["policies"])).orProblem()
        if server.json { return Output.document(answer.body) }
        let all = try answer.json["policies"]?.array ?? []
        Output.lines(all.isEmpty ? ["No policy is kept."] : RolloutText.policies(all, isColoured: Output.isColoured))
    }
}

struct PolicyDeleteVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete", abstract: "Forget a policy. Rollouts that live keep theirs.")

    @Argument(help: "Its name.", completion: Completions.policies)
    var name: String

    @OptionGroup var write: WriteOptions

    func run() throws {
        let answer = try write.server.client().send(write.request("DELETE", ["policies", name])).orProblem()
        if write.server.json { return Output.document(answer.body) }
        Output.line(write.dryRun ? "The policy \(name) would be forgotten." : "The policy \(name) is forgotten.")
    }
}
