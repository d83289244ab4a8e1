import AdminAPI
import Engine
import Testing

@testable import Control

@Suite("What the admin API refuses")
struct AdminProblemTests {
    struct Case: CustomTestStringConvertible, Sendable {
        var method: String
        var target: String
        var body: String?
        var fields: [(String, String)] = []
        var status: Int
        var kind: Problem.Kind
        var pointer: String?
        var testDescription: String { "\(method) \(target) \(body ?? "") -> \(kind.rawValue)" }
        init(
            _ method: String, _ target: String, _ body: String?, _ fields: [(String, String)], _ status: Int, _ kind: Problem.Kind,
            at pointer: String? = nil
        ) {
            (self.method, self.target, self.body, self.fields) = (method, target, body, fields)
            (self.status, self.kind, self.pointer) = (status, kind, pointer)
        }
        init(_ method: String, _ target: String, _ body: String?, _ status: Int, _ kind: Problem.Kind, at pointer: String? = nil) {
            self.init(method, target, body, [], status, kind, at: pointer)
        }
    }

    private static let server = #"{"server": "127.0.0.1:9"}"#

    static let bodies: [Case] = [
        Case("PUT", "/upstreams/blue", "{", 400, .notJSON), Case("PUT", "/upstreams/blue", nil, 400, .notJSON),
        Case("PUT", "/upstreams/blue", String(repeating: "[", count: 40), 400, .tooDeep),
        Case("PUT", "/upstreams/blue", #"{"servers": [{"server": "127.0.0.1:9", "wieght": 1}]}"#, 422, .unknownField, at: "/servers/0/wieght"),
        Case("PUT", "/upstreams/blue", "{}", 422, .missingField, at: "/servers"),
        Case("PUT", "/upstreams/blue", #"{"servers": [], "servers": []}"#, 422, .duplicateField, at: "/servers"),
        Case("PUT", "/upstreams/blue", #"{"servers": 1}"#, 422, .wrongType, at: "/servers"),
        Case("PUT", "/upstreams/blue", #"{"servers": [{"server": "127.0.0.1:9", "weight": -1}]}"#, 422, .outOfRange, at: "/servers/0/weight"),
        Case("PUT", "/upstreams/.blue", #"{"servers": [\#(server)]}"#, 422, .badName),
        Case("PUT", "/upstreams/blue", #"{"servers": [{"server": "127.0.0.1:99999"}]}"#, 422, .badAddress, at: "/servers/0/server"),
        Case("PUT", "/upstreams/blue", #"{"servers": [\#(server), {"server": "no.such.host:1"}]}"#, 422, .badAddress, at: "/servers/1/server"),
        Case("PUT", "/upstreams/blue", #"{"servers": [\#(server)], "balance": "hash $no_such_thing"}"#, 422, .badBalance, at: "/balance"),
        Case("PUT", "/upstreams/blue", #"{"servers": [\#(server)], "balance": "fair"}"#, 422, .badBalance, at: "/balance"),
        Case("PUT", "/upstreams/blue", #"{"servers": [\#(server)], "keepalive_time": "soon"}"#, 422, .badTime, at: "/keepalive_time"),
        Case("PUT", "/upstreams/blue", #"{"servers": [\#(server), \#(server)]}"#, 422, .duplicateServer, at: "/servers/1/server"),
        Case("PUT", "/upstreams/blue", #"{"servers": []}"#, 422, .noServers, at: "/servers"),
        Case("PUT", "/upstreams/app", #"{"servers": [\#(server)]}"#, 409, .nameInUse),
        Case("DELETE", "/upstreams/blue", nil, 409, .nameInUse), Case("DELETE", "/splits/app", nil, 409, .nameInUse),
        Case("DELETE", "/upstreams/green", #"{"why": 1}"#, 422, .unknownField, at: "/why"),
        Case("PUT", "/upstreams", #"{"upstreams": {"blue": {"servers": [{"server": "127.0.0.1:9", "down": 1}]}}}"#, 422, .wrongType,
            at: "/upstreams/blue/servers/0/down"),
        Case("PUT", "/upstreams", #"{"upstreams": {"blue": {"servers": [{"server": "no.such.host:9"}]}, "green": {"servers": [\#(server)]}}}"#, 422,
            .badAddress, at: "/upstreams/blue/servers/0/server"),
        Case("PUT", "/upstreams", #"{"splits": {}}"#, 422, .missingField, at: "/upstreams"),
        Case("PUT", "/upstreams", #"{"upstreams": {}}"#, 409, .nameInUse, at: "/upstreams"),
        Case("POST", "/upstreams/blue/servers", #"{"server": "127.0.0.1:3001"}"#, 422, .duplicateServer, at: "/server"),
        Case("POST", "/upstreams/blue/servers", #"{"server": "no.such.host:1"}"#, 422, .badAddress, at: "/server"),
        Case("POST", "/upstreams/blue/servers", #"{"server": "127.0.0.1:9", "fail_timeout": "1ms"}"#, 422, .badTime, at: "/fail_timeout"),
        Case("PATCH", "/upstreams/blue/servers/1", #"{"server": "127.0.0.1:3001"}"#, 422, .duplicateServer, at: "/server"),
        Case("PATCH", "/upstreams/blue/servers/1", #"{"server": "no.such.host:1"}"#, 422, .badAddress, at: "/server"),
        Case("DELETE", "/upstreams/green/servers/0", nil, 422, .noServers),
        Case("PUT", "/splits/app", #"{"weights": {"grene": 1}}"#, 422, .unknownVariant, at: "/weights/grene"),
        Case("PUT", "/splits/app", #"{"weights": {"green": 0}}"#, 422, .allWeightsZero, at: "/weights"),
        Case("PUT", "/splits/app", #"{"weights": {"green": 1}, "key": ["$remote_addr", "$nothing"]}"#, 422, .badTemplate, at: "/key/1"),
        Case("PUT", "/splits/blue", #"{"weights": {"green": 1}}"#, 409, .nameInUse),
        Case("PATCH", "/splits/app", #"{"weights": {"spare": 1}}"#, 422, .unknownVariant, at: "/weights/spare"),
        Case("PATCH", "/splits/app", #"{"weights": {"green": 0, "blue": 0}}"#, 422, .allWeightsZero, at: "/weights"),
        Case("PATCH", "/splits/app", #"{"weights": {"green": 1}, "reason": 1}"#, 422, .wrongType, at: "/reason"),
    ]

    static let places: [Case] = [
        Case("GET", "/none", nil, 404, .notFound), Case("GET", "/upstreams/none", nil, 404, .notFound), Case("GET", "/splits/none", nil, 404, .notFound),
        Case("GET", "/upstreams/blue/servers/9", nil, 404, .notFound), Case("GET", "/upstreams/%zz", nil, 404, .notFound),
        Case("GET", "/upstreams/%ff", nil, 404, .notFound), Case("GET", "/revisions/x", nil, 404, .notFound),
        Case("GET", "/revisions/99", nil, 404, .goneRevision), Case("GET", "/revisions/1/diff/99", nil, 404, .goneRevision),
        Case("GET", "/receipts/99", nil, 404, .goneRevision), Case("GET", "/receipts/99?wait=1", nil, 404, .goneRevision),
        Case("POST", "/revisions/99/restore", nil, 404, .goneRevision), Case("POST", "/upstreams/none/drain", nil, 404, .notFound),
        Case("POST", "/upstreams/none/servers", server, 404, .notFound), Case("PATCH", "/splits/none", #"{"weights": {}}"#, 404, .notFound),
        Case("POST", "/upstreams", "{}", 405, .methodNotAllowed), Case("BREW", "/status", nil, 405, .methodNotAllowed),
        Case("GET", "/undo", nil, 405, .methodNotAllowed), Case("POST", "/undo", nil, 409, .nothingToUndo),
        Case("GET", "/status?x=1", nil, 400, .badQuery), Case("GET", "/revisions?limit=0", nil, 400, .badQuery),
        Case("GET", "/revisions?limit=1&limit=2", nil, 400, .badQuery), Case("GET", "/revisions?limit=%zz", nil, 400, .badQuery),
        Case("POST", "/undo?dry_run=maybe", nil, 400, .badQuery), Case("POST", "/undo?dryrun=1", nil, 400, .badQuery),
        Case("POST", "/splits/app/hold?timeout=soon", nil, 400, .badQuery), Case("POST", "/splits/app/hold?max=-1", nil, 400, .badQuery),
        Case("POST", "/splits/app/release?rate=0", nil, 400, .badQuery), Case("GET", "/receipts/1?wait=2", nil, 400, .badQuery),
        Case("GET", "/receipts/1?wait=1&timeout=2h", nil, 400, .badQuery), Case("GET", "/events?after=x", nil, 400, .badQuery),
        Case("POST", "/undo?reason=" + String(repeating: "x", count: 1001), nil, 400, .badQuery),
        Case("POST", "/undo", nil, [("If-Match", "W/\"1\"")], 400, .badHeader), Case("POST", "/undo", nil, [("If-Match", "\"1\", \"2\"")], 400, .badHeader),
        Case("POST", "/undo", nil, [("If-Match", "abc")], 400, .badHeader), Case("POST", "/undo", nil, [("If-Match", "\"9\"")], 412, .lostRace),
        Case("GET", "/events", nil, [("Last-Event-ID", "x")], 400, .badHeader),
        Case("PUT", "/upstreams/blue", "{}", [("Content-Type", "application/x-www-form-urlencoded")], 415, .badHeader),
    ]

    @Test(arguments: bodies + places)
    func refused(_ wanted: Case) throws {
        let desk = try AdminDesk()
        let before = desk.everything
        let asked = desk.ask(wanted.method, wanted.target, wanted.body, wanted.fields)
        #expect(asked.problem == wanted.kind.rawValue, "\(asked.text)")
        #expect(asked.status == wanted.status)
        #expect(asked.pointer == wanted.pointer)
        #expect(asked.json["detail"]?.string?.isEmpty == false)
        #expect(desk.everything == before, "a refusal changes nothing")
        // Each refused write is in the audit log, and no question is.
        #expect(desk.said.all.count == (["GET", "HEAD"].contains(wanted.method) || wanted.target.contains("dry_run=1") ? 0 : 1))
    }

    @Test func allowTellsWhatMayBeDone() throws {
        #expect(try AdminDesk().ask("POST", "/status").line("Allow") == "GET, HEAD, OPTIONS")
    }

    @Test func aMisspeltParameterIsNamed() throws {
        #expect(try AdminDesk().ask("POST", "/undo?dryrun=1").json["hint"] == "did you mean \"dry_run\"?")
    }

    @Test(arguments: ["\"1\"", "1", "*", " \"1\" "])
    func conditionsThatHold(field: String) throws {
        let desk = try AdminDesk()
        #expect(desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 11}}"#, [("If-Match", field)]).status == 200)
    }

    @Test func whoeverComesSecondLosesTheRace() throws {
        let desk = try AdminDesk()
        let condition = [("If-Match", "\"1\"")]
        #expect(desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 11}}"#, condition).status == 200)
        for (method, path) in [("POST", "/undo"), ("POST", "/splits/app/hold"), ("POST", "/reload"), ("POST", "/upstreams/blue/drain"), ("POST", "/undo?dry_run=1")] {
            let second = desk.ask(method, path, nil, condition)
            #expect(second.status == 412, "\(path)")
            #expect(second.revision == 2)
        }
        #expect(desk.controller.running.revision == 2)
    }

    @Test func aJournalThatIsFullRefusesTheChange() throws {
        let disk = MemoryDisk()
        let (journal, _) = try Journal.open(JournalStorage(disk))
        let desk = try AdminDesk(journal: journal)
        disk.fault = { _, _ in -28 }
        let refused = desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 11}}"#)
        #expect(refused.status == 507)
        #expect(refused.problem == "journal-failed")
        #expect(desk.controller.running.revision == 1)
        disk.fault = nil
        #expect(desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 11}}"#).status == 200)
    }

    @Test func afterAStopNothingIsChanged() throws {
        let desk = try AdminDesk()
        desk.controller.stop()
        let refused = desk.ask("POST", "/undo")
        #expect(refused.status == 503)
        #expect(refused.problem == "stopping")
        #expect(desk.ask("GET", "/events").problem == "stopping")
        #expect(desk.ask("GET", "/receipts/1").status == 200)
    }

    @Test func aServerNamedTwiceByTheConfigurationIsNoReasonToRefuseOthers() throws {
        let desk = try AdminDesk(AdminDesk.pools.replacing("127.0.0.1:3003;", with: "127.0.0.1:3003; server 127.0.0.1:3003;"))
        #expect(desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 11}}"#).status == 200)
        #expect(desk.ask("POST", "/upstreams/green/servers", #"{"server": "127.0.0.1:9"}"#).status == 201)
        #expect(desk.ask("POST", "/upstreams/green/drain").status == 202)
        #expect(desk.ask("POST", "/upstreams/green/servers", #"{"server": "127.0.0.1:99999"}"#).problem == "bad-address")
    }
}
