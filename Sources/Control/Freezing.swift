// From drafts to the frozen tables of a snapshot: lists of a location, locations, servers, listening addresses.
// The last step of `SnapshotBuilder`; errors that concern several blocks (duplicates, missing defaults) are found here.

import Bytes
import ConfigurationFile
import Engine
import HTTPMessage

extension SnapshotBuilder {
    func freezeLists(_ draft: inout LocationDraft) throws(Diagnostic) {
        draft.settings.addHeaders = arena.freeze(draft.addHeaders)
        draft.settings.addsValidators = draft.addHeaders.contains { $0.validator != 0 }
        draft.settings.addTrailers = arena.freeze(draft.addTrailers)
        draft.settings.errorPages = arena.freeze(draft.errorPages)
        draft.settings.rewrite = arena.freeze(draft.steps)
        draft.settings.accessLogs = arena.freeze(try accessLogs(of: draft))
        draft.settings.index = arena.freeze(draft.index ?? [Template(literal: ByteView("index.html"), arena: arena)])
        draft.settings.errorLog = target(of: draft)
        if draft.settings.root.isEmpty {
            draft.settings.root = Template(literal: arena.freeze(logs.absolute("html")), arena: arena)
        }
        draft.settings.mediaTypes = mediaTypes(draft.mediaTypes ?? DefaultTypes.types)
        draft.settings.realIP.trusted = arena.freeze(draft.trustedProxies)
        draft.settings.accessRules = arena.freeze(draft.accessRules)
        draft.settings.limits.requests = arena.freeze(draft.requestLimits)
        draft.settings.limits.connections = arena.freeze(draft.connectionLimits)
        draft.settings.isGated =
            !draft.settings.authRequest.isEmpty || !draft.trustedProxies.isEmpty || !draft.accessRules.isEmpty || !draft.requestLimits.isEmpty || !draft.connectionLimits.isEmpty
        draft.settings.ssi.types = MediaTypeList(draft.ssiTypes, arena: arena)
        draft.settings.authValues = arena.freeze(draft.authValues)
        draft.settings.mirrors = arena.freeze(draft.mirrors)
        draft.settings.hasPrecontent = !draft.mirrors.isEmpty || !draft.settings.tryFiles.isEmpty
        if draft.passesGRPC { takeGRPC(&draft) }
        freezeProxy(&draft)
        draft.settings.filters = draft.filters.frozen(for: draft.settings, hasCharsets: !charsets.isEmpty, arena: arena)
        let tls = draft.passesGRPC ? draft.grpc.tls : draft.proxyTLS
        draft.settings.proxy.tls = draft.mayUseTLS && draft.settings.handler == .proxy ? try buildUpstreamTLS(tls) : nil
        noteCheckTLS(draft, tls)
    }

    private func accessLogs(of draft: LocationDraft) throws(Diagnostic) -> [AccessLogSpec] {
        if let said = draft.accessLogs { return said }
        return try defaultAccessLog()
    }

    /// Of the few distinct lists of types one table each, not one for each location.
    private func mediaTypes(_ types: [(fileExtension: String, type: String)]) -> MediaTypes {
        if let known = typeTables.first(where: { $0.types.count == types.count && zip($0.types, types).allSatisfy { $0 == $1 } }) {
            return known.table
        }
        let table = MediaTypes(types, arena: arena)
        typeTables.append((types, table))
        return table
    }

    /// What is said of gRPC stands in the place of what is said of `proxy_pass`. Redirects and cookies are passed on as they come.
    private func takeGRPC(_ draft: inout LocationDraft) {
        draft.settings.proxy = draft.grpc.proxy
        draft.requestHeaders = draft.grpc.requestHeaders
        draft.hideHeaders = draft.grpc.hideHeaders
        draft.passHeaders = draft.grpc.passHeaders
        draft.settings.proxy.keepsHostField = draft.requestHeaders.contains { $0.name.equalsIgnoringCase(ByteView("Host")) }
        draft.redirects = []
        draft.redirectsSaid = true
        draft.cookieDomains = []
        draft.cookiePaths = []
        draft.cookieFlags = []
    }

    /// How long a body is says whoever sends it, or two servers see two requests where there is one. That none comes may be said.
    private func saysNoBody(_ line: HeaderTemplate, _ proxy: ProxySettings) -> Bool {
        !proxy.passRequestBody && !proxy.hasSetBody && line.value.isLiteral && line.value.literal == ByteView("0")
    }

