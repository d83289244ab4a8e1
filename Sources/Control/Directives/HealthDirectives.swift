// health_check, match and upstream_health: who is asked after its health, what the answer must be, and who may ask us.
// The first two come from NGINX Plus. What they say is kept by the state of upstreams and by `Routes`.

import AdminAPI
import ConfigurationFile
import Engine

enum HealthDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("health_check", [.upstream], 0...20, isUnique: false, isOwn: true) { (scope, d) throws(Diagnostic) in try check(scope, d) },
        // Where NGINX Plus has it: for the upstream that the location passes to.
        DirectiveRule("health_check", [.location], 0...20, isUnique: false, isOwn: true) { (scope, d) throws(Diagnostic) in
            scope.location.healthChecks.append((try read(d), d.position))
        },
        DirectiveRule("match", [.http], 1...1, takesBlock: true, isUnique: false, isOwn: true) { (scope, d) throws(Diagnostic) in
            let name = d.arguments[0].text
            if let first = scope.builder.matches[name]?.position { throw .duplicate(d, first: first) }
            scope.builder.matches[name] = (try MatchReader.read(d), d.position)
        },
        DirectiveRule("upstream_health", [.location], 1...2, isOwn: true) { (scope, d) throws(Diagnostic) in try show(scope, d) },
    ]

    private static func read(_ d: Directive) throws(Diagnostic) -> HealthCheck {
        do throws(Problem) { return try HealthCheck(words: d.arguments.map(\.text)) } catch {
            throw Diagnostic(
                at: d.arguments.first?.position ?? d.position, directive: "health_check", error.detail, found: "", expected: "",
                hint: error.hint.isEmpty ? nil : error.hint)
        }
    }

    private static func check(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        guard var upstream = scope.upstream else { return }
        try add(try read(d), at: d.position, to: &upstream)
        scope.upstream = upstream
    }

    private static func add(_ check: HealthCheck, at position: Position, to upstream: inout UpstreamDraft) throws(Diagnostic) {
        if let other = upstream.state.healthChecks.firstIndex(where: { $0.gate == check.gate }) {
            throw Diagnostic(
                at: position, directive: "health_check", "duplicate health check \"\(check.gate)\" in upstream \"\(upstream.name)\"", found: check.gate,
                expected: "each once", hint: "the first is at \(upstream.checkPositions[other]); another name is given with name=")
        }
        if upstream.state.healthChecks.count == HealthCheck.checksMax {
            throw Diagnostic(
                at: position, directive: "health_check", "more than \(HealthCheck.checksMax) health checks in upstream \"\(upstream.name)\"",
                found: check.gate, expected: "at most \(HealthCheck.checksMax)")
        }
        upstream.state.healthChecks.append(check)
        upstream.checkPositions.append(position)
    }

    /// At the end of a location: its checks are those of the upstream it passes to.
    static func note(_ draft: LocationDraft, _ builder: SnapshotBuilder) throws(Diagnostic) {
        guard let first = draft.healthChecks.first else { return }
        let proxy = draft.passesGRPC ? draft.grpc.proxy : draft.settings.proxy
        guard draft.settings.handler == .proxy, case .named(let slot) = proxy.target else {
            throw Diagnostic(
                at: first.position, directive: "health_check", "no upstream is named by the proxy_pass of this location", found: "health_check",
                expected: "proxy_pass http://NAME", hint: "health_check may stand in the upstream block itself")
        }
        for (check, position) in draft.healthChecks {
            var check = check
            if proxy.usesTLS { check.kind = check.kind == .http ? .https : check.kind == .grpc ? .grpcs : check.kind }
            builder.locationChecks.append((builder.slots[Int(slot)].name, check, position))
        }
    }

    /// `NAME [healthy=N]`.
    private static func show(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let name = d.arguments[0]
        var least = 1
        if d.arguments.count == 2 {
            guard let (parameter, value) = d.arguments[1].parameter, parameter == "healthy" else {
                throw .invalidValue(d.arguments[1], of: "upstream_health", expected: "\"healthy=N\"")
            }
            least = try value.integer(in: 0...StateBounds.serversMax, of: "upstream_health")
        }
        scope.location.settings.handler = .upstreamHealth
        scope.location.settings.upstreamHealth.slot = Int32(scope.builder.slot(name.text, at: name, defaultPort: 80))
        scope.location.settings.upstreamHealth.healthyMin = Int32(least)
        scope.builder.shownUpstreams.append(name)
    }

    // MARK: What can be said only when all blocks are known

    static func finish(_ builder: SnapshotBuilder) throws(Diagnostic) {
        for (name, check, position) in builder.locationChecks {
            guard var upstream = builder.upstreams[name] else {
                throw Diagnostic(
                    at: position, directive: "health_check", "no upstream block \"\(name)\" is defined for this check", found: name,
                    expected: "upstream \(name) { ... }", hint: "a check needs an upstream block, and may stand in it")
            }
            // Several locations may pass to it, and say the same.
            if upstream.state.healthChecks.contains(check) { continue }
            try add(check, at: position, to: &upstream)
            builder.upstreams[name] = upstream
        }
        for draft in builder.upstreams.values.sorted(by: { $0.position.line < $1.position.line }) {
            for (check, position) in zip(draft.state.healthChecks, draft.checkPositions) {
                guard let name = check.match else { continue }
                guard let match = builder.matches[name]?.match else {
                    let known = Array(builder.matches.keys)
                    throw Diagnostic(
                        at: position, directive: "health_check", "no match block \"\(name)\" is defined", found: name, expected: "match \(name) { ... } in http",
                        hint: nearestName(to: name, among: known).map { "did you mean \"\($0)\"?" })
                }
                if let misfit = match.misfit(check.kind) {
                    throw Diagnostic(
                        at: position, directive: "health_check", "match block \"\(name)\" \(misfit)", found: name, expected: "lines for \(check.kind.rawValue)")
                }
            }
        }
        for word in builder.shownUpstreams where builder.upstreams[word.text] == nil {
            if builder.splits[word.text] == nil, builder.runtimeNames.contains(word.text) { continue }
            throw Diagnostic(
                at: word.position, directive: "upstream_health", "no upstream \"\(word.shown)\" is defined", found: word.shown, expected: "the name of an upstream",
                hint: nearestName(to: word.text, among: Array(builder.upstreams.keys)).map { "did you mean \"\($0)\"?" })
        }
    }
}
