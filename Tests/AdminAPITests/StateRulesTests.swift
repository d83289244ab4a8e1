import AdminAPI
import Testing

@Suite("State rules")
struct StateRulesTests {
    private func refusal(_ change: (inout ProxyState) -> Void) -> Problem? {
        var state = fullState()
        change(&state)
        return problem { () throws(Problem) in try StateRules.check(state) }
    }

    @Test func aGoodStateIsGood() {
        #expect(refusal { _ in } == nil)
        #expect(refusal { $0 = ProxyState() } == nil)
    }

    // MARK: Names

    static let goodNames = ["a", "_", "0", "blue", "Blue-2.x_y", "a.b", String(repeating: "a", count: 64)]
    static let badNames = [
        "", "-a", ".a", "a b", "a/b", "é", "a\n", "a\u{0}", String(repeating: "a", count: 65), "a:80", "$a", "a;",
    ]

    @Test(arguments: goodNames) func takesAName(name: String) {
        #expect(problem { () throws(Problem) in try StateRules.check(name: name) } == nil)
    }

    @Test(arguments: badNames) func refusesAName(name: String) {
        let found = problem { () throws(Problem) in try StateRules.check(name: name) }
        #expect(found?.kind == .badName && found?.pointer == nil)
        #expect(found?.detail.utf8.contains { $0 < 0x20 } == false)
        let upstream = refusal { $0.upstreams[name] = $0.upstreams["green"] }
        #expect(upstream?.kind == .badName && upstream?.pointer == JSONPointer(["upstreams", name]).text)
        let split = refusal { $0.splits[name] = $0.splits["app"] }
        #expect(split?.kind == .badName && split?.pointer == JSONPointer(["splits", name]).text)
    }

    @Test func oneNameIsOneThing() {
        let found = refusal { $0.splits["green"] = $0.splits["app"] }
        #expect(found?.kind == .nameInUse && found?.pointer == "/splits/green" && found?.status == 409)
    }

    // MARK: Addresses

    /// An address and its normal form.
    static let goodAddresses: [(String, String)] = [
        ("a", "a:80"), ("a:80", "a:80"), ("A.Example:8080", "a.example:8080"), ("127.0.0.1", "127.0.0.1:80"),
        ("127.0.0.1:3001", "127.0.0.1:3001"),
        ("localhost:65535", "localhost:65535"), ("localhost:1", "localhost:1"), ("localhost:080", "localhost:80"),
        ("my_app-1:80", "my_app-1:80"),
        ("a.b.:80", "a.b.:80"), ("1a:80", "1a:80"), ("[::1]:8080", "[::1]:8080"), ("[::1]", "[::1]:80"),
        ("[0:0:0:0:0:0:0:1]:80", "[::1]:80"), ("[::]:80", "[::]:80"),
        ("[2001:DB8::1]:80", "[2001:db8::1]:80"), ("[2001:db8:0:0:1:0:0:1]", "[2001:db8::1:0:0:1]:80"),
        ("[1:2:3:4:5:6:7:8]", "[1:2:3:4:5:6:7:8]:80"),
        ("[1:2:3:4:5:6:7::]", "[1:2:3:4:5:6:7:0]:80"), ("[::2:3:4:5:6:7:8]", "[0:2:3:4:5:6:7:8]:80"), ("[1::]", "[1::]:80"),
        ("[::ffff:127.0.0.1]:80", "[::ffff:7f00:1]:80"), ("[1:2:3:4:5:6:1.2.3.4]", "[1:2:3:4:5:6:102:304]:80"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ]

    @Test(arguments: goodAddresses) func takesAnAddress(text: String, normal: String) throws {
        #expect(try ServerAddress(text).normalized == normal)
        #expect(try ServerAddress(normal) == ServerAddress(text))
    }

    /// An address, and what the detail or the hint must hold.
    static let badAddresses: [(String, String)] = [
        ("", "nothing"), ("a:", "no port"), ("a:0", "out of range"), ("a:65536", "out of range"),
        ("a:99999999999999999999", "out of range"),
        ("a:http", "no number"), ("a:-1", "no number"), ("a:80x", "no number"), ("a:80-90", "no number"), (":80", "no host"),
        ("http://a", "without \"http://\""), ("https://a:443/", "without \"https://\""), ("a/path", "a path"),
        ("a:80/path", "a path"), ("a?x", "a path"),
        ("a b", "space"), (" a", "space"), ("a\n", "control"), ("a\u{7f}", "control"), ("a\u{0}", "control"),
        ("::1", "write [::1]:port"),
        ("2001:db8::1", "without brackets"), ("a:b:80", "more than one"), ("[::1", "no \"]\""), ("[::1]80", "no port"),
        ("[::1]:", "no port"),
        ("[]:80", "no IPv6"), ("[a]:80", "no IPv6"), ("[::1%eth0]:80", "no IPv6"), ("[1::2::3]", "no IPv6"),
        ("[1:2:3:4:5:6:7:8:9]", "no IPv6"),
        ("[1:2:3]", "no IPv6"), ("[:1]", "no IPv6"), ("[1:]", "no IPv6"), ("[12345::]", "no IPv6"),
        ("[1:2:3:4::5:6:7:8]", "no IPv6"), ("[:::]", "no IPv6"),
        ("[::1.2.3]", "no IPv6"), ("[1.2.3.4::]", "no IPv6"), ("8080", "127.0.0.1:8080"), ("1.2.3", "no IPv4"),
        ("1.2.3.256", "no IPv4"),
        ("1.2.3.4.5", "no IPv4"), ("01.2.3.4", "no IPv4"), ("1..2.3", "no IPv4"), ("a..b", "empty part"), (".a", "empty part"),
        ("ä.example", "xn--"),
        ("a@b", "a user"), ("a;b", "\";\""), ("$backend", "\"$\""), ("a{b", "\"{\""), ("unix:", "unix:/path"),
        ("unix:run/a", "unix:/path"),
        ("unix:/" + String(repeating: "a", count: 107), "at most 107"), (String(repeating: "a", count: 64), "at most 63"),
        (String(repeating: "a.", count: 130) + "a", "at most 253"), ("*:80", "\"*\""),
    ]

    @Test(arguments: badAddresses) func refusesAnAddress(text: String, words: String) {
        let found = refusal { $0.upstreams["blue"]?.servers[1].server = text }
        #expect(found?.kind == .badAddress && found?.pointer == "/upstreams/blue/servers/1/server")
        #expect(
            found.map { ($0.detail + $0.hint).contains(words) } == true, "\(found?.detail ?? "accepted"); \(found?.hint ?? "")")
    }

