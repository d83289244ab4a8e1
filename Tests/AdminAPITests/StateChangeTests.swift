import Testing

@testable import AdminAPI

@Suite struct StateChangeTests {
    struct Accepted: Sendable, CustomTestStringConvertible {
        var change: StateChange
        /// What the summary of the differences says.
        var summary: String
        var testDescription: String { summary }
    }

    static let patch: ServerPatch = {
        var patch = ServerPatch()
        patch.weight = 5
        patch.drain = true
        return patch
    }()
    static let move: ServerPatch = {
        var patch = ServerPatch()
        patch.server = "127.0.0.1:3009"
        return patch
    }()

    static let accepted: [Accepted] = [
        Accepted(change: .putUpstream("red", upstream("10.0.0.1")), summary: "+upstream red"),
        Accepted(
            change: .putUpstream("blue", upstream("127.0.0.1:3002", "127.0.0.1:3003")),
            summary: "upstream blue: +127.0.0.1:3003, -127.0.0.1:3001"),
        Accepted(change: .putUpstream("blue", sampleState[upstream: "blue"]), summary: "no change"),
        Accepted(change: .addServer(upstream: "blue", server("127.0.0.1:3003")), summary: "upstream blue: +127.0.0.1:3003"),
        Accepted(
            change: .patchServer(upstream: "blue", .id(0), patch),
            summary: "upstream blue: server 127.0.0.1:3001 drain and weight 1 -> 5"),
        Accepted(
            change: .patchServer(upstream: "blue", .address("127.0.0.1:3002"), move),
            summary: "upstream blue: +127.0.0.1:3009, -127.0.0.1:3002"),
        Accepted(change: .patchServer(upstream: "blue", .id(1), ServerPatch()), summary: "no change"),
        Accepted(change: .removeServer(upstream: "blue", .id(1)), summary: "upstream blue: -127.0.0.1:3002"),
        Accepted(change: .removeServer(upstream: "blue", .address("127.0.0.1:3001")), summary: "upstream blue: -127.0.0.1:3001"),
        Accepted(change: .drainUpstream("blue"), summary: "upstream blue: servers 127.0.0.1:3001, 127.0.0.1:3002 drain"),
        Accepted(
            change: .setWeights(split: "app", ["green": 50, "blue": 50]), summary: "split app: blue 90 -> 50, green 10 -> 50"),
        Accepted(change: .setWeights(split: "app", ["green": 100]), summary: "split app: green 10 -> 100"),
        Accepted(change: .setWeights(split: "app", [:]), summary: "no change"),
        Accepted(change: .putSplit("api", SplitState(weights: ["green": 1])), summary: "+split api"),
        Accepted(
            change: .putSplit("app", SplitState(weights: ["green": 1])),
            summary: "split app: key [\"$cookie_sid\"] -> [], -blue, green 10 -> 1"),
        Accepted(change: .deleteSplit("app"), summary: "-split app"),
        Accepted(
            change: .replaceAll(upstreams: ["green": upstream("127.0.0.1:4001")], splits: [:]),
            summary: "-split app; -upstream blue"),
        Accepted(
            change: .replaceAll(upstreams: ["blue": upstream("a"), "green": upstream("127.0.0.1:4001")], splits: nil),
            summary: "upstream blue: +a:80, -127.0.0.1:3001, -127.0.0.1:3002"),
        Accepted(change: .replaceState(ProxyState()), summary: "-split app; -upstream blue; -upstream green"),
    ]

