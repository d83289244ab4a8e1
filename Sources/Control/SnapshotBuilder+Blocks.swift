// The blocks of the builder that hold routes and peers: location, if, upstream; and the small tables they share.
// Part of `SnapshotBuilder`.

import AdminAPI
import Bytes
import ConfigurationFile
import Engine
import HTTPMessage

extension SnapshotBuilder {
    // MARK: location

    func readLocation(_ d: Directive, _ block: [Directive], in parent: Scope) throws(Diagnostic) {
        let scope = parent.child(.location)
        scope.location.settings.handler = .files
        scope.location.settings.proxy.target = .none
        scope.location.passesGRPC = false
        scope.location.healthChecks = []
        scope.location.settings.tryFiles = .empty
        scope.location.settings.isInternal = false
        let (kind, name) = try locationName(d)
        if parent.context == .location {
            if case .named = kind {
                throw Diagnostic(
                    at: d.position, directive: "location", "named location \"\(d.arguments[0].shown)\" can be on the server level only",
                    found: d.arguments[0].shown, expected: "a location of the server")
            }
            if parent.location.settings.isExact || parent.location.settings.isNamed {
                throw Diagnostic(
                    at: d.position, directive: "location", "location \"\(d.arguments.last?.shown ?? "")\" cannot be inside this location",
                    found: "a nested location", expected: "a prefix location or a regular expression around it")
            }
            // Nothing that its outer location takes would ever reach it, whatever it forbids.
            let outer = Array(parent.location.settings.name.buffer)
            if case .regex = kind {} else if !parent.location.settings.isRegex, !name.starts(with: outer) {
                let names = (String(decoding: name, as: UTF8.self), String(decoding: outer, as: UTF8.self))
                throw Diagnostic(
                    at: d.position, directive: "location", "location \"\(names.0)\" is outside location \"\(names.1)\"", found: names.0,
                    expected: "a name that begins with \"\(names.1)\"")
            }
        }
        scope.location.settings.name = arena.freeze(bytes: name)
        scope.location.settings.prefixCount = 0
        scope.location.settings.isExact = false
        scope.location.settings.isRegex = false
        scope.location.settings.isNamed = false
        scope.location.settings.redirectsToSlash = false
        switch kind {
        case .exact:
            scope.location.settings.isExact = true
            scope.location.settings.prefixCount = name.count
        case .prefix, .prefixBeforeRegexes: scope.location.settings.prefixCount = name.count
        case .regex: scope.location.settings.isRegex = true
        case .named: scope.location.settings.isNamed = true
        }
        try read(block, in: scope)
        try HealthDirectives.note(scope.location, self)
        if let first = parent.children.first(where: { same($0.kind, kind) && $0.name == name }) {
            throw Diagnostic(
                at: d.position, directive: "location", "duplicate location \"\(String(decoding: name, as: UTF8.self))\"",
                found: d.arguments.last?.shown ?? "", expected: "each location once", hint: "the first is at \(first.position)")
        }
        let index = try add(scope.location)
        parent.children.append(
            LocationEntryDraft(kind: kind, name: name, index: index, nested: scope.children, position: d.position))
    }

    private func same(_ a: LocationEntryDraft.Kind, _ b: LocationEntryDraft.Kind) -> Bool {
        switch (a, b) {
        case (.exact, .exact), (.named, .named): true
        case (.prefix, .prefix), (.prefix, .prefixBeforeRegexes), (.prefixBeforeRegexes, .prefix),
            (.prefixBeforeRegexes, .prefixBeforeRegexes): true
        default: false
        }
    }

    private func locationName(_ d: Directive) throws(Diagnostic) -> (LocationEntryDraft.Kind, [UInt8]) {
        func regexKind(_ pattern: [UInt8], _ word: Word, ignoringCase: Bool) throws(Diagnostic) -> (LocationEntryDraft.Kind, [UInt8]) {
            (.regex(try regex(pattern, at: word, ignoringCase: ignoringCase, of: "location")), pattern)
        }
        if d.arguments.count == 2 {
            let word = d.arguments[1]
            switch d.arguments[0].text {
            case "=": return (.exact, word.bytes)
            case "^~": return (.prefixBeforeRegexes, word.bytes)
            case "~": return try regexKind(word.bytes, word, ignoringCase: false)
            case "~*": return try regexKind(word.bytes, word, ignoringCase: true)
            default: throw .invalidValue(d.arguments[0], of: "location", expected: "\"=\", \"^~\", \"~\" or \"~*\" before the name")
            }
        }
        guard d.arguments.count == 1 else { throw .wrongArgumentCount(d, expected: "a name, with or without a modifier") }
        let word = d.arguments[0]
        let text = word.text
        if text.hasPrefix("@") { return (.named, word.bytes) }
        if text.hasPrefix("=") { return (.exact, Array(word.bytes.dropFirst())) }
        if text.hasPrefix("^~") { return (.prefixBeforeRegexes, Array(word.bytes.dropFirst(2))) }
        if text.hasPrefix("~*") { return try regexKind(Array(word.bytes.dropFirst(2)), word, ignoringCase: true) }
        if text.hasPrefix("~") { return try regexKind(Array(word.bytes.dropFirst()), word, ignoringCase: false) }
        return (.prefix, word.bytes)
    }

