// `proxyctl events`: what happens, as it happens.

import AdminAPI
import ArgumentParser
import CLinux

struct EventsVerb: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "events", abstract: "Print what happens as it happens: changes, drains, failing servers.",
        discussion: "Where the connection ends it takes up again where it was. With --json a line is the JSON of an event.")

    @Option(name: .shortAndLong, help: "End after so many events.")
    var count: Int?

    @Option(help: ArgumentHelp("Begin behind the event of this id.", valueName: "id"))
    var after: UInt64?

    @OptionGroup var server: ServerOptions

    /// Before a new connection, unless the server says otherwise.
    static let pauseMs: Int64 = 1000
    static let pauseMsMax: Int64 = 60_000

    func validate() throws {
        if let count, count < 1 { throw ValidationError("--count: at least 1") }
    }

    func run() throws {
        let client = try server.client()
        var reader = EventReader()
        var left = count ?? Int.max
        var hasConnected = false
        while true {
            var request = AdminRequest("GET", ["events"])
            request.fields.append(("Accept", "text/event-stream"))
            if let last = reader.lastID ?? after.map(String.init) { request.fields.append(("Last-Event-ID", last)) }
            // Silence is not the end: nothing may happen for days.
            request.timeoutMs = Int(Int32.max)
            reader.reset()
            var loss = "the server ended the stream"
            do throws(Failure) {
                let answer = try client.stream(request) { piece throws(Failure) in
                    hasConnected = true
                    for message in reader.feed(piece) where left > 0 {
                        left -= 1
                        Output.line(server.json ? message.data : Self.line(message))
                    }
                    if reader.isTooLong { throw Failure(.refused, "the server sends an event that is too long") }
                    return left > 0
                }
                _ = try answer.orProblem()
            } catch {
                if !hasConnected || error.status != .unreachable { throw error }
                loss = error.text
            }
            if left <= 0 { return }
            hasConnected = true
            Output.error("proxyctl: \(loss); trying again")
            clinux_sleep_ms(Int32(min(max(reader.retryMs ?? Self.pauseMs, 10), Self.pauseMsMax)))
        }
    }

    private static func line(_ message: EventReader.Message) -> String {
        guard let json = try? JSON.parse(message.data), let event = try? Event(json: json) else {
            return Words.printable(message.data)
        }
        let cells = [Words.moment(ms: event.atMs), "\(event.revision)", event.kind.rawValue, event.subject, event.text]
        return cells.filter { !$0.isEmpty }.map(Words.printable).joined(separator: "  ")
    }
}
