// Owns early data of TLS 1.3, secrets for those who look into connections, and what this machine cannot do and says so.

import Foundation
import TestSupport
import Testing

@Suite("early data and the like", .ownThread)
struct TLSEarlyDataTests {
    private func session(_ proxy: Proxy, _ words: [String] = []) throws -> String {
        let client = try TLSClient(proxy, ["-servername", "localhost", "-sess_out", proxy.path("session")] + words)
        _ = try client.request("GET", "/", ["Host: localhost", "Connection: close"])
        #expect(client.hasSession(proxy.path("session")))
        return proxy.path("session")
    }

    private func early(_ proxy: Proxy, _ text: String, _ session: String) throws -> TLSClient {
        try text.write(toFile: proxy.path("early"), atomically: true, encoding: .utf8)
        return try TLSClient(proxy, ["-servername", "localhost", "-sess_in", session, "-early_data", proxy.path("early")])
    }

    @Test func aRequestComesBeforeTheHandshakeIsDone() throws {
        let upstream = try Upstream { request, c in
            if request["Early-Data"] == "1" { return try c.answer("425 Too Early") }
            try c.answer(body: "late \(request.text)")
        }
        let proxy = try TLSTests.proxy(
            """
            ssl_early_data on; location / { return 200 "early:$ssl_early_data reused:$ssl_session_reused"; }
            location /proxy { proxy_pass http://\(upstream.endpoint); proxy_set_header Early-Data $ssl_early_data; }
            """)
        let session = try session(proxy)
        let client = try early(proxy, RawClient.text("GET", "/", ["Host: localhost"]), session)
        #expect(try client.raw.response().text == "early:1 reused:r")
        // What comes behind the handshake is not early.
        #expect(try client.request("GET", "/", ["Host: localhost"]).text == "early: reused:r")
        // An upstream says that it would rather not; the client asks again.
        let other = try early(proxy, RawClient.text("GET", "/proxy", ["Host: localhost"]), session)
        #expect(try other.raw.response().status == 425)
        #expect(try other.request("GET", "/proxy", ["Host: localhost"]).text == "late ")
    }

    /// It is there for that: the client has not heard a word from us yet.
    @Test func aRequestDoesNotWaitForTheHandshake() throws {
        let upstream = try Upstream(saying: "x")
        let proxy = try TLSTests.proxy("ssl_early_data on; location / { return 200 x; } location /up { proxy_pass http://\(upstream.endpoint); }")
        let session = try session(proxy)
        // Carries nothing back.
        let relay = try Upstream(raw: nil) { connection in
            guard let far = try? proxy.client().stream else { return }
            while let bytes = try? connection.stream.read(), !bytes.isEmpty { try? far.send(bytes) }
        }
        try RawClient.text("GET", "/up", ["Host: localhost"]).write(toFile: proxy.path("early"), atomically: true, encoding: .utf8)
        let client = try TLSClient(
            proxy, ["-servername", "localhost", "-sess_in", session, "-early_data", proxy.path("early"), "-connect", "127.0.0.1:\(relay.port)"])
        _ = try upstream.waitForRequests(1)
        client.close()
    }

    @Test func earlyDataMayBeLongAndItsAnswerTheLast() throws {
        let upstream = try Upstream { request, c in try c.answer(body: request.text) }
        let proxy = try TLSTests.proxy("ssl_early_data on; location / { proxy_pass http://\(upstream.endpoint); }")
        let session = try session(proxy)
        let body = Pattern.text(12_000)
        let client = try early(proxy, RawClient.text("POST", "/", ["Host: localhost", "Connection: close"], body: body), session)
        #expect(try client.raw.response().text == body)
    }

    @Test func withoutTheWordItIsNotTaken() throws {
        let proxy = try TLSTests.proxy(#"location / { return 200 "early:$ssl_early_data"; }"#)
        let client = try early(proxy, RawClient.text("GET", "/", ["Host: localhost"]), try session(proxy))
        #expect(try client.request("GET", "/", ["Host: localhost"]).text == "early:")
        #expect(proxy.errorLog.contains("[crit]") == false)
    }

    @Test func secretsAreWrittenWhereAsked() throws {
        let proxy = try TLSTests.proxy("ssl_key_log %DIR%/secrets; return 200 x;")
        #expect(try TLSClient(proxy, ["-tls1_3"]).request().text == "x")
        #expect(try TLSClient(proxy, ["-tls1_2"]).request().text == "x")
        let text = proxy.read("secrets")
        #expect(text.contains("CLIENT_TRAFFIC_SECRET_0 "))
        #expect(text.contains("\nCLIENT_RANDOM "))
        let mode = try FileManager.default.attributesOfItem(atPath: proxy.path("secrets"))[.posixPermissions] as? Int
        #expect(mode == 0o600)
    }

    /// Where the kernel encrypts, it does; elsewhere nobody sees a difference.
    @Test func theKernelMayEncrypt() throws {
        let text = Pattern.text(1 << 20)
        let proxy = try TLSTests.proxy("ssl_conf_command Options KTLS; root site;", files: ["site/x": text])
        for version in ["-tls1_2", "-tls1_3"] { #expect(try TLSClient(proxy, [version]).request("GET", "/x").text == text) }
    }

    @Test func compressionOfCertificatesIsNotThere() throws {
        let proxy = try TLSTests.proxy("ssl_certificate_compression on; return 200 x;")
        #expect(proxy.errorLog.contains(#""ssl_certificate_compression" is not supported on this platform, ignored"#))
        #expect(try TLSClient(proxy).request().text == "x")
    }
}
