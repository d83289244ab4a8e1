import ConfigurationFile
import Testing

@Suite struct KnownDirectivesTests {
    static let everywhere = Set(Context.allCases)
    static let httpLevels: Set<Context> = [.http, .server, .location]
    static let streamLevels: Set<Context> = [.stream, .streamServer]

    static let expected: [(String, Set<Context>)] = [
        ("include", everywhere),
        ("user", [.main]), ("worker_processes", [.main]), ("pid", [.main]), ("daemon", [.main]), ("load_module", [.main]),
        ("events", [.main]), ("http", [.main]), ("mail", [.main]), ("stream", [.main]),
        ("error_log", httpLevels.union([.main, .stream, .streamServer, .mail, .mailServer])),
        ("worker_connections", [.events]), ("multi_accept", [.events]), ("use", [.events]),
        ("server", [.http, .upstream, .stream, .streamUpstream, .mail]),
        ("listen", [.server, .streamServer, .mailServer]),
        ("server_name", [.server, .streamServer, .mail, .mailServer]),
        ("location", [.server, .location]), ("upstream", [.http, .stream]),
        ("proxy_pass", [.location, .ifInLocation, .limitExcept, .streamServer]),
        ("proxy_set_header", httpLevels), ("proxy_buffering", httpLevels),
        ("proxy_connect_timeout", httpLevels.union(streamLevels)),
        ("proxy_protocol", [.streamServer, .stream, .mail, .mailServer]),
        ("grpc_pass", [.location, .ifInLocation]), ("fastcgi_pass", [.location, .ifInLocation]),
        ("return", [.server, .location, .ifInServer, .ifInLocation, .streamServer]),
        ("rewrite", [.server, .location, .ifInServer, .ifInLocation]),
        ("if", [.server, .location]), ("limit_except", [.location]), ("internal", [.location]), ("alias", [.location]),
        ("root", [.http, .server, .location, .ifInLocation]),
        ("try_files", [.server, .location]),
        ("add_header", [.http, .server, .location, .ifInLocation]),
        ("access_log", [.http, .server, .location, .ifInLocation, .limitExcept, .stream, .streamServer]),
        ("map", [.http, .stream]), ("split_clients", [.http, .stream]), ("log_format", [.http, .stream]),
        ("keepalive", [.upstream]), ("least_conn", [.upstream, .streamUpstream]), ("ip_hash", [.upstream]),
        ("limit_req_zone", [.http]), ("allow", [.http, .server, .location, .limitExcept, .stream, .streamServer]),
        ("ssl_certificate", [.http, .server, .stream, .streamServer, .mail, .mailServer]),
        ("ssl_preread", streamLevels), ("imap_auth", [.mail, .mailServer]), ("auth_http", [.mail, .mailServer]),
        ("http2", [.http, .server]), ("quic_gso", [.http, .server]),
    ]

    @Test(arguments: expected)
    func aKnownDirectiveHasItsBlocks(_ name: String, _ contexts: Set<Context>) {
        #expect(KnownDirectives.contexts(of: name) == contexts)
    }

    @Test func theTableIsWhole() {
        #expect(KnownDirectives.names.count == 656)
        #expect(KnownDirectives.contexts(of: "proxy_pas") == nil)
        #expect(KnownDirectives.contexts(of: "") == nil)
        #expect(KnownDirectives.names.allSatisfy { $0.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F } })
        #expect(KnownDirectives.names(in: .upstream).contains("zone"))
    }

    @Test(arguments: [
        ("proxy_pas", "proxy_pass"), ("porxy_pass", "proxy_pass"), ("proxy-pass", "proxy_pass"), ("lisen", "listen"),
        ("servr", "server"), ("sever_name", "server_name"), ("Location", "location"), ("upstraem", "upstream"),
        ("retrun", "return"), ("proxy_sett_heder", "proxy_set_header"), ("xyzzy", nil), ("", nil), ("q", nil),
        ("frobnicate_everything", nil), ("is", "if"),
    ])
    func theNearestNameIsMeant(_ name: String, _ expected: String?) { #expect(KnownDirectives.nearest(to: name) == expected) }

    @Test func equallyNearNamesGoByBytes() {
        #expect(nearestName(to: "abcd", among: ["abce", "abca", "abcf"]) == "abca")
        #expect(nearestName(to: "abcd", among: ["badc"]) == nil)
        #expect(nearestName(to: "abcdef", among: ["badcef"]) == "badcef")
        #expect(nearestName(to: "ab", among: ["", "a", "b"]) == nil)
        #expect(nearestName(to: String(repeating: "a", count: 200), among: ["a"]) == nil)
    }
}

@Suite struct RefusalTests {
    private func refusal(_ text: String, _ context: Context, own: [String: Set<Context>] = [:]) throws -> String {
        let tree = try parse(Array(text.utf8), file: "/etc/x.conf")
        return Diagnostic.refusal(of: tree[0], in: context, own: own).description
    }

    @Test func aRefusalSaysWhatIsTheMatter() throws {
        #expect(
            try refusal("\n  proxy_pas http://a;", .location)
                == #"unknown directive "proxy_pas" in /etc/x.conf:2:3; did you mean "proxy_pass"?"#)
        #expect(try refusal("frobnicate a;", .http) == #"unknown directive "frobnicate" in /etc/x.conf:1:1"#)
        #expect(try refusal("a\u{1}\"b;", .http) == #"unknown directive "a\x01"b" in /etc/x.conf:1:1"#)
        #expect(
            try refusal("proxy_pass http://a;", .server)
                == #""proxy_pass" directive is not allowed here in /etc/x.conf:1:1; "#
                + "allowed in: location, if in location, limit_except, server in stream")
        #expect(
            try refusal("image_filter off;", .location)
                == #"directive "image_filter" of nginx is not supported yet in /etc/x.conf:1:1"#)
    }

    @Test func ownDirectivesAreKnownToo() throws {
        let own: [String: Set<Context>] = ["split": [.http], "server": [.http]]
        #expect(try refusal("splt a;", .http, own: own).hasSuffix(#"did you mean "split"?"#))
        #expect(try refusal("split a;", .server, own: own).hasSuffix("not allowed here in /etc/x.conf:1:1; allowed in: http"))
        // A name that may stand here is meant before a nearer one that may not.
        #expect(try refusal("serve a;", .upstream).hasSuffix(#"did you mean "server"?"#))
    }

    @Test func aForgottenSemicolonIsPointedAt() throws {
        let tree = try parse(Array("listen 80\nserver_name a;\nroot /x\n location / {}\nworker_processes;http;".utf8), file: "f")
        #expect(
            Diagnostic.wrongArgumentCount(tree[0], expected: "one argument").description
                == #"invalid number of arguments in "listen" directive in f:1:1; is a ";" missing after "80" at line 1?"#)
        #expect(
            Diagnostic.notTerminated(tree[1]).description
                == #"directive "root" is not terminated by ";" in f:3:1; is a ";" missing after "/x" at line 3?"#)
        let count = Diagnostic.wrongArgumentCount(tree[2], expected: "one argument")
        #expect(
            count.description == #"invalid number of arguments in "worker_processes" directive in f:5:1; expected one argument"#)
        #expect(count.found == "0 arguments" && count.expected == "one argument")
        #expect(Diagnostic.noBlock(tree[3]).description == #"directive "http" has no opening "{" in f:5:18"#)
        #expect(
            Diagnostic.duplicate(tree[3], first: tree[0].position).description
                == #""http" directive is duplicate in f:5:18; the first is at f:1:1"#)
    }
}
