// Owns the kinds of addresses on both sides: unix sockets, IPv6, all interfaces, several at once.

import Foundation
import TestSupport
import Testing

@Suite("addresses", .ownThread)
struct AddressTests {
    @Test func aUnixSocketServesClients() throws {
        let proxy = try Proxy(http: "server { listen unix:%DIR%/proxy.sock; return 200 \"from $remote_addr\"; }")
        let client = try RawClient(.unix(proxy.path("proxy.sock")))
        #expect(try client.request().text == "from unix:")
        #expect(try proxy.stop(SIGQUIT) == .exited(0))
        #expect(!FileManager.default.fileExists(atPath: proxy.path("proxy.sock")))
    }

    @Test("an upstream may listen on a unix socket", arguments: [true, false])
    func unixUpstream(inGroup: Bool) throws {
        let folder = try Harness.temporaryDirectory()
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let upstream = try Upstream(at: .unix(folder + "/u.sock")) { r, c in try c.answer(body: r.target) }
        chmod(folder + "/u.sock", 0o777)
        let proxy = try Proxy(
            server: "location / { proxy_pass http://\(inGroup ? "u" : "\(upstream.endpoint):"); }",
            http: inGroup ? "upstream u { server \(upstream.endpoint); }" : "")
        #expect(try proxy.get("/x").text == "/x")
        upstream.refuse()
        #expect(try proxy.get("/x").status == 502)
    }

    @Test(.enabled(if: Harness.hasIPv6)) func ipv6OnBothSides() throws {
        let upstream = try Upstream(at: .tcp("::1", Ports.reserve())) { r, c in try c.answer(body: r["X-Real"] ?? "") }
        let proxy = try Proxy(
            http: """
                server {
                    listen [::1]:%PORT%;
                    location / { proxy_pass http://\(upstream.endpoint); proxy_set_header X-Real $remote_addr; }
                }
                """)
        #expect(try RawClient(.tcp("::1", proxy.port)).request().text == "::1")
    }

    @Test func severalAddressesOfOneServer() throws {
        let proxy = try Proxy(
            http: "server { listen 127.0.0.1:%PORT%; listen *:%PORT2%; listen %PORT3%; return 200 $server_port; }")
        for endpoint in [proxy.endpoint, proxy.endpoint2, proxy.endpoint3] {
            #expect(try RawClient(endpoint).request().text == "\(endpoint.port)")
        }
    }

    @Test func aNameOfThisMachineIsResolvedAtStart() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try Proxy(server: "location / { proxy_pass http://localhost:\(upstream.port); }")
        for _ in 0..<3 { #expect(try proxy.get().text == "x") }
    }
}
