import Testing

@testable import AdminAPI

@Suite struct StateDifferencesTests {
    struct Row: Sendable, CustomTestStringConvertible {
        var summary: String
        /// `kind pointer from -> to`.
        var lines: [String]
        var change: @Sendable (inout ProxyState) -> Void
        var testDescription: String { summary }
        init(_ summary: String, _ lines: [String], _ change: @escaping @Sendable (inout ProxyState) -> Void) {
            self.summary = summary
            self.lines = lines
            self.change = change
        }
    }

    static let rows: [Row] = [
        Row("no change", []) { _ in },
        Row("no change", []) { $0[upstream: "blue"].servers[0].id = 77 },
        Row("no change", []) { $0[upstream: "green"].servers[0].server = "127.0.0.1:04001" },
        Row(
            "split app: blue 90 -> 50, green 10 -> 50",
            ["changed /splits/app/weights/blue 90 -> 50", "changed /splits/app/weights/green 10 -> 50"]
        ) { $0[split: "app"].weights = ["blue": 50, "green": 50] },
        Row(
            "split app: assign none -> {\"cookie\":\"sid\",\"max_age\":\"30d\"}, force none -> $arg_v, key [\"$cookie_sid\"] -> [], "
                + "-blue, +red 3",
            [
                "added /splits/app/assign - -> {\"cookie\":\"sid\",\"max_age\":\"30d\"}",
                "added /splits/app/force - -> \"$arg_v\"",
                "changed /splits/app/key [\"$cookie_sid\"] -> []", "removed /splits/app/weights/blue 90 -> -",
                "added /splits/app/weights/red - -> 3",
            ]
        ) {
            $0[split: "app"].assign = AssignState(cookie: "sid", maxAgeSeconds: 30 * 86_400)
            $0[split: "app"].force = "$arg_v"
            $0[split: "app"].key = []
            $0[split: "app"].weights = ["green": 10, "red": 3]
        },
        Row("upstream blue: server 127.0.0.1:3001 drain", ["changed /upstreams/blue/servers/127.0.0.1:3001/drain false -> true"])
        {
            $0[upstream: "blue"].servers[0].drain = true
        },
        Row(
            "upstream blue: +127.0.0.1:3003, -127.0.0.1:3001",
            [
                "removed /upstreams/blue/servers/127.0.0.1:3001 {\"server\":\"127.0.0.1:3001\"} -> -",
                "added /upstreams/blue/servers/127.0.0.1:3003 - -> {\"max_fails\":3,\"server\":\"127.0.0.1:3003\"}",
            ]
        ) { $0[upstream: "blue"].servers[0] = server("127.0.0.1:3003") { $0.maxFails = 3 } },
        Row(
            "+upstream a.red; -upstream blue",
            [
                "added /upstreams/a.red - -> {\"keepalive\":4,\"servers\":[{\"server\":\"unix:/a\"},{\"backup\":true,\"server\":\"b\"}]}",
                "removed /upstreams/blue {\"servers\":[{\"server\":\"127.0.0.1:3001\"},{\"server\":\"127.0.0.1:3002\"}]} -> -",
            ]
        ) {
            $0.upstreams["blue"] = nil
            $0.upstreams["a.red"] = upstream("unix:/a", "b") {
                $0.keepalive = 4
                $0.servers[1].backup = true
            }
        },
        Row(
            "upstream blue: balance round_robin -> hash \"$uri\" consistent, keepalive none -> 32, keepalive_timeout 1m -> 1m30s, "
                + "sticky none -> cookie s",
            [
                #"changed /upstreams/blue/balance "round_robin" -> "hash \"$uri\" consistent""#,
                "added /upstreams/blue/keepalive - -> 32", #"changed /upstreams/blue/keepalive_timeout "1m" -> "1m30s""#,
                #"added /upstreams/blue/sticky - -> "cookie s""#,
            ]
        ) {
            $0[upstream: "blue"].balance = "hash \"$uri\" consistent"
            $0[upstream: "blue"].keepalive = 32
            $0[upstream: "blue"].keepaliveTimeoutMs = 90_000
            $0[upstream: "blue"].sticky = "cookie s"
        },
        Row(
            "upstream blue: servers reordered, server 127.0.0.1:3001 fail_timeout 10s -> 500ms",
            [
                #"changed /upstreams/blue/servers ["127.0.0.1:3001","127.0.0.1:3002"] -> ["127.0.0.1:3002","127.0.0.1:3001"]"#,
                #"changed /upstreams/blue/servers/127.0.0.1:3001/fail_timeout "10s" -> "500ms""#,
            ]
        ) {
            $0[upstream: "blue"].servers[0].failTimeoutMs = 500
            $0[upstream: "blue"].servers.swapAt(0, 1)
        },
        Row(
            "split app: key [\"$cookie_sid\"] -> []; upstream green: server 127.0.0.1:4001 down",
            [
                #"changed /splits/app/key ["$cookie_sid"] -> []"#,
                "changed /upstreams/green/servers/127.0.0.1:4001/down false -> true",
            ]
        ) {
            $0[split: "app"].key = []
            $0[upstream: "green"].servers[0].down = true
        },
        Row(
            "upstream blue: +unix:/a/b",
            [#"added /upstreams/blue/servers/unix:~1a~1b - -> {"server":"unix:/a/b","weight":0}"#]
        ) { $0[upstream: "blue"].servers.append(server("unix:/a/b") { $0.weight = 0 }) },
    ]

    @Test(arguments: rows)
    func differencesAndTheirLine(_ row: Row) {
        var next = sampleState
        row.change(&next)
        let found = differences(from: sampleState, to: next)
        #expect(found.map { "\($0.kind) \($0.pointer) \($0.from ?? "-") -> \($0.to ?? "-")" } == row.lines)
        #expect(summary(from: sampleState, to: next) == row.summary)
        // The way back is the same the other way round.
        let back = differences(from: next, to: sampleState)
        #expect(back.map(\.pointer) == found.map(\.pointer))
        #expect(back.map(\.from) == found.map(\.to))
        #expect(back.map(\.to) == found.map(\.from))
    }

    @Test func aLongLineEndsWithHowManyMore() {
        var next = sampleState
        for i in 0..<40 { next[upstream: "blue"].servers.append(server("10.0.0.\(i):8080")) }
        for i in 0..<5 { next.upstreams["new\(i)"] = upstream("a") }
        let line = summary(from: sampleState, to: next)
        #expect(line.count < 220)
        #expect(line.hasPrefix("upstream blue: +10.0.0.0:8080, +10.0.0.10:8080, +10.0.0.11:8080"))
        #expect(line.hasSuffix(", and 34 more"))
    }

    @Test func aFlagThatIsTakenBackIsOff() throws {
        let drained = try StateChange.drainUpstream("green").applied(to: sampleState)
        #expect(summary(from: drained, to: sampleState) == "upstream green: server 127.0.0.1:4001 drain off")
    }

    @Test func manyServersOfWhichTheSameIsToldShareAPhrase() throws {
        let big = ProxyState(upstreams: ["u": upstream("a", "b", "c", "d", "e")])
        let drained = try StateChange.drainUpstream("u").applied(to: big)
        #expect(summary(from: big, to: drained) == "upstream u: servers a:80, b:80 and 3 more drain")
    }

    @Test func whateverItHoldsTheLineIsOneLineAndShort() {
        var next = sampleState
        next[split: "app"].key = [String(repeating: "long", count: 1000), "\n\u{1}"]
        next[upstream: "blue"].servers.append(server("unix:/a\nb"))
        let line = summary(from: sampleState, to: next)
        #expect(line.count < 220)
        #expect(line.unicodeScalars.allSatisfy { $0.value >= 0x20 })
    }
}
