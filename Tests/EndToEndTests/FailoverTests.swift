// Owns the promises about two sites and about backups: a drill changes nothing, a failover one thing, a broken backup nothing.

import Foundation
import TestSupport
import Testing

@Suite("failover and backup", .ownThread, .enabled(if: !Harness.isNginx))
struct FailoverTests {
    private func sites(_ http: String) throws -> Proxy {
        try Proxy(http: http + " server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://site; } }")
    }

    @Test func aSplitGoesToTheOtherSiteAndBack() throws {
        let (one, two) = (try Upstream(saying: "one"), try Upstream(saying: "two"))
        let proxy = try sites(
            "upstream primary { server \(one.endpoint); } upstream secondary { server \(two.endpoint); } split site { primary 100; secondary 0; }"
        )
        let drill = try proxy.proxyctl("failover", "--drill")
        #expect(
            drill.status == 0 && drill.output.contains("Would change revision 1") && drill.output.contains("1 of 1"),
            "\(drill.all)")
        #expect(try proxy.get().text == "one")
        let load = Load(proxy.endpoint, connections: 2)
        try load.waitForAnswers(20)
        let there = try proxy.proxyctl("failover", "secondary", "--reason", "fire", "--wait")
        #expect(there.status == 0, "\(there.all)")
        #expect(try proxy.get().text == "two")
        #expect(try proxy.proxyctl("failover", "secondary").output.contains("goes to the secondary site already"))
        #expect(try proxy.proxyctl("failover", "primary").status == 0)
        #expect(try proxy.get().text == "one")
        let account = try load.finish()
        #expect(account.failures == [] && account.count(200) == account.sent)
    }

    @Test func backupServersTakeOverByHandToo() throws {
        let (one, two) = (try Upstream(saying: "one"), try Upstream(saying: "two"))
        let proxy = try sites("upstream site { server \(one.endpoint); server \(two.endpoint) backup; }")
        #expect(try proxy.proxyctl("failover", "secondary").status == 0)
        #expect(try proxy.get().text == "two")
        #expect(try proxy.proxyctl("failover", "primary").status == 0)
        #expect(try proxy.get().text == "one")
    }

    /// Two sites of real processes under load: drills change nothing, the secondary takes over when the primary is killed and gives
    /// back when it is there again, and by hand it is one change each way. No request fails.
    @Test func twoSitesCoverForEachOther() throws {
        let (one, two) = (try PythonApp("primary"), try PythonApp("secondary"))
        let proxy = try sites("upstream site { server \(one.endpoint) fail_timeout=1s; server \(two.endpoint) backup; keepalive 16; }")
        let load = Load(proxy.endpoint, connections: 4)
        try load.waitForAnswers(50)
        let before = try Admin(proxy).get("/upstreams")
        for _ in 0..<5 {
            let drill = try proxy.proxyctl("failover", "--drill")
            #expect(drill.status == 0 && drill.output.contains("Would change revision 1"), "\(drill.all)")
        }
        #expect(try Admin(proxy).get("/upstreams").description == before.description)
        try load.waitForAnswers(50)
        #expect(try two.requestCount == 0 && load.current.bodies == ["primary": load.current.bodies["primary"] ?? 0])
        // By itself.
        one.die()
        try Harness.wait(for: "the secondary site") { load.current.bodies["secondary", default: 0] > 50 }
        try one.start()
        try Harness.wait(for: "the primary site again") { try one.requestCount > 50 }
        // By hand.
        #expect(try proxy.proxyctl("failover", "secondary", "--reason", "fire", "--wait").status == 0)
        let there = try one.requestCount
        try load.waitForAnswers(50)
        #expect(try one.requestCount == there, "nothing goes to the primary any more")
        #expect(try proxy.proxyctl("failover", "primary", "--wait").status == 0)
        let back = try two.requestCount
        try load.waitForAnswers(50)
        #expect(try two.requestCount == back, "nothing goes to the secondary any more")
        let account = try load.finish()
        #expect(account.failures == [])
        #expect(account.count(200) == account.sent, "\(account.statuses)")
    }

    @Test func aSiteThatIsGoneIsRefused() throws {
        let one = try Upstream(saying: "one")
        let proxy = try sites(
            "upstream primary { server \(one.endpoint); } upstream secondary { server 127.0.0.1:9 down; } split site { primary 1; secondary 0; }"
        )
        let refused = try proxy.proxyctl("failover", "secondary")
        #expect(refused.status == 1 && refused.errors.contains("no server of the secondary site is up"), "\(refused.all)")
        #expect(try proxy.proxyctl("failover", "--drill").status == 1)
        #expect(try proxy.get().text == "one")
        #expect(try proxy.proxyctl("failover", "secondary", "--force").status == 0)
    }

    @Test func aSiteIsNotWellByItsBackups() throws {
        let one = try Upstream(saying: "one")
        let proxy = try sites(
            "upstream primary { server \(one.endpoint); } upstream secondary { server 127.0.0.1:9 down; server \(one.endpoint) backup; } "
                + "split site { primary 1; secondary 0; }"
        )
        let refused = try proxy.proxyctl("failover", "secondary")
        #expect(refused.status == 1 && refused.errors.contains("no server of the secondary site is up"), "\(refused.all)")
    }

    @Test func aBackupIsVerifiedAndRestored() throws {
        let (one, two) = (try Upstream(saying: "one"), try Upstream(saying: "two"))
        let proxy = try sites(
            "upstream primary { server \(one.endpoint); } upstream secondary { server \(two.endpoint); } split site { primary 100; secondary 0; }"
        )
        #expect(try proxy.proxyctl("switch", "secondary").status == 0)
        let made = try proxy.proxyctl("backup", "state.tar")
        #expect(made.status == 0, "\(made.all)")
        #expect(try proxy.proxyctl("backup", "--verify", "state.tar").output.contains("revision: 2"))
        #expect(try proxy.proxyctl("switch", "primary").status == 0)
        // Any byte of its content.
        let path = proxy.path("state.tar")
        let good = try Data(contentsOf: URL(fileURLWithPath: path))
        for place in [600, 2000, good.count / 2] {
            var bad = good
            bad[place] ^= 1
            if bad[place] == 0 || good[place] == 0 { continue }
            try bad.write(to: URL(fileURLWithPath: path))
            let refused = try proxy.proxyctl("restore", "state.tar")
            #expect(refused.status == 1 && refused.errors.contains("no whole backup"), "\(place): \(refused.all)")
        }
        try good.prefix(good.count - 1500).write(to: URL(fileURLWithPath: path))
        #expect(try proxy.proxyctl("restore", "state.tar").errors.contains("no whole backup"))
        #expect(try proxy.get().text == "one")
        try good.write(to: URL(fileURLWithPath: path))
        let restored = try proxy.proxyctl("restore", "state.tar")
        #expect(restored.status == 0, "\(restored.all)")
        #expect(try proxy.get().text == "two")
        #expect(try proxy.proxyctl("undo").status == 0)
        #expect(try proxy.get().text == "one")
    }

    @Test func backupsOfATimerAreKeptToANumber() throws {
        let one = try Upstream(saying: "one")
        let proxy = try sites("upstream site { server \(one.endpoint); }")
        for _ in 0..<3 { #expect(try proxy.proxyctl("backup", "--keep", "2", "backups/").status == 0) }
        let names = try FileManager.default.contentsOfDirectory(atPath: proxy.path("backups"))
        #expect(names.count == 2, "\(names)")
    }
}
