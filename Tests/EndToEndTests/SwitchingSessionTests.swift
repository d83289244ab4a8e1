// Owns what an operator types: sessions of proxyctl with the real proxy, what it prints and how it ends.

import Foundation
import TestSupport
import Testing

@Suite("switching: proxyctl", .ownThread, .enabled(if: !Harness.isNginx))
struct SwitchingSessionTests {
    /// Runs it, expecting that exit status and each of those texts in what it prints.
    @discardableResult
    private func run(
        _ proxy: Proxy, _ words: String, status: Int32 = 0, says texts: String...,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> Proxyctl.Result {
        let result = try Proxyctl(proxy, words.split(separator: " ").map(String.init)).result()
        #expect(result.status == status, "proxyctl \(words): \(result.all)", sourceLocation: sourceLocation)
        for text in texts {
            #expect(result.all.contains(text), "proxyctl \(words): \(result.all)", sourceLocation: sourceLocation)
        }
        return result
    }

    @Test func aReleaseFromTenPercentToAllAndBack() throws {
        let pools = try BlueGreen(main: "worker_processes 2;")
        let proxy = pools.proxy
        let events = try Proxyctl(proxy, ["events", "--json", "--after", "0", "--count", "4"])
        try run(proxy, "status", says: "Revision 1.", "app", "100.0 %", "\(pools.green.endpoint)")
        try run(proxy, "plan weight green 10", says: "nothing has been changed", "/splits/app/weights/green  0 -> 10")
        #expect(try pools.admin().revision == 1)
        try run(proxy, "weight green 10 --reason canary", says: "Revision 2: ", "proxyctl undo")
        try run(proxy, "status", says: "Revision 2.", "10.0 %", "90.0 %")
        let client = try proxy.client()
        let answers = try (0..<20).map { _ in try client.request().text }
        #expect(answers.filter { $0 == "green" }.count == 2)

        let load = Load(proxy.endpoint, connections: 4)
        try load.waitForAnswers(50)
        let receipt = try run(
            proxy, "switch green --wait --reason release", says: "Revision 3: ", "Receipt of revision 3: release",
            "in force on all workers (2)", "Balanced: every request is accounted for, and the proxy failed none")
        #expect(!receipt.output.contains("UNBALANCED"))
        #expect(try client.request().text == "green")
        try load.waitForAnswers(50)
        #expect(try load.finish().failures == [])
        try run(proxy, "undo", says: "Revision 4: ")
        #expect(try pools.admin().weights() == ["blue": 90, "green": 10])
        try run(proxy, "undo --wait-drained", says: "Revision 5: ", "the last earlier request ended after")
        #expect(try client.request().text == "blue")

        let history = try run(proxy, "history", says: "canary", "release", "undo to 2", "undo to 1", NSUserName())
        #expect(history.output.split(separator: "\n").count == 6, "\(history.output)")
        try run(proxy, "show 3", says: "\"reason\": \"release\"", "\"green\": 100")
        try run(proxy, "diff 1 3", says: "/splits/app/weights/green")
        try run(proxy, "diff 1 5", says: "have the same pools and splits")
        try run(proxy, "restore 3", says: "Revision 6: ")
        #expect(try client.request().text == "green")
        let final = try run(proxy, "receipt 3 --wait final --json")
        #expect(JSONValue(parsing: final.output)["balances"].bool == true, "\(final.all)")

        let told = try events.result().output.split(separator: "\n").map { JSONValue(parsing: String($0)) }
        #expect(told.map { $0["kind"].text } == Array(repeating: "revision", count: 4))
        #expect(told.map { $0["revision"].int } == [1, 2, 3, 4])
    }

    @Test func serversComeAndGo() throws {
        let pools = try BlueGreen()
        let proxy = pools.proxy
        let second = try Upstream(saying: "second")
        let client = try proxy.client()
        func answers() throws -> Set<String> { Set(try (0..<6).map { _ in try client.request().text }) }
        try run(proxy, "server add blue \(second.endpoint) --weight 2 --max-fails 3", says: "Revision 2: ")
        #expect(try answers() == ["blue", "second"])
        try run(proxy, "server drain blue \(pools.blue.endpoint)", says: "Revision 3: ")
        #expect(try answers() == ["second"])
        try run(proxy, "status", says: "drain")
        try run(proxy, "server up blue 0", says: "Revision 4: ")
        #expect(try answers() == ["blue", "second"])
        try run(proxy, "server remove blue \(pools.blue.endpoint)", says: "Revision 5: ")
        #expect(try answers() == ["second"])
        // What runs, as the file would say it; and the file with it is what runs.
        let exported = try run(proxy, "export", says: "upstream blue {", "server \(second.endpoint) weight=2 max_fails=3;").output
        let server = "server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://app; } }"
        try proxy.configure(Proxy.wrapped(exported + server))
        try run(proxy, "plan reload", says: "Nothing would change")
        try run(proxy, "reload", says: "Revision 6: ")
        #expect(try answers() == ["second"])
        try proxy.write("pools.json", try run(proxy, "upstreams get").output.replacing("\"weight\": 2", with: "\"weight\": 3"))
        try run(proxy, "upstreams put pools.json --reason heavier", says: "Revision 7: ")
        try run(proxy, "upstreams put pools.json", status: 4)
    }

    @Test func requestsWaitFromHoldToRelease() throws {
        let pools = try BlueGreen()
        let proxy = pools.proxy
        try run(proxy, "hold --timeout 20s --max 10", says: "new requests of split app wait")
        let clients = try (0..<3).map { _ in try proxy.client() }
        for client in clients { try client.send(RawClient.text()) }
        let admin = try pools.admin()
        try Harness.wait(for: "three to wait") { try admin.get("/receipts/1")["held"].int == 3 }
        try run(proxy, "status", says: "held")
        try run(proxy, "switch green", says: "Revision 2: ")
        #expect(pools.requestCount == 0)
        try run(proxy, "release app", says: "requests of split app go on")
        for client in clients { #expect(try client.response().text == "green") }
        try run(proxy, "release", says: "no request of split app waits")
        try run(proxy, "receipt 2 --wait visible", says: "requests held 0", "moved on after a hold", "Balanced")
    }

    @Test func aDrainWaitsForWhatIsInFlight() throws {
        let gate = Signal()
        let pools = try BlueGreen { name in
            { request, connection in
                if request.target == "/slow" { gate.wait() }
                try connection.answer(body: name)
            }
        }
        let proxy = pools.proxy
        let busy = try proxy.client()
        try busy.send(RawClient.text("GET", "/slow"))
        _ = try pools.blue.waitForRequests(1)
        try run(proxy, "switch green", says: "Revision 2: ")
        try run(proxy, "drain blue --wait --timeout 100ms", status: 1, says: "Revision 3: ", "still has requests in flight")
        let drain = try Proxyctl(proxy, ["drain", "blue", "--wait"])
        #expect(try proxy.get().text == "green")
        #expect(drain.isRunning)
        gate.fire()
        #expect(try busy.response().text == "blue")
        let result = try drain.result()
        #expect(result.status == 0 && result.output.contains("Nothing is in flight in blue."), "\(result.all)")
        try run(proxy, "status", says: "drain")
    }

    @Test func eachWayToEndHasItsStatus() throws {
        let pools = try BlueGreen(split: "blue 50; green 50;")
        let proxy = pools.proxy
        try run(proxy, "weight green 10 --dry-run", status: 0, says: "nothing has been changed")
        try run(proxy, "undo", status: 1, says: "before revision 1 there are no other pools and splits")
        try run(proxy, "server add blue nonsense:port", status: 1)
        try run(proxy, "show 17", status: 1, says: "revision 17 is not kept")
        try run(proxy, "swich green", status: 2)
        try run(proxy, "switch violet", status: 2, says: "violet")
        try run(proxy, "weight green 101", status: 2)
        try run(proxy, "status --admin ./nobody.sock", status: 3)
        try run(proxy, "status --admin 127.0.0.1:\(proxy.endpoint2.port)", status: 3)
        try run(proxy, "weight green 10 --if-match 7", status: 4, says: "the revision is 1, not 7")
        #expect(try pools.admin().revision == 1)
        // An admin location that may be read only.
        let text = BlueGreen.configuration(pools.blue.endpoint, pools.green.endpoint)
        try proxy.reload(text.replacing("location / {", with: "location /_admin { admin; }\nlocation / {")) {
            try proxy.get("/_admin/status", ["Host: localhost"]).status == 200
        }
        try run(proxy, "status --admin http://127.0.0.1:\(proxy.port)/_admin", says: "Revision 2.")
        try run(proxy, "switch green --admin http://127.0.0.1:\(proxy.port)/_admin", status: 1)
    }
}
