// `proxyctl status`: what runs, and how it does.

import AdminAPI
import ArgumentParser
import CLinux

struct StatusVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "status", abstract: "Show variants and their shares, servers and their health.",
        discussion: "With --watch there are requests and errors a second, between one table and the next.")

    @Option(
        name: .shortAndLong, defaultAsFlag: 1, parsing: .next,
        help: ArgumentHelp("Show it anew every so many seconds, until Control-C.", valueName: "seconds"))
    var watch: Double?

    @Option(help: "With --watch: end after so many tables.")
    var count: Int?

    @OptionGroup var server: ServerOptions

    func validate() throws {
        if let watch, !(0.05...86_400).contains(watch) { throw ValidationError("--watch: from 0.05 to 86400 seconds") }
        if let count, count < 1 { throw ValidationError("--count: at least 1") }
        if count != nil && watch == nil { throw ValidationError("--count goes with --watch") }
    }

    func run() throws {
        let client = try server.client()
        var previous = try show(client, since: nil, isFirst: true)
        guard let watch else { return }
        var shown = 1
        while shown < count ?? Int.max {
            clinux_sleep_ms(Int32(watch * 1000))
            do throws(Failure) {
                previous = try show(client, since: previous, isFirst: false)
            } catch {
                // Whoever watches a restart wants to see its end.
                if error.status != .unreachable { throw error }
                Output.error("proxyctl: \(error.text)")
            }
            shown += 1
        }
    }

    private func show(_ client: AdminClient, since previous: Status?, isFirst: Bool) throws(Failure) -> Status? {
        let answer = try client.send(AdminRequest("GET", ["status"])).orProblem()
        if server.json {
            Output.document(answer.body)
            return nil
        }
        let status = try answer.decoded(Status.self)
        if watch != nil { Output.clear() }
        let lines = StatusText.lines(status, since: previous, isColoured: Output.isColoured)
        Output.lines(isFirst || Output.isTerminal ? lines : [""] + lines)
        return status
    }
}