    @Test(arguments: accepted)
    func isApplied(_ row: Accepted) throws {
        let next = try row.change.applied(to: sampleState)
        #expect(summary(from: sampleState, to: next) == row.summary)
        if row.summary == "no change" { #expect(next == sampleState) }
    }

    struct Refused: Sendable, CustomTestStringConvertible {
        var change: StateChange
        var kind: Problem.Kind
        var detail: String
        var hint: String
        var pointer: String?
        var testDescription: String { "\(kind): \(detail)" }
    }

    static let refused: [Refused] = [
        Refused(
            change: .putUpstream("app", upstream("a")), kind: .nameInUse, detail: "\"app\" is the name of a split",
            hint: "upstreams and splits share their names: choose another"),
        Refused(
            change: .putSplit("blue", SplitState(weights: ["green": 1])), kind: .nameInUse,
            detail: "\"blue\" is the name of an upstream",
            hint: "upstreams and splits share their names: choose another"),
        Refused(
            change: .deleteUpstream("gren"), kind: .notFound, detail: "there is no upstream \"gren\"",
            hint: "the upstreams are \"green\" and \"blue\""),
        Refused(
            change: .deleteUpstream("app"), kind: .notFound, detail: "there is no upstream \"app\"",
            hint: "that is the name of a split"),
        Refused(
            change: .deleteUpstream("blue"), kind: .nameInUse, detail: "the upstream \"blue\" is a variant of the split \"app\"",
            hint: "take it out of the split \"app\" first"),
        Refused(
            change: .addServer(upstream: "blu\n", server("a")), kind: .notFound, detail: "there is no upstream \"blu?\"",
            hint: "the upstreams are \"blue\" and \"green\""),
        Refused(
            change: .addServer(upstream: "blue", server("127.0.0.1:03001")), kind: .duplicateServer,
            detail: "the upstream \"blue\" has \"127.0.0.1:3001\" already, with the id 0", hint: "PATCH that one",
            pointer: "/server"),
        Refused(
            change: .patchServer(upstream: "blue", .id(7), patch), kind: .notFound,
            detail: "the upstream \"blue\" has no server with the id 7",
            hint: "the servers are 127.0.0.1:3002 (id 1) and 127.0.0.1:3001 (id 0)"),
        Refused(
            change: .patchServer(upstream: "green", .address("127.0.0.1:4002"), patch), kind: .notFound,
            detail: "the upstream \"green\" has no server \"127.0.0.1:4002\"",
            hint: "the only server is 127.0.0.1:4001 (id 0)"),
        Refused(
            change: .patchServer(
                upstream: "blue", .id(0),
                {
                    var patch = ServerPatch()
                    patch.server = "127.0.0.1:3002"
                    return patch
                }()), kind: .duplicateServer,
            detail: "the upstream \"blue\" has \"127.0.0.1:3002\" already, with the id 1",
            hint: "PATCH that one", pointer: "/server"),
        Refused(
            change: .removeServer(upstream: "green", .id(0)), kind: .noServers,
            detail: "\"127.0.0.1:4001\" is the last server of the upstream \"green\"",
            hint: "add another server first, set this one to drain, or delete the upstream"),
        Refused(
            change: .drainUpstream("x"), kind: .notFound, detail: "there is no upstream \"x\"",
            hint: "the upstreams are \"blue\" and \"green\""),
        Refused(
            change: .putSplit("api", SplitState(weights: ["green": 1, "r/d": 1])), kind: .unknownVariant,
            detail: "found \"r/d\", expected the name of an upstream",
            hint: "add the upstream first",
            pointer: "/weights/r~1d"),
        Refused(
            change: .putSplit("api", SplitState(weights: [:])), kind: .allWeightsZero,
            detail: "found no variants, expected at least one",
            hint: "to let requests wait, hold the split", pointer: "/weights"),
        Refused(
            change: .deleteSplit("apa"), kind: .notFound, detail: "there is no split \"apa\"",
            hint: "the only split is \"app\""),
        Refused(
            change: .deleteSplit("blue"), kind: .notFound, detail: "there is no split \"blue\"",
            hint: "that is the name of an upstream"),
        Refused(
            change: .setWeights(split: "web", ["blue": 1]), kind: .notFound, detail: "there is no split \"web\"",
            hint: "the only split is \"app\""),
        Refused(
            change: .setWeights(split: "app", ["gren": 1]), kind: .unknownVariant,
            detail: "the split \"app\" has no variant \"gren\"",
            hint: "the variants are \"green\" and \"blue\"", pointer: "/weights/gren"),
        Refused(
            change: .setWeights(split: "app", ["blue": 0, "green": 0]), kind: .allWeightsZero,
            detail: "found no weight above 0, expected at least one",
            hint: "to let requests wait, hold the split", pointer: "/weights"),
        Refused(
            change: .replaceAll(upstreams: ["green": upstream("a")], splits: nil), kind: .nameInUse,
            detail: "the upstream \"blue\" is a variant of the split \"app\"", hint: "take it out of the split \"app\" first",
            pointer: "/upstreams"),
        Refused(
            change: .replaceAll(
                upstreams: ["green": upstream("a")], splits: ["x": SplitState(weights: ["green": 1, "blue": 2])]),
            kind: .unknownVariant, detail: "found \"blue\", expected the name of an upstream",
            hint: "add the upstream first", pointer: "/splits/x/weights/blue"),
        Refused(
            change: .replaceAll(upstreams: ["green": upstream("a")], splits: ["green": SplitState(weights: ["green": 1])]),
            kind: .nameInUse,
            detail: "found \"green\" as a split and as an upstream, expected each name once",
            hint: "both are named in proxy_pass; rename one",
            pointer: "/splits/green"),
        Refused(
            change: .replaceAll(upstreams: ["app": upstream("a"), "blue": upstream("b"), "green": upstream("c")], splits: nil),
            kind: .nameInUse, detail: "\"app\" is the name of a split",
            hint: "upstreams and splits share their names: choose another",
            pointer: "/upstreams/app"),
        // What the rules say of a server, told by its place in the body.
        Refused(
            change: .addServer(upstream: "blue", server("a") { $0.weight = -1 }), kind: .outOfRange,
            detail: "found the number -1, expected a whole number from 0 to 1000000", hint: "", pointer: "/weight"),
        Refused(
            change: .addServer(upstream: "hashed", server("b") { $0.backup = true }), kind: .badBalance,
            detail: "found a backup server with \"hash\", expected none",
            hint: "only round_robin and least_conn have backup servers",
            pointer: "/backup"),
        Refused(
            change: .patchServer(
                upstream: "green", .id(0),
                {
                    var patch = ServerPatch()
                    patch.backup = true
                    return patch
                }()), kind: .noServers, detail: "found backup servers only, expected at least one that is no backup", hint: ""),
        Refused(
            change: .putUpstream("red", UpstreamState()), kind: .noServers,
            detail: "found no servers, expected at least one that is no backup", hint: "", pointer: "/servers"),
        Refused(
            change: .putUpstream(".red", upstream("a")), kind: .badName,
            detail: "found \".\" at the beginning of \".red\", expected 1 to 64 letters, digits, \"_\", \".\" or \"-\", first a letter, a digit or \"_\"",
            hint: ""),
    ]

    /// The sample and an upstream that takes no backup.
    static let refusing: ProxyState = {
        var state = sampleState
        state.upstreams["hashed"] = upstream("a") { $0.balance = "hash $uri" }
        return state
    }()

    @Test(arguments: refused)
    func isRefused(_ row: Refused) {
        do throws(Problem) {
            _ = try row.change.applied(to: row.detail.contains("hash") ? Self.refusing : sampleState)
            Issue.record("accepted")
        } catch {
            #expect(error == Problem(row.kind, row.detail, hint: row.hint, pointer: row.pointer))
        }
    }

    @Test func whatAConfigurationHoldsAgainstTheRulesCanBeMended() throws {
        // nginx takes an address twice.
        let twice = ProxyState(upstreams: ["u": upstream("a", "a", "b")])
        let drained = try StateChange.drainUpstream("u").applied(to: twice)
        #expect(drained[upstream: "u"].servers.map(\.drain) == [true, true, true])
        let patched = try StateChange.patchServer(upstream: "u", .id(1), Self.patch).applied(to: twice)
        #expect(patched[upstream: "u"].servers.map(\.weight) == [1, 5, 1])
        let mended = try StateChange.removeServer(upstream: "u", .id(1)).applied(to: patched)
        #expect(mended[upstream: "u"].servers.map(\.id) == [0, 2])
        // One that is no backup there must be all the same.
        var backups = twice
        for i in 1...2 { backups[upstream: "u"].servers[i].backup = true }
        var patch = ServerPatch()
        patch.backup = true
        let refused = problem { () throws(Problem) in
            try StateChange.patchServer(upstream: "u", .id(0), patch).applied(to: backups)
        }
        #expect(refused?.kind == .noServers)
        #expect(refused?.pointer == nil)
    }

    @Test func thereIsRoomForSoMany() throws {
        var state = ProxyState()
        for i in 0..<StateBounds.upstreamsMax { state.upstreams["u\(i)"] = upstream("a") }
        #expect(try StateChange.putUpstream("u7", upstream("b")).applied(to: state).upstreams.count == StateBounds.upstreamsMax)
        #expect(
            problem { () throws(Problem) in try StateChange.putUpstream("one", upstream("a")).applied(to: state) }
                == Problem(.outOfRange, "there would be 1025 upstreams, more than the limit of 1024"))
    }

