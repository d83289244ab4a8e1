// Owns health checks over TLS: they trust whom the requests trust, and show what the requests show.

import Foundation
import TestSupport
import Testing

@Suite("health checks over TLS", .ownThread, .enabled(if: !Harness.isNginx))
struct HealthCheckTLSTests {
    private static let check = "panic_threshold 0; health_check type=https uri=/health interval=20ms timeout=10s"

    private func waitFor(_ wanted: String, _ upstream: String, _ admin: Admin) throws -> String {
        var health = JSONValue(parsing: "{}")
        try Harness.wait(for: "\(upstream) to be \(wanted): \(health)") {
            health = try admin.get("/status")["upstreams"][upstream]["servers"][0]["health"]
            return health["state"].text == wanted && health["checks"].int ?? 0 > 0
        }
        return health["why"].text ?? ""
    }

    @Test func whatRequestsVerifyChecksVerify() throws {
        let named = try OpenSSL.pair(
            "a.example", key: ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:a.example"])
        let client = try OpenSSL.pair("one")
        let peer = try TLSPeer(named, clients: client.certificate)
        let strictly = "proxy_ssl_verify on; proxy_ssl_trusted_certificate"
        let verify = "\(strictly) named.crt;"
        let upstreams = ["good", "wrongname", "stranger", "careless", "bysplit", "byhost", "mutual"].map { name in
            let more = ["byhost": "host=a.example", "mutual": "match=shown"][name] ?? ""
            return "upstream \(name) { server \(peer.endpoint); \(Self.check) \(more); }"
        }.joined(separator: "\n")
        let configuration = """
            \(upstreams)
            match shown { body ~ "one"; }
            split both { bysplit 1; }
            server { listen 127.0.0.1:%PORT%;
                location /good { proxy_pass https://good; \(verify) proxy_ssl_name a.example; }
                location /wrongname { proxy_pass https://wrongname; \(verify) proxy_ssl_name c.example; }
                location /stranger { proxy_pass https://stranger; \(strictly) localhost.crt; proxy_ssl_name a.example; }
                location /careless { proxy_pass https://careless; }
                location /split { proxy_pass https://both; \(verify) }
                location /byhost { proxy_pass https://byhost; \(verify) proxy_ssl_name $arg_name; }
                location /mutual { proxy_pass https://mutual; proxy_ssl_certificate 1.crt; proxy_ssl_certificate_key 1.key; }
            }
            """
        let proxy = try Proxy(http: configuration, files: OpenSSL.files([("named", named), ("localhost", OpenSSL.ec.get()), ("1", client)]))
        let admin = try Admin(proxy)
        for name in ["good", "careless", "byhost", "mutual"] { _ = try waitFor("up", name, admin) }
        #expect(try waitFor("unhealthy", "wrongname", admin) == "health check \"/health\": the server's certificate is not for \"c.example\"")
        // The name that requests of the split ask for is its own.
        #expect(try waitFor("unhealthy", "bysplit", admin) == "health check \"/health\": the server's certificate is not for \"both\"")
        let why = try waitFor("unhealthy", "stranger", admin)
        #expect(why.hasPrefix("health check \"/health\": the server's certificate cannot be verified (18: self"), "\(why)")
        #expect(try proxy.get("/good").status == 200 && proxy.get("/wrongname").status == 502)
        // A reload that trusts somebody else is looked at with the next check.
        try proxy.reload(proxy.configuration.replacing("proxy_ssl_name c.example", with: "proxy_ssl_name a.example")) {
            try admin.get("/status")["upstreams"]["wrongname"]["servers"][0]["health"]["state"].text == "up"
        }
        #expect(try proxy.get("/wrongname").status == 200)
    }
}
