// Owns sessions that are taken up again: where they are kept, who may take them, for how long, and with which keys.
// Clients are `openssl s_client`, which writes its session to a file and takes it up from there.

import Foundation
import TestSupport
import Testing

@Suite("sessions of TLS", .ownThread)
struct TLSSessionTests {
    private static let key = [String](repeating: "1", count: 48).joined()
    private static let otherKey = [String](repeating: "2", count: 80).joined()

    private static func proxy(_ server: String, http: String = "", workers: Int = 1) throws -> Proxy {
        try TLSTests.proxy(
            "\(server) location / { return 200 $ssl_session_reused; }", http: http, files: ["one.key": key, "two.key": otherKey, "bad.key": "x"])
    }

    /// Whether a session is taken up again: `first` and `second` are words for s_client.
    private func isReused(_ proxy: Proxy, _ words: [String], second: [String]? = nil, between: () throws -> Void = {}) throws -> Bool {
        let file = proxy.path("session-" + UUID().uuidString)
        let first = try TLSClient(proxy, words + ["-sess_out", file])
        _ = try first.request("GET", "/", ["Host: localhost", "Connection: close"])
        _ = first.raw.stream.readToEnd()
        // A session that nobody keeps has no name, and is not written.
        guard first.hasSession(file) else { return false }
        try between()
        return try TLSClient(proxy, (second ?? words) + ["-sess_in", file]).request("GET", "/", ["Host: localhost"]).text == "r"
    }

    @Test(
        "where they are kept",
        arguments: [
            ("", true), ("ssl_session_tickets off;", false), ("ssl_session_tickets off; ssl_session_cache off;", false),
            ("ssl_session_tickets off; ssl_session_cache none;", false), ("ssl_session_tickets off; ssl_session_cache builtin;", true),
            ("ssl_session_tickets off; ssl_session_cache builtin:10 shared:a:1m;", true),
            ("ssl_session_tickets off; ssl_session_cache shared:a:1m;", true), ("ssl_session_ticket_key one.key;", true),
            ("ssl_session_ticket_key two.key; ssl_session_ticket_key one.key;", true),
        ])
    func keeping(words: String, wanted: Bool) throws {
        let proxy = try Self.proxy(words)
        for version in ["-tls1_2", "-tls1_3"] { #expect(try isReused(proxy, [version, "-servername", "localhost"]) == wanted, "\(version)") }
    }

    @Test func aReloadKeepsCachesAndKeys() throws {
        for words in ["", "ssl_session_tickets off; ssl_session_cache shared:a:1m;"] {
            let proxy = try Self.proxy(words)
            for version in ["-tls1_2", "-tls1_3"] {
                let isKept = try isReused(proxy, [version]) {
                    let text = "server { listen 127.0.0.1:%PORT% ssl; server_name localhost; \(TLSTests.certificate) \(words)"
                    let mark = version
                    try proxy.reload(Proxy.wrapped(text + " location / { return 200 $ssl_session_reused; } location /m { return 200 \(mark); } }")) {
                        (try? TLSClient(proxy).request("GET", "/m").text) == mark
                    }
                }
                #expect(isKept, "\(words) \(version)")
            }
        }
    }

    @Test func aKeyIsReplacedWithoutALoss() throws {
        let proxy = try Self.proxy("ssl_session_ticket_key one.key;")
        func reload(_ words: String) throws {
            let text = "server { listen 127.0.0.1:%PORT% ssl; server_name localhost; \(TLSTests.certificate) \(words)"
            let mark = "\(UInt32.random(in: 0...UInt32.max))"
            try proxy.reload(Proxy.wrapped(text + " location / { return 200 $ssl_session_reused; } location /m { return 200 \(mark); } }")) {
                (try? TLSClient(proxy).request("GET", "/m").text) == mark
            }
        }
        let rotated = "ssl_session_ticket_key two.key; ssl_session_ticket_key one.key;"
        #expect(try isReused(proxy, ["-tls1_2"]) { try reload(rotated) })
        #expect(try isReused(proxy, ["-tls1_3"]) { try reload("ssl_session_ticket_key two.key;") })
        #expect(try !isReused(proxy, ["-tls1_3"]) { try reload("ssl_session_ticket_key one.key;") })
    }

    @Test func aSessionEndsHoweverOftenItIsTakenUp() throws {
        for words in ["ssl_session_timeout 2s;", "ssl_session_timeout 2s; ssl_session_tickets off; ssl_session_cache shared:a:1m;"] {
            let proxy = try Self.proxy(words)
            let file = proxy.path("session")
            var began = ContinuousClock.now
            var isReused: [Bool] = []
            while isReused.last != false, isReused.count < 50 {
                let client = try TLSClient(proxy, ["-tls1_3", "-sess_out", file] + (isReused.isEmpty ? [] : ["-sess_in", file]))
                isReused.append(try client.request("GET", "/", ["Connection: close"]).text == "r" || isReused.isEmpty)
                if isReused.count == 1 { began = .now }
                _ = client.raw.stream.readToEnd()
                #expect(client.hasSession(file))
                usleep(200_000)
            }
            #expect(isReused.count > 2)
            #expect(isReused.last == false)
            #expect(ContinuousClock.now - began < .seconds(6))
        }
    }

    @Test func serversDoNotShareSessions() throws {
        let other = try OpenSSL.pair("other")
        let proxy = try TLSTests.proxy(
            "location / { return 200 $ssl_session_reused; }",
            http: """
                server { listen 127.0.0.1:%PORT% ssl; server_name other; ssl_certificate other.crt; ssl_certificate_key other.key;
                    location / { return 200 $ssl_session_reused; } }
                server { listen 127.0.0.1:%PORT% ssl; server_name asks; \(TLSTests.certificate)
                    ssl_verify_client optional; ssl_client_certificate other.crt; location / { return 200 $ssl_session_reused; } }
                """, files: OpenSSL.files([("other", other)]))
        for version in ["-tls1_2", "-tls1_3"] {
            for name in ["other", "asks"] {
                let client = [version, "-servername", "localhost"]
                #expect(try !isReused(proxy, client, second: [version, "-servername", name]), "\(version) \(name)")
            }
        }
    }
}
