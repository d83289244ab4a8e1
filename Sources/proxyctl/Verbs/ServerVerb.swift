// `proxyctl server add|remove|drain|down|up UPSTREAM SERVER`: one server of a pool.

import AdminAPI
import ArgumentParser

struct ServerVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "server", abstract: "Add or remove a server of a pool, or take it in and out of service.",
        subcommands: [ServerAddVerb.self, ServerRemoveVerb.self, ServerDrainVerb.self, ServerDownVerb.self, ServerUpVerb.self])
}

/// What every verb of a server names.
struct NamedServer: ParsableArguments {
    @Argument(help: "An upstream.", completion: Completions.upstreams)
    var upstream: String

    @Argument(help: "A server of it, by address (127.0.0.1:3001, unix:/path) or id.", completion: Completions.servers)
    var server: String

    var segments: [String] { ["upstreams", upstream, "servers", server] }

    /// Sets fields of it, and leaves the others.
    func patch(_ fields: KeyValuePairs<String, JSON?>, _ write: WriteOptions) throws(Failure) {
        var request = write.request("PATCH", segments)
        request.body = JSON.members(fields).bytes(pretty: false)
        try write.perform(request, try write.server.client())
    }
}

struct ServerAddVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "add", abstract: "Add a server to a pool.",
        discussion: "  proxyctl server add blue 127.0.0.1:3003 --weight 2 --max-fails 3 --fail-timeout 30s")

    @Argument(help: "An upstream.", completion: Completions.upstreams)
    var upstream: String

    @Argument(help: "Its address: host:port, [IPv6]:port or unix:/path.")
    var address: String

    @Option(help: "Its share among the servers; 0 takes no new requests.") var weight: Int?
    @Option(help: "At most so many connections at once; 0: any number.") var maxConns: Int?
    @Option(help: "After so many failures it is left alone for the fail timeout; 0: never.") var maxFails: Int?
    @Option(help: ArgumentHelp("The time in which failures count, and for which it is left alone.", valueName: "time"))
    var failTimeout: String?
    @Option(help: ArgumentHelp("The time in which its share grows when it is new or has recovered.", valueName: "time"))
    var slowStart: String?
    @Flag(help: "Serves only when the others do not.") var backup = false
    @Flag(help: "Begins out of service; `server up` takes it in.") var down = false

    @OptionGroup var write: WriteOptions

    func run() throws {
        var request = write.request("POST", ["upstreams", upstream, "servers"])
        request.body = JSON.members([
            "server": .string(address), "weight": weight.map { .integer(Int64($0)) },
            "max_conns": maxConns.map { .integer(Int64($0)) },
            "max_fails": maxFails.map { .integer(Int64($0)) }, "fail_timeout": failTimeout.map { .string($0) },
            "slow_start": slowStart.map { .string($0) }, "backup": backup ? true : nil, "down": down ? true : nil,
        ]).bytes(pretty: false)
        try write.perform(request, try write.server.client())
    }
}

struct ServerRemoveVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "remove", abstract: "Remove a server from its pool.", discussion: "Requests in flight there end there.")

    @OptionGroup var named: NamedServer
    @OptionGroup var write: WriteOptions

    func run() throws {
        try write.perform(write.request("DELETE", named.segments), try write.server.client())
    }
}

struct ServerDrainVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Leave a server only the users that are stuck to it.")

    @OptionGroup var named: NamedServer
    @OptionGroup var write: WriteOptions

    func run() throws { try named.patch(["drain": true], write) }
}

struct ServerDownVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "down", abstract: "Take a server out of service.", discussion: "Requests in flight there end there.")

    @OptionGroup var named: NamedServer
    @OptionGroup var write: WriteOptions

    func run() throws { try named.patch(["down": true], write) }
}

struct ServerUpVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "up", abstract: "Take a server into service: neither down nor draining.")

    @OptionGroup var named: NamedServer

    @Option(help: "Give it this weight, too.")
    var weight: Int?

    @OptionGroup var write: WriteOptions

    func run() throws {
        try named.patch(["down": false, "drain": false, "weight": weight.map { .integer(Int64($0)) }], write)
    }
}
