// A state as configuration text, so that what runs can be put into the file and stay.
// Called by /export. It writes upstreams and splits alone: routes never leave the file.

/// All upstreams and splits, sorted by name, as blocks of `http`. Parameters that have their defaults are left out. Rules that stand in a
/// health check itself are given a name, and stand in front of its upstream.
/// A `fail_timeout` or `slow_start` of broken seconds, which the grammar does not have, is rounded up.
public func exported(_ state: ProxyState) -> String {
    var taken = Set(state.upstreams.values.flatMap { $0.healthChecks.compactMap(\.match) })
    let upstreams = state.upstreams.sorted { $0.key < $1.key }.flatMap { name, upstream in
        let matches = upstream.healthChecks.map { check in check.match ?? check.rules.map { _ in fresh("\(name)_match", &taken) } }
        let blocks = zip(upstream.healthChecks, matches).compactMap { check, match in
            check.rules.map { block("match", match ?? "", $0.lines.map(\.words)) }
        }
        return blocks + [block("upstream", name, upstream.directives(matches: matches))]
    }
    let splits = state.splits.sorted { $0.key < $1.key }.map { block("split", $0.key, $0.value.directives) }
    return (upstreams + splits).joined(separator: "\n")
}

/// `name`, or with a number behind it.
private func fresh(_ name: String, _ taken: inout Set<String>) -> String {
    var made = name
    var number = 2
    while !taken.insert(made).inserted {
        made = name + String(number)
        number += 1
    }
    return made
}

private func block(_ kind: String, _ name: String, _ directives: [[String]]) -> String {
    let lines = directives.map { "    \($0.map(ConfigurationWords.quoted).joined(separator: " "));\n" }
    return "\(kind) \(ConfigurationWords.quoted(name)) {\n\(lines.joined())}\n"
}

/// Text that the rules refuse stays one word: it can do nothing but be refused again.
private func words(of text: String) -> [String] { (try? ConfigurationWords.split(text)) ?? [text] }

extension UpstreamState {
    /// The way of balancing before `keepalive`, which wants it so.
    /// - Parameter matches: of its health checks.
    fileprivate func directives(matches: [String?]) -> [[String]] {
        let usual = UpstreamState()
        var all: [[String]] = []
        if balance != usual.balance { all.append(words(of: balance)) }
        all += servers.map { ["server"] + $0.parameters }
        if let sticky { all.append(["sticky"] + words(of: sticky)) }
        if let keepalive { all.append(["keepalive", "\(keepalive)"] + (keepaliveIsLocal ? ["local"] : [])) }
        if keepaliveRequests != usual.keepaliveRequests { all.append(["keepalive_requests", "\(keepaliveRequests)"]) }
        if keepaliveTimeMs != usual.keepaliveTimeMs { all.append(["keepalive_time", NginxTime.text(ms: keepaliveTimeMs)]) }
        if keepaliveTimeoutMs != usual.keepaliveTimeoutMs {
            all.append(["keepalive_timeout", NginxTime.text(ms: keepaliveTimeoutMs)])
        }
        if let circuitBreaker { all.append([CircuitBreakerWords.name] + words(of: circuitBreaker)) }
        if let outlierDetection { all.append([OutlierDetection.name] + words(of: outlierDetection)) }
        all += zip(healthChecks, matches).map { [HealthCheck.directive] + $0.words(match: $1) }
        if let panicThreshold { all.append(["panic_threshold", "\(panicThreshold)%"]) }
        if let queue { all.append([QueueWords.name] + words(of: queue)) }
        if let retryBudget { all.append([RetryBudgetWords.name] + words(of: retryBudget)) }
        return all
    }
}

extension ServerState {
    fileprivate var parameters: [String] {
        let usual = ServerState(server: "")
        var all = [server]
        if weight != usual.weight { all.append("weight=\(weight)") }
        if maxConns != usual.maxConns { all.append("max_conns=\(maxConns)") }
        if maxFails != usual.maxFails { all.append("max_fails=\(maxFails)") }
        if failTimeoutMs != usual.failTimeoutMs { all.append("fail_timeout=\(wholeSeconds(failTimeoutMs))") }
        if slowStartMs != usual.slowStartMs { all.append("slow_start=\(wholeSeconds(slowStartMs))") }
        if backup { all.append("backup") }
        if down { all.append("down") }
        if drain { all.append("drain") }
        return all
    }
}

/// Broken seconds are rounded up.
private func wholeSeconds(_ ms: Int64) -> String {
    let brokenMs = ms % 1000
    return NginxTime.text(ms: brokenMs > 0 ? ms - brokenMs + 1000 : ms)
}

extension SplitState {
    fileprivate var directives: [[String]] {
        var all = weights.sorted { $0.key < $1.key }.map { [$0.key, "\($0.value)"] }
        if !key.isEmpty { all.append(["key"] + key) }
        if let force { all.append(["force", force]) }
        if let assign { all.append(["assign", "cookie=\(assign.cookie)", "max_age=\(assign.maxAgeText)"]) }
        if let shadow { all.append(shadow.words) }
        return all
    }
}

extension ShadowState {
    fileprivate var words: [String] {
        let usual = ShadowState(to: to)
        var all = ["shadow", to]
        if share != usual.share { all.append("share=\(share)%") }
        if noise != usual.noise { all.append("noise=\(noise)%") }
        return all + headers.map { "header=\($0)" }
    }
}

extension AssignState {
    fileprivate var maxAgeText: String {
        let (ms, isTooLong) = maxAgeSeconds.multipliedReportingOverflow(by: 1000)
        return NginxTime.text(ms: isTooLong ? .max / 1000 * 1000 : ms)
    }
}
