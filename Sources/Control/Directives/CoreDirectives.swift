// Directives of servers and locations as such: listen, server_name, root, alias, index, try_files, types.

import Bytes
import ConfigurationFile
import Engine

enum CoreDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("listen", [.server], 1...(.max), isUnique: false) { (scope, d) throws(Diagnostic) in try listen(scope, d) },
        DirectiveRule("server_name", [.server], 1...(.max), isUnique: false) { (scope, d) throws(Diagnostic) in
            for word in d.arguments {
                var text = word.text
                if !text.hasPrefix("~") { text = text.lowercased() }
                if text == "$hostname" { text = scope.builder.system.hostname.lowercased() }
                if text.dropFirst(text.hasPrefix("*.") ? 2 : 0).dropLast(text.hasSuffix(".*") ? 2 : 0).contains("*"), !text.hasPrefix("~") {
                    throw .invalidValue(word, of: "server_name", expected: "a name with \"*\" only as its first or last label")
                }
                scope.server.names.append((word, text))
            }
        },
        DirectiveRule("root", .httpLevelsAndIf, 1...1) { (scope, d) throws(Diagnostic) in try root(scope, d, isAlias: false) },
        DirectiveRule("alias", [.location], 1...1) { (scope, d) throws(Diagnostic) in try root(scope, d, isAlias: true) },
        DirectiveRule("index", .httpLevels, 1...(.max), isUnique: false) { (scope, d) throws(Diagnostic) in
            if scope.location.begun.insert("index").inserted { scope.location.index = [] }
            for word in d.arguments { scope.location.index?.append(try scope.builder.template(word, of: "index")) }
        },
        DirectiveRule("try_files", [.server, .location], 2...(.max)) { (scope, d) throws(Diagnostic) in
            var list: [Template] = []
            for word in d.arguments { list.append(try scope.builder.template(word, of: "try_files")) }
            if let last = d.arguments.last, last.bytes.first == UInt8(ascii: "="), !last.hasVariables {
                var code = last
                code.bytes.removeFirst()
                _ = try code.integer(in: 0...999, of: "try_files")
            }
            scope.location.settings.tryFiles = scope.builder.arena.freeze(list)
        },
        DirectiveRule("types", .httpLevels, 0...0, takesBlock: true, isUnique: false) { (scope, d) throws(Diagnostic) in
            if scope.location.begun.insert("types").inserted { scope.location.mediaTypes = [] }
            for entry in d.block ?? [] {
                for word in entry.arguments { scope.location.mediaTypes?.append((word.text.lowercased(), entry.name.text)) }
            }
        },
        DirectiveRule("default_type", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings.defaultType = scope.builder.arena.freeze(bytes: d.arguments[0].bytes)
        },
        DirectiveRule("internal", [.location], 0...0) { (scope, _) throws(Diagnostic) in scope.location.settings.isInternal = true },
        .flag("log_not_found", .httpLevels, \.logNotFound),
        .serverFlag("merge_slashes", \.mergeSlashes),
        .accepted("server_names_hash_bucket_size", [.http], 1...1, why: "tables are sized to fit"),
        .accepted("server_names_hash_max_size", [.http], 1...1, why: "tables are sized to fit"),
        .accepted("types_hash_bucket_size", .httpLevels, 1...1, why: "tables are sized to fit"),
        .accepted("types_hash_max_size", .httpLevels, 1...1, why: "tables are sized to fit"),
        .accepted("variables_hash_bucket_size", [.http], 1...1, why: "tables are sized to fit"),
        .accepted("variables_hash_max_size", [.http], 1...1, why: "tables are sized to fit"),
        .accepted("connection_pool_size", .httpAndServer, 1...1, why: "memory is pooled by the worker"),
        .accepted("request_pool_size", .httpAndServer, 1...1, why: "memory is pooled by the worker"),
        .acceptedFlag("sendfile", .httpLevelsAndIf, why: "large files always go by sendfile"),
        .accepted("sendfile_max_chunk", .httpLevels, 1...1, why: "a turn's share is bounded in any case"),
        .acceptedFlag("tcp_nopush", .httpLevels, why: "head and first data leave in one send"),
        .acceptedFlag("tcp_nodelay", .httpLevels, why: "always on"),
        .accepted("open_file_cache", .httpLevels, 1...2, why: "files are opened for each answer"),
        .acceptedFlag("open_file_cache_errors", .httpLevels, why: "files are opened for each answer"),
        .accepted("open_file_cache_min_uses", .httpLevels, 1...1, why: "files are opened for each answer"),
        .accepted("open_file_cache_valid", .httpLevels, 1...1, why: "files are opened for each answer"),
        .accepted("aio", .httpLevels, 1...1, why: "files are sent by the kernel"),
        .accepted("directio", .httpLevels, 1...1, why: "files are sent by the kernel"),
        .accepted("output_buffers", .httpLevels, 2...2, why: "buffers belong to the worker"),
        .accepted("postpone_output", .httpLevels, 1...1, why: "answers leave at once"),
    ]

    private static func root(_ scope: Scope, _ d: Directive, isAlias: Bool) throws(Diagnostic) {
        let name = isAlias ? "alias" : "root"
        var word = d.arguments[0]
        if let other = scope.seen[isAlias ? "root" : "alias"] { throw .duplicate(d, first: other) }
        if isAlias, scope.location.settings.isNamed {
            throw Diagnostic(
                at: d.position, directive: name, "the \"alias\" directive cannot be used inside the named location", found: name,
                expected: "\"root\" in a named location")
        }
        if !isAlias, word.bytes.count > 1, word.bytes.last == UInt8(ascii: "/") { word.bytes.removeLast() }
        if word.bytes.first != UInt8(ascii: "$") { word.bytes = Array(scope.builder.logs.absolute(word.text).utf8) }
        scope.location.settings.root = try scope.builder.template(word, of: name)
        scope.location.settings.isAlias = isAlias
    }

    private static func listen(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let addresses = try ListenAddress.parse(d.arguments[0].text, at: d.arguments[0].position, system: scope.builder.system)
        var options = ListenOptions()
        var isDefault = false
        for word in d.arguments.dropFirst() {
            switch word.text {
            case "default_server", "default": isDefault = true
            case "ssl", "http2", "proxy_protocol": continue
            case "bind", "deferred", "quic": try flag(word, &options)
            case "reuseport": options.isReusePort = true
            default: try option(word, &options)
            }
            if word.text.hasPrefix("mode="), !addresses.allSatisfy(\.isUnix) { throw invalid(word) }
        }
        let flags = listenFlags(scope, d)
        for address in addresses {
            if scope.server.listens.contains(where: { $0.address == address }) {
                throw Diagnostic(
                    at: d.position, directive: "listen", "a duplicate listen \(address.text)", found: d.arguments[0].shown,
                    expected: "each address once in a server")
            }
            scope.server.listens.append(
                ListenDraft(address: address, isDefault: isDefault, options: options, flags: flags, position: d.position))
        }
    }

    /// What the address speaks.
    private static func listenFlags(_ scope: Scope, _ d: Directive) -> ListenFlags {
        var flags = ListenFlags()
        for word in d.arguments.dropFirst() {
            switch word.text {
            case "ssl": flags.isTLS = true
            case "http2":
                flags.speaksHTTP2 = true
                scope.builder.warnings.append(
                    Diagnostic(
                        at: word.position, directive: "listen",
                        "the \"listen ... http2\" directive is deprecated, use the \"http2\" directive instead", found: word.text,
                        expected: "\"http2 on;\""))
            case "proxy_protocol": flags.acceptsProxyProtocol = true
            default: break
            }
        }
        return flags
    }

    private static func flag(_ word: Word, _ options: inout ListenOptions) throws(Diagnostic) {
        switch word.text {
        case "bind": break
        case "deferred": options.deferSeconds = 1
        default:
            throw Diagnostic(
                at: word.position, directive: "listen", "the \"\(word.text)\" parameter of \"listen\" is not supported yet",
                found: word.text, expected: "a listener on TCP")
        }
    }

    private static func option(_ word: Word, _ options: inout ListenOptions) throws(Diagnostic) {
        guard let (name, value) = word.parameter else {
            throw invalid(word)
        }
        switch name {
        case "backlog": options.backlog = Int32(try value.integer(in: 1...Int(Int32.max), of: "listen"))
        case "rcvbuf": options.receiveBufferBytes = Int32(clamping: try value.sizeBytes(of: "listen"))
        case "sndbuf": options.sendBufferBytes = Int32(clamping: try value.sizeBytes(of: "listen"))
        case "fastopen": options.fastOpen = Int32(try value.integer(in: 1...Int(Int32.max), of: "listen"))
        case "ipv6only": options.ipv6Only = try value.flag(of: "listen")
        case "mode":
            guard let mode = UInt32(value.text, radix: 8), mode <= 0o777, value.text.utf8.first != UInt8(ascii: "+") else { throw invalid(word) }
            options.unixMode = mode
        case "so_keepalive": options.keepalive = value.text != "off"
        default: throw invalid(word)
        }
    }

    private static func invalid(_ word: Word) -> Diagnostic {
        Diagnostic(
            at: word.position, directive: "listen", "invalid parameter \"\(word.shown)\" of the \"listen\" directive", found: word.shown,
            expected: "a parameter of listen, such as default_server or backlog=511")
    }
}
