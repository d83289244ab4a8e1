// Owns what a reload makes of a file that was edited and a proxy that was changed at run time: both stay, and conflicts are told.

import Foundation
import TestSupport
import Testing

@Suite("switching: reload", .ownThread, .enabled(if: !Harness.isNginx))
struct SwitchingReloadTests {
    private let pools: BlueGreen
    private let admin: Admin
    private var proxy: Proxy { pools.proxy }
    private static let split = "blue 90; green 10;"

    init() throws {
        pools = try BlueGreen(split: Self.split)
        admin = try pools.admin()
    }

    /// The line of a server of `blue`, with what is to follow its address.
    private func server(_ parameters: String = "") -> String { "server \(pools.blue.endpoint)\(parameters);" }

    private func text(split: String = SwitchingReloadTests.split, servers: String? = nil) -> String {
        let text = BlueGreen.configuration(pools.blue.endpoint, pools.green.endpoint, split: split)
        return text.replacing(server(), with: servers ?? server())
    }

    /// Writes the file, sends HUP and waits until it is adopted.
    private func reload(_ text: String) throws {
        let before = proxy.errorLog.components(separatedBy: "reconfigured").count
        try proxy.reload(text) { proxy.errorLog.components(separatedBy: "reconfigured").count > before }
    }

    private func blueServers() throws -> [String: Int] {
        let servers = try admin.get("/upstreams/blue")["servers"].list
        return Dictionary(uniqueKeysWithValues: servers.map { ($0["server"].text ?? "", $0["weight"].int ?? -1) })
    }

    @Test func whatTheFileAddsAndWhatWasChangedBothStay() throws {
        let second = try Upstream(saying: "second")
        try admin.weigh(["blue": 50, "green": 50])
        try admin.write("PUT", "/upstreams/violet", "{\"servers\": [{\"server\": \"\(second.endpoint)\"}]}")
        try reload(text(servers: server() + " server \(second.endpoint) weight=3;"))
        #expect(try blueServers() == ["\(pools.blue.endpoint)": 1, "\(second.endpoint)": 3])
        #expect(try admin.weights() == ["blue": 50, "green": 50])
        #expect(try admin.get("/upstreams")["upstreams"].names == ["blue", "green", "violet"])
        #expect(!proxy.errorLog.contains("the running value stays"))
        let client = try proxy.client()
        let answers = try (0..<16).map { _ in try client.request().text }
        #expect(answers.filter { $0 == "green" }.count == 8)
        #expect(answers.filter { $0 == "second" }.count == 6)
        let newest = try admin.get("/revisions?limit=1")["revisions"][0]
        #expect(newest["kind"].text == "reload", "\(newest)")
    }

    @Test func aConflictIsToldAndTheRunningValueStays() throws {
        let address = "\(pools.blue.endpoint)"
        try admin.write("PATCH", "/upstreams/blue/servers/0", "{\"weight\": 7}")
        try reload(text(split: "blue 90; green 20;", servers: server(" weight=5")))
        #expect(try blueServers() == [address: 7])
        #expect(try admin.weights() == ["blue": 90, "green": 20], "what was not changed here is the file's")
        let line = try #require(proxy.errorLog.split(separator: "\n").first { $0.contains("the running value stays") })
        #expect(line.contains("/servers/\(address)/weight: the file says 5, the running proxy 7 (it was 1)"), "\(line)")
        // It is told again until it is settled.
        func told() -> Int { proxy.errorLog.components(separatedBy: "the running value stays").count - 1 }
        try reload(text(split: "blue 90; green 20;", servers: server(" weight=5")))
        #expect(try blueServers() == [address: 7])
        #expect(told() == 2)
        let plan = try admin.ask("POST", "/reload?prefer=file&dry_run=1").json
        #expect(plan["warnings"].description.contains("/weight: both"), "\(plan)")
        try admin.write("POST", "/reload?prefer=file")
        #expect(try blueServers() == [address: 5])
        #expect(try admin.weights() == ["blue": 90, "green": 20])
        #expect(proxy.errorLog.contains("(it was 1); the file's value is taken"), "\(proxy.errorLog)")
        // It is settled, and what is changed from here on stays without a word.
        try admin.write("PATCH", "/upstreams/blue/servers/0", "{\"weight\": 9}")
        try admin.write("POST", "/reload")
        #expect(try blueServers() == [address: 9])
        #expect(told() == 2)
    }