    @Test func atMostTenNamesAreListedTheLikestFirst() {
        var state = ProxyState()
        for i in 10..<30 { state.upstreams["pool\(i)"] = upstream("a") }
        #expect(
            state.noUpstream("poll27").hint
                == "the upstreams are \"pool27\", \"pool17\", \"pool20\", \"pool21\", \"pool22\", \"pool23\", \"pool24\", \"pool25\", "
                + "\"pool26\", \"pool28\" and 10 more")
        #expect(ProxyState().noSplit("a").hint == "there are no splits")
    }

    @Test func aSplitUsesNamesThatRoutesMayMiss() {
        #expect(sampleState.missingNames(["green", "app", "red", "a", "red"]) == ["a", "red"])
        #expect(sampleState.missingNames([]) == [])
        #expect(sampleState.splits(using: "blue") == ["app"])
    }

    @Test(arguments: [
        ("0", ServerKey.id(0)), ("17", .id(17)), ("127.0.0.1:3001", .address("127.0.0.1:3001")), ("+1", .address("+1")),
        ("", .address("")),
        ("99999999999999999999", .address("99999999999999999999")), ("-1", .address("-1")), ("unix:/a/b", .address("unix:/a/b")),
    ])
    func aPathNamesAServer(_ segment: String, _ key: ServerKey) {
        #expect(ServerKey(segment: segment) == key)
    }

    @Test(arguments: [
        ("a", "a:80"), ("A.Example:80", "a.example:80"), ("a:080", "a:80"), ("127.0.0.1:3001", "127.0.0.1:3001"),
        ("[::1]", "[::1]:80"),
        ("[FE80::1]:8080", "[fe80::1]:8080"), ("unix:/Run/App.sock", "unix:/Run/App.sock"), ("UNIX:/a", "UNIX:/a"),
        ("[0:0::1]:80", "[::1]:80"), ("ä", "ä"), ("", ""),
        ("a:b", "a:b"),
        ("a:", "a:"), ("a:70000", "a:70000"), ("::1", "::1"), ("[::1", "[::1"), ("[::1]x", "[::1]x"), (":80", ":80"),
    ])
    func addressesCompareNormalised(_ text: String, _ normalised: String) {
        #expect(normalisedAddress(text) == normalised)
        #expect(normalisedAddress(normalised) == normalised)
    }
}

