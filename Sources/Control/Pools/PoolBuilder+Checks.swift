// What the health checks of an upstream have to fit: the match blocks of the file, and the rules that they bring themselves.
// Called by PoolBuilder before it makes an upstream anew. It builds nothing.

import AdminAPI
import Engine

extension PoolBuilder {
    /// Whether the `match` blocks of its health checks are there.
    static func checkMatches(_ name: String, _ state: UpstreamState, _ routes: Routes) throws(Problem) {
        for (i, check) in state.healthChecks.enumerated() {
            guard let wanted = check.match else { continue }
            let pointer = "/upstreams/\(JSONPointer.escape(name))/health_checks/\(i)/match"
            guard let match = routes.matches[wanted] else {
                let names = routes.matches.keys.sorted()
                let known = names.isEmpty ? "the configuration has none" : "the configuration has \(names.joined(separator: ", "))"
                throw Problem(.badCheck, "found \"\(wanted)\", expected the name of a match block", hint: known, pointer: pointer)
            }
            if let misfit = match.misfit(check.kind) { throw Problem(.badCheck, "the match block \"\(wanted)\" \(misfit)", pointer: pointer) }
        }
    }

    /// Whether the rules that stand in its health checks can be compiled.
    static func checkRules(_ state: UpstreamState, _ pointer: String) throws(Problem) {
        for (i, check) in state.healthChecks.enumerated() {
            guard let rules = check.rules else { continue }
            do throws(Problem) {
                if let misfit = try MatchReader.read(rules).misfit(check.kind) { throw Problem(.badCheck, "the match \(misfit)", pointer: "") }
            } catch {
                var problem = error
                problem.pointer = "\(pointer)/health_checks/\(i)/match" + (error.pointer ?? "")
                throw problem
            }
        }
    }
}
