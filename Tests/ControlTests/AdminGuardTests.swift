import AdminAPI
import Engine
import Testing

@testable import Control

@Suite("Who may use the admin API")
struct AdminGuardTests {
    static let local = AdminRequest.Client.address("127.0.0.1:5")

    @Test(arguments: ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:80", "[::1]", "[::1]:80"])
    func ownHosts(host: String) throws {
        #expect(try AdminDesk().ask("GET", "/status", nil, [("Host", host)], client: Self.local).status == 200)
    }

    @Test(arguments: ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "[::1].evil", "", "127.0.0.2"])
    func foreignHosts(host: String) throws {
        let desk = try AdminDesk()
        let asked = desk.ask("GET", "/status", nil, [("Host", host)], client: Self.local)
        #expect(asked.status == 403 || host.hasPrefix("[::1]"))
        if asked.status == 403 { #expect(asked.problem == "forbidden") }
        #expect(desk.ask("GET", "/status", nil, [("Host", host)], client: Self.local, isHostNamed: true).status == 200)
        #expect(desk.ask("GET", "/status", nil, [("Host", host)]).status == 200, "a unix socket has no name")
    }

    @Test(arguments: [
        ("http://localhost:8080", 200), ("http://LOCALHOST:8080", 200), ("https://localhost:8080", 200), ("http://evil.example", 403), ("null", 403),
        ("http://localhost:9090", 403), ("localhost:8080", 403), ("", 403),
    ])
    func pages(origin: String, status: Int) throws {
        let asked = try AdminDesk().ask("POST", "/reload", nil, [("Host", "localhost:8080"), ("Origin", origin)], client: Self.local)
        #expect(asked.status == status)
        if status == 403 { #expect(asked.json["detail"]?.string?.contains("\"\(origin)\"") == true) }
    }

    @Test(arguments: [("cross-site", 403), ("same-origin", 200), ("none", 200)])
    func sites(site: String, status: Int) throws {
        #expect(try AdminDesk().ask("GET", "/status", nil, [("Host", "localhost"), ("Sec-Fetch-Site", site)], client: Self.local).status == status)
    }

    @Test func aPlaceWithoutWritesOnlyAnswers() throws {
        let desk = try AdminDesk()
        #expect(desk.ask("GET", "/upstreams", writes: false).status == 200)
        let refused = desk.ask("POST", "/undo", writes: false)
        #expect(refused.status == 403)
        #expect(refused.problem == "read-only")
        #expect(desk.ask("POST", "/undo?dry_run=1", writes: false).status == 403)
        #expect(desk.ask("OPTIONS", "/undo", writes: false).status == 204)
    }

    @Test(arguments: [
        (nil, nil), ("Bearer 0123456789abcdef", "alice"), ("bearer fedcba9876543210", "bob"), ("Bearer 0123456789abcdeg", nil), ("Bearer ", nil),
        ("Bearer 0123456789abcdef0123456789abcdef", nil), ("Basic 0123456789abcdef", nil), ("0123456789abcdef", nil), ("Bearer 0123456789abcde", nil),
    ] as [(String?, String?)])
    func tokens(field: String?, name: String?) throws {
        let desk = try AdminDesk()
        let fields = [("Host", "localhost")] + (field.map { [("Authorization", $0)] } ?? [])
        let asked = desk.ask("PATCH", "/splits/app", #"{"weights": {"green": 11}}"#, fields, tokens: 0, client: Self.local)
        #expect(asked.status == (name == nil ? 401 : 200))
        if let name {
            #expect(desk.ask("GET", "/revisions/2").json["who"]?.string == name)
        } else {
            #expect(asked.line("WWW-Authenticate") == "Bearer")
            #expect(asked.problem == "unauthorized")
            #expect(!asked.text.contains("0123456789"), "no answer repeats a token")
            #expect(desk.said.all.count == 1)
            #expect(desk.said.all[0].contains("127.0.0.1:5"))
            #expect(!desk.said.all[0].contains("0123456789"))
        }
    }

    @Test func aListThatIsNoMoreAdmitsNobody() throws {
        let asked = try AdminDesk().ask("GET", "/status", nil, [("Host", "localhost"), ("Authorization", "Bearer 0123456789abcdef")], tokens: 7)
        #expect(asked.status == 401)
    }

    @Test func comparisonsOfTokens() {
        for (shown, token, isSame) in [("a", "a", true), ("a", "b", false), ("", "", false), ("", "a", false), ("aa", "a", false), ("a", "aa", false), ("abab", "ab", false)] {
            #expect(AdminGuard.isSame(Array(shown.utf8), Array(token.utf8)) == isSame, "\(shown) \(token)")
        }
    }

    @Test func namesOfUsers() throws {
        let desk = try AdminDesk()
        for (user, name) in [(Int32(0), "root"), (2_000_000_123, "uid 2000000123"), (-1, "unknown")] {
            desk.ask("PATCH", "/splits/app", #"{"weights": {"green": \#(Int(user) % 100 + 200)}}"#, client: .unix(user: user))
            #expect(desk.ask("GET", "/revisions?limit=1").json["revisions"]?[0]?["who"]?.string == name)
        }
        desk.ask("POST", "/undo", nil, [("Host", "localhost")], client: Self.local)
        #expect(desk.ask("GET", "/revisions?limit=1").json["revisions"]?[0]?["who"] == "127.0.0.1:5")
    }
}
