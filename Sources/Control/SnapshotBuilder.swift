// From directives to a snapshot: walks the blocks, lets each directive set its draft, freezes the drafts.
// Called by the supervisor at start, at -t and at reload. It reads no file but through `SystemFiles`, and changes nothing but itself.

import AdminAPI
import Balancing
import Bytes
import ConfigurationFile
import Engine

/// What the main level and `events` say.
package struct ProcessSettings: Sendable {
    package var workerProcesses = 1
    package var connectionsMax = 512
    package var pidPath: String?
    package var user: String?
    package var group: String?
    package var daemon = false
    package var descriptorsMax: Int?
    package var shutdownTimeoutMs: Int64?
    /// The folder of `state`: the journal lies there.
    package var stateFolder: String?
    /// Programs that policies of rollouts may run for a metric.
    package var rolloutCommands: String?
    /// Where admin.sock is to be; nil: the configuration has an `admin` location, or says `admin off`.
    package var hasAdminSocket = true

    /// The directives that count at a start only, and say something else than they did at that of `start`.
    func namesChanged(since start: ProcessSettings) -> [String] {
        [
            ("worker_processes", workerProcesses == start.workerProcesses), ("worker_connections", connectionsMax == start.connectionsMax),
            ("worker_rlimit_nofile", descriptorsMax == start.descriptorsMax),
            ("worker_shutdown_timeout", shutdownTimeoutMs == start.shutdownTimeoutMs), ("pid", pidPath == start.pidPath),
            ("user", user == start.user && group == start.group), ("state", stateFolder == start.stateFolder),
            ("rollout_commands", rolloutCommands == start.rolloutCommands),
        ].filter { !$0.1 }.map(\.0)
    }
}

/// What a configuration comes to.
package struct BuiltConfiguration {
    package var routes: Routes
    /// The upstreams and splits it names.
    package var state: ProxyState
    package var process: ProcessSettings
    package var listens: [ListenAddress: ListenOptions]
    package var warnings: [Diagnostic]
    /// Of the hosts that its servers name.
    var addresses: [String: [ResolvedAddress]]
    /// Where its upstreams stand, for what is found wrong with them later.
    var places: [String: Position]
}