    // MARK: if

    /// `if` becomes steps: unless the condition holds, go on behind the block.
    func readIf(_ d: Directive, in parent: Scope) throws(Diagnostic) {
        guard let block = d.block else { throw .noBlock(d) }
        let context: Context
        switch parent.context {
        case .server: context = .ifInServer
        case .location: context = .ifInLocation
        default: throw .refusal(of: d, in: parent.context, own: DirectiveTable.own)
        }
        let condition = try RewriteDirectives.condition(self, d)
        let scope = parent.child(context)
        try read(block, in: scope)
        let inner = scope.location.steps
        let from = parent.location.steps.count
        var steps: [RewriteStep] = []
        if context == .ifInLocation {
            var settings = scope.location
            settings.steps = []
            let index = try add(settings)
            steps.append(.enter(location: index))
        }
        // Steps of the block are placed behind the test; their own jumps move with them.
        let base = from + 1 + steps.count
        steps += inner.map { step in
            if case .unless(let condition, let target) = step { return .unless(condition, target: target + Int32(base)) }
            return step
        }
        parent.location.steps.append(.unless(condition, target: Int32(from + 1 + steps.count)))
        parent.location.steps += steps
    }

    // MARK: limit_except

    /// Methods that are not named have settings of their own, and no rewriting: these steps stand before all others.
    func readLimitExcept(_ d: Directive, _ block: [Directive], in parent: Scope) throws(Diagnostic) {
        if d.arguments.isEmpty { throw .wrongArgumentCount(d, expected: "at least one method") }
        var allowed: UInt32 = 0
        for word in d.arguments {
            guard let method = Self.limitableMethods.first(where: { $0.word.description == word.text.uppercased() }) else {
                throw Diagnostic(
                    at: word.position, directive: "limit_except", "invalid method \"\(word.shown)\"", found: word.shown,
                    expected: Self.limitableMethods.map(\.word.description).joined(separator: ", "))
            }
            allowed |= 1 << UInt32(method.rawValue)
            if method == .get { allowed |= 1 << UInt32(Method.head.rawValue) }
        }
        if let first = parent.seen["limit_except"] { throw .duplicate(d, first: first) }
        parent.seen["limit_except"] = d.position
        let scope = parent.child(.limitExcept)
        try read(block, in: scope)
        let index = try add(scope.location)
        let steps: [RewriteStep] = [.unless(.otherMethod(allowed), target: 3), .enter(location: index), .stop]
        parent.location.steps.insert(contentsOf: steps, at: 0)
    }

    private static let limitableMethods: [Method] = [
        .get, .head, .post, .put, .delete, .mkcol, .copy, .move, .options, .propfind, .proppatch, .lock, .unlock, .patch,
    ]

    // MARK: upstream

    func readUpstream(_ d: Directive, _ block: [Directive], in http: Scope) throws(Diagnostic) {
        try expectArguments(d, 1)
        let name = d.arguments[0].text
        try refuseTaken(name, d)
        let scope = http.child(.upstream)
        scope.upstream = UpstreamDraft(name: name, position: d.position)
        try read(block, in: scope)
        guard let read = scope.upstream else { return }
        if read.state.servers.isEmpty {
            throw Diagnostic(
                at: d.position, directive: "upstream", "no servers are inside upstream", found: "upstream \(name)", expected: "at least one server")
        }
        upstreams[name] = read
    }

    /// Upstreams and splits share their names.
    func refuseTaken(_ name: String, _ d: Directive) throws(Diagnostic) {
        if let first = upstreams[name]?.position ?? splits[name]?.position { throw .duplicate(d, first: first) }
    }

    /// The slot of what a `proxy_pass` names: an upstream or a split that is defined (perhaps further down), or the host itself.
    /// Without a default port the host must come with its own.
    func slot(_ authority: String, at word: Word, defaultPort: Int?) -> Int {
        let hasPort = authority.hasPrefix("unix:") || (!authority.hasSuffix("]") && authority.contains(":"))
        let direct = hasPort || defaultPort == 80 ? authority : "\(authority):\(defaultPort.map(String.init) ?? "")"
        let key = "\(authority) \(direct)"
        if let known = slotIndex[key] { return known }
        slots.append((authority, direct, word))
        slotIndex[key] = slots.count - 1
        return slots.count - 1
    }

    /// Whether there is an upstream or a split of that name.
    func isNamed(_ name: String) -> Bool { upstreams[name] != nil || splits[name] != nil || runtimeNames.contains(name) }