    @Test func theFileIsRightWhereOneSaysSo() throws {
        let address = "\(pools.blue.endpoint)"
        try admin.write("PATCH", "/upstreams/blue/servers/0", "{\"weight\": 7}")
        try admin.weigh(["green": 30])
        // An earlier reload of the same file kept what runs.
        try reload(text(servers: server(" weight=5")))
        #expect(try blueServers() == [address: 7])
        #expect(try admin.ask("POST", "/reload?prefer=file&dry_run=1").status == 200)
        #expect(try blueServers() == [address: 7])
        try admin.write("POST", "/reload?prefer=file")
        #expect(try blueServers() == [address: 5])
        #expect(try admin.weights() == ["blue": 90, "green": 30], "only where both changed it")
        try admin.write("POST", "/undo")
        #expect(try blueServers() == [address: 7])
    }

    /// Who puts `state` into the file and reloads must not take his changes for kept.
    @Test func whatCountsAtAStartOnlyIsNotPassedOverInSilence() throws {
        let words = "\"state\" is read at start only: what the configuration says of it now counts when the proxy is started again"
        try proxy.configure("state state; worker_rlimit_nofile 4000; " + text())
        let plan = try admin.ask("POST", "/reload?dry_run=1").json
        #expect(plan["warnings"].list.map { $0.text?.prefix { $0 != " " } } == ["\"worker_rlimit_nofile\"", "\"state\""], "\(plan)")
        let answer = try admin.ask("POST", "/reload").json
        #expect(answer["warnings"].list.last?.text == words, "\(answer)")
        #expect(proxy.errorLog.contains("[warn] \(proxy.pid)#0: \(words)\n"), "\(proxy.errorLog)")
        #expect(try admin.get("/status")["journal"].text == "off")
        try proxy.configure(text())
        #expect(try admin.ask("POST", "/reload").json["warnings"].list.isEmpty)
        // Whoever turns the API off must know that it is still there.
        try proxy.configure(text().replacing("http {", with: "http { admin off;"))
        let off = try admin.ask("POST", "/reload").json["warnings"].list.compactMap(\.text)
        #expect(off == ["admin.sock stays until the proxy is started again: a reload does not decide over it"])
    }

    @Test(
        "a bad file changes nothing",
        arguments: ["events { } http { nonsense; }", "events { } http { split app { violet 1; } }", "events {"])
    func badFile(text: String) throws {
        try admin.weigh(["blue": 0, "green": 1])
        let state = try admin.get("/upstreams").description
        try proxy.configure(text)
        proxy.signal(SIGHUP)
        try Harness.wait(for: "the error: \(proxy.errorLog)") { proxy.errorLog.contains("[emerg]") }
        let answer = try admin.ask("POST", "/reload")
        #expect(answer.status == 422 || answer.status == 400, "\(answer.text)")
        #expect(answer.json["detail"].text?.contains("proxy.conf:1") == true, "\(answer.text)")
        #expect(try admin.get("/upstreams").description == state)
        #expect(try proxy.get().text == "green")
        // What is read next is merged with what was read last, not with what was refused.
        try reload(self.text())
        #expect(try admin.weights() == ["blue": 0, "green": 1])
    }

    @Test func whatIsExportedMakesNoDifference() throws {
        try admin.write(
            "PUT", "/upstreams/blue",
            """
            {"balance": "least_conn", "keepalive": 5, "keepalive_timeout": "15s", "servers": [
              {"server": "\(pools.blue.endpoint)", "weight": 2, "max_conns": 100, "max_fails": 3, "fail_timeout": "1m30s"},
              {"server": "127.0.0.1:1", "backup": true}, {"server": "127.0.0.1:2", "down": true},
              {"server": "127.0.0.1:3", "drain": true}]}
            """)
        try admin.write(
            "PUT", "/splits/app",
            """
            {"weights": {"blue": 3, "green": 1}, "key": ["$cookie_sid", "$remote_addr"], "force": "$http_x_variant",
             "assign": {"cookie": "visitor", "max_age": "12h"}}
            """)
        let state = try admin.get("/upstreams")
        let exported = try admin.ask("GET", "/export").text
        let file = Proxy.wrapped(
            "\(exported)\nserver { listen 127.0.0.1:%PORT%; location / { proxy_pass http://app; } }")
        try proxy.configure(file)
        let plan = try admin.ask("POST", "/reload?dry_run=1").json
        #expect(plan["differences"].list.isEmpty && plan["warnings"].list.isEmpty, "\(plan)")
        try reload(file)
        let after = try admin.get("/upstreams")
        for part in ["upstreams", "splits"] { #expect(after[part].description == state[part].description) }
        #expect(!proxy.errorLog.contains("the running value stays"))
        #expect(try admin.ask("GET", "/export").text == exported)
        // And a new process begins with the same.
        try proxy.stop()
        try proxy.start()
        let fresh = try pools.admin().get("/upstreams")
        for part in ["upstreams", "splits"] { #expect(fresh[part].description == state[part].description) }
    }
}