    @Test(arguments: [("a", "a:80"), ("A", "a"), ("[::1]", "[0::1]:80"), ("127.0.0.1:80", "127.0.0.1"), ("unix:/a", "unix:/a")])
    func findsADuplicate(first: String, second: String) {
        let found = refusal { $0.upstreams["green"]?.servers = [first, "other", second].map { ServerState(server: $0) } }
        #expect(found?.kind == .duplicateServer && found?.pointer == "/upstreams/green/servers/2/server")
    }

    // MARK: Upstreams

    static let goodBalances: [(String, BalanceMethod, String)] = [
        ("round_robin", .roundRobin, "round_robin"), ("least_conn", .leastConn, "least_conn"), ("ip_hash", .ipHash, "ip_hash"),
        ("random", .random, "random"),
        ("random two", .randomTwo, "random two least_conn"), ("random two least_conn", .randomTwo, "random two least_conn"),
        (" random  two ", .randomTwo, "random two least_conn"),
        ("hash $uri", .hash(key: "$uri", isConsistent: false), "hash $uri"),
        ("hash $uri consistent", .hash(key: "$uri", isConsistent: true), "hash $uri consistent"),
        ("hash consistent", .hash(key: "consistent", isConsistent: false), "hash consistent"),
        ("hash \"$a $b\" consistent", .hash(key: "$a $b", isConsistent: true), "hash \"$a $b\" consistent"),
        ("hash '$a\\'s'", .hash(key: "$a's", isConsistent: false), "hash \"$a's\""),
        ("hash ${a}_$1", .hash(key: "${a}_$1", isConsistent: false), "hash \"${a}_$1\""),
    ]

    @Test(arguments: goodBalances) func takesABalance(text: String, method: BalanceMethod, written: String) throws {
        #expect(try BalanceMethod(text) == method)
        #expect(method.text == written)
        #expect(try BalanceMethod(written) == method)
    }

