// From the state of pools and splits to a snapshot over the routes of the file. What a change leaves alone is taken over as it is:
// the same definition, and so in every worker the same counters, idle connections and turns.
// Owned by the controller; used for the configuration and for the admin API alike.

import AdminAPI
import Balancing
import Bytes
import ConfigurationFile
import Engine

package final class PoolBuilder {
    private let system: any SystemFiles
    private let counters: PeerCounterRegistry
    /// Pairs that were put at run time.
    let certificates: CertificateStore
    private var shown: ShownCertificates?
    private typealias Upstream = (state: UpstreamState, routes: ObjectIdentifier, definition: UpstreamDefinition)
    private typealias Split = (state: SplitState, routes: ObjectIdentifier, definition: SplitDefinition, memory: SplitMemory)
    private var upstreams: [String: Upstream] = [:]
    private var splits: [String: Split] = [:]
    private var layout: Layout?
    /// What the build under way made anew: kept for reuse if its snapshot is to run.
    private var made = Made()
    private struct Made {
        var upstreams: [(name: String, entry: Upstream)] = []
        var splits: [(name: String, entry: Split)] = []
        var layout: Layout?
        var shown: ShownCertificates?
        var warnings: [String] = []
    }
    var names = HostNames()
    /// What the log is to be told of the last build.
    private var warnings: [String] = []

    package init(system: any SystemFiles, counters: PeerCounterRegistry, certificates: CertificateStore = CertificateStore()) {
        self.system = system
        self.counters = counters
        self.certificates = certificates
    }

    /// Where in a snapshot everything is: shared by the snapshots that have the same routes and the same names.
    private final class Layout: @unchecked Sendable {
        let routes: Routes
        /// Sorted.
        let upstreamNames: [String]
        let splitNames: [String]
        /// Of upstreams, those that routes name by their address among them.
        let places: [String: Int]
        /// By the slots of the routes.
        let targets: [Target]
        let table: NameTable
        private let arena = Arena(blockBytes: 1024)

        init(_ routes: Routes, _ upstreamNames: [String], _ splitNames: [String]) throws(Problem) {
            self.routes = routes
            self.upstreamNames = upstreamNames
            self.splitNames = splitNames
            var upstreams: [String: Int] = [:]
            for (i, entry) in routes.implicit.enumerated() { upstreams[entry.name] = i }
            for (i, name) in upstreamNames.enumerated() { upstreams[name] = routes.implicit.count + i }
            let splits = Dictionary(uniqueKeysWithValues: splitNames.enumerated().map { ($0.element, $0.offset) })
            places = upstreams
            targets = try routes.slots.map { (name) throws(Problem) in
                if let place = upstreams[name] { return Target.upstream(place) }
                if let place = splits[name] { return Target.split(place) }
                throw Problem(
                    .nameInUse, "a location's proxy_pass names \"\(name)\", and no upstream or split is left with that name",
                    hint: "change the configuration first, or keep it", pointer: nil)
            }
            var pairs = upstreamNames.map { (name: $0, value: Target.upstream(upstreams[$0] ?? 0).code) }
            pairs += splitNames.map { (name: $0, value: Target.split(splits[$0] ?? 0).code) }
            table = NameTable(pairs + Self.hosts(routes.implicit.map(\.name), upstreams), arena: arena)
        }

        func fits(_ state: ProxyState, _ routes: Routes) -> Bool {
            routes === self.routes && state.upstreams.count == upstreamNames.count && state.splits.count == splitNames.count
                && upstreamNames.allSatisfy { state.upstreams[$0] != nil } && splitNames.allSatisfy { state.splits[$0] != nil }
        }

        /// What a computed `proxy_pass` may name besides upstreams and splits: a host that another one names, with the port 80 or without.
        private static func hosts(_ names: [String], _ places: [String: Int]) -> [(name: String, value: Int32)] {
            var pairs = names.map { (name: $0, value: Target.upstream(places[$0] ?? 0).code) }
            for name in names where !name.hasPrefix("unix:") {
                let code = Target.upstream(places[name] ?? 0).code
                let hasPort = name.split(separator: "]", omittingEmptySubsequences: false).last?.contains(":") ?? false
                if name.hasSuffix(":80") { pairs.append((String(name.dropLast(3)), code)) } else if !hasPort { pairs.append((name + ":80", code)) }
            }
            return pairs
        }
    }

    private func layout(of state: ProxyState, _ routes: Routes) throws(Problem) -> Layout {
        if let layout, layout.fits(state, routes) { return layout }
        let fresh = try Layout(routes, state.upstreams.keys.sorted(), state.splits.keys.sorted())
        made.layout = fresh
        return fresh
    }

    /// What a snapshot is built from, besides its state.
    package struct Publication {
        package var revision: UInt64
        package var serial: UInt64
        package var accounts: [RevisionAccount]
        /// Splits whose new requests wait.
        package var holds: [String: HoldSettings]
        /// Splits of whose variants somebody counts the requests.
        package var watches: [String: SplitWatch] = [:]
        /// Of the engine's clock, when this is a change while the proxy runs: servers that are new start slowly.
        package var nowMs: Int64?
        /// What is built ran before, in another process: a name that is not resolved any more is no reason to refuse it.
        package var isStart = false
        package init(
            revision: UInt64, serial: UInt64, accounts: [RevisionAccount] = [], holds: [String: HoldSettings] = [:], nowMs: Int64? = nil
        ) {
            self.revision = revision
            self.serial = serial
            self.accounts = accounts
            self.holds = holds
            self.nowMs = nowMs
        }
    }

    /// Requests that wait for the split now, on all workers.
    func holding(_ split: String) -> Int { splits[split]?.memory.holding ?? 0 }

    /// What shadows of a split came to since the process began, whatever it was set to.
    func shadow(_ split: String) -> ShadowTally { splits[split]?.memory.shadowTally ?? ShadowTally() }

    func takeWarnings() -> [String] {
        defer { warnings = [] }
        return warnings
    }

    /// Whether the state can run. What is kept for reuse stays that of the state that does run.
    package func tryBuild(_ state: ProxyState, over routes: Routes) throws(Problem) {
        let kept = names
        defer { (made, names) = (Made(), kept) }
        _ = try buildNew(state, over: routes, Publication(revision: 0, serial: 0))
    }

    /// - Throws: a problem with a pointer into the state; nothing has changed then.
    package func build(_ state: ProxyState, over routes: Routes, _ publication: Publication) throws(Problem) -> Snapshot {
        let snapshot = try prepare(state, over: routes, publication)
        keep(state)
        return snapshot
    }

    /// As `build`, where it is not certain yet that the snapshot will run: `keep` says that it does, `drop` that it does not.
    func prepare(_ state: ProxyState, over routes: Routes, _ publication: Publication) throws(Problem) -> Snapshot {
        let kept = names
        do throws(Problem) { return try buildNew(state, over: routes, publication) } catch {
            (made, names) = (Made(), kept)
            throw error
        }
    }

    /// What was prepared runs: it is what later snapshots take over.
    func keep(_ state: ProxyState) {
        defer { made = Made() }
        for (name, entry) in made.upstreams { upstreams[name] = entry }
        for (name, entry) in made.splits { splits[name] = entry }
        if let fresh = made.layout { layout = fresh }
        shown = made.shown
        warnings = made.warnings
        forget(keeping: state)
    }

    /// What was prepared does not run: all is as it was, but for names that have been resolved meanwhile.
    func drop() { made = Made() }

    private func buildNew(_ state: ProxyState, over routes: Routes, _ publication: Publication) throws(Problem) -> Snapshot {
        let layout = try layout(of: state, routes)
        var definitions = routes.implicit.map(\.definition)
        for name in layout.upstreamNames {
            if let upstream = state.upstreams[name] { definitions.append(try definition(name, upstream, routes, publication)) }
        }
        let arena = Arena(blockBytes: 1024)
        var entries: [SplitEntry] = []
        var owned: [any Sendable] = [routes, layout]
        for name in layout.splitNames {
            guard let split = state.splits[name] else { continue }
            let definition = try self.definition(name, split, routes)
            var members: [Int32] = []
            for variant in definition.variants {
                guard let place = layout.places[variant] else {
                    throw Problem(
                        .unknownVariant, "split \"\(name)\" names \"\(variant)\", which is no upstream",
                        pointer: "/splits/\(JSONPointer.escape(name))/weights/\(JSONPointer.escape(variant))")
                }
                members.append(Int32(place))
            }
            var entry = SplitEntry(settings: definition.settings, upstreams: arena.freeze(members))
            if let hold = publication.holds[name] { entry.hold = hold }
            if let watch = publication.watches[name] {
                entry.watch = watch.view(of: definition.variants, in: arena)
                owned.append(watch)
            }
            entries.append(entry)
            owned.append(definition)
        }
        var root = routes.root
        root.splits = arena.freeze(entries)
        root.targets = arena.freeze(layout.targets)
        root.targetNames = layout.table
        if let shown = try shownCertificates(state, routes) {
            root.servers = shown.servers
            owned.append(shown)
        }
        return Snapshot(
            revision: publication.revision, serial: publication.serial, root: root, upstreams: definitions, accounts: publication.accounts,
            arena: arena, owned: owned)
    }

    /// Nil: all are the files'.
    private func shownCertificates(_ state: ProxyState, _ routes: Routes) throws(Problem) -> ShownCertificates? {
        if state.certificates.isEmpty { return nil }
        if let shown, shown.fits(state.certificates, routes) { made.shown = shown } else {
            made.shown = try ShownCertificates(state.certificates, routes, certificates, after: shown)
        }
        return made.shown
    }

    /// What is no longer in the state need not be kept for reuse; older snapshots have their own hold on it.
    private func forget(keeping state: ProxyState) {
        if upstreams.count > state.upstreams.count { upstreams = upstreams.filter { state.upstreams[$0.key] != nil } }
        if splits.count > state.splits.count { splits = splits.filter { state.splits[$0.key] != nil } }
        if names.addresses.count > ControlLimits.resolvedNamesMax { names.addresses = [:] }
    }

    // MARK: Upstreams

    private func definition(
        _ name: String, _ state: UpstreamState, _ routes: Routes, _ publication: Publication
    ) throws(Problem) -> UpstreamDefinition {
        if !state.healthChecks.isEmpty { try Self.checkMatches(name, state, routes) }
        if let known = upstreams[name], known.state == state, known.routes == ObjectIdentifier(routes) || Self.isSelfContained(state) {
            if known.routes != ObjectIdentifier(routes) { made.upstreams.append((name, (state, ObjectIdentifier(routes), known.definition))) }
            return known.definition
        }
        let pointer = "/upstreams/\(JSONPointer.escape(name))"
        try Self.checkRules(state, pointer)
        let fresh = try Self.make(
            name, state, variables: routes.variables, counters: counters, before: upstreams[name]?.definition, nowMs: publication.nowMs,
            pointer: pointer
        ) {
            (server, place) throws(Problem) in
            try addresses(.init(upstream: name, server: server), isStart: publication.isStart, "\(pointer)/servers/\(place)/server")
        }
        made.upstreams.append((name, (state, ObjectIdentifier(routes), fresh)))
        return fresh
    }

    /// Whether a reload leaves it as it is: no template that means something else under other routes, no name to be resolved anew.
    private static func isSelfContained(_ state: UpstreamState) -> Bool {
        !state.balance.hasPrefix("hash") && state.sticky == nil && state.servers.allSatisfy { $0.ipv4 != 0 || ServerAddress.isNumeric($0.server) }
    }

    static func make(
        _ name: String, _ state: UpstreamState, variables: VariableNames, counters: PeerCounterRegistry, before: UpstreamDefinition? = nil,
        nowMs: Int64? = nil, pointer: String, isImplicit: Bool = false, addresses: (String, Int) throws(Problem) -> [ResolvedAddress]
    ) throws(Problem) -> UpstreamDefinition {
        let arena = Arena(blockBytes: min(256 << 10, 512 + state.servers.count * 256))
        var settings = UpstreamSettings(name: arena.freeze(name), peers: .empty, algorithm: .roundRobin, hashKey: .empty)
        do throws(Diagnostic) {
            let balance = try Balance(text: state.balance)
            settings.algorithm = balance.algorithm
            if let key = balance.key {
                settings.hashKey = try TemplateCompiler(variables: variables, arena: arena).template(key, of: "hash").template
            }
        } catch {
            throw Problem(.badBalance, error.message, hint: error.hint ?? "", pointer: pointer + "/balance")
        }
        settings.isImplicit = isImplicit
        if let n = state.keepalive {
            settings.keepalive = n
            settings.keepaliveIsLocal = state.keepaliveIsLocal
        }
        settings.keepaliveRequests = UInt32(clamping: state.keepaliveRequests)
        settings.keepaliveTimeMs = state.keepaliveTimeMs
        settings.keepaliveTimeoutMs = state.keepaliveTimeoutMs
        do { (settings.health, settings.limits) = try UpstreamGuards.settings(of: state) } catch {
            var problem = error
            problem.pointer = pointer + (error.pointer ?? "")
            throw problem
        }
        let sticky = try stickyCookie(state, pointer)
        var peers = try PeerList(
            state.servers, of: name, in: arena, isRing: settings.algorithm == .hashConsistent, counters: counters, before: before, nowMs: nowMs,
            addresses: addresses)
        if sticky != nil {
            for i in peers.settings.indices { peers.settings[i].stickyID = arena.freeze(stickyID(of: peers.settings[i].address.text.string)) }
        }
        settings.peers = arena.freeze(peers.settings)
        settings.hasDrained = state.servers.contains { $0.drain }
        do throws(Diagnostic) {
            if let sticky {
                let texts = peers.settings.map(\.address.text.string)
                settings.sticky = try sticky.settings(TemplateCompiler(variables: variables, arena: arena), peers: texts)
                settings.isSticky = true
            }
        } catch {
            throw Problem(.badBalance, error.message, hint: error.hint ?? "", pointer: pointer + "/sticky")
        }
        return UpstreamDefinition(settings: settings, peers: peers.specs, counters: peers.pool, line: peers.line, arena: arena)
    }

    private static func stickyCookie(_ state: UpstreamState, _ pointer: String) throws(Problem) -> Sticky? {
        guard let text = state.sticky else { return nil }
        do throws(Diagnostic) { return try Sticky(text: text) } catch {
            throw Problem(.badBalance, error.message, hint: error.hint ?? "", pointer: pointer + "/sticky")
        }
    }

    /// A server that runs keeps its place when its name is not resolved any more, be it without an address: neither a start nor a change of
    /// others is refused for it.
    private func addresses(_ place: HostNames.Place, isStart: Bool, _ pointer: String) throws(Problem) -> [ResolvedAddress] {
        let server = place.server
        if let known = names.addresses[server] { return known }
        let running = upstreams[place.upstream]
        func runs() -> Bool { isStart || running?.state.servers.contains { $0.server == server } ?? false }
        if names.lost.contains(place), runs() { return HostNames.standIn(for: server) }
        do throws(Diagnostic) {
            let word = Word(server, position: Position(file: "server"))
            let found = try ServerAddress.resolve(server, at: word, of: "server", with: system)
            if !ServerAddress.isNumeric(server) { names.addresses[server] = found }
            return found
        } catch {
            if runs() { return lastAddresses(place, running?.definition, error.message) }
            throw Problem(.badAddress, error.message, hint: error.hint ?? "", pointer: pointer)
        }
    }

    private func lastAddresses(_ place: HostNames.Place, _ running: UpstreamDefinition?, _ trouble: String) -> [ResolvedAddress] {
        let last = running?.addresses(of: place.server) ?? []
        let standing = last.isEmpty ? "is down" : "keeps the addresses it had"
        made.warnings.append("upstream \(place.upstream): server \(place.server) \(standing): \(trouble); a reload tries again")
        if last.isEmpty {
            names.lost.insert(place)
            return HostNames.standIn(for: place.server)
        }
        names.addresses[place.server] = last
        return last
    }

    // MARK: Splits

    private func definition(_ name: String, _ state: SplitState, _ routes: Routes) throws(Problem) -> SplitDefinition {
        if let known = splits[name], known.routes == ObjectIdentifier(routes) {
            if known.state == state { return known.definition }
            // What happens most while traffic waits: nothing but the weights is other.
            let variants = known.definition.variants
            if known.state.hasTemplates(of: state), variants.count == state.weights.count, variants.allSatisfy({ state.weights[$0] != nil }) {
                let fresh = SplitDefinition(known.definition, choice: Self.choice(name, state, variants))
                made.splits.append((name, (state, known.routes, fresh, known.memory)))
                return fresh
            }
        }
        let pointer = "/splits/\(JSONPointer.escape(name))"
        let arena = Arena(blockBytes: 1024)
        let compiler = TemplateCompiler(variables: routes.variables, arena: arena)
        let variants = state.weights.keys.sorted()
        let memory = splits[name]?.memory ?? SplitMemory()
        var settings = SplitSettings(name: arena.freeze(name), variants: arena.freeze(variants.map { arena.freeze($0) }))
        var keys: [Template] = []
        for (i, text) in state.key.enumerated() { keys.append(try template(text, compiler, "key", "\(pointer)/key/\(i)")) }
        settings.keys = arena.freeze(keys)
        if let force = state.force { settings.force = try template(force, compiler, "force", "\(pointer)/force") }
        if let assign = state.assign {
            settings.cookie = arena.freeze(assign.cookie)
            settings.cookieMaxAgeSeconds = assign.maxAgeSeconds
        }
        if let shadow = state.shadow, let to = variants.firstIndex(of: shadow.to), shadow.share > 0 {
            settings.shadow = ShadowSettings(
                to: Int32(to), share: Int32(shadow.share), noise: Int32(shadow.noise),
                headers: arena.freeze(shadow.headers.map { arena.freeze($0) }))
        }
        let fresh = SplitDefinition(
            settings, variants: variants, choice: Self.choice(name, state, variants), memory: memory, arena: arena)
        made.splits.append((name, (state, ObjectIdentifier(routes), fresh, memory)))
        return fresh
    }

    private static func choice(_ name: String, _ state: SplitState, _ variants: [String]) -> SplitChoice {
        SplitChoice(name: Array(name.utf8), variants: variants.map { (Array($0.utf8), state.weights[$0] ?? 0) })
    }

    private func template(_ text: String, _ compiler: TemplateCompiler, _ name: String, _ pointer: String) throws(Problem) -> Template {
        do throws(Diagnostic) {
            return try compiler.template(Word(text, position: Position(file: name)), of: name).template
        } catch {
            throw Problem(.badTemplate, error.message, hint: error.hint ?? "", pointer: pointer)
        }
    }
}
