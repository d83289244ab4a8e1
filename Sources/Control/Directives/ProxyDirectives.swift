// proxy_pass and the directives about how the upstream is asked: timeouts, retries, buffering, method, body.

import Bytes
import ConfigurationFile
import Engine
import HTTPMessage

enum ProxyDirectives {
    static let all: [DirectiveRule] = [
        DirectiveRule("proxy_pass", [.location, .ifInLocation, .limitExcept], 1...1) { (scope, d) throws(Diagnostic) in try pass(scope, d) },
        DirectiveRule("proxy_http_version", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            guard let minor: UInt8 = ["1.0": 0, "1.1": 1, "2": 1][d.arguments[0].text] else {
                throw .invalidValue(d.arguments[0], of: "proxy_http_version", expected: "\"1.0\", \"1.1\" or \"2\"")
            }
            scope.location.settings.proxy.httpMinor = minor
            scope.location.settings.proxy.speaksHTTP2 = d.arguments[0] == "2"
        },
        DirectiveRule("proxy_method", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings.proxy.method = try scope.builder.template(d.arguments[0], of: "proxy_method")
        },
        DirectiveRule("proxy_set_body", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings.proxy.setBody = try scope.builder.template(d.arguments[0], of: "proxy_set_body")
            scope.location.settings.proxy.hasSetBody = true
        },
        DirectiveRule("proxy_bind", .httpLevels, 1...2) { (scope, d) throws(Diagnostic) in
            if d.arguments.count == 2 {
                throw .invalidValue(d.arguments[1], of: "proxy_bind", expected: "one argument (\"transparent\" is not supported yet)")
            }
            scope.location.settings.proxy.bind = try localAddress(d.arguments[0], scope, of: "proxy_bind")
        },
        DirectiveRule("proxy_send_proxy_protocol", .httpLevels, 1...1, isOwn: true) { (scope, d) throws(Diagnostic) in
            guard let version: ProxyHeaderVersion = ["off": ProxyHeaderVersion.none, "v1": .one, "v2": .two][d.arguments[0].text] else {
                throw .invalidValue(d.arguments[0], of: "proxy_send_proxy_protocol", expected: "\"v1\", \"v2\" or \"off\"")
            }
            scope.location.settings.proxy.sendsProxyHeader = version
        },
        .milliseconds("proxy_connect_timeout", .httpLevels, \.proxy.connectTimeoutMs),
        .milliseconds("proxy_send_timeout", .httpLevels, \.proxy.sendTimeoutMs),
        .milliseconds("proxy_read_timeout", .httpLevels, \.proxy.readTimeoutMs),
        DirectiveRule("proxy_next_upstream", .httpLevels, 1...(.max)) { (scope, d) throws(Diagnostic) in
            scope.location.settings.proxy.nextUpstream = try conditions(d)
        },
        DirectiveRule("proxy_next_upstream_tries", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings.proxy.nextUpstreamTries = try d.arguments[0].integer(in: 0...1000, of: "proxy_next_upstream_tries")
        },
        .milliseconds("proxy_next_upstream_timeout", .httpLevels, \.proxy.nextUpstreamTimeoutMs),
        .flag("proxy_buffering", .httpLevels, \.proxy.buffering),
        .flag("proxy_request_buffering", .httpLevels, \.proxy.requestBuffering),
        .flag("proxy_intercept_errors", .httpLevels, \.proxy.interceptErrors),
        .flag("proxy_pass_request_headers", .httpLevels, \.proxy.passRequestHeaders),
        .flag("proxy_pass_request_body", .httpLevels, \.proxy.passRequestBody),
        .flag("proxy_pass_trailers", .httpLevels, \.proxy.passTrailers),
        .flag("proxy_socket_keepalive", .httpLevels, \.proxy.socketKeepalive),
        .size("proxy_socket_rcvbuf", .httpLevels, \.proxy.receiveBufferBytes, in: socketBuffers),
        .size("proxy_socket_sndbuf", .httpLevels, \.proxy.sendBufferBytes, in: socketBuffers),
        .accepted("proxy_send_lowat", .httpLevels, 1...1, why: "Linux has no such threshold"),
        DirectiveRule("proxy_ignore_client_abort", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings.proxy.ignoreClientAbort = try d.arguments[0].flag(of: "proxy_ignore_client_abort") ? .never : .whenClosed
        },
        .size("proxy_buffer_size", .httpLevels, \.proxy.bufferBytes, in: 256...(1 << 20)),
        DirectiveRule("proxy_buffers", .httpLevels, 2...2) { (scope, d) throws(Diagnostic) in
            let count = try d.arguments[0].integer(in: 2...65_536, of: "proxy_buffers")
            let size = try d.arguments[1].size(in: 256...(1 << 20), of: "proxy_buffers")
            if count * size > Limits.pendingBytesMax {
                throw .invalidValue(d.arguments[1], of: "proxy_buffers", expected: "at most \(Limits.pendingBytesMax) bytes in all buffers together")
            }
            scope.location.settings.proxy.buffersBytes = count * size
        },
        DirectiveRule("proxy_busy_buffers_size", .httpLevels, 1...1) { (_, d) throws(Diagnostic) in
            _ = try d.arguments[0].sizeBytes(of: "proxy_busy_buffers_size")
        },
        DirectiveRule("proxy_max_temp_file_size", .httpLevels, 1...1) { (scope, d) throws(Diagnostic) in
            scope.location.settings.proxy.maxTempFileBytes = Int64(try d.arguments[0].offsetBytes(of: "proxy_max_temp_file_size"))
        },
        DirectiveRule("proxy_temp_path", .httpLevels, 1...4) { (scope, d) throws(Diagnostic) in
            scope.location.settings.proxy.tempPath = scope.builder.temporaryFolder(d.arguments[0])
        },
        .accepted("proxy_temp_file_write_size", .httpLevels, 1...1, why: "a temporary file is written as data comes"),
        .accepted("proxy_headers_hash_max_size", .httpLevels, 1...1, why: "tables are sized to fit"),
        .accepted("proxy_headers_hash_bucket_size", .httpLevels, 1...1, why: "tables are sized to fit"),
    ]

