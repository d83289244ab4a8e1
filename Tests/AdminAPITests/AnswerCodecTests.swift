import AdminAPI
import Testing

@Suite("JSON: answers")
struct AnswerCodecTests {
    /// Written, read back equal, and also with a member that a newer proxyd may add.
    private func comesBack<Value: JSONCodable & Equatable>(_ value: Value) throws {
        #expect(try Value(json: value.json) == value)
        #expect(try Value(body: value.json.bytes(pretty: false)) == value)
        #expect(try Value(json: value.json.merging(.members(["zz_new": [1]]))) == value)
        let names = value.json.object?.map(\.name) ?? []
        #expect(names == names.sorted())
    }

    static func account(_ seed: UInt64) -> RequestAccount {
        var account = RequestAccount()
        account.completed = 1000 + seed
        account.abortedByClient = 2
        account.failedByUpstream = 3
        account.failedByProxy = 4
        account.moved = 5
        account.inFlight = 6
        account.started = 1020 + seed
        return account
    }

    static func receipt() -> Receipt {
        var receipt = Receipt(revision: 42)
        receipt.reason = "release 42"
        receipt.who = "deploy"
        receipt.atMs = 1_795_266_300_123
        receipt.before = account(1)
        receipt.after = account(2)
        receipt.carried = account(3)
        receipt.tunnelsCarried = 1
        receipt.held = 2
        receipt.retried = 3
        receipt.inner = 7
        receipt.mirrorsDropped = 8
        receipt.closedByClient = 4
        receipt.closedByProxy = 5
        receipt.closedByDrain = 6
        receipt.visibleAfterUs = 310
        receipt.workers = 2
        receipt.slowestDrainMs = 1200
        receipt.isFinal = true
        return receipt
    }

    @Test func receipts() throws {
        try comesBack(Receipt(revision: 1))
        try comesBack(Self.receipt())
        try comesBack(Self.account(0))
        let json = Self.receipt().json
        #expect(json["balances"] == true)
        #expect(json["at"] == "2026-11-21T13:05:00.123Z")
        #expect(json["before"]?["aborted_by_client"] == 2)
        #expect(Receipt(revision: 1).json["visible_after_us"] == .null)
        var broken = Self.receipt()
        broken.after.completed += 1
        #expect(broken.json["balances"] == false)
    }

