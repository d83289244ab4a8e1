// proxyctl: what an operator types to see and change a running proxyd. Here are the list of verbs and the exit status.
// A verb is a file of Verbs; it talks to the admin API through Options and AdminClient.

import ArgumentParser
import Glibc

@main struct Proxyctl: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "proxyctl",
        abstract: "See and change a running proxyd: shares of traffic, pools, history.",
        usage: "proxyctl VERB ... [--admin ADDRESS]",
        discussion: """
            proxyctl speaks to proxyd's admin API: a unix socket in its state folder, or
            an admin location (--admin http://host:port/prefix).

            EXIT STATUS:
              0  done
              1  refused by the server, or a receipt that is not good, or a wait in vain
              2  not understood: arguments, a name that fits nothing or several things
              3  not reachable: nobody listens, no answer in time, or no admin API
              4  lost a race: somebody else changed something first; nothing was done

            ENVIRONMENT:
              PROXYCTL_ADMIN, PROXYCTL_TOKEN   for --admin and --token
              NO_COLOR                         no colours
              VISUAL, EDITOR                   what `upstreams edit` opens

            COMPLETION of verbs and names, for bash, zsh or fish:
              proxyctl --generate-completion-script bash
            """,
        groupedSubcommands: [
            CommandGroup(
                name: "Traffic",
                subcommands: [
                    WeightVerb.self, SwitchVerb.self, UndoVerb.self, RestoreVerb.self, HoldVerb.self, ReleaseVerb.self,
                    DrainVerb.self,
                ]),
            CommandGroup(name: "Releases", subcommands: [DeployVerb.self, RolloutVerb.self, PolicyVerb.self, FailoverVerb.self, BackupVerb.self]),
            CommandGroup(name: "Pools", subcommands: [UpstreamsVerb.self, ServerVerb.self, ReloadVerb.self]),
            CommandGroup(name: "TLS", subcommands: [CertVerb.self]),
            CommandGroup(
                name: "Looking",
                subcommands: [
                    StatusVerb.self, HistoryVerb.self, ShowVerb.self, DiffVerb.self, ReceiptVerb.self, ExportVerb.self,
                    EventsVerb.self, PlanVerb.self,
                ]),
        ])

    static func main() {
        let status = perform(Array(CommandLine.arguments.dropFirst()))
        if status == .done, let words = Output.failure {
            Output.error("proxyctl: it is done, but standard output has not taken all of it: \(words)")
            Glibc.exit(ExitStatus.refused.rawValue)
        }
        Glibc.exit(status.rawValue)
    }

    private static func perform(_ words: [String]) -> ExitStatus {
        do {
            var verb = try command(words)
            try verb.run()
            return .done
        } catch let failure as Failure {
            return say(failure, isJSON: words.contains("--json"))
        } catch {
            let text = fullMessage(for: error)
            if exitCode(for: error).isSuccess {
                Output.line(text)
                return .done
            }
            Output.error(text)
            return .usage
        }
    }

    /// The verb that `words` name. Options that verbs share may stand in front of it, too.
    static func command(_ words: [String]) throws -> any ParsableCommand {
        let valued: Set = ["--admin", "--token", "--token-file", "--reason", "--if-match"]
        let single: Set = ["--json", "--dry-run"]
        var rest = words[...]
        var moved: [String] = []
        while let word = rest.first {
            let name = String(word.prefix { $0 != "=" })
            let count = single.contains(word) || (valued.contains(name) && name != word) ? 1 : valued.contains(word) ? 2 : 0
            if count == 0 || rest.count < count { break }
            moved += rest.prefix(count)
            rest = rest.dropFirst(count)
        }
        if rest.isEmpty { return try parseAsRoot(words) }
        let end = rest.firstIndex(of: "--") ?? rest.endIndex
        return try parseAsRoot(Array(rest[..<end]) + moved + rest[end...])
    }

    private static func say(_ failure: Failure, isJSON: Bool) -> ExitStatus {
        if isJSON, let document = failure.document { Output.document(document) }
        Output.error("proxyctl: " + failure.text)
        if !failure.hint.isEmpty { Output.error(failure.hint) }
        return failure.status
    }
}
