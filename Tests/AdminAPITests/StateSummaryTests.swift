import TestChance
import Testing

@testable import AdminAPI

@Suite struct StateSummaryTests {
    @Test func nothingIsSaidWhereNothingDiffers() {
        for seed in 0..<300 {
            var numbers = SeededNumbers(state: UInt64(seed))
            let from = numbers.proxyState()
            let to = numbers.changed(from)
            let line = summary(from: from, to: to)
            #expect((line == noChange) == differences(from: from, to: to).isEmpty, "seed \(seed): \(line)")
        }
    }

    static let many: [(line: String, change: @Sendable (inout UpstreamState) -> Void)] = [
        (", and 19989 more", { for i in $0.servers.indices { $0.servers[i].server = "10.2.\(i / 100).\(i % 100):8080" } }),
        (
            "upstream u: servers 10.1.0.0:8080, 10.1.0.10:8080 and 9998 more weight 1 -> 5",
            { for i in $0.servers.indices { $0.servers[i].weight = 5 } }
        ),
        ("upstream u: servers reordered", { $0.servers.reverse() }),
        ("upstream u: -10.1.99.99:8080", { $0.servers.removeLast() }),
    ]

    @Test(arguments: many.indices)
    func manyServersAreOneLine(_ row: Int) {
        let before = UpstreamState(servers: (0..<10_000).map { ServerState(server: "10.1.\($0 / 100).\($0 % 100):8080") })
        var after = before
        Self.many[row].change(&after)
        let from = ProxyState(upstreams: ["u": before]).numbered(after: ProxyState())
        let line = summary(from: from, to: ProxyState(upstreams: ["u": after]).numbered(after: from))
        #expect(line.hasSuffix(Self.many[row].line), "\(line)")
        #expect(line.utf8.count < 230)
    }

    /// A file may name an address twice, and in more ways than one.
    @Test func serversThatAreNamedTwiceAreToldApart() {
        let before = UpstreamState(servers: ["b:80", "A", "b:80"].map { ServerState(server: $0) })
        var after = before
        for i in after.servers.indices { after.servers[i].weight = 5 }
        let from = ProxyState(upstreams: ["u": before]).numbered(after: ProxyState())
        let line = summary(from: from, to: ProxyState(upstreams: ["u": after]).numbered(after: from))
        #expect(line == "upstream u: servers a:80, b:80, b:80 #2 weight 1 -> 5")
    }

    @Test func theCommonAddressIsKnownAtSight() {
        let texts = [
            ("127.0.0.1:80", true), ("255.255.255.255:65535", true), ("0.0.0.0:1", true), ("127.0.0.1", false), ("127.0.0.1:", false),
            ("127.0.0.1:080", false), ("127.0.0.1:0", false), ("127.0.0.1:65536", false), ("127.0.0.01:80", false), ("127.0.0.256:80", false),
            ("127.0.0:80", false), ("127.0.0.1.2:80", false), ("127.0.0.1:80 ", false), ("a:80", false), ("", false), ("1", false),
            ("127.0.0.1:123456", false), ("127..0.1:80", false), ("[::1]:80", false),
        ]
        for (text, isKnown) in texts {
            #expect((ServerAddress.normalIPv4(text) != nil) == isKnown, "\(text)")
            if isKnown { #expect((try? ServerAddress(text))?.normalized == text) }
        }
        #expect(ServerAddress.normalIPv4("1.2.3.4:515").map { [Int($0.address), Int($0.port)] } == [0x0102_0304, 515])
    }
}