    @Test func revisions() throws {
        for kind in Revision.Kind.allCases {
            let revision = Revision(
                number: 42, kind: kind, atMs: -1, who: "me", reason: "é\n\"", summary: "split app: green 5 -> 50", restores: 40,
                previous: 41)
            try comesBack(revision)
        }
        let first = Revision(number: 1, kind: .start, atMs: 5, who: "", reason: "", summary: "")
        try comesBack(first)
        #expect(first.json["previous"] == .null)
        #expect(first.json["restores"] == nil)
        let whole = first.json(with: fullState(), as: .journal)
        #expect(try Revision(json: whole) == first)
        #expect(try ProxyState(json: whole.state, as: .journal) == fullState())
        for name in ["revision", "kind", "at"] {
            let members = first.json.object?.filter { $0.name != name } ?? []
            #expect(problem { () throws(Problem) in try Revision(json: .object(members)) }?.pointer == "/" + name)
        }
        let odd = first.json.merging(.members(["kind": "magic"]))
        #expect(problem { () throws(Problem) in try Revision(json: odd) }?.kind == .outOfRange)
        let late = first.json.merging(.members(["at": "yesterday"]))
        #expect(
            problem { () throws(Problem) in try Revision(json: late, at: JSONPointer(["revisions", "0"])) }?.pointer
                == "/revisions/0/at")
    }

    @Test func differencesAndConflicts() throws {
        try comesBack(StateDifference(.changed, "/splits/app/weights/green", from: "5", to: "50"))
        try comesBack(StateDifference(.added, "/upstreams/blue", to: "{\"servers\":[{\"server\":\"a\"}]}"))
        try comesBack(StateDifference(.removed, "/upstreams/blue/keepalive", from: "null"))
        try comesBack(MergeConflict(pointer: "/a~1b", was: "1", inFile: "\"x\"", running: "[true]"))
        try comesBack(MergeConflict(pointer: "", was: nil, inFile: nil, running: nil))
        let difference = StateDifference(.changed, "/x", from: "5", to: "no JSON")
        #expect(difference.json.text(pretty: false) == "{\"from\":5,\"kind\":\"changed\",\"pointer\":\"/x\",\"to\":\"no JSON\"}")
    }

    @Test func plans() throws {
        var plan = Plan(revision: 42)
        try comesBack(plan)
        plan.differences = [StateDifference(.changed, "/splits/app/weights/green", from: "5", to: "50")]
        plan.servers = [PlannedServer(upstream: "blue", server: "127.0.0.1:3001", state: "up")]
        plan.inFlightOnLeaving = 3
        plan.longLivedOnLeaving = 1
        plan.usersThatMove = ["app": 45.5, "b": 0, "c": 100]
        plan.warnings = ["one server left"]
        try comesBack(plan)
        let wrong = plan.json.merging(.members(["servers": [.object([])]]))
        #expect(problem { () throws(Problem) in try Plan(json: wrong) }?.pointer == "/servers/0/server")
    }

    @Test func statuses() throws {
        try comesBack(Status())
        var status = Status()
        status.version = "1.0"
        status.revision = 42
        status.processID = 4711
        status.startedAtMs = 1_795_266_300_123
        status.nowMs = 1_795_266_300_124
        status.workers = 2
        status.connections = 900
        status.requests = Self.account(9)
        var server = ServerStatus(id: 4, server: "127.0.0.1:3001", weight: 7)
        server.backup = true
        server.state = "drain"
        server.inFlight = 1
        server.requests = 2
        server.failures = 3
        server.errors = 4
        server.answers = [0, 5, 6, 7, 4]
        var upstream = UpstreamStatus(name: "blue")
        upstream.servers = [server]
        upstream.retries = 8
        status.upstreams = [UpstreamStatus(name: "a"), upstream]
        var split = SplitStatus(name: "app", weights: ["blue": 90, "green": 10])
        split.isHeld = true
        split.holding = 12
        status.splits = [split]
        status.journal = "on"
        try comesBack(status)
        #expect(status.json["upstreams"]?["blue"]?["servers"]?[0]?["in_flight"] == 1)
        #expect(status.json["splits"]?["app"]?["held"] == true)
    }

    @Test func events() throws {
        for kind in Event.Kind.allCases {
            var event = Event(id: 7, kind: kind, atMs: 1, revision: 42, subject: "blue", text: "127.0.0.1:3001 failed")
            // One about health says more.
            if kind == .health { event.health = HealthEvent(upstream: "blue", server: "127.0.0.1:3001", state: "unhealthy", why: "found 503") }
            try comesBack(event)
        }
    }

    @Test func problems() throws {
        for kind in Problem.Kind.allCases {
            try comesBack(Problem(kind, "found x, expected y"))
            try comesBack(Problem(kind, status: 418, "d", hint: "h", pointer: "/upstreams/blue/servers/0/wieght", revision: 42))
        }
        #expect(
            Problem(.unknownField, "d", hint: "h", pointer: "/a", revision: 42).json.text(pretty: false)
                == "{\"detail\":\"d\",\"hint\":\"h\",\"pointer\":\"/a\",\"revision\":42,\"status\":422,\"title\":\"Unknown field\","
                + "\"type\":\"/problems/unknown-field\"}")
        // A kind of a later version, and an answer of something else.
        let later = try Problem(json: parsed("{\"type\":\"/problems/magic\",\"status\":409,\"detail\":\"d\"}"))
        #expect(later == Problem(.conflict, "d"))
        #expect(try Problem(json: parsed("{\"type\":\"about:blank\",\"status\":502}")).status == 502)
        #expect(try Problem(json: parsed("{}")).status == 422)
    }
}
