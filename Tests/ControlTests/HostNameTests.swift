// Owns servers by names that are not resolved any more: neither a start nor a reload nor a change of others is refused for them.

import AdminAPI
import Testing

@testable import Control
@testable import Engine

@Suite("Names of hosts that are lost")
struct HostNameTests {
    private let disk = MemoryDisk()

    /// A process with what those before it left, to which `gone.test` stands for these addresses.
    private func desk(_ addresses: [String] = [], pools: String = AdminDesk.pools) throws -> AdminDesk {
        let (journal, replay) = try Journal.open(JournalStorage(disk))
        let system = PlayedSystem()
        if !addresses.isEmpty { system.hosts["gone.test"] = addresses }
        return try AdminDesk(pools, journal: journal, replay: replay, system: system)
    }

    /// One to which it was added while it ran.
    private func started() throws -> AdminDesk {
        let desk = try desk(["127.0.0.9", "127.0.0.10"])
        #expect(desk.ask("POST", "/upstreams/green/servers", #"{"server": "gone.test:8"}"#).status == 201)
        #expect(peers(desk) == ["127.0.0.1:3003", "127.0.0.9:8", "127.0.0.10:8"])
        #expect(desk.controller.events.takeWarnings() == [])
        return desk
    }

    private func peers(_ desk: AdminDesk, _ upstream: String = "green") -> [String] {
        guard let definition = desk.publisher.current.upstreams.first(where: { $0.settings.name.string == upstream }) else { return [] }
        return definition.peers.indices.map {
            (definition.peers[$0].isDown ? "down " : "") + definition.settings.peers[$0].address.text.string
        }
    }

    private func state(_ desk: AdminDesk) -> String? {
        let servers = desk.ask("GET", "/status").json["upstreams"]?["green"]?["servers"]
        return servers?.array?.first { $0["server"] == "gone.test:8" }?["state"]?.string
    }

    private static let told =
        "upstream green: server gone.test:8 is down: host not found in upstream \"gone.test:8\"; a reload tries again"

    @Test func aStartGoesOnWithoutIt() throws {
        _ = try started()
        let desk = try desk()
        #expect(peers(desk) == ["127.0.0.1:3003", "down gone.test:8"])
        #expect(desk.controller.events.takeWarnings() == [Self.told])
        #expect(state(desk) == "down")
        #expect(desk.ask("GET", "/upstreams/green").json["servers"]?.array?.map { $0["server"] } == ["127.0.0.1:3003", "gone.test:8"])
        #expect(desk.controller.serverAddresses(of: "green").map(\.name) == ["127.0.0.1:3003"])
        // Neither does a reload refuse it, nor a plan of one; each reload says so.
        #expect(desk.ask("POST", "/reload?dry_run=1").status == 200)
        #expect(desk.controller.events.takeWarnings() == [])
        #expect(desk.ask("POST", "/reload").status == 200)
        #expect(desk.controller.events.takeWarnings() == [Self.told])
        desk.system.hosts["gone.test"] = ["127.0.0.11"]
        #expect(desk.ask("POST", "/reload").status == 200)
        #expect(peers(desk) == ["127.0.0.1:3003", "127.0.0.11:8"])
        #expect(desk.controller.events.takeWarnings() == [])
        #expect(state(desk) == "up")
    }

    /// The file has changed as well, so that the start makes a revision.
    @Test func aStartByAnotherFileGoesOnWithoutIt() throws {
        _ = try started()
        let desk = try desk(pools: AdminDesk.pools.replacing("127.0.0.1:3003;", with: "127.0.0.1:3003; server 127.0.0.1:3009;"))
        #expect(Set(peers(desk)) == ["127.0.0.1:3003", "127.0.0.1:3009", "down gone.test:8"])
    }

    @Test func changesOfOthersAreNotRefusedForIt() throws {
        _ = try started()
        let desk = try desk()
        _ = desk.controller.events.takeWarnings()
        #expect(desk.ask("PATCH", "/upstreams/green/servers/127.0.0.1:3003", #"{"weight": 3}"#).status == 200)
        #expect(desk.ask("POST", "/upstreams/green/servers", #"{"server": "127.0.0.1:3005"}"#).status == 201)
        #expect(desk.ask("PATCH", "/upstreams/green/servers/gone.test:8", #"{"weight": 3}"#).status == 200)
        #expect(peers(desk) == ["127.0.0.1:3003", "down gone.test:8", "127.0.0.1:3005"])
        #expect(desk.controller.events.takeWarnings() == [], "it is told once")
        // Who brings it anew is told what is wrong with it.
        for (method, path, body) in [
            ("POST", "/upstreams/blue/servers", #"{"server": "gone.test:8"}"#), ("POST", "/upstreams/green/servers", #"{"server": "gone.test:9"}"#),
            ("PATCH", "/upstreams/green/servers/127.0.0.1:3005", #"{"server": "gone.test:9"}"#),
            ("PUT", "/upstreams/new", #"{"servers": [{"server": "gone.test:8"}]}"#),
        ] {
            #expect(desk.ask(method, path, body).status == 422, "\(method) \(path)")
        }
        #expect(desk.ask("DELETE", "/upstreams/green/servers/gone.test:8").status == 200)
        #expect(desk.ask("POST", "/upstreams/green/servers", #"{"server": "gone.test:8"}"#).problem == "bad-address")
    }

    @Test func aReloadKeepsTheAddressesItHad() throws {
        let desk = try started()
        desk.system.hosts["gone.test"] = nil
        #expect(desk.ask("POST", "/reload").status == 200)
        #expect(peers(desk) == ["127.0.0.1:3003", "127.0.0.9:8", "127.0.0.10:8"])
        #expect(desk.controller.events.takeWarnings() == [Self.told.replacing("is down", with: "keeps the addresses it had")])
        #expect(desk.ask("POST", "/upstreams/green/servers", #"{"server": "127.0.0.1:3005"}"#).status == 201)
        #expect(peers(desk).count == 4)
        #expect(desk.controller.events.takeWarnings() == [])
    }

    /// A reload that is refused leaves what was known of names.
    @Test func aRefusedReloadForgetsNoAddress() throws {
        let desk = try started()
        desk.system.hosts["gone.test"] = ["127.0.0.12"]
        disk.fault = { _, call in call == "write" || call == "open" ? 28 : nil }
        #expect(desk.ask("POST", "/reload").status == 507)
        disk.fault = nil
        _ = desk.controller.events.takeWarnings()
        #expect(desk.ask("POST", "/upstreams/blue/servers", #"{"server": "gone.test:8"}"#).status == 201)
        #expect(peers(desk, "blue").suffix(2) == ["127.0.0.9:8", "127.0.0.10:8"])
    }
}