    private func freezeProxy(_ draft: inout LocationDraft) {
        func bit(_ name: String) -> (known: HeaderName?, lower: String) {
            let lower = name.lowercased()
            return (HeaderName.allCases.first { $0 != .other && $0.lowercased.description == lower }, lower)
        }
        var known: UInt64 = 0
        var other: [String] = []
        var lines = draft.requestHeaders
        for line in draft.requestHeaders {
            let (name, lower) = bit(line.name.string)
            if let name { known |= 1 << UInt64(name.rawValue) } else { other.append(lower) }
        }
        // What nginx sends unless the configuration says otherwise; hop-by-hop fields are never copied in any case.
        if known & (1 << UInt64(HeaderName.host.rawValue)) == 0 {
            lines.insert(HeaderTemplate(name: ByteView("Host"), value: proxyHostTemplate, arena: arena), at: 0)
            known |= 1 << UInt64(HeaderName.host.rawValue)
        }
        if draft.settings.proxy.httpMinor == 0, known & (1 << UInt64(HeaderName.connection.rawValue)) == 0 {
            let close = Template(literal: ByteView("close"), arena: arena)
            lines.insert(HeaderTemplate(name: ByteView("Connection"), value: close, arena: arena), at: 1)
        }
        // A line without a value says only that the client's own is not passed on.
        let proxy = draft.settings.proxy
        draft.settings.proxy.requestHeaders = arena.freeze(
            lines.filter { (!$0.value.isEmpty || $0.isHost) && (!$0.framesBody || saysNoBody($0, proxy)) })
        draft.settings.proxy.replacedKnown = known
        draft.settings.proxy.replacedOther = NameSet(other, arena: arena)
        freezeHidden(&draft, bit)
        draft.settings.proxy.redirects = arena.freeze(draft.redirects)
        if !draft.redirectsSaid { draft.settings.proxy.redirectsBeforeDefault = 0 }
        draft.settings.proxy.cookieDomains = arena.freeze(draft.cookieDomains)
        draft.settings.proxy.cookiePaths = arena.freeze(draft.cookiePaths)
        draft.settings.proxy.cookieFlags = arena.freeze(draft.cookieFlags)
    }

    private func freezeHidden(_ draft: inout LocationDraft, _ bit: (String) -> (known: HeaderName?, lower: String)) {
        let own = draft.settings.proxy.isGRPC ? [] : ["x-pad"]
        var hidden = Set(own + ["date", "server", "x-accel-expires", "x-accel-redirect", "x-accel-limit-rate", "x-accel-buffering",
            "x-accel-charset"])
        hidden.formUnion(draft.hideHeaders.map { $0.lowercased() })
        hidden.subtract(draft.passHeaders.map { $0.lowercased() })
        var known: UInt64 = 0
        var other: [String] = []
        for name in hidden {
            if let name = bit(name).known { known |= 1 << UInt64(name.rawValue) } else { other.append(name) }
        }
        draft.settings.proxy.hiddenKnown = known
        draft.settings.proxy.hiddenOther = NameSet(other, arena: arena)
    }

    // MARK: Everything

    /// Fills `root`; returns the addresses to listen on.
    func freeze() throws(Diagnostic) -> [ListenAddress: ListenOptions] {
        let frozen = arena.freeze(locations.map(\.settings))
        root.locations = frozen
        root.regexes = arena.freeze(regexes)
        root.maps = arena.freeze(maps)
        root.splitClients = arena.freeze(splitClients)
        try checkRecodings()
        root.charsets = Charsets(names: charsets, tables: charsetTables, arena: arena)
        root.limitZones = arena.freeze(try limitZoneSettings())
        root.certificateCaches = arena.freeze(certificateCaches)
        root.valueSlots = variables.slots
        root.userVariables = NameTable(variables.names.map { ($0, variables.find($0)?.code ?? 0) }, arena: arena)
        root.captureSlots = NameTable(variables.groups.map { ($0.key, $0.value) }, arena: arena)
        root.logFiles = arena.freeze(logFileList.map { LogFile($0) })
        var settings: [ServerSettings] = []
        for draft in servers {
            var server = draft.settings
            server.settings = frozen[Int(draft.settingsIndex)]
            // `.example.com` calls itself `example.com`.
            let name = draft.names.first?.text ?? ""
            server.name = arena.freeze(name.hasPrefix(".") ? String(name.dropFirst()) : name)
            server.locations = tree(draft.locations)
            server.isAdmin = !draft.locations.isEmpty && draft.locations.allSatisfy { locations[Int($0.index)].settings.handler == .admin }
            server.namedLocations = NameTable(
                draft.locations.compactMap { if case .named = $0.kind { (String(decoding: $0.name, as: UTF8.self), $0.index) } else { nil } },
                arena: arena)
            settings.append(server)
        }
        root.servers = arena.freeze(settings)
        return try freezeListens()
    }

    private func tree(_ entries: [LocationEntryDraft]) -> LocationTree {
        LocationTree(
            entries.compactMap { entry in
                let kind: LocationTree.Entry.Kind
                switch entry.kind {
                case .exact: kind = .exact
                case .prefix: kind = .prefix
                case .prefixBeforeRegexes: kind = .prefixBeforeRegexes
                case .regex(let regex): kind = .regex(regex)
                case .named: return nil
                }
                let nested = entry.nested.isEmpty ? nil : tree(entry.nested)
                return LocationTree.Entry(kind: kind, name: entry.name, location: entry.index, nested: nested)
            }, arena: arena)
    }