@Suite struct StateNumberTests {
    private func ids(_ upstream: UpstreamState) -> [Int] { upstream.servers.map(\.id) }

    @Test func anIDStaysWithItsAddressAndIsNeverGivenTwice() throws {
        var state = ProxyState(upstreams: ["u": upstream("a", "b")])
        #expect(ids(state[upstream: "u"]) == [0, 1])
        state = try StateChange.removeServer(upstream: "u", .id(1)).applied(to: state)
        state = try StateChange.addServer(upstream: "u", server("c")).applied(to: state)
        #expect(ids(state[upstream: "u"]) == [0, 2])
        // Back after it left: another id. The body's ids mean nothing, the spelling of the address neither.
        let body = UpstreamState(servers: [server("B:80", id: 0), server("C", id: 1), server("a", id: 9)])
        state = try StateChange.putUpstream("u", body).applied(to: state)
        #expect(ids(state[upstream: "u"]) == [3, 2, 0])
        #expect(state[upstream: "u"].nextServerID == 4)
        #expect(state.numbered(after: state) == state)
    }

    @Test func anUpstreamThatComesBackKeepsTheIDsItBrings() throws {
        let state = try StateChange.replaceState(sampleState).applied(to: ProxyState())
        #expect(state == sampleState)
        // Of two servers with one id the second gets another; one beyond the counter moves it.
        var odd = UpstreamState(servers: [server("a", id: 4), server("b", id: 4), server("c")])
        odd.nextServerID = 1
        #expect(ids(odd.numbered(after: nil)) == [4, 5, 6])
        #expect(odd.numbered(after: nil).nextServerID == 7)
    }

    @Test func theCounterOfARestoredStateCounts() {
        var old = upstream("a")
        var restored = upstream("a", "b")
        old.nextServerID = 3
        restored.nextServerID = 8
        #expect(ids(restored.numbered(after: old)) == [0, 8])
        restored.nextServerID = .max
        old.servers[0].id = .max
        #expect(restored.numbered(after: old).nextServerID >= 1 << 52)
    }

    @Test func anAddressTwiceHasTwoIDs() {
        let twice = upstream("a", "a:80", "b")
        #expect(ids(twice) == [0, 1, 2])
        var swapped = twice
        swapped.servers.swapAt(0, 2)
        #expect(ids(swapped.numbered(after: twice)) == [2, 0, 1])
    }
}
