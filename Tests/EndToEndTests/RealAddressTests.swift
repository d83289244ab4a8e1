// Owns whose address a request has: believed proxies, one or many, for one exchange; and whom allow and deny let through.

import Foundation
import TestSupport
import Testing

@Suite("real addresses", .ownThread)
struct RealAddressTests {
    private func proxy(_ server: String, http: String = "") throws -> Proxy {
        try Proxy(server: "\(server) location / { return 200 $remote_addr; }", http: http)
    }

    @Test(
        "X-Forwarded-For",
        arguments: [
            ("", [], "127.0.0.1"), ("", ["192.0.2.1"], "192.0.2.1"), ("", ["192.0.2.1, 192.0.2.2"], "192.0.2.2"), ("", ["unknown"], "127.0.0.1"),
            ("", ["192.0.2.1", "10.0.0.1"], "10.0.0.1"), ("", ["192.0.2.1:80"], "192.0.2.1"), ("", ["[2001:db8::1]:80"], "2001:db8::1"),
            ("real_ip_recursive on;", ["192.0.2.1, 10.0.0.1"], "192.0.2.1"), ("real_ip_recursive on;", ["10.0.0.2, 10.0.0.1"], "10.0.0.2"),
            ("real_ip_recursive on;", ["192.0.2.1", "10.0.0.2,10.0.0.1"], "192.0.2.1"),
            ("real_ip_recursive on;", ["192.0.2.1, 192.0.2.2, 10.0.0.1"], "192.0.2.2"),
            ("real_ip_recursive on;", ["unknown, 10.0.0.1"], "10.0.0.1"), ("real_ip_recursive on;", ["192.0.2.9", "unknown", "10.0.0.1"], "10.0.0.1"),
        ])
    func forwarded(more: String, values: [String], address: String) throws {
        let proxy = try proxy("set_real_ip_from 127.0.0.0/8; set_real_ip_from 10.0.0.0/24; real_ip_header X-Forwarded-For; \(more)")
        #expect(try proxy.get("/", values.map { "X-Forwarded-For: \($0)" }).text == address)
    }

    @Test(
        "who is believed",
        arguments: [
            ("set_real_ip_from 127.0.0.1;", "192.0.2.1"), ("set_real_ip_from localhost;", "192.0.2.1"), ("set_real_ip_from 10.0.0.0/8;", "127.0.0.1"),
            ("set_real_ip_from ::1;", "127.0.0.1"), ("set_real_ip_from unix:;", "127.0.0.1"), ("set_real_ip_from 0.0.0.0/0;", "192.0.2.1"), ("", "127.0.0.1"),
            ("set_real_ip_from 127.0.0.1; real_ip_header X-Other;", "127.0.0.1"),
        ])
    func believed(server: String, address: String) throws {
        #expect(try proxy(server).get("/", ["X-Real-IP: 192.0.2.1"]).text == address)
    }

    @Test func theAddressHoldsForOneRequestAndForAllThatUsesIt() throws {
        let upstream = try Upstream(saying: "hello")
        let proxy = try Proxy(
            server: """
                set_real_ip_from 127.0.0.1;
                location / {
                    proxy_pass http://\(upstream.endpoint); proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    proxy_set_header X-Seen "$remote_addr!$remote_port!$realip_remote_addr";
                }
                """,
            http: "log_format f '$remote_addr $remote_port $realip_remote_addr $realip_remote_port'; access_log access.log f;")
        let client = try proxy.client()
        try client.request("GET", "/", ["X-Real-IP: 192.0.2.1"])
        try client.request("GET", "/", ["X-Real-IP: 192.0.2.2:77", "X-Forwarded-For: 192.0.2.9"])
        try client.request()
        let seen = upstream.requests.map { ($0["X-Seen"] ?? "") + " " + ($0["X-Forwarded-For"] ?? "") }
        #expect(seen[0] == "192.0.2.1!!127.0.0.1 192.0.2.1")
        #expect(seen[1] == "192.0.2.2!77!127.0.0.1 192.0.2.9, 192.0.2.2")
        let port = try #require(seen[2].wholeMatch(of: /127.0.0.1!(\d+)!127.0.0.1 127.0.0.1/)?.1)
        let lines = try proxy.waitForLines(3)
        #expect(lines == ["192.0.2.1  127.0.0.1 \(port)", "192.0.2.2 77 127.0.0.1 \(port)", "127.0.0.1 \(port) 127.0.0.1 \(port)"])
    }

    @Test func theErrorLogNamesTheRealClient() throws {
        let proxy = try proxy("set_real_ip_from 127.0.0.1; location /closed { deny 192.0.2.0/24; }")
        #expect(try proxy.get("/closed", ["X-Real-IP: 192.0.2.1"]).status == 403)
        #expect(proxy.errorLog.contains("access forbidden by rule, client: 192.0.2.1, "))
    }

    @Test func aLocationMayBelieveWhereItsServerDoesNot() throws {
        let proxy = try Proxy(
            server: """
                error_page 403 = /inner/page;
                location / { return 200 $remote_addr; }
                location /inner/ { internal; set_real_ip_from 127.0.0.1; add_header X-Seen $remote_addr; root %DIR%; }
                location /closed { deny all; }
                """, http: "", files: ["inner/page": "page"])
        #expect(try proxy.get("/", ["X-Real-IP: 192.0.2.1"]).text == "127.0.0.1")
        // Internal redirects come by the location's believed proxies, too.
        let page = try proxy.get("/closed", ["X-Real-IP: 192.0.2.1"])
        #expect(page.text == "page")
        #expect(page["X-Seen"] == "192.0.2.1")
    }

    @Test func clientsKeepTheirPeerByTheirRealAddress() throws {
        let peers = try (0..<4).map { n in try Upstream { _, c in try c.answer(body: "\(n)") } }
        let proxy = try Proxy(
            server: "set_real_ip_from 127.0.0.1; location / { proxy_pass http://u; }",
            http: "upstream u { ip_hash; \(peers.map { "server \($0.endpoint);" }.joined(separator: " ")) }")
        let client = try proxy.client()
        var answers: Set<String> = []
        for n in 0..<12 {
            let texts = try (0..<2).map { _ in try client.request("GET", "/", ["X-Real-IP: 10.0.\(n).1"]).text }
            #expect(texts[0] == texts[1])
            answers.insert(texts[0])
        }
        #expect(answers.count > 1)
    }

    // MARK: allow and deny

    @Test(
        "rules in their order",
        arguments: [
            ("deny all;", 403), ("allow all; deny all;", 404), ("deny 127.0.0.1; allow all;", 403), ("allow 127.0.0.0/8; deny all;", 404),
            ("deny 10.0.0.0/8;", 404), ("deny unix:;", 404), ("allow ::1; deny all;", 403), ("deny ::/0;", 404), ("", 404),
        ])
    func access(rules: String, status: Int) throws {
        let proxy = try Proxy(server: "location / { \(rules) }")
        #expect(try proxy.get("/x").status == status)
    }

    @Test func rulesOfAnInnerBlockReplaceTheOuterOnes() throws {
        let proxy = try Proxy(server: "deny all; location / { } location /open { allow all; } location /said { return 200 said; }")
        #expect(try proxy.get("/x").status == 403)
        #expect(try proxy.get("/open").status == 404)
        // A `return` answers before anybody is asked.
        #expect(try proxy.get("/said").text == "said")
    }
}