    static let badBalances: [(String, Problem.Kind)] = [
        ("", .badBalance), ("least_con", .badBalance), ("least_conn x", .badBalance), ("random three", .badBalance),
        ("random two x", .badBalance),
        ("random two least_conn x", .badBalance), ("hash", .badBalance), ("hash $a b", .badBalance),
        ("hash $a $b consistent", .badBalance),
        ("hash $a; server evil", .badBalance), ("hash $a }", .badBalance), ("hash \"$a", .badBalance),
        ("hash '$a'x", .badBalance), ("hash $a\n", .badBalance),
        ("least_conn # x", .badBalance), ("hash $", .badTemplate), ("hash ${a", .badTemplate), ("hash \"\"", .badTemplate),
        ("least_time header", .badBalance),
        ("hash " + String(repeating: "a", count: 2000), .outOfRange),
    ]

    @Test(arguments: badBalances) func refusesABalance(text: String, kind: Problem.Kind) {
        let found = refusal { $0.upstreams["green"]?.balance = text }
        #expect(found?.kind == kind && found?.pointer == "/upstreams/green/balance", "\(found?.detail ?? "accepted")")
    }

    @Test func hintsAtABalance() {
        #expect(refusal { $0.upstreams["green"]?.balance = "least_con" }?.hint == "did you mean \"least_conn\"?")
        #expect(refusal { $0.upstreams["green"]?.balance = "hash $a $b $c" }?.hint.contains("quotes") == true)
    }

    @Test(arguments: ["ip_hash", "random", "random two", "hash $uri"]) func backupsNeedAChoiceInTurn(balance: String) {
        let found = refusal { $0.upstreams["blue"]?.balance = balance }
        #expect(found?.kind == .badBalance && found?.pointer == "/upstreams/blue/servers/1/backup")
    }

    @Test func anUpstreamNeedsAServer() {
        let empty = refusal { $0.upstreams["green"]?.servers = [] }
        #expect(empty?.kind == .noServers && empty?.pointer == "/upstreams/green/servers")
        #expect(refusal { $0.upstreams["green"]?.servers[0].backup = true }?.kind == .noServers)
        #expect(refusal { $0.upstreams["green"]?.servers[0].weight = 0 } == nil)
        #expect(refusal { $0.upstreams["green"]?.servers[0].down = true } == nil)
    }

    static let outOfRange: [(String, @Sendable (inout ProxyState) -> Void)] = [
        ("/upstreams/blue/keepalive", { $0.upstreams["blue"]?.keepalive = -1 }),
        ("/upstreams/blue/keepalive_requests", { $0.upstreams["blue"]?.keepaliveRequests = 0 }),
        ("/upstreams/blue/keepalive_time", { $0.upstreams["blue"]?.keepaliveTimeMs = -1 }),
        ("/upstreams/blue/keepalive_timeout", { $0.upstreams["blue"]?.keepaliveTimeoutMs = .max }),
        ("/upstreams/blue/servers/0/weight", { $0.upstreams["blue"]?.servers[0].weight = -1 }),
        ("/upstreams/blue/servers/0/weight", { $0.upstreams["blue"]?.servers[0].weight = 1_000_001 }),
        ("/upstreams/blue/servers/1/max_conns", { $0.upstreams["blue"]?.servers[1].maxConns = .max }),
        ("/upstreams/blue/servers/1/max_fails", { $0.upstreams["blue"]?.servers[1].maxFails = -1 }),
        ("/upstreams/blue/servers/1/fail_timeout", { $0.upstreams["blue"]?.servers[1].failTimeoutMs = -1000 }),
        ("/splits/app/weights/green", { $0.splits["app"]?.weights["green"] = -1 }),
        ("/splits/app/weights/green", { $0.splits["app"]?.weights["green"] = 1_000_001 }),
        ("/splits/app/assign/max_age", { $0.splits["app"]?.assign?.maxAgeSeconds = 0 }),
        ("/splits/app/shadow/share", { $0.splits["app"]?.shadow = .init(to: "green"); $0.splits["app"]?.shadow?.share = 101 }),
        ("/splits/app/shadow/noise", { $0.splits["app"]?.shadow = .init(to: "green"); $0.splits["app"]?.shadow?.noise = -1 }),
        ("/splits/app/key", { $0.splits["app"]?.key = Array(repeating: "$a", count: 17) }),
        ("/upstreams", { for i in 0..<1024 { $0.upstreams["u\(i)"] = $0.upstreams["green"] } }),
        ("/splits", { for i in 0..<1024 { $0.splits["s\(i)"] = $0.splits["app"] } }),
        ("/splits/app/weights", { for i in 0..<64 { $0.splits["app"]?.weights["v\(i)"] = 1 } }),
        ("/upstreams/green/servers", { $0.upstreams["green"]?.servers = (0...20_000).map { ServerState(server: "a\($0)") } }),
    ]

