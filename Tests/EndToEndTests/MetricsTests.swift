// Owns /metrics of a running proxy: what a Prometheus server reads there, against what servers and clients have seen.

import Foundation
import TestSupport
import Testing

@Suite("metrics", .ownThread, .enabled(if: !Harness.isNginx))
struct MetricsTests {
    @Test func figuresAreWhatHasHappened() throws {
        let a = try Upstream { request, c in
            switch request.target {
            case "/health": try c.answer("503 Service Unavailable", body: "")
            case "/missing": try c.answer("404 Not Found", body: "")
            case "/moved": try c.answer("301 Moved", ["Location: /"], body: "")
            case "/broken": try c.answer("500 Oh", body: "")
            default: try c.answer(body: "a")
            }
        }
        let proxy = try Proxy(
            http: """
                upstream app { server \(a.endpoint); }
                upstream sick { server \(a.endpoint); server 127.0.0.1:9 backup; health_check uri=/health interval=20ms timeout=10s; queue 3; }
                split both { app 7; sick 0; }
                admin_token_file tokens;
                server { listen 127.0.0.1:%PORT%; location / { proxy_pass http://app; } location /split { proxy_pass http://both; } }
                server { listen 127.0.0.1:%PORT2%; location / { admin; } }
                """, files: ["tokens": "prometheus 0123456789abcdef0123\n"])
        for target in ["/", "/", "/", "/missing", "/missing", "/moved", "/broken"] { _ = try proxy.get(target) }
        let reader = try RawClient(proxy.endpoint2)
        func scrape() throws -> MetricsText {
            let answer = try reader.request("GET", "/metrics", ["Host: localhost", "Authorization: Bearer 0123456789abcdef0123"])
            guard answer.status == 200 else { throw TestFailure("\(answer.status) \(answer.text)") }
            #expect(answer["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8")
            return try MetricsText(answer.text)
        }
        var text = try scrape()
        let server: KeyValuePairs = ["upstream": "app", "server": "\(a.endpoint)"]
        #expect(text.value("switchback_server_requests_total", server) == 7)
        for (name, count) in [("1xx", 0.0), ("2xx", 3), ("3xx", 1), ("4xx", 2), ("5xx", 1)] {
            #expect(text.value("switchback_server_answers_total", ["upstream": "app", "class": name]) == count, "\(name)")
        }
        #expect(text.value("switchback_server_requests_active", server) == 0)
        #expect(text.value("switchback_server_up", server) == 1)
        #expect(text.value("switchback_requests_total", ["outcome": "completed"]) ?? 0 >= 7)
        #expect(text.value("switchback_split_weight", ["split": "both", "variant": "app"]) == 7)
        #expect(text.value("switchback_upstream_queue_requests_max", ["upstream": "sick"]) == 3)
        #expect(text.value("switchback_workers") ?? 0 >= 1 && text.value("switchback_revision") ?? 0 >= 1)
        try Harness.wait(for: "the check to fail") {
            text = try scrape()
            return text.value("switchback_server_state", ["upstream": "sick", "server": "\(a.endpoint)", "state": "unhealthy"]) == 1
        }
        #expect(text.value("switchback_server_checks_failed_total", ["upstream": "sick", "server": "\(a.endpoint)"]) ?? 0 >= 1)
        #expect(text.value("switchback_upstream_servers_checked", ["upstream": "sick"]) == 2)
        #expect(try reader.request("GET", "/metrics", ["Host: localhost"]).status == 401)
    }
}
