// `proxyctl drain UPSTREAM`: takes a whole pool out of service, gently.

import ArgumentParser

struct DrainVerb: WritingVerb {
    static let configuration = CommandConfiguration(
        commandName: "drain", abstract: "Give a pool no new users, and close its long-lived connections evenly.",
        discussion: """
            With --wait the exit status is 0 once nothing is in flight there, and 1 if something still is after the timeout.
              proxyctl drain blue --timeout 2m --wait && systemctl stop blue
            """)

    @Argument(help: "An upstream.", completion: Completions.upstreams)
    var upstream: String

    @Option(help: ArgumentHelp("Over what time long-lived connections are closed.", valueName: "time"))
    var timeout = "30s"

    @Flag(help: "Wait until nothing is in flight there.")
    var wait = false

    @OptionGroup var write: WriteOptions

    /// What the server may take beyond the timeout.
    static let graceMs = 15_000

    func validate() throws {
        if Words.milliseconds(timeout) == nil { throw ValidationError("--timeout: a time is 30s, 500ms or 1m30s") }
    }

    func run() throws {
        let client = try write.server.client()
        var request = write.request("POST", ["upstreams", upstream, "drain"])
        request.query.append(("timeout", timeout))
        if wait, !write.dryRun {
            request.query.append(("wait", "1"))
            request.timeoutMs = Int(Words.milliseconds(timeout) ?? 0) + Self.graceMs
        }
        guard let written = try write.perform(request, client), wait else { return }
        if written.status == 202 {
            throw Failure(
                .refused, "\(upstream) still has requests in flight after \(timeout)",
                hint: "They go on; `proxyctl status` shows them.")
        }
        if !write.server.json { Output.line("Nothing is in flight in \(upstream).") }
    }
}