    /// Addresses for `HOST[:PORT]` or `unix:PATH`.
    func addresses(_ text: String, at word: Word, of directive: String) throws(Diagnostic) -> [ResolvedAddress] {
        if let known = addresses[text] { return known }
        let found = try ServerAddress.resolve(text, at: word, of: directive, with: system)
        addresses[text] = found
        return found
    }

    /// The upstreams and splits as a state, once all are known.
    func finishState() throws(Diagnostic) -> ProxyState {
        var state = ProxyState()
        for (name, draft) in upstreams {
            if let method = draft.method, method.name.text != "least_conn", let i = draft.state.servers.firstIndex(where: \.backup) {
                throw Diagnostic(
                    at: draft.positions[i], directive: "server", "balancing method does not support parameter \"backup\"", found: "backup",
                    expected: "no backup server with \(method.name.text)")
            }
            if let method = draft.method, method.name.text != "least_conn",
                let i = draft.state.servers.firstIndex(where: { $0.slowStartMs > 0 })
            {
                throw Diagnostic(
                    at: draft.positions[i], directive: "server", "balancing method does not support parameter \"slow_start\"",
                    found: "slow_start", expected: "no slow_start with \(method.name.text)")
            }
            state.upstreams[name] = draft.state
        }
        for (name, draft) in splits {
            try SplitDirectives.check(draft, upstreams: Set(upstreams.keys).union(runtimeNames))
            state.splits[name] = draft.state
        }
        return state
    }

    /// Pools for what `proxy_pass` names without an `upstream` or a split of that name.
    func implicitUpstreams() throws(Diagnostic) -> [(name: String, definition: UpstreamDefinition)] {
        var made: [(name: String, definition: UpstreamDefinition)] = []
        for slot in slots where !isNamed(slot.name) && !made.contains(where: { $0.name == slot.direct }) {
            let (name, word) = (slot.direct, slot.word)
            if name.hasSuffix(":") {
                throw Diagnostic(
                    at: word.position, directive: "grpc_pass", "no port in upstream \"\(slot.name)\"", found: slot.name,
                    expected: "HOST:PORT, or the name of an upstream or a split")
            }
            let found = try addresses(name, at: word, of: "proxy_pass")
            do throws(Problem) {
                let state = UpstreamState(servers: [ServerState(server: name)])
                made.append(
                    (name, try PoolBuilder.make(name, state, variables: variables, counters: counters, pointer: "", isImplicit: true) {
                        (_, _) throws(Problem) in found
                    }))
            } catch {
                throw Diagnostic(at: word.position, directive: "proxy_pass", error.detail, found: name, expected: "a host")
            }
        }
        return made
    }

    // MARK: Shared tables

    func mapIndex(_ name: String) -> Int {
        if let known = variables.find(name), known.kind == .map { return Int(known.index) }
        return 0
    }

    func splitIndex(_ name: String) -> Int {
        if let known = variables.find(name), known.kind == .splitClients { return Int(known.index) }
        return 0
    }

    func combinedFormat() throws(Diagnostic) -> (template: Template, escaping: Escaping) {
        if let known = combined { return (known, .log) }
        let text =
            "$remote_addr - $remote_user [$time_local] \"$request\" $status $body_bytes_sent \"$http_referer\" \"$http_user_agent\""
        let made = try template(Word(text, position: Position(file: "combined")), of: "log_format")
        combined = made
        return (made, .log)
    }

    func accessLogFile(_ path: Word) throws(Diagnostic) -> Int32 {
        let file = try logs.file(path.text, at: path, of: "access_log")
        if let known = logFileList.firstIndex(where: { $0 === file }) { return Int32(known) }
        logFileList.append(file)
        return Int32(logFileList.count - 1)
    }

    func defaultAccessLog() throws(Diagnostic) -> [AccessLogSpec] {
        let format = try combinedFormat()
        system.makeFolder(logs.absolute("logs"))
        let file = try accessLogFile(Word("logs/access.log", position: Position(file: "the default access_log")))
        return [AccessLogSpec(file: file, path: .empty, format: format.template, escaping: format.escaping, condition: .empty)]
    }

    func target(of draft: LocationDraft) -> ErrorLogTarget {
        var target = ErrorLogTarget()
        if let first = draft.errorLogs.first { (target.file, target.level) = (first.file, first.level) }
        if draft.errorLogs.count > 1 { (target.secondFile, target.secondLevel) = (draft.errorLogs[1].file, draft.errorLogs[1].level) }
        return target
    }

    /// A folder for temporary files: made when it is not there.
    func temporaryFolder(_ word: Word) -> ByteView {
        let path = logs.absolute(word.text)
        system.makeFolder(path)
        return arena.freeze(path)
    }

    var proxyHostTemplate: Template {
        Template(parts: arena.freeze([Engine.TemplatePart(literal: .empty, variable: Variable(.proxyHost))]))
    }
}