package final class SnapshotBuilder {
    let arena = Arena()
    let logs: LogFiles
    let system: any SystemFiles
    var process = ProcessSettings()
    var root = SnapshotRoot()
    var warnings: [Diagnostic] = []
    var owned: [any Sendable] = []

    var servers: [ServerDraft] = []
    var locations: [LocationDraft] = []
    var upstreams: [String: UpstreamDraft] = [:]
    var splits: [String: SplitDraft] = [:]
    /// The names in `proxy_pass`: a slot each, with where it was first named.
    /// `direct`: the same with its port, where that is not HTTP's: what it is called when it is no upstream and no split.
    var slots: [(name: String, direct: String, word: Word)] = []
    var slotIndex: [String: Int] = [:]
    var addresses: [String: [ResolvedAddress]] = [:]
    /// Names and tokens of each `admin_token_file`, by the place that `AdminSettings.tokens` has.
    var tokenFiles: [(path: String, tokens: [(name: String, token: String)])] = []
    var maps: [MapSettings] = []
    var splitClients: [SplitClientsSettings] = []
    /// What locations say of TLS to their upstreams, once for all that say the same.
    var upstreamTLS: [UpstreamTLSDraft.Key: (context: TLSContext, digest: ByteView)] = [:]
    var certificateCaches: [CertificateCacheSettings] = []
    var regexes: [RegularExpression] = []
    var limitZones: [LimitZoneDraft] = []
    var charsets: [String] = []
    var charsetTables: [Charsets.Table] = []
    /// `match` blocks by their names.
    var matches: [String: (match: CheckMatch, position: Position)] = [:]
    /// Of locations, by what they pass to.
    var locationChecks: [(upstream: String, check: HealthCheck, position: Position)] = []
    /// How locations speak TLS, by what they pass to: so do its checks.
    var checkTLS: [String: [CheckTLS]] = [:]
    /// What `upstream_health` names.
    var shownUpstreams: [Word] = []
    var variables = VariableNames()
    var formats: [String: (template: Template, escaping: Escaping)] = [:]
    var combined: Template?
    /// Files of certificates, keys and the like, as they were read.
    var tlsFiles: [String: [UInt8]] = [:]
    private var hasEvents = false
    var logFileList: [OpenLogFile] = []
    var typeTables: [(types: [(fileExtension: String, type: String)], table: MediaTypes)] = []
    /// Numbers of what certificates of clients are judged by.
    var trusts: [Trust: Int32] = [:]
    /// Sizes of the shared caches of sessions by their names.
    var sessionCacheBytes: [String: Int] = [:]
    /// What of TLS was there before.
    let tls: TLSRegistry
    /// The rows of peers that were there before, so that counters live on.
    let counters: PeerCounterRegistry
    /// Upstreams and splits that were made at run time: a location may name them, too.
    let runtimeNames: Set<String>
    /// The zones of limits that were there before, so that who has had his share still has.
    let zones: LimitZoneRegistry

    package init(
        system: any SystemFiles, logs: LogFiles, counters: PeerCounterRegistry, zones: LimitZoneRegistry = LimitZoneRegistry(),
        tls: TLSRegistry = TLSRegistry(), runtimeNames: Set<String> = []
    ) {
        self.zones = zones
        self.system = system
        self.logs = logs
        self.counters = counters
        self.tls = tls
        self.runtimeNames = runtimeNames
    }

    /// Everything or nothing: on an error nothing has changed.
    package func build(_ directives: [Directive]) throws(Diagnostic) -> BuiltConfiguration {
        try variables.declare(directives)
        maps = variables.mapSlots.map { MapSettings(source: .empty, slot: $0) }
        splitClients = [SplitClientsSettings](
            repeating: SplitClientsSettings(source: .empty, parts: .empty, slot: -1), count: variables.splitCount)
        let server = ServerDraft(
            settings: ServerSettings(settings: arena.freeze(LocationSettings()), locations: .empty, namedLocations: .empty))
        let main = Scope(self, .main, location: LocationDraft(), server: server)
        main.location.mediaTypes = DefaultTypes.types
        let errorLog = try logs.file(
            logs.defaultErrorLog, at: Word(logs.defaultErrorLog, position: Position(file: "the default error_log")), of: "error_log")
        main.location.errorLogs = [(LogFile(errorLog), .error)]
        try read(directives, in: main)
        root.processLog = target(of: main.location)
        if !hasEvents {
            throw Diagnostic(
                at: Position(file: directives.first?.position.file ?? "the configuration"), directive: "events",
                "no \"events\" section in configuration", found: "none", expected: "events { }")
        }
        try HealthDirectives.finish(self)
        let state = try finishState()
        let implicit = try implicitUpstreams()
        let listens = try freeze()
        let routes = Routes(
            root: root, slots: slots.map { isNamed($0.name) ? $0.name : $0.direct }, implicit: implicit, variables: variables,
            tokens: tokenFiles.map(\.tokens), certificates: CertificateTable(self), matches: matches.mapValues(\.match), checkTLS: checkTLS, arena: arena, owned: owned + logs.opened)
        return BuiltConfiguration(
            routes: routes, state: state, process: process, listens: listens, warnings: warnings, addresses: addresses,
            places: upstreams.mapValues(\.position).merging(splits.mapValues(\.position)) { first, _ in first })
    }

    // MARK: Blocks

    /// Plain directives first, then blocks, so that children inherit what stands behind them; steps of the rewrite phase keep their
    /// order and come last, with the settings complete.
    func read(_ directives: [Directive], in scope: Scope) throws(Diagnostic) {
        var blocks: [Directive] = []
        var steps: [(Directive, DirectiveRule?)] = []
        for d in directives {
            if Self.ownBlocks.contains(d.name.text), d.name.text != "if", scope.context != .upstream {
                blocks.append(d)
            } else if d.name.text == "if" {
                steps.append((d, nil))
            } else {
                let rule = try rule(for: d, in: scope)
                if rule.isRewriteStep { steps.append((d, rule)) } else { try rule.set(scope, d) }
            }
        }
        for d in blocks { try readBlock(d, in: scope) }
        for (d, rule) in steps {
            if let rule { try rule.set(scope, d) } else { try readIf(d, in: scope) }
        }
    }

    private static let ownBlocks: Set<String> = ["events", "http", "server", "location", "upstream", "if", "limit_except"]

    private func rule(for d: Directive, in scope: Scope) throws(Diagnostic) -> DirectiveRule {
        let name = d.name.text
        guard let rule = DirectiveTable.rule(name, in: scope.context) else {
            if let rules = DirectiveTable.rules[name] {
                throw .notAllowed(d, allowedIn: rules.reduce(into: Set<Context>()) { $0.formUnion($1.contexts) })
            }
            throw .refusal(of: d, in: scope.context, own: DirectiveTable.own)
        }
        if rule.takesBlock, d.block == nil { throw .noBlock(d) }
        if !rule.takesBlock, d.block != nil { throw .notTerminated(d) }
        if !rule.arguments.contains(d.arguments.count) { throw .wrongArgumentCount(d, expected: Self.words(rule.arguments)) }
        if rule.isUnique {
            if let first = scope.seen[name] { throw .duplicate(d, first: first) }
            scope.seen[name] = d.position
        }
        return rule
    }

    private static func words(_ range: ClosedRange<Int>) -> String {
        if range.lowerBound == range.upperBound { return range.lowerBound == 1 ? "one argument" : "\(range.lowerBound) arguments" }
        if range.upperBound == .max { return "at least \(range.lowerBound) \(range.lowerBound == 1 ? "argument" : "arguments")" }
        return "\(range.lowerBound) to \(range.upperBound) arguments"
    }

    private func readBlock(_ d: Directive, in scope: Scope) throws(Diagnostic) {
        guard let block = d.block else { throw .noBlock(d) }
        if scope.context == .main {
            if let first = scope.seen[d.name.text] { throw .duplicate(d, first: first) }
            scope.seen[d.name.text] = d.position
        }
        switch (d.name.text, scope.context) {
        case ("events", .main):
            try expectArguments(d, 0)
            hasEvents = true
            try read(block, in: scope.child(.events))
        case ("http", .main):
            try expectArguments(d, 0)
            let http = scope.child(.http)
            try read(block, in: http)
        case ("server", .http):
            try expectArguments(d, 0)
            try readServer(block, d, in: scope)
        case ("upstream", .http): try readUpstream(d, block, in: scope)
        case ("location", .server), ("location", .location): try readLocation(d, block, in: scope)
        case ("limit_except", .location): try readLimitExcept(d, block, in: scope)
        default: throw .refusal(of: d, in: scope.context, own: DirectiveTable.own)
        }
    }

    func expectArguments(_ d: Directive, _ n: Int) throws(Diagnostic) {
        if d.arguments.count != n { throw .wrongArgumentCount(d, expected: n == 0 ? "no arguments" : n == 1 ? "one argument" : "\(n) arguments") }
    }

    private func readServer(_ block: [Directive], _ d: Directive, in http: Scope) throws(Diagnostic) {
        let scope = http.child(.server)
        scope.server.names = []
        scope.server.listens = []
        try read(block, in: scope)
        if scope.server.listens.isEmpty {
            let address = try ListenAddress.parse(system.isRoot ? "*:80" : "*:8000", at: d.position)
            scope.server.listens.append(contentsOf: address.map { ListenDraft(address: $0, position: d.position) })
        }
        // A server without a name is called "": it answers requests that name no host.
        if scope.server.names.isEmpty { scope.server.names.append((Word("", position: d.position), "")) }
        scope.server.hasAdmin = false
        for child in scope.children { if try checkAdmin(child, scope.server.listens) { scope.server.hasAdmin = true } }
        scope.server.settings.tls = try buildTLS(scope.server.tls)
        scope.server.locations = scope.children
        scope.server.settings.rewrite = arena.freeze(scope.location.steps)
        scope.location.settings.name = .empty
        let index = try add(scope.location)
        scope.server.settingsIndex = index
        servers.append(scope.server)
    }

    /// Whoever reaches the admin API from other hosts shows a token. True: it is served here.
    private func checkAdmin(_ entry: LocationEntryDraft, _ listens: [ListenDraft]) throws(Diagnostic) -> Bool {
        let settings = locations[Int(entry.index)].settings
        var hasAdmin = settings.handler == .admin
        if hasAdmin, settings.admin.tokens < 0, let open = listens.first(where: { !$0.address.isLocal }) {
            throw Diagnostic(
                at: entry.position, directive: "admin", "the admin API on \(open.address.text) is open to other hosts", found: "no admin_token_file",
                expected: "admin_token_file, or a server that listens on 127.0.0.1, [::1] or a unix socket alone")
        }
        for nested in entry.nested { if try checkAdmin(nested, listens) { hasAdmin = true } }
        return hasAdmin
    }

    /// Freezes a draft's lists and keeps it; returns its place among the snapshot's locations.
    func add(_ draft: LocationDraft) throws(Diagnostic) -> Int32 {
        var draft = draft
        try freezeLists(&draft)
        draft.settings.tag = Int32(locations.count)
        locations.append(draft)
        return Int32(locations.count - 1)
    }

    // MARK: Values

    func template(_ word: Word, of directive: String) throws(Diagnostic) -> Template {
        let (template, used) = try TemplateCompiler(variables: variables, arena: arena).template(word, of: directive)
        for variable in used { note(variable) }
        return template
    }

    func variable(_ name: String, at word: Word, of directive: String) throws(Diagnostic) -> Variable {
        let variable = try TemplateCompiler(variables: variables, arena: arena).variable(name, at: word, of: directive)
        note(variable)
        return variable
    }

    /// Heads are kept after they have gone only where a variable reads them.
    private func note(_ variable: Variable) {
        switch variable.kind {
        case .sentHTTPName: root.keepsSentHead = true
        case .requestBodyFile: root.namesBodyFiles = true
        case .upstreamHTTPName, .upstreamCookieName, .upstreamTrailerName: root.keepsUpstreamHead = true
        default: break
        }
    }

    /// The place of a token file, read once.
    func tokens(_ word: Word) throws(Diagnostic) -> Int32 {
        let path = logs.absolute(word.text)
        if let known = tokenFiles.firstIndex(where: { $0.path == path }) { return Int32(known) }
        let bytes: [UInt8]
        do throws(ReadFailure) { bytes = try system.read(path) } catch {
            throw Diagnostic(
                at: word.position, directive: "admin_token_file", "open() \"\(path)\" failed (\(error.reason))", found: path,
                expected: "a file with a name and a token on each line")
        }
        tokenFiles.append((path, try AdminDirectives.parse(bytes, file: path)))
        return Int32(tokenFiles.count - 1)
    }

    func regex(_ pattern: Word, ignoringCase: Bool, of directive: String) throws(Diagnostic) -> Int32 {
        try regex(pattern.bytes, at: pattern, ignoringCase: ignoringCase, of: directive)
    }

    func regex(_ pattern: [UInt8], at word: Word, ignoringCase: Bool, of directive: String) throws(Diagnostic) -> Int32 {
        do throws(CompiledExpression.Failure) {
            let compiled = try CompiledExpression(pattern, ignoringCase: ignoringCase, arena: arena)
            owned.append(compiled)
            regexes.append(compiled.expression)
            return Int32(regexes.count - 1)
        } catch {
            throw Diagnostic(
                at: word.position, directive: directive, "pcre2_compile() failed: \(error.reason) at offset \(error.offset)",
                found: word.shown, expected: "a regular expression of PCRE2")
        }
    }
}
