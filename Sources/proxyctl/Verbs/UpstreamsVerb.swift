// `proxyctl upstreams get|put|edit`: all pools and splits as one document.

import AdminAPI
import ArgumentParser

struct UpstreamsVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upstreams", abstract: "Read, replace or edit all pools and splits as one document.",
        subcommands: [UpstreamsGetVerb.self, UpstreamsPutVerb.self, UpstreamsEditVerb.self])
}

struct UpstreamsGetVerb: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "get", abstract: "Print all pools and splits, or one pool.")

    @Argument(help: "One upstream; else all.", completion: Completions.upstreams)
    var upstream: String?

    @OptionGroup var server: ServerOptions

    func run() throws {
        let request = AdminRequest("GET", ["upstreams"] + (upstream.map { [$0] } ?? []))
        Output.document(try server.client().send(request).orProblem().body)
    }
}

struct UpstreamsPutVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "put", abstract: "Replace all pools and splits by those of a file.",
        discussion: """
            A file of `upstreams get` names the revision it was read at, and is refused if that is no longer the current one
            (exit status 4), unless --any-revision.
              proxyctl upstreams get > pools.json
              proxyctl upstreams put pools.json --reason "two more servers"
            """)

    @Argument(help: "A file; - for standard input.", completion: .file(extensions: ["json"]))
    var file: String

    @Flag(help: "Whatever the revision is now.")
    var anyRevision = false

    @OptionGroup var waiting: WaitOptions
    @OptionGroup var write: WriteOptions

    func run() throws {
        let document = StateDocument(try TextFile.read(file))
        let client = try write.server.client()
        var request = write.request("PUT", ["upstreams"], readAt: anyRevision ? nil : document.revision)
        request.body = document.bytes
        try waiting.finish(try write.perform(request, client), write.server, client)
    }
}

/// A state as a person has it in a file: JSON, and above it lines that begin with `#`.
struct StateDocument {
    let bytes: [UInt8]
    /// The one it was read at, as told beside it or by itself.
    let revision: UInt64?

    init(_ file: [UInt8], revision told: UInt64? = nil) {
        var rest = file[...]
        while rest.first == UInt8(ascii: "#") {
            let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? rest.endIndex - 1
            rest = rest[(end + 1)...]
        }
        bytes = Array(rest)
        let own = (try? JSON.parse(bytes))?["revision"]?.integer
        revision = told ?? own.flatMap { UInt64(exactly: $0) }
    }

    /// With `words` above it, as lines that are no part of it.
    func below(_ words: String) -> [UInt8] {
        let lines = words.split(separator: "\n", omittingEmptySubsequences: false).map { $0.isEmpty ? "#\n" : "# \($0)\n" }
        return Array(lines.joined().utf8) + bytes
    }
}