    static let socketBuffers = 0...(1 << 30)

    static func conditions(_ d: Directive) throws(Diagnostic) -> NextUpstream {
        let names: [String: NextUpstream] = [
            "error": .error, "timeout": .timeout, "invalid_header": .invalidHeader, "http_500": .http500, "http_502": .http502,
            "http_503": .http503, "http_504": .http504, "http_403": .http403, "http_404": .http404, "http_429": .http429,
            "non_idempotent": .nonIdempotent, "off": .off, "updating": [],
        ]
        var mask: NextUpstream = []
        for word in d.arguments {
            guard let one = names[word.text] else {
                throw .invalidValue(word, of: d.name.text, expected: "one of " + names.keys.sorted().joined(separator: ", "))
            }
            mask.formUnion(one)
        }
        // "off" wins; nothing named but non_idempotent still means errors and timeouts are not tried again.
        return mask.contains(.off) ? [] : mask
    }

    // MARK: proxy_pass

    private static func pass(_ scope: Scope, _ d: Directive) throws(Diagnostic) {
        let word = d.arguments[0]
        scope.location.settings.handler = .proxy
        scope.location.passesGRPC = false
        let name = scope.location.settings.name
        scope.location.settings.redirectsToSlash = name.count > 1 && name[name.count - 1] == UInt8(ascii: "/")
        scope.location.settings.proxy.uri = .empty
        scope.location.settings.proxy.hasURI = false
        scope.location.settings.proxy.usesTLS = false
        if word.hasVariables {
            scope.location.settings.proxy.target = .computed(try scope.builder.template(word, of: "proxy_pass"))
            scope.location.settings.proxy.authorityText = .empty
            scope.location.mayUseTLS = !word.text.lowercased().hasPrefix("http://")
            return
        }
        let text = word.text
        let isTLS = text.lowercased().hasPrefix("https://")
        guard isTLS || text.lowercased().hasPrefix("http://") else {
            throw Diagnostic(
                at: word.position, directive: "proxy_pass", "invalid URL prefix", found: word.shown, expected: "http://HOST[:PORT][/URI] or https://...")
        }
        let (authority, uri) = split(String(text.dropFirst(isTLS ? 8 : 7)))
        if authority.isEmpty {
            throw Diagnostic(at: word.position, directive: "proxy_pass", "no host in upstream \"\(word.shown)\"", found: word.shown, expected: "http://HOST[:PORT][/URI]")
        }
        let settings = scope.location.settings
        if let uri, settings.isRegex || settings.isNamed || scope.context == .ifInLocation || scope.context == .limitExcept {
            throw Diagnostic(
                at: word.position, directive: "proxy_pass",
                "\"proxy_pass\" cannot have URI part in location given by regular expression, or inside named location, or inside \"if\" statement, or inside \"limit_except\" block",
                found: uri, expected: "a URL without URI part")
        }
        let arena = scope.builder.arena
        scope.location.settings.proxy.usesTLS = isTLS
        scope.location.mayUseTLS = isTLS
        scope.location.settings.proxy.target = .named(Int32(scope.builder.slot(authority, at: word, defaultPort: isTLS ? 443 : 80)))
        scope.location.settings.proxy.uri = arena.freeze(uri ?? "")
        scope.location.settings.proxy.hasURI = uri != nil
        scope.location.settings.proxy.authorityText = arena.freeze(authority.hasPrefix("unix:") ? "localhost" : authority)
        let (host, port) = shownHost(authority, standardPort: isTLS ? "443" : "80")
        scope.location.settings.proxy.hostText = arena.freeze(host)
        scope.location.settings.proxy.portText = arena.freeze(port)
    }

