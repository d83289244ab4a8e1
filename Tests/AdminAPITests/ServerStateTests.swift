// When two servers of a state are the same: every field counts, and addresses are compared by number only where that says all.

import Testing

@testable import AdminAPI

@Suite("servers of a state") struct ServerStateTests {
    @Test func everyFieldCounts() throws {
        let plain = ServerState(server: "10.0.0.1:80")
        let changes: [(String, (inout ServerState) -> Void)] = [
            ("id", { $0.id = 7 }), ("server", { $0.server = "10.0.0.1:81" }), ("weight", { $0.weight = 2 }), ("max_conns", { $0.maxConns = 3 }),
            ("max_fails", { $0.maxFails = 0 }), ("fail_timeout", { $0.failTimeoutMs = 1000 }), ("slow_start", { $0.slowStartMs = 1000 }),
            ("backup", { $0.backup = true }), ("down", { $0.down = true }), ("drain", { $0.drain = true }),
        ]
        for (name, change) in changes {
            var other = plain
            change(&other)
            #expect(other != plain, "\(name)")
            #expect(other == other)
        }
        // What the journal writes is all there is.
        var all = plain
        for (_, change) in changes { change(&all) }
        let json = try #require(all.json(as: .journal).object)
        #expect(Set(json.map(\.name)) == Set(changes.map(\.0)))
        #expect(try ServerState(decoding: .object(json), .journal) == all)
    }

    @Test(arguments: [
        ("10.0.0.1:80", 0x0A00_0001_0050), ("255.255.255.255:65535", 0xFFFF_FFFF_FFFF), ("0.0.0.0:1", 1), ("10.0.0.1", 0), ("10.0.0.01:80", 0),
        ("10.0.0.1:080", 0), ("10.0.0.1:0", 0), ("10.0.0.256:80", 0), ("app.example:80", 0), ("[::1]:80", 0), ("unix:/run/app.sock", 0), ("", 0),
    ] as [(String, UInt64)])
    func onlyTheNormalFormIsANumber(_ text: String, _ number: UInt64) {
        #expect(ServerState(server: text).ipv4 == number)
        var server = ServerState(server: "127.0.0.1:1")
        server.server = text
        #expect(server.ipv4 == number)
        #expect(server == ServerState(server: text))
    }

    @Test func otherTextsAreComparedAsTexts() {
        #expect(ServerState(server: "a.example:80") != ServerState(server: "b.example:80"))
        #expect(ServerState(server: "10.0.0.1") != ServerState(server: "10.0.0.1:80"))
        let (one, other) = (UpstreamState(servers: [ServerState(server: "a:80")]), UpstreamState(servers: [ServerState(server: "b:80")]))
        #expect(one.hasAddresses(of: one))
        #expect(!one.hasAddresses(of: other))
        #expect(!one.hasAddresses(of: UpstreamState(servers: [])))
    }
}
