// Tests where an admin API is looked for.

import Testing

@testable import proxyctl

@Suite("addresses of an admin API")
struct AddressTests {
    static let good: [(String, AdminAddress, String)] = [
        ("unix:/run/admin.sock", .unix("/run/admin.sock"), "unix:/run/admin.sock"),
        ("unix:///run/admin.sock", .unix("/run/admin.sock"), "unix:/run/admin.sock"),
        ("/run/admin.sock", .unix("/run/admin.sock"), "unix:/run/admin.sock"),
        ("admin.sock", .unix("admin.sock"), "./admin.sock"),
        ("./state/s", .unix("./state/s"), "./state/s"),
        ("../s", .unix("../s"), "../s"),
        ("unix:.x/admin.sock", .unix(".x/admin.sock"), ".x/admin.sock"),
        ("unix:state/admin.sock", .unix("state/admin.sock"), "./state/admin.sock"),
        ("http://127.0.0.1:8080", .tcp(host: "127.0.0.1", port: 8080, prefix: ""), "http://127.0.0.1:8080"),
        ("http://127.0.0.1:8080/_admin/", .tcp(host: "127.0.0.1", port: 8080, prefix: "/_admin"), "http://127.0.0.1:8080/_admin"),
        ("http://proxy/a/b", .tcp(host: "proxy", port: 80, prefix: "/a/b"), "http://proxy/a/b"),
        ("http://[::1]:81/x", .tcp(host: "::1", port: 81, prefix: "/x"), "http://[::1]:81/x"),
        ("http://[::1]", .tcp(host: "::1", port: 80, prefix: ""), "http://[::1]"),
        ("localhost:9000/adm", .tcp(host: "localhost", port: 9000, prefix: "/adm"), "http://localhost:9000/adm"),
    ]

    @Test(arguments: good)
    func read(text: String, address: AdminAddress, written: String) throws {
        #expect(AdminAddress.parse(text) == .success(address))
        #expect(address.description == written)
        // What is written can be given again.
        let again = try AdminAddress.parse(written).get()
        #expect(again.description == written)
    }

    @Test(arguments: [
        "", "unix:", "https://127.0.0.1/", "http://", "http://:80", "http://a:0", "http://a:65536", "http://a:x", "localhost",
        "http://a b/",
        "http://u@h/", "http://a/b?c", "http://a/b#c", "http://a/b\r\nX: y", "unix:/" + String(repeating: "x", count: 107),
        "/a\0b",
    ])
    func refused(text: String) {
        guard case .failure = AdminAddress.parse(text) else {
            Issue.record("\(text) was taken")
            return
        }
    }

    @Test func hostsOfRequests() throws {
        #expect(AdminAddress.unix("/x").host == "localhost")
        #expect(AdminAddress.tcp(host: "::1", port: 8080, prefix: "").host == "[::1]:8080")
        #expect(AdminAddress.tcp(host: "proxy", port: 80, prefix: "").host == "proxy")
    }

    @Test func segmentsAreEncoded() {
        let request = AdminRequest("GET", ["upstreams", "a/b", "servers", "[::1]:80", "ü"])
        #expect(request.target == "/upstreams/a%2Fb/servers/%5B%3A%3A1%5D%3A80/%C3%BC")
        var other = AdminRequest("POST", ["undo"])
        other.query = [("reason", "a & b\r\n")]
        #expect(other.target == "/undo?reason=a%20%26%20b%0D%0A")
        #expect(
            other.head(for: .tcp(host: "h", port: 81, prefix: "/p"), token: "t")
                == "POST /p/undo?reason=a%20%26%20b%0D%0A HTTP/1.1\r\nHost: h:81\r\nUser-Agent: proxyctl\r\nConnection: close\r\n"
                + "Authorization: Bearer t\r\nContent-Length: 0\r\n\r\n")
    }
}