    @Test func rangesAreKept() {
        for (pointer, change) in Self.outOfRange {
            let found = refusal(change)
            #expect(found?.kind == .outOfRange && found?.pointer == pointer, "\(pointer): \(found?.detail ?? "accepted")")
        }
        let split = refusal { $0.upstreams["blue"]?.servers[0].failTimeoutMs = 500 }
        #expect(split?.kind == .badTime && split?.pointer == "/upstreams/blue/servers/0/fail_timeout")
    }

    @Test(arguments: [
        "cookie a", "cookie srv_id expires=1h domain=.example.com path=/ httponly secure samesite=lax", "cookie a expires=max",
    ])
    func takesASticky(text: String) { #expect(refusal { $0.upstreams["green"]?.sticky = text } == nil) }

    @Test(arguments: [
        "", "cookie", "route $a", "cookie a;b", "cookie a=b", "cookie a expire=1h", "cookie a expires=", "cookie a x; y",
        "cookie a\n",
    ])
    func refusesASticky(text: String) {
        #expect(refusal { $0.upstreams["green"]?.sticky = text }?.pointer == "/upstreams/green/sticky")
    }

    // MARK: Splits

    @Test func variantsAreUpstreams() {
        let found = refusal { $0.splits["app"]?.weights = ["blue": 1, "gren": 2] }
        #expect(
            found?.kind == .unknownVariant && found?.pointer == "/splits/app/weights/gren"
                && found?.hint == "did you mean \"green\"?")
        #expect(refusal { $0.upstreams["green"] = nil }?.pointer == "/splits/app/weights/green")
        #expect(refusal { $0.splits["app"]?.weights = ["a/b": 1] }?.pointer == "/splits/app/weights/a~1b")
    }

    @Test func aSplitNeedsAWeight() {
        for weights in [[:], ["blue": 0], ["blue": 0, "green": 0]] {
            let found = refusal { $0.splits["app"]?.weights = weights }
            #expect(found?.kind == .allWeightsZero && found?.pointer == "/splits/app/weights")
        }
        #expect(refusal { $0.splits["app"]?.weights = ["blue": 0, "green": 1] } == nil)
    }

    @Test func templatesAndCookies() {
        for template in ["$a", "x$a", "${a}b", "$1", "a b", "$http_x_y$arg_z", "constant"] {
            #expect(refusal { $0.splits["app"]?.key = [template] } == nil, "\(template)")
        }
        for template in ["", "$", "a$ b", "${}", "${a", "$-", "a\n", String(repeating: "$a", count: 600)] {
            let key = refusal { $0.splits["app"]?.key = ["$a", template] }
            #expect(key?.pointer == "/splits/app/key/1", "\(template)")
            #expect(refusal { $0.splits["app"]?.force = template }?.pointer == "/splits/app/force")
        }
        for name in ["", "a b", "a=b", "a;b", "é", "a\n", "a\"", String(repeating: "a", count: 65)] {
            let found = refusal { $0.splits["app"]?.assign?.cookie = name }
            #expect(found?.kind == .badName && found?.pointer == "/splits/app/assign/cookie")
        }
    }

    @Test func aSingleObjectHasItsOwnPointer() {
        let server = problem { () throws(Problem) in try StateRules.check(server: ServerState(server: "a b")) }
        #expect(server?.pointer == "/server")
        let upstream = problem { () throws(Problem) in try StateRules.check(upstream: UpstreamState(), at: JSONPointer(["x"])) }
        #expect(upstream?.pointer == "/x/servers")
        let split = problem { () throws(Problem) in try StateRules.check(split: SplitState(weights: ["a": 1]), among: [:]) }
        #expect(split?.pointer == "/weights/a")
    }

    @Test func everyProblemHelps() {
        for (text, _) in Self.badAddresses {
            let found = refusal { $0.upstreams["blue"]?.servers[1].server = text }
            #expect(
                found?.detail.hasPrefix("found ") == true && found?.detail.contains("expected ") == true
                    && (found?.detail.utf8.count ?? 999) < 300)
        }
    }
}
