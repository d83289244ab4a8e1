import AdminAPI
import Engine
import Testing

@testable import Control

@Suite("Routes of the admin API")
struct AdminRouteTests {
    @Test func theIndexLeadsToWhatCanBeRead() throws {
        let desk = try AdminDesk()
        let index = desk.ask("GET", "/")
        #expect(index.status == 200)
        for link in index.json["links"]?.object ?? [] where !(link.value.string ?? "").contains("{") {
            #expect([200, 0].contains(link.name == "getEvents" ? 0 : desk.ask("GET", "/" + (link.value.string ?? "")).status), "\(link.name)")
        }
    }

    @Test func theWholeStateIsReadAndPut() throws {
        let desk = try AdminDesk()
        let state = desk.ask("GET", "/upstreams")
        #expect(state.revision == 1)
        #expect(state.line("ETag") == "\"1\"")
        // What is read can be put as it is, and changes nothing.
        let same = desk.ask("PUT", "/upstreams", state.text)
        #expect(same.status == 200)
        #expect(same.json["changed"] == false)
        #expect(same.revision == 1)
        let put = desk.ask("PUT", "/upstreams", #"{"reason": "small", "upstreams": {"blue": {"servers": [{"server": "127.0.0.1:9"}]}, "green": {"servers": [{"server": "127.0.0.1:8"}]}}}"#)
        #expect(put.status == 200)
        #expect(put.json["changed"] == true)
        #expect(put.json["previous"] == 1)
        #expect(put.json["reason"] == "small")
        #expect(put.line("ETag") == "\"2\"")
        #expect(desk.ask("GET", "/upstreams/spare").problem == "not-found")
        #expect(desk.ask("GET", "/splits/app").status == 200)
    }

    @Test func aPoolIsMadeChangedAndTakenAway() throws {
        let desk = try AdminDesk()
        let body = #"{"balance": "least_conn", "servers": [{"server": "127.0.0.1:4000"}]}"#
        let made = desk.ask("PUT", "/upstreams/red", body)
        #expect(made.status == 201)
        #expect(desk.ask("PUT", "/upstreams/red", body).status == 200)
        let read = desk.ask("GET", "/upstreams/red")
        #expect(read.json["balance"] == "least_conn")
        #expect(read.json[try #require(JSONPointer("/servers/0/id"))] == 0)
        #expect(read.line("ETag") == "\"2\"")
        #expect(desk.ask("PUT", "/upstreams/red", #"{"servers": [{"server": "127.0.0.1:4001"}]}"#).status == 200)
        let gone = desk.ask("DELETE", "/upstreams/red", #"{"reason": "not needed"}"#)
        #expect(gone.status == 200)
        #expect(gone.json["reason"] == "not needed")
        #expect(desk.ask("GET", "/upstreams/red").status == 404)
        #expect(desk.ask("DELETE", "/upstreams/spare").status == 200)
    }

    @Test func serversOfAPool() throws {
        let desk = try AdminDesk()
        #expect(desk.ask("GET", "/upstreams/blue/servers").json["servers"]?.array?.count == 2)
        let added = desk.ask("POST", "/upstreams/blue/servers", #"{"server": "127.0.0.1:4000", "weight": 5}"#)
        #expect(added.status == 201)
        #expect(desk.ask("GET", "/upstreams/blue/servers/2").json["server"] == "127.0.0.1:4000")
        // By address, percent-encoded or not.
        #expect(desk.ask("GET", "/upstreams/blue/servers/127.0.0.1%3A4000").json["id"] == 2)
        #expect(desk.ask("GET", "/upstreams/blue/servers/127.0.0.1:4000").json["id"] == 2)
        let patched = desk.ask("PATCH", "/upstreams/blue/servers/2", #"{"drain": true, "fail_timeout": "1m"}"#)
        #expect(patched.status == 200)
        #expect(desk.ask("GET", "/upstreams/blue/servers/2").json["drain"] == true)
        #expect(desk.ask("GET", "/upstreams/blue/servers/2").json["weight"] == 5)
        #expect(desk.ask("DELETE", "/upstreams/blue/servers/127.0.0.1:4000?reason=old").json["reason"] == "old")
        #expect(desk.ask("GET", "/upstreams/blue/servers").json["servers"]?.array?.count == 2)
        // An id is not given twice.
        desk.ask("POST", "/upstreams/blue/servers", #"{"server": "127.0.0.1:4001"}"#)
        #expect(desk.ask("GET", "/upstreams/blue/servers/127.0.0.1:4001").json["id"] == 3)
    }

    @Test func aServerOnAUnixSocketHasSlashesInItsName() throws {
        let desk = try AdminDesk()
        #expect(desk.ask("POST", "/upstreams/blue/servers", #"{"server": "unix:/run/a b.sock"}"#).problem == "bad-address")
        #expect(desk.ask("POST", "/upstreams/blue/servers", #"{"server": "unix:/run/a.sock"}"#).status == 201)
        #expect(desk.ask("GET", "/upstreams/blue/servers/unix%3A%2Frun%2Fa.sock").json["server"] == "unix:/run/a.sock")
    }

    @Test func splitsAndTheirWeights() throws {
        let desk = try AdminDesk()
        #expect(desk.ask("GET", "/splits/app").json["weights"]?["blue"] == 90)
        let set = desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 50}, "reason": "release 42"}"#)
        #expect(set.json["summary"]?.string?.contains("green 10 -> 50") == true)
        #expect(desk.ask("GET", "/splits/app").json["weights"]?["blue"] == 90)
        #expect(desk.ask("PUT", "/splits/beta", #"{"weights": {"blue": 1, "spare": 1}, "key": ["$remote_addr"]}"#).status == 201)
        #expect(desk.ask("PUT", "/splits/beta", #"{"weights": {"blue": 1}}"#).status == 200)
        #expect(desk.ask("DELETE", "/splits/beta").status == 200)
        #expect(desk.ask("GET", "/splits/beta").status == 404)
    }

    @Test func holdAndRelease() throws {
        let desk = try AdminDesk()
        let held = desk.ask("POST", "/splits/app/hold?timeout=10s&max=101", #"{"reason": "migration"}"#)
        #expect(held.status == 200)
        #expect(held.revision == 1)
        #expect(desk.ask("GET", "/status").json["splits"]?["app"]?["held"] == true)
        let hold = try #require(desk.publisher.current.root.value.splits[0].value.hold)
        #expect(hold.timeoutMs == 10_000)
        #expect(hold.heldMax == 51, "half of it in each of two workers, rounded up")
        #expect(desk.ask("POST", "/splits/app/release?rate=5").json["changed"] == true)
        #expect(desk.ask("POST", "/splits/app/release").json["changed"] == false)
        #expect(desk.ask("GET", "/status").json["splits"]?["app"]?["held"] == false)
        #expect(desk.ask("POST", "/splits/none/hold").status == 404)
        #expect(desk.controller.events.after(0).map(\.kind) == [.revision, .held, .released])
    }

    @Test func theHistoryGoesBackAndForth() throws {
        let desk = try AdminDesk()
        for weight in [20, 30, 40] { desk.ask("PATCH", "/splits/app", #"{"weights": {"green": \#(weight)}}"#) }
        #expect(desk.ask("POST", "/undo", #"{"reason": "no"}"#).revision == 5)
        #expect(desk.ask("GET", "/splits/app").json["weights"]?["green"] == 30)
        #expect(desk.ask("POST", "/undo").revision == 6)
        #expect(desk.ask("GET", "/splits/app").json["weights"]?["green"] == 20)
        #expect(desk.ask("POST", "/revisions/4/restore").revision == 7)
        let list = desk.ask("GET", "/revisions?limit=3")
        #expect(list.json["revisions"]?.array?.map { $0["revision"] } == [7, 6, 5])
        #expect(desk.ask("GET", "/revisions/7").json["restores"] == 4)
        #expect(desk.ask("GET", "/revisions/2").json["splits"]?["app"]?["weights"]?["green"] == 20)
        let diff = desk.ask("GET", "/revisions/2/diff/7")
        #expect(diff.json["differences"]?.array?.count == 1)
        #expect(diff.json["differences"]?[0]?["pointer"] == "/splits/app/weights/green")
        #expect(desk.ask("GET", "/revisions/7/diff/7").json["differences"]?.array?.isEmpty == true)
    }

    @Test func aReloadThatChangesNoPoolIsNoDeadEndForUndo() throws {
        let desk = try AdminDesk()
        desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 20}}"#)
        #expect(desk.ask("POST", "/reload").revision == 3)
        #expect(desk.ask("POST", "/undo").json["changed"] == true)
        #expect(desk.ask("GET", "/splits/app").json["weights"]?["green"] == 10)
    }

    @Test func reloadMergesAndSaysWhatIsWrong() throws {
        let desk = try AdminDesk()
        desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 20}}"#)
        desk.owner.pools = AdminDesk.pools.replacing("green 10", with: "green 30")
        let before = desk.everything
        #expect(desk.ask("POST", "/reload?dry_run=1").json["warnings"]?.array?.count == 1)
        #expect(desk.everything == before)
        let told = desk.ask("POST", "/reload?prefer=running")
        #expect(told.status == 200)
        #expect(told.json["warnings"]?.array?.map { $0.string?.prefix { $0 != ":" } } == ["/splits/app/weights/green"])
        #expect(desk.ask("GET", "/splits/app").json["weights"]?["green"] == 20)
        desk.owner.pools = nil
        let refused = desk.ask("POST", "/reload")
        #expect(refused.status == 422)
        #expect(refused.problem == "bad-configuration")
        #expect(refused.json["detail"]?.string?.hasPrefix("proxy.conf:3:7:") == true)
        #expect(desk.ask("POST", "/reload?prefer=both").problem == "bad-query")
    }

    @Test func receiptsStatusAndExport() throws {
        let desk = try AdminDesk()
        #expect(desk.ask("GET", "/receipts/1").json["balances"] == true)
        #expect(desk.ask("GET", "/receipts/99").problem == "gone-revision")
        let status = desk.ask("GET", "/status")
        #expect(status.json["process_id"]?.integer ?? 0 > 0)
        #expect(status.json["version"]?.string?.isEmpty == false)
        #expect(status.json["started_at"]?.string?.hasPrefix("2023-11-14T") == true)
        #expect(status.json["workers"] == 2)
        let text = desk.ask("GET", "/export")
        #expect(text.answer.contentType.hasPrefix("text/plain"))
        let again = try AdminDesk(text.text)
        #expect(again.controller.running.state == desk.controller.running.state)
    }

    @Test func headIsGetAndOptionsTellsMethods() throws {
        let desk = try AdminDesk()
        #expect(desk.ask("HEAD", "/upstreams").status == 200)
        let options = desk.ask("OPTIONS", "/upstreams/blue")
        #expect(options.status == 204)
        #expect(options.line("Allow") == "DELETE, GET, HEAD, OPTIONS, PUT")
        #expect(desk.ask("OPTIONS", "/undo").line("Allow") == "OPTIONS, POST")
        #expect(desk.ask("OPTIONS", "/none").status == 404)
    }

    /// Whatever can be written can be planned, and nothing is other afterwards, down to the identity of what workers keep.
    @Test(arguments: [
        ("PUT", "/upstreams", #"{"upstreams": {"blue": {"servers": [{"server": "127.0.0.1:9"}]}, "green": {"servers": [{"server": "two.test:8"}]}}}"#),
        ("PUT", "/upstreams/red", #"{"servers": [{"server": "127.0.0.1:9"}]}"#), ("PUT", "/upstreams/blue", #"{"servers": [{"server": "127.0.0.1:9"}]}"#),
        ("DELETE", "/upstreams/spare", nil), ("POST", "/upstreams/blue/servers", #"{"server": "two.test:9"}"#),
        ("PATCH", "/upstreams/blue/servers/0", #"{"weight": 7}"#), ("DELETE", "/upstreams/blue/servers/0", nil),
        ("POST", "/upstreams/blue/drain", nil), ("PUT", "/splits/app", #"{"weights": {"spare": 1}}"#), ("DELETE", "/splits/other", nil),
        ("PATCH", "/splits/app", #"{"weights": {"green": 11}}"#), ("POST", "/splits/app/hold", nil), ("POST", "/splits/app/release", nil),
        ("POST", "/undo", nil), ("POST", "/revisions/1/restore", nil), ("POST", "/reload", nil),
    ])
    func dryRunsChangeNothing(method: String, path: String, body: String?) throws {
        let desk = try AdminDesk()
        desk.ask("PUT", "/splits/other", #"{"weights": {"blue": 1}}"#)
        let before = desk.everything
        let plan = desk.ask(method, path + "?dry_run=1", body)
        #expect(plan.status == 200)
        #expect(plan.revision == 2)
        #expect(plan.json["differences"] != nil)
        #expect(desk.everything == before)
        // And the same write without is done.
        #expect([200, 201, 202].contains(desk.ask(method, path, body).status))
        // Its definitions are taken over, where they are as they were.
        #expect(desk.said.all.count == 2, "the audit log knows nothing of dry runs")
    }
}
