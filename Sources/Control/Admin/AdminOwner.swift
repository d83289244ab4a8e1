// What the admin API asks of the supervisor: to read the configuration anew, and what that would do.
// Called by the handler of /reload, in the control thread, which alone waits for files and resolvers.

import AdminAPI

extension Supervisor: AdminOwner {
    func reloadConfiguration(by author: Author, preferringFile: Bool, ifMatch: UInt64?) throws(Problem) -> Accepted {
        do throws(StartFailure) {
            return try reloaded(by: author, preferringFile: preferringFile, ifMatch: ifMatch)
        } catch { throw problem(error) }
    }

    func planReload(preferringFile: Bool, ifMatch: UInt64?) throws(Problem) -> Plan {
        guard let controller else { throw Problem(.stopping, "the server has not started") }
        let built: BuiltConfiguration
        do throws(StartFailure) { built = try check().built } catch { throw problem(error) }
        var plan = try controller.planReload(built, preferringFile: preferringFile, ifMatch: ifMatch)
        plan.warnings = built.warnings.map(\.description) + untilStart(built) + plan.warnings
        return plan
    }

    /// The detail begins with file, line and column.
    private func problem(_ failure: StartFailure) -> Problem {
        switch failure {
        case .refused(let problem): problem
        case .configuration(let diagnostic): Problem(.badConfiguration, diagnostic.description)
        case .listening(let failure): Problem(.badConfiguration, failure.description)
        case .process(let reason): Problem(.stopping, reason)
        }
    }
}