    /// The address that connections come from, with or without a port; "off" or nothing: whichever the kernel takes.
    static func localAddress(_ word: Word, _ scope: Scope, of directive: String) throws(Diagnostic) -> Template {
        let template = try scope.builder.template(word, of: directive)
        if !template.isLiteral || word.bytes.isEmpty || word == "off" { return template }
        var host = word.bytes
        if parseIPAddress(host.span) == nil, let colon = host.lastIndex(of: UInt8(ascii: ":")) {
            let port = UInt16(String(decoding: host[(colon + 1)...], as: UTF8.self)) ?? 0
            host = port == 0 ? [] : Array(host[..<colon])
            if host.first == UInt8(ascii: "["), host.last == UInt8(ascii: "]") { host = Array(host.dropFirst().dropLast()) }
        }
        if parseIPAddress(host.span) == nil { throw .invalidValue(word, of: directive, expected: "an address in digits, or \"off\"") }
        return template
    }

    /// `$proxy_host` and `$proxy_port`: a port that goes without saying is not said.
    static func shownHost(_ authority: String, standardPort: String) -> (host: String, port: String) {
        if authority.hasPrefix("unix:") { return ("localhost", "") }
        guard !authority.hasSuffix("]"), let colon = authority.lastIndex(of: ":") else { return (authority, standardPort) }
        let port = String(authority[authority.index(after: colon)...])
        return (port == standardPort ? String(authority[..<colon]) : authority, port)
    }

    /// Host and port, and the URI part if there is one.
    static func split(_ rest: String) -> (authority: String, uri: String?) {
        if rest.hasPrefix("unix:") {
            let path = rest.dropFirst(5)
            guard let colon = path.firstIndex(of: ":") else { return (rest, nil) }
            let uri = String(path[path.index(after: colon)...])
            return ("unix:" + path[..<colon], uri.isEmpty ? nil : uri)
        }
        guard let at = rest.firstIndex(where: { $0 == "/" || $0 == "?" }) else { return (rest, nil) }
        let uri = String(rest[at...])
        return (String(rest[..<at]), uri.hasPrefix("?") ? "/" + uri : uri)
    }
}
