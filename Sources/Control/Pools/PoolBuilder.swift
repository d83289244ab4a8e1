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
    private var upstreams: [String: (state: UpstreamState, routes: ObjectIdentifier, definition: UpstreamDefinition)] = [:]
    private var splits: [String: (state: SplitState, routes: ObjectIdentifier, definition: SplitDefinition)] = [:]
    private var turns: [String: SplitTurns] = [:]
    private var names: NameIndex?
    /// Addresses of host names, as they were when the name was first met: a change elsewhere asks no resolver.
    private var resolved: [String: [ResolvedAddress]] = [:]

    package init(system: any SystemFiles, counters: PeerCounterRegistry) {
        self.system = system
        self.counters = counters
    }

    /// The names of a snapshot's targets, shared by the snapshots that have the same.
    private final class NameIndex: @unchecked Sendable {
        let list: [String]
        let table: NameTable
        private let arena = Arena(blockBytes: 1024)
        init(_ pairs: [(name: String, value: Int32)], list: [String]) {
            self.list = list
            table = NameTable(pairs, arena: arena)
        }
    }

    /// What a snapshot is built from, besides its state.
    package struct Publication {
        package var revision: UInt64
        package var serial: UInt64
        package var accounts: [RevisionAccount]
        /// Splits whose new requests wait.
        package var holds: [String: HoldSettings]
        /// Of the engine's clock, when this is a change while the proxy runs: servers that are new start slowly.
        package var nowMs: Int64?
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

    /// Host names are asked for anew: at a reload.
    package func forgetAddresses() { resolved = [:] }

    /// Addresses that the configuration has resolved already.
    func learn(_ addresses: [String: [ResolvedAddress]]) { resolved.merge(addresses) { _, new in new } }

    /// Whether the state can run. What is kept for reuse stays that of the state that does run.
    package func tryBuild(_ state: ProxyState, over routes: Routes) throws(Problem) {
        let kept = (upstreams, splits, turns, names, resolved)
        defer { (upstreams, splits, turns, names, resolved) = kept }
        _ = try buildNew(state, over: routes, Publication(revision: 0, serial: 0))
    }

    /// - Throws: a problem with a pointer into the state; nothing has changed then.
    package func build(_ state: ProxyState, over routes: Routes, _ publication: Publication) throws(Problem) -> Snapshot {
        let kept = (upstreams, splits, turns, names)
        do { return try buildNew(state, over: routes, publication) } catch {
            (upstreams, splits, turns, names) = kept
            throw error
        }
    }

    private func buildNew(_ state: ProxyState, over routes: Routes, _ publication: Publication) throws(Problem) -> Snapshot {
        let upstreamNames = state.upstreams.keys.sorted()
        let splitNames = state.splits.keys.sorted()
        var definitions = routes.implicit.map(\.definition)
        var places: [String: Int] = [:]
        for (i, entry) in routes.implicit.enumerated() { places[entry.name] = i }
        for name in upstreamNames {
            guard let upstream = state.upstreams[name] else { continue }
            places[name] = definitions.count
            definitions.append(try definition(name, upstream, routes, nowMs: publication.nowMs))
        }
        let arena = Arena(blockBytes: 1024)
        var entries: [SplitEntry] = []
        var owned: [any Sendable] = [routes]
        var splitPlaces: [String: Int] = [:]
        for name in splitNames {
            guard let split = state.splits[name] else { continue }
            let definition = try self.definition(name, split, routes)
            var members: [Int32] = []
            for variant in definition.variants {
                guard let place = places[variant] else {
                    throw Problem(
                        .unknownVariant, "split \"\(name)\" names \"\(variant)\", which is no upstream",
                        pointer: "/splits/\(JSONPointer.escape(name))/weights/\(JSONPointer.escape(variant))")
                }
                members.append(Int32(place))
            }
            splitPlaces[name] = entries.count
            var entry = SplitEntry(settings: definition.settings, upstreams: arena.freeze(members))
            if let hold = publication.holds[name] { entry.hold = hold }
            entries.append(entry)
            owned.append(definition)
        }
        var root = routes.root
        root.splits = arena.freeze(entries)
        root.targets = arena.freeze(try routes.slots.map { (name) throws(Problem) in
            if let place = places[name] { return Target.upstream(place) }
            if let place = splitPlaces[name] { return Target.split(place) }
            throw Problem(
                .nameInUse, "a location's proxy_pass names \"\(name)\", and no upstream or split is left with that name",
                hint: "change the configuration first, or keep it", pointer: nil)
        })
        let index = nameIndex(routes, upstreamNames, places, splitNames, splitPlaces)
        root.targetNames = index.table
        owned.append(index)
        forget(keeping: state)
        return Snapshot(
            revision: publication.revision, serial: publication.serial, root: root, upstreams: definitions, accounts: publication.accounts,
            arena: arena, owned: owned)
    }

    /// What is no longer in the state need not be kept for reuse; older snapshots have their own hold on it.
    private func forget(keeping state: ProxyState) {
        if upstreams.count > state.upstreams.count { upstreams = upstreams.filter { state.upstreams[$0.key] != nil } }
        if splits.count > state.splits.count { splits = splits.filter { state.splits[$0.key] != nil } }
        if turns.count > state.splits.count { turns = turns.filter { state.splits[$0.key] != nil } }
        if resolved.count > ControlLimits.resolvedNamesMax { resolved = [:] }
    }

    /// What a computed `proxy_pass` may name: an upstream, a split, or a host that another `proxy_pass` names, with the port 80 or without.
    private func nameIndex(
        _ routes: Routes, _ upstreamNames: [String], _ places: [String: Int], _ splitNames: [String], _ splitPlaces: [String: Int]
    ) -> NameIndex {
        let implicit = routes.implicit.map(\.name)
        let list = upstreamNames + ["\u{0}"] + splitNames + ["\u{0}"] + implicit
        if let names, names.list == list { return names }
        var pairs = upstreamNames.map { (name: $0, value: Target.upstream(places[$0] ?? 0).code) }
        pairs += splitNames.map { (name: $0, value: Target.split(splitPlaces[$0] ?? 0).code) }
        pairs += implicit.map { (name: $0, value: Target.upstream(places[$0] ?? 0).code) }
        for name in implicit where !name.hasPrefix("unix:") {
            let code = Target.upstream(places[name] ?? 0).code
            let hasPort = name.split(separator: "]", omittingEmptySubsequences: false).last?.contains(":") ?? false
            if name.hasSuffix(":80") { pairs.append((String(name.dropLast(3)), code)) } else if !hasPort { pairs.append((name + ":80", code)) }
        }
        let fresh = NameIndex(pairs, list: list)
        names = fresh
        return fresh
    }

    // MARK: Upstreams

    private func definition(
        _ name: String, _ state: UpstreamState, _ routes: Routes, nowMs: Int64?
    ) throws(Problem) -> UpstreamDefinition {
        if let known = upstreams[name], known.state == state, known.routes == ObjectIdentifier(routes) || Self.isSelfContained(state) {
            upstreams[name]?.routes = ObjectIdentifier(routes)
            return known.definition
        }
        let pointer = "/upstreams/\(JSONPointer.escape(name))"
        let made = try Self.make(name, state, variables: routes.variables, counters: counters, nowMs: nowMs, pointer: pointer) {
            (server, place) throws(Problem) in try addresses(server, "\(pointer)/servers/\(place)/server")
        }
        upstreams[name] = (state, ObjectIdentifier(routes), made)
        return made
    }

    /// Whether a reload leaves it as it is: no template that means something else under other routes, no name to be resolved anew.
    private static func isSelfContained(_ state: UpstreamState) -> Bool {
        !state.balance.hasPrefix("hash") && state.sticky == nil && state.servers.allSatisfy { ServerAddress.isNumeric($0.server) }
    }

    static func make(
        _ name: String, _ state: UpstreamState, variables: VariableNames, counters: PeerCounterRegistry, nowMs: Int64? = nil, pointer: String,
        addresses: (String, Int) throws(Problem) -> [ResolvedAddress]
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
            state.servers, of: name, in: arena, isRing: settings.algorithm == .hashConsistent, counters: counters, nowMs: nowMs,
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

    private func addresses(_ server: String, _ pointer: String) throws(Problem) -> [ResolvedAddress] {
        if let known = resolved[server] { return known }
        do throws(Diagnostic) {
            let word = Word(server, position: Position(file: "server"))
            let found = try ServerAddress.resolve(server, at: word, of: "server", with: system)
            if !ServerAddress.isNumeric(server) { resolved[server] = found }
            return found
        } catch {
            throw Problem(.badAddress, error.message, hint: error.hint ?? "", pointer: pointer)
        }
    }

    // MARK: Splits

    private func definition(_ name: String, _ state: SplitState, _ routes: Routes) throws(Problem) -> SplitDefinition {
        if let known = splits[name], known.state == state, known.routes == ObjectIdentifier(routes) { return known.definition }
        let pointer = "/splits/\(JSONPointer.escape(name))"
        let arena = Arena(blockBytes: 1024)
        let compiler = TemplateCompiler(variables: routes.variables, arena: arena)
        let variants = state.weights.keys.sorted()
        let turn = turns[name] ?? SplitTurns()
        turns[name] = turn
        var settings = SplitSettings(name: arena.freeze(name), variants: arena.freeze(variants.map { arena.freeze($0) }))
        var keys: [Template] = []
        for (i, text) in state.key.enumerated() { keys.append(try template(text, compiler, "key", "\(pointer)/key/\(i)")) }
        settings.keys = arena.freeze(keys)
        if let force = state.force { settings.force = try template(force, compiler, "force", "\(pointer)/force") }
        if let assign = state.assign {
            settings.cookie = arena.freeze(assign.cookie)
            settings.cookieMaxAgeSeconds = assign.maxAgeSeconds
        }
        let choice = SplitChoice(name: Array(name.utf8), variants: variants.map { (Array($0.utf8), state.weights[$0] ?? 0) })
        let made = SplitDefinition(settings, variants: variants, choice: choice, turns: turn, arena: arena)
        splits[name] = (state, ObjectIdentifier(routes), made)
        return made
    }

    private func template(_ text: String, _ compiler: TemplateCompiler, _ name: String, _ pointer: String) throws(Problem) -> Template {
        do throws(Diagnostic) {
            return try compiler.template(Word(text, position: Position(file: name)), of: name).template
        } catch {
            throw Problem(.badTemplate, error.message, hint: error.hint ?? "", pointer: pointer)
        }
    }
}