    private func freezeListens() throws(Diagnostic) -> [ListenAddress: ListenOptions] {
        var order: [ListenAddress] = []
        var admins: Set<ListenAddress> = []
        var options: [ListenAddress: ListenOptions] = [:]
        var flags: [ListenAddress: ListenFlags] = [:]
        var members: [ListenAddress: [(server: Int32, isDefault: Bool, position: Position)]] = [:]
        for (i, server) in servers.enumerated() {
            for listen in server.listens {
                if members[listen.address] == nil {
                    order.append(listen.address)
                    options[listen.address] = listen.options
                } else if listen.options != ListenOptions() {
                    options[listen.address] = listen.options
                }
                flags[listen.address, default: ListenFlags()].formUnion(listen.flags)
                if listen.isDefault, let other = members[listen.address]?.first(where: \.isDefault) {
                    throw Diagnostic(
                        at: listen.position, directive: "listen", "a duplicate default server for \(listen.address.text)",
                        found: "default_server", expected: "one default server for each address", hint: "the first is at \(other.position)")
                }
                if server.hasAdmin { admins.insert(listen.address) }
                members[listen.address, default: []].append((Int32(i), listen.isDefault, listen.position))
            }
        }
        // As admin.sock: whoever may open it may change everything.
        for address in admins where address.isUnix && options[address]?.unixMode == nil { options[address]?.unixMode = 0o600 }
        var listens: [ListenSettings] = []
        for address in order {
            let list = members[address] ?? []
            let fallback = list.first(where: \.isDefault) ?? list[0]
            let socket = SocketAddress(bytes: arena.freeze(bytes: address.bytes), text: arena.freeze(address.text))
            let names = try serverNames(list.map(\.server), at: address)
            var listen = ListenSettings(address: socket, names: names, defaultServer: fallback.server)
            let spoken = flags[address] ?? ListenFlags()
            if spoken.isTLS { try checkTLS(list, fallback) }
            listen.isTLS = spoken.isTLS
            listen.speaksHTTP2 = spoken.speaksHTTP2
            listen.acceptsProxyProtocol = spoken.acceptsProxyProtocol
            listens.append(listen)
        }
        root.listens = arena.freeze(listens)
        return options
    }

    /// A default server without certificate can only refuse, and then the others need theirs.
    private func checkTLS(
        _ members: [(server: Int32, isDefault: Bool, position: Position)], _ fallback: (server: Int32, isDefault: Bool, position: Position)
    ) throws(Diagnostic) {
        let first = servers[Int(fallback.server)]
        if !first.tls.certificates.isEmpty { return }
        let wanting = first.settings.tls.rejectsHandshake
            ? members.first { servers[Int($0.server)].tls.certificates.isEmpty && !servers[Int($0.server)].settings.tls.rejectsHandshake }
            : fallback
        guard let wanting else { return }
        throw Diagnostic(
            at: wanting.position, directive: "listen", "no \"ssl_certificate\" is defined for the \"listen ... ssl\" directive", found: "ssl",
            expected: "ssl_certificate and ssl_certificate_key, or ssl_reject_handshake")
    }

    private func serverNames(_ members: [Int32], at address: ListenAddress) throws(Diagnostic) -> ServerNames {
        var exact: [(String, Int32)] = []
        var suffixes: [(String, Int32)] = []
        var prefixes: [(String, Int32)] = []
        var expressions: [ServerNames.RegexName] = []
        var taken: Set<String> = []
        for server in members {
            for (word, text) in servers[Int(server)].names {
                if text.hasPrefix("~") {
                    let index = try regex(Array(word.bytes.dropFirst()), at: word, ignoringCase: true, of: "server_name")
                    expressions.append(ServerNames.RegexName(regex: index, server: server))
                    continue
                }
                if !taken.insert(text).inserted {
                    warnings.append(
                        Diagnostic(
                            at: word.position, directive: "server_name", "conflicting server name \"\(text)\" on \(address.text), ignored",
                            found: text, expected: "each name once on an address"))
                    continue
                }
                if text.hasPrefix("*.") {
                    suffixes.append((String(text.dropFirst(2)), server))
                } else if text.hasPrefix(".") {
                    exact.append((String(text.dropFirst()), server))
                    suffixes.append((String(text.dropFirst()), server))
                } else if text.hasSuffix(".*") {
                    prefixes.append((String(text.dropLast(2)), server))
                } else {
                    exact.append((text, server))
                }
            }
        }
        // Expressions of server names were compiled after the table was frozen.
        root.regexes = arena.freeze(regexes)
        return ServerNames(exact: exact, suffixes: suffixes, prefixes: prefixes, regexes: expressions, arena: arena)
    }
}
