// Tests what each verb asks of the server, prints, and exits with, by running the built proxyctl against a scripted server.

import AdminAPI
import Foundation
import TestSupport
import Testing

@testable import proxyctl

@Suite("verbs", .serialized)
struct VerbTests {
    /// A verb that sends one request and prints the answer to a write.
    struct Write: Sendable, CustomTestStringConvertible {
        var words: [String]
        var line: String
        var body = ""
        var ifMatch: String?
        var testDescription: String { words.joined(separator: " ") }
    }

    static let writes: [Write] = [
        Write(
            words: ["weight", "green", "50", "--reason", "a b"], line: "PATCH /splits/app?reason=a%20b",
            body: #"{"weights":{"blue":50,"green":50}}"#, ifMatch: "\"42\""),
        Write(
            words: ["weight", "green", "5", "--raw"], line: "PATCH /splits/app", body: #"{"weights":{"green":5}}"#,
            ifMatch: "\"42\""),
        Write(words: ["weight", "red", "100"], line: "PATCH /splits/api", body: #"{"weights":{"red":100}}"#, ifMatch: "\"42\""),
        Write(
            words: ["switch", "green", "--if-match", "41"], line: "PATCH /splits/app",
            body: #"{"weights":{"blue":0,"green":100}}"#,
            ifMatch: "\"41\""),
        Write(
            words: ["switch", "green", "--force"], line: "PATCH /splits/app?force=1",
            body: #"{"weights":{"blue":0,"green":100}}"#, ifMatch: "\"42\""),
        Write(words: ["undo"], line: "POST /undo"),
        Write(words: ["undo", "--if-match", "42"], line: "POST /undo", ifMatch: "\"42\""),
        Write(words: ["undo", "--force"], line: "POST /undo?force=1"),
        Write(words: ["restore", "7", "--force"], line: "POST /revisions/7/restore?force=1"),
        Write(words: ["restore", "7", "--reason", "x"], line: "POST /revisions/7/restore?reason=x"),
        Write(words: ["hold", "app"], line: "POST /splits/app/hold"),
        Write(words: ["hold", "app", "--timeout", "1m30s", "--max", "10"], line: "POST /splits/app/hold?timeout=1m30s&max=10"),
        Write(words: ["release", "app", "--rate", "100"], line: "POST /splits/app/release?rate=100"),
        Write(words: ["drain", "blue"], line: "POST /upstreams/blue/drain?timeout=30s"),
        Write(words: ["drain", "blue", "--timeout", "2m", "--wait"], line: "POST /upstreams/blue/drain?timeout=2m&wait=1"),
        Write(words: ["reload"], line: "POST /reload"),
        Write(words: ["reload", "--prefer", "running"], line: "POST /reload?prefer=running"),
        Write(
            words: [
                "server", "add", "blue", "127.0.0.1:3009", "--weight", "2", "--max-fails", "3", "--fail-timeout", "30s",
                "--backup",
            ],
            line: "POST /upstreams/blue/servers",
            body: #"{"backup":true,"fail_timeout":"30s","max_fails":3,"server":"127.0.0.1:3009","weight":2}"#),
        Write(
            words: ["server", "add", "blue", "a:1", "--down", "--max-conns", "9"], line: "POST /upstreams/blue/servers",
            body: #"{"down":true,"max_conns":9,"server":"a:1"}"#),
        Write(words: ["server", "remove", "blue", "[::1]:80"], line: "DELETE /upstreams/blue/servers/%5B%3A%3A1%5D%3A80"),
        Write(words: ["server", "drain", "blue", "3"], line: "PATCH /upstreams/blue/servers/3", body: #"{"drain":true}"#),
        Write(words: ["server", "down", "blue", "3"], line: "PATCH /upstreams/blue/servers/3", body: #"{"down":true}"#),
        Write(
            words: ["server", "up", "blue", "3", "--weight", "4"], line: "PATCH /upstreams/blue/servers/3",
            body: #"{"down":false,"drain":false,"weight":4}"#),
    ]

    @Test(arguments: writes)
    func write(_ row: Write) throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "GET /status": [.json(Fixture.serving().json)],
            row.line: [.accepted(43, "split app: green 10 -> 50")],
        ])
        let ran = try Ran(row.words, environment: ["PROXYCTL_ADMIN": "unix:\(admin.directory)/admin.sock"], in: admin.directory)
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.output.hasPrefix("Revision 43: split app: green 10 -> 50 (was 42; `proxyctl undo` goes back)\n"))
        #expect(ran.errors == "")
        let request = try #require(admin.write)
        #expect(admin.lines.last == row.line)
        #expect(request.text == row.body)
        #expect(request["If-Match"] == row.ifMatch)
        #expect(request["Content-Type"] == (row.body.isEmpty ? nil : "application/json"))

        // A plan of it asks the same, and changes nothing; wherever the options stand.
        let mark = row.line.contains("?") ? "&" : "?"
        let parts = row.line.split(separator: "?", maxSplits: 1).map(String.init)
        let waits = row.words.contains("--wait")
        let reason = row.words.contains("--reason")
        let line =
            reason
            ? row.line + "&dry_run=1" : parts.count == 1 ? row.line + mark + "dry_run=1" : "\(parts[0])?dry_run=1&\(parts[1])"
        var plan = Plan(revision: 42)
        plan.differences = [StateDifference(.changed, "/splits/app/weights/green", from: "10", to: "50")]
        let planned = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)],
            (waits ? line.replacingOccurrences(of: "&wait=1", with: "") : line): [.json(plan.json)],
        ])
        let address = ["--admin", planned.directory + "/admin.sock"]
        // One order for each verb, in turn: a run costs more than all the rest of this test.
        let orders = [
            ["plan"] + row.words + address, ["plan"] + address + row.words, address + ["plan"] + row.words,
            ["--dry-run"] + row.words + address,
        ]
        let words = orders[row.words.joined().count % orders.count]
        let dry = try Ran(words, in: planned.directory)
        #expect(
            dry.output == "Would change revision 42 (nothing has been changed):\n  ~ /splits/app/weights/green  10 -> 50\n",
            "\(words) \(dry)")
        #expect(dry.status == 0)
        #expect(planned.writes.count == 1 && planned.writes.allSatisfy { $0.line.contains("dry_run=1") })
    }

    /// The ETag tells the revision as well as the document.
    @Test func theRevisionMayStandInTheHead() throws {
        let state = Fixture.state.replacingOccurrences(of: "\"revision\": 42,", with: "")
        let reply = Reply(fields: ["Content-Type: application/json", "ETag: \"77\""], body: state)
        let admin = try FakeAdmin([
            "GET /upstreams": [reply], "GET /status": [.json(Fixture.serving().json)], "PATCH /splits/app": [.accepted(78)],
        ])
        #expect(try admin.run("switch", "green").status == 0)
        #expect(admin.write?["If-Match"] == "\"77\"")
    }

    @Test func nothingToChangeIsSaid() throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "GET /status": [.json(Fixture.serving().json)],
            "PATCH /splits/app": [.accepted(42, isChanged: false)],
        ])
        let ran = try admin.run("weight", "green", "10", "--wait")
        #expect(ran.output == "Nothing to change: revision 42 is like that.\n")
        #expect(ran.status == 0)
    }

    /// It makes no revision, and an undo would take back what was changed before it.
    @Test func aHoldSpeaksOfNoUndo() throws {
        let held = Accepted(revision: 42, previous: 42, changed: true, summary: "new requests of split app wait")
        let admin = try FakeAdmin(["POST /splits/app/hold": [.json(held.json)]])
        #expect(try admin.run("hold", "app").output == "Revision 42: new requests of split app wait\n")
    }

    @Test func whatIsOddAboutAWriteIsTold() throws {
        let json = Accepted(revision: 43, previous: 42, changed: true, summary: "x").json.merging(.members(["warnings": ["/splits/app: a\u{1b}b"]]))
        let admin = try FakeAdmin(["POST /reload": [.json(json)]])
        let ran = try admin.run("reload")
        #expect(ran.status == 0 && ran.errors == "warning: /splits/app: a?b\n", "\(ran)")
        let machine = try admin.run("--json", "reload")
        #expect(machine.output == json.text() && machine.errors == "", "\(machine)")
    }

    // MARK: Refusals

    /// A variable of the shell that is not set: what it would ask for is something else, as all certificates instead of one.
    @Test(
        arguments: [
            ["cert", "show", ""], ["cert", "delete", ""], ["policy", "get", ""], ["drain", ""], ["hold", ""], ["server", "add", "", "a:1"],
            ["server", "remove", "blue", ""],
        ])
    func anEmptyNameIsNoName(words: [String]) throws {
        let admin = try FakeAdmin(["GET /certificates/": [.json("{}")], "GET /policies/": [.json("{}")]])
        let ran = try Ran(words, environment: ["PROXYCTL_ADMIN": admin.directory + "/admin.sock"], in: admin.directory)
        #expect(ran.status == 2 && ran.output == "", "\(ran)")
        #expect(ran.errors == "proxyctl: a name is empty\nA variable of the shell that is not set looks like that.\n", "\(ran)")
        #expect(admin.lines.isEmpty)
    }

    /// Servers of an upstream with backups are two sites as well, but not those that were named.
    @Test func aSiteThatIsNotThereIsNoOtherOne() throws {
        let state = #"{"revision": 42, "upstreams": {"shop": {"servers": [{"server": "a:1"}, {"server": "b:1", "backup": true}]}}, "splits": {}}"#
        let admin = try FakeAdmin(["GET /upstreams": [.json(state)], "GET /status": [.json(Fixture.serving().json)]])
        let ran = try admin.run("failover", "secondary", "--secondary", "west", "--force")
        #expect(ran.status == 2 && admin.write == nil, "\(ran)")
        #expect(ran.errors.hasPrefix("proxyctl: there are no two sites: no split with the variants primary and west\n"), "\(ran)")
    }

    @Test func aFileThatIsMissingIsNoSocket() throws {
        let admin = try FakeAdmin([:])
        for words in [["upstreams", "put"], ["restore"], ["backup", "--verify"], ["deploy", "-f"]] {
            let ran = try Ran(words + ["gone.file"], in: admin.directory)
            #expect(ran.errors.hasPrefix("proxyctl: cannot read gone.file: no such file or directory\n"), "\(words) \(ran)")
        }
    }

    @Test func aRefusalSaysWhatToDoNext() throws {
        let problem = Problem(
            .unknownField, "found \"wieght\"", hint: "did you mean \"weight\"?", pointer: "/upstreams/blue/servers/0/wieght",
            revision: 42)
        let admin = try FakeAdmin(["PUT /upstreams": [.problem(problem)]])
        let ran = try admin.run("upstreams", "put", "-", input: "{\"upstreams\":{}}")
        #expect(
            ran.errors == """
                proxyctl: Unknown field: found "wieght"
                    at /upstreams/blue/servers/0/wieght
                did you mean "weight"?

                """)
        #expect(ran.output == "")
        #expect(ran.status == 1)
        let json = try admin.run("--json", "upstreams", "put", "-", input: "{\"upstreams\":{}}")
        #expect(json.output == problem.json.text())
        #expect(json.status == 1)
    }

    /// With a pool whose servers are all drained, no request would be answered.
    @Test(
        arguments: [
            (["switch", "green"], ["green": "drain"], 1), (["switch", "green"], ["green": "down"], 1),
            (["switch", "green"], ["green": "unhealthy"], 1), (["weight", "green", "20"], ["green": "drain"], 1),
            // The others get what it loses.
            (["weight", "green", "5"], ["blue": "down"], 1), (["weight", "green", "5"], ["green": "down"], 0),
            (["weight", "green", "20"], ["blue": "down"], 0), (["weight", "green", "20", "--raw"], ["green": "down"], 1),
            // A server alone is tried whatever became of the requests before.
            (["switch", "green"], ["green": "failed"], 0), (["switch", "green"], ["green": "busy"], 0),
        ] as [([String], [String: String], Int32)])
    func moreForServersThatTakeNothingIsRefused(words: [String], states: [String: String], status: Int32) throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "GET /status": [.json(Fixture.serving(states).json)],
            "PATCH /splits/app": [.accepted(43)], "PATCH /splits/app?force=1": [.accepted(43)],
            "PATCH /splits/app?dry_run=1": [.json(Plan(revision: 42).json)],
        ])
        let address = ["--admin", admin.directory + "/admin.sock"]
        let ran = try Ran(words + address, in: admin.directory)
        #expect(ran.status == status, "\(ran)")
        #expect((admin.write == nil) == (status == 1))
        if status == 0 { return }
        let (name, state) = try #require(states.first)
        let server = name == "green" ? "127.0.0.1:3002" : "127.0.0.1:3001"
        let up = state == "unhealthy" ? "" : "`proxyctl server up \(name) \(server)` takes it into service; "
        #expect(
            ran.errors == "proxyctl: no server of \(name) takes requests: nothing was changed\n    \(server) is \(state)\n\(up)"
                + "--force changes the weights all the same.\n")
        #expect(try Ran(["plan"] + words + address, in: admin.directory).status == 0, "a plan may be made of it")
        #expect(try Ran(words + ["--force"] + address, in: admin.directory).status == 0)
        #expect(admin.write?.line == "PATCH /splits/app?force=1", "a rollout ends, too")
    }

    @Test func aLostRaceIsTold() throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "GET /status": [.json(Fixture.serving().json)],
            "PATCH /splits/app": [.problem(Problem(.lostRace, "not 42", revision: 45))],
        ])
        let ran = try admin.run("switch", "green")
        #expect(ran.status == 4)
        #expect(ran.errors.contains("the revision is 45 now"))
        #expect(ran.errors.contains("proxyctl history"))
    }

    @Test func namesThatFitNothingOrSeveralAreListed() throws {
        let state =
            #"{"revision":1,"upstreams":{},"splits":{"app":{"weights":{"blue":1,"green":0}},"#
            + #""api":{"weights":{"green":2,"red":0}}}}"#
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(state)], "GET /status": [.json(Fixture.serving().json)], "PATCH /splits/api": [.accepted(2)],
        ])
        let several = try admin.run("switch", "green")
        #expect(several.status == 2)
        #expect(
            several.errors
                == "proxyctl: several splits have the variant green:\n    api: green 2, red 0\n    app: blue 1, green 0\n"
                + "Say which one: --split NAME\n"
        )
        let none = try admin.run("weight", "purple", "5")
        #expect(none.status == 2)
        #expect(none.errors.hasPrefix("proxyctl: no split has a variant purple:\n    api:"))
        let wrong = try admin.run("weight", "blue", "5", "--split", "api")
        #expect(wrong.errors == "proxyctl: the split api has no variant blue:\n    api: green 2, red 0\n")
        #expect(try admin.run("hold").status == 2)
        #expect(admin.write == nil)
        #expect(try admin.run("switch", "green", "--split", "api").status == 0)
    }

    static let misuse: [[String]] = [
        ["weight"], ["weight", "green"], ["weight", "green", "101"], ["weight", "green", "1.5", "--raw"],
        ["weight", "green", "10", "--if-match", "x"],
        ["nonsense"], ["status", "--count", "1"], ["status", "--watch", "0"], ["status", "--admin", "https://x/"], ["plan"],
        ["plan", "status"],
        ["plan", "nonsense"], ["drain", "blue", "--timeout", "soon"], ["release", "app", "--rate", "0"], ["show", "-1"],
        ["receipt", "x"],
        ["status", "--token", "a", "--token-file", "b"], ["status", "--token", "a b"], ["status", "--token-file", "missing"],
        ["upstreams", "put", "missing.json"], ["reload", "--prefer", "me"], ["--admin"], ["history", "--limit", "0"],
    ]
    @Test(arguments: misuse)
    func misuseExitsWith2(words: [String]) throws {
        let ran = try Ran(words, environment: ["PROXYCTL_ADMIN": "/nowhere/admin.sock"], in: "/tmp")
        #expect(ran.status == 2, "\(ran)")
        #expect(!ran.errors.isEmpty)
        #expect(ran.output == "")
    }

    @Test func helpTellsTheExitStatus() throws {
        let ran = try Ran(["--help"], in: "/tmp")
        #expect(ran.status == 0)
        for i in 0...4 { #expect(ran.output.contains("\n  \(i)  ")) }
        #expect(ran.output.split(separator: "\n").allSatisfy { $0.count <= 80 })
        // Every verb of the list can be asked for its help.
        for verb in Proxyctl.configuration.subcommands {
            let name = verb.configuration.commandName ?? ""
            let help = try Ran([name, "--help"], in: "/tmp")
            #expect(help.status == 0 && help.output.contains("USAGE: proxyctl \(name)"), "\(name)")
        }
    }

    // MARK: Receipts

    @Test func waitingPrintsTheReceipt() throws {
        let admin = try FakeAdmin([
            "GET /upstreams": [.json(Fixture.state)], "GET /status": [.json(Fixture.serving().json)],
            "PATCH /splits/app": [.accepted(43, "green 10 -> 100")],
            "GET /receipts/43?wait=1": [.json(Fixture.receipt().json)],
        ])
        let ran = try admin.run("switch", "green", "--wait")
        #expect(ran.status == 0)
        #expect(ran.output.contains("Receipt of revision 43: release 42\nmade 2026-11-21 "))
        #expect(ran.output.contains("\nBalanced: "))
        #expect(!ran.output.contains("\u{1b}"))
        let json = try admin.run("switch", "green", "--wait", "--json")
        #expect(
            json.output == Accepted(revision: 43, previous: 42, changed: true, summary: "green 10 -> 100").json.text()
                + Fixture.receipt().json.text())
    }

    @Test func aReceiptThatIsNotGoodExitsWith1() throws {
        let bad = Fixture.receipt { $0.after.completed -= 1 }
        let failed = Fixture.receipt {
            $0.after.completed -= 1
            $0.after.failedByProxy += 1
        }
        let admin = try FakeAdmin([
            "POST /undo": [.accepted(43)], "GET /receipts/43?wait=1": [.json(bad.json), .json(failed.json)],
            "GET /receipts/43": [.json(bad.json)],
        ])
        let ran = try admin.run("undo", "--wait")
        #expect(ran.status == 1)
        #expect(ran.output.contains("DOES NOT BALANCE"))
        #expect(ran.errors.contains("does not balance"))
        #expect(try admin.run("undo", "--wait").errors.contains("the proxy failed requests around revision 43"))
        #expect(try admin.run("receipt", "43").status == 1)
    }

    @Test func aChangeThatIsNotInForceExitsWith1() throws {
        let early = Fixture.receipt { $0.visibleAfterUs = nil }
        let admin = try FakeAdmin(["POST /undo": [.accepted(43)], "GET /receipts/43?wait=1": [.json(early.json)]])
        let ran = try admin.run("undo", "--wait")
        #expect(ran.status == 1)
        #expect(ran.errors.contains("not every worker serves by revision 43 yet"))
    }

    @Test func waitingForTheLastEarlierRequest() throws {
        let waiting = Fixture.receipt { $0.slowestDrainMs = nil }
        let admin = try FakeAdmin([
            "POST /undo": [.accepted(43)], "GET /receipts/43?wait=1": [.json(waiting.json)],
            "GET /receipts/43": [.json(waiting.json), .json(Fixture.receipt().json)],
        ])
        let ran = try admin.run("undo", "--wait-drained")
        #expect(ran.status == 0, "\(ran)")
        #expect(ran.output.contains("the last earlier request ended after 1.2 s"))
        #expect(admin.lines == ["POST /undo", "GET /receipts/43?wait=1", "GET /receipts/43", "GET /receipts/43"])

        let never = try FakeAdmin([
            "POST /undo": [.accepted(43)], "GET /receipts/43?wait=1": [.json(waiting.json)],
            "GET /receipts/43": [.json(waiting.json)],
        ])
        let late = try never.run("undo", "--wait-drained", "--wait-timeout", "300ms")
        #expect(late.status == 1)
        #expect(late.errors.contains("still in flight"))
    }

    @Test func aReceiptIsAwaitedWhereAsked() throws {
        let final = Fixture.receipt {
            $0.isFinal = true
            $0.after.inFlight = 0
            $0.after.completed += 10
        }
        let admin = try FakeAdmin([
            "GET /receipts/43?wait=final&timeout=1s": [.json(Fixture.receipt().json), .json(final.json)],
            "GET /receipts/43?wait=1&timeout=30s": [.json(Fixture.receipt { $0.visibleAfterUs = nil }.json)],
        ])
        let early = try admin.run("receipt", "43", "--wait", "final", "--timeout", "1s")
        #expect(early.status == 1)
        #expect(early.errors == "proxyctl: the figures of revision 43 are not final yet\n")
        #expect(try admin.run("receipt", "43", "--wait", "final", "--timeout", "1s").status == 0)
        #expect(try admin.run("receipt", "43", "--wait", "visible").status == 1)
    }

    @Test func aDrainThatDoesNotEndExitsWith1() throws {
        let admin = try FakeAdmin([
            "POST /upstreams/blue/drain?timeout=10ms&wait=1": [
                .accepted(43, "drain blue", "202 Accepted"), .accepted(43, "drain blue"),
            ]
        ])
        let late = try admin.run("drain", "blue", "--timeout", "10ms", "--wait")
        #expect(late.status == 1)
        #expect(late.errors.contains("blue still has requests in flight after 10ms"))
        let done = try admin.run("drain", "blue", "--timeout", "10ms", "--wait")
        #expect(done.status == 0)
        #expect(done.output.hasSuffix("Nothing is in flight in blue.\n"))
    }
}
